"""Tables of a FlatBuffer, read in place and never past the end of the file.

Facts from flatbuffers.dev/internals. Nothing is trusted: every offset and count is checked against
the file, and what is read in all is bounded, since tables may lie over one another.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from explorer.formats.record import UnreadableError
from explorer.formats.source import Source
from explorer.plain_text import clean

_PAGE = 1 << 16
_MOST_PAGES = 512
_MOST_ITEMS = 8_000_000  # entries of vectors in all
_LONGEST_TEXT = 4096
DAMAGED = "a table in it is cut off or damaged (a partial download?)"


class Buffer:
    """The bytes of a FlatBuffer, read by pages.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source, self.size = source, source.size
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._left = _MOST_ITEMS

    def root(self) -> Table:
        """The table with which it begins."""
        return Table(self, self.number("<I", 0))

    def spend(self, items: int) -> None:
        """Count entries that are read; refuses a file that tells far more than it holds."""
        self._left -= items
        if self._left < 0:
            raise UnreadableError("its tables are impossibly large")

    def read(self, at: int, nbytes: int) -> bytes:
        """Bytes of the file.

        Raises
        ------
        UnreadableError
            If they do not lie inside it.
        """
        if at < 0 or nbytes < 0 or at + nbytes > self.size:
            raise UnreadableError(DAMAGED)
        number, first = divmod(at, _PAGE)
        if first + nbytes > _PAGE:
            return self.source.pread(at, nbytes)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self.source.pread(number * _PAGE, _PAGE)
            if len(self._pages) > _MOST_PAGES:
                self._pages.popitem(last=False)
        return page[first : first + nbytes]

    def number(self, form: str, at: int) -> int:
        """A whole number in the form of `struct`."""
        value: int = struct.unpack(form, self.read(at, struct.calcsize(form)))[0]
        return value


class Table:
    """A table: numbered fields, each of which may be left out.

    Parameters
    ----------
    buffer : Buffer
    at : int
        Its place in the file.
    """

    def __init__(self, buffer: Buffer, at: int) -> None:
        self._buffer, self.at = buffer, at
        start = at - buffer.number("<i", at)
        length, self._extent = struct.unpack("<HH", buffer.read(start, 4))
        if length < 4 or length % 2:
            raise UnreadableError(DAMAGED)
        count = (length - 4) // 2
        self._fields = struct.unpack(f"<{count}H", buffer.read(start + 4, 2 * count))

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return field < len(self._fields) and self._fields[field] != 0

    def _place(self, field: int) -> int:
        if not self.has(field):
            return 0
        if not 4 <= self._fields[field] < self._extent:
            raise UnreadableError(DAMAGED)
        return self.at + int(self._fields[field])

    def number(self, field: int, form: str = "<i", default: int = 0) -> int:
        """A number, or what stands for one that is left out."""
        at = self._place(field)
        return self._buffer.number(form, at) if at else default

    def table(self, field: int) -> Table | None:
        """A table inside."""
        at = self._place(field)
        return Table(self._buffer, at + self._buffer.number("<I", at)) if at else None

    def vector(self, field: int, itemsize: int) -> tuple[int, int] | None:
        """Where the entries of a vector begin, and how many there are."""
        at = self._place(field)
        if not at:
            return None
        start = at + self._buffer.number("<I", at)
        count = self._buffer.number("<I", start)
        if start + 4 + count * itemsize > self._buffer.size:
            raise UnreadableError(DAMAGED)
        return start + 4, count

    def numbers(self, field: int, letter: str = "i") -> tuple[int, ...]:
        """A vector of numbers, each in the form of a letter of `struct`."""
        each = struct.calcsize(f"<{letter}")
        start, count = self.vector(field, each) or (0, 0)
        self._buffer.spend(count)
        return struct.unpack(f"<{count}{letter}", self._buffer.read(start, count * each))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self.vector(field, 4) or (0, 0)
        self._buffer.spend(count * 4)
        offsets = struct.unpack(f"<{count}I", self._buffer.read(start, count * 4))
        return [Table(self._buffer, start + 4 * i + o) for i, o in enumerate(offsets)]

    def text(self, field: int) -> str:
        """A text, cleaned; empty where it is left out."""
        start, count = self.vector(field, 1) or (0, 0)
        self._buffer.spend(min(count, _LONGEST_TEXT) // 8)
        data = self._buffer.read(start, min(count, _LONGEST_TEXT))
        return clean(data.decode("utf-8", "replace"), _LONGEST_TEXT)
