"""Object headers and groups of HDF5 files of the older kind, which is what Keras writes.

`pyfive` reads them too, entry by entry into ordered mappings; a model of 2 000 layers has 7 000
such objects, and most of the time to open it went there. See "HDF5 File Format Specification
Version 3.0", III.A.1 (B-trees), III.B (symbol tables), III.D (local heaps), IV.A.1.a (headers).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from struct import Struct, unpack
from typing import Any

from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

CONTINUATION = 0x10
MOST_TABLES = 100_000
"""Leaves of one group's B-tree; each holds some eight members."""
_HEADER = Struct("<BxHII4x")  # version, messages, references, bytes
_MESSAGE = Struct("<HHB3x")  # type, bytes, flags
_PLACE = Struct("<QQ")
_TREE = Struct("<4sBBH16x")  # signature, node type, level, entries
_HEAP = Struct("<4sB3xQ8xQ")  # signature, version, bytes, address
_TABLE = Struct("<4sBxH")  # signature, version, entries
_ENTRY = Struct("<QQI4xI12x")  # name in the heap, header, kind of entry, value of a soft link
_HARD, _SOFT = (0, 1), 2


@cache
def header_class() -> Any:
    """The object header of pyfive: quick on the older kind, refusing links that lead elsewhere."""
    from pyfive.dataobjects import DataObjects

    class Header(DataObjects):  # type: ignore[misc]
        _parse_v1_objects = staticmethod(_messages)

        def _iter_links_btree_v1(self, tree: int, heap: int) -> Iterator[tuple[str, int | str]]:
            return _links(self.fh, tree, heap)

        @staticmethod
        def _decode_link_msg(data: bytes, offset: int) -> Any:
            _refuse_foreign(data, offset)
            return DataObjects._decode_link_msg(data, offset)

    return Header


def _refuse_foreign(data: bytes, offset: int) -> None:
    """Name a link of the newer kind that leads out of the tree, and refuse it."""
    flags = data[offset + 1]
    if flags & 8 and data[offset + 2] != 0:
        at = offset + 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(data[at : at + width], "little")
        name = data[at + width : at + width + min(length, 200)].decode("utf-8", "replace")
        sort = {1: "soft", 64: "external"}.get(data[offset + 2], "unknown")
        raise UnreadableError(f"{clean(name)!r} is an HDF5 {sort} link, which is not followed")


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _messages(file: Any) -> tuple[list[dict[str, int]], bytes, dict[str, int]]:
    """Messages of a header at the file's position, their bytes, and its first fields."""
    version, count, references, size = _HEADER.unpack(file.read(_HEADER.size))
    _need(version == 1, "no object header")
    data = file.read(size)
    found = []
    at = 0
    for _ in range(count):
        kind, length, flags = _MESSAGE.unpack_from(data, at)
        at += _MESSAGE.size
        if kind == CONTINUATION:
            place, more = _PLACE.unpack_from(data, at)
            file.seek(place)
            data += file.read(more)
        found.append({"type": kind, "size": length, "flags": flags, "offset_to_message": at})
        at += length
    header = {
        "version": version,
        "total_header_messages": count,
        "object_reference_count": references,
        "object_header_size": size,
    }
    return found, data, header


def _links(file: Any, tree: int, heap: int) -> Iterator[tuple[str, int | str]]:
    """Name and address of each member of a group; a soft link has a path in place of it."""
    tables = _tables(file, tree)
    file.seek(heap)
    signature, version, size, place = _HEAP.unpack(file.read(_HEAP.size))
    _need(signature == b"HEAP" and version == 0, "no heap of names")
    file.seek(place)
    names = file.read(size)

    def name(offset: int) -> str:
        return str(names[offset : names.index(b"\0", offset)], "utf-8")

    for table in tables:
        file.seek(table)
        signature, _, count = _TABLE.unpack(file.read(_TABLE.size))
        _need(signature == b"SNOD", "no symbol table")
        entries = file.read(count * _ENTRY.size)
        _need(len(entries) == count * _ENTRY.size, "a symbol table that is cut off")
        for at, address, kind, value in _ENTRY.iter_unpack(entries):
            if kind in _HARD:
                yield name(at), address
            elif kind == _SOFT:
                yield name(at), name(value)


def _tables(file: Any, tree: int) -> list[int]:
    """Addresses of a group's symbol tables: the leaves of its B-tree."""
    nodes, expected = [tree], -1
    while True:
        below: list[int] = []
        for node in nodes:
            file.seek(node)
            signature, kind, level, count = _TREE.unpack(file.read(_TREE.size))
            _need(signature == b"TREE" and kind == 0, "no tree of members")
            _need(expected in (-1, level), "a tree of members that is not even")
            # Keys and addresses take turns, and a key ends them.
            below += unpack(f"<{2 * count + 1}Q", file.read(16 * count + 8))[1::2]
            _need(len(below) <= MOST_TABLES, "an impossibly large group")
            expected = level
        if expected == 0:
            return below
        nodes, expected = below, expected - 1
        if not nodes:
            return below
