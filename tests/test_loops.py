"""Loops: what leads from a closed node back to itself, against Keras' own arrays."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from explorer import formats
from explorer.network import Layer, Link, Network
from explorer.session.session import Session


def loops(session: Session) -> dict[str, tuple[int, float]]:
    """Weights and magnitude of each drawn loop, by path."""
    session.wait()
    drawn = session.draw_list
    edges = drawn.edges
    own = np.flatnonzero(edges.source == edges.target)
    return {
        drawn.nodes[int(edges.source[i])]: (int(edges.weights[i]), float(edges.magnitude[i]))
        for i in own
    }


def rms(*arrays: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([a.ravel() for a in arrays]) ** 2)))


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True), name="both"),
            keras.layers.GRU(5, name="gru", return_sequences=True),
            keras.layers.SimpleRNN(2, name="simple"),
            keras.layers.Dense(3, name="dense"),
        ]
    )
    path = tmp_path_factory.mktemp("recurrent") / "recurrent.keras"
    model.save(path)
    return path, model


def test_a_recurrent_layer_has_a_loop_of_its_recurrent_kernel(
    recurrent: tuple[Path, keras.Model],
) -> None:
    path, model = recurrent
    session = Session(formats.open_network(str(path)))
    try:
        session.update(session.state.__class__(opened=frozenset()))
        found = loops(session)
        cells = {
            "gru": [model.get_layer("gru").cell],
            "simple": [model.get_layer("simple").cell],
            "both": [
                model.get_layer("both").forward_layer.cell,
                model.get_layer("both").backward_layer.cell,
            ],
        }
        assert {k.split("~")[0].rstrip("/") for k in found} == set(cells)
        for name, own in cells.items():
            kernels = [np.asarray(c.recurrent_kernel) for c in own]
            weights, magnitude = next(v for k, v in found.items() if k.startswith(name))
            assert weights == sum(k.size for k in kernels)
            assert magnitude == pytest.approx(rms(*kernels), rel=1e-6)
    finally:
        session.close_session()


def test_inside_an_open_recurrent_layer_each_part_has_its_own(
    recurrent: tuple[Path, keras.Model],
) -> None:
    path, model = recurrent
    session = Session(formats.open_network(str(path)))
    try:
        session.open("both")
        found = {k: v for k, v in loops(session).items() if k.startswith("both")}
        kernel = np.asarray(model.get_layer("both").forward_layer.cell.recurrent_kernel)
        forward = next(v for k, v in found.items() if "forward" in k)
        assert len(found) == 2
        assert forward == (kernel.size, pytest.approx(rms(kernel), rel=1e-6))
    finally:
        session.close_session()


def test_a_link_from_a_layer_to_itself_is_a_grey_loop() -> None:
    shape = (None, 4)
    layers = tuple(Layer(p, "Activation", {}, (shape,), shape) for p in ("a", "b"))
    links = (Link("a", "b", shape=shape), Link("b", "b", shape=shape))
    session = Session(Network("self", "made", layers, (), links))
    try:
        found = loops(session)
        assert list(found) == ["b"]
        weights, magnitude = found["b"]
        assert weights == 0
        assert np.isnan(magnitude)
    finally:
        session.close_session()
