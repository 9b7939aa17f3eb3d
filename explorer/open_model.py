"""An open model: the frozen parts that every view of it shares."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from types import TracebackType

from explorer import formats
from explorer.composites import expand
from explorer.hierarchy import Hierarchy
from explorer.network import Layer, Network
from explorer.pyramid import Pyramid
from explorer.strongest import Strongest
from explorer.tree_builder import build_hierarchy
from explorer.units import Units
from explorer.weight_reader import WeightReader
from explorer.wires import Wires, wires


class OpenModel:
    """A network with what is derived from it once: parts, tree, wiring, weight statistics.

    Several sessions may share one; everything here is read-only or safe among threads.

    Parameters
    ----------
    network : Network
        As a format read it.

    Attributes
    ----------
    network : Network
        What the file holds, layers as the file counts them.
    graph : Network
        The same with composite layers expanded into their parts.
    reader : WeightReader
    pyramid : Pyramid
    strands : dict
        Strongest connections between closed nodes found so far, by `explorer.edges.Search.key`.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph = expand(network)
        self.reader = WeightReader(network)
        self.pyramid = Pyramid(self.reader)
        self.strands: dict[Hashable, Strongest] = {}

    @classmethod
    def open(cls, path: str) -> OpenModel:
        """Open a model file.

        Raises
        ------
        ModelError
            If the file is missing, damaged or of an unknown format.
        """
        return cls(formats.open_network(path))

    @cached_property
    def wires(self) -> Wires:
        """Which weights act on what flows into each layer."""
        return wires(self.graph)

    @cached_property
    def layer_paths(self) -> tuple[str, ...]:
        """Path of each layer of `graph`."""
        return tuple(layer.path for layer in self.graph.layers)

    @cached_property
    def weighted(self) -> dict[str, None]:
        """Paths of the layers whose weights join units, in order (an ordered set)."""
        return {la.path: None for la in self.graph.layers if self.wires.connections(la.path)}

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The tree that people see."""
        return build_hierarchy(self.graph, self.weighted)

    @cached_property
    def reach(self) -> dict[str, tuple[int, int]]:
        """First and last place, in the order of the leaves, of what feeds each weighted layer.

        A closed node whose leaves include this span hides the layer's connections entirely.
        """
        place = {self.graph.layers[i].path: k for k, i in enumerate(self.hierarchy.order)}
        before: dict[str, list[str]] = {}
        for link in self.graph.links:
            before.setdefault(link.target, []).append(link.source)
        weighted = self.weighted
        spans = {}
        for path in weighted:
            seen = {path}
            work = list(before.get(path, ()))
            while work:
                p = work.pop()
                if p not in seen:
                    seen.add(p)
                    if p not in weighted:
                        work.extend(before.get(p, ()))
            places = [place[p] for p in seen]
            spans[path] = (min(places), max(places))
        return spans

    def units_of(self, layer: Layer) -> Units:
        """The units of a layer of `graph`."""
        return self.wires.units(layer.path)

    def close(self) -> None:
        """Close the files."""
        self.reader.close()

    def __enter__(self) -> OpenModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
