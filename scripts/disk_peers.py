"""What a pass over a file costs at least: the disk's own rate, and one plain numpy pass.

Files are read as plain programs read them, `preadv` into one block that is used again and again.
"A pass" is over given stretches of bytes, shared out among threads.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Stretch = tuple[int, int]
"""Offset and number of bytes."""
Bytes = NDArray[np.uint8]
Work = Callable[[Bytes], float]
_PAGE = 4096


class Spent(NamedTuple):
    """Seconds on the clock, and of processor time in all threads."""

    wall: float
    busy: float


def drop_from_cache(path: Path) -> float:
    """Have the system forget the file's pages; returns the share of them that it kept."""
    with path.open("rb") as file:
        descriptor = file.fileno()
        os.fsync(descriptor)  # only what is on the disk can be forgotten
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _kept(descriptor, path.stat().st_size)


def cached_share(path: Path) -> float:
    """Share of a file's pages that lie in the page cache, by a sample."""
    with path.open("rb") as file:
        return _kept(file.fileno(), path.stat().st_size)


def _kept(descriptor: int, size: int, samples: int = 256) -> float:
    kept, byte = 0, bytearray(1)
    for offset in np.linspace(0, size - 1, samples).astype(np.int64).tolist():
        try:
            kept += os.preadv(descriptor, [byte], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    return kept / samples


def cut(stretches: Iterable[Stretch], block: int) -> list[Stretch]:
    """Stretches in pieces of at most one block."""
    return [
        (at, min(block, offset + nbytes - at))
        for offset, nbytes in stretches
        for at in range(offset, offset + nbytes, block)
    ]


def time_to_pass(
    path: Path, stretches: Iterable[Stretch], work: Work, threads: int = 1, block: int = 4 << 20,
    direct: bool = False,
) -> Spent:  # fmt: skip
    """Time to read stretches of a file block by block and do some work on each block.

    Past the page cache, `direct`, stretches must begin and blocks end at multiples of 4096.
    """
    pieces = cut(stretches, block)
    waiting, lock = iter(pieces), threading.Lock()
    results: list[float] = []

    def run() -> None:
        whole = np.empty(block + _PAGE, np.uint8)
        buffer = whole[-whole.ctypes.data % _PAGE :][:block]
        view, best = memoryview(buffer.data), 0.0
        while True:
            with lock:
                piece = next(waiting, None)
            if piece is None:
                break
            offset, nbytes = piece
            done = 0
            while done < nbytes:
                got = os.preadv(
                    descriptor, [view[done : block if direct else nbytes]], offset + done
                )
                if not got:
                    raise OSError(f"{path} ends early")
                done += got
            best = max(best, work(buffer[:nbytes]))
        results.append(best)

    descriptor = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    try:
        started, busy = time.perf_counter(), time.process_time()
        hands = [threading.Thread(target=run) for _ in range(threads)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()
        spent = Spent(time.perf_counter() - started, time.process_time() - busy)
    finally:
        os.close(descriptor)
    if len(results) < threads:
        raise OSError(f"{path} cannot be read")
    return spent


def nothing(block: Bytes) -> float:
    """No work: the reading alone."""
    return 0.0


def f32_max(block: Bytes) -> float:
    """Max |w| of float32."""
    return float(np.abs(block.view("<f4")).max())


def bf16_decoded_max(block: Bytes) -> float:
    """Max |w| of bfloat16, made float32 first."""
    wide = block.view("<u2").astype(np.uint32)
    wide <<= np.uint32(16)
    return float(np.abs(wide.view(np.float32)).max())


def bf16_masked_max(block: Bytes) -> float:
    """Max |w| of bfloat16, by the order of its bits without the sign."""
    top = (block.view("<u2") & np.uint16(0x7FFF)).max()
    return float((np.uint32(top) << np.uint32(16)).view(np.float32))


PEERS: dict[str, dict[str, Work]] = {
    "float32": {"|w|.max()": f32_max},
    "bfloat16": {
        "made float32, |w|.max()": bf16_decoded_max,
        "(bits & 0x7fff).max()": bf16_masked_max,
    },
}
"""By element type: the plain numpy passes that building is compared with.

The first is what ``|w|.max()`` means where numpy knows numbers of that type only once they are made
others; further ones are the quickest that come to the same number, and to no other.
"""


def disk_rate(path: Path, most: int, threads: int, direct: bool = False) -> float:
    """Bytes per second of reading the file in order, cold, the best of two."""
    size = min(path.stat().st_size, most)
    best = np.inf
    for _ in range(2):
        drop_from_cache(path)
        spent = time_to_pass(path, [(0, size)], nothing, threads, 8 << 20, direct)
        best = min(best, spent.wall)
    return size / best
