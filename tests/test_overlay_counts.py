"""Overlays that count, against numpy over the weights that Keras itself holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from codec_files import File
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pyramid import ArrayReader, pairs_of, weight

from explorer import formats
from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError
from explorer.network import Layer
from explorer.open_model import OpenModel
from explorer.pyramid import tallies
from explorer.pyramid.level0 import Level0
from explorer.pyramid.tallies import Pairs, count_where, near_zero, no_number
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState
from explorer.weights.connections import connections_of

LAYERS = [
    ("Dense", (40, 30), {}),
    ("Conv2D", (3, 3, 5, 8), {}),
    ("Conv2D", (3, 3, 2, 8), {"groups": 4}),
    ("DepthwiseConv2D", (3, 3, 6, 2), {}),
    ("Conv2DTranspose", (2, 2, 7, 5), {}),
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LAYERS), st.integers(0, 2**32 - 1), st.booleans())
def test_counts_of_any_pairs_equal_numpy(layer, seed: int, double: bool) -> None:
    kind, shape, config = layer
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(np.float64 if double else np.float32)
    values.ravel()[rng.integers(0, values.size, 5)] = [np.nan, np.inf, -np.inf, 0.0, 0.25]
    role = "depthwise_kernel" if kind.startswith("Depthwise") else "kernel"
    arrays = {"k": values}
    (connection,) = connections_of(Layer("a", kind, config, weights=(weight("k", role, values),)))
    n_out, n_in = 4, 3
    labels = (
        rng.integers(-1, n_out, connection.out_units).astype(np.int32),
        rng.integers(-1, n_in, connection.in_units).astype(np.int32),
    )
    every = np.array([(o, i) for o in range(n_out) for i in range(n_in)], np.int32)
    chosen = every[rng.permutation(len(every))[:7]]
    pairs = Pairs.of(labels, (n_out, n_in), (chosen[:, 0], chosen[:, 1]))
    out, inside, flat = pairs_of(connection, arrays)
    level0 = Level0(ArrayReader(arrays))
    for condition, true in (
        (near_zero(0.25), np.abs(flat) <= 0.25),
        (near_zero(0.0), flat == 0),
        (no_number, ~np.isfinite(flat)),
    ):
        found = count_where(level0, connection, pairs, condition)
        expected = [
            np.count_nonzero(true & (labels[0][out] == o) & (labels[1][inside] == i))
            for o, i in chosen.tolist()
        ]
        assert found is not None
        assert found.tolist() == expected
        whole = count_where(level0, connection, Pairs.everything(connection), condition)
        assert whole is not None
        assert whole.tolist() == [np.count_nonzero(true)]
    assert count_where(level0, connection, pairs, no_number, lambda: True) is None


def test_a_threshold_between_two_numbers_in_single_precision() -> None:
    above = np.nextafter(np.float32(0.1), np.float32(1))
    between = (float(np.float32(0.1)) + float(above)) / 2
    values = np.array([0.1, above, -above, np.nan], np.float32)
    assert near_zero(between)(values).tolist() == [True, False, False, False]
    assert near_zero(float(above))(values).tolist() == [True, True, True, False]
    assert near_zero(1e300)(values).tolist() == [True, True, True, False]


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def pruned(keras, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A small network of which many weights are zero or tiny, and some are no numbers."""
    rng = np.random.default_rng(5)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="in"),
            layers.Conv2D(6, 3, name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(20, name="hidden"),
            layers.Dense(5, name="out"),
        ]
    )
    kernels = {}
    for name in ("conv", "hidden", "out"):
        kernel, bias = model.get_layer(name).get_weights()
        kernel = rng.normal(size=kernel.shape).astype(np.float32) * 0.05
        kernel[rng.random(kernel.shape) < 0.4] = 0
        if name != "out":
            kernel.ravel()[[1, 7]] = np.nan, np.inf
        model.get_layer(name).set_weights([kernel, bias])
        kernels[name] = kernel
    path = tmp_path_factory.mktemp("pruned") / "pruned.keras"
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


