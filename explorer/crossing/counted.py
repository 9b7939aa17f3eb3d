"""What an overlay counts among the weights of each edge: near zero, not finite, codes in use.

Sums do not tell these numbers, so the weights are read once more, in the background; until then
an edge has none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.bundles import Bundle
from explorer.crossing.origins import OfBundles, OfNothing, OfStrands, OfUnits, Origin
from explorer.crossing.rows import Crossing, Sum
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.overlays import Counting, Counts, EdgeStats
from explorer.pyramid.tallies import (
    Codes,
    Pairs,
    codes_used,
    count_near_zero,
    count_where,
    near_zero,
    no_number,
)
from explorer.weights.codecs import code_range
from explorer.weights.weight_reader import WeightReader

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
Stopped = Callable[[], bool]
Tally = I8 | Codes
"""Of some pairs: how many weights, or which codes of which weight."""
_ROOM = 48 << 20  # bytes


class Counted:
    """Counts, and remembers what it counted.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._tallies: Memory[Tally] = Memory(_ROOM, _bytes_of)
        self._counts: Memory[Counts] = Memory(_ROOM, lambda c: 300 + 16 * len(c.of))

    def of(self, crossing: Crossing, counting: Counting) -> Crossing:
        """A crossing with what is known, and with what is still to be counted."""
        tasks: list[Sum] = []
        found, first = [], 0
        stats = crossing.edges.stats
        for origin in crossing.origins:
            stop = first + len(origin)
            rows = slice(first, stop)
            found.append(self._run(origin, stats, rows, counting, tasks))
            first = stop
        edges = replace(crossing.edges, stats=replace(stats, counted=_joined(found)))
        return replace(crossing, edges=edges, searches=(*crossing.searches, *tasks))

    def _run(
        self, origin: Origin, stats: EdgeStats, rows: slice, what: Counting, tasks: list[Sum]
    ) -> Counts:
        """Of edges that follow one another."""
        if isinstance(origin, OfBundles):
            return _joined([self._bundle(bundle, what, tasks) for bundle in origin.found])
        if isinstance(origin, OfNothing) or not len(origin):
            return _unknown(len(origin))
        count, bad = stats.count[rows], stats.non_finite[rows]
        if what.kind == "near zero" and (count <= 1).all():
            return Counts(count * (stats.max_abs[rows] <= what.threshold), count)
        numbers = self._numbers(origin)
        if what.kind == "no number":
            if isinstance(origin, OfUnits) or not self._model.table.counts[numbers, 1].any():
                return Counts(bad, count + bad)
        elif what.kind == "codes" and not any(map(self._has_codes, numbers)):
            return _unknown(len(origin))
        found = self._pairs(origin, what, tasks)
        if found is None:
            return _unknown(len(origin))
        found = found.take(slice(len(origin)))
        if what.kind == "near zero":
            return Counts(found.hits, count)
        return found if what.kind == "codes" else Counts(found.hits, count + found.hits)

    # -- wide lines --------------------------------------------------------------------------

    def _bundle(self, bundle: Bundle, what: Counting, tasks: list[Sum]) -> Counts:
        if bundle.counts is None:
            return _unknown(1)
        if what.kind == "no number":
            return Counts(bundle.counts[1:], bundle.counts.sum(keepdims=True))
        key = (what, bundle.key)
        known = self._counts.get(key)
        if known is not None:
            return known
        labels: dict[int, I4 | None] = dict.fromkeys(bundle.whole.tolist())
        labels.update(bundle.parts)
        tallies = [self._part(number, inside, what, tasks) for number, inside in labels.items()]
        if any(tally is None for tally in tallies):
            return _unknown(1)
        total = _merged([tally for tally in tallies if tally is not None])
        return self._counts.put(key, _counts_of(total, bundle.counts[:1]))

    def _part(
        self, number: int, inside: I4 | None, what: Counting, tasks: list[Sum]
    ) -> Tally | None:
        """Of a connection, whole or as far as its in units have a label."""
        connection = self._model.table.connections[number]
        key = (what, number, None if inside is None else hash(inside.tobytes()))
        known = self._tallies.get(key)
        if known is not None:
            return known
        if what.kind == "codes" and not self._has_codes(number):
            return self._tallies.put(key, {})

        def run(stopped: Stopped) -> None:
            if what.kind == "near zero" and inside is None:
                level0 = self._model.pyramid.level0
                whole = count_near_zero(level0, connection, what.threshold, stopped)
                if whole is not None:
                    self._tallies.put(key, np.array([whole], np.int64))
                return
            found = self._tally(number, Pairs.everything(connection, inside), what, stopped)
            if found is not None:
                self._tallies.put(key, found)

        weights = int(self._model.table.weights[number])
        tasks.append(Sum(("count", key), weights, run, lambda: key in self._tallies))
        return None

    def _numbers(self, origin: OfUnits | OfStrands) -> list[int]:
        """Numbers of the connections that some edges are of."""
        if isinstance(origin, OfUnits):
            return origin.numbers
        return [self._model.table.number(origin.search.connection)]

    def _has_codes(self, number: int) -> bool:
        matrices = self._model.table.connections[number].matrices
        return any(code_range(matrix.weight) for matrix in matrices)

    # -- pairs of units ----------------------------------------------------------------------

    def _pairs(
        self, origin: OfUnits | OfStrands, what: Counting, tasks: list[Sum]
    ) -> Counts | None:
        """Of all pairs that are known, drawn or not."""
        if isinstance(origin, OfStrands):
            own: Hashable = (origin.search.key, len(origin.known.out))
        else:
            own = origin.key
        key = (what, own)
        found = self._counts.get(key)
        if found is not None:
            return found

        def run(stopped: Stopped) -> None:
            made = self._count_pairs(origin, what, stopped)
            if made is not None:
                self._counts.put(key, made)

        weights = int(self._model.table.weights[self._numbers(origin)].sum())
        tasks.append(Sum(("count", key), weights, run, lambda: key in self._counts))
        return None

    def _count_pairs(
        self, origin: OfUnits | OfStrands, what: Counting, stopped: Stopped
    ) -> Counts | None:
        labelled, shape, chosen = self._asked(origin)
        tallies: list[Tally] = []
        for number, out, inside in labelled:
            pairs = Pairs.of((out, inside), shape, chosen)
            found = self._tally(number, pairs, what, stopped)
            if found is None:
                return None
            tallies.append(found)
        return _counts_of(_merged(tallies), np.zeros(len(chosen[0]), np.int64))

    def _asked(
        self, origin: OfUnits | OfStrands
    ) -> tuple[Iterable[tuple[int, I4, I4]], tuple[int, int], tuple[I4, I4]]:
        """Connections with labels of their units, how many labels there are, and the pairs."""
        if isinstance(origin, OfUnits):
            return origin.labelled(), origin.shape, (origin.out, origin.inside)
        search, known = origin.search, origin.known
        number = self._model.table.number(search.connection)
        outs, out_at = np.unique(known.out, return_inverse=True)
        ins, in_at = np.unique(known.inside, return_inverse=True)
        units = np.arange(search.connection.out_units)
        labels = number, _places(outs, units), _places(ins, search.in_unit)
        chosen = out_at.astype(np.int32), in_at.astype(np.int32)
        return (labels,), (len(outs), len(ins)), chosen

    def _tally(self, number: int, pairs: Pairs, what: Counting, stopped: Stopped) -> Tally | None:
        """Read the weights of some pairs of a connection; ``None`` when it was stopped."""
        model = self._model
        connection = model.table.connections[number]
        if what.kind == "codes":
            assert isinstance(model.reader, WeightReader)  # differences have no codes
            return codes_used(model.reader, connection, pairs, stopped)
        chosen = near_zero(what.threshold) if what.kind == "near zero" else no_number
        return count_where(model.pyramid.level0, connection, pairs, chosen, stopped)


