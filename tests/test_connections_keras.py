"""Every connection against the real Keras layer: push a one-hot through it and look."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from keras_graph import Built, built

keras.utils.set_random_seed(0)


def one_hot_responses(layer, shape, dtype="float64"):
    """Σ and Σ² over positions of the output's change for one-hot inputs.

    Parameters
    ----------
    shape : tuple of int
        Of one input without batch, channels last.

    Returns
    -------
    (sum, sum of squares, number of responses) : arrays of shape (out channels, in channels)
    """
    size = int(np.prod(shape))
    zero = np.asarray(layer(np.zeros((1, *shape), dtype)))
    answer = np.asarray(layer(np.eye(size).reshape(size, *shape).astype(dtype))) - zero
    answer = answer.reshape(size // shape[-1], shape[-1], -1, answer.shape[-1])
    return answer.sum(axis=(0, 2)).T, np.square(answer).sum(axis=(0, 2)).T


def compare(made: Built, path: str, layer, shape, taps: int) -> None:
    stats = made.matrix(path)
    total, square = one_hot_responses(layer, shape)
    np.testing.assert_allclose(stats.sum, total, atol=1e-9)
    np.testing.assert_allclose(stats.sum_sq, square, atol=1e-9)
    assert np.all((stats.count == taps) == (stats.sum_sq > 0))


F64 = {"dtype": "float64"}
SPATIAL = [
    (layers.Dense(5, **F64), (3,), 1),
    (layers.Conv1D(6, 3, **F64), (3, 4), 3),
    (layers.Conv2D(6, (2, 3), **F64), (2, 3, 4), 6),
    (layers.Conv2D(70, 1, **F64), (1, 1, 66), 1),
    (layers.Conv3D(4, (2, 1, 3), **F64), (2, 1, 3, 2), 6),
    (layers.Conv1D(6, 2, groups=3, **F64), (2, 9), 2),
    (layers.Conv2D(8, (2, 3), groups=2, **F64), (2, 3, 6), 6),
    (layers.Conv2D(6, 2, groups=3, **F64), (2, 2, 3), 4),
    (layers.Conv1DTranspose(5, 3, **F64), (1, 4), 3),
    (layers.Conv2DTranspose(5, (2, 3), **F64), (1, 1, 4), 6),
    (layers.Conv3DTranspose(3, (2, 1, 2), **F64), (1, 1, 1, 4), 4),
    (layers.DepthwiseConv1D(3, depth_multiplier=2, **F64), (3, 4), 3),
    (layers.DepthwiseConv2D((2, 3), depth_multiplier=3, **F64), (2, 3, 4), 6),
]


@pytest.mark.parametrize(("layer", "shape", "taps"), SPATIAL)
def test_one_hot(tmp_path, layer, shape, taps):
    x = keras.Input(shape, dtype="float64")
    made = built(tmp_path, x, layer(x))
    compare(made, layer.name, layer, shape, taps)


def test_time_distributed_dense_and_dense_on_a_sequence(tmp_path):
    x = keras.Input((1, 6), dtype="float64")
    inner = layers.TimeDistributed(layers.Dense(4, **F64), **F64)
    outer = layers.Dense(3, **F64)
    made = built(tmp_path, x, outer(inner(x)))
    assert made.network.layer_by_path[inner.name].kind == "Dense"
    compare(made, inner.name, inner, (1, 6), 1)
    compare(made, outer.name, outer, (1, 4), 1)


def test_spectral_normalization(tmp_path):
    layer = layers.SpectralNormalization(layers.Conv1D(4, 2, **F64), **F64)
    x = keras.Input((2, 3), dtype="float64")
    made = built(tmp_path, x, layer(x))
    compare(made, layer.name, layer, (2, 3), 2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.SeparableConv1D(5, 3, depth_multiplier=2, use_bias=False, **F64), (3, 4)),
        (layers.SeparableConv2D(5, (2, 3), depth_multiplier=2, use_bias=False, **F64), (2, 3, 4)),
    ],
)
def test_separable_is_depthwise_then_pointwise(tmp_path, layer, shape):
    x = keras.Input(shape, dtype="float64")
    made = built(tmp_path, x, layer(x))
    depth, point = f"{layer.name}/depthwise", f"{layer.name}/pointwise"
    product = made.matrix(point).sum @ made.matrix(depth).sum
    np.testing.assert_allclose(product, one_hot_responses(layer, shape)[0], atol=1e-9)
    assert made.matrix(depth).count.sum() == layer.depthwise_kernel.shape.num_elements()
    (entry,) = made.wires.trace(point, made.connection(point), lambda p: False)
    assert entry.source == depth
    assert entry.in_map.index is None


EQUATIONS = [
    ("abc,cd->abd", (2, 4), (2, 5)),
    ("abc,cde->abde", (1, 4), (1, 2, 3)),
    ("abcd,cde->abe", (1, 2, 3), (1, 4)),
    ("abc,dc->abd", (1, 4), (1, 5)),
    ("ab,bcd->adc", (4,), (3, 2)),
    ("ab,cbd->acd", (4,), (2, 3)),
    ("abc,bcd->abd", (3, 4), (3, 5)),
    ("abc,bdc->abd", (3, 4), (3, 2)),
    ("abc,edbc->ade", (3, 4), (2, 5)),
    ("...x,xy->...y", (2, 4), (2, 5)),
]


@pytest.mark.parametrize(("equation", "shape", "output"), EQUATIONS)
def test_einsum_dense(tmp_path, equation, shape, output):
    layer = layers.EinsumDense(equation, output_shape=output, **F64)
    x = keras.Input(shape, dtype="float64")
    made = built(tmp_path, x, layer(x))
    c = made.connection(layer.name)
    batch = int(np.prod(shape)) // c.in_units  # positions that share the kernel
    size = int(np.prod(shape))
    eye = np.eye(size).reshape(size, *shape)
    answer = np.asarray(layer(eye)).reshape(batch, c.in_units, batch, c.out_units)
    np.testing.assert_allclose(made.matrix(layer.name).sum, answer[0, :, 0].T, atol=1e-12)
    assert made.wires.units(layer.name).count == c.out_units


def test_einsum_along_time_stays_neutral(tmp_path):
    layer = layers.EinsumDense("abc,bd->adc", output_shape=(5, 4))
    x = keras.Input((3, 4))
    made = built(tmp_path, x, layer(x))
    assert made.wires.connections(layer.name) == ()


def test_embedding(tmp_path):
    layer = layers.Embedding(90, 7, dtype="float64")
    x = keras.Input((3,), dtype="int32")
    made = built(tmp_path, x, layer(x))
    table = np.asarray(layer(np.arange(90)[None]))[0]
    np.testing.assert_array_equal(made.matrix(layer.name).sum, table.T)
    source = made.wires.incoming(layer.name)[0].source
    assert made.wires.units(source).count == 90
    (entry,) = made.wires.trace(layer.name, made.connection(layer.name), lambda p: False)
    assert entry.source == source


def test_shapes_that_contradict_the_configuration_are_neutral():
    from dataclasses import replace

    from explorer.network import ByteRange, Layer, Weight
    from explorer.weights.connections import connections_of

    weight = Weight("k", "kernel", (3, 4), "float32", ByteRange("f", 0, 48))
    good = Layer("d", "Dense", {"units": 4}, weights=(weight,))
    assert connections_of(good)
    for bad in (
        replace(good, config={"units": 5}),
        replace(good, kind="Conv2D"),
        replace(good, kind="LSTM"),
        replace(good, kind="Embedding", config={"output_dim": 4}),
        replace(good, kind="EinsumDense", config={"equation": "abc,cde->abde"}),
        replace(good, kind="EinsumDense", config={"equation": "nonsense"}),
        replace(good, kind="Unheard"),
        replace(good, weights=()),
        replace(good, weights=(replace(weight, shape=(3, 4, 5)),)),
        replace(good, weights=(replace(weight, shape=(0, 4)),)),
        replace(good, weights=(replace(weight, dtype="int8"),)),
        replace(good, weights=(replace(weight, where=None),)),
    ):
        assert connections_of(bad) == (), bad
