"""Codes with tables of scales and zero points: ``(code - zero) * scale``, or divided by it.

One description covers a scale per tensor, per channel, per group of channels and per block of rows
and columns: each axis of the codes says how far one goes in the table from one position to the
next (`explorer.network.TableAxis`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.network import Packing, TableAxis, Weight
from explorer.weights.codecs.pieces import Piece, pieces

Array = NDArray[Any]
I8 = NDArray[np.int64]
Entries = Callable[[Weight, int, int], Array]
"""Reads numbers ``start:stop`` of a table."""
_BLOCK = 1 << 16  # numbers scaled at once: they are touched twice while in the processor's cache


class OutsideError(Exception):
    """An index names an entry that a table does not hold."""


def joined(axes: Sequence[TableAxis]) -> tuple[TableAxis, ...]:
    """The same axes, neighbours that run on without a gap made one: longer lines, fewer pieces.

    Parameters
    ----------
    axes : sequence of TableAxis

    Returns
    -------
    tuple of TableAxis
        Never none.
    """
    made: list[TableAxis] = []
    for axis in axes:
        if axis.length == 1 and axis.index is None:
            continue
        if made and _runs_on(made[-1], axis):
            made[-1] = replace(axis, length=made[-1].length * axis.length)
        else:
            made.append(axis)
    return tuple(made) or (TableAxis(1),)


def _runs_on(outer: TableAxis, inner: TableAxis) -> bool:
    """Whether two axes are one in all but name."""
    if outer.index is not None or inner.index is not None:
        return False
    if not inner.step or not outer.step:
        return inner.step == outer.step
    return inner.block == outer.block == 1 and outer.step == inner.length * inner.step


class _Columns(NamedTuple):
    """Entries along the last axis, neighbours with the same one taken together."""

    own: I8
    widths: I8 | None


class _Part(NamedTuple):
    """Lines of codes, and where their numbers go: the same array, or another of its shape."""

    codes: Array
    out: Array

    def lines(self, start: int, stop: int) -> _Part:
        """Some of the lines."""
        return _Part(self.codes[start:stop], self.out[start:stop])


class _Tables(NamedTuple):
    """The part of the tables that a piece needs, which begins at entry `first`."""

    first: int
    scale: Array
    zero: Array | None

    @property
    def all(self) -> list[Array]:
        """Scales, and zeros if there are any."""
        return [self.scale] if self.zero is None else [self.scale, self.zero]


def apply(packing: Packing, codes: Array, run: tuple[int, int, int, int],
          entries: Entries) -> NDArray[np.float32]:  # fmt: skip
    """Turn codes into numbers.

    Parameters
    ----------
    packing : Packing
        With a scale.
    codes : array, shape (rows, width), contiguous
        Integers, or small floats decoded; float32 is overwritten.
    run : (first, rows, stride, width)
        Where they lie among all codes.
    entries : callable
        Reads a table.

    Returns
    -------
    float32 array, shape (rows, width)

    Raises
    ------
    OutsideError
        When an index names an entry that the tables do not hold.
    """
    axes = joined(packing.axes)
    flat = codes.reshape(-1)
    out = flat if flat.dtype == np.float32 else np.empty(flat.shape, np.float32)
    with np.errstate(all="ignore"):  # a scale of zero or NaN makes numbers that are not finite
        for piece in pieces(*run, axes[-1].length):
            place, shape = (
                slice(piece.at, piece.at + piece.lines * piece.columns),
                (piece.lines, -1),
            )
            part = _Part(flat[place].reshape(shape), out[place].reshape(shape))
            _piece(packing, axes, part, piece, entries)
    return out.reshape(codes.shape)


def apply_at(packing: Packing, codes: Array, at: I8, entries: Entries) -> NDArray[np.float32]:
    """Turn codes at any positions into numbers.

    Parameters
    ----------
    packing : Packing
        With a scale.
    codes : array of any shape
    at : int64 array of the same shape
        Where they lie among all codes.
    entries : callable
        Reads a table.

    Raises
    ------
    OutsideError
        As for `apply`.
    """
    rest, entry = at.reshape(-1), np.zeros(at.size, np.int64)
    for axis in reversed(joined(packing.axes)):
        rest, position = np.divmod(rest, axis.length)
        entry += _rows(axis, position, entries)
    tables = _tables(packing, int(entry.min()), int(entry.max()), entries)
    spread = [table.take(entry - tables.first).reshape(at.shape) for table in tables.all]
    out = np.empty(at.shape, np.float32)
    with np.errstate(all="ignore"):
        _scale(packing, _Part(codes, out), lambda start, stop: [t[start:stop] for t in spread])
    return out


def _rows(axis: TableAxis, at: I8, entries: Entries) -> I8:
    """Entries of positions along an axis, counted from that of its first block."""
    if not axis.step:
        return np.zeros(len(at), np.int64)
    if axis.index is None:
        return at // axis.block * axis.step
    named = entries(axis.index, 0, axis.length)[at]
    if not np.all(np.abs(named) < 1 << 40):  # also false for NaN
        raise OutsideError
    return named.astype(np.int64) * axis.step


def _columns(axis: TableAxis, first: int, count: int, entries: Entries) -> _Columns:
    """Entries of neighbouring positions along the last axis."""
    if not axis.step:
        return _Columns(np.zeros(1, np.int64), np.array([count]))
    if axis.index is None and axis.block > 1:
        blocks = np.arange(first // axis.block, (first + count - 1) // axis.block + 1)
        edges = np.clip(np.append(blocks, blocks[-1] + 1) * axis.block - first, 0, count)
        return _Columns(blocks * axis.step, np.diff(edges))
    own = _rows(axis, np.arange(first, first + count, dtype=np.int64), entries)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(own)) + 1))
    if len(starts) * 2 > count:
        return _Columns(own, None)
    return _Columns(own[starts], np.diff(np.append(starts, count)))


def _piece(packing: Packing, axes: tuple[TableAxis, ...], part: _Part, piece: Piece,
           entries: Entries) -> None:  # fmt: skip
    """Turn a rectangle of codes into numbers."""
    last = axes[-1]
    if last.index is None and last.block == 1 and last.step in (0, 1):
        row = _shared_row(axes, piece, entries)
        if row is not None:  # all lines are scaled by one stretch of the tables
            first = row + piece.column * last.step
            tables = _tables(packing, first, first + (piece.columns - 1) * last.step, entries)
            _scale(packing, part, lambda start, stop: tables.all)
            return
    lines = piece.line + np.arange(piece.lines, dtype=np.int64) * piece.step
    rows = np.zeros(piece.lines, np.int64)
    for axis in reversed(axes[:-1]):
        lines, at = np.divmod(lines, axis.length)
        rows += _rows(axis, at, entries)
    columns = _columns(axes[-1], piece.column, piece.columns, entries)
    low, high = (int(f(rows) + f(columns.own)) for f in (np.min, np.max))
    tables = _tables(packing, low, high, entries)
    starts = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
    if len(starts) - 1 <= max(1, len(rows) // 4):  # runs of lines share their entries
        for start, stop in pairwise(starts):
            _lines(packing, part.lines(start, stop), tables, rows[start : start + 1], columns)
        return
    _lines(packing, part, tables, rows, columns)


def _shared_row(axes: tuple[TableAxis, ...], piece: Piece, entries: Entries) -> int | None:
    """The entry at which all lines of a piece begin, or ``None`` where they differ."""
    if all(not axis.step for axis in axes[:-1]):
        return 0
    if piece.lines > 1:
        return None
    line, row = piece.line, 0
    for axis in reversed(axes[:-1]):
        line, at = divmod(line, axis.length)
        row += int(_rows(axis, np.array([at]), entries)[0])
    return row


def _tables(packing: Packing, first: int, last: int, entries: Entries) -> _Tables:
    """Entries from the first to the last one that is needed."""
    assert packing.scale is not None
    if first < 0 or last >= packing.scale.size:
        raise OutsideError
    scale = entries(packing.scale, first, last + 1)
    zero = None if packing.zero is None else entries(packing.zero, first, last + 1)
    return _Tables(first, scale, zero)


def _lines(packing: Packing, part: _Part, tables: _Tables, rows: I8, columns: _Columns) -> None:
    """Scale lines: each by its own entries, or all by the same where `rows` holds one."""
    if len(rows) == 1:
        shared = _spread(tables, rows, columns)
        _scale(packing, part, lambda start, stop: shared)
    else:
        _scale(packing, part, lambda start, stop: _spread(tables, rows[start:stop], columns))


def _scale(packing: Packing, part: _Part, tables: Callable[[int, int], list[Array]]) -> None:
    """Scale lines, a few at a time, by the scales and zeros that are told for each stretch."""
    together = max(_BLOCK // part.out.shape[1], 1)
    scaled = np.divide if packing.divide else np.multiply
    for start in range(0, len(part.out), together):
        codes, out = part.lines(start, start + together)
        spread = tables(start, start + together)
        if len(spread) > 1:
            codes = np.subtract(codes, spread[1], out=out, dtype=np.float32, casting="unsafe")
        scaled(codes, spread[0], out=out, dtype=np.float32, casting="unsafe")


def _spread(tables: _Tables, lines: I8, columns: _Columns) -> list[Array]:
    """Scales, and zeros if there are any, for each code or to be broadcast to it."""
    at = lines[:, None] + columns.own[None, :] - tables.first
    result = []
    for table in tables.all:
        found = table.take(at)
        if columns.widths is not None and found.shape[1] > 1:
            found = np.repeat(found, columns.widths, axis=1)
        result.append(found)
    return result
