"""One file per file format: bytes -> Network, never running the model.

A module of this folder that ends in ``FORMAT = Format(name, matches, read)`` is a format; nothing
else has to know it. `Reading` tries them in a child process.
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
    from types import TracebackType

    from explorer.formats.sandbox.isolation import Limits
    from explorer.formats.sandbox.manifest import Part
    from explorer.network import FileStamp, Network

CHANGED = "the file changed while it was read; open it again"

__all__ = ["Format", "Reading", "UnreadableError", "formats", "open_network"]


@cache
def formats() -> tuple[Format, ...]:
    """All formats, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        record = getattr(import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if isinstance(record, Format):
            found.append(record)
    return tuple(sorted(found, key=lambda f: f.name))


class Reading:
    """A model file that is being read, from its start; a context manager.

    The kind of file is told by its content. It is parsed in a child process with limits on time
    and memory, while whoever began it loads what it needs itself; every byte range the child names
    is checked against the size of the file.

    Parameters
    ----------
    path : path-like
        A model file under any name, or a folder of one.
    limits : Limits, optional
        Of the child.

    Raises
    ------
    ModelError
        If there is no file to read.
    """

    def __init__(self, path: str | os.PathLike[str], limits: Limits | None = None) -> None:
        # Imported here because the child imports this package too and must start fast.
        from explorer.formats.sandbox.isolation import Child, Limits

        self._shown = os.fspath(path)
        self._descriptor = _open(self._shown)
        self._path = os.path.abspath(self._shown)
        try:
            self._status = os.fstat(self._descriptor)
            self._child = Child(self._path, self._descriptor, limits or Limits())
        except BaseException:
            os.close(self._descriptor)
            raise

    def network(self) -> Network:
        """What the file holds, but no weight's bytes; waits for the child.

        Raises
        ------
        ModelError
            One line that names the file and the reason.
        """
        from explorer.errors import ModelError
        from explorer.formats.sandbox.manifest import decode
        from explorer.network import FileStamp

        before = self._status
        size = 0 if stat.S_ISDIR(before.st_mode) else before.st_size
        stamp = FileStamp(self._path, size, before.st_mtime_ns)
        try:
            network = decode(self._child.manifest(), stamp, self._part)
        except UnreadableError as error:
            raise ModelError(self._shown, str(error)) from None
        except ModelError as error:
            raise ModelError(self._shown, error.reason) from None
        after = os.fstat(self._descriptor)
        if size and (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ModelError(self._shown, CHANGED)
        return network

    def _part(self, part: Part) -> FileStamp:
        """A further file of the model, by the rules and not by the word of the child."""
        from explorer.formats.containers import neighbours
        from explorer.network import FileStamp

        descriptor, path = neighbours.opened(self._path, part.name)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (status.st_size, status.st_mtime_ns) != (part.size, part.mtime_ns):
            raise UnreadableError(CHANGED)
        return FileStamp(path, status.st_size, status.st_mtime_ns)

    def close(self) -> None:
        """End the child and close the file; may be called again."""
        self._child.stop()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_network(path: str | os.PathLike[str], limits: Limits | None = None) -> Network:
    """Read what a model file holds, but no weight's bytes.

    Parameters
    ----------
    path, limits
        As for `Reading`.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        One line that names the file and the reason.
    """
    with Reading(path, limits) as reading:
        return reading.network()


def _open(path: str) -> int:
    """A descriptor of a folder, or of a regular file that is not empty."""
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
        return descriptor
    if not stat.S_ISREG(status.st_mode):
        reason = "is not a regular file"
    elif not status.st_size:
        reason = "the file is empty"
    if reason:
        os.close(descriptor)
        raise ModelError(path, reason)
    return descriptor
