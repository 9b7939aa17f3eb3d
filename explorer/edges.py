"""From a cut to the edges that cross it: which weights join which visible nodes, how strongly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.connections import Connection
from explorer.crossing import STATS, Crossing, EdgeRows, Search, concatenate
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
    non_finite: int


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
        self._ways: dict[tuple[str, int], list[Search]] = {}
        self._room = _REMEMBERED

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
        self._room = max(_REMEMBERED, 2 * len(wires))
        ready = [w for w in wires if self.model.pyramid.ready(w.connection)]
        waiting = [w for w in wires if not self.model.pyramid.ready(w.connection)]
        weight = [1 if places.closed(w.source, w.target) else 8 for w in ready]
        unit = budget / max(sum(weight), 1)
        found = [
            self._remembered(w, places, int(unit * share))
            for w, share in zip(ready, weight, strict=True)
        ]
        rows = [self._bundles(found, ready, waiting, places), *self._singles(found, ready, places)]
        ends = np.concatenate([np.stack((r.source, r.target), axis=1) for r in rows])
        weighted = set(map(tuple, np.unique(ends, axis=0).tolist()))
        rows.append(self._flows(places, weighted, wires))
        missing = {id(w.connection): w.connection for w in waiting}
        searches = tuple(
            w
            for w in ready
            if places.closed(w.source, w.target) and w.key not in self.model.strands
        )
        return Crossing(
            concatenate(rows),
            tuple(missing.values()),
            searches,
            sum(f.shown for f in found),
            sum(f.total for f in found),
            sum(f.shown_sum_sq for f in found),
            sum(f.total_sum_sq for f in found),
            sum(
                {w.connection.key: f.non_finite for w, f in zip(ready, found, strict=True)}.values()
            ),
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
        for path in self.model.weighted:
            home = int(places.home[self._position[path]])
            if home >= 0 and places.encloses(path, home):
                continue
            # Which layers a way back ends at depends only on the node that hides the target.
            key = (path, int(places.node[home]) if home >= 0 else -1)
            if key not in self._ways:
                self._ways[key] = self._ways_into(path, home, places)
            yield from self._ways[key]

    def _ways_into(self, path: str, home: int, places: Places) -> list[Search]:
        def stop(p: str) -> bool:
            # What shows by itself (elsewhere, or open into units) is what the edge comes from.
            return home < 0 or int(places.home[self._position[p]]) != home

        found = []
        target = self._position[path]
        for connection in self.model.wires.connections(path):
            for entry in self.model.wires.trace(path, connection, stop):
                source = self._position[entry.source]
                if home < 0 or places.home[source] != home:
                    unit = self._drawn_unit(source, entry.in_map.indices())
                    found.append(Search(connection, source, target, unit))
        return found

    # -- statistics --------------------------------------------------------------------------

    def _remembered(self, wire: Search, places: Places, quota: int) -> _Found:
        strands = (
            self.model.strands.get(wire.key) if places.closed(wire.source, wire.target) else None
        )
        quota = min(quota, STRANDS if places.closed(wire.source, wire.target) else MOST_OPEN)
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
            while len(self._memory) > self._room:
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
        out, inn = np.nonzero(stats.count + stats.non_finite)
        magnitude = stats.sum_sq[out, inn] / np.maximum(stats.count[out, inn], 1)
        keep = strongest_positions(magnitude, quota)
        rows = EdgeStats(*(getattr(stats, f)[out, inn][keep] for f in STATS))
        none = np.full(len(keep), -1, np.int32)
        # A line between groups stands for many connections: it is not one of those told singly.
        single = places.single(wire.target)[out] & places.single(wire.source)[inn]
        return _Found(
            out[keep].astype(np.int32),
            inn[keep].astype(np.int32),
            none,
            none,
            rows,
            int(single[keep].sum()),
            int(single.sum()),
            float(rows.sum_sq[single[keep]].sum()),
            float(stats.sum_sq[out, inn][single].sum()),
            int(stats.non_finite.sum()),
        )

    # -- rows --------------------------------------------------------------------------------

    def _bundles(
        self, found: list[_Found], ready: list[Search], waiting: list[Search], places: Places
    ) -> EdgeRows:
        """One row for each pair of closed nodes, however many connections join them.

        A weight counts once, also where it reaches one node on several ways (through a residual
        sum, or because a shared layer is called twice).
        """
        sums: dict[tuple[int, int], list[float]] = {}
        layers: dict[tuple[int, int], tuple[int, int]] = {}
        late: set[tuple[int, int]] = set()
        ways: dict[tuple[tuple[int, int], Hashable], list[tuple[Search, _Found | None]]] = {}
        for wire, f in [*zip(ready, found, strict=True), *((w, None) for w in waiting)]:
            if f is not None and not places.closed(wire.source, wire.target):
                continue
            pair = (places.outer(wire.source), places.outer(wire.target))
            ends = (wire.source, wire.target)
            layers[pair] = ends if layers.get(pair, ends) == ends else (-1, -1)
            ways.setdefault((pair, wire.connection.key), []).append((wire, f))
        for (pair, _), group in ways.items():
            row = sums.setdefault(pair, [0.0] * len(STATS))
            stats = self._union(group)
            if stats is None:
                late.add(pair)
                row[4] += group[0][0].connection.weights
                continue
            for k, name in enumerate(STATS):
                value = float(getattr(stats, name)[0])
                row[k] = max(row[k], value) if name == "max_abs" else row[k] + value
        pairs = np.array(list(sums), np.int32).reshape(-1, 2)
        table = np.array(list(sums.values())).reshape(-1, len(STATS))
        ends_of = np.array([layers[p] for p in sums], np.int32).reshape(-1, 2)
        none = np.full(len(pairs), -1, np.int32)
        counts = table[:, 4:].astype(np.int64)
        all_stats = EdgeStats(
            table[:, 0], table[:, 1], table[:, 2], table[:, 3], counts[:, 0], counts[:, 1]
        )
        pending = np.array([p in late for p in sums], bool)
        return EdgeRows(
            pairs[:, 0],
            pairs[:, 1],
            none,
            none,
            ends_of[:, 0],
            ends_of[:, 1],
            all_stats,
            np.zeros(len(pairs), bool),
            pending,
        )

    def _union(self, group: list[tuple[Search, _Found | None]]) -> EdgeStats | None:
        """Statistics of the weights that several ways into one connection use; None if unread."""
        first, found = group[0]
        if found is None:
            return None
        if len(group) == 1:
            return found.stats
        key = ("union", *sorted(hash(wire.key) for wire, _ in group))
        known = self._memory.get(key)
        if known is None:
            used = np.any([wire.in_unit >= 0 for wire, _ in group], axis=0)
            stats = self.model.pyramid.stats(
                first.connection,
                np.zeros(first.connection.out_units, np.int32),
                np.where(used, 0, -1).astype(np.int32),
                1,
                1,
            )
            known = self._memory[key] = _bundle(first.connection, stats, None, 0)
        return known.stats

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
                self._known_unit(wire.source, f.in_unit[part]),
                self._known_unit(wire.target, f.out_unit[part]),
                np.full(n, wire.source, np.int32),
                np.full(n, wire.target, np.int32),
                EdgeStats(*(getattr(f.stats, s)[part] for s in STATS)),
                np.full(n, closed),
                np.zeros(n, bool),
            )

    def _known_unit(self, layer: int, unit: I4) -> I4:
        """Units that the layer is known to have; -1 for others (its shape is not recorded)."""
        count = self.model.units_of(self.model.graph.layers[layer]).count
        return np.where(unit < count, unit, -1).astype(np.int32)

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
        none_at_all = np.zeros(len(ends), np.int64)
        stats = EdgeStats(zero, zero, zero, zero, none_at_all, none_at_all)
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
    for name in STATS:
        own = getattr(stats, name)[:1, 0]
        # Only finite weights take part in the search for the strongest.
        more = np.zeros(drawn, np.int64) if name == "non_finite" else getattr(strands, name, own)
        parts[name] = np.append(own, more[:drawn])
    none = np.full(1, -1, np.int32)
    zero = np.zeros(drawn + 1, np.int32)
    out = none if strands is None else np.append(none, strands.out[:drawn])
    inside = none if strands is None else np.append(none, strands.inside[:drawn])
    return _Found(
        zero,
        zero,
        out.astype(np.int32),
        inside.astype(np.int32),
        EdgeStats(**parts),
        drawn,
        connection.joined if strands is None else strands.total_pairs,
        float(parts["sum_sq"][1:].sum()),
        float(stats.sum_sq.sum()),
        int(stats.non_finite.sum()),
    )


def strongest_positions(magnitude: F8, most: int) -> NDArray[np.int64]:
    """Positions of the largest values, at most `most`, ties to the lower position."""
    if len(magnitude) <= most:
        return np.arange(len(magnitude))
    order = np.argsort(-magnitude, kind="stable")[:most]
    return np.sort(order)
