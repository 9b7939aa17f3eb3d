"""What crosses a cut, as flat arrays: edges with their statistics, and what is still unread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.overlays import EdgeStats
from explorer.pyramid.connection_table import ConnectionTable
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]


@dataclass(frozen=True)
class EdgeRows:
    """Edges between rows of a cut.

    Attributes
    ----------
    source, target : int32 array, shape (m,)
        Rows of the cut.
    source_unit, target_unit : int32 array, shape (m,)
        For a strand between two closed nodes, the units it joins; -1 elsewhere.
    source_layer, target_layer : int32 array, shape (m,)
        For a strand, positions in ``graph.layers`` of the layers it joins; -1 elsewhere.
    stats : EdgeStats
    strand, pending : bool array, shape (m,)
        Whether an edge is a strand, and whether its weights are not all read yet: statistics with
        a `count` are then an estimate from those that are, others are nothing.
    """

    source: I4
    target: I4
    source_unit: I4
    target_unit: I4
    source_layer: I4
    target_layer: I4
    stats: EdgeStats
    strand: NDArray[np.bool_]
    pending: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> EdgeRows:
        """The edges at these positions."""
        stats = _some(self.stats, index)
        own = {f: getattr(self, f)[index] for f in COLUMNS}
        return replace(self, stats=stats, **own)


STATS = ("sum_sq", "sum", "sum_abs", "max_abs", "count", "non_finite")
ENDS = ("source", "target", "source_unit", "target_unit", "source_layer", "target_layer")
COLUMNS = (*ENDS, "strand", "pending")


@dataclass(frozen=True)
class Share:
    """How many of how many are drawn."""

    shown: int = 0
    total: int = 0


@dataclass(frozen=True)
class Crossing:
    """All that crosses a cut.

    Attributes
    ----------
    edges : EdgeRows
        Bundles, unit edges, strands and flow links, in no particular order.
    table : ConnectionTable
    unread : int32 array
        Numbers, in the table, of the connections whose weights are not yet read.
    searches : tuple of Search or Sum
        Strands that are still to be looked for, and long sums that are still to be made.
    shown, total : int
        Connections of single units that are drawn, and all there are between what is visible.
    shown_sum_sq, total_sum_sq : float
        Their Σw².
    non_finite : int
        Weights between what is visible that are NaN or infinite.
    bundles, flows : Share
        Wide lines between two closed nodes, and lines without weights.
    origins : tuple
        Which weights the edges stand for, in runs that follow one another
        (`explorer.crossing.origins.Origin`).
    alone : int
        Bundles of so many ways, or among so many bundles, that no strands are drawn.
    """

    edges: EdgeRows
    table: ConnectionTable
    unread: I4
    searches: tuple[Search | Sum, ...]
    shown: int
    total: int
    shown_sum_sq: float
    total_sum_sq: float
    non_finite: int
    bundles: Share = Share()
    flows: Share = Share()
    alone: int = 0
    origins: tuple[Any, ...] = ()

    @cached_property
    def missing(self) -> tuple[Connection, ...]:
        """Connections whose weights are not yet read."""
        return tuple(self.table.connections[i] for i in self.unread.tolist())


@dataclass(frozen=True, eq=False)
class Search:
    """One tensor's way into a connection: what the strongest connections are looked for in.

    Attributes
    ----------
    connection : Connection
    source, target : int
        Positions in ``graph.layers``.
    in_unit : int32 array, shape (connection.in_units,)
        The source's drawn unit behind each in unit of the connection, or -1.
    """

    connection: Connection
    source: int
    target: int
    in_unit: I4

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal searches in one model."""
        return (self.connection.key, self.source, hash(self.in_unit.tobytes()))

    @property
    def weights(self) -> int:
        """How many weights may have to be looked at."""
        return self.connection.weights


@dataclass(frozen=True, eq=False)
class Sum:
    """Sums over so many connections that nobody should wait for them.

    Attributes
    ----------
    key : hashable
        Equal for equal sums in one model.
    weights : int
        How many weights are added up.
    run : callable (stopped) -> object
        Makes the sums and keeps them; asks `stopped` where they take long.
    done : callable () -> bool
        Whether they have been made.
    """

    key: Hashable
    weights: int
    run: Callable[[Callable[[], bool]], object]
    done: Callable[[], bool]


def first(stats: EdgeStats, most: int) -> EdgeStats:
    """The first entries of some statistics."""
    return _some(stats, slice(most))


def _some(stats: EdgeStats, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> EdgeStats:
    before = None if stats.before is None else stats.before[index]
    counted = None if stats.counted is None else stats.counted.take(index)
    some = EdgeStats(*(getattr(stats, f)[index] for f in STATS))
    return replace(some, before=before, counted=counted)


def concatenate(rows: list[EdgeRows]) -> EdgeRows:
    """All edges of several lists, in order."""
    columns = {f: np.concatenate([getattr(r, f) for r in rows]) for f in COLUMNS}
    before = None
    if any(r.stats.before is not None for r in rows):
        known = [np.zeros(len(r)) if r.stats.before is None else r.stats.before for r in rows]
        before = np.concatenate(known)
    sums = (np.concatenate([getattr(r.stats, f) for r in rows]) for f in STATS)
    stats = replace(EdgeStats(*sums), before=before)
    return EdgeRows(stats=stats, **columns)


def plain_rows(ends: I4, stats: EdgeStats, pending: NDArray[np.bool_] | None = None) -> EdgeRows:
    """Edges that are no strands.

    Parameters
    ----------
    ends : int32 array, shape (m, 2)
        Rows of the cut.
    stats : EdgeStats
    pending : bool array, shape (m,), optional
        Default: none is.
    """
    none = np.full(len(ends), -1, np.int32)
    no = np.zeros(len(ends), bool)
    late = no if pending is None else pending
    return EdgeRows(ends[:, 0], ends[:, 1], none, none, none, none, stats, no, late)


def stats_of(sums: F8, counts: NDArray[np.int64]) -> EdgeStats:
    """Statistics out of the columns of `explorer.pyramid.connection_table.ConnectionTable`."""
    return EdgeStats(sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3], counts[:, 0], counts[:, 1])
