"""Which other files a model file may name, and where they lie.

A model in several files names its parts, and a hostile one names what it wants to see. A name is a
plain relative path; what it leads to is a regular file inside the model's own folder. Two kinds of
symbolic link lead out of that folder and are in everyday use: a model file that is itself a link
has its parts beside the file it leads to, and in the cache of Hugging Face's hub all files of
``snapshots/REVISION`` are links into ``blobs``. Both are followed, no other is.
The policy is that of ONNX Runtime (github.com/microsoft/onnxruntime, pull request 27374), made
narrower.
"""

from __future__ import annotations

import os
import stat

from explorer.formats.record import UnreadableError

MOST_PARTS = 4
"""Folders below the model's own in which a part may lie, and the part's name."""


def plain(name: str) -> bool:
    """Whether a name from a file can be that of a part: relative, going nowhere but down."""
    parts = name.split("/")
    odd = any(c in name for c in "\\:\0") or len(name.encode("utf-8", "replace")) > 1000
    return not odd and len(parts) <= MOST_PARTS and all(p not in ("", ".", "..") for p in parts)


def folder_of(path: str) -> str:
    """The folder in which a model's parts lie: the model itself, or the one it lies in."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def _allowed(path: str) -> list[str]:
    """Real paths of the folders in which a part of a model may lie."""
    folder = os.path.realpath(folder_of(path))
    allowed = [folder]
    if not os.path.isdir(path):
        allowed.append(os.path.dirname(os.path.realpath(path)))
    above = os.path.dirname(folder)
    if os.path.basename(above) == "snapshots":
        allowed.append(os.path.join(os.path.dirname(above), "blobs"))
    return allowed


def located(path: str, name: str) -> str:
    """The path of a part.

    Parameters
    ----------
    path : str
        Absolute path of the model file or folder.
    name : str
        As the model names the part.

    Returns
    -------
    str
        With no symbolic link left in it.

    Raises
    ------
    UnreadableError
        If the name may not be followed, or leads to no regular file.
    """
    if not plain(name):
        raise UnreadableError(f"it names a part {name[:80]!r} outside its own folder")
    place = os.path.join(folder_of(path), name)
    if os.path.islink(path) and not os.path.isdir(path) and not os.path.lexists(place):
        place = os.path.join(os.path.dirname(os.path.realpath(path)), name)
    real = os.path.realpath(place)
    if not any(os.path.commonpath((real, root)) == root for root in _allowed(path)):
        raise UnreadableError(f"its part {name[:80]!r} is a link that leads out of its folder")
    return real


def opened(path: str, name: str) -> tuple[int, str]:
    """A descriptor of a part, and its path.

    Raises
    ------
    UnreadableError
        As for `located`, and if it cannot be opened.
    """
    real = located(path, name)
    try:
        # No link may have come in between, and a FIFO without a writer does not hang the open.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(real, flags)
    except FileNotFoundError:
        raise UnreadableError(f"its part {name[:80]!r} is missing") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no reason given"
        raise UnreadableError(f"its part {name[:80]!r} cannot be opened ({reason})") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError(f"its part {name[:80]!r} is not a regular file")
    return descriptor, real
