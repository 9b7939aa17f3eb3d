"""What was found of two files, kept from run to run: a few numbers for each pair of weights."""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from explorer.comparing.measuring import ChangeSums
from explorer.network import Network
from explorer.pyramid.storage.cache import (
    STORE,
    Fingerprint,
    cache_folder,
    file_name,
    make_folder,
    trusted,
)
from explorer.pyramid.storage.keeping import WORTH_KEEPING
from explorer.pyramid.storage.store import Section, Store, write_store

PLAN = "changes 1"
"""Changes whenever sums come to be made in another way."""
Pair = tuple[str, str]
"""Names of a weight in the older and in the newer file."""
_ROW = struct.Struct("<3q7d")
_NO_TOTALS = (0.0, 0.0, 0.0, 0.0, 0, 0)


class KeptChanges:
    """Sums of pairs of weights in one file of the cache folder, for as long as both files last.

    Parameters
    ----------
    before, after : Network
    name : str
        Of both, for people.
    """

    def __init__(self, before: Network, after: Network, name: str) -> None:
        stamps = {stamp.path: stamp for stamp in (*before.files, *after.files)}
        self._network = replace(after, files=tuple(stamps.values()), name=name)
        self._opened = f"{before.opened} → {after.opened}"
        # The one direction is not the other, though the files are the same.
        self._order = [f.path for f in (*before.files, *after.files)]
        self._worth = sum(stamp.size for stamp in stamps.values()) >= WORTH_KEEPING
        self._known = 0

    def load(self) -> dict[Pair, ChangeSums]:
        """What an earlier run found; nothing where there is none, or a file has changed."""
        fingerprint = self._fingerprint()
        if fingerprint is None or not trusted(cache_folder()):
            return {}
        store = Store.at(self._path(), fingerprint)
        if store is None:
            return {}
        with store:
            payloads = {key: store.section(key) for key in store.totals}
        found = {
            (before, after): ChangeSums(*_ROW.unpack(payload))
            for key, payload in payloads.items()
            for before, _, after in (key.partition("\0"),)
            if payload is not None and len(payload) == _ROW.size
        }
        self._known = len(found)
        return found

    def save(self, sums: Mapping[Pair, ChangeSums]) -> str:
        """Keep these, if any is new.

        Returns
        -------
        str
            Why they cannot be kept, in one line; empty while all is well.
        """
        fingerprint = self._fingerprint()
        if fingerprint is None or len(sums) <= self._known:
            return ""
        payloads = {"\0".join(pair): _ROW.pack(*dataclasses.astuple(s)) for pair, s in sums.items()}
        sections = [
            Section(key, _NO_TOTALS, 0, len(payload), zlib.crc32(payload))
            for key, payload in payloads.items()
        ]
        try:
            make_folder(cache_folder())
            write_store(self._path(), fingerprint, sections, lambda s: payloads[s.key])
        except OSError as error:
            told = f"{cache_folder()}: {error.strerror or error}"
            return f"what was compared is not saved: {told}"
        self._known = len(sums)
        return ""

    def _fingerprint(self) -> Fingerprint | None:
        found = Fingerprint.of(self._network, PLAN) if self._worth else None
        return None if found is None else replace(found, model=self._opened)

    def _path(self) -> Path:
        return cache_folder() / (file_name([os.path.realpath(p) for p in self._order]) + STORE)