def found_counts(session: Session) -> dict[tuple[str, str], tuple[int, int]]:
    """Hits and size of each edge of the picture, by its ends."""
    session.wait()
    counts = session.draw_list.edges.counts.tolist()
    return {ends: (c[1], c[2]) for ends, c in zip(ends_of(session), counts, strict=True) if c[2]}


def ends_of(session: Session) -> list[tuple[str, str]]:
    """The ends of each edge of the picture."""
    drawn = session.draw_list
    pairs = zip(drawn.edges.source.tolist(), drawn.edges.target.tolist(), strict=True)
    return [(drawn.nodes[a], drawn.nodes[b]) for a, b in pairs]


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.0313])
def test_sparsity_of_every_edge_equals_numpy(pruned, open_session, threshold: float) -> None:
    path, kernels = pruned
    session = open_session(path)
    session.update(replace(session.state, overlay="sparsity", threshold=threshold))
    size = {name: np.abs(k.astype(np.float64)) for name, k in kernels.items()}
    near = {name: s <= threshold for name, s in size.items()}
    counts = found_counts(session)

    def told(name: str, index: tuple) -> tuple[int, int]:
        finite = np.isfinite(size[name][index])
        return int(near[name][index].sum()), int(finite.sum())

    every = (Ellipsis,)
    assert counts["in", "conv"] == told("conv", every)
    assert counts["hidden", "out"] == told("out", every)
    strands = [(a, b) for a, b in counts if "[" in a and "[" in b]
    assert strands
    for a, b in strands:
        unit = [int(text.split("[")[1][:-1]) for text in (a, b)]
        name = b.split("[")[0]
        index = (unit[0], unit[1]) if name != "conv" else (Ellipsis, unit[0], unit[1])
        assert counts[a, b] == told(name, index), (a, b)
    session.open("hidden")
    counts = found_counts(session)
    for unit in range(20):
        assert counts[f"hidden[{unit}]", "out"] == told("out", (unit,))
        assert counts["flat", f"hidden[{unit}]"] == told("hidden", (slice(None), unit))
    legend = session.draw_list.legend
    assert f"|w| ≤ {threshold:g}" in legend.title
    assert legend.ticks[0][1] == "0 %"


def test_weights_that_are_no_numbers_are_counted(pruned, open_session) -> None:
    path, kernels = pruned
    session = open_session(path)
    session.set_overlay("nonfinite")
    counts = found_counts(session)
    assert counts["in", "conv"] == (2, kernels["conv"].size)
    assert counts["hidden", "out"] == (0, kernels["out"].size)
    # kernel[0, 0, 0, 1] and kernel[0, 0, 1, 1] of the convolution
    assert counts["in[0]", "conv[1]"] == (1, 9)
    assert counts["in[1]", "conv[1]"] == (1, 9)
    edges = session.draw_list.edges
    ends = ends_of(session)
    flow = tuple(edges.colors[ends.index(("hidden", "out")), :3].tolist())
    for end, color in zip(ends, edges.colors[:, :3].tolist(), strict=True):
        assert (tuple(color) != flow) == (counts.get(end, (0, 0))[0] > 0), end
    text = session.describe_edge(ends.index(("in", "conv")))
    assert "2 of 162 weights are NaN or infinite" in text
    session.set_overlay("magnitude")
    session.wait()
    ends = ends_of(session)
    assert "2 are NaN or infinite" in session.describe_edge(ends.index(("in", "conv")))


def test_unread_lines_stay_grey_until_they_are_counted(pruned, open_session, monkeypatch) -> None:
    path, _ = pruned
    session = open_session(path)
    session.wait()
    monkeypatch.setattr(session._reading, "at_once", lambda *_: False)
    monkeypatch.setattr(session._reading, "want", lambda *_: None)
    session.set_overlay("sparsity")
    drawn = session.draw_list
    assert drawn.pending
    known = drawn.edges.counts[:, 2] > 0
    assert (drawn.edges.weights[known] == 1).all()  # those need not be read
    assert any("still counting" in line for line in drawn.legend.lines)
    session.wait()
    assert not session.draw_list.pending
    assert not any("still counting" in line for line in session.draw_list.legend.lines)


