"""Measuring in other processes, on this machine or on others, that open the model by themselves.

What travels is small: where the files lie and what shows that they are the same there, matrices
by their offsets and strides, and back come the sums. No weight is sent.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from explorer.errors import ModelError
from explorer.network import FileStamp, Network
from explorer.pyramid.level0 import Level0
from explorer.pyramid.plan import PLAN, Piece, measured
from explorer.pyramid.sums.bands import Band
from explorer.pyramid.sums.compiled import SOURCE
from explorer.weights.weight_reader import WeightReader

_END = 64 << 10  # bytes looked at where a file begins and where it ends
_SPOT, _SPOTS = 4 << 10, 62  # bytes looked at in between, and how often
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples fall evenly into 2^64
_KEPT = 1  # models that a process keeps open when nothing is being read of them


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as the process that plans the work sees it.

    Attributes
    ----------
    stamp : FileStamp
        Path, size and time of the last change.
    spots : bytes
        Hash of its beginning, its end, and of spots in between that follow from its size.
    """

    stamp: FileStamp
    spots: bytes

    @classmethod
    def of(cls, stamp: FileStamp) -> SeenFile:
        """The file of a network, as it is here.

        Raises
        ------
        ModelError
            If it cannot be read, or is not the one that the network was read from.
        """
        return cls(stamp, _spots(stamp))

    def check(self) -> None:
        """Make sure that this process sees the same file.

        Device and inode are not compared: a file server's differ from machine to machine.

        Raises
        ------
        ModelError
            If it cannot be read, or is another one.
        """
        if _spots(self.stamp) != self.spots:
            raise ModelError(self.stamp.path, f"{_ANOTHER}: its bytes differ")


_ANOTHER = "not the file that is being measured"


def _spots(stamp: FileStamp) -> bytes:
    """Hash of some of a file's bytes, once its size and time are found to be right."""
    path = stamp.path
    try:
        with open(path, "rb", buffering=0, opener=_opener) as file:
            status = os.fstat(file.fileno())
            if status.st_size != stamp.size:
                raise ModelError(
                    path, f"{_ANOTHER}: it has {status.st_size} bytes, not {stamp.size}"
                )
            if status.st_mtime_ns != stamp.mtime_ns:
                raise ModelError(
                    path, f"{_ANOTHER}: it was changed at another time (a copy must keep its time)"
                )
            digest = hashlib.blake2b(digest_size=16)
            for at, nbytes in _places(stamp.size):
                digest.update(os.pread(file.fileno(), nbytes, at))
            return digest.digest()
    except OSError as error:
        raise ModelError(path, f"cannot be opened ({error.strerror})") from None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up


def _places(size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what is looked at in a file of this size."""
    yield 0, _END
    yield max(0, size - _END), _END
    for i in range(1, _SPOTS + 1):
        yield (size * (i * _GOLDEN % (1 << 64))) >> 64, _SPOT


@dataclass(frozen=True, slots=True)
class RemoteWork:
    """The `work` of `build_all` for executors that run it in another process.

    Pickles to a few hundred bytes. Each process that gets it opens the files once, keeps them open
    and may call it from several threads.

    Attributes
    ----------
    files : tuple of SeenFile
    """

    files: tuple[SeenFile, ...]

    @classmethod
    def of(cls, network: Network) -> RemoteWork:
        """Work on a network's files.

        Raises
        ------
        ModelError
            If one of them cannot be read any more, or was changed.
        """
        return cls(tuple(map(SeenFile.of, network.files)))

    def __call__(self, pieces: Sequence[Piece]) -> list[Band]:
        """Measure some bands here.

        Raises
        ------
        ModelError
            If this process cannot read the files, sees others, or they change.
        """
        with _opened(self) as level0:
            return measured(pieces, level0)


@dataclass(eq=False)
class _Opened:
    """A model that this process has open."""

    reader: WeightReader
    level0: Level0
    users: int = 0


_open: OrderedDict[RemoteWork, _Opened] = OrderedDict()
_lock = threading.Lock()


@contextmanager
def _opened(work: RemoteWork) -> Iterator[Level0]:
    """The model's reader, which stays open for the next call."""
    with _lock:
        if work not in _open:
            for file in work.files:
                file.check()
            stamps = tuple(file.stamp for file in work.files)
            reader = WeightReader(Network("", "", (), files=stamps))
            _open[work] = _Opened(reader, Level0(reader))
        own = _open[work]
        own.users += 1
        _open.move_to_end(work)
    try:
        yield own.level0
    finally:
        with _lock:
            own.users -= 1
        close_idle(_KEPT)


def close_idle(keep: int = 0) -> None:
    """Close the models that nobody reads now.

    Parameters
    ----------
    keep : int
        How many may stay open, those used last.
    """
    with _lock:
        idle = [work for work, own in _open.items() if not own.users]
        for work in idle[: max(0, len(idle) - keep)]:
            _open.pop(work).reader.close()


@cache
def maker() -> Mapping[str, str]:
    """What the sums depend on besides the weights, for two machines to compare.

    Returns
    -------
    mapping of str to str
        Versions by the name of what has them. That of ``neuronaut`` is the plan and a hash of the
        modules that read and measure: two checkouts of one version may differ.
    """
    folder = Path(__file__).parents[2]
    digest = hashlib.blake2b(digest_size=8)
    modules = [folder / "network.py", *(folder / "pyramid").rglob("*.py"), SOURCE]
    for path in sorted([*modules, *(folder / "weights").rglob("*.py")]):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return {
        "neuronaut": f"{PLAN}-{digest.hexdigest()}",
        "numpy": np.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "byte order": sys.byteorder,
    }
