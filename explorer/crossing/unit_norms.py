"""How large the weights of each unit are: those into it, and those that act on what it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import Sum
from explorer.flow.passing import TooManyWays
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.overlays.unit_overlay import Side, UnitStats
from explorer.pyramid.line_sums import LineSums, line_sums
from explorer.tree.lod import Cut, UnitRange

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Flags = NDArray[np.bool_]
Stopped = Callable[[], bool]
_ROOM = 64 << 20  # bytes of what is known of units
_SMALL = 4 << 20  # weights of a model that are read in no time


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """Weights of the units of a layer; arrays of shape (units,).

    Attributes
    ----------
    sum_sq : float64 array
        Σw² of the finite weights.
    weights : int64 array
        How many weights there are.
    dead : bool array
        Whether all weights of a side are zero, and there are any.
    """

    sum_sq: F8
    weights: I8
    dead: Flags


_Total = tuple[int, int, float, int]  # units, weights, Σw², dead ones


class UnitNorms:
    """Finds what the weights of units amount to, and remembers it.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._layers: Memory[LayerUnits] = Memory(_ROOM, lambda u: 300 + 17 * len(u.dead))
        self._lines: Memory[tuple[LineSums, LineSums]] = Memory(
            _ROOM, lambda lines: 500 + lines[0].nbytes + lines[1].nbytes
        )
        self._nodes: Memory[_Total] = Memory(_ROOM, lambda _: 200)

    def of(self, cut: Cut, side: Side) -> tuple[UnitStats, list[Sum]]:
        """What is known of the boxes of a cut, and what is still to be found out.

        Parameters
        ----------
        cut : Cut
        side : {"in", "out", "both"}

        Returns
        -------
        UnitStats
            One entry per row of the cut; nothing for open nodes.
        list of Sum
        """
        totals: list[_Total | None] = [(0, 0, 0.0, 0)] * len(cut)
        tasks: dict[int, Sum] = {}
        for row in np.flatnonzero(cut.leaf).tolist():
            node, here = int(cut.node[row]), cut.units[row]
            found = self._unit_total(node, here, side) if here else self._nodes.get((node, side))
            totals[row] = found
            if found is None and node not in tasks:
                tasks[node] = self._task(node, side, here is not None)
        known = np.array([total is not None for total in totals], bool)
        units, weights, sum_sq, dead = zip(*(total or (0, 0, 0.0, 0) for total in totals),
                                           strict=True)  # fmt: skip
        counts = (np.array(values, np.int64) for values in (units, weights, dead))
        many, numbers, still = counts
        return UnitStats(many, numbers, np.array(sum_sq, float), still, known), list(tasks.values())

    def _task(self, node: int, side: Side, opened: bool) -> Sum:
        model = self._model
        first, stop = model.hierarchy.spans[node].tolist()
        key = ("units", node, side, opened)
        layers = list(self._weighted(first, stop)) if stop - first < 64 else []
        own = sum(int(model.table.weights[list(model.table.of_layer(la))].sum()) for la in layers)
        # What a unit sends may be weighed far away: nobody waits for that in a large model.
        small = int(model.table.weights.sum()) <= _SMALL
        weights = own if layers and (side == "in" or small) else int(model.table.weights.sum())

        def run(stopped: Stopped) -> None:
            total = self._node_total(first, stop, side, stopped)
            if total is not None:
                self._nodes.put((node, side), total)

        def done() -> bool:
            if opened:
                return self._known(model.hierarchy.order[first], side) is not None
            return (node, side) in self._nodes

        return Sum(key, weights, run, done)

    def _weighted(self, first: int, stop: int) -> Iterator[int]:
        """Layers at these places whose units have weights, or may send to some."""
        passing = self._model.passing
        return (layer for layer in passing.order[first:stop] if passing.ends(layer))

    # -- a node ------------------------------------------------------------------------------

    def _unit_total(self, node: int, here: UnitRange, side: Side) -> _Total | None:
        """Of some units of a layer; ``None`` where they have not been looked at."""
        layer = self._model.hierarchy.order[int(self._model.hierarchy.spans[node, 0])]
        found = self._known(layer, side)
        if found is None:
            return None
        part = slice(here.start, here.start + here.count)
        weights = found.weights[part]
        return (
            int(np.count_nonzero(weights)),
            int(weights.sum()),
            float(found.sum_sq[part].sum()),
            int(np.count_nonzero(found.dead[part])),
        )

    def _known(self, layer: int, side: Side) -> LayerUnits | None:
        if side != "both":
            return self._layers.get((layer, side))
        sides = self._layers.get((layer, "in")), self._layers.get((layer, "out"))
        return None if sides[0] is None or sides[1] is None else _both(sides[0], sides[1])

    def _node_total(self, first: int, stop: int, side: Side, stopped: Stopped) -> _Total | None:
        """Look at all layers at these places; ``None`` when it was stopped."""
        units, weights, dead, sum_sq = 0, 0, 0, 0.0
        for layer in self._weighted(first, stop):
            if stopped():
                return None
            if side == "both":
                found = _both(self._layer(layer, "in"), self._layer(layer, "out"))
            else:
                found = self._layer(layer, side)
            units += int(np.count_nonzero(found.weights))
            weights += int(found.weights.sum())
            sum_sq += float(found.sum_sq.sum())
            dead += int(np.count_nonzero(found.dead))
        return units, weights, sum_sq, dead

    # -- a layer -----------------------------------------------------------------------------

    def _layer(self, layer: int, side: Side) -> LayerUnits:
        look = self._incoming if side == "in" else self._outgoing
        return self._layers.find((layer, side), lambda: look(layer))

    def _incoming(self, layer: int) -> LayerUnits:
        model = self._model
        sums = _Sums(model.units_of(model.graph.layers[layer]).count)
        for number in model.table.of_layer(layer):
            lines = self._lines_of(number)[0]
            sums.add_at(np.arange(min(sums.size, len(lines.weights))), lines)
        return sums.result()

    def _outgoing(self, layer: int) -> LayerUnits:
        model = self._model
        sums = _Sums(model.units_of(model.graph.layers[layer]).count)
        for number, maps in self._reached(layer).items():
            fed = self._lines_of(number)[1]
            earlier: list[I4] = []
            for units in maps:  # a weight counts once, also where it is reached on two ways
                inside = np.where(units < sums.size, units, np.int32(-1))
                for other in earlier:
                    inside = np.where(inside == other, np.int32(-1), inside)
                earlier.append(inside)
                sums.add_at(inside, fed)
        return sums.result()

    def _lines_of(self, number: int) -> tuple[LineSums, LineSums]:
        """What the weights of each out unit and of each in unit of a connection amount to."""
        model = self._model
        connection = model.table.connections[number]
        return self._lines.find(number, lambda: line_sums(model.pyramid, connection))

    def _reached(self, layer: int) -> dict[int, list[I4]]:
        """By number of a connection: the layer's unit behind each of its in units, -1 for none.

        Nothing where units reach a tensor on more ways than can be told apart.
        """
        model = self._model
        shift = model.shift(layer)
        everywhere = (0, len(model.passing.order))
        try:
            found = model.passing.ways(everywhere, model.passing.out(layer), shift)
        except TooManyWays:
            found = {}
        for number in model.table.of_layer(layer):
            connection = model.table.connections[number]
            if connection.input < 0:  # from the layer to itself
                own = np.arange(connection.in_units, dtype=np.int32) + np.int32(shift)
                found.setdefault(number, []).append(own)
        return found


class _Sums:
    """Adds up the weights of units."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._sum_sq, self._largest = np.zeros(size), np.zeros(size)
        self._weights, self._wrong = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def add_at(self, units: NDArray[np.integer], lines: LineSums) -> None:
        """Add what is known of some lines to the units named, -1 for none."""
        seen = np.flatnonzero(units >= 0)
        at = units[seen]
        np.add.at(self._sum_sq, at, lines.sum_sq[seen])
        np.maximum.at(self._largest, at, lines.max_abs[seen])
        np.add.at(self._weights, at, lines.weights[seen])
        np.add.at(self._wrong, at, lines.non_finite[seen])

    def result(self) -> LayerUnits:
        """What they come to."""
        zero = (self._largest == 0) & (self._wrong == 0)
        return LayerUnits(self._sum_sq, self._weights, zero & (self._weights > 0))


def _both(one: LayerUnits, other: LayerUnits) -> LayerUnits:
    """Units that are dead on either side."""
    return LayerUnits(one.sum_sq + other.sum_sq, one.weights + other.weights, one.dead | other.dead)
