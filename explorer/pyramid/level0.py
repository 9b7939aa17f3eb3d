"""The finest level of the pyramid: weights read from the file where they are needed, and summed.

Blocks are small (a few MB), so memory stays bounded whatever the size of a weight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.weights.connections import Matrix

F8 = NDArray[np.float64]
Values = NDArray[Any]
Runs = list[tuple[int, int]]
Memory = Callable[[int], NDArray[np.uint8]]
"""Gives so many bytes to write to."""
BLOCK = 1 << 17
"""Elements per block: what is worked on at once stays in the processor's cache."""
WHOLE = 1 << 22
"""Elements up to which a weight is read and kept in one piece."""
LARGEST = 1e140
"""Weights beyond it count as not finite: sums of their squares leave double precision."""


class Reader(Protocol):
    """Reads elements of weights; safe to call from several threads."""

    def read_flat(self, weight: Weight, start: int, stop: int) -> Values:
        """Elements ``start:stop`` in C order."""

    def read_rows(self, weight: Weight, first: int, rows: int, stride: int, width: int) -> Values:
        """Runs of `width` elements beginning at ``first + i * stride``: shape (rows, width)."""

    def read_many(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Values:
        """Runs of `width` elements that begin anywhere: shape (len(starts), width)."""


@runtime_checkable
class StoredReader(Reader, Protocol):
    """Reads elements of weights also as they lie in the file, into memory that is given."""

    def at_hand(self, weight: Weight, element: int) -> bool:
        """Whether reading from an element on is known not to wait for a disk."""

    def read_stored(
        self, weight: Weight, run: tuple[int, int, int, int], memory: Memory
    ) -> Values | None:
        """Runs ``(first, rows, stride, width)``: shape (rows, width), floats or their bits.

        ``None`` when the elements are no plain floats, or not plainly there.
        """


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over the taps of each (row, column) pair; all arrays have shape (rows, columns).

    Attributes
    ----------
    sum_sq, sum, sum_abs, max_abs : float64 array
    bad : int64 array or None
        Weights that the sums leave out, NaN, infinite or beyond `LARGEST`; ``None`` when there
        are none.
    """

    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    bad: NDArray[np.int64] | None = None

    def at(self, seen: NDArray[np.bool_]) -> PairSums:
        """Some of the pairs, flat."""
        bad = None if self.bad is None else self.bad[seen]
        return PairSums(
            self.sum_sq[seen], self.sum[seen], self.sum_abs[seen], self.max_abs[seen], bad
        )


class Level0:
    """Reads pieces of weights and keeps the most recently used.

    Parameters
    ----------
    reader : Reader
    cache_bytes : int
        Most bytes kept.
    """

    def __init__(self, reader: Reader, cache_bytes: int = 64 << 20) -> None:
        self._reader = reader
        self._stored = reader if isinstance(reader, StoredReader) else None
        self._room = cache_bytes
        self._kept: OrderedDict[Hashable, Values] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def reader(self) -> Reader:
        """What reads the elements."""
        return self._reader

    def _cached(self, key: Hashable, read: Callable[[], Values]) -> Values:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        values = read()
        with self._lock:
            if key not in self._kept and values.nbytes <= self._room // 2:
                self._kept[key] = values
                self._bytes += values.nbytes
                while self._bytes > self._room:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return values

    def _run(self, matrix: Matrix, tap: int, rows: tuple[int, int], columns: tuple[int, int],
             keep: bool) -> Values:  # fmt: skip
        """Rows and columns of one tap: shape (rows, columns), the file's own float type."""
        (r0, r1), (c0, c1) = rows, columns
        weight, stride, n = matrix.weight, matrix.major_stride, r1 - r0
        first, width = matrix.offset + r0 * stride + c0 * matrix.minor_stride, c1 - c0
        if matrix.minor_stride == 1:
            first += tap * matrix.tap_stride
        if weight.size <= WHOLE:
            flat = self._whole(weight)
            step = flat.itemsize
            if matrix.minor_stride > 1:
                first += tap
            return np.lib.stride_tricks.as_strided(
                flat[first:], (n, width), (stride * step, matrix.minor_stride * step),
                writeable=False,
            )  # fmt: skip
        if matrix.minor_stride > 1:  # the taps of a pair lie side by side: they are read together
            width = (width - 1) * matrix.minor_stride + matrix.taps

        def read() -> Values:
            if stride == width or n == 1:
                return _plain(self._reader.read_flat(weight, first, first + n * width)).reshape(
                    n, width
                )
            return _plain(self._reader.read_rows(weight, first, n, stride, width))

        found = self._cached((weight.name, first, n, stride, width), read) if keep else read()
        return found if matrix.minor_stride == 1 else found[:, tap :: matrix.minor_stride]

    def values(self, matrix: Matrix, tap: int, runs: Runs, columns: tuple[int, int],
               keep: bool = True) -> Values:  # fmt: skip
        """Some rows of one tap.

        Parameters
        ----------
        matrix : Matrix
        tap : int
        runs : list of (first, stop)
            Rows, in ascending order.
        columns : (first, stop)
        keep : bool
            Whether to remember what was read.

        Returns
        -------
        float32 or float64 array, shape (rows, columns)
            Not to be written to.
        """
        blocks = [self._run(matrix, tap, run, columns, keep) for run in runs]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def taps(
        self, matrix: Matrix, runs: Runs, columns: tuple[int, int], keep: bool = True
    ) -> Iterator[Values]:
        """Some rows of each tap in turn, like `values`; what lies together is read once."""
        if matrix.minor_stride == 1 or matrix.taps == 1 or matrix.weight.size <= WHOLE:
            for tap in range(matrix.taps):
                yield self.values(matrix, tap, runs, columns, keep)
            return
        beside = replace(
            matrix, taps=1, minor=matrix.minor * matrix.taps, minor_stride=1, tap_stride=0
        )
        first, stop = (c * matrix.taps for c in columns)
        together = self.values(beside, 0, runs, (first, stop), keep)
        for tap in range(matrix.taps):
            yield together[:, tap :: matrix.taps]

    def stored(
        self, matrix: Matrix, rows: tuple[int, int], columns: tuple[int, int], memory: Memory
    ) -> Values | None:
        """Some rows of a matrix of one tap as they lie in the file.

        Parameters
        ----------
        matrix : Matrix
        rows, columns : (first, stop)
        memory : callable int -> uint8 array
            Gives the memory that the numbers are read into.

        Returns
        -------
        array, shape (rows, columns), or None
            Float32, float64, or the bits of floats of 16 bits as uint16, at any address. ``None``
            when they have to be decoded, or are better read together with what lies around them.
        """
        weight, width = matrix.weight, columns[1] - columns[0]
        whole = width == matrix.major_stride
        if self._stored is None or matrix.minor_stride > 1:
            return None
        if weight.size <= WHOLE and not whole:
            return None
        first = matrix.offset + rows[0] * matrix.major_stride + columns[0]
        run = (first, rows[1] - rows[0], matrix.major_stride, width)
        return self._stored.read_stored(weight, run, memory)

    def at_hand(self, matrix: Matrix, row: int) -> bool:
        """Whether reading from a row on is known not to wait for a disk."""
        first = matrix.offset + row * matrix.major_stride
        return self._stored is not None and self._stored.at_hand(matrix.weight, first)

    def pairs(self, matrix: Matrix, runs: Runs, columns: tuple[int, int],
              keep: bool = True) -> PairSums:  # fmt: skip
        """Sums over the taps of each pair, in double precision."""
        return together(map(_summed, self.taps(matrix, runs, columns, keep)))

    def tile_pairs(
        self, matrix: Matrix, rows: NDArray[np.intp], first: NDArray[np.intp], width: int
    ) -> PairSums:
        """Sums over the taps for the pairs of single tiles.

        Parameters
        ----------
        matrix : Matrix
        rows, first : int array, shape (n,)
            Row and first column of each tile.
        width : int
            Columns per tile.

        Returns
        -------
        PairSums
            Arrays of shape (n, width).
        """
        return together(map(_summed, self._tile_taps(matrix, rows, first, width)))

    def _tile_taps(
        self, matrix: Matrix, rows: NDArray[np.intp], first: NDArray[np.intp], width: int
    ) -> Iterator[Values]:
        """Each tap of single tiles in turn: shape (n, width)."""
        weight, step, taps = matrix.weight, matrix.minor_stride, matrix.taps
        starts = matrix.offset + rows.astype(np.int64) * matrix.major_stride + first * step
        span = (width - 1) * step + 1
        if weight.size <= WHOLE:
            flat = self._whole(weight)
            at = starts[:, None] + np.arange(0, span, step)
            for tap in range(taps):
                yield flat[at + tap * matrix.tap_stride]
        elif (taps - 1) * matrix.tap_stride < step:  # the taps of a pair lie side by side
            last = (taps - 1) * matrix.tap_stride
            together = _plain(self._reader.read_many(weight, starts, span + last))
            for tap in range(taps):
                yield together[:, tap * matrix.tap_stride :][:, :span:step]
        else:
            for tap in range(taps):
                at = starts + tap * matrix.tap_stride
                yield _plain(self._reader.read_many(weight, at, span))[:, ::step]

    def _whole(self, weight: Weight) -> Values:
        return self._cached(
            (weight.name,), lambda: _plain(self._reader.read_flat(weight, 0, weight.size))
        )


def _summed(values: Values) -> PairSums:
    """One tap: values that are not finite or cannot be squared are counted and left out."""
    v = values.astype(np.float64)
    size, bad = np.abs(v), None
    if not size.max(initial=0.0) <= LARGEST:  # also false for NaN
        wrong = ~(size <= LARGEST)
        v[wrong] = size[wrong] = 0.0
        bad = wrong.astype(np.int64)
    return PairSums(v * v, v, size, size, bad)


def together(parts: Iterable[PairSums]) -> PairSums:
    """The sums of several taps, or of several matrices, for the same pairs; at least one."""
    total: PairSums | None = None
    alone = True
    for one in parts:
        if total is not None:
            # One tap alone has arrays in two places: what is added to must be its own.
            total = replace(total, max_abs=total.max_abs.copy()) if alone else total
            one, alone = _added(total, one), False
        total = one
    assert total is not None  # a matrix has at least one tap
    return total


def _added(total: PairSums, one: PairSums) -> PairSums:
    """Add one tap to the total, in its arrays."""
    np.add(total.sum_sq, one.sum_sq, out=total.sum_sq)
    np.add(total.sum, one.sum, out=total.sum)
    np.add(total.sum_abs, one.sum_abs, out=total.sum_abs)
    np.maximum(total.max_abs, one.max_abs, out=total.max_abs)
    if one.bad is None:
        return total
    return replace(total, bad=one.bad if total.bad is None else total.bad + one.bad)


def _plain(values: Values) -> Values:
    """Float32 or float64 in the machine's byte order."""
    if values.dtype in (np.float32, np.float64):
        return values
    return values.astype(np.float32 if values.dtype == np.float16 else np.float64)


def row_blocks(rows: NDArray[np.int32], width: int, gap: int = 16) -> Iterator[Runs]:
    """Cut the rows with a label into blocks of at most `BLOCK` elements.

    Parameters
    ----------
    rows : int32 array
        Labels; rows with ``-1`` are skipped where more than `gap` of them stand together.
    width : int
        Columns that will be read of each row.
    gap : int

    Yields
    ------
    list of (first, stop)
        Runs of rows, ascending, that together fill one block.
    """
    seen = np.flatnonzero(rows >= 0)
    if not len(seen):
        return
    breaks = np.flatnonzero(np.diff(seen) > gap)
    starts = seen[np.concatenate(([0], breaks + 1))].tolist()
    stops = (seen[np.concatenate((breaks, [len(seen) - 1]))] + 1).tolist()
    most = max(1, BLOCK // max(1, width))
    block: Runs = []
    room = most
    for start, stop in zip(starts, stops, strict=True):
        while start < stop:
            cut = min(stop, start + room)
            block.append((start, cut))
            room -= cut - start
            start = cut
            if not room:
                yield block
                block, room = [], most
    if block:
        yield block


def spans(mask: NDArray[np.bool_]) -> Runs:
    """Runs of true entries as (first, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
