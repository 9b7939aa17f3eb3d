"""Unit overlays against numpy over the weights that Keras itself holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from explorer import formats
from explorer.drawing.unit_colors import NEUTRAL
from explorer.errors import NeuronautError, UnknownNameError
from explorer.overlays import KIND, get_unit_overlay, unit_overlays
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def network(keras, tmp_path_factory) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """A convolution, a flattening, a sum of two branches, 300 units in groups; some are dead."""
    rng = np.random.default_rng(8)
    layers = keras.layers
    entry = keras.Input((6, 6, 3), name="in")
    x = layers.Conv2D(8, 3, name="conv")(entry)
    x = layers.ReLU(name="relu")(x)
    x = layers.Flatten(name="flat")(x)
    left = layers.Dense(12, name="left")(x)
    right = layers.Dense(12, name="right")(x)
    x = layers.Add(name="sum")([left, right])
    x = layers.Dense(300, name="wide")(x)
    x = layers.Dense(7, name="out")(x)
    model = keras.Model(entry, x, name="net")
    kernels = {}
    for name in ("conv", "left", "right", "wide", "out"):
        kernel, bias = model.get_layer(name).get_weights()
        kernel = (rng.normal(size=kernel.shape) * 0.1).astype(np.float32)
        if name == "conv":
            kernel[..., 2] = 0  # hears nothing
            kernel[..., 3] = 0
            kernel[0, 0, 0, 3] = np.nan  # not dead: nobody knows what it does
        if name in ("left", "right"):
            kernel.reshape(-1, 8, 12)[:, 5] = 0  # channel 5 of the convolution is not heard
        if name == "wide":
            kernel[:, 17] = 0
        model.get_layer(name).set_weights([kernel, bias + 1])
        kernels[name] = [kernel]
    path = tmp_path_factory.mktemp("units") / "units.keras"
    model.save(path)
    return path, kernels


@pytest.fixture
def open_session() -> Iterator[Callable[[Path], Session]]:
    opened: list[Session] = []

    def make(path: Path) -> Session:
        opened.append(Session(formats.open_network(str(path))))
        return opened[-1]

    yield make
    for session in opened:
        session.close_session()


def values(session: Session) -> dict[str, float]:
    """The number of each box, by its path."""
    session.wait()
    units = session._current()[1].units
    assert units is not None
    paths = session.draw_list.nodes
    found = units.overlay.values(units.stats)
    return {paths[row]: float(found[row]) for row in set(session.draw_list.solids.node.tolist())}


def square(kernel: np.ndarray) -> np.ndarray:
    return np.nan_to_num(kernel.astype(np.float64)) ** 2


def test_norms_of_incoming_weights_equal_numpy(network, open_session) -> None:
    path, kernels = network
    session = open_session(path)
    session.set_units("incoming")
    for name in ("conv", "left"):
        session.open(name)
        own = square(kernels[name][0]).reshape(-1, kernels[name][0].shape[-1]).sum(axis=0)
        found = values(session)
        for unit, expected in enumerate(np.sqrt(own).tolist()):
            assert found[f"{name}[{unit}]"] == pytest.approx(expected, rel=1e-6)
        session.close(name)
        assert values(session)[name] == pytest.approx(np.sqrt(own.mean()), rel=1e-6)
    session.open("wide")
    own = square(kernels["wide"][0]).sum(axis=0)
    ranges = [p for p in values(session) if p.startswith("wide[")]
    assert 1 < len(ranges) < 300
    for group in ranges:
        first, stop = map(int, group[5:-1].split(":"))
        assert values(session)[group] == pytest.approx(np.sqrt(own[first:stop].mean()), rel=1e-6)
    assert np.isnan(values(session)["in"])


def test_norms_of_outgoing_weights_pass_weightless_layers(network, open_session) -> None:
    path, kernels = network
    session = open_session(path)
    session.set_units("outgoing")
    session.open("conv")
    through = sum(
        square(kernels[n][0]).reshape(-1, 8, 12).sum(axis=(0, 2)) for n in ("left", "right")
    )
    found = values(session)
    for unit in range(8):
        assert found[f"conv[{unit}]"] == pytest.approx(float(np.sqrt(through[unit])), rel=1e-6)
    session.open("left")
    session.open("right")
    found = values(session)
    for unit, expected in enumerate(np.sqrt(square(kernels["wide"][0]).sum(axis=1)).tolist()):
        for branch in ("left", "right"):  # each is added to the other before it is heard
            assert found[f"{branch}[{unit}]"] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(found["out"])


def test_dead_units_are_found_on_either_side(network, open_session) -> None:
    path, _ = network
    session = open_session(path)
    session.set_units("dead")
    session.open("conv")
    found = values(session)
    assert [u for u in range(8) if found[f"conv[{u}]"] == 1] == [2, 5]
    assert all(found[f"conv[{u}]"] in (0, 1) for u in range(8))
    assert session.describe("conv[2]").endswith(
        "dead: 1 of 1 (all incoming or all outgoing weights are zero)"
    )
    session.close("conv")
    found = values(session)
    assert found["conv"] == 2 / 8
    assert found["wide"] == pytest.approx(1 / 300)
    assert found["out"] == 0
    assert "1 of 300 units are dead" in session.describe("wide")
    session.open("wide")
    found = values(session)
    assert sum(v > 0 for p, v in found.items() if p.startswith("wide[")) == 1


def test_recurrent_weights_count_on_both_sides(keras, tmp_path, open_session) -> None:
    rng = np.random.default_rng(9)
    model = keras.Sequential(
        [
            keras.Input((4, 5), name="in"),
            keras.layers.SimpleRNN(6, name="cells"),
            keras.layers.Dense(3, name="out"),
        ]
    )
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()]
    model.set_weights(weights)
    path = tmp_path / "recurrent.keras"
    model.save(path)
    kernel, again, _, out, _ = map(square, weights)
    session = open_session(path)
    session.open("cells")
    for name, expected in (
        ("incoming", kernel.sum(axis=0) + again.sum(axis=0)),
        ("outgoing", out.sum(axis=1) + again.sum(axis=1)),
    ):
        session.set_units(name)
        found = values(session)
        for unit in range(6):
            assert found[f"cells[{unit}]"] == pytest.approx(
                float(np.sqrt(expected[unit])), rel=1e-6
            )


def test_boxes_take_the_colour_of_their_number(network, open_session) -> None:
    path, _ = network
    session = open_session(path)
    session.open("conv")
    session.wait()
    kinds = session.draw_list
    assert kinds.legend.boxes is None
    assert kinds.legend.kinds
    session.set_units("dead")
    found = values(session)
    drawn = session.draw_list
    assert drawn.legend.kinds == ()
    assert drawn.legend.boxes is not None
    assert "dead" in drawn.legend.boxes.title
    ramp = drawn.legend.boxes.ramp
    for row, color in zip(drawn.solids.node.tolist(), drawn.solids.colors.tolist(), strict=True):
        value = found[drawn.nodes[row]]
        if np.isnan(value):
            expected = list(NEUTRAL["dark"])
        elif value in (0, 1):
            expected = ramp[-1 if value else 0].tolist()
        else:
            continue
        assert color[:3] == expected
    session.set_units(KIND)
    session.wait()
    assert np.array_equal(session.draw_list.solids.colors, kinds.solids.colors)


def test_unit_overlays_are_found_by_name_and_saved(network, open_session) -> None:
    assert set(unit_overlays()) == {"incoming", "outgoing", "dead"}
    assert unit_overlays(comparing=True) == {}
    assert get_unit_overlay(KIND) is None
    session = open_session(network[0])
    with pytest.raises(UnknownNameError, match="incoming"):
        session.set_units("incomming")
    assert session.state.units == KIND
    state = ViewState(units="dead")
    assert ViewState.from_json(state.to_json()) == state
    old = state.to_json()
    del old["units"]
    assert ViewState.from_json(old).units == KIND
    with pytest.raises(NeuronautError, match="units"):
        ViewState.from_json({"units": 3})
