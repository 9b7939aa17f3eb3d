"""Large reads that go past the system's page cache, where what is read does not lie in it.

A model is streamed through once while it is measured. Through the page cache that costs a page of
memory and a copy for all that is read, and drives out what other programs keep there; on a quick
disk the processor is then busier with pages than with weights. What does lie in the cache is best
read from there, so each read asks first (`cachestat`, Linux 6.5; elsewhere all reads are ordinary).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from contextlib import suppress
from functools import cache

import numpy as np

LEAST = 1 << 20
"""Bytes from which on a read may go past the cache."""
_ALIGNED = 4096  # offsets, addresses and lengths are multiples of it
_STAGE = (2 << 20) + 2 * _ALIGNED
"""Bytes read at once: 2 MB wherever they begin. They are copied while the processor has them."""
_LOOKED = 256 << 10  # bytes of each read of which the cache is asked
_CACHESTAT = 451  # the same number on all architectures


class DirectReads:
    """Reads files past the page cache; safe for threads, and never raises.

    Descriptors that it opens for itself are closed with `close`.
    """

    def __init__(self) -> None:
        self._open: dict[int, int | None] = {}
        self._refused: set[int] = set()
        self._stages: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def fill(self, descriptor: int, offset: int, view: memoryview) -> int:
        """Fill the beginning of some memory with bytes of a file.

        Parameters
        ----------
        descriptor : int
            Of the file, open for reading until `close`.
        offset : int
        view : memoryview of bytes

        Returns
        -------
        int
            How many bytes were filled: none where ordinary reading does as well, fewer than asked
            for where something went wrong, which ordinary reading will tell.
        """
        if len(view) < LEAST or descriptor in self._refused:
            return 0
        if is_cached(descriptor, offset) is not False:
            return 0
        direct = self._descriptor(descriptor)
        if direct is None:
            return 0
        with self._lock:
            stage = self._stages.pop() if self._stages else None
        done = 0
        try:
            stage = stage or mmap.mmap(-1, _STAGE)
            done = _through(stage, direct, offset, view)
        except (OSError, ValueError):  # the file system refuses: it is not asked again
            self._refused.add(descriptor)
        if stage is not None:
            with self._lock:
                self._stages.append(stage)
        return done

    def _descriptor(self, descriptor: int) -> int | None:
        """The same file opened once more; ``None`` where it cannot be read past the cache."""
        with self._lock:
            if descriptor not in self._open:
                self._open[descriptor] = None
                with suppress(OSError):  # by its number: it is the same file, whatever its name
                    self._open[descriptor] = os.open(
                        f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC
                    )
            return self._open[descriptor]

    def close(self) -> None:
        """Close what was opened; nobody may be reading."""
        with self._lock:
            for direct in self._open.values():
                if direct is not None:
                    os.close(direct)
            self._open.clear()
            self._refused.clear()
            self._stages.clear()


def _through(stage: mmap.mmap, direct: int, offset: int, view: memoryview) -> int:
    """Bytes that were read from a file by way of aligned memory."""
    done = 0
    staged = np.frombuffer(stage, np.uint8)
    out = np.frombuffer(view, np.uint8)  # numpy copies without holding up other threads
    while done < len(view):
        skip = (offset + done) % _ALIGNED
        pages = -(-(skip + len(view) - done) // _ALIGNED)
        reads = -(-pages * _ALIGNED // _STAGE)  # alike, for a short one costs nearly as much
        want = -(-pages // reads) * _ALIGNED
        got = os.preadv(direct, [staged[:want].data], offset + done - skip) - skip
        if got <= 0:
            break
        count = min(got, len(view) - done)
        np.copyto(out[done : done + count], staged[skip : skip + count])
        done += count
    return done


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("nbytes", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


@cache
def _system() -> ctypes.CDLL | None:
    """Where system calls are made, on systems that can read past their cache at all."""
    if not hasattr(os, "O_DIRECT"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


def is_cached(descriptor: int, offset: int) -> bool | None:
    """Whether what a file holds from an offset on lies in the page cache; ``None`` if unknown."""
    system = _system()
    if system is None:
        return None
    pages = _Pages()
    place = _Range(offset, _LOOKED)
    if system.syscall(_CACHESTAT, descriptor, ctypes.byref(place), ctypes.byref(pages), 0):
        return None
    return bool(pages.cached * mmap.PAGESIZE * 2 >= _LOOKED)
