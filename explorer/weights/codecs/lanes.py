"""Codes of few bits, several to a word: int4 in bytes, eight nibbles in an int32."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Lanes
from explorer.weights.codecs.pieces import Piece, pieces
from explorer.weights.codecs.small_floats import looked_up

Array = NDArray[Any]
Items = Callable[[int, int, int, int], Array]
"""Reads stored items: ``(first, rows, stride, width)`` -> array of shape (rows, width)."""

_BLOCK = 1 << 16  # codes whose intermediate results stay in the processor's cache


def read_lanes(lanes: Lanes, signed: bool, items: Items, run: tuple[int, int, int, int]) -> Array:
    """Codes of runs, from the words that hold them alone.

    Parameters
    ----------
    lanes : Lanes
    signed : bool
        Whether codes are in two's complement.
    items : callable
        Reads words.
    run : (first, rows, stride, width)
        In codes.

    Returns
    -------
    int8 or uint8 array, shape (rows, width)
    """
    _, rows, _, width = run
    out = np.empty(rows * width, np.int8 if signed else np.uint8)
    whole, read = (lanes.length, _along) if lanes.inner == 1 else (lanes.inner, _across)
    for piece in pieces(*run, whole):
        count = piece.lines * piece.columns
        into = out[piece.at : piece.at + count].reshape(piece.lines, piece.columns)
        into[...] = read(lanes, signed, items, piece)
    return out.reshape(rows, width)


def _along(lanes: Lanes, signed: bool, items: Items, piece: Piece) -> Array:
    """The packed axis is the last: a line of codes is a line of words."""
    n, words = lanes.codes, -(-lanes.length // lanes.codes)
    start, stop = piece.column // n, -(-(piece.column + piece.columns) // n)
    read = items(piece.line * words + start, piece.lines, piece.step * words, stop - start)
    codes = _all_codes(_unsigned(read), lanes, signed)
    skip = piece.column - start * n
    return codes[:, skip : skip + piece.columns]


def _across(lanes: Lanes, signed: bool, items: Items, piece: Piece) -> Array:
    """Codes of a word belong to different lines: a line takes one lane of a line of words."""
    n, words = lanes.codes, -(-lanes.length // lanes.codes)
    outer, position = np.divmod(piece.line + np.arange(piece.lines) * piece.step, lanes.length)
    wanted, inverse = np.unique(outer * words + position // n, return_inverse=True)
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
    found = [
        items(int(r[0]) * lanes.inner + piece.column, len(r), lanes.inner, piece.columns)
        for r in runs
    ]
    read = _unsigned(np.concatenate(found) if len(found) > 1 else found[0])
    shifts = (_lane_of(lanes, position) * lanes.bits).astype(read.dtype)[:, None]
    out = np.empty((piece.lines, piece.columns), np.int8 if signed else np.uint8)
    step = max(_BLOCK // piece.columns, 1)
    for start in range(0, piece.lines, step):
        part = slice(start, start + step)
        out[part] = _codes(read[inverse[part]] >> shifts[part], lanes.bits, signed, lanes.shift)
    return out


def scattered(lanes: Lanes, signed: bool, at: Array, words_at: Callable[[Array], Array]) -> Array:
    """Codes at any positions.

    Parameters
    ----------
    lanes : Lanes
    signed : bool
    at : int64 array of any shape
        Positions among all codes.
    words_at : callable
        Reads words at ascending positions.

    Returns
    -------
    int8 or uint8 array of the same shape
    """
    n, words = lanes.codes, -(-lanes.length // lanes.codes)
    outer, rest = np.divmod(at, lanes.length * lanes.inner)
    position, inner = np.divmod(rest, lanes.inner)
    wanted = (outer * words + position // n) * lanes.inner + inner
    places, inverse = np.unique(wanted, return_inverse=True)
    read = _unsigned(words_at(places).reshape(-1))
    shifts = (_lane_of(lanes, position) * lanes.bits).astype(read.dtype)
    return _codes(read[inverse].reshape(at.shape) >> shifts, lanes.bits, signed, lanes.shift)


def _lane_of(lanes: Lanes, position: Array) -> Array:
    """Which lane of its word holds each position of the packed axis."""
    at: Array = position % lanes.codes
    return np.array(lanes.order)[at] if lanes.order else at


def _unsigned(words: Array) -> Array:
    return words.view(f"u{words.dtype.itemsize}")


def _codes(words: Array, bits: int, signed: bool, shift: int) -> Array:
    """The lowest bits of words, shifted, as codes of one byte."""
    word = words.dtype.type
    moved = words + word(shift) if shift else words  # what overflows is above the bits kept
    low: Array = (moved & word((1 << bits) - 1)).astype(np.uint8)
    if not signed:
        return low
    # Shifted to the top and, as a signed number, back: the sign bit fills what is above.
    top: Array = np.left_shift(low, 8 - bits).view(np.int8)
    result: Array = top >> (8 - bits)
    return result


@cache
def _byte_table(
    bits: int, signed: bool, shift: int, order: tuple[int, ...]
) -> tuple[Array, np.dtype[Any]]:
    """The codes of every byte, those of one byte as one integer; and the type of a code."""
    every = np.arange(256, dtype=np.uint8)
    order = order or tuple(range(8 // bits))
    lanes = [_codes(every >> (bits * lane), bits, signed, shift) for lane in order]
    codes = np.stack(lanes, axis=1)
    return codes.view(f"u{8 // bits}").reshape(-1), codes.dtype


def _all_codes(words: Array, lanes: Lanes, signed: bool) -> Array:
    """All codes of words, in the order of their positions; shape (rows, words * codes)."""
    found, bits = words.view(np.uint8), lanes.bits  # little endian: the lowest byte lies first
    if bits == 8:
        codes = found.view(np.int8) if signed and not lanes.shift else found
        if lanes.shift:
            codes = _codes(found, bits, signed, lanes.shift)
    else:
        # Looked up byte by byte: one access gives all codes of a byte, in order.
        within = lanes.order if words.itemsize == 1 else ()
        numbers, dtype = _byte_table(bits, signed, lanes.shift, within)
        codes = looked_up(numbers, found).view(dtype)
        if within:
            return codes
    if not lanes.order:
        return codes
    in_words = codes.reshape(len(codes), -1, lanes.codes)
    return np.ascontiguousarray(in_words[:, :, list(lanes.order)]).reshape(codes.shape)
