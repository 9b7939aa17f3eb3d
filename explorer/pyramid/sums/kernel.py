"""Sums over one piece of a matrix that fits the processor's cache, by numpy.

What is added up, and in which order, is the same on every machine. Sums over a column of a strip
are made row after row. Sums over a row of a piece are `RUNNING` sums side by side, to which its
weights are dealt out in turn, folded in halves in the end: the second half is added to the first
until one number is left. Both are in the precision of the weights, or double where they do not fit
it; all that is added up further is in double precision.

Largest sizes are taken of the bits as integers, which are in the order of |w|, and numbers of 16
bits are widened two at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE, TILE_ROWS
from explorer.pyramid.level0 import LARGEST, Values
from explorer.pyramid.sums.kept_memory import room
from explorer.weights.codecs.small_floats import from_bfloat16, from_float16

F8 = NDArray[np.float64]
FITS_SINGLE = (1e-12, 1e15)
"""Largest |w| between which squares and their sums fit single precision."""
_SIZE_16 = np.uint16(0x7FFF)
_UPPER = np.uint32(0xFFFF0000)
_HALF = np.uint32(16)
RUNNING = 256
"""Running sums of a row: column c is added to sum c mod 256."""
_DTYPES = {np.dtype(name): name for name in ("float32", "float64")}
_LANES = {2: np.uint16, 4: np.int32, 8: np.int64}


@dataclass(frozen=True, eq=False)
class Piece:
    """Numbers of a piece, each pair's taps together.

    Attributes
    ----------
    value, size : float array, shape (lanes, rows, columns / lanes)
        Σw and Σ|w|; lane k holds columns k, k + lanes, …
    square : float array of the same shape, or None
        Σw²; of a single tap left out, for it follows from the values.
    top : integer array, shape (rows, columns)
        In the order of max|w|.
    peak : integer array, shape (rows, columns)
        In the order of the root mean square.
    top_number, peak_number : callable integers -> float array
        What those stand for.
    """

    value: Values
    size: Values
    square: Values | None
    top: Values
    peak: Values
    top_number: Callable[[Values], Values]
    peak_number: Callable[[Values], Values]


@dataclass(frozen=True, eq=False)
class Sums:
    """What a piece adds up to.

    Attributes
    ----------
    columns : float64 array, shape (4, strips, columns)
        Σw², Σw, Σ|w| and max|w| of each column of each 64 rows.
    rows : float64 array, shape (4, rows), or None
        The same of each row.
    tiles : float64 array, shape (⌈rows / 2⌉, across)
        Largest root mean square in each tile.
    """

    columns: F8
    rows: F8 | None
    tiles: F8


def floats(values: Values) -> Piece:
    """A piece of one tap of float32 or float64.

    Parameters
    ----------
    values : float array, shape (rows, columns)
        Not kept, but in use as long as the piece is.
    """
    size = np.abs(values, out=room().array("size", values.shape, values.dtype))
    top = size.view(_LANES[size.itemsize])

    def number(bits: Values) -> Values:
        return bits.view(values.dtype)

    return Piece(values[None], size[None], None, top, top, number, number)


def bfloat16(bits: NDArray[np.uint16]) -> Piece:
    """A piece of one tap of bfloat16: the upper halves of float32.

    Parameters
    ----------
    bits : uint16 array, shape (rows, columns), contiguous along rows
    """
    rows, columns = bits.shape
    top = np.bitwise_and(bits, _SIZE_16, out=room().array("top", bits.shape, np.uint16))
    lanes = 1 if columns % 2 or bits.ctypes.data % 4 or bits.strides[0] % 4 else 2
    shape = (lanes, rows, columns // lanes)
    value = room().array("value", shape, np.float32)
    wide = value.view(np.uint32)
    if lanes == 2:
        pairs = bits.view(np.uint32)
        np.left_shift(pairs, _HALF, out=wide[0])
        np.bitwise_and(pairs, _UPPER, out=wide[1])
    else:
        np.copyto(wide[0], bits)
        np.left_shift(wide, _HALF, out=wide)
    size = np.abs(value, out=room().array("size", shape, np.float32))
    return Piece(value, size, None, top, top, _of_bfloat16, _of_bfloat16)


def _of_bfloat16(bits: Values) -> Values:
    return (bits.astype(np.uint32) << _HALF).view(np.float32)


def float16(bits: NDArray[np.uint16]) -> Piece:
    """A piece of one tap of float16.

    Parameters
    ----------
    bits : uint16 array, shape (rows, columns)
    """
    top = np.bitwise_and(bits, _SIZE_16, out=room().array("top", bits.shape, np.uint16))
    value = _float16_numbers(bits)[None]
    size = np.abs(value, out=room().array("size", value.shape, np.float32))
    return Piece(value, size, None, top, top, _of_float16, _of_float16)


def _float16_numbers(bits: NDArray[np.uint16]) -> Values:
    return from_float16(np.ascontiguousarray(bits))


def _of_float16(bits: Values) -> Values:
    return bits.view(np.float16).astype(np.float32)


def taps(parts: list[Values]) -> Piece:
    """A piece of several taps, in the weights' own precision.

    Parameters
    ----------
    parts : list of float array, shape (rows, columns)
    """
    first, keep = parts[0], room()
    names = ("value", "size", "square", "top", "one")
    value, size, square, top, one = (keep.array(n, first.shape, first.dtype) for n in names)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(value, first)
        np.abs(first, out=size)
        np.copyto(top, size)
        np.multiply(first, first, out=square)
        for part in parts[1:]:
            np.add(value, part, out=value)
            np.abs(part, out=one)
            np.add(size, one, out=size)
            np.maximum(top, one, out=top)
            np.multiply(part, part, out=one)
            np.add(square, one, out=square)
    return _of_pairs(value, size, square, (top, square), len(parts))


def careful(parts: list[Values]) -> tuple[Piece, NDArray[np.int64] | None]:
    """A piece in double precision.

    Parameters
    ----------
    parts : list of float array, shape (rows, columns)
        The taps.

    Returns
    -------
    piece : Piece
    bad : int64 array, shape (rows, columns), or None
        How many weights of each pair are left out: those that are not finite, or too large to be
        squared.
    """
    shape = parts[0].shape
    value, size, square, top = (np.zeros(shape) for _ in range(4))
    bad = np.zeros(shape, np.int64)
    for part in parts:
        v = part.astype(np.float64)
        a = np.abs(v)
        wrong = ~(a <= LARGEST)
        v[wrong] = a[wrong] = 0.0
        bad += wrong
        value += v
        size += a
        square += v * v
        np.maximum(top, a, out=top)
    mean = square / np.maximum(len(parts) - bad, 1)
    piece = _of_pairs(value, size, square, (top, mean if len(parts) > 1 else top), 1)
    if len(parts) == 1:
        piece = Piece(value[None], size[None], square[None], piece.top, piece.top,
                      piece.top_number, piece.top_number)  # fmt: skip
    return piece, bad if bad.any() else None


@dataclass(frozen=True, slots=True)
class Form:
    """How pieces are made of numbers as they come.

    Attributes
    ----------
    quick : callable (list of array) -> Piece
        Of the taps, in the weights' own precision.
    numbers : callable (list of array) -> list of float array
        The taps as numbers.
    dtype : str
        Type of the elements, where they are bits; empty where they are numbers.
    """

    quick: Callable[[list[Any]], Piece]
    numbers: Callable[[list[Any]], list[Values]]
    dtype: str = ""

    def dtype_of(self, tap: Values) -> str:
        """Type of a tap's elements."""
        return self.dtype or _DTYPES[tap.dtype]


