"""Sums by label, and the strongest of many pairs, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.crossing.rows import STATS
from explorer.crossing.unit_sums import MOST_OPEN, Whole, strongest_pairs
from explorer.pyramid.label_sums import Sums
from explorer.pyramid.level0 import PairSums

RNG = np.random.default_rng(5)


def labels(lengths: list[int]) -> np.ndarray:
    """Ascending labels, each so many times."""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


ONES = [1] * 150
MIXED = [*ONES[:40], 64, *ONES[:40], 17, *ONES[:30]]  # mostly single entries
LONG = [32] * 6 + [5, 1, 9]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [ONES, MIXED, LONG, [150]])
@pytest.mark.parametrize("columns", [ONES, MIXED, LONG, [150], [3, 1, 2]])
def test_sums_by_label(rows: list[int], columns: list[int], transposed: bool) -> None:
    over, along = labels(rows), labels(columns)
    value = RNG.normal(size=(len(over), len(along)))
    shape = (len(rows), len(columns)) if transposed else (len(columns), len(rows))
    sums = Sums(*shape)
    parts = PairSums(value**2, value, np.abs(value), np.abs(value))
    sums.add(over, along, parts, transposed)
    for mine, one in (
        (sums.sum_sq, value**2),
        (sums.sum, value),
        (sums.sum_abs, np.abs(value)),
    ):
        expected = np.zeros((len(rows), len(columns)))
        np.add.at(expected, (over[:, None], along[None, :]), one)
        np.testing.assert_allclose(mine if transposed else mine.T, expected, rtol=1e-12, atol=1e-12)
    largest = np.zeros((len(rows), len(columns)))
    np.maximum.at(largest, (over[:, None], along[None, :]), np.abs(value))
    np.testing.assert_array_equal(sums.max_abs if transposed else sums.max_abs.T, largest)


@pytest.mark.parametrize("levels", [3, 4000, 10**9])
@pytest.mark.parametrize("absent", [0.0, 0.3, 0.97])
def test_the_strongest_of_many_pairs(levels: int, absent: float) -> None:
    shape = (170, 230)
    there = RNG.random(shape) >= absent
    square = np.asfortranarray(RNG.integers(1, levels + 1, shape) / 7.0) * there
    total = dict.fromkeys(STATS, np.zeros(shape))
    total |= {"sum_sq": square, "count": 2.0 * there}
    found = strongest_pairs(Whole(total, there), there)
    pairs = [(-square[o, i] / 2, o, i) for o, i in np.argwhere(there).tolist()]
    expected = sorted(pairs)[:MOST_OPEN]
    assert list(zip(found.out, found.inside, strict=True)) == [(o, i) for _, o, i in expected]
    assert found.total == len(pairs)


def test_the_strongest_where_they_stand_in_a_rhythm() -> None:
    # What is looked at first holds none of the strong ones, or all of them.
    for shift in range(4):
        square = np.ones((500, 500))
        square = square.ravel()
        square[shift::4] += np.arange(62500)
        square = square.reshape(500, 500).T
        total = dict.fromkeys(STATS, np.zeros(square.shape)) | {"sum_sq": square}
        total["count"] = np.ones(square.shape)
        there = np.ones(square.shape, bool)
        found = strongest_pairs(Whole(total, there), there)
        kept = np.sort(square.ravel())[::-1][:MOST_OPEN]
        np.testing.assert_array_equal(found.stats.sum_sq, kept)
