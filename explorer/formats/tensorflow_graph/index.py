"""The index of a TensorFlow checkpoint: a sorted table of names and of where their bytes lie.

The table is LevelDB's (``doc/table_format.md`` there; ``tensorflow/core/lib/io/table``), its values
are those of ``tensorflow/core/protobuf/tensor_bundle.proto``, and the keys of parts of partitioned
variables those of ``tensorflow/core/util/saved_tensor_slice_util.cc``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

from explorer.formats.containers.protobuf import BYTES, fields, varint
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.messages import shape, signed
from explorer.network import Shape

MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_LARGEST_BLOCK = 32 << 20
_MOST_ENTRIES = 2_000_000
_MOST_BYTES = 256 << 20
_LONGEST_KEY = 1 << 16
_DAMAGED = "its index is damaged or cut off (a partial download?)"

Extent = tuple[int, int]
"""Start and length along an axis; a length of -1 is the whole axis."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A BundleEntryProto.

    Attributes
    ----------
    dtype : int
        A DataType.
    shape : Shape or None
    shard, offset, nbytes : int
        Number of the data file, and the bytes in it.
    slices : tuple of tuple of Extent
        The parts of a partitioned variable, which has no bytes itself.
    """

    dtype: int
    shape: Shape | None
    shard: int
    offset: int
    nbytes: int
    slices: tuple[tuple[Extent, ...], ...]


def is_table(source: Source) -> bool:
    """Whether a file ends as such a table does."""
    return source.size >= _FOOTER and source.pread(source.size - 8, 8) == MAGIC


def read_index(source: Source) -> tuple[int, dict[bytes, Entry]]:
    """Number of data files, and the entries by key, in the order of the table.

    Raises
    ------
    UnreadableError
    """
    if not is_table(source):
        raise UnreadableError(_DAMAGED)
    footer = source.pread(source.size - _FOOTER, _FOOTER)
    at = sum(varint(footer, n)[1] for n in (0,))
    at += varint(footer, at)[1]  # the table of further tables is not needed
    shards, found, total, last = 0, dict[bytes, Entry](), 0, b""
    for _, handle in _block(source, *_handle(footer, at)):
        for key, value in _block(source, *_handle(handle, 0)):
            total += len(key) + len(value)
            if len(found) > _MOST_ENTRIES or total > _MOST_BYTES:
                raise UnreadableError("its index is impossibly large")
            if (found or shards) and key <= last:
                raise UnreadableError("the names in its index are not in order")
            last = key
            if key:
                found[key] = _entry(value)
            else:
                shards = _header(value)
    if not shards:
        raise UnreadableError("its index has no header: no TensorFlow checkpoint")
    return shards, found


def slice_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    """The key under which a part of a partitioned variable is stored."""
    escaped = name.replace(b"\xff", b"\xff\0") if b"\xff" in name else name
    escaped = b"\0\xff".join(escaped.split(b"\0")) + b"\0\1"
    ends = b"".join(_ordered(start) + _ordered(length) for start, length in extents)
    return b"\0" + escaped + _counted(len(extents)) + ends


def _counted(value: int) -> bytes:
    data = value.to_bytes(8, "big").lstrip(b"\0")
    return bytes([len(data)]) + data


def _ordered(value: int) -> bytes:
    """A number so that bytes sort as numbers do: as many leading ones as it takes bytes."""
    size = next((n for n in range(1, 8) if -(1 << 7 * n - 1) <= value < 1 << 7 * n - 1), 0)
    if not size:
        raise UnreadableError("a part of a partitioned variable is impossibly large")
    head = ((1 << size) - 1) << 8 * size - size
    return ((value ^ head) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, more = varint(data, at)
    return offset, varint(data, at + more)[0]


def _block(source: Source, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key is told by what it shares with the one before."""
    if size > _LARGEST_BLOCK or size < 4 or offset + size + 5 > source.size:
        raise UnreadableError(_DAMAGED)
    data = source.pread(offset, size + 1)
    if data[size]:
        if data[size] != 1:
            raise UnreadableError("its index is compressed in a way that is not known")
        data = _unpacked(data[:size])
    else:
        data = data[:size]
    stop = len(data) - 4 - 4 * int.from_bytes(data[-4:], "little")
    at, key = 0, b""
    if stop < 0:
        raise UnreadableError(_DAMAGED)
    while at < stop:
        lengths = []
        for _ in range(3):
            value, more = varint(data, at)
            lengths.append(value)
            at += more
        shared, own, length = lengths
        if shared > len(key) or shared + own > _LONGEST_KEY or at + own + length > stop:
            raise UnreadableError(_DAMAGED)
        key = key[:shared] + data[at : at + own]
        yield key, data[at + own : at + own + length]
        at += own + length


def _unpacked(data: bytes) -> bytes:
    """A block that is packed by snappy (github.com/google/snappy, ``format_description.txt``)."""
    total, at = varint(data, 0)
    out = bytearray()
    while at < len(data) and len(out) <= total <= _LARGEST_BLOCK:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                more = length - 59
                length = int.from_bytes(data[at : at + more], "little")
                at += more
            out += data[at : at + length + 1]
            at += length + 1
            continue
        wide = (1, 2, 4)[(tag & 3) - 1]
        back = int.from_bytes(data[at : at + wide], "little")
        at += wide
        length = (tag >> 2) + 1
        if wide == 1:
            back, length = back | (tag >> 5) << 8, (tag >> 2 & 7) + 4
        if not 0 < back <= len(out):
            raise UnreadableError(_DAMAGED)
        for _ in range(length):
            out.append(out[-back])
    if len(out) != total or total < 4:
        raise UnreadableError(_DAMAGED)
    return bytes(out)


def _header(value: bytes) -> int:
    shards, endian = 1, 0
    for field in fields(io.BytesIO(value), 0, len(value)):
        if field.number == 1:
            shards = field.value
        if field.number == 2:
            endian = field.value
    if endian:
        raise UnreadableError("it was written on a big-endian machine, which is not read")
    if not 0 < shards < 100_000:
        raise UnreadableError("its index names an impossible number of data files")
    return shards


def _entry(value: bytes) -> Entry:
    view = io.BytesIO(value)
    told = {1: 0, 3: 0, 4: 0, 5: 0}
    axes: Shape | None = ()
    slices = []
    for field in fields(view, 0, len(value)):
        if field.number in told:
            told[field.number] = signed(field.value)
        elif field.number == 2 and field.wire == BYTES:
            axes = shape(view, field.start, field.stop)
        elif field.number == 7 and field.wire == BYTES:
            slices.append(_extents(view, field.start, field.stop))
    return Entry(told[1], axes, told[3], told[4], told[5], tuple(slices))


def _extents(view: io.BytesIO, start: int, stop: int) -> tuple[Extent, ...]:
    found = []
    for field in fields(view, start, stop):
        if field.number == 1 and field.wire == BYTES:
            ends = {1: 0, 2: -1}
            for inner in fields(view, field.start, field.stop):
                ends[inner.number] = signed(inner.value)
            found.append((ends[1], ends[2]))
    return tuple(found)
