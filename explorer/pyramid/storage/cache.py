"""Where statistics of weights are kept between runs, and of which files they are.

The folder is the user's cache folder. Everything in it can be made anew from the model files, and
nothing in it is believed unless the files of the model are still the ones it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from explorer.network import Network

SCHEMA = "1"
"""Of the files in the folder and of what their sections hold; raised when either changes."""
STORE = ".safetensors"
JOURNAL = ".journal"
LOCK = ".lock"
LARGEST_HEADER = 100_000_000
"""Bytes; the same limit that the safetensors library has."""

Totals = tuple[float, float, float, float, int, int]
"""Σw², Σw, Σ|w| and max|w| of the finite weights, their number, and that of the others."""


def cache_folder() -> Path:
    """The folder of all stored statistics; it may not exist yet.

    Follows the system's convention (``$XDG_CACHE_HOME/neuronaut/pyramids`` on Linux).
    """
    return platformdirs.user_cache_path("neuronaut", appauthor=False) / "pyramids"


def trusted(folder: Path) -> bool:
    """Whether the folder exists and nobody else can have written what is in it."""
    try:
        status = folder.stat()
    except OSError:
        return False
    mine = not hasattr(os, "geteuid") or os.geteuid() in (0, status.st_uid)
    return folder.is_absolute() and mine and not status.st_mode & 0o022


def make_folder(folder: Path) -> None:
    """Make the cache folder, for its owner alone.

    Raises
    ------
    OSError
        If it cannot be made, or belongs to somebody else.
    """
    if not folder.is_absolute():
        raise OSError("no home folder is known")
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not trusted(folder):
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        if not trusted(folder):
            raise OSError("the folder belongs to another user")


@dataclass(frozen=True)
class Fingerprint:
    """Which files statistics were made from, and how they were cut.

    Attributes
    ----------
    files : tuple of (str, int, int, int, int)
        Of each file: its path with all links followed, device, inode, bytes and time of the last
        change in nanoseconds; sorted.
    plan : str
        Hash of the connections' shapes.
    role : str
        What was measured, where that is not the weights of the one network in the files.
    model, name : str
        For people: path and name under which the model was opened. Not compared.
    """

    files: tuple[tuple[str, int, int, int, int], ...]
    plan: str
    role: str = ""
    model: str = field(default="", compare=False)
    name: str = field(default="", compare=False)

    @classmethod
    def of(cls, network: Network, plan: str, role: str = "") -> Fingerprint | None:
        """The fingerprint of a network, or of something else that its files tell.

        Returns
        -------
        Fingerprint or None
            ``None`` when a file is gone or no longer the one that the network was read from, or
            when there is no file at all.
        """
        files = []
        for stamp in network.files:
            row = _look(os.path.realpath(stamp.path))
            if row is None or row[3:] != (stamp.size, stamp.mtime_ns):
                return None
            files.append(row)
        if not files:
            return None
        return cls(tuple(sorted(files)), plan, role, network.opened, network.name)

    @classmethod
    def from_json(cls, text: str | bytes) -> Fingerprint | None:
        """What `to_json` wrote; ``None`` where it is of another schema or was not written by it."""
        try:
            found: dict[str, Any] = json.loads(text)
            files = tuple(
                (str(path), int(dev), int(ino), int(size), int(time))
                for path, dev, ino, size, time in found["files"]
            )
            plan, model, name = (str(found[key]) for key in ("plan", "model", "name"))
            known = cls(files, plan, str(found.get("role", "")), model, name)
            return known if files and found["schema"] == SCHEMA else None
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            return None

    def to_json(self) -> str:
        """As ASCII text, the same for the same fingerprint."""
        said = {"schema": SCHEMA, "files": self.files, "plan": self.plan,
                "model": self.model, "name": self.name}  # fmt: skip
        said |= {"role": self.role} if self.role else {}
        return json.dumps(said, separators=(",", ":"))

    @property
    def file_name(self) -> str:
        """Name of its files in the cache folder without their ending: readable, then a hash."""
        return file_name([row[0] for row in self.files], self.role)

    @property
    def checksum(self) -> int:
        """CRC-32 of all that is compared."""
        compared = (self.files, self.plan, *([self.role] if self.role else []))
        return zlib.crc32(repr(compared).encode("utf-8", "surrogatepass"))

    @property
    def nbytes(self) -> int:
        """Bytes of the model's files together."""
        return sum(row[3] for row in self.files)

    def gone(self) -> bool:
        """Whether a file of the model is not there any more."""
        return any(not os.path.lexists(row[0]) for row in self.files)

    def holds(self) -> bool:
        """Whether the files are still the same."""
        return all(_look(row[0]) == row for row in self.files)


def file_name(paths: list[str], role: str = "") -> str:
    """Name that statistics of these files, sorted, have in the cache folder, without its ending."""
    joined = "\0".join([*paths, *([f"\0{role}"] if role else [])]).encode("utf-8", "surrogatepass")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(paths[0]).stem)[:40].strip("._-") or "model"
    return f"{stem}-{hashlib.sha256(joined).hexdigest()[:24]}"


def _look(path: str) -> tuple[str, int, int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Pieces:
    """A file read and written by position from several threads; closed once nobody reads.

    `pread` and not `mmap`: a file that is cut short while it is mapped kills the process.

    Parameters
    ----------
    descriptor : int
        An open file; closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._reading = 0
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self._descriptor).st_size

    def is_at(self, path: Path) -> bool:
        """Whether this is the file of that name, and not one that was replaced since.

        Raises
        ------
        OSError
            If there is none of that name, or this one is closed.
        """
        return os.path.samestat(os.fstat(self._descriptor), path.stat())

    def read(self, offset: int, nbytes: int) -> bytes | None:
        """Exactly these bytes, or ``None`` where the file does not hold or give them."""
        with self._lock:
            if self._closed:
                return None
            self._reading += 1
        try:
            return self._read(offset, nbytes)
        except (OSError, OverflowError, MemoryError):
            return None
        finally:
            with self._lock:
                self._reading -= 1
                self._release()

    def _read(self, offset: int, nbytes: int) -> bytes | None:
        piece = os.pread(self._descriptor, nbytes, offset)
        if len(piece) == nbytes:
            return piece
        parts = [piece]  # a system gives no more than 2 GB at once
        while piece and nbytes > (done := sum(map(len, parts))):
            piece = os.pread(self._descriptor, nbytes - done, offset + done)
            parts.append(piece)
        return b"".join(parts) if piece else None

    def write(self, offset: int, *parts: bytes) -> None:
        """Write all of these bytes, one behind the other.

        Raises
        ------
        OSError
            If they cannot all be written; some may have been.
        """
        left = [memoryview(part) for part in parts if part]
        while left:
            done = os.pwritev(self._descriptor, left, offset)
            offset += done
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if left:
                left[0] = left[0][done:]

    def cut(self, size: int) -> None:
        """Cut the file to this size.

        Raises
        ------
        OSError
            If that fails.
        """
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Read no more; may be called more than once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def _release(self) -> None:
        if self._closed and not self._reading and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
