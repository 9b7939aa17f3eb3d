"""Zip archives whose members are read in place."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from typing import Any, cast

from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

LARGEST_CONFIG = 64 << 20
MOST_MEMBERS = 100_000


def is_zip(source: Source) -> bool:
    """Whether a file begins like a zip archive, of whatever kind."""
    return source.pread(0, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def of_pytorch(source: Source) -> bool:
    """Whether a zip archive holds what PyTorch writes into every one of its own."""
    try:
        with zipfile.ZipFile(cast(Any, source.view())) as archive:
            names = archive.namelist()
    except Exception:  # damaged: told when it is read
        return False
    marks = ("/data.pkl", "/archive_format", "serialized_exported_program.json")
    return any(name.endswith(marks) for name in names)


class Archive:
    """The directory of a zip archive, checked before anything in it is used."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            with zipfile.ZipFile(cast(Any, source.view())) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            why = "its end is missing" if "not a zip" in str(error) else clean(error, 80)
            raise UnreadableError(
                f"the zip archive is truncated or damaged: {why} (a partial download?)"
            ) from None
        # A directory that begins later is that of an archive inside this one, which is cut off.
        if min((entry.header_offset for entry in entries), default=0):
            raise UnreadableError(
                "the zip archive is truncated or damaged: its end is missing (a partial download?)"
            )
        if len(entries) > MOST_MEMBERS:
            raise UnreadableError("the zip archive holds too many members")
        self.members: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            name = entry.orig_filename
            if name in self.members:
                raise UnreadableError(f"the zip archive holds {clean(name)!r} twice")
            if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
                raise UnreadableError(
                    f"the zip archive holds a member with the name {clean(name)!r}"
                )
            self.members[name] = entry
        self._places = {name: self._place(entry) for name, entry in self.members.items()}
        end = 0
        for name, (start, stop) in sorted(self._places.items(), key=lambda item: item[1]):
            if start < end:
                raise UnreadableError(
                    f"the zip archive is damaged: {clean(name)!r} overlaps another member"
                )
            end = stop

    def _place(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Where a member's data begins and ends, from its local header."""
        header = self.source.pread(entry.header_offset, 30)
        name = clean(entry.filename)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise UnreadableError(f"the zip archive is damaged at {name!r}")
        name_length, extra_length = struct.unpack_from("<HH", header, 26)
        start = entry.header_offset + 30 + name_length + extra_length
        if start + entry.compress_size > self.source.size:
            raise UnreadableError(f"the zip archive is truncated: {name!r} is not all there")
        if entry.flag_bits & 1:
            raise UnreadableError(f"{name!r} is encrypted")
        return start, start + entry.compress_size

    def text(self, name: str) -> bytes:
        """The bytes of a small member, decompressed within bounds."""
        entry = self.members[name]
        start, stop = self._places[name]
        if max(entry.file_size, stop - start) > LARGEST_CONFIG:
            raise UnreadableError(f"{name} is impossibly large")
        data = self.source.pread(start, stop - start)
        if entry.compress_type == zipfile.ZIP_STORED:
            return data
        if entry.compress_type != zipfile.ZIP_DEFLATED:
            raise UnreadableError(f"{name} is compressed in a way that is not read")
        try:
            unpacker = zlib.decompressobj(-15)
            text = unpacker.decompress(data, LARGEST_CONFIG)
        except zlib.error:
            raise UnreadableError(f"{name} is damaged") from None
        if not unpacker.eof:
            raise UnreadableError(f"{name} is truncated or impossibly large")
        return text

    def stored(self, name: str) -> tuple[int, int]:
        """Start and length of a member that is stored as it is."""
        entry = self.members.get(name)
        if entry is None:
            raise UnreadableError(f"the archive holds no {name}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise UnreadableError(
                f"{name} is compressed inside the archive, so its weights cannot be read in place; "
                "pack it again without compression (zip -0)"
            )
        start, stop = self._places[name]
        return start, stop - start
