"""From a cut to the edges that cross it: which weights join which visible nodes, how strongly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.connections import Connection
from explorer.lod import Cut
from explorer.network import Link
from explorer.open_model import OpenModel
from explorer.overlays import EdgeStats
from explorer.places import Places
from explorer.pyramid import Stats
from explorer.strongest import Strongest, strongest
from explorer.unit_maps import unit_map

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
STRANDS = 48  # strongest single connections shown between two closed nodes
MOST_OPEN = 2500  # edges shown of one connection whose units are visible
MOST_FLOWS = 1024  # unit-to-unit links shown between two layers
_REMEMBERED = 1024


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
        stats = EdgeStats(*(getattr(self.stats, f)[index] for f in _STATS))
        own = {f: getattr(self, f)[index] for f in _COLUMNS}
        return replace(self, stats=stats, **own)


_STATS = ("sum_sq", "sum", "sum_abs", "max_abs", "count")
_COLUMNS = (
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
        Connections drawn one by one, and all there are between what is visible.
    shown_sum_sq, total_sum_sq : float
        Their Σw².
    """

    edges: EdgeRows
    missing: tuple[Connection, ...]
    searches: tuple[Search, ...]
    shown: int
    total: int
    shown_sum_sq: float
    total_sum_sq: float


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


@dataclass(frozen=True)
class _Found:
    """What one wire contributes; rows are given by the unit or by the whole node."""

    out_row: I4
    in_row: I4
    out_unit: I4
    in_unit: I4
    stats: EdgeStats
    shown: int
    total: int
    shown_sum_sq: float
    total_sum_sq: float


