"""The strongest connections between two sets of layers: what ``neuronaut edges`` prints."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.strongest import Strongest, strongest
from explorer.weights.connections import Connection
from explorer.weights.units import Units
from explorer.weights.wires import Entry, Wires, wires

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Edge:
    """A pair of units and the weights that join them.

    Attributes
    ----------
    from_layer, to_layer : str
        Paths.
    from_unit, to_unit : int
        Counted from 0 along the output channels; a gate cell is ``gate * channels + channel``.
    magnitude : float
        Root mean square of the finite weights.
    signed_mean : float
        Their mean.
    weights : int
        How many there are.
    """

    from_layer: str
    to_layer: str
    from_unit: int
    to_unit: int
    magnitude: float
    signed_mean: float
    weights: int


@dataclass(frozen=True, slots=True)
class StrongestEdges:
    """The strongest edges and what they were chosen from.

    Attributes
    ----------
    total_connections : int
        Pairs of units that are joined by weights.
    total_weights : int
        Weights that join them, each counted once.
    shown_share_of_sum_sq : float
        Σw² of these edges over Σw² of all such edges; 1 when there is nothing to show. A weight
        that joins several pairs of units (what it reads was added up) counts once for each.
    non_finite : int
        Weights that are NaN or infinite.
    edges : tuple of Edge
        Strongest first.
    """

    total_connections: int
    total_weights: int
    shown_share_of_sum_sq: float
    non_finite: int
    edges: tuple[Edge, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values as the command line promises them."""
        return {
            "total_connections": self.total_connections,
            "total_weights": self.total_weights,
            "shown_share_of_sum_sq": self.shown_share_of_sum_sq,
            "non_finite": self.non_finite,
            "edges": [
                {
                    "from": e.from_layer, "from_unit": e.from_unit,
                    "to": e.to_layer, "to_unit": e.to_unit,
                    "magnitude": e.magnitude, "signed_mean": e.signed_mean, "weights": e.weights,
                }
                for e in self.edges
            ],
        }  # fmt: skip


def strongest_edges(
    network: Network,
    pyramid: Pyramid,
    from_layers: Collection[str],
    to_layers: Collection[str],
    k: int,
    *,
    from_range: Range | None = None,
    to_range: Range | None = None,
) -> StrongestEdges:
    """The k strongest connections from units of some layers to units of others.

    Parameters
    ----------
    network : Network
        Expanded (`explorer.weights.composites.expand`).
    pyramid : Pyramid
    from_layers, to_layers : collection of str
        Paths. Units are those of the layer with weights where a weightless layer of `from_layers`
        has all its units from others of `from_layers`.
    k : int
    from_range, to_range : (first, stop), optional
        Units of every source or target layer that count. Gates of a recurrent target are joined
        into output channels unless `to_range` lies within one gate.

    Returns
    -------
    StrongestEdges
        Exact.
    """
    index = wires(network)
    sources = frozenset(from_layers)
    ends = _ends(index, sources)
    found: list[tuple[str, str, Strongest]] = []
    totals = {"weights": 0, "bad": 0, "pairs": 0}
    for path in network.layer_by_path:
        if path not in to_layers:
            continue
        for connection in index.connections(path):
            entries = [e for e in index.trace(path, connection, ends.__contains__)
                       if e.source in sources]  # fmt: skip
            if entries:
                parts = _between(index, pyramid, connection, entries, k, (from_range, to_range))
                found += [(e.source, path, s) for e, s in zip(entries, parts[1:], strict=True)]
                _add(totals, parts)
    return _ranked(found, totals, k)


def _ends(index: Wires, sources: frozenset[str]) -> frozenset[str]:
    """Layers of the set at which the way back ends: those fed from outside the set."""
    return frozenset(
        path for path in sources
        if not all(link.source in sources for link in index.incoming(path))
    )  # fmt: skip


def _between(
    index: Wires, pyramid: Pyramid, connection: Connection, entries: list[Entry], k: int,
    ranges: tuple[Range | None, Range | None],
) -> list[Strongest]:  # fmt: skip
    """All weights between the entries and the target together, then each entry's strongest."""
    out = out_labels(index.units(connection.target), connection.out_units, ranges[1])
    labels = [in_labels(e, index.units(e.source), ranges[0]) for e in entries]
    seen = np.any([a >= 0 for a in labels], axis=0)
    each = [strongest(pyramid, connection, out, a, k) for a in labels]
    if len(entries) == 1:
        return [each[0], *each]
    union = np.where(seen, np.arange(len(seen), dtype=np.int32), np.int32(-1))
    return [strongest(pyramid, connection, out, union, 0), *each]


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


def _add(totals: dict[str, int], parts: list[Strongest]) -> None:
    totals["weights"] += parts[0].total_weights
    totals["bad"] += parts[0].non_finite
    totals["pairs"] += sum(s.total_pairs for s in parts[1:])


def _ranked(
    found: list[tuple[str, str, Strongest]], totals: dict[str, int], k: int
) -> StrongestEdges:
    """One list out of several, strongest first; ties by place of the connection, then by unit."""
    lists = [s for _, _, s in found]
    sizes = [len(s.out) for s in lists]
    place = np.repeat(np.arange(len(lists)), sizes)
    out, inside, count = (_joined(lists, name, np.int64) for name in ("out", "inside", "count"))
    sum_sq, sum_ = (_joined(lists, name, np.float64) for name in ("sum_sq", "sum"))
    square = sum_sq / count
    order = np.lexsort((inside, out, place, -square))[: max(k, 0)]
    columns = (place, inside, out, np.sqrt(square), sum_ / count, count)
    edges = tuple(
        Edge(found[at][0], found[at][1], i, o, rms, mean, n)
        for at, i, o, rms, mean, n in zip(*(c[order].tolist() for c in columns), strict=True)
    )
    many = np.bincount(place[order], minlength=len(lists)).tolist()
    shown = np.bincount(place[order], sum_sq[order], len(lists)).astype(np.float64)
    rest = sum(map(_rest, lists, repeat(k), many, shown.tolist()))
    part = float(shown.sum())
    share = part / (part + rest) if part + rest > 0.0 else 1.0
    return StrongestEdges(totals["pairs"], totals["weights"], share, totals["bad"], edges)


def _joined(lists: list[Strongest], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """One column of several lists, which may be none."""
    return np.concatenate([np.empty(0, dtype), *(getattr(s, name) for s in lists)])


def _rest(found: Strongest, k: int, shown: int, sum_sq: float) -> float:
    """Σw² of the edges that are not shown, when so many are that hold this much.

    Totals are made of sums in single precision and may be a rounding less than their part: what
    is left is then nothing.
    """
    every = len(found.out) == found.total_pairs or len(found.out) < k
    return 0.0 if every and shown == len(found.out) else max(found.total_sum_sq - sum_sq, 0.0)
