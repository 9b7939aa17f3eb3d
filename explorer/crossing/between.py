"""All pairs of units that weights join between two sets of layers, by where they come from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import Pairs
from explorer.weights.units import Units
from explorer.weights.wires import Entry, Wires, wires

I4 = NDArray[np.int32]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """The pairs of one connection with one of the layers that it reads.

    Attributes
    ----------
    source, target : str
        Paths of the layers.
    pairs : Pairs
        Labelled by the units of `target` and of `source`.
    """

    source: str
    target: str
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Between:
    """Everything between two sets of layers.

    Attributes
    ----------
    parts : list of Part
        In the order of the network.
    wholes : list of Pairs
        Of each connection, whatever it reads taken together: no weight is in two of them.
    """

    parts: list[Part]
    wholes: list[Pairs]

    @property
    def total_pairs(self) -> int:
        """Pairs of units that are joined by weights."""
        return sum(part.pairs.total_pairs for part in self.parts)

    @property
    def total_weights(self) -> int:
        """Weights that join them, each counted once."""
        return sum(pairs.total_weights for pairs in self.wholes)

    @property
    def non_finite(self) -> int:
        """How many of those are NaN or infinite."""
        return sum(pairs.totals[1] for pairs in self.wholes)


def between(
    network: Network,
    pyramid: Pyramid,
    ends: tuple[Collection[str], Collection[str]],
    ranges: tuple[Range | None, Range | None] = (None, None),
) -> Between:
    """Find what joins units of some layers to units of others.

    Parameters
    ----------
    network : Network
        Expanded (`explorer.weights.composites.expand`).
    pyramid : Pyramid
    ends : (collection of str, collection of str)
        Paths of the source and of the target layers. Units are those of the layer with weights
        where a weightless source has all its units from other sources.
    ranges : ((first, stop) or None, (first, stop) or None)
        Units of every source and of every target layer that count. Gates of a recurrent target
        are joined into output channels unless its range lies within one gate.
    """
    index = wires(network)
    sources = frozenset(ends[0])
    stops = _ends(index, sources)
    found = Between([], [])
    for path in network.layer_by_path:
        if path not in ends[1]:
            continue
        for connection in index.connections(path):
            entries = [e for e in index.trace(path, connection, stops.__contains__)
                       if e.source in sources]  # fmt: skip
            if not entries:
                continue
            out = out_labels(index.units(connection.target), connection.out_units, ranges[1])
            labels = [in_labels(e, index.units(e.source), ranges[0]) for e in entries]
            parts = [Pairs(pyramid, connection, out, a) for a in labels]
            found.parts.extend(
                Part(entry.source, path, pairs) for entry, pairs in zip(entries, parts, strict=True)
            )
            if len(parts) > 1:
                seen = np.any([a >= 0 for a in labels], axis=0)
                union = np.where(seen, np.arange(len(seen), dtype=np.int32), np.int32(-1))
                parts = [Pairs(pyramid, connection, out, union)]
            found.wholes.extend(parts)
    return found


def _ends(index: Wires, sources: frozenset[str]) -> frozenset[str]:
    """Layers of the set at which the way back ends: those fed from outside the set."""
    return frozenset(
        path for path in sources
        if not all(link.source in sources for link in index.incoming(path))
    )  # fmt: skip


def out_labels(units: Units, count: int, chosen: Range | None) -> I4:
    """Unit of the target for each out unit of a connection; ``-1`` outside the chosen range.

    Gates are joined into channels unless the range lies within one gate.
    """
    label = np.arange(count, dtype=np.int32)
    channels = units.channels if units.blocks and units.channels else count
    joined = (label % channels).astype(np.int32)
    if chosen is None:
        return joined
    first, stop = chosen
    inside = (label >= first) & (label < stop)
    one_gate = first // channels == (stop - 1) // channels
    return np.where(inside, label if one_gate else joined, np.int32(-1))


def in_labels(entry: Entry, units: Units, chosen: Range | None) -> I4:
    """Unit of the source for each in unit of a connection; ``-1`` outside the chosen range."""
    label = entry.in_map.indices()
    if chosen is None:
        return label
    channels = max(1, units.channels or entry.in_map.source)
    if chosen[1] - chosen[0] >= channels:
        return label
    wanted = np.zeros(max(channels, int(label.max(initial=0)) + 1), np.bool_)
    wanted[np.arange(*chosen) % channels] = True
    return np.where((label >= 0) & wanted[np.maximum(label, 0)], label, np.int32(-1))
