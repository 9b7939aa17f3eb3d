"""Counting what sums do not tell: weights near zero, weights that are no numbers, codes in use.

The file is read a few MB at a time, and of it only the rows that belong to a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.pyramid.level0 import BLOCK, LARGEST, Level0, Runs, Values, row_blocks
from explorer.pyramid.pyramid import labels_of
from explorer.pyramid.sums.kept_memory import room
from explorer.weights.codecs import code_range
from explorer.weights.connections import Connection, Matrix

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
Stopped = Callable[[], bool]
Codes = dict[str, NDArray[np.bool_]]
"""By name of a weight: bool array of shape (pairs, codes), which codes occur."""
_AT_ONCE = 1 << 20  # weights that are compared at once
_WASTE = 4  # times as many codes may be read as are wanted, if that is one read


class CodeReader(Protocol):
    """Reads codes of weights."""

    def read_codes(self, weight: Weight, start: int, stop: int) -> NDArray[Any]:
        """Codes ``start:stop`` in C order."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of sets of units that are counted apart.

    Attributes
    ----------
    out : int32 array, shape (connection.out_units,)
        The set each out unit belongs to, ``-1`` for none.
    inside : int32 array, shape (connection.in_units,)
        Likewise for in units.
    index : int32 array, shape (sets of out units + 1, sets of in units + 1)
        Number of the pair, ``-1`` for those not asked for; the last row and column are ``-1``.
    number : int
        How many pairs there are.
    whole : bool
        Whether there is one pair only, of all units.
    """

    out: I4
    inside: I4
    index: I4
    number: int
    whole: bool = False

    @classmethod
    def of(
        cls,
        labels: tuple[I4, I4],
        shape: tuple[int, int],
        chosen: tuple[NDArray[np.integer], NDArray[np.integer]],
    ) -> Pairs:
        """Some pairs of labels.

        Parameters
        ----------
        labels : (out, inside)
        shape : (int, int)
            How many sets there are of out and of in units.
        chosen : (int array, int array), shape (m,)
            Set of out units and of in units of each pair; no pair twice.
        """
        index = np.full((shape[0] + 1, shape[1] + 1), -1, np.int32)
        index[chosen] = np.arange(len(chosen[0]), dtype=np.int32)
        return cls(*labels, index, len(chosen[0]))

    @classmethod
    def everything(cls, connection: Connection, inside: I4 | None = None) -> Pairs:
        """All out units with all in units, or with those labelled 0, as one pair."""
        whole = inside is None
        if inside is None:
            inside = np.zeros(connection.in_units, np.int32)
        out = np.zeros(connection.out_units, np.int32)
        only = np.zeros(1, np.int32)
        return replace(cls.of((out, inside), (1, 1), (only, only)), whole=whole)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some rows and columns of a matrix, and the pair that each of its elements belongs to."""

    matrix: Matrix
    runs: Runs
    columns: tuple[int, int]
    pair: I4


def _pieces(connection: Connection, pairs: Pairs, stopped: Stopped) -> Iterator[_Piece]:
    for matrix in connection.matrices:
        out, inside = labels_of(matrix, pairs.out, pairs.inside)
        rows = out if matrix.transposed else inside
        along = inside if matrix.transposed else out
        seen = np.flatnonzero(along.reshape(-1, matrix.minor).max(axis=0) >= 0)
        if not len(seen):
            continue
        first, last = int(seen[0]), int(seen[-1]) + 1
        for left in range(first, last, BLOCK):
            right = min(left + BLOCK, last)
            for runs in row_blocks(rows, right - left):
                if stopped():
                    return
                at = np.concatenate([np.arange(a, b) for a, b in runs])
                if pairs.whole:
                    pair = np.broadcast_to(np.int32(0), (len(at), right - left))
                elif matrix.diagonal:
                    pair = pairs.index[along.reshape(-1, matrix.minor)[at, left:right],
                                       rows[at][:, None]]  # fmt: skip
                elif matrix.transposed:
                    pair = pairs.index[rows[at][:, None], along[None, left:right]]
                else:
                    pair = pairs.index[along[None, left:right], rows[at][:, None]]
                yield _Piece(matrix, runs, (left, right), pair)


def count_where(
    level0: Level0,
    connection: Connection,
    pairs: Pairs,
    chosen: Callable[[Values], NDArray[np.bool_]],
    stopped: Stopped = lambda: False,
) -> I8 | None:
    """How many weights of each pair a condition holds for.

    Parameters
    ----------
    level0 : Level0
    connection : Connection
    pairs : Pairs
    chosen : callable array -> bool array of the same shape
        `near_zero` or `no_number`.
    stopped : callable () -> bool
        Asked every few MB.

    Returns
    -------
    int64 array, shape (pairs.number,), or None
        ``None`` when it was stopped.
    """
    found = np.zeros(pairs.number + 1, np.int64)  # the last for what belongs to no pair
    for piece in _pieces(connection, pairs, stopped):
        for values in level0.taps(piece.matrix, piece.runs, piece.columns, keep=False):
            hit = piece.pair[chosen(values)]
            found += np.bincount(np.where(hit < 0, pairs.number, hit), minlength=len(found))
    return None if stopped() else found[:-1]


