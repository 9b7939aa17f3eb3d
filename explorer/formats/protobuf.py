"""The wire format of protocol buffers, walked without a schema and without copying.

Facts from protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from explorer.formats.record import UnreadableError
from explorer.formats.source import Source

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
    while at < stop:
        here = at - base
        if len(block) - here < _HEAD and base + len(block) < stop:
            view.seek(at)
            block, base, here = view.read(min(_BLOCK, stop - at)), at, 0
        key, length = varint(block, here)
        number, wire = key >> 3, key & 7
        begin, value = at + length, 0
        if wire == BYTES:
            size, more = varint(block, here + length)
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
        yield Field(number, wire, at, begin, end, value)
        at = end


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and how many bytes it takes."""
    if at < len(data) and data[at] < 0x80:  # most are short
        return data[at], 1
    value = 0
    for length in range(10):
        if at + length >= len(data):
            break
        byte = data[at + length]
        value |= (byte & 0x7F) << 7 * length
        if byte < 0x80:
            return value, length + 1
    raise UnreadableError("a message in it is cut off or damaged (a partial download?)")
