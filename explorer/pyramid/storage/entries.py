"""What lies in the cache folder: to be listed, and to be removed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from explorer.errors import NeuronautError
from explorer.pyramid.storage.cache import (
    JOURNAL,
    LOCK,
    STORE,
    Fingerprint,
    Pieces,
    cache_folder,
    file_name,
)
from explorer.pyramid.storage.journal import read_heading
from explorer.pyramid.storage.store import read_header

State = Literal["complete", "partial", "outdated", "model gone", "damaged"]
Paths = Iterable[str | os.PathLike[str]]
_TEMPORARY = re.compile(r"\.(.+)-[0-9a-f]{12}\.tmp")


@dataclass(frozen=True)
class Entry:
    """What is stored of one network.

    Attributes
    ----------
    name : str
        Of the network; of the file where that cannot be read.
    model : Path
        As it was opened: its first file.
    state : str
        ``"complete"``; ``"partial"``: a build goes on or was interrupted; ``"outdated"``: the model
        was rewritten; ``"model gone"``: it is not there; ``"damaged"``: it cannot be known.
    nbytes : int
        Bytes stored.
    model_bytes : int
        Bytes of the model's files.
    time : float
        Of the last change, seconds since 1970.
    """

    name: str
    model: Path
    state: State
    nbytes: int
    model_bytes: int
    time: float


class Cleared(NamedTuple):
    """What `clear` did.

    Attributes
    ----------
    removed, busy : list of Entry
        `busy` ones are being built now and were left alone.
    nbytes : int
        Bytes that were freed.
    """

    removed: list[Entry]
    busy: list[Entry]
    nbytes: int


class _Found(NamedTuple):
    """Files of one network, and what store and journal, by their ending, say they belong to."""

    stem: str
    files: list[Path]
    told: dict[str, Fingerprint]


def entries(paths: Paths | None = None) -> list[Entry]:
    """What is stored, by path of the model.

    Parameters
    ----------
    paths : iterable of path, optional
        Models, or folders of models, which need not exist any more; all when left out.
    """
    made = (_entry(found) for found in _all(paths))
    return sorted((e for e in made if e is not None), key=lambda entry: str(entry.model))


def clear(paths: Paths | None = None) -> Cleared:
    """Remove what is stored.

    Parameters
    ----------
    paths : iterable of path, optional
        Models, or folders of models, which need not exist any more; all when left out.

    Returns
    -------
    Cleared

    Raises
    ------
    NeuronautError
        If something cannot be removed.
    """
    done = Cleared([], [], 0)
    for found in _all(paths):
        entry = _entry(found)
        try:
            removed = _remove(found)
        except OSError as error:
            told = error.strerror or error
            raise NeuronautError(f"{cache_folder()}: cannot be cleared: {told}") from None
        if entry is not None:
            (done.busy if removed is None else done.removed).append(entry)
        done = done._replace(nbytes=done.nbytes + (removed or 0))
    return done


def _all(paths: Paths | None) -> Iterator[_Found]:
    """What lies in the folder, by network; what is not of this software is passed over."""
    wanted = None if paths is None else [os.path.abspath(path) for path in paths]
    stems: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for path in sorted(cache_folder().iterdir()):
            temporary = _TEMPORARY.fullmatch(path.name)
            if temporary or path.suffix in (STORE, JOURNAL, LOCK):
                stems.setdefault(temporary[1] if temporary else path.stem, []).append(path)
    for stem, files in stems.items():
        told = {path.suffix: f for path in files if (f := _told(path)) is not None}
        found = _Found(stem, files, told)
        if wanted is None or any(_is_of(found, path) for path in wanted):
            yield found


def _told(path: Path) -> Fingerprint | None:
    """What a store or a journal belongs to."""
    if path.suffix not in (STORE, JOURNAL):
        return None
    try:
        pieces = Pieces(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return None
    try:
        if path.suffix == JOURNAL:
            return read_heading(pieces)[0]
        header = read_header(pieces)
        return None if header is None else header[0]
    except OSError:
        return None
    finally:
        pieces.close()


def _entry(found: _Found) -> Entry | None:
    """An entry; ``None`` where nothing but a lock is left."""
    sizes, times = [], []
    for path in found.files:
        if path.suffix != LOCK:
            with contextlib.suppress(OSError):
                status = path.lstat()
                sizes.append(status.st_size)
                times.append(status.st_mtime)
    if not sizes:
        return None
    store, journal = found.told.get(STORE), found.told.get(JOURNAL)
    known, state = store or journal, _state(store, journal)
    if known is None:
        return Entry(found.stem, Path(found.stem), state, sum(sizes), 0, max(times))
    return Entry(known.name, Path(known.model), state, sum(sizes), known.nbytes, max(times))


def _state(store: Fingerprint | None, journal: Fingerprint | None) -> State:
    if store is not None and store.holds():
        return "complete"
    if journal is not None and journal.holds():
        return "partial"
    known = store or journal
    if known is None:
        return "damaged"
    return "model gone" if known.gone() else "outdated"


def _is_of(found: _Found, path: str) -> bool:
    """Whether something belongs to a model, or to a model in a folder."""
    real = os.path.realpath(path)
    if found.stem == file_name([real]):
        return True
    named = [
        name
        for told in found.told.values()
        for name in (told.model, *(row[0] for row in told.files))
    ]
    return any(name in (path, real) or name.startswith(real + os.sep) for name in named)


def _remove(found: _Found) -> int | None:
    """Remove files; the bytes freed, or ``None`` when they are being written."""
    lock = FileLock(cache_folder() / (found.stem + LOCK), mode=0o600, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except NotImplementedError:
        pass  # without locks nobody writes
    freed = 0
    try:
        for path in found.files:
            if path.suffix != LOCK:
                freed += path.lstat().st_size
                path.unlink()
        # While it is held: who has opened it by now sees that its name is gone, and begins again.
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()
    return freed
