"""Edges where the units of a layer show: which weights join them, and where data just flows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.coverage import coverage
from explorer.crossing.older import Older, rms
from explorer.crossing.places import Places
from explorer.crossing.rows import STATS, Sum
from explorer.flow.passing import TooManyWays, along
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.overlays import EdgeStats
from explorer.pyramid.pyramid import READ_AT_ONCE
from explorer.weights.unit_maps import unit_map
from explorer.weights.wires import carried

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Grid = NDArray[np.bool_]
MOST_OPEN = 2500  # edges shown of one pair whose units are visible
MOST_FLOWS = 1024  # unit-to-unit links shown between two layers
_SAMPLE = 8  # times as many values as are wanted tell about how large those are
AT_ONCE = 24
"""Connections summed while a person waits."""
_ROOM = 64 << 20  # bytes of sums, and as many of ways


@dataclass(frozen=True, eq=False)
class UnitWays:
    """Which units reach the weights of a layer, or of all layers inside a closed node.

    Attributes
    ----------
    ways : tuple of (int, tuple of int32 array, shape (in_units,))
        Number of a connection; the source's unit behind each of its in units, -1 for none;
        several where an in unit carries several.
    coarse : bool
        Whether the source's units could not be told apart: its unit is then 0.
    direct : frozenset of int
        Links that end at those weights themselves.
    """

    ways: tuple[tuple[int, tuple[I4, ...]], ...]
    coarse: bool
    direct: frozenset[int]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the connections."""
        return [number for number, _ in self.ways]


@dataclass(frozen=True, eq=False)
class UnitSums:
    """Sums of the weights between what shows of two rows.

    Attributes
    ----------
    out, inside : int32 array, shape (m,)
        Positions among the rows shown of the target and of the source, strongest pair first.
    stats : EdgeStats
        Of the strongest pairs.
    joined : bool array, shape (shown of the target, shown of the source)
        Which pairs are joined by weights, drawn or not.
    single : bool array, shape (m,)
        Which of the strongest stand for a single unit at both ends.
    total : int
        Joined pairs of single units.
    total_sum_sq : float
        Their Σw².
    non_finite : int
    """

    out: I4
    inside: I4
    stats: EdgeStats
    joined: Grid
    single: Grid
    total: int
    total_sum_sq: float
    non_finite: int


