"""The strongest connections between two sets of units, found exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.pyramid import Pyramid, View
from explorer.pyramid.search.candidates import Candidates, Rank
from explorer.pyramid.search.full_scan import scan
from explorer.pyramid.search.joined_pairs import dense, joined_pairs
from explorer.pyramid.search.tile_search import Field, one_to_one, search, stacked
from explorer.weights.connections import Connection, Matrix

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

FULL_READ = 1 << 14
"""Weights up to which everything is read rather than searched."""
_WORTH_MEASURING = 8
"""A connection is measured for one question if at least one in so many weights is asked for."""


@dataclass(frozen=True, eq=False)
class Strongest:
    """The strongest pairs of units, strongest first, and what they were chosen from.

    Attributes
    ----------
    out, inside : int32 array, shape (m,)
        Labels of the target's and the source's unit.
    sum_sq, sum, sum_abs, max_abs : float64 array, shape (m,)
        Σw², Σw, Σ|w| and max|w| of the finite weights of the pair.
    count : int64 array, shape (m,)
        Finite weights of the pair.
    total_pairs, total_weights, non_finite : int
        Joined pairs of labels; their weights; how many of those are not finite.
    total_sum_sq : float
        Σw² of all finite weights.
    """

    out: I4
    inside: I4
    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: I8
    total_pairs: int
    total_weights: int
    non_finite: int
    total_sum_sq: float

    @property
    def rms(self) -> F8:
        """Magnitude: √(Σw² / count)."""
        return np.asarray(np.sqrt(self.sum_sq / self.count))


def strongest(
    pyramid: Pyramid,
    connection: Connection,
    out_label: I4,
    in_label: I4,
    k: int,
    least: float = 0.0,
) -> Strongest:
    """The k pairs of units with the largest root mean square of their weights.

    See `Pairs`, which can be asked more than once, and `Pairs.strongest`.
    """
    return Pairs(pyramid, connection, out_label, in_label).strongest(k, least=least)


class Pairs:
    """All pairs of units that a connection joins, between two sets of units.

    Parameters
    ----------
    pyramid : Pyramid
        Where the connection is measured, few tiles are read; else all weights between the sets.
        It is measured now where that reads little more than the question would.
    connection : Connection
    out_label : int32 array, shape (connection.out_units,)
        Unit of the target that each out unit belongs to, ``-1`` for none; several may share one
        (the gates of a cell).
    in_label : int32 array, shape (connection.in_units,)
        Unit of the source that each in unit carries, ``-1`` for none; several may share one (a
        channel that was flattened).

    Attributes
    ----------
    total_pairs, total_weights : int
        Joined pairs of labels; their weights.
    """

    def __init__(
        self, pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4
    ) -> None:
        self._pyramid, self._connection = pyramid, connection
        self._out_names, out_label = dense(out_label)
        self._in_names, in_label = dense(in_label)
        self._labels = out_label, in_label
        self.total_pairs, self.total_weights = joined_pairs(connection, out_label, in_label)

    @property
    def measures(self) -> bool:
        """Whether a question has the whole connection measured first."""
        asked, weights = self.total_weights, self._connection.weights
        if asked <= FULL_READ or self._pyramid.ready(self._connection):
            return False
        return asked == weights or (asked * _WORTH_MEASURING >= weights and bool(self._stacks))

    def measure(self, ticked: Callable[[], None]) -> None:
        """Measure the connection, if a question would; told every few MB."""

        def going_on() -> bool:
            ticked()
            return False

        if self.measures:
            self._pyramid.build(self._connection, going_on)

    @property
    def connection(self) -> Connection:
        """What joins the pairs."""
        return self._connection

    @cached_property
    def totals(self) -> tuple[float, int]:
        """Σw² of all finite weights, and how many others there are.

        The sum is exact to single precision; where all has to be read anyway, to double precision.
        """
        pyramid, connection = self._pyramid, self._connection
        if self.total_weights > FULL_READ and self.total_weights == connection.weights:
            pyramid.build(connection)
            found = pyramid.totals(connection)
            return found.sum_sq, found.non_finite
        if self.total_weights <= FULL_READ or not pyramid.ready(connection):
            return scan(pyramid, connection, self._labels, 0)[1:]
        out, inside = (np.minimum(a, 0) for a in self._labels)
        stats = pyramid.stats(connection, out, inside, 1, 1)
        return float(stats.sum_sq[0, 0]), int(stats.non_finite[0, 0])

    def strongest(self, k: int, rank: Rank = "rms", least: float = 0.0) -> Strongest:
        """The k strongest pairs.

        Parameters
        ----------
        k : int
        rank : "rms" or "sum_sq"
            What counts as strong: the root mean square of a pair's weights, or their Σw².
        least : float
            Pairs of a lower mean square, or sum of squares, need not be found.

        Returns
        -------
        Strongest
            Exact; pairs of equal rank are ordered by (out, inside). A pair without any finite
            weight is counted in the totals but never listed.
        """
        if k <= 0:
            found = Candidates.joined([])
        elif self._fields:
            found = search(self._pyramid, self._fields, k, rank, least)
        else:
            found, *totals = scan(self._pyramid, self._connection, self._labels, k, rank)
            self.__dict__.setdefault("totals", tuple(totals))
        total, bad = self.totals
        return Strongest(
            self._out_names[found.out], self._in_names[found.inside], found.sum_sq, found.sum,
            found.sum_abs, found.max_abs, found.count, self.total_pairs, self.total_weights, bad,
            total,
        )  # fmt: skip

    def capacity(self) -> tuple[F8, F8]:
        """Of sets that the pairs are divided into: the most Σw² of one, at least that of all.

        Returns
        -------
        float64 array, float64 array
            One entry per set.
        """
        if self._fields:
            found = [field.capacity() for field in self._fields]
            return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])
        total = np.array([self.totals[0]])
        return total, total

    @cached_property
    def _stacks(self) -> Sequence[Sequence[tuple[int, Matrix, I4, I4]]]:
        """What could be searched once it is measured; empty where all has to be read."""
        pyramid, connection = self._pyramid, self._connection
        if self.total_weights <= FULL_READ:
            return ()
        seen = pyramid.seen(connection, *self._labels)
        parts, stacks = pyramid.plan(connection).parts, stacked(seen)
        stored = all(parts[at].grid.stored for at, *_ in seen)
        return stacks if stored and one_to_one(stacks, self.total_pairs) else ()

    @cached_property
    def _fields(self) -> Sequence[Field]:
        """What can be searched; empty where all has to be read."""
        pyramid, connection = self._pyramid, self._connection
        if not self._stacks:
            return ()
        if not pyramid.ready(connection):
            if self.total_weights * _WORTH_MEASURING < connection.weights:
                return ()
            pyramid.build(connection)
        stats = pyramid.matrices(connection)
        return [
            Field(
                tuple(View(matrix, rows, columns, stats[at]) for at, matrix, rows, columns in one)
            )
            for one in self._stacks
        ]
