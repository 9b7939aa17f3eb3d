"""Weights as numbers, a piece at a time: stored elements are read, codes decoded, scales applied.

Only the blocks that a piece touches are read and decoded. What is not finite stays so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ModelError
from explorer.network import Chunks, Network, Weight
from explorer.weights.codecs import decode, kinds
from explorer.weights.codecs.affine import OutsideError
from explorer.weights.codecs.kinds import FLOATS, is_number, item_dtype, number_dtype
from explorer.weights.stored_items import StoredItems

TABLE_BYTES = 16 << 20
"""Tables of scales up to this size are read whole and kept; of larger ones the parts in use."""
KEPT_BYTES = 64 << 20
"""Most bytes of tables that are kept."""
_TOGETHER = 1 << 18  # elements of short runs that are decoded at once
_SPARSE = 512  # words between two that are wanted, on average, where each is read alone

Array = NDArray[Any]
Run = tuple[int, int, int, int]


class WeightReader:
    """Reads weights of one network; safe to use from several threads.

    Parameters
    ----------
    network : Network

    Raises
    ------
    ModelError
        When a file cannot be opened, or is not the one that the network was read from.

    Notes
    -----
    One descriptor per file stays open until `close`. All reads raise `ModelError` when the file
    has changed since, is shorter than it was, or is damaged, and when a weight's description
    cannot be that of its bytes.
    """

    def __init__(self, network: Network) -> None:
        self._stored = StoredItems(network)
        self._tables: dict[str, Array] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> WeightReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files; reading afterwards is an error. May be called more than once."""
        self._stored.close()
        with self._lock:
            self._tables.clear()

    def read(self, weight: Weight) -> Array:
        """The whole tensor.

        Parameters
        ----------
        weight : Weight

        Returns
        -------
        ndarray of shape ``weight.shape``
            Writable and not shared. Floats of 4 to 32 bits and all codes as float32; float64, and
            integers that are no codes, in their own type.
        """
        return self.read_flat(weight, 0, weight.size).reshape(weight.shape)

    def read_flat(self, weight: Weight, start: int, stop: int) -> Array:
        """Elements `start` … `stop` - 1 of the tensor in C order.

        Parameters
        ----------
        weight : Weight
        start, stop : int
            ``0 <= start <= stop <= weight.size``.

        Returns
        -------
        ndarray of shape (stop - start,)

        Raises
        ------
        IndexError
            When the range is not inside the tensor.
        """
        _check_range(weight, start, stop)
        return self._numbers(weight, (start, 1, 0, stop - start)).reshape(-1)

    def read_rows(self, weight: Weight, first: int, rows: int, stride: int, width: int) -> Array:
        """Many short runs at even distances: a rectangle of a matrix.

        Parameters
        ----------
        weight : Weight
        first : int
            Element, in C order, at which the first run begins.
        rows : int
            How many runs.
        stride : int
            Elements from the start of a run to the start of the next.
        width : int
            Elements per run.

        Returns
        -------
        ndarray of shape (rows, width)

        Raises
        ------
        IndexError
            When a run is not inside the tensor.
        """
        if rows <= 0 or width <= 0:
            return np.empty((max(rows, 0), max(width, 0)), number_dtype(weight))
        last = first + (rows - 1) * stride + width
        if first < 0 or stride < 0 or last > weight.size:
            raise IndexError(f"{rows} runs of {width} from {first} by {stride} of {weight.size}")
        return self._numbers(weight, (first, rows, stride, width))

    def read_stored(
        self, weight: Weight, run: Run, memory: Callable[[int], NDArray[np.uint8]]
    ) -> Array | None:
        """Floats as they lie in the file, in memory that is given.

        Parameters
        ----------
        weight : Weight
        run : (first, rows, stride, width)
            As for `read_rows`.
        memory : callable int -> uint8 array
            Gives so many bytes to read to, aligned for every type.

        Returns
        -------
        array of shape (rows, width), or None
            Float32, float64, or floats of 16 bits as uint16, at any address. ``None`` for elements
            of other types, packed or filtered ones.

        Raises
        ------
        IndexError
            When a run is not inside the tensor.
        """
        if weight.dtype not in FLOATS or weight.packing is not None:
            return None
        if weight.where is None or isinstance(weight.where, Chunks):
            return None
        first, rows, stride, width = run
        if min(first, rows, stride, width) < 0 or first + (rows - 1) * stride + width > weight.size:
            raise IndexError(f"{rows} runs of {width} from {first} by {stride} of {weight.size}")
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            return self._stored.read_once(weight, run, memory)

    def at_hand(self, weight: Weight, element: int) -> bool:
        """Whether reading from an element on is known not to wait for a disk."""
        if not decode.is_plain(weight):
            return False
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            return self._stored.at_hand(weight, element)

    def read_many(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Array:
        """Many short runs that begin anywhere.

        Parameters
        ----------
        weight : Weight
        starts : int64 array, shape (n,)
            Elements, in C order, at which the runs begin.
        width : int
            Elements per run.

        Returns
        -------
        ndarray of shape (n, width)

        Raises
        ------
        IndexError
            When a run is not inside the tensor.
        """
        if not len(starts) or width <= 0:
            return np.empty((len(starts), max(width, 0)), number_dtype(weight))
        if starts.min() < 0 or starts.max() + width > weight.size:
            raise IndexError(f"runs of {width} beyond {weight.size} elements")
        if decode.is_scattered(weight):
            return self._scattered(weight, starts, width)
        if not decode.is_plain(weight):
            runs = ((start, 1, 0, width) for start in starts.tolist())
            return np.concatenate([self._numbers(weight, run) for run in runs])
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            return decode.elements(weight, self._stored.read_many(weight, starts, width))

    def read_codes(self, weight: Weight, start: int, stop: int) -> Array:
        """The codes behind elements `start` … `stop` - 1, before any scale.

        Parameters
        ----------
        weight : Weight
            One for which `code_range` gives codes.
        start, stop : int
            ``0 <= start <= stop <= weight.size``.

        Returns
        -------
        integer array of shape (stop - start,)
            Entries of `code_range`.

        Raises
        ------
        IndexError
            When the range is not inside the tensor.
        ModelError
            When its elements have no codes.
        """
        _check_range(weight, start, stop)
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            if not self.code_range(weight):
                path = self._stored.place_of(weight)
                raise ModelError(path, f"{weight.name}: its numbers have no codes of their own")
            if start == stop:
                return np.empty(0, np.int16)
            codes = decode.codes(weight, (start, 1, 0, stop - start), self._stored.read)
        return codes.reshape(-1)

    def code_range(self, weight: Weight) -> tuple[int, ...]:
        """The codes that an element can have, ascending; empty where it has none of its own."""
        return kinds.code_range(weight)

    def code_count(self, weight: Weight) -> int:
        """How many codes an element can have; 0 where it has none of its own."""
        return len(self.code_range(weight))

    def _numbers(self, weight: Weight, run: Run) -> Array:
        """Numbers of runs, shape (rows, width)."""
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            if not run[3]:
                return np.empty((run[1], 0), number_dtype(weight))
            found = partial(decode.numbers, weight, run, self._stored.read, self._entries)
            return self._decoded(weight, found)

    def _decoded(self, weight: Weight, read: Callable[[], Array]) -> Array:
        """What `read` gives; an index that leads nowhere is told as an error of the file."""
        try:
            return read()
        except OutsideError:
            raise ModelError(
                self._stored.place_of(weight),
                f"{weight.name} cannot be read: its group index names scales that do not exist",
            ) from None

    def _scattered(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Array:
        """Many short runs of a matrix that lies column by column."""
        out = np.empty((len(starts), width), np.float32)
        together, words_at = max(_TOGETHER // width, 1), partial(self._words, weight)
        with self._stored.in_use(weight):
            self._stored.check_sound(weight)
            for first in range(0, len(starts), together):
                part = slice(first, first + together)
                at = starts[part, None] + np.arange(width)
                found = partial(decode.scattered_numbers, weight, at, words_at, self._entries)
                out[part] = self._decoded(weight, found)
        return out

    def _words(self, weight: Weight, places: NDArray[np.int64]) -> Array:
        """Stored words at ascending positions, shape (n, 1)."""
        first, last = int(places[0]), int(places[-1])
        if last - first > _SPARSE * len(places):
            return self._stored.read_many(weight, places, 1)
        out = np.empty((len(places), 1), item_dtype(weight))
        for start in range(first, last + 1, _TOGETHER):  # so near that it is all read through
            stop = min(start + _TOGETHER, last + 1)
            low, high = np.searchsorted(places, (start, stop))
            if low < high:
                block = self._stored.read(weight, start, 1, 0, stop - start)
                out[low:high, 0] = block[0, places[low:high] - start]
        return out

    def _entries(self, table: Weight, start: int, stop: int) -> Array:
        """Numbers ``start:stop`` of a table of scales, zero points or groups."""
        dtype = number_dtype(table) if is_number(table) else np.dtype(np.float64)
        if table.size * dtype.itemsize > TABLE_BYTES:
            return self.read_flat(table, start, stop).astype(dtype, copy=False)
        with self._lock:
            known = self._tables.get(table.name)
        if known is None:
            known = self.read_flat(table, 0, table.size).astype(dtype, copy=False)
            known.flags.writeable = False
            with self._lock:
                self._tables[table.name] = known
                while sum(a.nbytes for a in self._tables.values()) > KEPT_BYTES:
                    self._tables.pop(next(iter(self._tables)))
        return known[start:stop]


def _check_range(weight: Weight, start: int, stop: int) -> None:
    if not 0 <= start <= stop <= weight.size:
        raise IndexError(f"elements {start} to {stop} of {weight.size}")
