"""From how far back each connection is fed, found for a whole network in two passes.

A node whose layers stand together in the order of the flow is entered by whatever comes from before
its first layer. So one number per connection, the earliest layer that it is fed from through layers
that pass units on unchanged, tells for every node at once whether it is fed from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.flow.passing import Passing

I4 = NDArray[np.int32]


class Inflow:
    """What feeds the connections of a model, and which links lead to any.

    Parameters
    ----------
    passing : Passing
    """

    def __init__(self, passing: Passing) -> None:
        table, order = passing.table, np.asarray(passing.order, np.int64)
        place = np.array(passing.place, np.int32)
        self._source: I4 = place[np.array(passing.source, np.int64)]  # places of the ends of links
        self._target: I4 = place[np.array(passing.target, np.int64)]
        ends = passing.all_ends[order]
        links, numbers = passing.all_feeds()
        self._earliest = np.full(len(table), len(order), np.int32)
        low, hard = self._back(passing, ends)
        np.minimum.at(self._earliest, numbers, low[self._source[links]])
        fed_by = place[table.layer]
        self._by_place = np.argsort(fed_by, kind="stable").astype(np.int32)
        self._places: I4 = fed_by[self._by_place]
        # A link that runs back to where units end passes nothing on, but feeds from behind.
        odd = hard.copy()
        odd[self._target[self._source >= self._target]] = True
        self._hard, self._odd = (np.append(0, np.cumsum(there)) for there in (hard, odd))
        feeds = np.zeros(len(self._source), bool)
        feeds[links] = True
        leads = self._forward(passing, ends, feeds)
        passing.leads[:] = leads.tolist()
        leading = np.flatnonzero(leads)
        leading = leading[np.argsort(self._target[leading], kind="stable")]
        self._sources: I4 = self._source[leading]
        self._targets: I4 = self._target[leading]
        self._ends: list[bool] = ends.tolist()
        self._leads, self._channels = passing.leads, passing.channels
        onward = leading[~ends[self._targets]]
        count = len(order)
        self._onward = _Lists(self._source[onward], self._target[onward], count)
        # Connections by the place of the layer before theirs, and by link.
        self._fed = _Lists(self._source[links], self._target[links], count)
        self._numbers = _Lists(self._source[links], numbers, count).values
        self._fed_by = _Lists(links, numbers, len(self._source))

    def _back(self, passing: Passing, ends: NDArray[np.bool_]) -> tuple[I4, NDArray[np.bool_]]:
        """Earliest place that feeds what stands at each, and places that mix what they pass on."""
        layers = passing.order
        clear = ~ends
        clear[clear] = [passing.clear(layers[at]) for at in np.flatnonzero(clear).tolist()]
        hard = passing.all_passes[np.asarray(layers, np.int64)] & ~clear
        hard[self._target[(self._source >= self._target) & ~ends[self._target]]] = True
        through = np.flatnonzero(clear[self._target])
        through = through[np.argsort(self._target[through], kind="stable")]
        low = list(range(len(layers)))
        # In the order of the flow, so that what feeds a layer is known when it is met.
        for source, target in zip(
            self._source[through].tolist(), self._target[through].tolist(), strict=True
        ):
            if low[source] < low[target]:
                low[target] = low[source]
        return np.array(low, np.int32), hard

    def _forward(
        self, passing: Passing, ends: NDArray[np.bool_], feeds: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which links lead to any connection, through however many layers."""
        passes = passing.all_passes[np.asarray(passing.order, np.int64)]
        leads = np.zeros(len(passes), bool)  # by place
        sure = np.where(ends[self._target], feeds, self._target <= self._source)
        leads[self._source[sure]] = True
        leads &= passes
        onward = np.flatnonzero(passes[self._source] & ~leads[self._source] & ~ends[self._target])
        onward = onward[np.argsort(-self._source[onward], kind="stable")]
        known = leads.tolist()
        # Against the flow, so that what lies behind a link is known when it is met.
        for source, target in zip(
            self._source[onward].tolist(), self._target[onward].tolist(), strict=True
        ):
            if known[target]:
                known[source] = True
        return np.where(ends[self._target], feeds, np.array(known, bool)[self._target])

    def fed_by(self, span: tuple[int, int], groups: Sequence[I4]) -> dict[int, int] | None:
        """Connections inside a node by the groups of links into it that feed them.

        Parameters
        ----------
        span : (first, stop)
            Places of the layers inside the node.
        groups : sequence of int32 array
            Numbers of links into it from outside.

        Returns
        -------
        dict of int: int, or None
            By the number of a connection, a bit for each group that feeds it, in all its units;
            ``None`` where the node holds layers that choose or mix units, or that pass them on to
            what stands before them.
        """
        first, stop = span
        if self._hard[stop] != self._hard[first]:
            return None
        at: dict[int, int] = {}  # by place
        found: dict[int, int] = {}
        for group, links in enumerate(groups):
            bit = 1 << group
            for link, place in zip(links.tolist(), self._target[links].tolist(), strict=True):
                if not self._leads[link] or not self._channels(link):
                    continue
                if not self._ends[place]:
                    at[place] = at.get(place, 0) | bit
                    continue
                by_link = self._fed_by.starts
                for number in self._fed_by.values[by_link[link] : by_link[link + 1]]:
                    found[number] = found.get(number, 0) | bit
        # In the order of the flow, so that all that comes to a place is known when it is met.
        onward, targets = self._onward.starts, self._onward.values
        feeding, fed, numbers = self._fed.starts, self._fed.values, self._numbers
        for place in sorted(self._reached(at, span)):
            bits = at[place]
            for target in targets[onward[place] : onward[place + 1]]:
                if first <= target < stop:
                    at[target] = at.get(target, 0) | bits
            for k in range(feeding[place], feeding[place + 1]):
                if first <= fed[k] < stop:
                    number = numbers[k]
                    found[number] = found.get(number, 0) | bits
        return found

    def _reached(self, places: Iterable[int], span: tuple[int, int]) -> set[int]:
        """Places inside that these lead to through layers that pass units on, and they."""
        first, stop = span
        starts, targets = self._onward.starts, self._onward.values
        seen, todo = set(places), list(places)
        while todo:
            place = todo.pop()
            for target in targets[starts[place] : starts[place + 1]]:
                if first <= target < stop and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen

    def fed(self, span: tuple[int, int], links: int) -> I4 | None:
        """Numbers of the connections inside a node that some links feed, in all their units.

        Parameters
        ----------
        span : (first, stop)
            Places of the layers inside the node.
        links : int
            How many of the links into the node that lead to any connection are meant.

        Returns
        -------
        int32 array or None
            Ascending; ``None`` where those are not all of them, or where the node holds layers
            that choose or mix units, or links that run back: these take a closer look.
        """
        first, stop = span
        if self._odd[stop] != self._odd[first]:
            return None
        a, b = np.searchsorted(self._targets, (first, stop))
        sources = self._sources[a:b]
        if links != np.count_nonzero((sources < first) | (sources >= stop)):
            return None
        a, b = np.searchsorted(self._places, (first, stop))
        numbers = self._by_place[a:b]
        return np.sort(numbers[self._earliest[numbers] < first])


class _Lists:
    """Numbers by a key: those of key k are ``values[starts[k]:starts[k + 1]]``."""

    def __init__(self, keys: NDArray[np.integer], values: NDArray[np.integer], count: int) -> None:
        order = np.argsort(keys, kind="stable")
        bounds = np.searchsorted(keys[order], np.arange(count + 1))
        self.starts: list[int] = bounds.tolist()
        self.values: list[int] = values[order].tolist()
