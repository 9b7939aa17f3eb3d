"""One file per file format: bytes -> Network, never running the model.

A module of this folder that ends in ``FORMAT = Format(name, matches, read)`` is a format; nothing
else has to know it. `open_network` tries them in a child process.
"""

from __future__ import annotations

import os
import pkgutil
import stat
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from explorer.formats.record import Format, UnreadableError

if TYPE_CHECKING:
    from explorer.formats.isolation import Limits
    from explorer.network import FileStamp, Network

__all__ = ["Format", "UnreadableError", "formats", "open_network"]


@cache
def formats() -> tuple[Format, ...]:
    """All formats, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        record = getattr(import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if isinstance(record, Format):
            found.append(record)
    return tuple(sorted(found, key=lambda f: f.name))


def open_network(path: str | os.PathLike[str], limits: Limits | None = None) -> Network:
    """Read what a model file holds, but no weight's bytes.

    The kind of file is told by its content. It is parsed in a child process with limits on time
    and memory; every byte range the child names is checked against the size of the file.

    Parameters
    ----------
    path : path-like
        A ``.keras`` file (Keras 3) or a legacy ``.h5`` file, under any name.
    limits : Limits, optional
        Of the child.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        One line that names the file and the reason.
    """
    # Imported here because the child imports this package too and must start fast.
    from explorer.errors import ModelError
    from explorer.formats.isolation import Limits, run_child
    from explorer.formats.manifest import decode

    shown = os.fspath(path)
    descriptor = _open(shown)
    try:
        before = _stamp(os.path.abspath(shown), descriptor)
        try:
            network = decode(run_child(before.path, descriptor, limits or Limits()), before)
        except UnreadableError as error:
            raise ModelError(shown, str(error)) from None
        except ModelError as error:
            raise ModelError(shown, error.reason) from None
        if _stamp(before.path, descriptor) != before:
            raise ModelError(shown, "the file changed while it was read; open it again")
        return network
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """A descriptor of a regular, non-empty file."""
    from explorer.errors import ModelError

    try:
        # Non-blocking, so that a FIFO without a writer does not hang the open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ModelError(path, "no such file") from None
    except ValueError:
        raise ModelError(repr(path), "not a possible file name") from None
    except OSError as error:
        raise ModelError(path, f"cannot be opened ({error.strerror})") from None
    status = os.fstat(descriptor)
    reason = ""
    if stat.S_ISDIR(status.st_mode):
        reason = "is a folder, not a model file"
    elif not stat.S_ISREG(status.st_mode):
        reason = "is not a regular file"
    elif not status.st_size:
        reason = "the file is empty"
    if reason:
        os.close(descriptor)
        raise ModelError(path, reason)
    return descriptor


def _stamp(path: str, descriptor: int) -> FileStamp:
    from explorer.network import FileStamp

    status = os.fstat(descriptor)
    return FileStamp(path, status.st_size, status.st_mtime_ns)