def count_near_zero(
    level0: Level0, connection: Connection, threshold: float, stopped: Stopped = lambda: False
) -> int | None:
    r"""How many weights of a whole connection have \|w\| <= threshold.

    Parameters
    ----------
    level0 : Level0
    connection : Connection
    threshold : float
        Not negative.
    stopped : callable () -> bool
        Asked every few MB.

    Returns
    -------
    int or None
        ``None`` when it was stopped.

    Notes
    -----
    Floats without their sign bit are in the order of their bits, and what is no number comes after
    all that are: those in the file are compared as they lie there, at the speed of memory.
    """
    total, kept = 0, room()
    rest: list[Matrix] = []
    for matrix in connection.matrices:
        if matrix.taps > 1 or matrix.diagonal:
            rest.append(matrix)
            continue
        limit = _limit(matrix.weight.dtype, threshold)
        step = max(1, _AT_ONCE // max(matrix.minor, 1))
        for first in range(0, matrix.major, step):
            if stopped():
                return None
            rows = first, min(first + step, matrix.major)
            columns = 0, matrix.minor
            found = level0.stored(matrix, rows, columns, lambda n: kept.bytes("tally", n))
            if found is None or limit is None:
                rest.append(matrix)
                break
            bits = found.view(limit.dtype)
            np.bitwise_and(bits, np.iinfo(limit.dtype).max >> 1, out=bits)
            below = np.less_equal(bits, limit, out=kept.array("below", bits.shape, np.bool_))
            total += int(np.count_nonzero(below))
    if rest:
        some = replace(connection, matrices=tuple(rest))
        more = count_where(level0, some, Pairs.everything(some), near_zero(threshold), stopped)
        if more is None:
            return None
        total += int(more[0])
    return total


def _limit(dtype: str, threshold: float) -> np.unsignedinteger[Any] | None:
    """Bits of the largest float of a type that is not beyond a threshold."""
    kinds: dict[str, tuple[type[np.floating[Any]], type[np.unsignedinteger[Any]]]] = {
        "float16": (np.float16, np.uint16), "bfloat16": (np.float32, np.uint32),
        "float32": (np.float32, np.uint32), "float64": (np.float64, np.uint64),
    }  # fmt: skip
    if dtype not in kinds:
        return None
    kind, unsigned = kinds[dtype]
    largest = kind(min(threshold, float(np.finfo(kind).max)))
    if float(largest) > threshold:
        largest = np.nextafter(largest, kind(0))
    bits = largest.view(unsigned)
    return np.uint16(int(bits) >> 16) if dtype == "bfloat16" else bits


def near_zero(threshold: float) -> Callable[[Values], NDArray[np.bool_]]:
    """Whether |w| <= threshold; false for what is no number."""
    # The largest number in single precision that is not beyond: comparing with it is exact.
    single = np.float32(min(threshold, float(np.finfo(np.float32).max)))
    if float(single) > threshold:
        single = np.nextafter(single, np.float32(0))
    bounds = {np.dtype(np.float32): single, np.dtype(np.float64): np.float64(threshold)}
    return lambda values: np.abs(values) <= bounds[values.dtype]


def no_number(values: Values) -> NDArray[np.bool_]:
    """Whether weights are NaN, infinite or beyond 1e140."""
    if values.dtype == np.float32:
        return ~np.isfinite(values)
    return ~(np.abs(values) <= LARGEST)


def codes_used(
    reader: CodeReader,
    connection: Connection,
    pairs: Pairs,
    stopped: Stopped = lambda: False,
) -> Codes | None:
    """Which of the codes that weights can have occur in each pair.

    Parameters
    ----------
    reader : CodeReader
    connection : Connection
    pairs : Pairs
    stopped : callable () -> bool
        Asked every few MB.

    Returns
    -------
    dict of str to bool array, shape (pairs.number, codes), or None
        By name of a weight; weights without codes of their own are missing. ``None`` when it was
        stopped.

    Raises
    ------
    ModelError
        If the file was changed or cannot be read.
    """
    found: Codes = {}
    for piece in _pieces(connection, pairs, stopped):
        weight = piece.matrix.weight
        possible = code_range(weight)
        if not possible:
            continue
        number = np.zeros(possible[-1] - possible[0] + 1, np.int64)
        number[np.array(possible) - possible[0]] = np.arange(len(possible))
        used = found.setdefault(weight.name, np.zeros((pairs.number, len(possible)), bool))
        seen = piece.pair >= 0
        for tap in range(piece.matrix.taps):
            codes = _codes(reader, piece, tap)[seen].astype(np.int64)
            used[piece.pair[seen], number[codes - possible[0]]] = True
    return None if stopped() else found


def _codes(reader: CodeReader, piece: _Piece, tap: int) -> NDArray[Any]:
    """Codes of one tap of a piece."""
    matrix, (left, right) = piece.matrix, piece.columns
    stride, between = matrix.major_stride, matrix.minor_stride
    origin = matrix.offset + tap * matrix.tap_stride + left * between
    width, span = right - left, (right - left - 1) * between + 1
    blocks = []
    for first, stop in piece.runs:
        if stride > _WASTE * span:  # a narrow strip of wide rows
            starts = range(origin + first * stride, origin + stop * stride, stride)
            rows_read = (reader.read_codes(matrix.weight, a, a + span) for a in starts)
            blocks += [read[None, ::between] for read in rows_read]
            continue
        start, rows = origin + first * stride, stop - first
        read = reader.read_codes(matrix.weight, start, start + (rows - 1) * stride + span)
        step = read.itemsize
        strides = stride * step, between * step
        blocks.append(np.lib.stride_tricks.as_strided(read, (rows, width), strides))
    return np.concatenate(blocks)