def _same(parts: list[Values]) -> list[Values]:
    return parts


NUMBERS = Form(lambda parts: taps(parts) if len(parts) > 1 else floats(parts[0]), _same)
"""Decoded numbers, of one tap or several."""
STORED = {
    "float32": NUMBERS,
    "float64": NUMBERS,
    "bfloat16": Form(
        lambda parts: bfloat16(*parts), lambda parts: [from_bfloat16(*parts)], "bfloat16"
    ),
    "float16": Form(
        lambda parts: float16(*parts), lambda parts: [_float16_numbers(*parts)], "float16"
    ),
}
"""By the type of a weight's elements: one tap as it lies in the file."""


def _of_pairs(
    value: Values, size: Values, square: Values, largest: tuple[Values, Values], taps: int
) -> Piece:
    """A piece of sums over taps, of the largest |w| and of `taps` times the mean square."""
    kind, lanes = value.dtype, _LANES[value.itemsize]

    def number(bits: Values) -> Values:
        return bits.view(kind)

    def root(bits: Values) -> Values:
        return np.sqrt(bits.view(kind).astype(np.float64) * (1.0 / taps))

    top, mean = (a.view(lanes) for a in largest)
    return Piece(value[None], size[None], square[None], top, mean, number, root)


def sums_of(piece: Piece, width: int, lines: bool) -> Sums | None:
    """Sum up a piece: whole strips of 64 rows, or fewer than 64.

    Parameters
    ----------
    piece : Piece
    width : int
        Columns per block and tile; the first block begins with the piece.
    lines : bool
        Whether sums over rows are wanted.

    Returns
    -------
    Sums or None
        ``None`` when a weight is not finite, or the squares do not fit their precision.
    """
    rows, columns = piece.top.shape
    height, keep = min(rows, SIDE), room()
    strips = rows // height
    pairs, last = _pairs(piece.top, "pairs")
    out = keep.array("columns", (4, strips, columns), np.float64)
    high = _highest(pairs, last, strips)
    out[3] = piece.top_number(high)
    if not _fits(float(piece.top_number(high.max(keepdims=True)).item()), piece.value.dtype):
        return None
    over_rows = np.empty((4, rows)) if lines else None
    for at, each in enumerate((_squares(piece), piece.value, piece.size)):
        _down(each, height, out[at])
        if over_rows is not None:
            over_rows[at] = _across(each)
    if over_rows is not None:
        over_rows[3] = piece.top_number(np.maximum.reduce(piece.top, axis=1))
    if piece.peak is not piece.top:
        pairs, last = _pairs(piece.peak, "pairs")
    tiles = _tiles(pairs, width)
    if last is not None:
        tiles = np.concatenate((tiles, _tiles(last, width)))
    return Sums(out, over_rows, piece.peak_number(tiles).astype(np.float64))