class EdgeFinder:
    """Finds the edges of one model's cuts; remembers what it found.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self.model = model
        self._position = {la.path: i for i, la in enumerate(model.graph.layers)}
        self._memory: OrderedDict[Hashable, _Found] = OrderedDict()

    def crossing(self, cut: Cut, budget: int) -> Crossing:
        """The edges between the visible nodes of a cut.

        Parameters
        ----------
        cut : Cut
        budget : int
            The most edges to return; of more, the strongest of each connection.

        Returns
        -------
        Crossing
        """
        places = Places(self.model, cut)
        wires = list(self._wires(places))
        ready = [w for w in wires if self.model.pyramid.ready(w.connection)]
        waiting = [w for w in wires if not self.model.pyramid.ready(w.connection)]
        weight = [1 if places.closed(w.source, w.target) else 8 for w in ready]
        unit = budget / max(sum(weight), 1)
        found = [
            self._remembered(w, places, int(unit * share))
            for w, share in zip(ready, weight, strict=True)
        ]
        rows = [self._bundles(found, ready, waiting, places), *self._singles(found, ready, places)]
        weighted = {(int(a), int(b)) for r in rows for a, b in zip(r.source, r.target, strict=True)}
        rows.append(self._flows(places, weighted, wires))
        missing = {id(w.connection): w.connection for w in waiting}
        searches = tuple(
            w
            for w in ready
            if places.closed(w.source, w.target) and w.key not in self.model.strands
        )
        return Crossing(
            _concatenate(rows),
            tuple(missing.values()),
            searches,
            sum(f.shown for f in found),
            sum(f.total for f in found),
            sum(f.shown_sum_sq for f in found),
            sum(f.total_sum_sq for f in found),
        )

    def search(self, search: Search) -> None:
        """Find the strands of a closed pair; the next `crossing` shows them."""
        units = np.arange(search.connection.out_units, dtype=np.int32)
        self.model.strands[search.key] = strongest(
            self.model.pyramid, search.connection, units, search.in_unit, STRANDS
        )

    # -- which weights -----------------------------------------------------------------------

    def _wires(self, places: Places) -> Iterator[Search]:
        """Every way of a tensor from a visible node into the weights of another."""
        wires = self.model.wires
        for path in self.model.weighted:
            target = self._position[path]
            home = places.home[target]

            def stop(p: str, home: int = home) -> bool:
                # What shows by itself (elsewhere, or open into units) is what the edge comes from.
                return home < 0 or int(places.home[self._position[p]]) != home

            for connection in wires.connections(path):
                if home >= 0 and places.encloses(connection.target, home):
                    continue
                for entry in wires.trace(path, connection, stop):
                    source = self._position[entry.source]
                    if home >= 0 and places.home[source] == home:
                        continue
                    unit = self._drawn_unit(source, entry.in_map.indices())
                    yield Search(connection, source, target, unit)

    # -- statistics --------------------------------------------------------------------------

    def _remembered(self, wire: Search, places: Places, quota: int) -> _Found:
        strands = (
            self.model.strands.get(wire.key) if places.closed(wire.source, wire.target) else None
        )
        key = (
            wire.key,
            quota,
            strands is None,
            places.key(wire.source),
            places.key(wire.target),
        )
        found = self._memory.get(key)
        if found is None:
            found = self._find(wire, places, quota, strands)
            self._memory[key] = found
            while len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        else:
            self._memory.move_to_end(key)
        return found

    def _find(self, wire: Search, places: Places, quota: int, strands: Strongest | None) -> _Found:
        connection = wire.connection
        out_label, n_out = places.labels(wire.target, np.arange(connection.out_units))
        in_label, n_in = places.labels(wire.source, wire.in_unit)
        stats = self.model.pyramid.stats(connection, out_label, in_label, n_out, n_in)
        if places.closed(wire.source, wire.target):
            return _bundle(connection, stats, strands, quota)
        out, inn = np.nonzero(stats.count)
        magnitude = stats.sum_sq[out, inn] / stats.count[out, inn]
        keep = strongest_positions(magnitude, min(quota, MOST_OPEN))
        rows = EdgeStats(*(getattr(stats, f)[out, inn][keep] for f in _STATS))
        none = np.full(len(keep), -1, np.int32)
        return _Found(
            out[keep].astype(np.int32),
            inn[keep].astype(np.int32),
            none,
            none,
            rows,
            len(keep),
            len(out),
            float(rows.sum_sq.sum()),
            float(stats.sum_sq.sum()),
        )

    # -- rows --------------------------------------------------------------------------------

    def _bundles(
        self, found: list[_Found], ready: list[Search], waiting: list[Search], places: Places
    ) -> EdgeRows:
        """One row for each pair of closed nodes, however many connections join them."""
        sums: dict[tuple[int, int], list[float]] = {}
        layers: dict[tuple[int, int], tuple[int, int]] = {}
        late: set[tuple[int, int]] = set()
        for wire, f in [*zip(ready, found, strict=True), *((w, None) for w in waiting)]:
            if f is not None and not places.closed(wire.source, wire.target):
                continue
            pair = (places.outer(wire.source), places.outer(wire.target))
            ends = (wire.source, wire.target)
            layers[pair] = ends if layers.get(pair, ends) == ends else (-1, -1)
            row = sums.setdefault(pair, [0.0] * 5)
            if f is None:
                late.add(pair)
                row[4] += wire.connection.weights
                continue
            for k, name in enumerate(_STATS):
                value = float(getattr(f.stats, name)[0])
                row[k] = max(row[k], value) if name == "max_abs" else row[k] + value
        pairs = np.array(list(sums), np.int32).reshape(-1, 2)
        table = np.array(list(sums.values())).reshape(-1, 5)
        ends_of = np.array([layers[p] for p in sums], np.int32).reshape(-1, 2)
        none = np.full(len(pairs), -1, np.int32)
        stats = EdgeStats(
            table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4].astype(np.int64)
        )
        pending = np.array([p in late for p in sums], bool)
        return EdgeRows(
            pairs[:, 0],
            pairs[:, 1],
            none,
            none,
            ends_of[:, 0],
            ends_of[:, 1],
            stats,
            np.zeros(len(pairs), bool),
            pending,
        )

    def _singles(
        self, found: list[_Found], ready: list[Search], places: Places
    ) -> Iterator[EdgeRows]:
        """Edges between visible units, and the strands between closed nodes."""
        for wire, f in zip(ready, found, strict=True):
            closed = places.closed(wire.source, wire.target)
            first = 1 if closed else 0
            if len(f.out_row) <= first:
                continue
            part = slice(first, None)
            n = len(f.out_row) - first
            yield EdgeRows(
                places.rows(wire.source)[f.in_row[part]],
                places.rows(wire.target)[f.out_row[part]],
                f.in_unit[part],
                f.out_unit[part],
                np.full(n, wire.source, np.int32),
                np.full(n, wire.target, np.int32),
                EdgeStats(*(getattr(f.stats, s)[part] for s in _STATS)),
                np.full(n, closed),
                np.zeros(n, bool),
            )

    def _flows(
        self, places: Places, weighted: set[tuple[int, int]], wires: list[Search]
    ) -> EdgeRows:
        """Neutral links: data flows, no weight acts."""
        carried = {(w.source, w.target) for w in wires}
        pairs: dict[tuple[int, int], None] = {}
        for link in self.model.graph.links:
            a, b = self._position[link.source], self._position[link.target]
            if places.home[a] == places.home[b] >= 0 or (a, b) in carried:
                continue
            passed = self._passed(link, a, b, places)
            for pair in passed or [(places.outer(a), places.outer(b))]:
                if pair[0] != pair[1] and pair not in weighted:
                    pairs[pair] = None
        ends = np.array(list(pairs), np.int32).reshape(-1, 2)
        none = np.full(len(ends), -1, np.int32)
        zero = np.zeros(len(ends))
        stats = EdgeStats(zero, zero, zero, zero, np.zeros(len(ends), np.int64))
        no = np.zeros(len(ends), bool)
        return EdgeRows(ends[:, 0], ends[:, 1], none, none, none, none, stats, no, no)

    def _passed(self, link: Link, a: int, b: int, places: Places) -> list[tuple[int, int]]:
        """Rows that a weightless layer joins one by one when its or its source's units show."""
        if not (places.is_open(a) or places.is_open(b)):
            return []
        layer = self.model.graph.layers[b]
        channels = self.model.wires.flow(link)
        units = self.model.units_of(layer).count
        passed = unit_map(
            layer, link.target_input, channels, units, self.model.graph, link.source_output
        )
        if passed is None:
            return []
        index = passed.indices()
        from_label, _ = places.labels(a, self._drawn_unit(a, index))
        to_label, _ = places.labels(b, np.arange(len(index)))
        seen = (from_label >= 0) & (to_label >= 0)
        pairs = np.unique(
            np.stack((places.rows(a)[from_label[seen]], places.rows(b)[to_label[seen]]), 1), axis=0
        )
        return [(int(x), int(y)) for x, y in pairs] if len(pairs) <= MOST_FLOWS else []

    def _drawn_unit(self, layer: int, channel: I4) -> I4:
        """The unit that shows a channel: a recurrent layer speaks through its last gate."""
        units = self.model.units_of(self.model.graph.layers[layer])
        shift = (max(len(units.blocks), 1) - 1) * units.channels
        return np.where(channel >= 0, channel + shift, -1).astype(np.int32)


