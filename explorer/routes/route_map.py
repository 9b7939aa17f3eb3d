"""Where on a plane there is room for a line: boxes as cells, asked for whole rows at a time.

A routing grid as used for circuit boards (Lee 1961), but never searched cell by cell: sums along
the rows answer "is this stretch free?" for every row and every cable of lines in a few array
passes (the summed-area table of Crow 1984), so that the cost is in what is visible and not in how
far a line runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I2 = NDArray[np.int16]
I8 = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_CELLS = 250_000
MOST_COLUMNS = 30_000  # so that counts of them fit into 16 bits
MOST_ROWS = 160
FEW = 400
"""Rectangles from which on summing their corners is quicker than writing each of them."""


@dataclass(frozen=True)
class Grid:
    """Cells over a part of a plane: columns of one width, rows that end where boxes end.

    Attributes
    ----------
    left : float
        World x of the first column's left side.
    width : float
        Of a column, world units.
    columns : int
    borders : float64 array, shape (rows + 1,)
        World y between the rows, rising.
    """

    left: float
    width: float
    columns: int
    borders: F8

    @classmethod
    def over(
        cls, low: F8, high: F8, cell: tuple[float, float], margin: tuple[float, float]
    ) -> Grid:
        """Cells around some boxes, larger than asked for where they would be too many.

        Parameters
        ----------
        low, high : float64 array, shape (k, 2)
            Corners of the boxes.
        cell : (float, float)
            Wished width of columns, and height of rows where nothing stands.
        margin : (float, float)
            Free length left of and right of everything, and free height above and under it.
        """
        bottom, top = float(low[:, 1].min()) - margin[1], float(high[:, 1].max()) + margin[1]
        height = max(cell[1], (top - bottom) / MOST_ROWS)
        edges = np.sort(np.concatenate((low[:, 1], high[:, 1], [bottom, top])))
        borders = _apart(edges, height / 4)
        if len(borders) > MOST_ROWS / 2:
            borders = _apart(edges, height)
        pieces = np.maximum(np.floor(np.diff(borders) / height), 1).astype(np.int64)
        start = np.repeat(borders[:-1], pieces)
        part = np.arange(len(start)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        borders = np.append(start + part * np.repeat(np.diff(borders) / pieces, pieces), top)
        left, right = float(low[:, 0].min()) - margin[0], float(high[:, 0].max()) + margin[0]
        width = max(cell[0], (right - left) * max(len(borders) / MOST_CELLS, 1 / MOST_COLUMNS))
        return cls(left, width, int(np.ceil((right - left) / width)), borders)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.borders) - 1

    def column(self, x: F8) -> I8:
        """Column that each x lies in."""
        inside = np.floor((x - self.left) / self.width)
        return np.asarray(np.clip(inside, 0, self.columns - 1), np.int64)

    def row(self, y: F8) -> I8:
        """Row that each y lies in."""
        inside = np.searchsorted(self.borders, y, side="right") - 1
        return np.asarray(np.clip(inside, 0, self.rows - 1), np.int64)

    @property
    def heights(self) -> F8:
        """Middle of each row, shape (rows,)."""
        return np.asarray((self.borders[:-1] + self.borders[1:]) / 2)

    def after(self, x: F8) -> I8:
        """First column right of x."""
        return np.asarray(np.ceil((x - self.left) / self.width - 1e-6), np.int64)

    def before(self, x: F8) -> I8:
        """Last column left of x."""
        return np.asarray(np.floor((x - self.left) / self.width + 1e-6), np.int64) - 1


def _apart(edges: F8, least: float) -> F8:
    """Of sorted values, the first and the last, and those between that are not too near."""
    steps = np.floor((edges - edges[0]) / least)
    kept = edges[np.append(True, np.diff(steps) > 0)]
    if edges[-1] - kept[-1] < least and len(kept) > 1:
        kept = kept[:-1]
    return np.append(kept, edges[-1])


class RouteMap:
    """Which cells are taken.

    Parameters
    ----------
    grid : Grid
    low, high : float64 array, shape (k, 2)
        Rectangles; every cell that one of them touches is taken.

    Attributes
    ----------
    taken : bool array, shape (columns, rows)
    above, below, right, left : int16 array, shape (columns, rows)
        For each cell the row of the next taken one above, below, or its column to the right, to
        the left; its own if it is taken itself; `rows`, `columns` or -1 where there is none.
    """

    def __init__(self, grid: Grid, low: F8, high: F8) -> None:
        self.grid = grid
        hair = 1e-6 * float(grid.borders[-1] - grid.borders[0])
        i0 = np.clip(np.floor((low[:, 0] - grid.left) / grid.width + 1e-6), 0, grid.columns)
        i1 = np.clip(np.ceil((high[:, 0] - grid.left) / grid.width - 1e-6), 0, grid.columns)
        j0 = np.searchsorted(grid.borders, low[:, 1] + hair, side="right") - 1
        j1 = np.searchsorted(grid.borders, high[:, 1] - hair, side="left")
        j0, j1 = np.clip(j0, 0, grid.rows), np.clip(j1, 0, grid.rows)
        edges = tuple(a.astype(np.int64) for a in (i0, i1, j0, j1))
        self.taken: Flags = (_painted if len(low) < FEW else _counted)(grid, *edges)
        self._along: I2 = np.zeros((grid.columns + 1, grid.rows), np.int16)
        np.cumsum(self.taken, axis=0, dtype=np.int16, out=self._along[1:])

    @cached_property
    def above(self) -> I2:
        """The next taken row at or above each cell."""
        over = np.where(
            self.taken, np.arange(self.grid.rows, dtype=np.int16), np.int16(self.grid.rows)
        )
        return np.minimum.accumulate(over[:, ::-1], axis=1)[:, ::-1]

    @cached_property
    def below(self) -> I2:
        """The next taken row at or below each cell."""
        under = np.where(self.taken, np.arange(self.grid.rows, dtype=np.int16), np.int16(-1))
        return np.maximum.accumulate(under, axis=1)

    @cached_property
    def right(self) -> NDArray[np.int32]:
        """The next taken column at or right of each cell."""
        columns = np.arange(self.grid.columns, dtype=np.int32)[:, None]
        there = np.where(self.taken, columns, np.int32(self.grid.columns))
        return np.minimum.accumulate(there[::-1], axis=0)[::-1]

    @cached_property
    def left(self) -> NDArray[np.int32]:
        """The next taken column at or left of each cell."""
        columns = np.arange(self.grid.columns, dtype=np.int32)[:, None]
        return np.maximum.accumulate(np.where(self.taken, columns, np.int32(-1)), axis=0)

    @cached_property
    def _total(self) -> NDArray[np.int32]:
        total: NDArray[np.int32] = np.zeros((self.grid.columns + 1, self.grid.rows + 1), np.int32)
        np.cumsum(self._along, axis=1, dtype=np.int32, out=total[:, 1:])
        return total

    def free_columns(self, lowest: I8, highest: I8) -> Flags:
        """Columns that are free all the way from one row to another; `highest` is one too many.

        Returns
        -------
        bool array, shape (m, columns)
        """
        inside = self._total[:, np.maximum(highest, lowest)] - self._total[:, lowest]
        return np.asarray((np.diff(inside, axis=0) == 0).T)

    def free_rows(self, first: I8, last: I8) -> Flags:
        """Rows that are free all the way between two columns.

        Parameters
        ----------
        first, last : int64 array, shape (m,)
            First column and the one after the last; an empty stretch is free.

        Returns
        -------
        bool array, shape (m, rows)
        """
        return np.asarray(self._along[np.maximum(last, first)] == self._along[first])

    def taken_before(self, columns: I2) -> I2:
        """How many cells of each row are taken left of a column of its own.

        Where two columns of a row tell the same, what lies between them is free.

        Parameters
        ----------
        columns : int16 array, shape (m, rows)
            What lies outside the map is free.
        """
        inside = np.clip(columns, 0, self.grid.columns)
        return np.asarray(self._along[inside, np.arange(self.grid.rows)])

    def free_boxes(self, first: I8, last: I8, lowest: I8, highest: I8) -> Flags:
        """Whether all cells of rectangles are free; `last` and `highest` are one too many.

        Returns
        -------
        bool array, shape (m,)
        """
        last, highest = np.maximum(last, first), np.maximum(highest, lowest)
        total = self._total
        inside = total[last, highest] - total[first, highest]
        return np.asarray(inside - total[last, lowest] + total[first, lowest] == 0)


def _painted(grid: Grid, i0: I8, i1: I8, j0: I8, j1: I8) -> Flags:
    """Cells in any of some rectangles, written one rectangle after the other."""
    taken = np.zeros((grid.columns, grid.rows), bool)
    for a, b, c, d in zip(i0.tolist(), i1.tolist(), j0.tolist(), j1.tolist(), strict=True):
        taken[a:b, c:d] = True
    return taken


def _counted(grid: Grid, i0: I8, i1: I8, j0: I8, j1: I8) -> Flags:
    """Cells in any of some rectangles, by running sums over their corners."""
    counts: NDArray[np.int32] = np.zeros((grid.columns + 1, grid.rows + 1), np.int32)
    for i, j, sign in ((i0, j0, 1), (i1, j0, -1), (i0, j1, -1), (i1, j1, 1)):
        np.add.at(counts, (i, j), sign)
    for axis in (0, 1):
        counts.cumsum(axis=axis, dtype=np.int32, out=counts)  # else made in 64 bits
    return np.asarray(counts[:-1, :-1] > 0)
