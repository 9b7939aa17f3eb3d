"""The statistics of a network's weights in one file, whole or not at all.

The file is a valid safetensors file: a header, then tensors of bytes. ``__metadata__`` holds the
fingerprint of the model. The first tensor is the index: totals, size, checksum and key of each
section, packed, for as many numbers in JSON take longer to read than a store may take to open. Then
comes one tensor per section, and last a hash of the header, which holds that of the index: the
format has none of its own, and a flipped bit in a name or a number would be believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np

from explorer.collector import paused
from explorer.network import Network
from explorer.pyramid.storage.cache import (
    LARGEST_HEADER,
    STORE,
    Fingerprint,
    Pieces,
    Totals,
    cache_folder,
    trusted,
)
from explorer.small_files import replacing

_HASH = 16  # bytes of a hash
_BEGIN = '{"__metadata__":'
_DECODER = json.JSONDecoder()
_ROW = np.dtype([
    ("sum_sq", "<f8"), ("sum", "<f8"), ("sum_abs", "<f8"), ("max_abs", "<f8"),
    ("finite", "<i8"), ("other", "<i8"), ("nbytes", "<i8"), ("crc", "<u4"), ("key", "<u4"),
])  # fmt: skip


class Section(NamedTuple):
    """A section and where its bytes lie.

    Attributes
    ----------
    key : str
    totals : Totals
    offset, nbytes : int
        In the file.
    crc : int
        CRC-32 of the bytes.
    """

    key: str
    totals: Totals
    offset: int
    nbytes: int
    crc: int


class Store:
    """Finished statistics of one network, read as they are needed; safe for threads.

    Made by `open`.

    Attributes
    ----------
    totals : dict of str to Totals
        Of every section, in the order of the file.
    """

    def __init__(self, path: Path, pieces: Pieces, sections: Sequence[Section]) -> None:
        self._path, self._pieces = path, pieces
        self._sections = {section.key: section for section in sections}
        self.totals: dict[str, Totals] = {section.key: section.totals for section in sections}

    @classmethod
    def open(cls, network: Network, plan: str, role: str = "") -> Store | None:
        """The store of a network.

        Parameters
        ----------
        network : Network
        plan, role : str
            As of `explorer.pyramid.storage.cache.Fingerprint`.

        Returns
        -------
        Store or None
            ``None`` when there is none, or it is damaged, of another version of this software, or
            of files that have changed since.
        """
        folder = cache_folder()
        wanted = Fingerprint.of(network, plan, role)
        if wanted is None or not trusted(folder):
            return None
        return cls.at(folder / (wanted.file_name + STORE), wanted)

    @classmethod
    def at(cls, path: Path, wanted: Fingerprint) -> Store | None:
        """The store in a file, if it is whole and of this fingerprint."""
        try:
            pieces = Pieces(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError:
            return None
        found = read_header(pieces)
        if found is None or found[0] != wanted:
            pieces.close()
            return None
        return cls(path, pieces, found[1])

    def section(self, key: str) -> bytes | None:
        """The bytes of a section; ``None`` where there is none or it is damaged.

        A store found damaged is removed, so that the next run makes a new one.
        """
        section = self._sections.get(key)
        if section is None:
            return None
        payload = self._pieces.read(section.offset, section.nbytes)
        if payload is None or zlib.crc32(payload) == section.crc:
            return payload
        with contextlib.suppress(OSError):
            if self._pieces.is_at(self._path):
                self._path.unlink()
        return None

    def close(self) -> None:
        """Close the file; sections are ``None`` from now on. May be called more than once."""
        self._pieces.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@paused()
def read_header(pieces: Pieces) -> tuple[Fingerprint, list[Section]] | None:
    """What header and index of a store say; ``None`` unless all of it is as it was written."""
    try:
        size = pieces.size
    except OSError:
        return None
    start = pieces.read(0, 8)
    length = int.from_bytes(start or b"", "little")
    if start is None or not len(_BEGIN) <= length <= min(LARGEST_HEADER, size - 8 - _HASH):
        return None
    header = pieces.read(8, length)
    if header is None or pieces.read(size - _HASH, _HASH) != _hash(start + header):
        return None
    at = 8 + length
    try:  # names and places of the tensors are for other software: no need to read them
        meta, _ = _DECODER.raw_decode(header.decode("ascii"), len(_BEGIN))
        fingerprint = Fingerprint.from_json(meta["fingerprint"])
        count, nbytes = int(meta["sections"]), int(meta["index_bytes"])
        index = pieces.read(at, nbytes) if 0 <= nbytes <= size and count >= 0 else None
        if fingerprint is None or index is None or _hash(index).hex() != meta["index_hash"]:
            return None
        sections = _sections(index, count, at + nbytes)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    end = sections[-1].offset + sections[-1].nbytes if sections else at + nbytes
    return (fingerprint, sections) if end + _HASH == size else None


def _sections(index: bytes, count: int, at: int) -> list[Section]:
    """Sections from the index; the first one's bytes lie at `at`."""
    table = np.frombuffer(index, _ROW, count)
    totals = table[list(_ROW.names or ())[:6]].tolist()
    nbytes, crc, lengths = (table[name] for name in ("nbytes", "crc", "key"))
    offsets = at + np.cumsum(nbytes) - nbytes
    stops = table.nbytes + np.cumsum(lengths)
    keys = [
        index[first:stop].decode("utf-8", "surrogatepass")
        for first, stop in zip((stops - lengths).tolist(), stops.tolist(), strict=True)
    ]
    rows = zip(keys, totals, offsets.tolist(), nbytes.tolist(), crc.tolist(), strict=True)
    return list(map(Section._make, rows))


