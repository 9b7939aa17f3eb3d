"""The free space beside the ends of cables, in which a line may climb to a row."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.routes.route_map import Flags, RouteMap

I2 = NDArray[np.int16]
I8 = NDArray[np.int64]
WINDOW = 14
"""Columns of a gap in which a line may climb."""


class Gap:
    """The columns beside one end of each cable, from its face outwards.

    Cables that leave at one place have one gap: what is asked of whole rows is told by gap, and
    `of` says which is whose.

    Parameters
    ----------
    solid : RouteMap
    column, row : int64 array, shape (m,)
        Cell at the end of each cable.
    step : int64 array, shape (m,)
        1 or -1: the way along the flow that leads away from the face.

    Attributes
    ----------
    of : int64 array, shape (m,)
        Number of each cable's gap.
    columns, steps : int64 array, shape (gaps,)
        Of each gap, the first column, which lies on the map, and the way outwards.
    column, row, step : int64 array, shape (m,)
        As given; the column on the map.
    lowest, highest : int array, shape (m,)
        Rows next to those that can be reached.
    """

    def __init__(self, solid: RouteMap, column: I8, row: I8, step: I8) -> None:
        grid = solid.grid
        apart = (column - column.min(initial=0)) * 2 + (step > 0)
        _, first, of = np.unique(apart * grid.rows + row, return_index=True, return_inverse=True)
        self.of: I8 = of.ravel()
        columns = column[first, None] + step[first, None] * np.arange(WINDOW)
        inside = (columns >= 0) & (columns < grid.columns)
        columns = np.clip(columns, 0, grid.columns - 1)
        at = row[first, None]
        open_ = np.logical_and.accumulate(inside & ~solid.taken[columns, at], axis=1)
        above, below = solid.above[columns, at], solid.below[columns, at]
        self.row, self.step = row, step
        self.column = np.clip(column, 0, grid.columns - 1)
        self.highest = np.where(open_, above, -1).max(axis=1)[self.of]
        self.lowest = np.where(open_, below, grid.rows).min(axis=1)[self.of]
        self.columns, self.steps = self.column[first], step[first]
        self._open, self._above, self._below, self._first = open_, above, below, first
        self._rows = grid.rows

    def reaches(self) -> Flags:
        """Rows that can be reached in each gap, shape (gaps, rows)."""
        rows, first = np.arange(self._rows), self._first
        return np.asarray((rows > self.lowest[first, None]) & (rows < self.highest[first, None]))

    @cached_property
    def arrival(self) -> I2:
        """Column in which each row is reached from each gap, shape (gaps, rows)."""
        column, step = (a[:, None].astype(np.int16) for a in (self.columns, self.steps))
        return np.asarray(column + step * self.skips)

    @cached_property
    def skips(self) -> I2:
        """Columns to skip before each row can be reached, shape (gaps, rows)."""
        rows = self._rows
        up = np.maximum.accumulate(np.where(self._open, self._above, -1), axis=1)
        down = np.where(self._open, self._below, rows)
        down = np.minimum.accumulate(down, axis=1)
        # How many of the columns end before a row: a running sum of a histogram.
        low = _histogram(up + 1, rows + 2).cumsum(axis=1, dtype=np.uint8)
        high = _histogram(down + 1, rows + 2)[:, ::-1].cumsum(axis=1, dtype=np.uint8)[:, ::-1]
        over = np.arange(rows) >= self.row[self._first, None]
        return np.asarray(np.where(over, low[:, 1:-1], high[:, 1:-1]).astype(np.int16))

    def climb(self, row: I8) -> tuple[I8, I8]:
        """Where to climb to these rows: columns to skip, and columns there are for it."""
        up, of = (row >= self.row)[:, None], self.of
        beyond = np.where(up, self._above[of] > row[:, None], self._below[of] < row[:, None])
        passes = self._open[of] & beyond
        some = passes.any(axis=1)
        skip = np.where(some, passes.argmax(axis=1), 0)
        later = np.arange(WINDOW) >= skip[:, None]
        many = np.logical_and.accumulate(passes | ~later, axis=1).sum(axis=1) - skip
        return skip, np.where(some, np.maximum(many, 1), 2)


def _histogram(values: NDArray[np.integer], size: int) -> NDArray[np.uint8]:
    """How often each row holds each value from 0 to size - 1, shape (m, size)."""
    flat = values + size * np.arange(len(values))[:, None]
    return (
        np.bincount(flat.ravel(), minlength=size * len(values)).reshape(-1, size).astype(np.uint8)
    )