def _highest(pairs: Values, last: Values | None, strips: int) -> Values:
    """Largest of each column of each strip."""
    columns = pairs.shape[1]
    if last is not None and not len(pairs):
        return last
    out = room().array("highest", (strips, columns), pairs.dtype)
    np.maximum.reduce(pairs.reshape(strips, -1, columns), axis=1, out=out)
    return out if last is None else np.maximum(out, last, out=out)


def _fits(top: float, dtype: np.dtype[Any]) -> bool:
    if dtype == np.float64:
        return top <= LARGEST  # false for NaN
    return top == 0.0 or FITS_SINGLE[0] < top < FITS_SINGLE[1]


def _pairs(sizes: Values, name: str) -> tuple[Values, Values | None]:
    """The larger of each two rows that stand together; and the last row if it stands alone."""
    rows, columns = sizes.shape
    even = rows - rows % TILE_ROWS
    out = room().array(name, (even // TILE_ROWS, columns), sizes.dtype)
    np.maximum(sizes[0:even:2], sizes[1:even:2], out=out)
    return out, sizes[even:] if even < rows else None


def _tiles(sizes: Values, width: int) -> Values:
    """Largest of each `width` columns of each row."""
    rows, columns = sizes.shape
    if columns % width == 0 and sizes.flags.c_contiguous:  # one long row is the quickest to cut
        if not rows:
            return np.empty((0, columns // width), sizes.dtype)
        return np.maximum.reduceat(sizes.reshape(-1), _cuts(sizes.size, width)).reshape(rows, -1)
    return np.maximum.reduceat(sizes, _cuts(columns, width), axis=1)


@lru_cache(maxsize=64)
def _cuts(n: int, width: int) -> NDArray[np.intp]:
    made = np.arange(0, n, width)
    made.flags.writeable = False
    return made


def _squares(piece: Piece) -> Values:
    """Σw² of each pair, in the places of the values."""
    if piece.square is not None:
        return piece.square
    value = piece.value
    return np.multiply(value, value, out=room().array("squares", value.shape, value.dtype))


def _down(values: Values, height: int, out: F8) -> None:
    """Sums over each column of each strip, row after row."""
    lanes, rows, columns = values.shape
    tall = values.reshape(lanes, rows // height, height, columns)
    sums = np.add.reduce(tall, axis=2)
    for k in range(lanes):
        np.add(sums[k], 0.0, out=out[:, k::lanes])  # adding 0 leaves no -0


def _across(values: Values) -> F8:
    """Sums over each row: `RUNNING` of them side by side, then folded in halves."""
    lanes, rows, columns = values.shape
    beside = RUNNING // lanes
    whole = columns - columns % beside
    cut = (lanes, rows, whole // beside, beside)
    sums = np.add.reduce(values[..., :whole].reshape(cut), axis=2)
    sums[..., : columns - whole] += values[..., whole:]
    while beside > 1:
        beside //= 2
        sums = sums[..., :beside] + sums[..., beside:]
    folded: Values = sums[0, :, 0] if lanes == 1 else sums[0, :, 0] + sums[1, :, 0]
    return folded.astype(np.float64) + 0.0
