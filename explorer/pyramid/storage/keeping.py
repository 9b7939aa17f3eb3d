"""Keeping what was measured of one network from run to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import chain

from explorer.network import ByteRange, Network
from explorer.pyramid.measuring import Measuring
from explorer.pyramid.plan import PLAN
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store
from explorer.weights.connections import Connection

WORTH_KEEPING = 32 << 20
"""Bytes of weights below which measuring anew is as quick as looking it up."""


class Keeper:
    """Gives a pyramid what was measured earlier and keeps what will be; safe for threads.

    Parameters
    ----------
    network : Network
    pyramid : Measuring
        Of the same network.
    lasting : bool
        False for a file that goes away with this process: nothing is kept of it unless `begin`
        says so.
    what : (str, str)
        Plan and role of what the pyramid measures, as of
        `explorer.pyramid.storage.cache.Fingerprint`.
    """

    def __init__(
        self,
        network: Network,
        pyramid: Measuring,
        lasting: bool = True,
        what: tuple[str, str] = (PLAN, ""),
    ) -> None:
        self._network, self._pyramid, self._what = network, pyramid, what
        self._journal: Journal | None = None
        self._lock = threading.Lock()
        self._begun = False
        self._store: Store | None = None
        self._outdated: Store | None = None
        worth = lasting and _weights_bytes(network) >= WORTH_KEEPING
        if worth:
            self._store = Store.open(network, *what)
        if self._store is not None:
            pyramid.attach(self._store)
        self._worth = worth and self._store is None

    @property
    def reason(self) -> str:
        """Why nothing is kept, in one line for a person; empty while all is well."""
        return "" if self._journal is None else self._journal.reason

    @property
    def whole(self) -> bool:
        """Whether all statistics come from a finished store."""
        return self._store is not None

    @property
    def unfinished(self) -> bool:
        """Whether there is to be a store, and is none yet."""
        return self._worth and self._store is None and not self.reason

    def check(self, connections: Sequence[Connection]) -> None:
        """Look whether the store has all of these; one that has not is made anew by and by.

        Statistics are named after how their weights are read from the file. Those of a
        version of this software that read them otherwise are of no use.
        """
        with self._lock:
            if self._store is not None and not self._tells_of(self._store, connections):
                self._outdated, self._store, self._worth = self._store, None, True

    def stored(self, connections: Sequence[Connection]) -> bool:
        """Whether there is a store with all of these, and each is as it was written."""
        store = Store.open(self._network, *self._what)
        if store is None:
            return False
        with store:
            return all(store.section(name) is not None for name in self._names(connections))

    def _tells_of(self, store: Store, connections: Sequence[Connection]) -> bool:
        return all(name in store.totals for name in self._names(connections))

    def _names(self, connections: Sequence[Connection]) -> Iterator[str]:
        return chain.from_iterable(map(self._pyramid.section_names, connections))

    def begin(self, always: bool = False) -> None:
        """Go on with what earlier runs left, and write down what is measured from now on.

        Parameters
        ----------
        always : bool
            However small the network is.
        """
        with self._lock:
            if self._begun or self._store is not None or not (self._worth or always):
                return
            self._begun = True
            self._journal = Journal.open(self._network, *self._what)
            if not self._journal.reason:
                self._carry_over(self._journal)
            self._pyramid.attach(self._journal, self._journal.append, self._journal)

    def _carry_over(self, journal: Journal) -> None:
        """Go on with what is good in a store that does not tell of everything."""
        store = Store.open(self._network, *self._what)
        if store is None:
            return
        with store:
            for name, totals in store.totals.items():
                payload = None if name in journal else store.section(name)
                if payload is not None:
                    journal.append(name, totals, payload)
                    journal.totals[name] = totals

    def finish(self, connections: Sequence[Connection]) -> bool:
        """Make one store of it once all of these are measured; whether there is one now."""
        with self._lock:
            if self._journal is None or self._store is not None:
                return self._store is not None
            if not all(map(self._pyramid.ready, connections)):
                return False
            for connection in connections:
                names = self._pyramid.section_names(connection)
                if any(name not in self._journal for name in names):
                    self._pyramid.put(connection)
            store = self._journal.finish(self._names(connections))
            if store is None:
                return False
            self._store = store
            self._pyramid.attach(store)
            return True

    def close(self) -> None:
        """Close the files; an unfinished build can be gone on with in another run."""
        self._pyramid.write_unfinished()
        with self._lock:
            for shelf in (self._journal, self._store, self._outdated):
                if shelf is not None:
                    shelf.close()


def _weights_bytes(network: Network) -> int:
    places = {w.name: w.where for layer in network.layers for w in layer.weights}
    return sum(p.nbytes for p in places.values() if isinstance(p, ByteRange))
