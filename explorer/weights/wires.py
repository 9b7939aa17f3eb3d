"""What leads where: links and connections by layer, and the way back from a kernel to its units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Link, Network
from explorer.weights.connections import Connection, Matrix, connections_of
from explorer.weights.unit_maps import LARGEST_MAP, UnitMap, unit_map
from explorer.weights.units import (
    Units,
    axis_length,
    channel_axis,
    incoming,
    memo,
    outgoing,
    units_of,
    vocabulary,
)

MOST_STEPS = 20_000
"""Steps of one walk back; where a walk would be longer it ends at the layers it has reached."""


# Connections of one layer; of each of their matrices the number of its weight, and the rest.
_Model = list[tuple[Connection, list[tuple[int, tuple[Any, ...]]]]]


@dataclass(frozen=True, eq=False)
class Entry:
    """Where units that a connection reads come from.

    Attributes
    ----------
    source : str
        Path of the layer that produces them.
    in_map : UnitMap
        From each in unit of the connection to a channel of `source`, ``-1`` for none.
    """

    source: str
    in_map: UnitMap


class Wires:
    """Index of an expanded network; get it from `wires`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._connections: dict[str, tuple[Connection, ...]] = {}
        self._units: dict[str, Units] = {}

    def incoming(self, path: str) -> tuple[Link, ...]:
        """Links into a layer."""
        return incoming(self.network).of(path)

    def outgoing(self, path: str) -> tuple[Link, ...]:
        """Links out of a layer."""
        return outgoing(self.network).of(path)

    def connections(self, path: str) -> tuple[Connection, ...]:
        """Connections into a layer; empty where its links are neutral."""
        if path not in self._connections:
            layer = self.network.layer_by_path.get(path)
            self._connections[path] = () if layer is None else connections_of(layer)
        return self._connections[path]

    def connect(self, alike: NDArray[np.int64]) -> list[str]:
        """Make the connections of all layers, each kind of layer worked out once.

        Parameters
        ----------
        alike : int64 array, shape (layers,)
            Equal for layers that differ in nothing but names and where their bytes lie.

        Returns
        -------
        list of str
            Paths of the layers that have connections, in the order of the network.
        """
        made: dict[int, _Model] = {}
        weighted: list[str] = []
        for layer, number in zip(self.network.layers, alike.tolist(), strict=True):
            known = made.get(number)
            if known is None:
                found = connections_of(layer)
                made[number] = _model(layer, found)
            else:
                found = tuple([_moved(layer, c, pieces) for c, pieces in known]) if known else ()
            self._connections[layer.path] = found
            if found:
                weighted.append(layer.path)
        return weighted

    def units(self, path: str) -> Units:
        """Units of a layer."""
        if path not in self._units:
            self._units[path] = units_of(self.network.layer_by_path[path], self.network)
        return self._units[path]

    def flow(self, link: Link) -> int:
        """Channels of the tensor that flows along a link; 0 when unknown."""
        source = self.network.layer_by_path.get(link.source)
        if source is None:
            return 0
        units = self.units(link.source)
        whole = self.connections(link.source) or units.heads or vocabulary(source, self.network)
        if link.shape is None or (whole and link.source_output == 0):
            return units.channels
        return axis_length(link.shape, channel_axis(source, self.network)) or units.channels

    def trace(
        self, layer_path: str, connection: Connection, stop: Callable[[str], bool]
    ) -> tuple[Entry, ...]:
        """Go back from a connection's input through weightless layers to the units it reads.

        Parameters
        ----------
        layer_path : str
            The connection's target.
        connection : Connection
        stop : callable (str) -> bool
            True for a layer at which the way back ends even though it has no weights.

        Returns
        -------
        tuple of Entry
            One per layer reached: a stop, a layer with connections of its own, an input, or one
            whose map is unknown. All calls of a shared layer are followed. Where the same layer is
            reached on two ways that cannot be joined into one map, it has two entries.
        """
        if connection.input < 0:
            return (Entry(layer_path, UnitMap(connection.in_units, connection.in_units)),)
        found: list[Entry] = []
        seen: set[tuple[str, int, tuple[int, bytes]]] = set()
        todo: list[tuple[Link, UnitMap]] = []
        for link in incoming(self.network).into(layer_path, connection.input):
            first = carried(connection.in_units, self.flow(link))
            if first is not None:
                todo.append((link, first))
        todo.reverse()
        while todo:
            link, way = todo.pop()
            mark = (link.source, link.source_output, way.key)
            layer = self.network.layer_by_path.get(link.source)
            if mark in seen or layer is None:
                continue
            seen.add(mark)
            onward = [] if len(seen) > MOST_STEPS else self._back(layer, link, way, stop)
            if onward:
                todo.extend(reversed(onward))
            else:
                found.append(Entry(link.source, way))
        return _joined(found)

    def _back(
        self, layer: Layer, link: Link, way: UnitMap, stop: Callable[[str], bool]
    ) -> list[tuple[Link, UnitMap]]:
        """Links from which a weightless layer has its units; empty where the way back ends."""
        if layer.op == "InputLayer" or stop(layer.path) or self.connections(layer.path):
            return []
        onward = []
        for back in self.incoming(layer.path):
            passed = unit_map(layer, back.target_input, self.flow(back), way.source,
                              self.network, link.source_output)  # fmt: skip
            if passed is not None and passed.size == (way.source or passed.size):
                onward.append((back, way.then(passed)))
        return [(k, m) for k, m in onward if m.index is None or m.index.max(initial=-1) >= 0]


