"""Exact histograms of weights against numpy's own counting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from test_pyramid import ArrayReader, weight

from explorer.pyramid.histograms import (
    BINS,
    Counter,
    added,
    edges,
    weight_histogram,
)

EXTREMES = [0.0, -0.0, 1e-45, -3e-41, 1.0, -1.0, 3.4e38, np.inf, -np.inf, np.nan, 0.01, 7.5e-3]


def histogram_of(values: NDArray[np.floating]):
    counter = Counter()
    counter.add(values)
    return counter.result()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bins_hold_what_numpy_counts(dtype: str) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=5000) * 10.0 ** rng.integers(-30, 30, 5000)
    values = np.append(values, EXTREMES).astype(dtype)
    if dtype == "float64":
        values = np.append(values, [1e-200, -1e100, 1e139, 1e141, -1e300])
    found = histogram_of(values)
    size = np.abs(values.astype(np.float64))
    finite = size <= 1e140
    assert found.finite == finite.sum()
    assert found.non_finite == (~finite).sum()
    assert found.zeros == (values == 0).sum()
    expected, _ = np.histogram(size[finite], np.append(edges()[:-1], np.inf))
    assert np.array_equal(found.magnitudes(), expected)


def test_signed_bins_hold_what_numpy_counts() -> None:
    rng = np.random.default_rng(2)
    values = (rng.normal(size=4000) * 0.03).astype(np.float32)
    bounds, counts = histogram_of(values).signed()
    assert (np.diff(bounds) > 0).all()
    # Bins of negative numbers hold their upper edge, which numpy's hold not: mirrored, they do.
    at = int(np.searchsorted(bounds, 0))
    positive = np.histogram(values[values >= 0].astype(float), np.append(bounds[at:], np.inf))[0]
    negative = np.histogram(-values[values < 0].astype(float), np.append(-bounds[at::-1], np.inf))
    assert np.array_equal(counts[at:], positive[:-1])
    assert np.array_equal(counts[:at][::-1], negative[0][:-1])


def test_edges_are_the_numbers_of_sixteen_bits() -> None:
    assert len(edges()) == BINS + 1
    assert edges()[0] == 0.0
    assert edges()[-1] == np.inf
    assert edges()[0x3F80] == 1.0
    ratio = edges()[0x0080:-1]
    assert (ratio[1:] / ratio[:-1]).max() <= 1 + 1 / 128


def test_numbers_of_sixteen_bits_are_counted_exactly() -> None:
    bits = np.random.default_rng(3).integers(0, 0x7F80, 3000).astype(np.uint32) << 16
    values = np.append(bits.view(np.float32), 0.0).astype(np.float32)
    found = histogram_of(values)
    assert found.plain
    assert not histogram_of(np.append(values, np.float32(0.1))).plain


def test_histograms_of_weights_are_added(monkeypatch) -> None:
    monkeypatch.setattr("explorer.pyramid.histograms._CHUNK", 64)
    values = np.random.default_rng(4).normal(size=(70, 90)).astype(np.float32)
    values[0, 3] = np.nan
    found = weight_histogram(ArrayReader({"k": values}), weight("k", "kernel", values))
    assert found is not None
    assert found.non_finite == 1
    expected, _ = np.histogram(np.abs(values[np.isfinite(values)]), edges())
    assert np.array_equal(found.magnitudes(), expected)
    both = added([found, found])
    assert np.array_equal(both.magnitudes(), 2 * expected)
    assert both.non_finite == 2


def test_counting_can_be_stopped() -> None:
    arrays = {"k": np.ones((8, 8), np.float32)}
    kernel = weight("k", "kernel", arrays["k"])
    assert weight_histogram(ArrayReader(arrays), kernel, lambda: True) is None