class UnitEdges:
    """Finds the edges at layers that are open into units, and remembers them.

    Parameters
    ----------
    model : OpenModel
    older : Older, optional
        Where two files are compared.
    """

    def __init__(self, model: OpenModel, older: Older | None = None) -> None:
        self._model, self._older = model, older
        self._ways: Memory[UnitWays] = Memory(_ROOM, _bytes_of_ways)
        self._sums: Memory[UnitSums] = Memory(_ROOM, _bytes_of_sums)
        self._flows: Memory[Grid] = Memory(_ROOM >> 2, lambda grid: grid.nbytes + 300)

    # -- which weights -----------------------------------------------------------------------

    def ways(self, places: Places, rows: tuple[int, int], links: I4) -> tuple[Hashable, UnitWays]:
        """The ways of a row's units into the weights of another; one of the two is open.

        Parameters
        ----------
        places : Places
        rows : (int, int)
            Source and target; equal for what flows from a layer to itself.
        links : int32 array
            Numbers of the links from one to the other.

        Returns
        -------
        hashable
            Equal for equal ways.
        UnitWays
        """
        source, target = rows
        opened = bool(places.open[source]), bool(places.open[target])
        nodes = int(places.cut.node[source]), int(places.cut.node[target])
        key = (*nodes, *opened, len(links), hash(links.tobytes()))
        found = self._ways.get(key)
        if found is None:
            find = self._into_layer if opened[1] else self._into_node
            found = self._ways.put(key, find(places, rows, links))
        return key, found

    def _into_layer(self, places: Places, rows: tuple[int, int], links: I4) -> UnitWays:
        """What flows into an open layer: its own inputs, nothing lies between."""
        model, table = self._model, self._model.table
        source, target = rows
        layer = places.layer(target)
        shift = model.shift(places.layer(source)) if places.open[source] else 0
        found: dict[int, list[I4]] = {}
        direct: set[int] = set()
        for number in table.of_layer(layer):
            connection = table.connections[number]
            if connection.input < 0 and source == target:
                units = np.arange(connection.in_units, dtype=np.int32) + np.int32(shift)
                found[number] = [units]
            for k in links.tolist():
                way = model.passing.feeds(k, number)
                if way is None:
                    continue
                direct.add(k)
                units = way.indices() + np.int32(shift)
                if not places.open[source]:
                    units = np.zeros(len(units), np.int32)
                known = found.setdefault(number, [])
                if not any(np.array_equal(units, w) for w in known):
                    known.append(units)
        return UnitWays(tuple((n, tuple(w)) for n, w in found.items()), False, frozenset(direct))

    def _into_node(self, places: Places, rows: tuple[int, int], links: I4) -> UnitWays:
        """What flows from an open layer into a closed node, through weightless layers in it."""
        model, (source, target) = self._model, rows
        span, chosen = places.span(target), links.tolist()
        heads = model.graph.link_ends[links, 1].tolist()
        direct = frozenset(
            k
            for k, layer in zip(chosen, heads, strict=True)
            if any(model.passing.feeds(k, n) is not None for n in model.table.of_layer(layer))
        )
        alike = self._unchanged(span, chosen, model.shift(places.layer(source)))
        if alike is not None:
            return UnitWays(alike, False, direct)
        try:
            found = model.passing.ways(span, chosen, model.shift(places.layer(source)))
        except TooManyWays:
            fed = coverage(model.passing, model.inflow, span, [links])[0]
            inputs = ((n, model.table.connections[n].in_units) for n in fed.whole)
            covered = {n: np.zeros(size, np.int32) for n, size in inputs} | fed.parts
            return UnitWays(tuple((n, (a,)) for n, a in covered.items()), True, direct)
        numbers = sorted(found)
        return UnitWays(tuple((n, tuple(found[n])) for n in numbers), False, direct)

    def _unchanged(
        self, span: tuple[int, int], links: list[int], shift: int
    ) -> tuple[tuple[int, tuple[I4, ...]], ...] | None:
        """The ways of one layer's units into a node that only it feeds, and that changes none."""
        model = self._model
        inflow, passing = model.inflow, model.passing
        sizes = [passing.channels(k) for k in links if passing.leads[k]]
        numbers = inflow.fed(span, len(sizes)) if len(set(sizes)) == 1 and sizes[0] else None
        if numbers is None:
            return None
        units = np.arange(sizes[0], dtype=np.int32) + np.int32(shift)
        made: dict[int, I4] = {}
        found = []
        for number in numbers.tolist():
            count = model.table.connections[number].in_units
            if count not in made:
                way = carried(count, sizes[0])
                assert way is not None  # it is fed
                made[count] = along(units, way)
            found.append((number, (made[count],)))
        return tuple(found)

    # -- statistics --------------------------------------------------------------------------

    def sums(
        self, places: Places, rows: tuple[int, int], key: Hashable, ways: UnitWays
    ) -> UnitSums | Sum:
        """Sums between what shows of two rows; all connections have been read.

        Returns
        -------
        UnitSums or Sum
            What is to be done first, where it would take long.
        """
        source, target = rows
        key = (key, places.key(source), places.key(target))
        found = self._sums.get(key)
        if found is not None:
            return found

        def run() -> None:
            self._sums.put(key, self._add(places, rows, ways))

        many = sum(len(way) for _, way in ways.ways) > AT_ONCE
        if many or self._bytes_to_read(places, rows, ways) > READ_AT_ONCE:
            weights = int(self._model.table.weights[ways.numbers].sum())
            return Sum(("sum", key), weights, run, lambda: key in self._sums)
        return self._sums.put(key, self._add(places, rows, ways))

    def _bytes_to_read(self, places: Places, rows: tuple[int, int], ways: UnitWays) -> int:
        """Bytes of weights that the sums between two rows need of the file."""
        model, (source, target) = self._model, rows
        total = 0
        for number, maps in ways.ways:
            if model.table.nbytes[number] <= READ_AT_ONCE or total > READ_AT_ONCE:
                continue  # it is read in no time, or it is too much already
            connection = model.table.connections[number]
            out = places.labels(target, np.arange(connection.out_units))
            for units in maps:
                inside = np.minimum(units, 0) if ways.coarse else places.labels(source, units)
                total += model.pyramid.cost(connection, out, inside)
        return total

    def _add(self, places: Places, rows: tuple[int, int], ways: UnitWays) -> UnitSums:
        model, (source, target) = self._model, rows
        n_in = 1 if ways.coarse else len(places.shown(source))
        shape = (len(places.shown(target)), n_in)
        total: dict[str, NDArray[Any]] = {}
        before = None if self._older is None else np.zeros((*shape, 2))
        for number, maps in ways.ways:
            connection = model.table.connections[number]
            out = places.labels(target, np.arange(connection.out_units))
            earlier: list[I4] = []
            for units in maps:
                # A weight counts once between two rows, also where it joins them on two ways.
                inside = np.minimum(units, 0) if ways.coarse else places.labels(source, units)
                for other in earlier:
                    inside = np.where(inside == other, np.int32(-1), inside)
                earlier.append(inside)
                stats = model.pyramid.stats(connection, out, inside, *shape)
                for name in STATS:
                    more, grid = getattr(stats, name), total.get(name)
                    if grid is None:
                        total[name] = more  # made for this question alone
                    else:
                        (np.maximum if name == "max_abs" else np.add)(grid, more, out=grid)
                if self._older is not None and before is not None:
                    old = self._older.pyramid.stats(connection, out, inside, *shape)
                    before += np.stack((old.sum_sq, old.count), axis=-1)
        total = total or {name: np.zeros(shape) for name in STATS}
        joined = total["count"] + total["non_finite"] > 0
        alone = np.zeros(1, bool) if ways.coarse else places.single(source)
        return _strongest(total, joined, places.single(target)[:, None] & alone, before)

    # -- flows -------------------------------------------------------------------------------

    def flows(
        self,
        places: Places,
        rows: tuple[int, int],
        key: Hashable,
        links: I4,
        direct: frozenset[int],
    ) -> Grid:
        """Which shown rows pass units on to which without weights.

        Returns
        -------
        bool array, shape (shown of the target, shown of the source)
            Shape (0, 0) where only the rows as a whole are linked, because the units' way is not
            known or there are too many to draw; all False where weights act on every link.
        """
        source, target = rows
        key = (key, places.key(source), places.key(target))
        found = self._flows.get(key)
        if found is None:
            found = self._flows.put(key, self._flow(places, rows, links, direct))
        return found

    def _flow(
        self, places: Places, rows: tuple[int, int], links: I4, direct: frozenset[int]
    ) -> Grid:
        source, target = rows
        grid = np.zeros((len(places.shown(target)), len(places.shown(source))), bool)
        linked = False
        for k in links.tolist():
            if k in direct:
                continue
            linked = True
            if not grid.all():
                self._pass(places, rows, k, grid)
        unclear = linked and not grid.any()
        return np.zeros((0, 0), bool) if unclear or grid.sum() > MOST_FLOWS else grid

    def _pass(self, places: Places, rows: tuple[int, int], link: int, grid: Grid) -> None:
        """Mark the pairs of rows that one link joins through the weightless layer behind it."""
        model, (source, target) = self._model, rows
        row = model.graph.links[link]
        tail, head = model.graph.link_ends[link].tolist()
        layer = model.graph.layers[head]
        passed = unit_map(
            layer,
            row.target_input,
            model.passing.channels(link),
            model.units_of(layer).count,
            model.graph,
            row.source_output,
        )
        if passed is None:
            return
        units = passed.indices()
        inside = places.labels(source, np.where(units >= 0, units + model.shift(tail), -1))
        out = places.labels(target, np.arange(len(units)))
        seen = (inside >= 0) & (out >= 0)
        grid[out[seen], inside[seen]] = True


