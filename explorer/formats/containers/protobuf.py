"""The wire format of protocol buffers, walked without a schema and without copying.

Facts from protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_HEAD = 20  # bytes that a tag and a length may take
_BLOCK = 1 << 14  # bytes read at once


class Readable(Protocol):
    """Bytes at positions: a `View`, or `io.BytesIO`."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""


class Field(NamedTuple):
    """A field of a message in a file.

    Attributes
    ----------
    number, wire : int
        Of the field; how it is encoded.
    tag, start, stop : int
        Where its tag begins in the file, where its content begins and ends.
    value : int
        Of a varint; 0 for others.
    """

    number: int
    wire: int
    tag: int
    start: int
    stop: int
    value: int = 0


_field = partial(tuple.__new__, Field)  # a third of the time that Field(…) takes


class Window:
    """A run of a file in memory, under the positions that it has there.

    Messages inside are walked without reading again.

    Parameters
    ----------
    data : bytes
    start : int
        Where in the file they begin.
    """

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.start = data, start
        self._at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position of the file."""
        self._at = offset - self.start
        return offset

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        at = self._at
        if at < 0 or size < 0:
            raise ValueError("a position outside of the window")
        self._at += size
        return self.data[at : at + size]


def fields(source: Source | Readable, start: int, stop: int) -> Iterator[Field]:
    """The fields of a message that lies between two places of a file.

    Parameters
    ----------
    source : Source or Readable
        Nested messages are read faster through one `View` than through a `Source`.
    start, stop : int

    Raises
    ------
    UnreadableError
        If a field does not fit into the message, or is encoded in a way that does not exist.
    """
    view: Readable = source.view() if isinstance(source, Source) else source
    at = base = start
    block = b""
    if isinstance(view, Window):
        block, base = view.data, view.start
    while at < stop:
        here = at - base
        if len(block) - here < _HEAD and base + len(block) < stop:
            view.seek(at)
            block, base, here = view.read(min(_BLOCK, stop - at)), at, 0
        key, length = block[here] if here < len(block) else 0x80, 1
        if key >= 0x80:
            key, length = varint(block, here)
        number, wire = key >> 3, key & 7
        begin, value = at + length, 0
        if wire == BYTES:
            place = here + length
            size, more = block[place] if place < len(block) else 0x80, 1
            if size >= 0x80:
                size, more = varint(block, place)
            begin += more
            end = begin + size
        elif wire == VARINT:
            value, more = varint(block, here + length)
            end = begin + more
        elif wire in _FIXED:
            end = begin + _FIXED[wire]
        else:
            raise UnreadableError("a message in it is damaged")
        if not number or end > stop:
            raise UnreadableError("a message in it is cut off or damaged (a partial download?)")
        yield _field((number, wire, at, begin, end, value))
        at = end


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and how many bytes it takes."""
    value = 0
    for length in range(10):
        if at + length >= len(data):
            break
        byte = data[at + length]
        value |= (byte & 0x7F) << 7 * length
        if byte < 0x80:
            return value, length + 1
    raise UnreadableError("a message in it is cut off or damaged (a partial download?)")
