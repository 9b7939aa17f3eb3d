"""All weights between two closed nodes, as one line: which they are and what they sum up to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.coverage import Fed, coverage
from explorer.crossing.older import Older
from explorer.crossing.places import CutLinks
from explorer.crossing.rows import Search, Sum
from explorer.flow.passing import TooManyWays
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.pyramid.pyramid import READ_AT_ONCE, labels_of
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Flags = NDArray[np.bool_]
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
    links : int32 array
        Numbers of the links from one node to the other.
    target : int
        The node they lead to.
    whole : int32 array
        Numbers of the connections all of whose weights count.
    parts : tuple of (int, int32 array of shape (in_units,))
        Number of each other connection, and 0 for its in units that count, -1 for others.
    numbers : int32 array
        Numbers of all of them, ascending.
    weights, joined : int
        How many weights count, and how many pairs of units they join.
    ways : int
        About how many ways lead from single tensors into single connections; 0 for too many.
    sums : float64 array, shape (4,), or None
        Σw², Σw, Σ|w| and max|w|; ``None`` until they are known.
    counts : int64 array, shape (2,), or None
        Finite weights, and others.
    before : float64 array, shape (2,)
        Where two files are compared, Σw² and count of the same weights in the older one.
    """

    def __init__(self, fed: Fed, links: I4, target: int, key: Hashable) -> None:
        self.links, self.target, self.key = links, target, key
        self.whole: I4 = np.array(fed.whole, np.int32)
        self.parts = tuple(sorted(fed.parts.items(), key=lambda item: item[0]))
        self.numbers = self.whole
        if fed.parts:
            self.numbers = np.array(sorted([*fed.whole, *fed.parts]), np.int32)
        self.sums: F8 | None = None
        self.counts: I8 | None = None
        self.before: F8 = np.zeros(2)
        self.weights = self.joined = self.ways = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrays = (self.links, self.numbers, self.whole, *(a for _, a in self.parts))
        return _OWN + sum(a.nbytes for a in arrays)


@dataclass(frozen=True, eq=False)
class BundleRows:
    """What is known of several bundles, side by side; one row each.

    Attributes
    ----------
    keys : int64 array, shape (n,)
        One number for each pair of nodes.
    found : array of Bundle, shape (n,)
    weighted : bool array, shape (n,)
        Whether any connection is among a pair's links.
    sums : float64 array, shape (n, 4)
        As of `Bundle`; zero where they are not known.
    counts : int64 array, shape (n, 2)
        Likewise; of what is not summed up the second is how many weights there are.
    pending : bool array, shape (n,)
        Where the sums are not known.
    joined, ways : int64 array, shape (n,)
        As of `Bundle`.
    """

    keys: I8
    found: NDArray[Any]
    weighted: Flags
    sums: F8
    counts: I8
    pending: Flags
    joined: I8
    ways: I8

    @classmethod
    def of(cls, keys: I8, bundles: list[Bundle]) -> BundleRows:
        """Rows of bundles that are not summed up."""
        n = len(bundles)
        found = np.empty(n, object)
        found[:] = bundles
        counts = np.zeros((n, 2), np.int64)
        counts[:, 1] = [b.weights for b in bundles]
        weighted = np.array([len(b.numbers) > 0 for b in bundles], bool)
        joined, ways = (np.array(v, np.int64) for v in ([b.joined for b in bundles],
                                                        [b.ways for b in bundles]))  # fmt: skip
        return cls(keys, found, weighted, np.zeros((n, 4)), counts, weighted.copy(), joined, ways)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, index: NDArray[Any]) -> BundleRows:
        """Some of the rows, as copies."""
        return BundleRows(*(getattr(self, f)[index] for f in self.__dataclass_fields__))

    def joined_to(self, other: BundleRows) -> BundleRows:
        """These rows, then others."""
        columns = ((getattr(self, f), getattr(other, f)) for f in self.__dataclass_fields__)
        return BundleRows(*(np.concatenate(pair) for pair in columns))

    def fill(self, at: int) -> None:
        """Write down the sums of a bundle, if they are known."""
        bundle = self.found[at]
        if bundle.sums is not None:
            self.sums[at], self.counts[at], self.pending[at] = bundle.sums, bundle.counts, False


