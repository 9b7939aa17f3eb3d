"""Large reads that go past the system's page cache, where what is read does not lie in it.

A model is streamed through once while it is measured. Through the page cache that costs a page of
memory and a copy for all that is read, and drives out what other programs keep there; on a quick
disk the processor is then busier with pages than with weights. What does lie in the cache is best
read from there, so the system is asked first (`cachestat`, Linux 6.5; elsewhere all reads are
ordinary). It is asked of the whole file, not of each read alone: reading what lies in the cache has
the system fetch what follows, which then lies there too, and so on to the end of the file.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
LEAST = 256 << 10
"""Bytes from which on a read may go past the cache."""
_ALIGNED = 4096  # offsets, addresses and lengths are multiples of it
_LOOKED = 256 << 10  # bytes of each read of which the cache is asked
_MOSTLY = 0.9  # share of a file in the cache from which on reads may be ordinary
_CACHESTAT = 451  # the same number on all architectures


class _Opened(NamedTuple):
    """A file opened once more."""

    direct: int  # descriptor that reads past the cache
    cached: bool  # whether most of the file lay in the cache then


class DirectReads:
    """Reads files past the page cache; safe for threads, and never raises.

    Descriptors that it opens for itself are closed with `close`.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Opened | None] = {}
        self._refused: set[int] = set()
        self._lock = threading.Lock()

    def read(
        self, descriptor: int, offset: int, nbytes: int, memory: Callable[[int], Bytes]
    ) -> Bytes | None:
        """Read bytes of a file, straight to where they are wanted.

        Parameters
        ----------
        descriptor : int
            Of the file, open for reading until `close`.
        offset, nbytes : int
        memory : callable int -> uint8 array
            Gives so many bytes to read to.

        Returns
        -------
        uint8 array, shape (nbytes,), or None
            Part of that memory, at any address. ``None`` where ordinary reading does as well, or
            something went wrong, which ordinary reading will tell.
        """
        if nbytes < LEAST or descriptor in self._refused:
            return None
        opened = self._opened(descriptor)
        if opened is None or (opened.cached and is_cached(descriptor, offset)):
            return None
        skip = offset % _ALIGNED
        span = -(-(skip + nbytes) // _ALIGNED) * _ALIGNED
        whole = memory(span + _ALIGNED)
        begin = -whole.ctypes.data % _ALIGNED
        pages = whole[begin : begin + span]
        try:
            done = _filled(opened.direct, offset - skip, pages)
        except (OSError, ValueError):
            self._refused.add(descriptor)  # by the file system: it is not asked again
            return None
        return pages[skip : skip + nbytes] if done >= skip + nbytes else None

    def at_hand(self, descriptor: int, offset: int) -> bool:
        """Whether reading from an offset on is known not to wait for a disk."""
        opened = self._opened(descriptor)
        return opened is not None and opened.cached and is_cached(descriptor, offset) is True

    def _opened(self, descriptor: int) -> _Opened | None:
        """The same file opened again; ``None`` where it cannot be read past the cache."""
        with self._lock:
            if descriptor not in self._open:
                self._open[descriptor] = _reopened(descriptor)
            return self._open[descriptor]

    def close(self) -> None:
        """Close what was opened; nobody may be reading."""
        with self._lock:
            for opened in self._open.values():
                if opened is not None:
                    os.close(opened.direct)
            self._open.clear()
            self._refused.clear()


def _reopened(descriptor: int) -> _Opened | None:
    with suppress(OSError):
        share = cached_share(descriptor)
        if share is not None:  # by its number: it is the same file, whatever its name
            flags = os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC
            return _Opened(os.open(f"/proc/self/fd/{descriptor}", flags), share > _MOSTLY)
    return None


def _filled(descriptor: int, offset: int, pages: Bytes) -> int:
    """Bytes that were read to whole pages; fewer than they have where the file ends."""
    done = 0
    while done < len(pages):
        got = os.preadv(descriptor, [pages[done:].data], offset + done)
        done += got
        if got == 0 or got % _ALIGNED:
            break
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
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


def _cached(descriptor: int, offset: int, nbytes: int) -> int | None:
    """How many of some bytes of a file lie in the page cache; ``None`` if that cannot be known."""
    system = _system()
    if system is None:
        return None
    pages = _Pages()
    place = _Range(offset, nbytes)
    if system.syscall(_CACHESTAT, descriptor, ctypes.byref(place), ctypes.byref(pages), 0):
        return None
    return int(pages.cached) * mmap.PAGESIZE


def is_cached(descriptor: int, offset: int) -> bool | None:
    """Whether what a file holds from an offset on lies in the page cache; ``None`` if unknown."""
    found = _cached(descriptor, offset, _LOOKED)
    return None if found is None else found * 2 >= _LOOKED


def cached_share(descriptor: int) -> float | None:
    """Share of a file that lies in the page cache, from 0 to 1; ``None`` if unknown."""
    size = os.fstat(descriptor).st_size
    found = _cached(descriptor, 0, size)
    return None if found is None else min(1.0, found / max(size, 1))