def _bundle(connection: Connection, stats: Stats, strands: Strongest | None, quota: int) -> _Found:
    """A bundle (first row) with its strongest single connections behind it."""
    drawn = 0 if strands is None else min(quota, len(strands.out))
    parts: dict[str, NDArray[Any]] = {}
    for name in _STATS:
        own = getattr(stats, name)[:1, 0]
        parts[name] = own if strands is None else np.append(own, getattr(strands, name)[:drawn])
    none = np.full(1, -1, np.int32)
    zero = np.zeros(drawn + 1, np.int32)
    out = none if strands is None else np.append(none, strands.out[:drawn])
    inside = none if strands is None else np.append(none, strands.inside[:drawn])
    return _Found(
        zero,
        zero,
        out,
        inside,
        EdgeStats(**parts),
        drawn,
        connection.joined if strands is None else strands.total_pairs,
        float(parts["sum_sq"][1:].sum()),
        float(stats.sum_sq.sum()),
    )


def strongest_positions(magnitude: F8, most: int) -> NDArray[np.int64]:
    """Positions of the largest values, at most `most`, ties to the lower position."""
    if len(magnitude) <= most:
        return np.arange(len(magnitude))
    order = np.argsort(-magnitude, kind="stable")[:most]
    return np.sort(order)


def _concatenate(rows: list[EdgeRows]) -> EdgeRows:
    columns = {f: np.concatenate([getattr(r, f) for r in rows]) for f in _COLUMNS}
    stats = EdgeStats(*(np.concatenate([getattr(r.stats, f) for r in rows]) for f in _STATS))
    return EdgeRows(stats=stats, **columns)
