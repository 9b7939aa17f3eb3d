"""What lies in the files of a network, read a piece at a time, by position.

`pread` and not `mmap`: a file that is rewritten while it is mapped kills the process. Before each
batch the file is compared with how it was when the network was read, so numbers of two different
files are never mixed. Arrays in a file may begin at any byte, so blocks are copied into arrays of
our own, which are aligned.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ModelError
from explorer.network import ByteRange, Chunks, FileStamp, Inline, Network, Pieces, Weight
from explorer.weights.codecs import item_dtype, problem
from explorer.weights.direct_reads import DirectReads

CHANGED = "the file changed while it was open; open it again"
#: A stretch of file that is read through rather than jumped over.
GAP = 16 << 10
#: Bytes read at once when runs are gathered.
BLOCK = 4 << 20
_ANNOUNCED = 1 << 11  # short runs that the system is told of at once

Array = NDArray[Any]
Run = tuple[int, int, int, int]
_Place = ByteRange | Pieces | Inline


class StoredItems:
    """Reads the elements, words or blocks that the files of one network hold; safe for threads.

    Parameters
    ----------
    network : Network

    Raises
    ------
    ModelError
        When a file cannot be opened, or is not the one that the network was read from.
    """

    def __init__(self, network: Network) -> None:
        self._stamps = {stamp.path: stamp for stamp in network.files}
        self._open: dict[str, tuple[int, tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._reading = 0
        self._decoded: dict[str, Array] = {}
        self._direct = DirectReads()
        self._sound: dict[str, Weight] = {}
        try:
            for path in self._stamps:
                self._descriptor(path)
        except ModelError:
            self.close()
            raise

    def close(self) -> None:
        """Close all files; reading afterwards is an error. May be called more than once."""
        with self._lock:
            self._closed = True
            self._decoded.clear()
            self._release()

    def _release(self) -> None:
        """Close the descriptors once nobody reads.

        A number that is in use must not come to mean another file.
        """
        if self._closed and not self._reading:
            self._direct.close()
            for descriptor, _ in self._open.values():
                os.close(descriptor)
            self._open.clear()

    @contextmanager
    def in_use(self, weight: Weight) -> Iterator[None]:
        """Hold the files open during a read."""
        with self._lock:
            if self._closed:
                raise ModelError(next(iter(self._stamps), weight.name), "the file is closed")
            self._reading += 1
        try:
            yield
        finally:
            with self._lock:
                self._reading -= 1
                self._release()

    def place_of(self, weight: Weight) -> str:
        """The file to name when a weight cannot be read."""
        return next(_files(weight), next(iter(self._stamps), weight.name))

    def check_sound(self, weight: Weight) -> None:
        """Raise unless the weight's description can be that of real data."""
        if self._sound.get(weight.name) is weight:
            return
        if weight.where is None:
            raise ModelError(self.place_of(weight), f"the file holds no data for {weight.name}")
        wrong = problem(weight)
        if wrong:
            raise ModelError(self.place_of(weight), f"{weight.name} cannot be read: {wrong}")
        self._sound[weight.name] = weight

    def read(self, weight: Weight, first: int, rows: int, stride: int, width: int) -> Array:
        """Runs of items at even distances.

        Parameters
        ----------
        weight : Weight
        first, rows, stride, width : int
            In items: elements, or the words or blocks that several elements share.

        Returns
        -------
        array of `item_dtype`, shape (rows, width)
            In the machine's own byte order; contiguous.
        """
        if isinstance(weight.where, Chunks):
            flat = self._decode(weight).reshape(-1)
            if rows == 1 or stride == width:
                return flat[first : first + rows * width].reshape(rows, width).copy()
            return flat.take(first + np.arange(rows)[:, None] * stride + np.arange(width))
        out = np.empty((rows, width), item_dtype(weight))
        return self._runs(weight, (first, rows, stride, width), out)

    def read_once(
        self, weight: Weight, run: Run, memory: Callable[[int], NDArray[np.uint8]]
    ) -> Array:
        """The same, of items that lie uncompressed in the file, by whoever streams through it.

        What is large goes past the system's page cache, if it does not lie in it.

        Parameters
        ----------
        weight : Weight
        run : (first, rows, stride, width)
        memory : callable int -> uint8 array
            Gives so many bytes to read to.

        Returns
        -------
        array of `item_dtype`, shape (rows, width)
            In the machine's own byte order; contiguous, but at any address.
        """
        place, dtype = weight.where, item_dtype(weight)
        first, rows, stride, width = run
        nbytes = rows * width * dtype.itemsize
        if isinstance(place, ByteRange) and (stride == width or rows == 1):
            self._check(place.file)
            at = place.offset + first * dtype.itemsize
            found = self._direct.read(self._descriptor(place.file), at, nbytes, memory)
            if found is not None:
                stored = found.view(dtype).reshape(rows, width)
                return stored.astype(dtype.newbyteorder("="), copy=False)
        return self._runs(weight, run, memory(nbytes).view(dtype).reshape(rows, width))

    def at_hand(self, weight: Weight, item: int) -> bool:
        """Whether reading an item and what follows it is known not to wait for a disk."""
        place = weight.where
        if not isinstance(place, ByteRange):
            return isinstance(place, Inline)
        at = place.offset + item * item_dtype(weight).itemsize
        return self._direct.at_hand(self._descriptor(place.file), at)

    def read_many(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Array:
        """Runs of items that begin anywhere; as many small reads of one file, checked once.

        Parameters
        ----------
        weight : Weight
        starts : int64 array, shape (n,)
        width : int
            In items, like `starts`.

        Returns
        -------
        array of `item_dtype`, shape (n, width)
            In the machine's own byte order; contiguous.
        """
        place, dtype = weight.where, item_dtype(weight)
        if isinstance(place, Chunks):
            flat = self._decode(weight).reshape(-1)
            return flat.take(starts[:, None] + np.arange(width))
        assert isinstance(place, ByteRange | Pieces | Inline)
        for path in _files(weight):
            self._check(path)
        out = np.empty((len(starts), width), dtype)
        offsets = (starts * dtype.itemsize).tolist()
        if isinstance(place, ByteRange):
            self._scatter(place, offsets, out)
        else:
            for row, offset in enumerate(offsets):
                self._fill(place, offset, out[row])
        return out.astype(dtype.newbyteorder("="), copy=False)

    def _scatter(self, place: ByteRange, offsets: list[int], out: Array) -> None:
        """Fill each row of an array with bytes of a file."""
        descriptor, preadv = self._descriptor(place.file), os.preadv
        view = out.reshape(-1).view(np.uint8).data
        nbytes = out.shape[1] * out.itemsize
        starts = [place.offset + offset for offset in offsets]
        try:
            for row, offset in enumerate(offsets):
                if row % _ANNOUNCED == 0:
                    self._announce(descriptor, starts[row : row + _ANNOUNCED], nbytes)
                part = view[row * nbytes : (row + 1) * nbytes]
                if preadv(descriptor, [part], place.offset + offset) != nbytes:
                    self._fill_from(place.file, place.offset + offset, part)
        except OSError as error:
            raise ModelError(place.file, f"cannot be read ({error.strerror})") from None

    def _announce(self, descriptor: int, starts: list[int], nbytes: int) -> None:
        """Have the system fetch short runs all at once: one by one, a disk answers each."""
        if nbytes > GAP or not hasattr(os, "posix_fadvise"):
            return
        if not self._direct.at_hand(descriptor, starts[0]):
            with suppress(OSError):
                for start in starts:
                    os.posix_fadvise(descriptor, start, nbytes, os.POSIX_FADV_WILLNEED)

    def _runs(self, weight: Weight, run: Run, out: Array) -> Array:
        """Items of runs that lie uncompressed in the file, which an array is filled with."""
        place, dtype = weight.where, out.dtype
        first, rows, stride, width = run
        assert isinstance(place, ByteRange | Pieces | Inline)
        at, step = first * dtype.itemsize, stride * dtype.itemsize
        for path in _files(weight):
            self._check(path)
        if stride == width or rows == 1:
            self._fill(place, at, out.reshape(-1))
        elif stride < width or step - width * dtype.itemsize > GAP:
            for some in range(0, rows, _ANNOUNCED):
                many = range(some, min(rows, some + _ANNOUNCED))
                if isinstance(place, ByteRange):
                    starts = [place.offset + at + row * step for row in many]
                    self._announce(self._descriptor(place.file), starts, width * dtype.itemsize)
                for row in many:
                    self._fill(place, at + row * step, out[row])
        else:
            self._gather(place, at, step, out)
        return out.astype(dtype.newbyteorder("="), copy=False)

    def _gather(self, place: _Place, at: int, step: int, out: Array) -> None:
        """Runs with small gaps: read through a block at a time and keep what is wanted."""
        rows, width = out.shape
        stride = step // out.itemsize
        together = max(BLOCK // step, 1)
        block = np.empty(together * stride, out.dtype)
        for row in range(0, rows, together):
            count = min(together, rows - row)
            length = (count - 1) * stride + width
            self._fill(place, at + row * step, block[:length])
            runs = np.lib.stride_tricks.as_strided(
                block, (count, width), (step, out.itemsize), writeable=False
            )
            out[row : row + count] = runs

    def _decode(self, weight: Weight) -> Array:
        """A chunked tensor, decoded; the last few are kept, for they are read in small pieces."""
        with self._lock:
            known = self._decoded.get(weight.name)
        if known is not None:
            for path in _files(weight):
                self._check(path)
            return known
        chunks = weight.where
        assert isinstance(chunks, Chunks)
        dtype = item_dtype(weight)
        out = np.empty(weight.shape, dtype)
        for path in _files(weight):
            self._check(path)
        for start, place in chunks.pieces:
            stored = np.empty(place.nbytes, np.uint8)
            self._fill(place, 0, stored)
            chunk = _unfilter(stored.tobytes(), chunks, dtype, place.file, weight.name)
            axes = zip(chunks.shape, weight.shape, start, strict=True)
            room = tuple(slice(0, min(c, n - i)) for c, n, i in axes)
            spot = tuple(slice(i, i + r.stop) for i, r in zip(start, room, strict=True))
            out[spot] = chunk.reshape(chunks.shape)[room]
        self._keep(weight.name, out)
        return out

    def _keep(self, name: str, array: Array) -> None:
        """Remember a decoded tensor, forgetting the oldest beyond 64 MB."""
        array.flags.writeable = False
        with self._lock:
            if self._closed or array.nbytes > 64 << 20:
                return
            self._decoded[name] = array
            while sum(a.nbytes for a in self._decoded.values()) > 64 << 20:
                self._decoded.pop(next(iter(self._decoded)))

    def _descriptor(self, path: str) -> int:
        """An open descriptor of a file, checked when it is opened."""
        with self._lock:
            if self._closed:
                raise ModelError(path, "the file is closed")
            known = self._open.get(path)
            if known is not None:
                return known[0]
            if path not in self._stamps:
                raise ModelError(path, "is not a file of this network")
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise ModelError(path, f"cannot be opened ({error.strerror})") from None
            status = os.fstat(descriptor)
            self._open[path] = descriptor, (status.st_dev, status.st_ino)
        self._check(path)
        return descriptor

    def _check(self, path: str) -> None:
        """Raise unless the file is still the one that the network was read from."""
        descriptor = self._descriptor(path)
        stamp, identity = self._stamps[path], self._open[path][1]
        try:
            held, named = os.fstat(descriptor), os.stat(path)
        except OSError:
            raise ModelError(path, CHANGED) from None
        if _differs(held, stamp) or (named.st_dev, named.st_ino) != identity:
            raise ModelError(path, CHANGED)

    def _fill(self, place: _Place, offset: int, out: Array) -> None:
        """Fill an array with bytes of a tensor, from `offset` on."""
        if not out.nbytes:
            return
        view = out.reshape(-1).view(np.uint8).data
        if isinstance(place, Inline):
            view[:] = place.data[offset : offset + len(view)]
        elif isinstance(place, ByteRange):
            self._fill_from(place.file, place.offset + offset, view)
        else:
            start = done = 0
            for part in place.parts:
                skip = max(offset + done - start, 0)
                count = min(part.nbytes - skip, len(view) - done)
                if count > 0:
                    self._fill_from(part.file, part.offset + skip, view[done : done + count])
                    done += count
                start += part.nbytes

    def _fill_from(self, path: str, offset: int, view: memoryview) -> None:
        """Fill memory with bytes of a file."""
        descriptor = self._descriptor(path)
        done = 0
        while done < len(view):
            try:
                count = os.preadv(descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise ModelError(path, f"cannot be read ({error.strerror})") from None
            if not count:
                raise ModelError(path, CHANGED)
            done += count


def _differs(status: os.stat_result, stamp: FileStamp) -> bool:
    return (status.st_size, status.st_mtime_ns) != (stamp.size, stamp.mtime_ns)


def _files(weight: Weight) -> Iterator[str]:
    where = weight.where
    if isinstance(where, Chunks):
        yield from dict.fromkeys(place.file for _, place in where.pieces)
    elif isinstance(where, Pieces):
        yield from dict.fromkeys(place.file for place in where.parts)
    elif isinstance(where, ByteRange):
        yield where.file


def _unfilter(data: bytes, chunks: Chunks, dtype: np.dtype[Any], path: str, name: str) -> Array:
    """Undo the filters of one chunk, never growing beyond the chunk's size."""
    expected = prod(chunks.shape) * dtype.itemsize
    for step in reversed(chunks.filters):
        if step == "deflate":
            try:
                data = zlib.decompressobj().decompress(data, expected + 1)
            except zlib.error:
                raise ModelError(path, f"a piece of {name} is damaged") from None
        elif step == "shuffle":
            whole = len(data) // dtype.itemsize * dtype.itemsize
            planes = np.frombuffer(data[:whole], np.uint8).reshape(dtype.itemsize, -1)
            data = planes.T.tobytes() + data[whole:]
    if len(data) != expected:
        raise ModelError(path, f"a piece of {name} is damaged")
    return np.frombuffer(data, dtype)
