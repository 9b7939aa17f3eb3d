"""How units that flow into a closed node reach the weights inside it.

One pass over the links that are reached, in the order of the flow, however many weighted layers
the node holds: a walk back from each of them would be quadratic on a residual stream.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.flow.clear_layers import SAME, clear_layers, link_sizes
from explorer.flow.link_index import ranges
from explorer.pyramid.connection_table import ConnectionTable
from explorer.tree.hierarchy import Hierarchy
from explorer.tree.likeness import classes
from explorer.weights.unit_maps import LARGEST_MAP, UnitMap, passes, unit_map
from explorer.weights.wires import Wires, carried

I4 = NDArray[np.int32]
MOST_WAYS = 32
"""Different ways of one source into one tensor that are told apart."""
Port = tuple[int, int, tuple[int, ...]]  # output, channels, links


class TooManyWays(Exception):  # noqa: N818 - not an error: the caller shows less detail
    """Units reach a tensor on more ways than can be told apart."""


class Passing:
    """How units pass through the weightless layers of a model.

    Parameters
    ----------
    hierarchy : Hierarchy
    wires : Wires
    table : ConnectionTable
        All of the same expanded network.

    Attributes
    ----------
    table : ConnectionTable
    place : list of int
        Place in the order of the leaves of each layer.
    order : tuple of int
        Layer at each place.
    source, target : list of int
        Layer that each link comes from, and leads to.
    all_ends, all_passes : bool array, shape (layers,)
        What `ends` and `passes` tell of each layer.
    leads : list of bool
        Whether any connection may lie behind each link; `explorer.flow.inflow.Inflow` finds it out.
    """

    def __init__(self, hierarchy: Hierarchy, wires: Wires, table: ConnectionTable) -> None:
        network = hierarchy.network
        ends = network.link_ends
        self._network, self._wires, self.table = network, wires, table
        self._layers = network.layers
        self._links = network.links
        self.place: list[int] = hierarchy.place.tolist()
        self.order = hierarchy.order
        self.source: list[int] = ends[:, 0].tolist()
        self.target: list[int] = ends[:, 1].tolist()
        self._out = np.argsort(ends[:, 0], kind="stable").astype(np.int32)
        self._into = np.argsort(ends[:, 1], kind="stable").astype(np.int32)
        firsts = np.searchsorted(ends[self._into, 1], np.arange(len(self._layers) + 1))
        self._firsts: list[int] = firsts.tolist()
        starts = np.searchsorted(ends[self._out, 0], np.arange(len(self._layers) + 1))
        self._starts: list[int] = starts.tolist()
        sizes = link_sizes(network, table)
        self._sizes: list[int] = sizes.tolist()
        self._unknown: set[int] = set()
        self.leads: list[bool] = [True] * len(self._links)
        self._reading: dict[int, dict[int, list[int]]] = {}
        self._ports: dict[int, tuple[Port, ...]] = {}
        self._steps: dict[tuple[int, int, int], UnitMap | None] = {}
        like = classes(network)
        self.all_ends = like.each(lambda la: la.op == "InputLayer")
        self.all_ends[table.layer] = True
        self.all_passes = like.each(lambda la: passes(la.op)) & ~self.all_ends
        # What is not seen at a glance is none, unless a closer look at it tells otherwise.
        closer = like.each(lambda la: la.op in SAME)
        self._ends: list[bool] = self.all_ends.tolist()
        self._passes: list[bool] = self.all_passes.tolist()
        clear = clear_layers(network, sizes)
        self._clear: list[bool | None] = [
            seen or (None if look else False)
            for seen, look in zip(clear.tolist(), closer.tolist(), strict=True)
        ]

    def channels(self, link: int) -> int:
        """Channels of the tensor that flows along a link; 0 when nothing tells."""
        size = self._sizes[link]
        if not size and link not in self._unknown:
            size = self._wires.flow(self._links[link]) or self._wanted(link)
            self._sizes[link] = size
            if not size:
                self._unknown.add(link)
        return size

    def into(self, layer: int) -> list[int]:
        """Links into a layer."""
        links: list[int] = self._into[self._firsts[layer] : self._firsts[layer + 1]].tolist()
        return links

    def out(self, layer: int) -> list[int]:
        """Links out of a layer."""
        links: list[int] = self._out[self._starts[layer] : self._starts[layer + 1]].tolist()
        return links

    def passes(self, layer: int) -> bool:
        """Whether units may pass through a layer."""
        return self._passes[layer]

    def step(self, link: int, output: int, count: int) -> UnitMap | None:
        """From the units of a weightless layer's output to those that a link brings to it.

        Parameters
        ----------
        link : int
            Into the layer.
        output, count : int
            Which output of the layer, and how many channels it has.

        Returns
        -------
        UnitMap or None
            ``None`` when the map is not known.
        """
        layer = self._layers[self.target[link]]
        size = self.channels(link)
        if size == count and count and layer.op in SAME:
            return UnitMap(count, count)
        key = (link, output, count)
        if key not in self._steps:
            into = self._links[link].target_input
            passed = unit_map(layer, into, size, count, self._network, output)
            fits = passed is not None and passed.size == (count or passed.size)
            self._steps[key] = passed if fits else None
        return self._steps[key]

    def clear(self, layer: int) -> bool:
        """Whether every unit passes through a layer to the unit of the same number."""
        known = self._clear[layer]
        if known is None:
            ports = self.ports(layer)
            known = len(ports) == 1 and ports[0][1] > 0
            if known:
                known = all(self.channels(k) == ports[0][1] for k in self.into(layer))
            self._clear[layer] = known
        return known

    def ways(self, span: tuple[int, int], links: Iterable[int], shift: int) -> dict[int, list[I4]]:
        """Which units of one layer the in units of the connections inside a node carry.

        Parameters
        ----------
        span : (first, stop)
            Places of the layers inside the node.
        links : iterable of int
            Links into it from one layer.
        shift : int
            Unit that shows the layer's channel 0.

        Returns
        -------
        dict of int: list of int32 array, shape (in_units,)
            By the number of the connection: the unit behind each in unit, -1 for none; several
            where an in unit carries several.

        Raises
        ------
        TooManyWays
        """
        seeds = [(k, np.arange(self.channels(k), dtype=np.int32) + np.int32(shift)) for k in links]
        return self._spread(span, seeds)

    def _spread(
        self, span: tuple[int, int], seeds: list[tuple[int, I4]]
    ) -> dict[int, list[I4]]:  # fmt: skip
        """Carry labels of units from links forward to all connections that they reach.

        Layers are taken in the order of the leaves, so that each is looked at once; where links
        run backward, again until nothing changes.
        """
        first, stop = span
        found: dict[int, list[I4]] = {}
        kept: dict[tuple[int, int, int], list[I4]] = {}
        arrived: dict[int, list[tuple[int, I4]]] = {}
        queue: list[int] = []
        place, target = self.place, self.target

        def send(link: int, labels: I4) -> None:
            at = place[target[link]]
            if at not in arrived:
                arrived[at] = []
                heapq.heappush(queue, at)
            arrived[at].append((link, labels))

        for link, labels in seeds:
            if len(labels) and self.leads[link]:
                send(link, labels)
        while queue:
            at = heapq.heappop(queue)
            layer, arrivals = self.order[at], arrived.pop(at)
            if self.ends(layer):
                self._feed(arrivals, found)
                continue
            for output, count, links in self.ports(layer):
                onward = [k for k in links if self.leads[k] and first <= place[target[k]] < stop]
                if not onward:
                    continue
                values = kept.setdefault((layer, output, count), [])
                fresh: dict[int, I4] = {}
                for link, labels in arrivals:
                    passed = self.step(link, output, count)
                    if passed is not None:
                        changed = _merge(values, along(labels, passed))
                        if changed >= 0:
                            fresh[changed] = values[changed]
                for value in fresh.values():
                    for k in onward:
                        send(k, value)
        return found

    def ends(self, layer: int) -> bool:
        """Whether units do not pass through a layer unchanged."""
        return self._ends[layer]

    def feeds(self, link: int, number: int) -> UnitMap | None:
        """From a connection's in units to the channels that a link into its layer brings.

        Returns
        -------
        UnitMap or None
            ``None`` where the link leads elsewhere, or its channels do not fit.
        """
        connection = self.table.connections[number]
        if self._links[link].target_input != connection.input:
            return None
        return carried(connection.in_units, self.channels(link))

    def all_feeds(self) -> tuple[I4, I4]:
        """Links, and the connections that they feed: what `feeds` tells, for all at once.

        Returns
        -------
        links, numbers : int32 array, shape (n,)
            Pairs of them.
        """
        table, into = self.table, self._network.link_ports[:, 1].astype(np.int64)
        inputs = np.array([c.input for c in table.connections], np.int64)
        counts = np.array([c.in_units for c in table.connections], np.int64)
        most = int(max(into.max(initial=0), inputs.max(initial=0))) + 2
        read = table.layer.astype(np.int64) * most + inputs + 1  # an input of a layer
        given = self._network.link_ends[:, 1].astype(np.int64) * most + into + 1
        order = np.argsort(read, kind="stable")
        first, stop = (np.searchsorted(read[order], given, side) for side in ("left", "right"))
        links = np.repeat(np.arange(len(into)), stop - first)
        numbers = order[ranges(first, stop)]
        known = np.array([self.channels(k) for k in links.tolist()], np.int64)
        count = counts[numbers]
        fits = (known == 0) | (known == count)
        fits |= (count % np.maximum(known, 1) == 0) & (count <= LARGEST_MAP)
        return links[fits].astype(np.int32), numbers[fits].astype(np.int32)

    def reading(self, link: int) -> Sequence[int]:
        """Numbers of the connections that read the input that a link leads to."""
        layer = self.target[link]
        found = self._reading.get(layer)
        if found is None:
            found = self._reading[layer] = {}
            for number in self.table.of_layer(layer):
                found.setdefault(self.table.connections[number].input, []).append(number)
        return found.get(self._links[link].target_input, ())

    def read_by(self, links: Sequence[int]) -> list[tuple[int, int]]:
        """Numbers of the connections that read any of some links, each with the link's position."""
        return sorted((n, at) for at, link in enumerate(links) for n in self.reading(link))

    def _feed(self, arrivals: list[tuple[int, I4]], found: dict[int, list[I4]]) -> None:
        for number, at in self.read_by([link for link, _ in arrivals]):
            link, labels = arrivals[at]
            way = self.feeds(link, number)
            if way is not None:
                _merge(found.setdefault(number, []), along(labels, way))

    def onward(self, layer: int, span: tuple[int, int]) -> list[int]:
        """Links out of a layer to layers inside a node."""
        first, stop = span
        place, target = self.place, self.target
        leads = self.leads
        return [k for k in self.out(layer) if leads[k] and first <= place[target[k]] < stop]

    def ports(self, layer: int) -> tuple[Port, ...]:
        """The tensors that flow out of a layer: output, channels and links of each."""
        ports = self._ports.get(layer)
        if ports is None:
            made: dict[tuple[int, int], list[int]] = {}
            for k in self.out(layer):
                made.setdefault((self._links[k].source_output, self.channels(k)), []).append(k)
            ports = tuple((o, n, tuple(links)) for (o, n), links in made.items())
            self._ports[layer] = ports
        return ports

    def _wanted(self, link: int) -> int:
        """Channels that the first connection behind a link reads, where no shape is recorded."""
        seen, todo = {link}, [link]
        while todo and len(seen) < MOST_WAYS:
            link = todo.pop()
            layer = self.target[link]
            if reading := self.reading(link):
                return self.table.connections[reading[0]].in_units
            if self.ends(layer) or self._layers[layer].op not in SAME:
                continue
            onward = self.out(layer)
            for k in onward:
                if size := self._wires.flow(self._links[k]):
                    return size
            todo += [k for k in reversed(onward) if k not in seen]
            seen.update(onward)
        return 0


def along(labels: I4, way: UnitMap) -> I4:
    """Labels behind a map; the same array where the map changes nothing."""
    if way.index is None:
        return labels
    if not len(way.index) or way.index.max() >= len(labels):
        return np.full(len(way.index), -1, np.int32)
    found = labels[np.maximum(way.index, 0)]
    return np.where(way.index < 0, np.int32(-1), found)


def _merge(values: list[I4], new: I4) -> int:
    """Add labels to what is known, joined where no unit has two; place of what changed, or -1."""
    if any(new is v for v in values) or new.max(initial=-1) < 0:
        return -1
    for at, old in enumerate(values):
        if len(old) != len(new):
            continue
        here = new >= 0
        told = old >= 0
        if not np.any(here & told & (old != new)):
            if np.all(told | ~here):
                return -1
            values[at] = np.maximum(old, new)
            return at
    if len(values) >= MOST_WAYS:
        raise TooManyWays
    values.append(new)
    return len(values) - 1
