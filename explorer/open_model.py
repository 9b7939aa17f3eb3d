"""An open model: the frozen parts that every view of it shares."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any

from explorer import formats
from explorer.collector import paused
from explorer.comparing.comparison import Comparison, compare_networks
from explorer.comparing.pyramid import ComparedPyramid
from explorer.comparing.reading import DifferenceReader
from explorer.flow.inflow import Inflow
from explorer.flow.link_index import LinkIndex, link_index
from explorer.flow.passing import Passing
from explorer.memory import Memory
from explorer.network import Layer, Network
from explorer.pyramid.connection_table import ConnectionTable
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import Strongest
from explorer.pyramid.storage.keeping import Keeper
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Hierarchy
from explorer.tree.likeness import alike
from explorer.weights.composites import expand
from explorer.weights.connections import Connection
from explorer.weights.flattened import flattened_channels
from explorer.weights.units import Units
from explorer.weights.weight_reader import WeightReader
from explorer.weights.wires import Wires, wires

_STRANDS = 32 << 20  # bytes of strongest connections that are remembered


class OpenModel:
    """A network with what is derived from it once: parts, tree, wiring, weight statistics.

    Several sessions may share one; everything here is read-only or safe among threads.

    Parameters
    ----------
    network : Network
        As a format read it.
    lasting : bool
        False for a file that goes away with this process: nothing is kept of it between runs.
    comparison : Comparison, optional
        Whose network this is: weights are then differences between two files.

    Attributes
    ----------
    network : Network
        What the file holds, layers as the file counts them.
    graph : Network
        The same with composite layers expanded into their parts.
    reader : WeightReader or DifferenceReader
    pyramid : Pyramid
    keeper : Keeper
        Keeps what the pyramid measures from run to run.
    comparison : Comparison or None
    strands : Memory of Strongest
        Strongest connections between closed nodes found so far, by
        `explorer.crossing.rows.Search.key`.
    latest_links : tuple (Cut, CutLinks) or None
        Of the cut that was looked at last; kept by `explorer.crossing.places.cut_links`.
    """

    @paused()
    def __init__(
        self, network: Network, lasting: bool = True, comparison: Comparison | None = None
    ) -> None:
        self.network = network
        self.graph = expand(network)
        self.comparison = comparison
        self.reader: WeightReader | DifferenceReader
        self.pyramid: Pyramid
        if comparison is None:
            self.reader = WeightReader(network)
            self.pyramid = Pyramid(self.reader, period=self._flattened)
        else:
            self.reader = comparison.reader
            self.pyramid = ComparedPyramid(self.reader, comparison.older, self._flattened)
        if comparison is None:
            self.keeper = Keeper(network, self.pyramid, lasting)
        else:
            both = replace(network, path=comparison.opened)
            self.keeper = Keeper(both, self.pyramid, lasting, comparison.measured)
        self.strands: Memory[Strongest] = Memory(_STRANDS, _bytes_of)
        self.latest_links: tuple[Any, Any] | None = None

    @classmethod
    @paused()
    def open(cls, source: str | formats.Reading) -> OpenModel:
        """Open a model file, or one that is being read already; such a reading stays to be closed.

        Raises
        ------
        ModelError
            If the file is missing, damaged or of an unknown format.
        """
        if isinstance(source, str):
            return cls(formats.open_network(source))
        return cls(source.network())

    @classmethod
    @paused()
    def compare(cls, before: str | formats.Reading, after: str | formats.Reading) -> OpenModel:
        """Open an older and a newer file of one architecture: what is shown is the difference.

        Raises
        ------
        ModelError
            If a file is missing, damaged or of an unknown format.
        NeuronautError
            If the two have next to nothing in common.
        """
        networks = [
            formats.open_network(source) if isinstance(source, str) else source.network()
            for source in (before, after)
        ]
        comparison = compare_networks(*networks)
        try:
            return cls(comparison.network, comparison=comparison)
        except BaseException:
            comparison.reader.close()
            raise

    @cached_property
    def wires(self) -> Wires:
        """Which weights act on what flows into each layer."""
        return wires(self.graph)

    @cached_property
    def layer_paths(self) -> tuple[str, ...]:
        """Path of each layer of `graph`."""
        return tuple(layer.path for layer in self.graph.layers)

    @cached_property
    @paused()
    def weighted(self) -> dict[str, None]:
        """Paths of the layers whose weights join units, in order (an ordered set)."""
        return dict.fromkeys(self.wires.connect(alike(self.graph)))

    @cached_property
    @paused()
    def hierarchy(self) -> Hierarchy:
        """The tree that people see."""
        return build_hierarchy(self.graph, self.weighted)

    @cached_property
    @paused()
    def table(self) -> ConnectionTable:
        """All connections by number, with their sums."""
        table = ConnectionTable(self.graph, self.wires, self.weighted, self.pyramid)
        self.keeper.check(table.connections)
        return table

    @cached_property
    @paused()
    def links(self) -> LinkIndex:
        """Links by the node that holds both their ends."""
        return link_index(self.hierarchy)

    @cached_property
    @paused()
    def passing(self) -> Passing:
        """How units pass through weightless layers."""
        return Passing(self.hierarchy, self.wires, self.table)

    @cached_property
    @paused()
    def inflow(self) -> Inflow:
        """From how far back each connection is fed."""
        return Inflow(self.passing)

    def shift(self, layer: int) -> int:
        """Unit that shows channel 0 of a layer: a recurrent layer speaks through its last gate."""
        units = self.units_of(self.graph.layers[layer])
        return (max(len(units.blocks), 1) - 1) * units.channels

    def units_of(self, layer: Layer) -> Units:
        """The units of a layer of `graph`."""
        return self.wires.units(layer.path)

    def _flattened(self, connection: Connection) -> int:
        return flattened_channels(self.graph, self.wires, connection)

    def close(self) -> None:
        """Close the files."""
        self.keeper.close()
        if self.comparison is not None:
            self.comparison.changes.keep()
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


def _bytes_of(found: Strongest) -> int:
    return 1000 + 48 * len(found.out)
