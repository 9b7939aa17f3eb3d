"""The strongest connections between two sets of layers: what ``neuronaut edges`` prints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.between import Between, Part, Range, between
from explorer.errors import NeuronautError
from explorer.network import Network
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.candidates import Rank

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Told = Callable[[int, int], None]
MOST_LISTED = 100_000
"""Connections that are listed for a share of Σw²."""
_ROUNDING = 1e-12
"""Sums that differ by so small a share are equal."""
_UNTOLD: Told = lambda done, total: None  # noqa: E731
_FIRST, _GROWTH = 512, 2  # connections looked for at first, and how many times more each time


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
    told: Told = _UNTOLD,
) -> StrongestEdges:
    """The k strongest connections from units of some layers to units of others.

    Parameters
    ----------
    network, pyramid, from_layers, to_layers, from_range, to_range
        As of `explorer.crossing.between.between`.
    k : int
    told : callable (done, total)
        Bytes of the weights that are measured for it, where that has not been done.

    Returns
    -------
    StrongestEdges
        Exact.
    """
    asked = between(network, pyramid, (from_layers, to_layers), (from_range, to_range))
    _measure(asked, pyramid, told)
    rows = _largest(asked.parts, max(k, 0), "rms")
    return _answer(asked, rows, len(rows) < k)


def fewest_edges(
    network: Network,
    pyramid: Pyramid,
    from_layers: Collection[str],
    to_layers: Collection[str],
    share: float,
    *,
    from_range: Range | None = None,
    to_range: Range | None = None,
    most: int = MOST_LISTED,
    told: Told = _UNTOLD,
) -> StrongestEdges:
    """The fewest connections that together hold a share of Σw².

    Those with the largest Σw² are chosen. Where pairs of units are joined by differently many
    weights, these need not be the ones of the largest magnitude.

    Parameters
    ----------
    network, pyramid, from_layers, to_layers, from_range, to_range
        As of `explorer.crossing.between.between`.
    share : float
        From 0, which needs none, to 1, which needs all but those that hold nothing.
    most : int
        Most connections listed.
    told : callable (done, total)
        As of `strongest_edges`.

    Returns
    -------
    StrongestEdges
        Strongest first. Sums over part of a matrix are known to single precision; of two
        numbers of connections that both meet the share to seven digits it may be either.

    Raises
    ------
    NeuronautError
        If the share is none, or more connections are needed than may be listed.
    """
    if not 0.0 <= share <= 1.0:
        raise NeuronautError(f"{share:.12g} is no share of Σw²: give a number from 0 to 1")
    asked = between(network, pyramid, (from_layers, to_layers), (from_range, to_range))
    _measure(asked, pyramid, told)
    rows = _fewest(asked.parts, share, most)
    return _answer(asked, rows, share == 1.0)


def _measure(asked: Between, pyramid: Pyramid, told: Told) -> None:
    """Read what is to be read whole, and say how far that is."""
    every = [*(part.pairs for part in asked.parts), *asked.wholes]
    todo = {pairs.connection.key: pairs for pairs in every if pairs.measures}
    total = sum(pyramid.bytes_needed(pairs.connection) for pairs in todo.values())
    done = 0
    for pairs in todo.values():
        pairs.measure(lambda: told(min(done + pyramid.read_of(pairs.connection), total), total))  # noqa: B023
        done += pyramid.bytes_needed(pairs.connection)
        told(done, total)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Edges as columns: number of their part, units, and sums over the finite weights."""

    part: I8
    out: I8
    inside: I8
    count: I8
    sum_sq: F8
    sum: F8

    def columns(self) -> tuple[I8, I8, I8, I8, F8, F8]:
        """All of them, in order."""
        return (self.part, self.out, self.inside, self.count, self.sum_sq, self.sum)

    def joined(self, other: _Rows) -> _Rows:
        """These edges and others."""
        pairs = zip(self.columns(), other.columns(), strict=True)
        return _Rows(*[np.concatenate(pair) for pair in pairs])

    def take(self, at: NDArray[np.intp] | slice) -> _Rows:
        """Some of the edges."""
        return _Rows(self.part[at], self.out[at], self.inside[at], self.count[at],
                     self.sum_sq[at], self.sum[at])  # fmt: skip

    def order(self, rank: Rank) -> NDArray[np.intp]:
        """From the strongest down; ties by part, then by unit."""
        return np.lexsort((self.inside, self.out, self.part, -self.value(rank)))

    def value(self, rank: Rank) -> F8:
        """Mean square, or sum of squares."""
        return self.sum_sq if rank == "sum_sq" else self.sum_sq / self.count

    def __len__(self) -> int:
        return len(self.part)


