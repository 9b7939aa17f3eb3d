"""Bytes of an open file, read by position and never past their end; and the files it names."""

from __future__ import annotations

import os
import stat
from itertools import islice

from explorer.formats.containers import neighbours
from explorer.formats.record import UnreadableError

#: No piece of metadata is larger than this; a format that asks for more is being fooled.
LARGEST_READ = 64 << 20
#: No model has more files than this.
MOST_FILES = 100_000


class Source:
    """A file open for reading, or a folder, and the other files of the same model.

    Parameters
    ----------
    path : str
        Absolute path: what stands in `ByteRange.file`. It is not opened again.
    descriptor : int
        An open file descriptor of it; stays the caller's to close.
    root : Source, optional
        The model file or folder to which this further file belongs.

    Attributes
    ----------
    name : str
        Of the file or folder as the person or the model calls it.
    is_folder : bool
    size : int
        Bytes; 0 for a folder.
    mtime_ns : int
    parts : dict of str to Source
        The further files that were opened, by name relative to the folder of the model.
    """

    def __init__(self, path: str, descriptor: int, root: Source | None = None) -> None:
        status = os.fstat(descriptor)
        self.path = path
        self.name = os.path.basename(path)
        self.is_folder = stat.S_ISDIR(status.st_mode)
        self.size = 0 if self.is_folder else status.st_size
        self.mtime_ns = status.st_mtime_ns
        self.parts: dict[str, Source] = {} if root is None else root.parts
        self._root = root or self
        self._descriptor = descriptor

    def names(self) -> list[str]:
        """Names of the files and folders in the folder of the model, sorted."""
        with os.scandir(neighbours.folder_of(self._root.path)) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_FILES))

    def has(self, name: str) -> bool:
        """Whether there is another file under a name that the model may use."""
        try:
            return name in self.parts or os.path.isfile(neighbours.located(self._root.path, name))
        except UnreadableError:
            return False

    def part(self, name: str) -> Source:
        """Another file of the model, opened once.

        Parameters
        ----------
        name : str
            Relative to the folder of the model.

        Raises
        ------
        UnreadableError
            If the name may not be followed, or there is no such file: see
            `explorer.formats.containers.neighbours`.
        """
        if name not in self.parts:
            descriptor, path = neighbours.opened(self._root.path, name)
            self.parts[name] = Source(path, descriptor, self._root)
            self.parts[name].name = name
        return self.parts[name]

    def drop(self, name: str) -> None:
        """Close a part that turned out not to belong to the model."""
        os.close(self.parts.pop(name)._descriptor)

    def pread(self, offset: int, nbytes: int) -> bytes:
        """Up to `nbytes` bytes from `offset`; fewer at the end of the file."""
        if offset < 0 or offset >= self.size or nbytes <= 0:
            return b""
        if nbytes > LARGEST_READ:
            raise ValueError("a piece of metadata is impossibly large")
        return os.pread(self._descriptor, nbytes, offset)

    def view(self, start: int = 0, length: int | None = None) -> View:
        """A seekable file object over part of the file."""
        room = max(self.size - start, 0)
        return View(self, start, room if length is None else min(length, room))


class View:
    """A read-only file object over part of a `Source`, with one block of read-ahead.

    It has no descriptor and no name to give away, so a parser can do no more than seek and read.
    """

    BLOCK = 1 << 16
    closed = False

    def __init__(self, source: Source, start: int, length: int) -> None:
        self.source = source
        self.start = start
        self.length = length
        self._position = 0
        self._block = b""
        self._block_at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; past the end is allowed and reads nothing."""
        base = (0, self._position, self.length)[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Position in bytes from the start of the view."""
        return self._position

    def seekable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer at the end."""
        at = self._position
        skip = at - self._block_at
        if size and 0 < size <= len(self._block) - skip and skip >= 0:  # most are in the block
            self._position += size
            return self._block[skip : skip + size]
        room = self.length - at
        wanted = room if size is None or size < 0 else min(size, room)
        if wanted <= 0:
            return b""
        if wanted > self.BLOCK:
            data = self.source.pread(self.start + at, wanted)
        else:
            if skip < 0 or skip + wanted > len(self._block):
                length = min(self.BLOCK, room)
                self._block, self._block_at = self.source.pread(self.start + at, length), at
                skip = 0
            data = self._block[skip : skip + wanted]
        self._position += len(data)
        return data