def _strongest(
    total: dict[str, NDArray[Any]], joined: Grid, alone: Grid, before: F8 | None = None
) -> UnitSums:
    """The strongest pairs, strongest first; equal ones by position."""
    # Of a million pairs only some are drawn: all are compared, only those are sorted. They are
    # compared as they lie in memory, where the rows shown of the target are side by side.
    sum_sq, count, there = total["sum_sq"].T, total["count"].T, joined.T
    strength = np.where(there, sum_sq / np.maximum(count, 1), -1.0).ravel()
    pairs = int(np.count_nonzero(joined))
    best = np.flatnonzero(strength >= (_least(strength, MOST_OPEN) if pairs > MOST_OPEN else 0.0))
    inside, out = np.divmod(best, joined.shape[0])
    order = np.lexsort((inside, out, -strength[best]))[:MOST_OPEN]
    out, inside = out[order], inside[order]
    single = alone & joined
    sum_sq, total_sum, sum_abs, max_abs, count, bad = (total[s][out, inside] for s in STATS)
    return UnitSums(
        out.astype(np.int32),
        inside.astype(np.int32),
        EdgeStats(
            sum_sq,
            total_sum,
            sum_abs,
            max_abs,
            count.astype(np.int64),
            bad.astype(np.int64),
            None if before is None else rms(before[out, inside]),
        ),
        joined,
        single[out, inside],
        int(np.count_nonzero(single)),
        float(np.sum(total["sum_sq"], where=single)),
        int(total["non_finite"].sum()),
    )


def _least(values: F8, most: int) -> F8:
    """The smallest of the `most` largest of some values, of which there are more."""
    # What is surely not among them is left out first: a few of all tell about where to look.
    few = values[:: len(values) // (_SAMPLE * most) or 1]
    rank = min(2 * most * len(few) // len(values) + 8, len(few))
    bound = np.partition(few, len(few) - rank)[len(few) - rank]
    likely = values[values >= bound]
    if len(likely) < most:
        likely = values
    return np.asarray(np.partition(likely, len(likely) - most)[len(likely) - most])


def _bytes_of_ways(ways: UnitWays) -> int:
    return 500 + sum(a.nbytes + 100 for _, maps in ways.ways for a in maps)


def _bytes_of_sums(sums: UnitSums) -> int:
    return 1000 + sums.joined.nbytes + 65 * len(sums.out)