def _largest(parts: Sequence[Part], k: int, rank: Rank) -> _Rows:
    """The k edges with the largest magnitude, or Σw², strongest first."""
    integers, numbers = np.empty(0, np.int64), np.empty(0)
    rows = _Rows(integers, integers, integers, integers, numbers, numbers)
    least = 0.0
    for at, part in enumerate(parts):
        found = part.pairs.strongest(k, rank, least)
        out, inside = found.out.astype(np.int64), found.inside.astype(np.int64)
        place = np.full(len(out), at, np.int64)
        rows = rows.joined(_Rows(place, out, inside, found.count, found.sum_sq, found.sum))
        rows = rows.take(rows.order(rank)[:k])
        if 0 < k == len(rows):
            least = float(rows.value(rank)[-1])
    return rows


def _fewest(parts: Sequence[Part], share: float, most: int) -> _Rows:
    """The fewest edges that hold a share of Σw², by looking for more and more of the largest.

    Raises
    ------
    NeuronautError
        If they are more than `most`.
    """
    need = share * sum(part.pairs.totals[0] for part in parts)
    need *= 1.0 if share == 1.0 else 1.0 - _ROUNDING
    least = _at_least(parts, need)
    k = max(_FIRST, _GROWTH * least)
    while least <= most:
        k = min(k, most)
        rows = _largest(parts, k + 1, "sum_sq")  # one more tells whether there are others
        rows = rows.take(slice(0, int(np.count_nonzero(rows.sum_sq))))
        held = np.cumsum(rows.sum_sq)
        count = len(rows) if share == 1.0 else int(np.searchsorted(held, need)) + (need > 0.0)
        if min(count, len(rows)) <= k:  # fewer rows than k + 1 are all there are
            return rows.take(slice(0, count))
        left = max(need - float(held[-1]), 0.0) / float(rows.sum_sq[-1])
        least = max(least, len(rows) + ceil(left * (1.0 - _ROUNDING)))
        k = _GROWTH * max(k, least)
    raise NeuronautError(
        f"{share:.12g} of Σw² needs at least {least} connections, and no more than {most} can be"
        " listed: ask for a smaller share"
    )


def _at_least(parts: Sequence[Part], need: float) -> int:
    """How many edges a sum needs at least, by the pyramid alone.

    No edges hold more than those that fill one block after the other, each with as much as one of
    its edges can hold, beginning where that is most.
    """
    if need <= 0.0 or not parts:
        return 0
    most, held = (np.concatenate(a) for a in zip(*(p.pairs.capacity() for p in parts), strict=True))
    order = np.argsort(-most)[: int(np.count_nonzero(most))]
    most, held = most[order], held[order]
    filled = np.cumsum(held)
    last = int(np.searchsorted(filled, need))
    if last >= len(filled):
        return 1
    left = need - (float(filled[last - 1]) if last else 0.0)
    return max(1, ceil((float((held / most)[:last].sum()) + left / float(most[last])) * (1 - 1e-6)))


def _answer(asked: Between, rows: _Rows, every: bool) -> StrongestEdges:
    """The edges as a person reads them; `every`: no others hold anything."""
    parts = asked.parts
    rows = rows.take(rows.order("rms"))
    columns = (rows.part, rows.inside, rows.out, np.sqrt(rows.sum_sq / rows.count),
               rows.sum / rows.count, rows.count)  # fmt: skip
    edges = tuple(
        Edge(parts[at].source, parts[at].target, i, o, rms, mean, n)
        for at, i, o, rms, mean, n in zip(*(c.tolist() for c in columns), strict=True)
    )
    share = 1.0 if every else _share(parts, rows)
    return StrongestEdges(asked.total_pairs, asked.total_weights, share, asked.non_finite, edges)


def _share(parts: Sequence[Part], rows: _Rows) -> float:
    """Σw² of edges over that of all.

    Totals are made of sums in single precision and may be a rounding less than a part of them:
    what is left is then nothing.
    """
    many = np.bincount(rows.part, minlength=len(parts)).tolist()
    shown = np.bincount(rows.part, rows.sum_sq, len(parts)).tolist()
    rest = sum(
        max(part.pairs.totals[0] - sum_sq, 0.0)
        for part, n, sum_sq in zip(parts, many, shown, strict=True)
        if n < part.pairs.total_pairs
    )
    whole = sum(shown) + rest
    return float(sum(shown) / whole) if whole > 0.0 else 1.0
