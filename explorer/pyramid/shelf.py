"""Where statistics lie from run to run, as those who measure see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from explorer.pyramid.plan import signature
from explorer.weights.connections import Connection

TotalsRow = tuple[float, float, float, float, int, int]
"""Σw², Σw, Σ|w| and max|w| of the finite weights, their number, and that of the others."""


class Shelf(Protocol):
    """Where statistics lie that were measured earlier; safe for threads."""

    @property
    def totals(self) -> Mapping[str, TotalsRow]:
        """Totals of what lies there, by name."""

    def section(self, key: str) -> bytes | None:
        """Statistics of a connection; ``None`` where they are missing or damaged."""


class Runs(Protocol):
    """Where runs of bands last, of connections that are not whole yet; safe for threads."""

    @property
    def begun(self) -> Collection[str]:
        """Names of the connections of which there are runs."""

    def runs(self, key: str) -> list[bytes]:
        """The runs of a connection, in the order in which they were written."""

    def append_run(self, key: str, payload: bytes) -> None:
        """Keep another one."""


Put = Callable[[str, TotalsRow, bytes], None]
"""Puts totals and statistics of a connection, by name, where they last."""


def section_key(connection: Connection, period: int) -> str:
    """Name of a connection's statistics on the shelf.

    It ends with the signature of the matrices, so that statistics of another reading of the same
    file are never found, neither sums nor totals.
    """
    return "\0".join((*connection.key, signature(connection, period).hex()))


class PartOfShelf:
    """What lies on a shelf under names that begin alike, as a shelf of its own.

    Parameters
    ----------
    prefix : str
    shelf : Shelf
    put : callable, optional
    runs : Runs, optional
        Of the whole shelf.
    """

    def __init__(
        self, prefix: str, shelf: Shelf, put: Put | None = None, runs: Runs | None = None
    ) -> None:
        self._prefix, self._shelf, self._put, self._runs = prefix, shelf, put, runs

    @property
    def totals(self) -> Mapping[str, TotalsRow]:
        """As of `Shelf`."""
        return {self._short(k): t for k, t in self._shelf.totals.items() if self._mine(k)}

    def section(self, key: str) -> bytes | None:
        """As of `Shelf`."""
        return self._shelf.section(self._prefix + key)

    def append(self, key: str, totals: TotalsRow, payload: bytes) -> None:
        """As of `Put`."""
        if self._put is not None:
            self._put(self._prefix + key, totals, payload)

    @property
    def begun(self) -> Collection[str]:
        """As of `Runs`."""
        whole = () if self._runs is None else self._runs.begun
        return {self._short(key) for key in list(whole) if self._mine(key)}

    def runs(self, key: str) -> list[bytes]:
        """As of `Runs`."""
        return [] if self._runs is None else self._runs.runs(self._prefix + key)

    def append_run(self, key: str, payload: bytes) -> None:
        """As of `Runs`."""
        if self._runs is not None:
            self._runs.append_run(self._prefix + key, payload)

    def _mine(self, key: str) -> bool:
        return key.startswith(self._prefix)

    def _short(self, key: str) -> str:
        return key[len(self._prefix) :]
