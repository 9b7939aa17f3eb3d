"""The pyramid of differences, and beside it that of the older weights."""

from __future__ import annotations

from collections.abc import Callable

from explorer.pyramid.level0 import Reader
from explorer.pyramid.plan import Period
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import Connection

_CACHE = 32 << 20  # bytes


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

    def build(self, connection: Connection, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """As `Pyramid.build`, of both."""
        return self.before.build(connection, cancelled) and super().build(connection, cancelled)