def _index(sections: Sequence[Section]) -> bytes:
    """What `_sections` reads."""
    keys = [section.key.encode("utf-8", "surrogatepass") for section in sections]
    rows = [(*s.totals, s.nbytes, s.crc, len(k)) for s, k in zip(sections, keys, strict=True)]
    return np.array(rows, _ROW).tobytes() + b"".join(keys)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HASH).digest()


def write_store(
    path: Path,
    fingerprint: Fingerprint,
    sections: Sequence[Section],
    payload: Callable[[Section], bytes | None],
) -> bool:
    """Write a store; there is none, the one that was, or a whole new one at any moment.

    Parameters
    ----------
    path : Path
    fingerprint : Fingerprint
    sections : sequence of Section
        In the order in which they will lie; their offsets are not used.
    payload : callable Section -> bytes or None
        The bytes of a section, ``None`` where they are lost.

    Returns
    -------
    bool
        False when a section's bytes are lost; nothing was written then.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    index = _index(sections)
    header = _header(fingerprint, sections, index)
    try:
        with replacing(path) as file:
            file.write(header)
            file.write(index)
            for section in sections:
                _write(file, section, payload(section))
            file.write(_hash(header))
    except _LostError:
        return False
    return True


class _LostError(Exception):
    """The bytes of a section are lost."""


def _write(file: BinaryIO, section: Section, payload: bytes | None) -> None:
    if payload is None or len(payload) != section.nbytes:
        raise _LostError(section.key)
    file.write(payload)


def _header(fingerprint: Fingerprint, sections: Sequence[Section], index: bytes) -> bytes:
    """Size and text of the header, as the safetensors format wants it: offsets count from its end.

    Raises
    ------
    OSError
        If it would be longer than the format allows.
    """
    meta = {
        "fingerprint": fingerprint.to_json(),
        "sections": str(len(sections)),
        "index_bytes": str(len(index)),
        "index_hash": _hash(index).hex(),
    }
    sizes = {"index": len(index)}
    sizes.update((f"section_{i}", section.nbytes) for i, section in enumerate(sections))
    sizes["header_hash"] = _HASH
    tensors = []
    at = 0
    for name, size in sizes.items():
        place = f'"data_offsets":[{at},{at + size}]'
        tensors.append(f',"{name}":{{"dtype":"U8","shape":[{size}],{place}}}')
        at += size
    text = _BEGIN + json.dumps(meta, separators=(",", ":")) + "".join(tensors) + "}"
    if len(text) > LARGEST_HEADER - 8:
        raise OSError("the model has too many layers")
    text += " " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text.encode("ascii")
