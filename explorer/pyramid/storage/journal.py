"""Statistics on their way into a store: written down one by one, so that nothing is measured twice.

Of a large connection that is not whole yet, runs of its bands are written down too; they count
until the whole is. A journal only grows. A killed process leaves at most its last record
unfinished, which is cut off when the next one goes on. One process at a time may write; the system
gives its lock back when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from explorer.network import Network
from explorer.pyramid.storage.cache import (
    JOURNAL,
    LOCK,
    STORE,
    Fingerprint,
    Pieces,
    Totals,
    cache_folder,
    make_folder,
)
from explorer.pyramid.storage.store import Section, Store, write_store
from explorer.small_files import leftovers

_MAGIC = b"neuronaut journal 1\n"
_SIZES = struct.Struct("<II")  # of the heading's text: bytes and CRC-32
# CRC-32 of all that follows and of the key, bytes of the key, bytes and CRC-32 of the payload,
# totals, and what it is: a section, word that those of its key are damaged, or a run of bands.
_RECORD = struct.Struct("<IIQI4d2qB")
_HERE, _DAMAGED, _RUN = 1, 2, 3
_NO_TOTALS = (0.0, 0.0, 0.0, 0.0, 0, 0)
_AHEAD = 4096  # bytes read in search of a record: most keys are shorter


class _StopWriting(Exception):  # noqa: N818  (no error: work goes on, nothing is kept)
    """Nothing can be written, for the reason in its text."""


class Journal:
    """Sections of a build that goes on; safe for threads.

    Made by `open`. Where nothing can be written everything still works, but nothing is kept.

    Attributes
    ----------
    reason : str
        Why nothing is written, in one line for a person; empty while all is well.
    totals : dict of str to Totals
        Of the sections that earlier builds left.
    """

    def __init__(self, fingerprint: Fingerprint | None) -> None:
        self.reason = ""
        self.totals: dict[str, Totals] = {}
        self._fingerprint = fingerprint
        self._sections: dict[str, Section] = {}
        self._runs: dict[str, list[Section]] = {}
        self._pieces: Pieces | None = None
        self._end = self._seed = 0
        self._held: FileLock | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(cls, network: Network, plan: str, role: str = "") -> Journal:
        """Go on with what earlier builds left, or begin anew.

        Parameters
        ----------
        network : Network
        plan, role : str
            As of `explorer.pyramid.storage.cache.Fingerprint`.

        Returns
        -------
        Journal
            With a `reason` if it cannot write.
        """
        journal = cls(Fingerprint.of(network, plan, role))
        with journal._writing():
            journal._begin()
        if journal.reason:
            journal.close()
        journal.totals = {key: section.totals for key, section in journal._sections.items()}
        return journal

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn trouble with the disk into a reason."""
        try:
            yield
        except (_StopWriting, OSError) as trouble:
            told = f"{cache_folder()}: {getattr(trouble, 'strerror', None) or trouble}"
            told = str(trouble) if isinstance(trouble, _StopWriting) else told
            self.reason = f"statistics of the weights are not saved: {told}"

    def _begin(self) -> None:
        """Take the lock, read what is there, cut off what is not whole."""
        fingerprint = self._fingerprint
        if fingerprint is None:
            raise _StopWriting("the model is not in a file, or its file has changed")
        make_folder(cache_folder())
        self._take_lock()
        for path in leftovers(self._path(STORE)):
            path.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._pieces = Pieces(os.open(self._path(JOURNAL), flags, 0o600))
        found, self._end = read_heading(self._pieces)
        heading = _heading(fingerprint)
        if found != fingerprint:
            self._pieces.cut(0)
            self._pieces.write(0, heading)
            self._end = len(heading)
        self._seed = fingerprint.checksum
        self._sections, self._runs, self._end = _records(self._pieces, self._end, self._seed)
        self._pieces.cut(self._end)

    def _take_lock(self) -> None:
        lock = FileLock(self._path(LOCK), mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise _StopWriting("another process is measuring this model") from None
        except NotImplementedError:
            raise _StopWriting(f"{cache_folder()}: the file system has no locks") from None
        self._held = lock

    def _path(self, ending: str) -> Path:
        assert self._fingerprint is not None
        return cache_folder() / (self._fingerprint.file_name + ending)

    def __contains__(self, key: str) -> bool:
        return key in self._sections

    def section(self, key: str) -> bytes | None:
        """The bytes of a section; ``None`` where there is none or it is damaged."""
        section = self._sections.get(key)
        return None if section is None else self._payload(section)

    def _payload(self, section: Section) -> bytes | None:
        """The bytes of a section; a damaged one is struck out, so that it is measured anew."""
        payload = self._read(section)
        if payload is None:
            with self._lock, self._writing():
                if self._can_write and self._sections.get(section.key) is section:
                    self._strike_out(section.key)
        return payload

    def _read(self, section: Section) -> bytes | None:
        pieces = self._pieces
        payload = None if pieces is None else pieces.read(section.offset, section.nbytes)
        return payload if payload is not None and zlib.crc32(payload) == section.crc else None

    def _strike_out(self, key: str) -> None:
        self._write(Section(key, _NO_TOTALS, 0, 0, 0), b"", _DAMAGED)
        self._sections.pop(key, None)
        self._runs.pop(key, None)

    @property
    def begun(self) -> Collection[str]:
        """Keys of sections of which there are runs, but not the whole."""
        return self._runs.keys()

    def runs(self, key: str) -> list[bytes]:
        """The runs of a section that is not whole, as they were written; none if one is damaged."""
        with self._lock, self._writing():
            payloads = [self._read(section) for section in self._runs.get(key, ())]
            found = [payload for payload in payloads if payload is not None]
            if len(found) == len(payloads):
                return found
            if self._can_write:
                self._strike_out(key)
        return []

    def append_run(self, key: str, payload: bytes) -> None:
        """Keep a run of bands; what is said of `append` holds for it, too."""
        section = Section(key, _NO_TOTALS, 0, len(payload), zlib.crc32(payload))
        with self._lock, self._writing():
            if self._can_write and key not in self._sections:
                written = self._write(section, payload, _RUN)
                self._runs.setdefault(key, []).append(written)

    def append(self, key: str, totals: Totals, payload: bytes) -> None:
        """Keep a section; replaces one of the same key.

        Parameters
        ----------
        key : str
        totals : Totals
        payload : bytes

        Notes
        -----
        Never fails for the disk's sake: then `reason` says why, and nothing more is written.
        """
        numbers = (*map(float, totals[:4]), *map(int, totals[4:]))
        section = Section(key, numbers, 0, len(payload), zlib.crc32(payload))  # type: ignore[arg-type]
        with self._lock, self._writing():
            if self._can_write:
                self._sections[key] = self._write(section, payload, _HERE)
                self._runs.pop(key, None)

    @property
    def _can_write(self) -> bool:
        return self._pieces is not None and not self.reason

    def _write(self, section: Section, payload: bytes, kind: int) -> Section:
        """Write a record behind the last one, whole or not at all; the section in its place."""
        assert self._pieces is not None
        key = section.key.encode("utf-8", "surrogatepass")
        head = _RECORD.pack(0, len(key), section.nbytes, section.crc, *section.totals, kind)[4:]
        head = zlib.crc32(head + key, self._seed).to_bytes(4, "little") + head + key
        try:
            self._pieces.write(self._end, head, payload)
        except OSError:
            with contextlib.suppress(OSError):
                self._pieces.cut(self._end)
            raise
        self._end += len(head) + len(payload)
        return section._replace(offset=self._end - len(payload))

    def finish(self, keys: Iterable[str]) -> Store | None:
        """Make the store of all sections and remove the journal.

        Parameters
        ----------
        keys : iterable of str
            All keys of the network, in their order in the store; what the store's bytes are does
            not depend on the order of `append`.

        Returns
        -------
        Store or None
            ``None`` when it cannot be written, with the `reason`; what was measured stays in the
            journal unless the model has changed.
        """
        with self._lock, self._writing():
            if self._can_write:
                return self._finish(list(dict.fromkeys(keys)))
        return None

    def _finish(self, keys: list[str]) -> Store:
        assert self._fingerprint is not None
        path = self._path(STORE)
        self._refuse_a_rewritten_model()
        sections = [self._sections[key] for key in keys if key in self._sections]
        if len(sections) != len(keys) or not write_store(
            path, self._fingerprint, sections, self._payload
        ):
            raise _StopWriting("some were found damaged; the next run measures them anew")
        self._refuse_a_rewritten_model()
        store = Store.at(path, self._fingerprint)
        if store is None:
            raise _StopWriting(f"{path} cannot be read back")
        self._sections, self._runs = {}, {}
        self.close()
        return store

    def _refuse_a_rewritten_model(self) -> None:
        assert self._fingerprint is not None
        if not self._fingerprint.holds():
            self._sections, self._runs = {}, {}
            raise _StopWriting("the model file was rewritten meanwhile")

    def close(self) -> None:
        """Stop writing; what is written stays for the next run. May be called more than once."""
        with self._lock:
            if self._pieces is not None:
                self._pieces.close()
                self._pieces = None
                if not self._sections and not self._runs:
                    with contextlib.suppress(OSError):
                        self._path(JOURNAL).unlink()
            if self._held is not None:
                self._held.release()
                self._held = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _heading(fingerprint: Fingerprint) -> bytes:
    text = fingerprint.to_json().encode("ascii")
    return _MAGIC + _SIZES.pack(len(text), zlib.crc32(text)) + text


def read_heading(pieces: Pieces) -> tuple[Fingerprint | None, int]:
    """What a journal belongs to, and where its records begin; ``None`` where that is damaged."""
    at = len(_MAGIC) + _SIZES.size
    start = pieces.read(0, at)
    if start is None or not start.startswith(_MAGIC):
        return None, 0
    length, crc = _SIZES.unpack_from(start, len(_MAGIC))
    text = pieces.read(at, length) if at + length <= pieces.size else None
    if text is None or zlib.crc32(text) != crc:
        return None, 0
    return Fingerprint.from_json(text), at + length


_Runs = dict[str, list[Section]]


def _records(pieces: Pieces, at: int, seed: int) -> tuple[dict[str, Section], _Runs, int]:
    """Sections and runs of a journal, and the end of the last whole record.

    Payloads are not looked at.
    """
    sections: dict[str, Section] = {}
    runs: _Runs = {}
    size = pieces.size
    while size - at >= _RECORD.size:
        block = pieces.read(at, min(_AHEAD, size - at))
        if block is None:
            break
        crc, key_length, nbytes, payload_crc, *totals, kind = _RECORD.unpack_from(block)
        start = _RECORD.size + key_length
        if start > len(block):
            block = pieces.read(at, start) if at + start <= size else None
        if block is None or zlib.crc32(block[4:start], seed) != crc or at + start + nbytes > size:
            break
        key = block[_RECORD.size : start].decode("utf-8", "surrogatepass")
        found = Section(key, tuple(totals), at + start, nbytes, payload_crc)
        if kind == _RUN:
            runs.setdefault(key, []).append(found)
        else:
            runs.pop(key, None)
            sections.pop(key, None)
            if kind == _HERE:
                sections[key] = found
        at += start + nbytes
    return sections, runs, at
