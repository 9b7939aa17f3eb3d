"""Statistics of one matrix at every resolution, put together from bands, and as plain bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import FACTOR, SIDE, Grid
from explorer.pyramid.level0 import Values
from explorer.pyramid.sums.bands import Band
from explorer.pyramid.sums.kernel import FITS_SINGLE

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Totals:
    """Sums over all weights of a connection or a matrix.

    Attributes
    ----------
    sum_sq, sum, sum_abs, max_abs : float
        Σw², Σw, Σ|w| and max|w| of the finite weights.
    finite, non_finite : int
        How many those are, and how many others.
    """

    sum_sq: float = 0.0
    sum: float = 0.0
    sum_abs: float = 0.0
    max_abs: float = 0.0
    finite: int = 0
    non_finite: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.sum_sq + other.sum_sq,
            self.sum + other.sum,
            self.sum_abs + other.sum_abs,
            max(self.max_abs, other.max_abs),
            self.finite + other.finite,
            self.non_finite + other.non_finite,
        )

    def row(self) -> tuple[float, float, float, float, int, int]:
        """The six numbers in order."""
        return (self.sum_sq, self.sum, self.sum_abs, self.max_abs, self.finite, self.non_finite)


@dataclass(frozen=True, eq=False)
class Blocks:
    """One level: statistics of each block, arrays of shape (strips, across).

    Attributes
    ----------
    height, width : int
        Rows and columns per block.
    sum_sq, sum, sum_abs, max_abs : float array
        Σw², Σw, Σ|w| and max|w| of the finite weights.
    peak : float array
        At least the largest root mean square over the taps of one pair, and larger by no more
        than a rounding.
    bad : int64 array or None
        Weights that are not finite; ``None`` when there are none.
    """

    height: int
    width: int
    sum_sq: Values
    sum: Values
    sum_abs: Values
    max_abs: Values
    peak: Values
    bad: NDArray[np.int64] | None = None

    def coarser(self) -> Blocks:
        """The next level: 8 × 8 of these blocks in one."""

        def folded(values: Values, function: np.ufunc) -> Values:
            for axis in (0, 1):
                starts = np.arange(0, values.shape[axis], FACTOR)
                values = function.reduceat(values, starts, axis=axis)
            return values

        def added(values: Values) -> Values:
            return folded(values.astype(np.float64), np.add)

        return Blocks(
            self.height * FACTOR,
            self.width * FACTOR,
            added(self.sum_sq),
            added(self.sum),
            added(self.sum_abs),
            folded(self.max_abs, np.maximum),
            folded(self.peak, np.maximum),
            None if self.bad is None else folded(self.bad, np.add),
        )


@dataclass(frozen=True, eq=False)
class MatrixStats:
    """Statistics of one matrix.

    Attributes
    ----------
    grid : Grid
    finest : Blocks or None
        Level 1; ``None`` where only totals are kept.
    codes : uint8 array, shape (⌈rows / 2⌉, across), or None
        Peak of each tile in 255ths of its block's, rounded up.
    over_rows, over_columns : float array, shape (4, rows) and (4, columns), or None
        Σw², Σw, Σ|w| and max|w| of each row and column.
    """

    grid: Grid
    finest: Blocks | None = None
    codes: NDArray[np.uint8] | None = None
    over_rows: Values | None = None
    over_columns: Values | None = None

    @cached_property
    def levels(self) -> tuple[Blocks, ...]:
        """All levels, finest first; the last has at most 8 × 8 blocks."""
        found: list[Blocks] = [] if self.finest is None else [self.finest]
        while found and max(found[-1].sum_sq.shape) > FACTOR:
            found.append(found[-1].coarser())
        return tuple(found)

    @property
    def nbytes(self) -> int:
        """Bytes held, coarser levels included."""
        held = [a for a in (self.codes, self.over_rows, self.over_columns) if a is not None]
        if self.finest is not None:
            f = self.finest
            held += [f.sum_sq, f.sum, f.sum_abs, f.max_abs]
            held += [] if f.peak is f.max_abs else [f.peak]
            held += [] if f.bad is None else [f.bad]
        return int(sum(a.nbytes for a in held) * 1.1)


def joined(
    grid: Grid, bands: Sequence[Band], over_columns: F8 | None
) -> tuple[MatrixStats, Totals]:
    """The statistics of a matrix.

    Parameters
    ----------
    grid : Grid
    bands : sequence of Band
        All, in order of their rows.
    over_columns : float64 array, shape (4, columns), or None
        Those of all bands together.
    """
    sums = np.concatenate([b.sums for b in bands], axis=1)
    bad = np.concatenate([b.bad for b in bands])
    wrong = int(bad.sum())
    weights = grid.rows * grid.columns * grid.taps
    totals = totals_of(sums, weights, wrong)
    if not grid.stored:
        return MatrixStats(grid), totals
    top = totals.max_abs
    low, high = FITS_SINGLE
    keep = np.float32 if top == 0.0 or low < top < high else np.float64
    sum_sq, sum_, sum_abs, max_abs = (s.astype(keep) for s in sums)
    peak: Values = max_abs
    if grid.taps > 1:
        peak = _upward(np.concatenate([b.peak for b in bands]), keep)
    over: Sequence[Values | None] = (None, None)
    if over_columns is not None:
        rows = np.concatenate([b.over_rows for b in bands if b.over_rows is not None], axis=1)
        over = rows.astype(keep), over_columns.astype(keep)
    codes = np.concatenate([b.codes for b in bands])
    wrongs = bad if wrong else None
    finest = Blocks(SIDE, grid.width, sum_sq, sum_, sum_abs, max_abs, peak, wrongs)
    return MatrixStats(grid, finest, codes, over[0], over[1]), totals


def totals_of(sums: F8, weights: int, non_finite: int) -> Totals:
    """The sums of all blocks together.

    Parameters
    ----------
    sums : float64 array, shape (4, strips, across)
        Σw², Σw, Σ|w| and max|w| of each.
    weights, non_finite : int
        How many weights there are, and how many of them the sums leave out.
    """
    square, value, size = (float(np.add.reduce(np.add.reduce(s, axis=1))) for s in sums[:3])
    top = float(sums[3].max(initial=0.0))
    return Totals(square, value, size, top, weights - non_finite, non_finite)


def _upward(values: F8, dtype: type[np.floating]) -> Values:
    """Rounded to a precision, never below the value."""
    low = values.astype(dtype)
    return np.where(low < values, np.nextafter(low, np.asarray(np.inf, dtype)), low)


# -- as bytes ---------------------------------------------------------------------------------

_WIDE, _BAD = 1, 2


def to_bytes(stats: Sequence[MatrixStats]) -> bytes:
    """Statistics of the matrices of a connection, one after the other, little endian.

    Shapes are not written: they follow from the grids.
    """
    out: list[bytes] = []
    for one in stats:
        f = one.finest
        if f is None:
            continue
        flags = (_WIDE if f.sum_sq.dtype == np.float64 else 0) | (0 if f.bad is None else _BAD)
        arrays = [f.sum_sq, f.sum, f.sum_abs, f.max_abs]
        arrays += [f.peak] if one.grid.taps > 1 else []
        arrays += [] if f.bad is None else [f.bad]
        arrays += [a for a in (one.over_rows, one.over_columns, one.codes) if a is not None]
        out.append(np.array([flags], "<i8").tobytes())
        out += [np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes() for a in arrays]
    return b"".join(out)


def from_bytes(data: bytes | memoryview, grids: Sequence[Grid]) -> tuple[MatrixStats, ...] | None:
    """The statistics again; ``None`` when the bytes do not fit the grids."""
    read = Cursor(data)
    try:
        made = tuple(_matrix(read, grid) for grid in grids)
    except ValueError:
        return None
    return made if read.at == len(data) else None


def _matrix(read: Cursor, grid: Grid) -> MatrixStats:
    if not grid.stored:
        return MatrixStats(grid)
    flags = int(read("<i8", 1)[0])
    real = "<f8" if flags & _WIDE else "<f4"
    shape = (grid.strips, grid.across)
    sums = [read(real, *shape) for _ in range(4)]
    peak = read(real, *shape) if grid.taps > 1 else sums[3]
    bad = read("<i8", *shape) if flags & _BAD else None
    over = [read(real, 4, n) if grid.lines else None for n in (grid.rows, grid.columns)]
    codes = read("u1", -(-grid.rows // 2), grid.across)
    finest = Blocks(SIDE, grid.width, sums[0], sums[1], sums[2], sums[3], peak, bad)
    return MatrixStats(grid, finest, codes, over[0], over[1])


class Cursor:
    """Reads arrays from bytes, one after the other, without copying them where they are aligned."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data, self.at = data, 0

    def __call__(self, dtype: str, *shape: int) -> Values:
        """The next array; `ValueError` where too few bytes are left."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape))
        stop = self.at + count * kind.itemsize
        if stop > len(self.data):
            raise ValueError("too short")
        found: Values = np.frombuffer(self.data, kind, count, self.at)
        found = found.astype(kind.newbyteorder("="), copy=not found.flags.aligned)
        self.at = stop
        return found.reshape(shape)
