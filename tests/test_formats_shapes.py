"""Inferred shapes equal those that Keras computes."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers as kl

from explorer.formats.keras_model.shapes import output_shapes, read_shape

IMAGE, SERIES, VOLUME = (None, 13, 17, 6), (None, 11, 6), (None, 7, 8, 9, 2)

CASES: list[tuple[Any, Any]] = [
    (kl.Dense(5), SERIES),
    (kl.Conv1D(4, 3, strides=2), SERIES),
    (kl.Conv1D(4, 3, padding="causal", dilation_rate=2), SERIES),
    (kl.Conv2D(4, (3, 5), strides=(2, 3), padding="same"), IMAGE),
    (kl.Conv2D(4, 3, dilation_rate=3), IMAGE),
    (kl.Conv2D(4, 3), (None, None, 17, 6)),
    (kl.Conv3D(4, 2, strides=3), VOLUME),
    (kl.Conv1DTranspose(4, 3, strides=2), SERIES),
    (kl.Conv2DTranspose(4, 3, strides=2), IMAGE),
    (kl.Conv2DTranspose(4, 3, strides=2, padding="same"), IMAGE),
    (kl.Conv2DTranspose(4, 2, strides=3), IMAGE),
    (kl.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1), IMAGE),
    (kl.Conv3DTranspose(4, 2, strides=2), VOLUME),
    (kl.DepthwiseConv2D(3, depth_multiplier=3), IMAGE),
    (kl.DepthwiseConv1D(3, padding="same"), SERIES),
    (kl.SeparableConv2D(7, 3, strides=2), IMAGE),
    (kl.SeparableConv1D(7, 3), SERIES),
    (kl.MaxPooling2D(), IMAGE),
    (kl.AveragePooling2D(3, strides=2, padding="same"), IMAGE),
    (kl.MaxPooling1D(3), SERIES),
    (kl.AveragePooling3D(2), VOLUME),
    (kl.GlobalAveragePooling2D(), IMAGE),
    (kl.GlobalMaxPooling1D(keepdims=True), SERIES),
    (kl.GlobalMaxPooling3D(), VOLUME),
    (kl.Flatten(), IMAGE),
    (kl.Flatten(), (None, None, 3)),
    (kl.Reshape((17, -1)), IMAGE),
    (kl.Reshape((66,)), SERIES),
    (kl.Permute((2, 1)), SERIES),
    (kl.RepeatVector(4), (None, 6)),
    (kl.Embedding(30, 8), (None, 9)),
    (kl.SimpleRNN(5), SERIES),
    (kl.GRU(5, return_sequences=True), SERIES),
    (kl.LSTM(5, return_sequences=True, return_state=True), SERIES),
    (kl.Bidirectional(kl.LSTM(5)), SERIES),
    (kl.Bidirectional(kl.GRU(5, return_sequences=True), merge_mode="sum"), SERIES),
    (kl.TimeDistributed(kl.Conv2D(4, 3)), (None, 5, 13, 17, 6)),
    (kl.RNN([kl.LSTMCell(3), kl.GRUCell(2)], return_sequences=True), SERIES),
    (kl.ConvLSTM2D(4, 3), (None, 5, 13, 17, 6)),
    (kl.ZeroPadding1D(2), SERIES),
    (kl.ZeroPadding2D(((1, 2), (3, 4))), IMAGE),
    (kl.ZeroPadding2D((2, 3)), IMAGE),
    (kl.ZeroPadding3D(1), VOLUME),
    (kl.Cropping1D((1, 2)), SERIES),
    (kl.Cropping2D(((1, 2), (3, 4))), IMAGE),
    (kl.UpSampling1D(3), SERIES),
    (kl.UpSampling2D((2, 3)), IMAGE),
    (kl.UpSampling3D(2), VOLUME),
    (kl.BatchNormalization(), IMAGE),
    (kl.Dropout(0.1), IMAGE),
    (kl.Activation("relu"), IMAGE),
    (kl.EinsumDense("...x,xy->...y", output_shape=4), (None, 6)),
    (kl.Resizing(5, 6), IMAGE),
    (kl.Concatenate(), [SERIES, SERIES]),
    (kl.Concatenate(axis=1), [SERIES, (None, 3, 6)]),
    (kl.Add(), [SERIES, (None, 1, 6)]),
    (kl.Multiply(), [(None, 1), (None, 6)]),
    (kl.Subtract(), [SERIES, SERIES]),
    (kl.Dot(axes=(2, 2)), [SERIES, (None, 4, 6)]),
    (kl.Dot(axes=1), [(None, 6), (None, 6)]),
]


@pytest.mark.parametrize(("layer", "given"), CASES, ids=lambda v: getattr(v, "name", ""))
def test_equals_keras(layer: Any, given: Any) -> None:
    shapes = given if isinstance(given, list) else [given]
    inputs = [keras.Input(batch_shape=s) for s in shapes]
    if isinstance(layer, kl.Embedding):
        inputs = [keras.Input(batch_shape=s, dtype="int32") for s in shapes]
    outputs = keras.tree.flatten(layer(inputs if isinstance(given, list) else inputs[0]))
    config = keras.saving.serialize_keras_object(layer)["config"]
    found = output_shapes(type(layer).__name__, config, list(shapes), {})
    assert found == [tuple(o.shape) for o in outputs]


@pytest.mark.parametrize(
    "layer",
    [
        kl.EinsumDense("abc,cd->abd", output_shape=(None, 5)),
        kl.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3)),
    ],
)
def test_einsum_knows_more_than_keras_records(layer: Any) -> None:
    """Keras writes ``None`` for a length that the equation copies from the input."""
    found = output_shapes("EinsumDense", layer.get_config(), [SERIES], {})
    real = layer(keras.ops.zeros((2, *SERIES[1:])))
    assert found == [(None, *real.shape[1:])]


@pytest.mark.parametrize(
    ("query", "value", "output"), [((None, 4, 6), (None, 9, 6), None), (SERIES, SERIES, 10)]
)
def test_attention(query: Any, value: Any, output: Any) -> None:
    layer = kl.MultiHeadAttention(2, 3, output_shape=output)
    result = layer(keras.Input(batch_shape=query), keras.Input(batch_shape=value))
    found = output_shapes("MultiHeadAttention", layer.get_config(), [query, value], {})
    assert found == [tuple(result.shape)]


@pytest.mark.parametrize("config", [{}, {"units": "many"}, {"filters": 1, "kernel_size": [0]}])
def test_nonsense_is_unknown_and_no_error(config: dict[str, Any]) -> None:
    for kind in ("Dense", "Conv2D", "LSTM", "Reshape", "Bidirectional", "EinsumDense", "Mine"):
        assert output_shapes(kind, config, [IMAGE], {}) in ([], [None])


def test_read_shape() -> None:
    assert read_shape([None, 3]) == (None, 3)
    assert read_shape({"class_name": "__tuple__", "items": [None, 3]}) == (None, 3)
    for bad in (None, "ab", [True], [-1], [1.5], [2**62], [[1]], list(range(99))):
        assert read_shape(bad) is None
