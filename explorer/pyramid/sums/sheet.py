"""The statistics of one band of rows while its pieces are summed up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE, TILE_ROWS, Grid
from explorer.pyramid.level0 import Values
from explorer.pyramid.sums import kernel
from explorer.pyramid.sums.compiled import Added, Library, library
from explorer.pyramid.sums.kernel import Form, Sums

F8 = NDArray[np.float64]


@dataclass(eq=False)
class Sheet:
    """Sums over the pieces that were added so far.

    Attributes
    ----------
    grid : Grid
        Of the matrix.
    sums : float64 array, shape (4, strips, across)
        Σw², Σw, Σ|w| and max|w| of each block of the band.
    peak : float64 array, shape (strips, across)
        Largest root mean square over the taps of one pair.
    tile_peak : float64 array, shape (⌈rows / 2⌉, across)
        The same of each tile.
    bad : int64 array, shape (strips, across)
        Weights that the sums leave out.
    over_rows, over_columns : float64 array, shape (4, rows) and (4, columns), or None
        The four sums of each row and of each column.
    """

    grid: Grid
    sums: F8
    peak: F8
    tile_peak: F8
    bad: NDArray[np.int64]
    over_rows: F8 | None
    over_columns: F8 | None

    @classmethod
    def empty(cls, grid: Grid, rows: int) -> Sheet:
        """A sheet for a band of so many rows, before anything is added."""
        shape = (-(-rows // SIDE), grid.across)
        return cls(
            grid,
            np.zeros((4, *shape)),
            np.zeros(shape),
            np.zeros((-(-rows // TILE_ROWS), grid.across)),
            np.zeros(shape, np.int64),
            np.zeros((4, rows)) if grid.lines else None,
            np.zeros((4, grid.columns)) if grid.lines else None,
        )

    @cached_property
    def _library(self) -> Library | None:
        return library(self.grid.width, self.sums, self.peak, self.tile_peak,
                       self.over_rows, self.over_columns)  # fmt: skip

    def codes(self) -> NDArray[np.uint8]:
        """Each tile's peak in 255ths of its block's, rounded up: shape of `tile_peak`."""
        whole = np.where(self.peak > 0, self.peak, 1.0)  # where it is 0, so are its tiles
        share = self.tile_peak / np.repeat(whole, SIDE // TILE_ROWS, axis=0)[: len(self.tile_peak)]
        share *= 255.0
        np.minimum(np.ceil(share, out=share), 255.0, out=share)
        codes: NDArray[np.uint8] = share.astype(np.uint8)
        return codes

    def add(self, form: Form, taps: list[Values], row: int, column: int) -> None:
        """Add a piece.

        Parameters
        ----------
        form : Form
        taps : list of array, shape (rows, columns)
            Whole strips of 64 rows, or fewer than 64; at most 8192 columns; at any address.
        row, column : int
            Where the first of them stands in the band: a multiple of 64, and of the piece's most
            columns.
        """
        width, sums = self.grid.width, None
        outcome = Added.NOT
        if self._library is not None and len(taps) == 1:
            outcome = self._library.add(form.dtype_of(taps[0]), taps[0], row, column)
        if outcome is Added.ALL:
            return
        taps = [np.require(tap, requirements="A") for tap in taps]
        if outcome is Added.NOT:
            sums = kernel.sums_of(form.quick(taps), width, self.grid.lines)
        if sums is None:
            piece, bad = kernel.careful(form.numbers(taps))
            sums = kernel.sums_of(piece, width, self.grid.lines)
            assert sums is not None  # what does not fit was left out
            if bad is not None:
                self._count_bad(bad, row, column)
        self._spread(sums, row, column)

    def _spread(self, sums: Sums, row: int, column: int) -> None:
        """Add the sums to the blocks, tiles, rows and columns they belong to."""
        _, strips, columns = sums.columns.shape
        starts = np.arange(0, columns, self.grid.width)
        s = slice(row // SIDE, row // SIDE + strips)
        t = slice(column // self.grid.width, column // self.grid.width + len(starts))
        self.sums[:3, s, t] = _folded(sums.columns[:3], self.grid.width)
        self.sums[3, s, t] = np.maximum.reduceat(sums.columns[3], starts, axis=1)
        first = row // TILE_ROWS
        self.tile_peak[first : first + len(sums.tiles), t] = sums.tiles
        each = np.arange(0, len(sums.tiles), SIDE // TILE_ROWS)
        self.peak[s, t] = np.maximum.reduceat(sums.tiles, each, axis=0)
        if self.over_columns is not None:
            here = self.over_columns[:, column : column + columns]
            for strip in range(strips):
                here[:3] += sums.columns[:3, strip]
                np.maximum(here[3], sums.columns[3, strip], out=here[3])
        if self.over_rows is not None and sums.rows is not None:
            along = self.over_rows[:, row : row + sums.rows.shape[1]]
            along[:3] += sums.rows[:3]
            np.maximum(along[3], sums.rows[3], out=along[3])

    def _count_bad(self, bad: NDArray[np.int64], row: int, column: int) -> None:
        """Add the weights that the sums leave out."""
        by_row = np.add.reduceat(bad, np.arange(0, len(bad), SIDE), axis=0)
        starts = np.arange(0, bad.shape[1], self.grid.width)
        s = slice(row // SIDE, row // SIDE + len(by_row))
        t = slice(column // self.grid.width, column // self.grid.width + len(starts))
        self.bad[s, t] += np.add.reduceat(by_row, starts, axis=1)


def _folded(sums: F8, width: int) -> F8:
    """What blocks come to: the columns of each folded in halves; the last axis becomes `across`."""
    *before, columns = sums.shape
    across = -(-columns // width)
    if columns < across * width:
        whole = np.zeros((*before, across * width))
        whole[..., :columns] = sums
        sums = whole
    parts = sums.reshape(*before, across, width)
    while width > 1:
        width //= 2
        parts = parts[..., :width] + parts[..., width:]
    return parts[..., 0]