def _places(names: I4, units: NDArray[np.integer]) -> I4:
    """Position of each unit among some that are sorted; -1 for others."""
    at = np.minimum(np.searchsorted(names, units), len(names) - 1)
    return np.where(names[at] == units, at, -1).astype(np.int32)


def _merged(tallies: list[Tally]) -> Tally:
    """Tallies of disjoint weights taken together; a code that occurs twice is one."""
    total: Tally = {}
    for tally in tallies:
        if isinstance(tally, dict):
            assert isinstance(total, dict)
            for name, used in tally.items():
                total[name] = total[name] | used if name in total else used
        else:
            total = tally if isinstance(total, dict) else total + tally
    return total


def _counts_of(tally: Tally, of: I8) -> Counts:
    """How many of how many; `of` where that is not told by the codes that there are."""
    if not isinstance(tally, dict):
        return Counts(tally, of)
    hits = np.zeros(len(of), np.int64)
    codes = np.zeros(len(of), np.int64)
    for used in tally.values():
        here = used.any(axis=1)  # a weight that has no part in a pair lends it no codes
        hits += used.sum(axis=1)
        codes += np.where(here, used.shape[1], 0)
    return Counts(hits, codes)


def _unknown(number: int) -> Counts:
    return Counts(np.zeros(number, np.int64), np.zeros(number, np.int64))


def _joined(counts: list[Counts]) -> Counts:
    none = np.zeros(0, np.int64)
    return Counts(
        np.concatenate([none, *(c.hits for c in counts)]),
        np.concatenate([none, *(c.of for c in counts)]),
    )


def _bytes_of(tally: Tally) -> int:
    arrays = tally.values() if isinstance(tally, dict) else [tally]
    return 300 + sum(a.nbytes for a in arrays)