class Bundles:
    """Finds what joins two closed nodes, and remembers it.

    Parameters
    ----------
    model : OpenModel
    older : Older, optional
        Where two files are compared.
    """

    def __init__(self, model: OpenModel, older: Older | None = None) -> None:
        self._model, self._older = model, older
        self._latest = BundleRows.of(np.zeros(0, np.int64), [])
        self._memory: Memory[Bundle] = Memory(_ROOM, lambda bundle: bundle.nbytes)
        self._searches: Memory[tuple[Search, ...]] = Memory(_ROOM >> 2, _bytes_of)

    def of(
        self, links: CutLinks, pairs: NDArray[np.intp], loops: Sequence[Bundle]
    ) -> tuple[BundleRows, list[Sum]]:
        """What the links of some pairs of closed nodes lead to.

        Which weights they reach depends on the links and on the target alone: what is opened
        elsewhere changes nothing, and opening the source only where its parts share the links.

        Parameters
        ----------
        links : CutLinks
        pairs : int array, shape (p,)
            Positions in `links` of pairs of closed nodes.
        loops : sequence of Bundle
            Loops that are visible too.

        Returns
        -------
        BundleRows
            In the order of the pairs, then the loops.
        list of Sum
            What is still to be added up.
        """
        nodes = links.places.cut.node[links.rows[pairs]].astype(np.int64)
        many = len(self._model.hierarchy.spans)
        around = np.array([bundle.target * (many + 1) for bundle in loops], np.int64)
        keys = np.append(nodes[:, 0] * many + nodes[:, 1], around)
        # All links from one closed node to another are theirs in every cut that shows both: most
        # pairs of a cut are in the cut before it, and are taken over all at once.
        before = self._latest
        at = np.minimum(np.searchsorted(before.keys, keys), len(before) - 1)
        same = before.keys[at] == keys if len(before) else np.zeros(len(keys), bool)
        fresh = np.flatnonzero(~same)
        of_pairs = pairs[fresh[fresh < len(pairs)]]
        found = self._find(links, of_pairs)
        found += [loops[k - len(pairs)] for k in fresh[len(of_pairs) :].tolist()]
        rows = before.take(at[same]).joined_to(BundleRows.of(keys[fresh], found))
        place = np.empty(len(keys), np.intp)
        place[np.concatenate((np.flatnonzero(same), fresh))] = np.arange(len(keys))
        rows = rows.take(place)
        sums = self._sum_up(rows)
        self._latest = rows.take(np.argsort(keys, kind="stable"))
        return rows, sums

    def _sum_up(self, rows: BundleRows) -> list[Sum]:
        """Fill in sums of connections that have been read meanwhile; what would take long."""
        late = []
        waiting = np.flatnonzero(rows.pending)
        if not len(waiting):
            return []
        bundles = rows.found[waiting].tolist()
        numbers = [bundle.numbers for bundle in bundles]
        starts = np.cumsum([0, *(len(n) for n in numbers[:-1])])
        ready = self._model.table.ready[np.concatenate(numbers)]
        read = np.logical_and.reduceat(ready, starts)
        for at, bundle in zip(waiting[read].tolist(), rows.found[waiting[read]], strict=True):
            task = self.sum(bundle)
            late += [task] if task is not None else []
            rows.fill(at)
        self._guess(rows, waiting[~read])
        return late

    def _guess(self, rows: BundleRows, waiting: NDArray[np.intp]) -> None:
        """Write down estimates of bundles of which some of everything has been read."""
        table = self._model.table
        if not table.partly.any():
            return
        known = table.ready | table.partly
        for at, bundle in zip(waiting.tolist(), rows.found[waiting], strict=True):
            if not known[bundle.numbers].all():
                continue
            rows.sums[at], rows.counts[at] = table.guess(bundle.numbers, bundle.weights)

    def _find(self, links: CutLinks, pairs: NDArray[np.intp]) -> list[Bundle]:
        """The bundles of some pairs, remembered from earlier cuts or made now."""
        found: list[Bundle | None] = []
        wanted: dict[int, list[tuple[int, I4, Hashable]]] = {}
        nodes = links.places.cut.node[links.rows[pairs, 1]].tolist()
        for at, (pair, node) in enumerate(zip(pairs.tolist(), nodes, strict=True)):
            chosen = links.of(pair)
            key: Hashable = (node, len(chosen), hash(chosen.tobytes()))
            found.append(self._memory.get(key))
            if found[-1] is None:
                wanted.setdefault(node, []).append((at, chosen, key))
        made: list[Bundle] = []
        for node, missing in wanted.items():
            first, stop = self._model.hierarchy.spans[node].tolist()
            groups = [chosen for _, chosen, _ in missing]
            fed = coverage(self._model.passing, self._model.inflow, (first, stop), groups)
            for (at, chosen, key), one in zip(missing, fed, strict=True):
                found[at] = bundle = Bundle(one, chosen, node, key)
                made.append(bundle)
        self._count(made)
        for bundle in made:
            self._memory.put(bundle.key, bundle)
        return [bundle for bundle in found if bundle is not None]

    def loop(self, node: int, numbers: I4) -> Bundle:
        """The weights of these connections, as the loop of a closed node."""
        key: Hashable = ("loop", node)
        found = self._memory.get(key)
        if found is None:
            found = Bundle(Fed(numbers.tolist()), np.zeros(0, np.int32), node, key)
            self._count([found])
            found.ways = 0  # no single ones: a loop stands for one step of all of them
            self._memory.put(key, found)
        return found

    def _count(self, bundles: list[Bundle]) -> None:
        """Fill in how many weights and ways each bundle has."""
        table = self._model.table
        wholes = [b for b in bundles if len(b.whole)]
        if wholes:
            numbers = np.concatenate([b.whole for b in wholes])
            starts = np.cumsum([0, *(len(b.whole) for b in wholes[:-1])])
            weights = np.add.reduceat(table.weights[numbers], starts).tolist()
            pairs = np.add.reduceat(table.joined[numbers], starts).tolist()
            for bundle, weight, pair in zip(wholes, weights, pairs, strict=True):
                bundle.weights, bundle.joined = weight, pair
        for bundle in bundles:
            for number, labels in bundle.parts:
                more, weight = joined(table.connections[number], labels)
                bundle.joined += more
                bundle.weights += weight
            if 0 < len(bundle.numbers) <= MOST_WAYS and len(bundle.links) <= 4 * MOST_WAYS:
                sources = len(set(self._model.graph.link_ends[bundle.links, 0].tolist()))
                bundle.ways = len(bundle.numbers) if sources <= MOST_WAYS else 0

    def searches(self, bundle: Bundle) -> tuple[Search, ...]:
        """The ways of single tensors; none when there are too many to tell apart."""
        return self._searches.find(bundle.key, lambda: self._apart(bundle))

    def _apart(self, bundle: Bundle) -> tuple[Search, ...]:
        model, table = self._model, self._model.table
        first, stop = model.hierarchy.spans[bundle.target].tolist()
        sources = model.graph.link_ends[bundle.links, 0]
        found: list[Search] = []
        for source in np.unique(sources).tolist():
            own = bundle.links[sources == source].tolist()
            try:
                reached = model.passing.ways((first, stop), own, model.shift(source))
            except TooManyWays:
                return ()
            for number, ways in sorted(reached.items()):
                connection, target = table.connections[number], int(table.layer[number])
                found += [Search(connection, source, target, way) for way in ways]
        return tuple(found) if len(found) <= MOST_WAYS else ()

    def sum(self, bundle: Bundle) -> Sum | None:
        """Sum up a bundle all of whose connections have been read.

        Returns
        -------
        Sum or None
            What remains to be done where it would take long; ``None`` when it is done.
        """
        if bundle.sums is not None:
            return None
        if len(bundle.parts) <= AT_ONCE and self._bytes_to_read(bundle) <= READ_AT_ONCE:
            self._sum(bundle)
            return None
        key = ("sum", bundle.key)
        return Sum(
            key, bundle.weights, lambda _: self._sum(bundle), lambda: bundle.sums is not None
        )

    def _bytes_to_read(self, bundle: Bundle) -> int:
        """Bytes of weights that the sums of a bundle need of the file."""
        table, total = self._model.table, 0
        for number, labels in bundle.parts:
            if table.nbytes[number] > READ_AT_ONCE:
                connection = table.connections[number]
                out = np.zeros(connection.out_units, np.int32)
                total += self._model.pyramid.cost(connection, out, labels)
        return total

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
        if self._older is not None:
            bundle.before = self._older.total(bundle.whole, bundle.parts)
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


def _bytes_of(searches: tuple[Search, ...]) -> int:
    return 300 + sum(search.in_unit.nbytes + 300 for search in searches)
