"""From how far back each connection is fed, found for a whole network in two passes.

A node whose layers stand together in the order of the flow is entered by whatever comes from before
its first layer. So one number per connection, the earliest layer that it is fed from through layers
that pass units on unchanged, tells for every node at once whether it is fed from outside.
"""

from __future__ import annotations

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
        self._passing = passing
        self._earliest, odd = self._back()
        layer = passing.table.layer
        place = np.array(passing.place, np.int32)[layer]
        self._by_place = np.argsort(place, kind="stable").astype(np.int32)
        self._places: I4 = place[self._by_place]
        self._odd = np.concatenate(([0], np.cumsum(odd)))
        self._forward()
        layers = np.array([passing.source, passing.target], np.int64).reshape(2, -1)
        places = np.array(passing.place, np.int32)[layers[:, np.array(passing.leads, bool)]]
        order = np.argsort(places[1], kind="stable")
        self._sources: I4 = places[0][order]
        self._targets: I4 = places[1][order]

    def _back(self) -> tuple[I4, NDArray[np.bool_]]:
        """Earliest place that feeds each connection, and places where that is not all there is."""
        passing = self._passing
        count = len(passing.place)
        low = list(range(count))  # by place: the earliest that feeds a clear layer
        odd = np.zeros(count, bool)
        earliest = np.full(len(passing.table), count, np.int32)
        for place, layer in enumerate(passing.order):
            into = passing.into(layer)
            sources = [passing.place[passing.source[k]] for k in into]
            if any(source >= place for source in sources):
                odd[place] = True
            if passing.ends(layer):
                for number in passing.table.of_layer(layer):
                    fed = [low[source] for k, source in zip(into, sources, strict=True)
                           if passing.feeds(k, number) is not None]  # fmt: skip
                    earliest[number] = min(fed, default=count)
            elif passing.clear(layer):
                low[place] = min((low[source] for source in sources), default=place)
            elif passing.passes(layer):
                odd[place] = True
        return earliest, odd

    def _forward(self) -> None:
        """Tell the passing which links lead to no connection at all."""
        passing = self._passing
        leads = [False] * len(passing.place)
        for place in range(len(passing.order) - 1, -1, -1):
            layer = passing.order[place]
            if passing.ends(layer):
                numbers = passing.table.of_layer(layer)
                for k in passing.into(layer):
                    passing.leads[k] = any(passing.feeds(k, n) is not None for n in numbers)
                continue
            if passing.passes(layer):
                out = passing.out(layer)
                leads[layer] = any(
                    passing.leads[k] or passing.place[passing.target[k]] <= place for k in out
                )
            for k in passing.into(layer):
                passing.leads[k] = leads[layer]

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
