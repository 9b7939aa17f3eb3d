"""Sums over the weights of each unit against numpy over the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pyramid import ArrayReader, pairs_of, weight

from explorer.network import Layer
from explorer.pyramid.line_sums import line_sums
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import connections_of

LAYERS = [
    ("Dense", (40, 30), {}),
    ("Conv2D", (3, 3, 5, 8), {}),
    ("Conv2D", (3, 3, 2, 8), {"groups": 4}),
    ("DepthwiseConv2D", (3, 3, 6, 2), {}),
    ("Conv2DTranspose", (2, 2, 7, 5), {}),
    ("EinsumDense", (6, 4, 5), {"equation": "abc,cde->abde"}),
    ("EinsumDense", (4, 5, 6), {"equation": "abcd,cde->abe"}),
]


def test_what_the_pyramid_keeps_of_rows_and_columns_is_not_read_again() -> None:
    values = np.random.default_rng(1).normal(size=(2100, 2050)).astype(np.float32)
    kernel = weight("k", "kernel", values)
    (connection,) = connections_of(Layer("a", "Dense", weights=(kernel,)))
    reader = ArrayReader({"k": values})
    pyramid = Pyramid(reader)
    pyramid.build(connection)
    before = reader.elements
    out, inside = line_sums(pyramid, connection)
    assert reader.elements == before
    square = values.astype(np.float64) ** 2
    assert out.sum_sq == pytest.approx(square.sum(axis=0), rel=1e-6)
    assert inside.sum_sq == pytest.approx(square.sum(axis=1), rel=1e-6)
    assert np.array_equal(inside.max_abs, np.abs(values).max(axis=1))
    assert (out.weights == 2100).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LAYERS), st.integers(0, 2**32 - 1), st.booleans())
def test_sums_of_units_equal_numpy(layer, seed: int, broken: bool) -> None:
    kind, shape, config = layer
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(np.float32)
    if broken:
        values.ravel()[rng.integers(0, values.size, 3)] = [np.nan, np.inf, 0.0]
    role = "depthwise_kernel" if kind.startswith("Depthwise") else "kernel"
    arrays = {"k": values}
    (connection,) = connections_of(Layer("a", kind, config, weights=(weight("k", role, values),)))
    found = line_sums(Pyramid(ArrayReader(arrays)), connection)
    out, inside, flat = pairs_of(connection, arrays)
    finite = np.isfinite(flat)
    size = np.where(finite, np.abs(flat), 0)
    for sums, unit, count in (
        (found[0], out, connection.out_units),
        (found[1], inside, connection.in_units),
    ):
        largest = np.zeros(count)
        np.maximum.at(largest, unit, size)
        assert sums.sum_sq == pytest.approx(np.bincount(unit, size**2, count), rel=1e-6)
        assert sums.max_abs == pytest.approx(largest, rel=1e-7)
        assert np.array_equal(sums.weights, np.bincount(unit, minlength=count))
        assert np.array_equal(sums.non_finite, np.bincount(unit, ~finite, count))
