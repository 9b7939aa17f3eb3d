"""From a kernel back through weightless layers, and the strongest edges of whole models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from keras_graph import built

from explorer.crossing.query import strongest_edges
from explorer.network import Layer, Link, Network
from explorer.weights.unit_maps import UnitMap
from explorer.weights.wires import wires


def never(path: str) -> bool:
    return False


def sources(made, path, name=None, stop=never):
    return {e.source: e.in_map for e in made.wires.trace(path, made.connection(path, name), stop)}


def slope(model, point):
    """Derivative of a linear model: (outputs, inputs), by one-hot."""
    size = point.size
    zero = np.asarray(model(np.zeros((1, *point.shape)))).ravel()
    return (np.asarray(model(np.eye(size).reshape(size, *point.shape))).reshape(size, -1) - zero).T


def test_flatten_joins_a_channel_to_the_right_rows(tmp_path):
    x = keras.Input((3, 5, 2), dtype="float64")
    conv = layers.Conv2D(4, 1, dtype="float64", name="conv")(x)
    seen = layers.Dropout(0.3, dtype="float64")(conv)
    flat = layers.Flatten(dtype="float64")(layers.MaxPooling2D(1, dtype="float64")(seen))
    y = layers.Dense(6, dtype="float64", name="dense")(flat)
    made = built(tmp_path, x, y)
    after = keras.Model(conv, y)  # from the convolution's output on
    want = slope(after, np.zeros((3, 5, 4))).reshape(6, 15, 4)
    found = sources(made, "dense")
    assert list(found) == ["conv"]
    edges = strongest_edges(made.network, made.pyramid, ["conv"], ["dense"], 1000)
    assert (edges.total_connections, edges.total_weights) == (24, 360)
    assert edges.shown_share_of_sum_sq == pytest.approx(1.0, abs=1e-12)
    rms, mean = np.sqrt(np.square(want).mean(axis=1)), want.mean(axis=1)
    assert len(edges.edges) == 24
    for e in edges.edges:
        assert e.magnitude == pytest.approx(rms[e.to_unit, e.from_unit], rel=1e-9)
        assert e.signed_mean == pytest.approx(mean[e.to_unit, e.from_unit], rel=1e-9, abs=1e-12)
        assert e.weights == 15
    order = [e.magnitude for e in edges.edges]
    assert order == sorted(order, reverse=True)
    few = strongest_edges(made.network, made.pyramid, ["conv"], ["dense"], 3)
    assert few.edges == edges.edges[:3]
    total = np.square(want).sum()
    assert few.shown_share_of_sum_sq == pytest.approx(15 * np.square(order[:3]).sum() / total)


def residual(tmp_path):
    x = keras.Input((4,), name="in")
    a = layers.Dense(5, name="a")(x)
    b = layers.Dense(5, name="b")(layers.ReLU(name="act")(a))
    y = layers.Dense(3, name="c")(layers.Add(name="add")([a, b]))
    return built(tmp_path, x, y)


def test_residual_reaches_both_branches_or_stops(tmp_path):
    made = residual(tmp_path)
    assert set(sources(made, "c")) == {"a", "b"}
    assert set(sources(made, "c", stop={"add"}.__contains__)) == {"add"}
    assert set(sources(made, "a")) == {"in"}
    both = strongest_edges(made.network, made.pyramid, ["a", "b"], ["c"], 100)
    assert both.total_weights == 15, "a weight that serves two sources counts once"
    assert both.total_connections == 30
    assert {e.from_layer for e in both.edges} == {"a", "b"}
    stage = strongest_edges(made.network, made.pyramid, ["a", "act"], ["b"], 100)
    assert {e.from_layer for e in stage.edges} == {"a"}
    alone = strongest_edges(made.network, made.pyramid, ["act"], ["b"], 100)
    assert {e.from_layer for e in alone.edges} == {"act"}


def test_share_counts_a_weight_once_for_every_edge_it_makes(tmp_path):
    made = residual(tmp_path)
    kernel = made.model.get_layer("c").kernel.numpy().astype(np.float64)
    edge = np.sort(np.tile(np.square(kernel).ravel(), 2))[::-1]  # one for a and one for b
    for k in range(1, 31):
        found = strongest_edges(made.network, made.pyramid, ["a", "b"], ["c"], k)
        want = edge[:k].sum() / edge.sum()
        assert found.shown_share_of_sum_sq == pytest.approx(want, rel=1e-12), k
        assert len(found.edges) == k
    assert found.shown_share_of_sum_sq == 1.0


def test_shared_layer_has_every_calls_source(tmp_path):
    p, q = keras.Input((4,)), keras.Input((4,))
    a, b = layers.Dense(6, name="a")(p), layers.Dense(6, name="b")(q)
    shared = layers.Dense(2, name="shared")
    made = built(tmp_path, [p, q], layers.Add()([shared(a), shared(b)]))
    assert set(sources(made, "shared")) == {"a", "b"}


def test_concatenation_offsets_and_the_same_source_twice(tmp_path):
    x = keras.Input((4,), name="in")
    a, b = layers.Dense(3, name="a")(x), layers.Dense(2, name="b")(x)
    y = layers.Dense(2, name="y")(layers.Concatenate()([a, b, layers.ReLU()(a)]))
    made = built(tmp_path, x, y)
    found = sources(made, "y")
    assert found["a"].indices().tolist() == [0, 1, 2, -1, -1, 0, 1, 2]
    assert found["b"].indices().tolist() == [-1, -1, -1, 0, 1, -1, -1, -1]
    kernel = made.model.get_layer("y").kernel.numpy().astype(np.float64)
    edges = strongest_edges(made.network, made.pyramid, ["a"], ["y"], 100)
    assert edges.total_connections == 6
    assert edges.total_weights == 12
    for e in edges.edges:
        pair = kernel[[e.from_unit, e.from_unit + 5], e.to_unit]
        assert e.weights == 2
        assert e.magnitude == pytest.approx(np.sqrt(np.square(pair).mean()), rel=1e-12)


def test_unknown_map_ends_the_way(tmp_path):
    x = keras.Input((4, 3), name="in")
    y = layers.Dense(2, name="y")(layers.Permute((2, 1), name="turn")(x))
    made = built(tmp_path, x, y)
    assert set(sources(made, "y")) == {"turn"}


def test_gates_are_joined_unless_one_is_chosen(tmp_path):
    x = keras.Input((3, 4), name="in")
    made = built(tmp_path, x, layers.LSTM(5, name="lstm")(x))
    kernel = made.model.get_layer("lstm").cell.kernel.numpy().astype(np.float64)
    joined = strongest_edges(made.network, made.pyramid, ["in"], ["lstm"], 100)
    assert (joined.total_connections, joined.total_weights) == (20, 80)
    for e in joined.edges:
        four = kernel[e.from_unit, e.to_unit :: 5]
        assert e.weights == 4
        assert e.magnitude == pytest.approx(np.sqrt(np.square(four).mean()), rel=1e-12)
    cell = strongest_edges(made.network, made.pyramid, ["in"], ["lstm"], 100, to_range=(10, 15))
    assert (cell.total_connections, cell.total_weights) == (20, 20)
    for e in cell.edges:
        assert 10 <= e.to_unit < 15
        assert e.signed_mean == pytest.approx(kernel[e.from_unit, e.to_unit], rel=1e-12)
    again = strongest_edges(made.network, made.pyramid, ["lstm"], ["lstm"], 7)
    assert (again.total_connections, again.total_weights) == (25, 100)
    assert {e.from_layer for e in again.edges} == {"lstm"}


def test_ranges_choose_units(tmp_path):
    made = residual(tmp_path)
    kernel = made.model.get_layer("b").kernel.numpy()
    one = strongest_edges(made.network, made.pyramid, ["a"], ["b"], 9,
                          from_range=(2, 3), to_range=(1, 4))  # fmt: skip
    assert one.total_weights == 3
    assert {(e.from_unit, e.to_unit) for e in one.edges} == {(2, 1), (2, 2), (2, 3)}
    for e in one.edges:
        assert e.signed_mean == pytest.approx(kernel[2, e.to_unit], rel=1e-6)
    assert one.to_json()["edges"][0]["magnitude"] == one.edges[0].magnitude


def test_nothing_between(tmp_path):
    made = residual(tmp_path)
    none = strongest_edges(made.network, made.pyramid, ["c"], ["a"], 9)
    assert (none.total_connections, none.total_weights, none.edges) == (0, 0, ())
    assert none.shown_share_of_sum_sq == 1.0


def test_cycles_and_ladders_end():
    ring = [Layer(n, "Activation", {}, (), (None, 4)) for n in "abc"]
    links = [Link("a", "b"), Link("b", "c"), Link("c", "a")]
    rungs = [Layer(f"add{i}", "Add", {}, (), (None, 4)) for i in range(60)]
    for i in range(59):
        links += [Link(f"add{i}", f"add{i + 1}", 0, j) for j in (0, 1)]
    links += [Link("c", "add0", 0, 0), Link("in", "add0", 0, 1), Link("add59", "end")]
    start = Layer("in", "InputLayer", {}, (), (None, 4))
    net = Network("n", "t", (*ring, start, *rungs, dense("end", 4)), (), tuple(links))
    index = wires(net)
    (connection,) = index.connections("end")
    assert [e.source for e in index.trace("end", connection, never)] == ["in"]


def dense(path: str, units: int) -> Layer:
    from explorer.network import ByteRange, Weight

    shape = (units, 2)
    kernel = Weight(path, "kernel", shape, "float32", ByteRange("f", 0, 8 * units))
    return Layer(path, "Dense", {"units": 2}, weights=(kernel,))


def test_unknown_shapes_and_missing_layers_do_no_harm():
    net = Network(
        "n", "t", (Layer("x", "Odd"), Layer("act", "Activation"), dense("d", 3)), (),
        (Link("x", "act"), Link("act", "d"), Link("gone", "d"), Link("d", "nowhere")),
    )  # fmt: skip
    index = wires(net)
    (connection,) = index.connections("d")
    (entry,) = index.trace("d", connection, never)
    assert entry.source == "x"
    assert entry.in_map == entry.in_map
    assert isinstance(entry.in_map, UnitMap)
    assert index.units("x").count == 0
