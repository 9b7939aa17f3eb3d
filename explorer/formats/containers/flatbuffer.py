"""Tables of a FlatBuffer, read in place and never past the end of the file.

Facts from flatbuffers.dev/internals. Nothing is trusted: every offset and count is checked against
the file, and what is read in all is bounded, since tables may lie over one another.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

_PAGE = 1 << 16
_STRUCTS = {form: struct.Struct(form) for form in ("<I", "<i", "<b", "<?", "<HH")}
_MOST_PAGES = 512
_MOST_ITEMS = 8_000_000  # entries of vectors in all
_LONGEST_TEXT = 4096
_MOST_LAYOUTS = 4096  # that are kept
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
        self._layouts: dict[int, tuple[tuple[int, ...], int]] = {}
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
        number, first = at >> 16, at & 0xFFFF
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
        form_of = _STRUCTS.get(form) or struct.Struct(form)
        page = self._pages.get(at >> 16)
        first = at & 0xFFFF
        if page is None or first + form_of.size > len(page):
            page, first = self.read(at, form_of.size), 0
        value: int = form_of.unpack_from(page, first)[0]
        return value

    def layout(self, at: int) -> tuple[tuple[int, ...], int]:
        """Places of fields within a table, and its length: many tables share one layout."""
        found = self._layouts.get(at)
        if found is None:
            length, extent = struct.unpack("<HH", self.read(at, 4))
            if length < 4 or length % 2:
                raise UnreadableError(DAMAGED)
            count = (length - 4) // 2
            places = struct.unpack(f"<{count}H", self.read(at + 4, 2 * count))
            found = self._layouts[at] = places, extent
            if len(self._layouts) > _MOST_LAYOUTS:
                self._layouts.clear()
        return found


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
        self._fields, self._extent = buffer.layout(at - buffer.number("<i", at))

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return field < len(self._fields) and self._fields[field] != 0

    def _place(self, field: int) -> int:
        place = self._fields[field] if field < len(self._fields) else 0
        if not place:
            return 0
        if not 4 <= place < self._extent:
            raise UnreadableError(DAMAGED)
        return self.at + place

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
        if not count:
            return ()
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
