"""Small files: read whole within a limit, written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from explorer.errors import ModelError


def unblocked(path: str, flags: int) -> int:
    """For ``open(…, opener=unblocked)``: a FIFO without a writer reads as empty."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_small(path: Path, most: int, kind: str) -> bytes:
    """The bytes of a small file.

    Parameters
    ----------
    path : Path
    most : int
        Largest size, bytes.
    kind : str
        What the file should be, for the message: ``"scene"``.

    Raises
    ------
    ModelError
        If the file is missing, cannot be read or is larger.
    """
    try:
        with open(path, "rb", opener=unblocked) as file:
            raw = file.read(most + 1)
    except FileNotFoundError:
        raise ModelError(path, "no such file") from None
    except OSError as error:
        raise ModelError(path, f"cannot be read: {error.strerror or error}") from None
    if len(raw) > most:
        raise ModelError(path, f"not a {kind}: larger than {most >> 20} MB")
    return raw


def leftovers(path: Path) -> list[Path]:
    """What killed processes left of their attempts to replace a file."""
    return list(path.parent.glob(f".{glob.escape(path.stem[:100])}-{'[0-9a-f]' * 12}.tmp"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` in one step when the block ends well.

    It is on the disk when the block has ended: neither a killed process nor a loss of power leaves
    half of it under that name.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is untouched, nothing is left behind.
    """
    temporary = path.parent / f".{path.stem[:100]}-{secrets.token_hex(6)}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
