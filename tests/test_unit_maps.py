"""Weightless layers against the real Keras layers: move one input unit, see which units move."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_graph import Built, built

from explorer.network import Layer, Link, Network
from explorer.weights.unit_maps import UnitMap, unit_map
from explorer.weights.wires import wires

RNG = np.random.default_rng(5)


def moved_units(model, arrays, which, unit, out=0):
    """How much each output unit moves when one unit of one input moves."""

    def call(values):
        return keras.tree.flatten(model(values if len(values) > 1 else values[0]))[out]

    pushed = [a.copy() for a in arrays]
    pushed[which][..., unit] += 50.0
    change = np.abs(np.asarray(call(pushed)) - np.asarray(call(arrays)))
    return change.reshape(-1, change.shape[-1]).max(axis=0)


def check(made: Built, path: str, shapes, out=0):
    """The map of every input of a layer against the real model that holds nothing else."""
    layer = made.network.layer_by_path[path]
    arrays = [RNG.uniform(1, 2, (2, *s)) for s in shapes]
    for which, shape in enumerate(shapes):
        n_in = shape[-1]
        probe = moved_units(made.model, arrays, which, 0, out)
        table = unit_map(layer, which, n_in, len(probe), made.network, out)
        assert table is not None, path
        assert (table.size, table.source) == (len(probe), n_in)
        for unit in range(n_in):
            change = moved_units(made.model, arrays, which, unit, out)
            carried = table.indices() == unit
            assert (change > 1e-6).tolist() == carried.tolist(), (path, which, unit)


IMAGE, SEQUENCE, VECTOR = (4, 6, 3), (4, 5), (6,)
ONE_INPUT = [
    (layers.Activation("relu"), IMAGE),
    (layers.ReLU(), VECTOR),
    (layers.LeakyReLU(), SEQUENCE),
    (layers.PReLU(), VECTOR),
    (layers.ELU(), VECTOR),
    (layers.Dropout(0.5), VECTOR),
    (layers.SpatialDropout2D(0.5), IMAGE),
    (layers.GaussianNoise(0.5), VECTOR),
    (layers.BatchNormalization(), IMAGE),
    (layers.Rescaling(0.5, 1.0), IMAGE),
    (layers.Masking(), SEQUENCE),
    (layers.MaxPooling1D(2), SEQUENCE),
    (layers.MaxPooling2D(2), IMAGE),
    (layers.AveragePooling2D((2, 3)), IMAGE),
    (layers.MaxPooling3D(1), (2, 2, 2, 3)),
    (layers.GlobalMaxPooling1D(), SEQUENCE),
    (layers.GlobalMaxPooling2D(), IMAGE),
    (layers.GlobalAveragePooling2D(keepdims=True), IMAGE),
    (layers.GlobalAveragePooling2D(), IMAGE),
    (layers.ZeroPadding2D(1), IMAGE),
    (layers.ZeroPadding1D(1), SEQUENCE),
    (layers.Cropping2D(1), IMAGE),
    (layers.Cropping1D(1), SEQUENCE),
    (layers.UpSampling2D(2), IMAGE),
    (layers.UpSampling1D(2), SEQUENCE),
    (layers.Resizing(3, 3), IMAGE),
    (layers.Flatten(), IMAGE),
    (layers.Flatten(), SEQUENCE),
    (layers.Flatten(), VECTOR),
    (layers.Reshape((24, 3)), IMAGE),
    (layers.Reshape((72,)), IMAGE),
    (layers.Reshape((4, 18)), IMAGE),
    (layers.Reshape((1, 1, 6)), VECTOR),
    (layers.Permute((2, 1, 3)), IMAGE),
    (layers.RepeatVector(3), VECTOR),
    (layers.Identity(), VECTOR),
    (layers.TimeDistributed(layers.Flatten()), IMAGE),
    (layers.TimeDistributed(layers.MaxPooling1D(2)), IMAGE),
]


@pytest.mark.parametrize(("layer", "shape"), ONE_INPUT, ids=lambda v: getattr(v, "name", str(v)))
def test_one_input(tmp_path, layer, shape):
    x = keras.Input(shape)
    check(built(tmp_path, x, layer(x)), layer.name, [shape])


@pytest.mark.parametrize(
    "layer",
    [layers.Softmax(), layers.LayerNormalization(), layers.UnitNormalization(),
     layers.GroupNormalization(2), layers.RMSNormalization()],
    ids=lambda v: v.name,
)  # fmt: skip
def test_layers_that_also_mix(tmp_path, layer):
    """A softmax or a norm moves all units, but each follows its own input most of all."""
    x = keras.Input(VECTOR)
    made = built(tmp_path, x, layer(x))
    for weight in layer.weights:
        weight.assign(np.ones(weight.shape) * (weight.name != "beta"))
    table = unit_map(made.network.layer_by_path[layer.name], 0, 6, 6, made.network)
    data = RNG.normal(size=(500, 6))
    follows = np.corrcoef(data.T, np.asarray(layer(data)).T)[:6, 6:]
    assert follows.argmax(axis=0).tolist() == table.indices().tolist()


MERGES = [
    (layers.Add(), [IMAGE, IMAGE]),
    (layers.Subtract(), [IMAGE, IMAGE]),
    (layers.Multiply(), [IMAGE, (1, 1, 3)]),
    (layers.Multiply(), [IMAGE, (4, 6, 1)]),
    (layers.Average(), [VECTOR, VECTOR, VECTOR]),
    (layers.Concatenate(), [IMAGE, (4, 6, 2), (4, 6, 1)]),
    (layers.Concatenate(axis=1), [IMAGE, (2, 6, 3)]),
    (layers.Concatenate(axis=3), [IMAGE, (4, 6, 2)]),
    (layers.Concatenate(axis=-2), [IMAGE, (4, 2, 3)]),
]


@pytest.mark.parametrize(("layer", "shapes"), MERGES)
def test_merges(tmp_path, layer, shapes):
    inputs = [keras.Input(s) for s in shapes]
    check(built(tmp_path, inputs, layer(inputs)), layer.name, shapes)


@pytest.mark.parametrize("layer", [layers.Maximum(), layers.Minimum()])
def test_maximum_and_minimum(tmp_path, layer):
    inputs = [keras.Input(VECTOR) for _ in range(2)]
    made = built(tmp_path, inputs, layer(inputs))
    for which in (0, 1):
        found = unit_map(made.network.layer_by_path[layer.name], which, 6, 6, made.network)
        assert found.index is None
    low = [np.full((1, 6), v) for v in ([0.0, 1.0] if "max" in layer.name else [1.0, 0.0])]
    sign = 50.0 if "max" in layer.name else -50.0
    for which in (0, 1):
        pushed = [a.copy() for a in low]
        pushed[which][0, 2] += sign
        change = np.asarray(layer(pushed)) - np.asarray(layer(low))
        assert np.flatnonzero(change[0]).tolist() == [2]


OPERATIONS = [
    (lambda x: x * 2.0, SEQUENCE),
    (lambda x: x + 1.0, SEQUENCE),
    (lambda x: x / 3.0, SEQUENCE),
    (lambda x: -x, SEQUENCE),
    (ops.relu, SEQUENCE),
    (ops.sqrt, SEQUENCE),
    (lambda x: ops.mean(x, axis=1), SEQUENCE),
    (lambda x: ops.max(x, axis=(1, 2)), IMAGE),
    (lambda x: ops.transpose(x, (0, 2, 1, 3)), IMAGE),
    (lambda x: ops.reshape(x, (-1, 72)), IMAGE),
    (lambda x: ops.expand_dims(x, 1), SEQUENCE),
    (lambda x: ops.squeeze(x, 1), (1, 5)),
    (lambda x: ops.concatenate([x, x], axis=1), SEQUENCE),
]


@pytest.mark.parametrize(("function", "shape"), OPERATIONS)
def test_operations(tmp_path, function, shape):
    x = keras.Input(shape)
    y = function(x)
    check(built(tmp_path, x, y), y._keras_history.operation.name, [shape])


@pytest.mark.parametrize("cuts", [2, [1, 4]])
def test_split(tmp_path, cuts):
    x = keras.Input((3, 6))
    pieces = ops.split(x, cuts, axis=-1)
    name = pieces[0]._keras_history.operation.name
    made = built(tmp_path, x, pieces)
    for out in range(len(pieces)):
        check(made, name, [(3, 6)], out=out)


def test_channels_first(tmp_path):
    # The real layers would need a GPU to run; numpy does what their definition says.
    shape = (3, 4, 6)
    net = Network(
        "n", "t",
        (
            Layer("in", "InputLayer", {}, (), (None, *shape)),
            Layer("pool", "MaxPooling2D", {"data_format": "channels_first"}, ((None, *shape),),
                  (None, 3, 2, 3)),
            Layer("act", "Activation", {}, ((None, 3, 2, 3),), (None, 3, 2, 3)),
            Layer("flat", "Flatten", {"data_format": "channels_last"}, ((None, 3, 2, 3),),
                  (None, 18)),
            Layer("flat_first", "Flatten", {"data_format": "channels_first"},
                  ((None, 3, 2, 3),), (None, 18)),
            Layer("mean", "GlobalAveragePooling2D", {"data_format": "channels_first"},
                  ((None, 3, 2, 3),), (None, 3)),
        ),
        (),
        (Link("in", "pool"), Link("pool", "act"), Link("act", "flat"), Link("act", "flat_first"),
         Link("act", "mean")),
    )  # fmt: skip
    index = wires(net)
    assert [index.units(p).count for p in ("in", "pool", "act", "mean")] == [3, 3, 3, 3]
    data = np.broadcast_to(np.arange(3)[:, None, None], (3, 2, 3))
    layer = net.layer_by_path
    flat = unit_map(layer["flat"], 0, 3, 18, net)
    assert flat.indices().tolist() == data.ravel().tolist()
    first = unit_map(layer["flat_first"], 0, 3, 18, net)
    assert first.indices().tolist() == data.transpose(1, 2, 0).ravel().tolist()
    assert unit_map(layer["mean"], 0, 3, 3, net).index is None


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (layers.Permute((2, 1)), SEQUENCE),
        (layers.Reshape((6, 4, 3)[::-1]), IMAGE),
        (layers.Reshape((2, 3)), VECTOR),
        (lambda x: ops.sum(x, axis=-1), SEQUENCE),
        (lambda x: ops.transpose(x), SEQUENCE),
        (lambda x: x[:, ::-1], SEQUENCE),
        (lambda x: ops.flip(x, axis=-1), SEQUENCE),
        (layers.Lambda(lambda x: x[..., ::-1]), SEQUENCE),
    ],
)
def test_unknown_maps_are_not_guessed(tmp_path, make, shape):
    x = keras.Input(shape)
    y = make(x)
    made = built(tmp_path, x, y)
    layer = made.network.layer_by_path[y._keras_history.operation.name]
    n_out = made.wires.units(layer.path).channels
    assert unit_map(layer, 0, shape[-1], n_out, made.network) is None


def test_maps_compose():
    a = UnitMap(4, 3, np.array([2, -1, 0, 1], np.int32))
    b = UnitMap(3, 9, np.array([8, -1, 4], np.int32))
    assert a.then(b).indices().tolist() == [4, -1, 8, -1]
    same = UnitMap(3, 3)
    assert a.then(same).indices().tolist() == a.indices().tolist()
    assert same.then(b).indices().tolist() == b.indices().tolist()
    assert same.then(same).index is None


SLICE = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}


def piece(start, stop, step):
    return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}}


@pytest.mark.parametrize(
    ("key", "recorded"),
    [
        ((slice(None), 0), [SLICE, 0]),
        ((Ellipsis, slice(3, 7)), [{"class_name": "__ellipsis__"}, piece(3, 7, None)]),
        ((slice(None), slice(None), slice(None, None, -1)), [SLICE, SLICE, piece(None, None, -1)]),
        ((slice(None), slice(1, 3)), [SLICE, piece(1, 3, None)]),
    ],
)
def test_slices_where_the_file_records_them(key, recorded):
    net = Network(
        "n", "t",
        (Layer("in", "InputLayer", {}, (), (None, 4, 8)),
         Layer("cut", "GetItem", {"key": recorded})),
        (), (Link("in", "cut", shape=(None, 4, 8)),),
    )  # fmt: skip
    want = np.broadcast_to(np.arange(8), (2, 4, 8))[key]
    want = want.reshape(-1, want.shape[-1])[0]
    found = unit_map(net.layer_by_path["cut"], 0, 8, len(want), net)
    assert found.indices().tolist() == want.tolist()
    assert unit_map(Layer("cut", "GetItem", {}), 0, 8, len(want), net) is None