def carried(count: int, channels: int) -> UnitMap | None:
    """From the in units of a kernel to the channels of the tensor it reads, if they fit."""
    if channels in (0, count):
        return UnitMap(count, count)
    if count % channels == 0 and count <= LARGEST_MAP:  # contracted over time and channels
        return UnitMap(count, channels, (np.arange(count) % channels).astype(np.int32))
    return None


def _joined(entries: list[Entry]) -> tuple[Entry, ...]:
    """Entries of the same source joined where no in unit is claimed for two units of it."""
    made: dict[str, list[UnitMap]] = {}
    for entry in entries:
        maps = made.setdefault(entry.source, [])
        for at, other in enumerate(maps):
            if entry.in_map.key == other.key:
                break
            a, b = entry.in_map.indices(), other.indices()
            if not np.any((a >= 0) & (b >= 0) & (a != b)):
                maps[at] = UnitMap(len(a), max(entry.in_map.source, other.source), np.maximum(a, b))
                break
        else:
            maps.append(entry.in_map)
    return tuple(Entry(source, way) for source, maps in made.items() for way in maps)


def _model(layer: Layer, connections: tuple[Connection, ...]) -> _Model:
    """A layer's connections as a model for those of layers like it."""
    at = {id(weight): i for i, weight in enumerate(layer.weights)}
    return [
        (c, [(at[id(m.weight)], (m.offset, m.taps, m.tap_stride, m.major, m.major_stride, m.minor,
              m.transposed, m.out_start, m.in_start, m.diagonal, m.out_step, m.in_step,
              m.minor_stride))
             for m in c.matrices])
        for c in connections
    ]  # fmt: skip


def _moved(layer: Layer, c: Connection, pieces: list[tuple[int, tuple[Any, ...]]]) -> Connection:
    """The connection of a layer that is like another, from that of the other."""
    own = layer.weights
    matrices = tuple([Matrix(own[at], *rest) for at, rest in pieces])
    return Connection(layer.path, c.input, c.name, c.out_units, c.in_units, matrices)


def wires(network: Network) -> Wires:
    """The index of an expanded network, made once and kept beside it."""
    made: Wires = memo(network, "_wires", lambda: Wires(network))
    return made
