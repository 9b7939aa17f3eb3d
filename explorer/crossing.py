"""What crosses a cut, as flat arrays: edges with their statistics, and what is still unread."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.connections import Connection
from explorer.overlays import EdgeStats

I4 = NDArray[np.int32]


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
        Positions in ``graph.layers`` of the layers the edge joins; -1 for a bundle of several.
    stats : EdgeStats
    strand, pending : bool array, shape (m,)
        Whether an edge is a strand, and whether its weights are not yet read.
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
        stats = EdgeStats(*(getattr(self.stats, f)[index] for f in STATS))
        own = {f: getattr(self, f)[index] for f in COLUMNS}
        return replace(self, stats=stats, **own)


STATS = ("sum_sq", "sum", "sum_abs", "max_abs", "count", "non_finite")
COLUMNS = (
    "source",
    "target",
    "source_unit",
    "target_unit",
    "source_layer",
    "target_layer",
    "strand",
    "pending",
)


@dataclass(frozen=True)
class Crossing:
    """All that crosses a cut.

    Attributes
    ----------
    edges : EdgeRows
        Bundles, unit edges, strands and flow links, in no particular order.
    missing : tuple of Connection
        Connections whose weights are not yet read.
    searches : tuple of Search
        Strands that are still to be looked for.
    shown, total : int
        Connections of single units that are drawn, and all there are between what is visible.
    shown_sum_sq, total_sum_sq : float
        Their Σw².
    non_finite : int
        Weights between what is visible that are NaN or infinite.
    """

    edges: EdgeRows
    missing: tuple[Connection, ...]
    searches: tuple[Search, ...]
    shown: int
    total: int
    shown_sum_sq: float
    total_sum_sq: float
    non_finite: int


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


def concatenate(rows: list[EdgeRows]) -> EdgeRows:
    """All edges of several lists, in order."""
    columns = {f: np.concatenate([getattr(r, f) for r in rows]) for f in COLUMNS}
    stats = EdgeStats(*(np.concatenate([getattr(r.stats, f) for r in rows]) for f in STATS))
    return EdgeRows(stats=stats, **columns)
