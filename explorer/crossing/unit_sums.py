"""The strongest of all pairs of units that two rows show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.older import rms
from explorer.overlays import EdgeStats

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Index = NDArray[np.intp]
Grid = NDArray[np.bool_]
MOST_OPEN = 2500
"""Edges shown of one pair of rows whose units are visible."""
_SAMPLE = 8  # times as many values as are wanted tell about how large those are


@dataclass(frozen=True, eq=False)
class UnitSums:
    """Sums of the weights between what shows of two rows.

    Attributes
    ----------
    out, inside : int32 array, shape (m,)
        Positions among the rows shown of the target and of the source, strongest pair first.
    stats : EdgeStats
        Of the strongest pairs.
    joined : bool array, shape (shown of the target, shown of the source)
        Which pairs are joined by weights, drawn or not.
    single : bool array, shape (m,)
        Which of the strongest stand for a single unit at both ends.
    total : int
        Joined pairs of single units.
    total_sum_sq : float
        Their Σw².
    non_finite : int
    """

    out: I4
    inside: I4
    stats: EdgeStats
    joined: Grid
    single: Grid
    total: int
    total_sum_sq: float
    non_finite: int


class Table(Protocol):
    """Sums of all pairs that show."""

    strength: F8
    """Shape (source, target): mean square, -1 where nothing joins a pair."""
    total: int
    total_sum_sq: float
    non_finite: int

    def at(self, out: Index, inside: Index) -> F8:
        """Sums of some pairs: shape (fields, pairs)."""


class Whole:
    """A table that was summed in one go.

    Parameters
    ----------
    grids : dict of str to array, shape (target, source)
    alone : bool array, shape (target, source)
        Pairs of single units.
    """

    def __init__(self, grids: dict[str, NDArray[Any]], alone: Grid) -> None:
        self._grids = grids
        self.strength = mean_squares(grids)
        single = alone & (self.strength.T >= 0)
        self.total = int(np.count_nonzero(single))
        self.total_sum_sq = float(np.sum(grids["sum_sq"], where=single))
        self.non_finite = int(grids["non_finite"].sum())

    def at(self, out: Index, inside: Index) -> F8:
        """Sums of some pairs."""
        return np.array([grid[out, inside] for grid in self._grids.values()], np.float64)


def mean_squares(grids: dict[str, NDArray[Any]]) -> F8:
    """Mean square of each pair, -1 where none joins it: shape (source, target)."""
    sum_sq, count, bad = (grids[name].T for name in ("sum_sq", "count", "non_finite"))
    return np.where(count + bad > 0, sum_sq / np.maximum(count, 1), -1.0)


def strongest_pairs(table: Table, alone: Grid) -> UnitSums:
    """The strongest pairs of a table, strongest first; equal ones by position.

    Parameters
    ----------
    table : Table
    alone : bool array, shape (target, source)
        Pairs of single units.
    """
    # Of a million pairs only some are drawn: all are compared, only those are sorted. They are
    # compared as they lie in memory, where the rows shown of the target are side by side.
    there = table.strength >= 0
    strength = table.strength.ravel()
    pairs = int(np.count_nonzero(there))
    best = np.flatnonzero(strength >= (_least(strength, MOST_OPEN) if pairs > MOST_OPEN else 0.0))
    inside, out = np.divmod(best, table.strength.shape[1])
    order = np.lexsort((inside, out, -strength[best]))[:MOST_OPEN]
    out, inside = out[order], inside[order]
    sum_sq, total, sum_abs, max_abs, count, bad, *older = table.at(out, inside)
    return UnitSums(
        out.astype(np.int32),
        inside.astype(np.int32),
        EdgeStats(
            sum_sq,
            total,
            sum_abs,
            max_abs,
            count.astype(np.int64),
            bad.astype(np.int64),
            rms(np.stack(older, axis=-1)) if older else None,
        ),
        there.T,
        alone[out, inside],
        table.total,
        table.total_sum_sq,
        table.non_finite,
    )


def _least(values: F8, most: int) -> F8:
    """The smallest of the `most` largest of some values, of which there are more."""
    # What is surely not among them is left out first: a few of all tell about where to look.
    few = values[:: len(values) // (_SAMPLE * most) or 1]
    rank = min(2 * most * len(few) // len(values) + 8, len(few))
    bound = np.partition(few, len(few) - rank)[len(few) - rank]
    likely = values[values >= bound]
    if len(likely) < most:
        likely = values
    return np.asarray(np.partition(likely, len(likely) - most)[len(likely) - most])
