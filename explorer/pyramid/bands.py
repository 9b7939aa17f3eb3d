"""One pass over a band of rows of a matrix: the sums of its blocks, tiles, rows and columns.

The arithmetic works on pieces that stay in the processor's cache, in single precision where the
weights are and their squares fit, else in double; what is added up over more than 64 weights is
added in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE, TILE_ROWS, Grid
from explorer.pyramid.level0 import LARGEST, Level0, Values
from explorer.weights.connections import Matrix

F8 = NDArray[np.float64]
_PIECE = 1 << 17  # elements worked on at once
_PIECE_COLUMNS = 2048
_PANEL = 1 << 14  # columns read at once of a matrix so wide that 64 rows of it are large
_WIDE = 1 << 21  # elements of 64 rows above which panels are read
FITS_SINGLE = (1e-12, 1e15)
"""Largest |w| between which squares and their sums fit single precision."""


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


def measure(matrix: Matrix, grid: Grid, band: int, level0: Level0) -> Band:
    """Read a band once and sum it up.

    Parameters
    ----------
    matrix : Matrix
        Not diagonal.
    grid : Grid
        Of the matrix.
    band : int
    level0 : Level0
        Where the weights are read.
    """
    first, stop = grid.band_rows(band)
    sheet = _Sheet.empty(grid, stop - first)
    for r0, r1, c0, c1 in _reads(grid, first, stop):
        taps = list(level0.taps(matrix, [(r0, r1)], (c0, c1), keep=False))
        for rows, columns in _pieces(r1 - r0, c1 - c0):
            piece = [t[rows, columns] for t in taps]
            sheet.add(piece, r0 - first + rows.start, c0 + columns.start)
    return sheet.band()


def _reads(grid: Grid, first: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows and columns that are read together."""
    panel = grid.columns if SIDE * grid.columns <= _WIDE else _PANEL
    step = SIDE * max(1, _PIECE // (SIDE * panel))
    for r0 in range(first, stop, step):
        for c0 in range(0, grid.columns, panel):
            yield r0, min(stop, r0 + step), c0, min(grid.columns, c0 + panel)


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


@dataclass(eq=False)
class _Sheet:
    """A band while it is being summed."""

    grid: Grid
    sums: F8
    peak: F8
    tile_peak: Values
    bad: NDArray[np.int64]
    over_rows: F8 | None
    over_columns: F8 | None
    buffers: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def empty(cls, grid: Grid, rows: int) -> _Sheet:
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

    def band(self) -> Band:
        """The finished band."""
        tall = np.repeat(self.peak, SIDE // TILE_ROWS, axis=0)[: len(self.tile_peak)]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.ceil(self.tile_peak / tall * 255.0)
        codes = np.where(tall > 0, np.minimum(share, 255.0), 0.0).astype(np.uint8)
        return Band(self.sums, self.peak, codes, self.bad, self.over_rows, self.over_columns)

    def add(self, taps: list[Values], row: int, column: int) -> None:
        """Add the taps of one piece, whose first row and column these are."""
        pairs, bad = self._quick(taps), None
        strips = _strip_sums(pairs)
        top = float(strips[3].max(initial=0.0))  # NaN where any weight is
        low, high = (0.0, LARGEST) if pairs.value.dtype == np.float64 else FITS_SINGLE
        if not (top == 0.0 or low < top < high):
            pairs, bad = _careful(taps)
            strips = _strip_sums(pairs)
        self._spread(pairs, strips, row, column)
        if bad is not None:
            self._count_bad(bad, row, column)

    def _buffer(self, name: str, like: Values) -> Values:
        """Memory kept from piece to piece: fresh memory costs more than the arithmetic on it."""
        found = self.buffers.get(name)
        if found is None or found.size < like.size or found.dtype != like.dtype:
            found = self.buffers[name] = np.empty(like.size, like.dtype)
        return found[: like.size].reshape(like.shape)

    def _quick(self, taps: list[Values]) -> _Pairs:
        """Sums over the taps of each pair, in the weights' own precision."""
        first = taps[0]
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(first, out=self._buffer("size", first))
            if len(taps) == 1:
                return _Pairs(first, size, None, size, size)
            value = self._buffer("value", first)
            peak = self._buffer("peak", first)
            square = np.multiply(first, first, out=self._buffer("square", first))
            np.copyto(value, first)
            np.copyto(peak, size)
            one = self._buffer("one", first)
            for tap in taps[1:]:
                np.add(value, tap, out=value)
                np.abs(tap, out=one)
                np.add(size, one, out=size)
                np.maximum(peak, one, out=peak)
                np.multiply(tap, tap, out=one)
                np.add(square, one, out=square)
            np.multiply(square, 1.0 / len(taps), out=one)
            return _Pairs(value, size, square, peak, np.sqrt(one, out=one))

    def _spread(self, pairs: _Pairs, strips: list[Values], row: int, column: int) -> None:
        """Add the pairs to the blocks, tiles, rows and columns they lie in."""
        rows, columns = pairs.value.shape
        starts = np.arange(0, columns, self.grid.width)
        s = slice(row // SIDE, row // SIDE + len(strips[0]))
        t = slice(column // self.grid.width, column // self.grid.width + len(starts))
        for at in range(3):
            self.sums[at, s, t] += np.add.reduceat(strips[at], starts, axis=1, dtype=np.float64)
        self.sums[3, s, t] = np.maximum.reduceat(strips[3], starts, axis=1)
        self._tiles(pairs.rms, row, t, starts)
        if self.over_columns is not None:
            here = self.over_columns[:, column : column + columns]
            for at in range(3):
                here[at] += strips[at].sum(axis=0, dtype=np.float64)
            np.maximum(here[3], strips[3].max(axis=0), out=here[3])
            self._lines(pairs, slice(row, row + rows))

    def _count_bad(self, bad: NDArray[np.int64], row: int, column: int) -> None:
        """Add the weights that the sums leave out."""
        by_row = np.add.reduceat(bad, np.arange(0, len(bad), SIDE), axis=0)
        starts = np.arange(0, bad.shape[1], self.grid.width)
        s = slice(row // SIDE, row // SIDE + len(by_row))
        t = slice(column // self.grid.width, column // self.grid.width + len(starts))
        self.bad[s, t] += np.add.reduceat(by_row, starts, axis=1)

    def _tiles(self, rms: Values, row: int, across: slice, starts: NDArray[np.intp]) -> None:
        """Peaks of tiles, and of the blocks they make up."""
        rows, columns = rms.shape
        even = rows - rows % TILE_ROWS
        pairs = self._buffer("pairs", rms[0:even:2])
        np.maximum(rms[0:even:2], rms[1:even:2], out=pairs)
        if columns % self.grid.width == 0 and len(pairs):
            # One long row is the quickest to cut.
            cuts = np.arange(0, pairs.size, self.grid.width)
            peak = np.maximum.reduceat(pairs.reshape(-1), cuts).reshape(len(pairs), -1)
        else:
            peak = np.maximum.reduceat(pairs, starts, axis=1)
        if even < rows:
            peak = np.concatenate((peak, np.maximum.reduceat(rms[even:], starts, axis=1)))
        first = row // TILE_ROWS
        self.tile_peak[first : first + len(peak), across] = peak
        each = np.arange(0, len(peak), SIDE // TILE_ROWS)
        strips = slice(row // SIDE, row // SIDE + len(each))
        self.peak[strips, across] = np.maximum.reduceat(peak, each, axis=0)

    def _lines(self, pairs: _Pairs, rows: slice) -> None:
        """Add to the sums over whole rows."""
        assert self.over_rows is not None
        here = self.over_rows[:, rows]
        ones = _ones(pairs.value.shape[1], pairs.value.dtype.str)
        square = pairs.square
        here[0] += (np.vecdot(pairs.value, pairs.value) if square is None
                    else np.vecdot(square, ones))  # fmt: skip
        here[1] += np.vecdot(pairs.value, ones)
        here[2] += np.vecdot(pairs.size, ones)
        np.maximum(here[3], pairs.peak.max(axis=1), out=here[3])


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Sums over the taps of each pair, shape (rows, columns): Σw, Σ|w|, Σw², max|w|, RMS.

    Of a single tap the squares are left out: they follow from the values.
    """

    value: Values
    size: Values
    square: Values | None
    peak: Values
    rms: Values


def _strip_sums(pairs: _Pairs) -> list[Values]:
    """Σw², Σw, Σ|w| and max|w| of each column of each 64 rows: shape (strips, columns)."""
    rows, columns = pairs.value.shape
    height = min(rows, SIDE)
    tall = (rows // height, height, columns)
    value = pairs.value.reshape(tall)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if pairs.square is None:
            squares = np.einsum("shc,shc->sc", value, value)
        else:
            squares = np.add.reduce(pairs.square.reshape(tall), axis=1)
        return [
            squares,
            np.add.reduce(value, axis=1),
            np.add.reduce(pairs.size.reshape(tall), axis=1),
            np.maximum.reduce(pairs.peak.reshape(tall), axis=1),
        ]


@lru_cache(maxsize=64)
def _ones(n: int, dtype: str) -> Values:
    """A product with ones runs at twice the speed of a sum along rows."""
    return np.ones(n, dtype)


def _careful(taps: list[Values]) -> tuple[_Pairs, NDArray[np.int64] | None]:
    """The same in double precision; weights that are not finite are counted and left out."""
    shape = taps[0].shape
    value, size, square, peak = (np.zeros(shape) for _ in range(4))
    bad = np.zeros(shape, np.int64)
    for tap in taps:
        v = tap.astype(np.float64)
        a = np.abs(v)
        wrong = ~(a <= LARGEST)
        v[wrong] = a[wrong] = 0.0
        bad += wrong
        value += v
        size += a
        square += v * v
        np.maximum(peak, a, out=peak)
    rms = np.sqrt(square / np.maximum(len(taps) - bad, 1))
    return _Pairs(value, size, square, peak, rms), bad if bad.any() else None
