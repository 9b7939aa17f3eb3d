"""All weights between two closed nodes, as one line: which they are and what they sum up to."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from explorer.connections import Connection
from explorer.crossing import Search, Sum
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.passing import TooManyWays
from explorer.places import CutLinks
from explorer.pyramid import labels_of

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
MOST_WAYS = 16
"""Tensors and connections that join two nodes, above which no single connections are drawn."""
AT_ONCE = 32
"""Connections of which only some units are fed that are summed while a person waits."""
_ROOM = 64 << 20  # bytes of what is known of pairs of nodes
_OWN = 700  # bytes of a bundle without its arrays


class Bundle:
    """The weights inside a closed node that units from another reach.

    A weight counts once, also where it is reached on several ways (through a residual sum, or
    because a shared layer is called twice).

    Attributes
    ----------
    whole : int32 array
        Numbers of the connections all of whose weights count.
    parts : tuple of (int, int32 array of shape (in_units,))
        Number of each other connection, and 0 for its in units that count, -1 for others.
    numbers : int32 array
        Numbers of all of them, ascending.
    searches : tuple of Search or None
        The ways of single tensors; ``None`` when there are too many to tell apart.
    """

    def __init__(self, fed: dict[int, I4], key: Hashable) -> None:
        self.key = key
        whole = {n: bool(labels.min(initial=0) >= 0) for n, labels in fed.items()}
        self.whole: I4 = np.array(sorted(n for n in fed if whole[n]), np.int32)
        self.parts = tuple((n, fed[n]) for n in sorted(fed) if not whole[n])
        self.numbers: I4 = np.array(sorted(fed), np.int32)
        self.searches: tuple[Search, ...] | None = None
        self.sums: F8 | None = None
        self.counts: I8 | None = None
        self.weights = 0
        self.joined = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ways = sum(s.in_unit.nbytes + 200 for s in self.searches or ())
        return _OWN + self.numbers.nbytes * 2 + ways + sum(a.nbytes for _, a in self.parts)


class Bundles:
    """Finds what joins two closed nodes, and remembers it.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._memory: Memory[Bundle] = Memory(_ROOM, lambda bundle: bundle.nbytes)

    def between(self, links: CutLinks, pair: int) -> Bundle:
        """What the links of a pair of closed nodes lead to.

        Which weights they reach depends on the links and on the target alone: what is opened
        elsewhere changes nothing, and opening the source only where its parts share the links.
        """
        row = int(links.rows[pair, 1])
        chosen = links.of(pair)
        node = int(links.places.cut.node[row])
        key = (node, len(chosen), hash(chosen.tobytes()))
        found = self._memory.get(key)
        if found is None:
            found = self._memory.put(key, self._find(links.places.span(row), chosen, key))
        return found

    def _find(self, span: tuple[int, int], links: I4, key: Hashable) -> Bundle:
        model, table = self._model, self._model.table
        bundle = Bundle(model.passing.covered(span, links.tolist()), key)
        bundle.weights = int(table.weights[bundle.whole].sum())
        bundle.joined = int(table.joined[bundle.whole].sum())
        for number, labels in bundle.parts:
            pairs, weights = joined(table.connections[number], labels)
            bundle.joined += pairs
            bundle.weights += weights
        bundle.searches = self._searches(span, links, bundle)
        return bundle

    def _searches(
        self, span: tuple[int, int], links: I4, bundle: Bundle
    ) -> tuple[Search, ...] | None:
        """The ways of single tensors, if they are few."""
        model, table = self._model, self._model.table
        if not len(bundle.numbers):
            return ()
        sources = model.graph.link_ends[links, 0]
        distinct = np.unique(sources).tolist()
        if len(bundle.numbers) > MOST_WAYS or len(distinct) > 4 * MOST_WAYS:
            return None
        found: list[Search] = []
        for source in distinct:
            own = links[sources == source].tolist()
            try:
                reached = model.passing.ways(span, own, model.shift(source))
            except TooManyWays:
                return None
            for number, ways in sorted(reached.items()):
                connection, target = table.connections[number], int(table.layer[number])
                found += [Search(connection, source, target, way) for way in ways]
        return tuple(found) if len(found) <= MOST_WAYS else None

    def sum(self, bundle: Bundle) -> Sum | None:
        """Sum up a bundle all of whose connections have been read.

        Returns
        -------
        Sum or None
            What remains to be done where it would take long; ``None`` when it is done.
        """
        if bundle.sums is not None:
            return None
        if len(bundle.parts) <= AT_ONCE:
            self._sum(bundle)
            return None
        key = ("sum", bundle.key)
        return Sum(key, bundle.weights, lambda: self._sum(bundle), lambda: bundle.sums is not None)

    def _sum(self, bundle: Bundle) -> None:
        table = self._model.table
        sums = np.zeros(4)
        sums[:3] = table.sums[bundle.whole, :3].sum(axis=0)
        sums[3] = table.sums[bundle.whole, 3].max(initial=0.0)
        counts = table.counts[bundle.whole].sum(axis=0)
        for number, labels in bundle.parts:
            connection = table.connections[number]
            out = np.zeros(connection.out_units, np.int32)
            stats = self._model.pyramid.stats(connection, out, labels, 1, 1)
            sums[:3] += (stats.sum_sq[0, 0], stats.sum[0, 0], stats.sum_abs[0, 0])
            sums[3] = max(sums[3], stats.max_abs[0, 0])
            counts += (stats.count[0, 0], stats.non_finite[0, 0])
        bundle.counts = counts
        bundle.sums = sums  # last: other threads look at it


def joined(connection: Connection, in_label: I4) -> tuple[int, int]:
    """Pairs of units of a connection whose in unit has a label, and their weights."""
    pairs = weights = 0
    everywhere = np.zeros(connection.out_units, np.int32)
    for matrix in connection.matrices:
        inside = labels_of(matrix, everywhere, in_label)[1]
        each = matrix.major if matrix.transposed else matrix.minor
        here = int(np.count_nonzero(inside >= 0)) * each
        pairs += here
        weights += here * matrix.taps
    return pairs, weights
