"""Statistics of tiles: 64 columns of one row of a matrix, and of 64 such tiles one above the other.

Every number sums or bounds exact values of level 0; nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.level0 import BLOCK, Level0, Values
from explorer.weights.connections import Matrix

TILE = 64
"""Columns per tile, and rows of tiles per block."""
_BIG, _SMALL = 1e15, 1e-12
"""Outside this range squares do not fit single precision: tiles are then kept in double."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tile statistics of one matrix: arrays of shape (rows, tiles per row).

    Attributes
    ----------
    sum_sq, sum, sum_abs : float array
        Σw², Σw, Σ|w| over all taps; single precision where the range allows it.
    max_abs : float array
        Largest |w|.
    pair_max : float array
        Largest Σw² over the taps of one pair.
    bad : int32 array or None
        Non-finite weights, which the sums leave out; ``None`` when there are none.
    """

    sum_sq: Values
    sum: Values
    sum_abs: Values
    max_abs: Values
    pair_max: Values
    bad: NDArray[np.int32] | None = None

    def blocks(self) -> Tiles:
        """The same of every 64 rows together: arrays of shape (⌈rows / 64⌉, tiles)."""
        starts = np.arange(0, len(self.sum_sq), TILE)

        def added(a: Values) -> Values:
            return np.add.reduceat(a, starts, axis=0, dtype=np.float64)

        bad = None
        if self.bad is not None:
            bad = np.add.reduceat(self.bad, starts, axis=0)
        return Tiles(
            added(self.sum_sq),
            added(self.sum),
            added(self.sum_abs),
            np.maximum.reduceat(self.max_abs, starts, axis=0),
            np.maximum.reduceat(self.pair_max, starts, axis=0),
            bad,
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = (self.sum_sq, self.sum, self.sum_abs, self.max_abs, self.pair_max)
        return sum({id(a): a.nbytes for a in held}.values()) + (
            0 if self.bad is None else self.bad.nbytes
        )


def tile_count(matrix: Matrix) -> int:
    """Tiles per row."""
    return -(-matrix.minor // TILE)


def measure(matrix: Matrix, level0: Level0, cancelled: Callable[[], bool]) -> Tiles | None:
    """Read a matrix once, in blocks of a few MB, and sum its tiles.

    Returns
    -------
    Tiles or None
        ``None`` when `cancelled` returned true in between.
    """
    shape = (matrix.major, tile_count(matrix))
    out: list[Values] = [np.zeros(shape, np.float32) for _ in range(4 + (matrix.taps > 1))]
    bad: NDArray[np.int32] | None = None
    step = max(1, BLOCK // matrix.minor)
    for r0 in range(0, matrix.major, step):
        if cancelled():
            return None
        r1 = min(matrix.major, r0 + step)
        parts, wrong = _block(matrix, level0, r0, r1)
        if wrong is not None:
            bad = np.zeros(shape, np.int32) if bad is None else bad
            bad[r0:r1] = wrong
        if out[0].dtype == np.float32 and parts[0].dtype == np.float64:
            out = [a.astype(np.float64) for a in out]
        for array, part in zip(out, parts, strict=True):
            array[r0:r1] = part
    pair_max = out[4] if matrix.taps > 1 else np.square(out[3])
    return Tiles(out[0], out[1], out[2], out[3], pair_max, bad)


def _block(
    matrix: Matrix, level0: Level0, r0: int, r1: int
) -> tuple[list[Values], NDArray[np.int32] | None]:
    """Tile statistics of some rows: Σw², Σw, Σ|w|, max|w| and, with several taps, pair maxima."""
    columns = (0, matrix.minor)
    first = level0.values(matrix, 0, [(r0, r1)], columns, keep=False)
    total, size = first, np.abs(first)
    peak = size
    with np.errstate(over="ignore", invalid="ignore"):
        square = first * first
        for tap in range(1, matrix.taps):
            v = level0.values(matrix, tap, [(r0, r1)], columns, keep=False)
            a = np.abs(v)
            total, size = total + v, size + a
            square += v * v
            peak = np.maximum(peak, a)
        parts = [_sums(square), _sums(total), _sums(size), _maxima(peak)]
        clean = bool(np.isfinite(parts[0]).all())
    if matrix.taps > 1:
        parts.append(_maxima(square))
    top = float(parts[3].max(initial=0.0)) if clean else np.inf
    if clean and (top == 0.0 or _SMALL < top < _BIG):
        return parts, None
    return _careful(matrix, level0, r0, r1)


def _careful(
    matrix: Matrix, level0: Level0, r0: int, r1: int
) -> tuple[list[Values], NDArray[np.int32] | None]:
    """The same in double precision, with non-finite values counted and left out."""
    pairs = level0.pairs(matrix, [(r0, r1)], (0, matrix.minor), keep=False)
    parts = [_sums(pairs.sum_sq), _sums(pairs.sum), _sums(pairs.sum_abs), _maxima(pairs.max_abs)]
    if matrix.taps > 1:
        parts.append(_maxima(pairs.sum_sq))
    top = float(parts[3].max(initial=0.0))
    if top == 0.0 or _SMALL < top < _BIG:
        parts = [p.astype(np.float32) for p in parts]
    if pairs.bad is None:
        return parts, None
    starts = np.arange(0, matrix.minor, TILE)
    return parts, np.add.reduceat(pairs.bad, starts, axis=1).astype(np.int32)


def _sums(values: Values) -> Values:
    """Sums of 64 columns each.

    A row-wise product with ones runs at twice the speed of a reduction, and, unlike a product of
    matrices, never starts threads that would fight the drawing for the processor.
    """
    rows, width = values.shape
    full = width - width % TILE
    out = np.empty((rows, -(-width // TILE)), values.dtype)
    if full:
        body = values[:, :full].reshape(rows, -1, TILE)
        out[:, : full // TILE] = np.vecdot(body, np.ones(TILE, values.dtype))
    if full < width:
        out[:, -1] = values[:, full:].sum(axis=1)
    return out


def _maxima(values: Values) -> Values:
    """Maxima of 64 columns each."""
    starts = np.arange(0, values.shape[1], TILE)
    return np.maximum.reduceat(values, starts, axis=1)