def test_codes_in_use_equal_those_in_the_file(keras, tmp_path, open_session) -> None:
    rng = np.random.default_rng(6)
    model = keras.Sequential(
        [
            keras.Input((12,), name="in"),
            keras.layers.Dense(9, name="first"),
            keras.layers.Dense(40, name="second"),
        ]
    )
    for name in ("first", "second"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([rng.normal(size=kernel.shape), bias])
    model.get_layer("first").quantize("int8")
    path = tmp_path / "quantised.keras"
    model.save(path)
    codes = np.asarray(model.get_layer("first")._kernel)
    assert codes.dtype == np.int8
    session = open_session(path)
    session.set_overlay("codes")
    counts = found_counts(session)
    assert counts["in", "first"] == (len(np.unique(codes)), 256)
    assert ("first", "second") not in counts  # plain numbers have no codes
    session.open("first")
    counts = found_counts(session)
    for unit in range(9):
        seen = counts["in", f"first[{unit}]"]
        assert seen == (len(np.unique(codes[:, unit])), 256)
    assert any("their weights have no codes" in line for line in session.draw_list.legend.lines)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "a", True, None])
def test_a_wrong_threshold_is_refused(wrong) -> None:
    with pytest.raises(NeuronautError, match="threshold"):
        ViewState(threshold=wrong)
    with pytest.raises(NeuronautError, match="threshold"):
        ViewState.from_json({"threshold": wrong})


def test_a_threshold_is_saved_and_old_views_are_read() -> None:
    state = ViewState(threshold=0.25)
    assert ViewState.from_json(state.to_json()) == state
    old = state.to_json()
    del old["threshold"]
    assert ViewState.from_json(old).threshold == ViewState().threshold


def test_how_far_counting_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.session.session.AT_ONCE", -1.0)  # nothing while a person waits
    session = Session(formats.open_network(str(scenes_folder() / "digits.keras")))
    try:
        session.wait()
        assert not session.reading.counting
        session.pause_reading()
        session.set_overlay("sparsity")
        tasks = session._current()[1].crossing.searches
        session._reading.want(session._current()[1].crossing)
        whole = session.reading
        assert whole.counting
        assert (whole.done, whole.total) == (0, sum(task.weights for task in tasks))
        session._reading._paused.clear()
        assert session._reading._read(session._current()[1].crossing, math.inf)
        assert not session.reading.counting  # all is counted
        assert session._reading._counted == whole.total
    finally:
        session.close_session()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn"])
@pytest.mark.parametrize("shape", [(300, 90), (3, 20, 30)])
def test_near_zero_of_a_whole_connection_is_numpys(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "_AT_ONCE", 1000)
    bits = {"float16": "u2", "bfloat16": "u2", "float32": "u4", "float64": "u8"}.get(dtype, "u1")
    rng = np.random.default_rng(6)
    stored = rng.integers(0, 1 << 63, shape, np.uint64).astype(bits)  # all kinds of numbers
    stored.ravel()[:4] = [0, 1 << (stored.itemsize * 8 - 1), 1, 2]  # both zeros, the least ones
    file = File(tmp_path / "numbers.bin")
    kernel = file.add("kernel", stored, dtype)
    kind = "Dense" if len(shape) == 2 else "Conv1D"
    network = replace(file.network(kernel), layers=(Layer("a", kind, weights=(kernel,)),))
    with OpenModel(network) as model:
        (connection,) = model.table.connections
        with np.errstate(invalid="ignore"):  # signalling NaNs
            true = np.abs(np.asarray(model.reader.read(kernel), np.float64))
        near = np.sort(true[np.isfinite(true)])[true.size // 3]
        level0 = model.pyramid.level0
        for threshold in (
            0.0,
            0.01,
            1.0,
            1e300,
            near,
            np.nextafter(near, 0),
            np.nextafter(near, 9),
        ):
            with np.errstate(invalid="ignore"):
                wanted = np.count_nonzero((true <= threshold) & np.isfinite(true))
            assert tallies.count_near_zero(level0, connection, threshold) == wanted
        assert tallies.count_near_zero(level0, connection, 1.0, lambda: True) is None
