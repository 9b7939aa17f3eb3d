"""From a cut to the edges that cross it: which weights join which visible nodes, how strongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.bundles import Bundle, BundleRows, Bundles, joined
from explorer.crossing.counted import Counted
from explorer.crossing.loops import Loops
from explorer.crossing.older import ANY_CHANGE, ComparedStrongest, Older, rms
from explorer.crossing.origins import OfBundles, OfNothing, OfStrands, OfUnits, Origin
from explorer.crossing.places import CutLinks, cut_links
from explorer.crossing.rows import (
    STATS,
    Crossing,
    EdgeRows,
    Search,
    Share,
    Sum,
    concatenate,
    first,
    plain_rows,
    stats_of,
)
from explorer.crossing.shares import FEWEST, STRANDS, shares, widest
from explorer.crossing.unit_edges import UnitEdges
from explorer.crossing.unit_norms import UnitNorms
from explorer.crossing.unit_sums import UnitSums
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.overlays import Counting, EdgeStats
from explorer.pyramid.connection_table import ConnectionTable
from explorer.pyramid.search.strongest import Strongest, strongest
from explorer.tree.lod import Cut

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
_ROOM = 1 << 20  # bytes of numbers that are told in the legend


@dataclass(frozen=True)
class _Bundled:
    """Pairs of closed nodes that weights join, and what is known of each."""

    pairs: I4
    rows: BundleRows


@dataclass
class _Unfolded:
    """Pairs of which at least one end shows its units."""

    pairs: list[tuple[int, int]] = field(default_factory=list)
    found: list[UnitSums] = field(default_factory=list)
    coarse: list[bool] = field(default_factory=list)
    origins: list[OfUnits] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)
    late_weights: list[int] = field(default_factory=list)
    late_numbers: list[list[int]] = field(default_factory=list)
    flows: list[I4] = field(default_factory=list)


class EdgeFinder:
    """Finds the edges of one model's cuts; remembers what it found.

    Parameters
    ----------
    model : OpenModel

    Attributes
    ----------
    norms : UnitNorms
        What the weights of the units of this model amount to.
    """

    def __init__(self, model: OpenModel) -> None:
        self.model = model
        self._older = Older.of(model)
        self._bundles = Bundles(model, self._older)
        self._units = UnitEdges(model, self._older)
        self._loops = Loops(model)
        self._counted = Counted(model)
        self.norms = UnitNorms(model)
        self._totals: Memory[tuple[int, float]] = Memory(_ROOM, lambda _: 200)

    def crossing(self, cut: Cut, budget: int) -> Crossing:
        """The edges between the visible nodes of a cut.

        Parameters
        ----------
        cut : Cut
        budget : int
            The most edges to return: wide lines, lines without weights and single connections.
            Of too many the strongest or the widest, and the result says how many there are.

        Returns
        -------
        Crossing
        """
        self.model.table.refresh()
        links = cut_links(self.model, cut)
        unfolded = links.places.open[links.rows].any(axis=1)
        sums: list[Sum] = []
        loops, passing = self._looped(links)
        closed, bare = self._closed(links, np.flatnonzero(~unfolded), loops, sums)
        opened = self._opened(links, np.flatnonzero(unfolded), sums)
        flow_pairs = np.concatenate((links.rows[bare], passing, *opened.flows))
        flow_widths = np.ones(len(flow_pairs), np.int64)
        flow_widths[: len(bare)] = links.counts[bare]
        late = len(opened.late)
        bundles = len(closed.pairs) + late
        singles = [len(found.out) for found in opened.found]
        room, quota = shares(budget, (bundles, len(flow_pairs)), singles, closed.rows.ways)
        shown = _strongest_bundles(closed, max(int(room[0]) - late, 0))
        flows = widest(flow_widths, int(room[1]))
        rows = [_bundle_rows(closed, shown), _late_rows(opened, self.model.table)]
        tally = _Tally([OfBundles(closed.rows.found[shown]), OfNothing(late)])
        rows += self._unit_rows(links, opened, quota[: len(singles)], tally)
        rows += self._strand_rows(closed, shown, quota[len(singles) :], tally)
        rows.append(plain_rows(flow_pairs[flows], _nothing(len(flows))))
        tally.origins.append(OfNothing(len(flows)))
        return Crossing(
            concatenate(rows),
            self.model.table,
            self._unread(closed, opened),
            (*sums, *tally.searches, *(self._older.tasks() if self._older else ())),
            tally.shown,
            tally.total,
            tally.shown_sum_sq,
            tally.total_sum_sq,
            self._non_finite(closed, opened),
            Share(len(shown) + late, bundles),
            Share(len(flows), len(flow_pairs)),
            tally.alone,
            tuple(tally.origins),
        )

    def counted(self, crossing: Crossing, counting: Counting | None) -> Crossing:
        """The same with what an overlay counts, as far as it is known."""
        return crossing if counting is None else self._counted.of(crossing, counting)

    def search(self, task: Search | Sum, stopped: Callable[[], bool] = lambda: False) -> None:
        """Find the strands of a tensor, or make a long sum; the next `crossing` shows them."""
        if isinstance(task, Sum):
            task.run(stopped)
            return
        units = np.arange(task.connection.out_units, dtype=np.int32)
        # What is as it was is not shown: there is no need to look at it, pair by pair.
        least = 0.0 if self._older is None else ANY_CHANGE
        found = strongest(self.model.pyramid, task.connection, units, task.in_unit, STRANDS, least)
        if self._older is not None:
            found = self._older.beside(task, found)
        self.model.strands.put(task.key, found)

    def known(self, task: Search | Sum) -> bool:
        """Whether a task has been done."""
        return task.done() if isinstance(task, Sum) else task.key in self.model.strands

    # -- closed nodes ------------------------------------------------------------------------

    def _looped(self, links: CutLinks) -> tuple[dict[int, Bundle], I4]:
        """Loops of closed nodes: by row those of weights, and rows (twice) that pass data on."""
        cut, numbers = links.places.cut, self._loops.numbers
        closed = cut.leaf & np.array([u is None for u in cut.units], bool)
        found, passing = {}, []
        for row, node in self._loops.among(cut.node, closed):
            if len(numbers[node]):
                found[row] = self._bundles.loop(node, numbers[node])
            else:
                passing.append((row, row))
        return found, np.array(passing, np.int32).reshape(-1, 2)

    def _closed(self, links: CutLinks, pairs: NDArray[np.intp], loops: dict[int, Bundle],
                sums: list[Sum]) -> tuple[_Bundled, NDArray[np.intp]]:  # fmt: skip
        """What joins closed nodes, and each to itself: by weights, and pairs without any."""
        rows, late = self._bundles.of(links, pairs, list(loops.values()))
        sums += late
        turning = np.array([(row, row) for row in loops], np.int32).reshape(-1, 2)
        ends = np.concatenate((links.rows[pairs], turning))
        bare = pairs[~rows.weighted[: len(pairs)]]
        return _Bundled(ends[rows.weighted], rows.take(rows.weighted)), bare

    def _strand_rows(
        self, closed: _Bundled, shown: NDArray[np.intp], quota: I8, tally: _Tally
    ) -> list[EdgeRows]:
        rows = []
        wanted = (quota > 0) & ~closed.rows.pending
        wanted[np.setdiff1d(np.arange(len(wanted)), shown)] = False
        split: list[int] = []
        for at in np.flatnonzero(wanted).tolist():
            searches = self._bundles.searches(closed.rows.found[at])
            each = min(int(quota[at]) // max(len(searches), 1), STRANDS)
            if not searches or each < FEWEST:
                continue
            split.append(at)
            for search in searches:
                known = self.model.strands.get(search.key)
                if known is None:
                    tally.searches.append(search)
                    joined, square = self._all(search)
                    tally.total += joined
                    tally.total_sum_sq += square
                    continue
                tally.total += known.total_pairs
                tally.total_sum_sq += known.total_sum_sq
                if len(known.out):
                    rows.append(self._strands(closed.pairs[at], search, known, each))
                    tally.add(rows[-1])
                    tally.origins.append(OfStrands(search, known, len(rows[-1])))
        # Of all others, the weights between two nodes are counted together.
        whole = ~closed.rows.pending
        whole[split] = False
        tally.alone += int((whole & (closed.pairs[:, 0] != closed.pairs[:, 1])).sum())
        whole |= closed.rows.pending
        tally.total += int(closed.rows.joined[whole].sum())
        tally.total_sum_sq += float(closed.rows.sums[whole, 0].sum())
        return rows

    def _all(self, search: Search) -> tuple[int, float]:
        """Connections that a search chooses from, and their Σw² if they have been read."""
        table = self.model.table
        own = table.of_layer(search.target)
        number = next(n for n in own if table.connections[n] is search.connection)
        if search.in_unit.min() >= 0 or not table.ready[number]:
            return search.connection.joined, float(table.sums[number, 0])
        return self._totals.find(search.key, lambda: self._fed(search))

    def _fed(self, search: Search) -> tuple[int, float]:
        out = np.zeros(search.connection.out_units, np.int32)
        label = np.minimum(search.in_unit, 0)
        stats = self.model.pyramid.stats(search.connection, out, label, 1, 1)
        return joined(search.connection, label)[0], float(stats.sum_sq[0, 0])

    def _strands(self, pair: I4, search: Search, known: Strongest, most: int) -> EdgeRows:
        n = min(most, len(known.out))
        before = known.before if isinstance(known, ComparedStrongest) else None
        # Only finite weights take part in the search for the strongest.
        sums = (*(getattr(known, f) for f in STATS[:5]), np.zeros(len(known.out), np.int64))
        stats = replace(EdgeStats(*sums), before=before)
        return EdgeRows(
            np.full(n, pair[0], np.int32),
            np.full(n, pair[1], np.int32),
            self._known_unit(search.source, known.inside[:n]),
            self._known_unit(search.target, known.out[:n]),
            np.full(n, search.source, np.int32),
            np.full(n, search.target, np.int32),
            first(stats, n),
            np.ones(n, bool),
            np.zeros(n, bool),
        )

    def _known_unit(self, layer: int, unit: I4) -> I4:
        """Units that the layer is known to have; -1 for others (its shape is not recorded)."""
        count = self.model.units_of(self.model.graph.layers[layer]).count
        return np.where(unit < count, unit, -1).astype(np.int32)

    # -- open layers -------------------------------------------------------------------------

    def _opened(self, links: CutLinks, pairs: NDArray[np.intp], sums: list[Sum]) -> _Unfolded:
        """What joins the rows of which one end at least shows its units."""
        found, places = _Unfolded(), links.places
        joins = {
            (a, b): links.of(k) for k, (a, b) in zip(pairs, links.rows[pairs].tolist(), strict=True)
        }
        for row in places.opened():
            for number in self.model.table.of_layer(places.layer(row)):
                if self.model.table.connections[number].input < 0:  # from the layer to itself
                    joins.setdefault((row, row), np.zeros(0, np.int32))
        for rows, chosen in joins.items():
            key, ways = self._units.ways(places, rows, chosen)
            joined = None
            if ways.ways:
                known = None
                if self.model.table.ready[ways.numbers].all():
                    known = self._units.sums(places, rows, key, ways)
                if isinstance(known, UnitSums):
                    found.pairs.append(rows)
                    found.found.append(known)
                    found.coarse.append(ways.coarse)
                    found.origins.append(self._units.origin(places, rows, key, ways, known))
                    found.numbers.append(ways.numbers)
                    joined = known.joined
                else:
                    sums += [known] if known is not None else []
                    found.late.append(rows)
                    found.late_numbers.append(ways.numbers)
                    found.late_weights.append(int(self.model.table.weights[ways.numbers].sum()))
                    continue
            if len(ways.direct) == len(chosen) or ways.coarse:
                continue
            grid = self._units.flows(places, rows, key, chosen, ways.direct)
            if grid.size == 0:
                if joined is None and rows[0] != rows[1]:
                    found.flows.append(np.array([rows], np.int32))
                continue
            out, inside = np.nonzero(grid if joined is None else grid & ~joined)
            ends = places.shown(rows[0])[inside], places.shown(rows[1])[out]
            found.flows.append(np.stack(ends, axis=1))
        return found

    def _unit_rows(
        self, links: CutLinks, opened: _Unfolded, quota: I8, tally: _Tally
    ) -> list[EdgeRows]:
        rows, places = [], links.places
        for (source, target), found, coarse, origin, most in zip(
            opened.pairs, opened.found, opened.coarse, opened.origins, quota.tolist(), strict=True
        ):
            tails = np.array([source], np.int32) if coarse else places.shown(source)
            ends = np.stack(
                (tails[found.inside[:most]], places.shown(target)[found.out[:most]]), axis=1
            )
            part = plain_rows(ends, first(found.stats, most))
            rows.append(part)
            tally.origins.append(replace(origin, shown=len(part)))
            # A line between groups stands for many connections: it is not one of those told singly.
            tally.add(part.take(found.single[:most]))
            tally.total += found.total
            tally.total_sum_sq += found.total_sum_sq
        return rows

    # -- what is told besides ----------------------------------------------------------------

    def _unread(self, closed: _Bundled, opened: _Unfolded) -> I4:
        late = [bundle.numbers for bundle in closed.rows.found[closed.rows.pending].tolist()]
        shown = self._among([*late, *opened.late_numbers])
        return np.flatnonzero(shown & ~self.model.table.ready).astype(np.int32)

    def _among(self, numbers: Sequence[I4 | list[int]]) -> NDArray[np.bool_]:
        """Which connections are in at least one of some lists of numbers."""
        shown = np.zeros(len(self.model.table), bool)
        if numbers:
            shown[np.concatenate(numbers).astype(np.intp)] = True
        return shown

    def _non_finite(self, closed: _Bundled, opened: _Unfolded) -> int:
        """Weights that are not finite; one that shows in several edges counts once."""
        table = self.model.table
        if not table.counts[:, 1].any():
            return 0
        lists: list[I4 | list[int]] = [bundle.numbers for bundle in closed.rows.found.tolist()]
        lists += opened.numbers + opened.late_numbers
        return int(table.counts[self._among(lists), 1].sum())


@dataclass
class _Tally:
    """What is counted while single connections are gathered."""

    origins: list[Origin]
    shown: int = 0
    total: int = 0
    shown_sum_sq: float = 0.0
    total_sum_sq: float = 0.0
    alone: int = 0
    searches: list[Search] = field(default_factory=list)

    def add(self, rows: EdgeRows) -> None:
        """Count connections that are drawn."""
        self.shown += len(rows)
        self.shown_sum_sq += float(rows.stats.sum_sq.sum())


def _strongest_bundles(closed: _Bundled, most: int) -> NDArray[np.intp]:
    """Positions of the strongest bundles; those not yet read come last, the widest first."""
    if len(closed.pairs) <= most:
        return np.arange(len(closed.pairs))
    mean_square = closed.rows.sums[:, 0] / np.maximum(closed.rows.counts[:, 0], 1)
    order = np.lexsort((-closed.rows.counts[:, 1], -mean_square, closed.rows.pending))
    return np.sort(order[:most])


def _bundle_rows(closed: _Bundled, shown: NDArray[np.intp]) -> EdgeRows:
    before = rms(np.array([b.before for b in closed.rows.found[shown]]).reshape(-1, 2))
    stats = stats_of(closed.rows.sums[shown], closed.rows.counts[shown])
    stats = replace(stats, before=before)
    return plain_rows(closed.pairs[shown], stats, closed.rows.pending[shown])


def _late_rows(opened: _Unfolded, table: ConnectionTable) -> EdgeRows:
    """One line for each pair whose weights are not yet read, or not yet summed."""
    ends = np.array(opened.late, np.int32).reshape(-1, 2)
    sums, counts = np.zeros((len(ends), 4)), np.zeros((len(ends), 2), np.int64)
    counts[:, 1] = opened.late_weights
    known = table.ready | table.partly
    for at, numbers in enumerate(opened.late_numbers):
        if known[numbers].all():
            sums[at], counts[at] = table.guess(np.array(numbers), opened.late_weights[at])
    stats = stats_of(sums, counts)
    return plain_rows(ends, stats, np.ones(len(ends), bool))


def _nothing(count: int) -> EdgeStats:
    return stats_of(np.zeros((count, 4)), np.zeros((count, 2), np.int64))
