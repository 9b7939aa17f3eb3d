"""How a matrix is cut into blocks, tiles and bands: a function of its shape and its bytes alone.

Whoever builds a pyramid, in threads or on a cluster, cuts alike, and so comes to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from explorer.weights.connections import Matrix

SIDE = 64
"""Rows of a block; its columns too, for numbers of 16 bits and more."""
TILE_ROWS = 2
"""Rows of a tile; its columns are those of its block."""
FACTOR = 8
"""A block of one level holds so many of the next finer one, each way."""
SMALL = 1 << 16
"""Weights up to which a matrix keeps no blocks: reading it again is as quick."""
_BLOCK_BITS = SIDE * SIDE * 16  # a block of fewer bits would cost more than it is worth
_BAND_BYTES = 8 << 20
_WIDE_BAND = 8  # times as much, at most, where a matrix is wide
_COLUMN_BYTES = 1 << 10  # of each column in a band: the sums over it take 32 bytes to pass on
_LINE_BYTES = 16  # four sums in single precision
_LINE_SHARE = 0.004


@dataclass(frozen=True, slots=True)
class Grid:
    """The cuts of one matrix.

    Attributes
    ----------
    rows, columns, taps : int
        Of the matrix; all taps of a pair lie in the same block.
    width : int
        Columns per block and per tile.
    band : int
        Rows measured at once, a multiple of 64: one task.
    stored : bool
        Whether blocks are kept, or totals only.
    lines : bool
        Whether sums over each whole row and each whole column are kept too.
    """

    rows: int
    columns: int
    taps: int
    width: int
    band: int
    stored: bool
    lines: bool

    @property
    def strips(self) -> int:
        """Blocks one above the other."""
        return -(-self.rows // SIDE)

    @property
    def across(self) -> int:
        """Blocks side by side."""
        return -(-self.columns // self.width)

    @property
    def bands(self) -> int:
        """Number of tasks."""
        return -(-self.rows // self.band)

    def band_rows(self, band: int) -> tuple[int, int]:
        """First and last + 1 row of a band."""
        return band * self.band, min(self.rows, (band + 1) * self.band)


@lru_cache(maxsize=1 << 14)
def _cut(rows: int, columns: int, taps: int, bits: float, diagonal: bool) -> Grid:
    weights = rows * columns * taps
    wide = SIDE
    while wide * SIDE * bits * taps < _BLOCK_BITS and wide < columns:
        wide *= 2
    strip = SIDE * columns * taps * bits / 8
    much = max(_BAND_BYTES, min(_WIDE_BAND * _BAND_BYTES, columns * _COLUMN_BYTES))
    band = SIDE * max(1, int(much / strip))
    stored = weights > SMALL and not diagonal
    lines = stored and _LINE_BYTES * (rows + columns) <= _LINE_SHARE * weights * bits / 8
    return Grid(rows, columns, taps, wide, band if stored else rows, stored, lines)


def grid_of(matrix: Matrix, bits: float) -> Grid:
    """The cuts of a matrix.

    Parameters
    ----------
    matrix : Matrix
    bits : float
        Bits that one weight takes in the file.
    """
    return _cut(matrix.major, matrix.minor, matrix.taps, bits, matrix.diagonal)
