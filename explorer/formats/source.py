"""Bytes of an open file, read by position and never past their end."""

from __future__ import annotations

import os

#: No piece of metadata is larger than this; a format that asks for more is being fooled.
LARGEST_READ = 64 << 20


class Source:
    """A file open for reading.

    Parameters
    ----------
    path : str
        Absolute path: what stands in `ByteRange.file`. It is not opened again.
    descriptor : int
        An open file descriptor of it; stays the caller's to close.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

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
