"""One pass over a band of rows of a matrix: the sums of its blocks, tiles, rows and columns.

The arithmetic works on pieces that stay in the processor's cache, in single precision where the
weights are and their squares fit, else in double; pieces are added up in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE, Grid
from explorer.pyramid.level0 import Level0, Values
from explorer.pyramid.sums import kernel
from explorer.pyramid.sums.kept_memory import Room, room
from explorer.pyramid.sums.kernel import Form
from explorer.pyramid.sums.reading_ahead import reading_ahead
from explorer.pyramid.sums.sheet import Sheet
from explorer.weights.connections import Matrix

F8 = NDArray[np.float64]
_PIECE = 1 << 19  # elements worked on at once
_READ = 1 << 20  # elements read at once
_PIECE_COLUMNS = 1 << 13  # a BLAS takes longer rows with several threads
_PANEL = 1 << 14  # columns read at once of a matrix so wide that 64 rows of it are large
_NEAR = 1 << 22  # elements of 64 rows above which panels are read
_FAR = 1 << 23  # the same where a disk is waited for, which likes long reads


@dataclass(frozen=True, eq=False)
class Band:
    """What one band adds to the statistics of its matrix.

    Attributes
    ----------
    sums : float64 array, shape (4, strips, across)
        Σw², Σw, Σ|w| and max|w| of each block.
    peak : float64 array, shape (strips, across)
        Largest root mean square over the taps of one pair.
    codes : uint8 array, shape (⌈rows / 2⌉, across)
        Each tile's own peak in 255ths of its block's, rounded up.
    bad : int64 array, shape (strips, across)
        Weights that the sums leave out.
    over_rows, over_columns : float64 array, shape (4, rows) and (4, columns), or None
        The same four of each row, and of each column within the band.
    """

    sums: F8
    peak: F8
    codes: NDArray[np.uint8]
    bad: NDArray[np.int64]
    over_rows: F8 | None
    over_columns: F8 | None


Order = tuple[Matrix, Grid, int]
"""A matrix that is not diagonal, its cuts, and the number of a band."""


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows and columns of a matrix that are read together, for one of several bands."""

    order: int
    matrix: Matrix
    rows: tuple[int, int]
    columns: tuple[int, int]


def measure(orders: Sequence[Order], level0: Level0) -> list[Band]:
    """Read bands once and sum them up; what is next is read while what is there is summed.

    Parameters
    ----------
    orders : sequence of (Matrix, Grid, int)
        Best in the order of the file.
    level0 : Level0
        Where the weights are read.
    """
    ranges = [grid.band_rows(band) for _, grid, band in orders]
    sheets = [
        Sheet.empty(grid, stop - first)
        for (_, grid, _), (first, stop) in zip(orders, ranges, strict=True)
    ]
    # Reading from the page cache is work for the same processor: nothing is won by another thread.
    ends = [(orders[at][0], ranges[at][0]) for at in (0, -1) if orders]
    wait = not all(level0.at_hand(matrix, row) for matrix, row in ends)
    reads = [
        _Read(at, matrix, rows, columns)
        for at, (matrix, grid, _) in enumerate(orders)
        for rows, columns in _reads(grid, *ranges[at], _FAR if wait else _NEAR)
    ]
    own = room()
    careless = np.errstate(over="ignore", under="ignore", invalid="ignore")
    with careless, reading_ahead(partial(_taps, level0, own), reads, wait) as arriving:
        for read, (form, taps) in arriving:
            (r0, r1), (c0, c1) = read.rows, read.columns
            top = ranges[read.order][0]
            for rows, columns in _pieces(r1 - r0, c1 - c0):
                piece = [t[rows, columns] for t in taps]
                sheets[read.order].add(form, piece, r0 - top + rows.start, c0 + columns.start)
    return [_band(sheet) for sheet in sheets]


def _band(sheet: Sheet) -> Band:
    return Band(sheet.sums, sheet.peak, sheet.codes(), sheet.bad, sheet.over_rows,
                sheet.over_columns)  # fmt: skip


def _taps(level0: Level0, own: Room, read: _Read, place: int) -> tuple[Form, list[Values]]:
    """What the taps of a part of a matrix are, and they: as they are stored, if that is known."""
    matrix = read.matrix
    if matrix.taps == 1:
        name = f"stored {place}"
        found = level0.stored(matrix, read.rows, read.columns, lambda n: own.bytes(name, n))
        if found is not None:
            return kernel.STORED[matrix.weight.dtype], [found]
    return kernel.NUMBERS, list(level0.taps(matrix, [read.rows], read.columns, keep=False))


def _reads(
    grid: Grid, first: int, stop: int, wide: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and columns that are read together; panels where 64 rows have more than `wide`."""
    panel = grid.columns if SIDE * grid.columns <= wide else _PANEL
    step = SIDE * max(1, _READ // (SIDE * grid.taps * panel))
    for r0 in range(first, stop, step):
        for c0 in range(0, grid.columns, panel):
            yield (r0, min(stop, r0 + step)), (c0, min(grid.columns, c0 + panel))


def _pieces(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Parts that are summed together: whole strips, or the rows that are left below them."""
    width = min(columns, _PIECE_COLUMNS)
    step = SIDE * max(1, _PIECE // (SIDE * width))
    whole = rows - rows % SIDE
    cuts = [*range(0, whole, step), whole]
    for r0, r1 in [*pairwise(cuts), (whole, rows)]:
        if r0 < r1:
            for c0 in range(0, columns, _PIECE_COLUMNS):
                yield slice(r0, r1), slice(c0, min(columns, c0 + _PIECE_COLUMNS))
