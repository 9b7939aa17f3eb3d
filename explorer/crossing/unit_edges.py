"""Edges where the units of a layer show: which weights join them, and where data just flows."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.coverage import coverage
from explorer.crossing.older import Older
from explorer.crossing.origins import OfUnits
from explorer.crossing.places import Places
from explorer.crossing.rows import Sum
from explorer.crossing.unit_sides import Question, UnitWays
from explorer.crossing.unit_sums import UnitSums
from explorer.crossing.unit_tables import UnitTables
from explorer.flow.passing import TooManyWays, along
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.pyramid.pyramid import READ_AT_ONCE
from explorer.weights.unit_maps import unit_map
from explorer.weights.wires import carried

I4 = NDArray[np.int32]
Grid = NDArray[np.bool_]
MOST_FLOWS = 1024  # unit-to-unit links shown between two layers
AT_ONCE = 24
"""Connections summed while a person waits."""
_ROOM = 64 << 20  # bytes of sums, and as many of ways


class UnitEdges:
    """Finds the edges at layers that are open into units, and remembers them.

    Parameters
    ----------
    model : OpenModel
    older : Older, optional
        Where two files are compared.
    """

    def __init__(self, model: OpenModel, older: Older | None = None) -> None:
        self._model = model
        self._tables = UnitTables(model, older)
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
        into: dict[int, list[int]] = {}  # links by the input that they lead to
        for k, port in zip(links.tolist(), model.graph.link_ports[links, 1].tolist(), strict=True):
            into.setdefault(port, []).append(k)
        for number in table.of_layer(layer):
            connection = table.connections[number]
            if connection.input < 0 and source == target:
                units = np.arange(connection.in_units, dtype=np.int32) + np.int32(shift)
                found[number] = [units]
            for k in into.get(connection.input, ()):
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
        passing = model.passing
        direct = frozenset(
            k for k in chosen if any(passing.feeds(k, n) is not None for n in passing.reading(k))
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
        asked, (source, target) = Question(places, rows, key, ways), rows
        key = (key, places.key(source), places.key(target))
        found = self._sums.get(key)
        if found is not None:
            return found

        def run(_: Callable[[], bool]) -> None:
            self._sums.put(key, self._tables.answer(asked))

        many = sum(len(way) for _, way in ways.ways) > AT_ONCE
        if many or self._tables.nbytes_to_read(asked) > READ_AT_ONCE:
            weights = int(self._model.table.weights[ways.numbers].sum())
            return Sum(("sum", key), weights, run, lambda: key in self._sums)
        return self._sums.put(key, self._tables.answer(asked))

    def origin(
        self, places: Places, rows: tuple[int, int], key: Hashable, ways: UnitWays, sums: UnitSums
    ) -> OfUnits:
        """Which weights the pairs of `sums` stand for."""
        table, (source, target) = self._model.table, rows
        return OfUnits(
            (key, places.key(source), places.key(target)),
            lambda: Question(places, rows, key, ways).labelled(table),
            sums.joined.shape,
            sums.out,
            sums.inside,
            len(sums.out),
            ways.numbers,
        )

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
        heads = self._model.graph.link_ends[links, 1]
        for k in links[self._model.passing.all_passes[heads]].tolist():
            if k not in direct:
                self._pass(places, rows, k, grid)
                if grid.all():
                    break
        unclear = len(direct) < len(links) and not grid.any()
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


def _bytes_of_ways(ways: UnitWays) -> int:
    return 500 + sum(a.nbytes + 100 for _, maps in ways.ways for a in maps)


def _bytes_of_sums(sums: UnitSums) -> int:
    return 1000 + sums.joined.nbytes + 65 * len(sums.out)
