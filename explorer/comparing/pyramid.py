"""The pyramid of differences, and beside it that of the older weights."""

from __future__ import annotations

from collections.abc import Callable

from explorer.pyramid.level0 import Reader
from explorer.pyramid.plan import Period
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.shelf import PartOfShelf, Put, Runs, Shelf
from explorer.weights.connections import Connection

_CACHE = 32 << 20  # bytes
_CHANGE, _BEFORE = "change\0", "before\0"  # what the names on the shelf begin with


class ComparedPyramid(Pyramid):
    """Statistics of differences; a connection is ready when those of its older weights are too.

    Parameters
    ----------
    difference, older : Reader
        Of the same weights: newer minus older, and older.
    period : callable Connection -> int
        As of `explorer.pyramid.measuring.Measuring`.

    Attributes
    ----------
    before : Pyramid
        Of the older weights.
    """

    def __init__(self, difference: Reader, older: Reader, period: Period = lambda _: 0) -> None:
        super().__init__(difference, _CACHE, period)
        self.before = Pyramid(older, _CACHE, period)

    def attach(self, shelf: Shelf, put: Put | None = None, runs: Runs | None = None) -> None:
        """As `Pyramid.attach`; statistics of both lie on one shelf."""
        for prefix, take in ((_BEFORE, self.before.attach), (_CHANGE, super().attach)):
            own = PartOfShelf(prefix, shelf, put, runs)
            take(own, None if put is None else own.append, None if runs is None else own)

    def section_names(self, connection: Connection) -> tuple[str, ...]:
        """As `Pyramid.section_names`, of both."""
        name = self.section_name(connection)
        return _CHANGE + name, _BEFORE + name

    def ready(self, connection: Connection) -> bool:
        """Whether both have been measured."""
        return self.before.ready(connection) and super().ready(connection)

    def put(self, connection: Connection) -> None:
        """As `Pyramid.put`, of both."""
        self.before.put(connection)
        super().put(connection)

    def write_unfinished(self) -> None:
        """As `Pyramid.write_unfinished`, of both."""
        self.before.write_unfinished()
        super().write_unfinished()

    def build(self, connection: Connection, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """As `Pyramid.build`, of both."""
        return self.before.build(connection, cancelled) and super().build(connection, cancelled)
