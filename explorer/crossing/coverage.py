"""Which weights inside a closed node are fed by which groups of links into it, all groups at once.

One pass over the links that are reached, in the order of the flow. Groups that feed all units of a
tensor, which nearly all do, are the bits of one number; only where a concatenation brings a part of
the units are they told one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from explorer.flow.inflow import Inflow
from explorer.flow.passing import Passing, along

I4 = NDArray[np.int32]
_Parts = dict[int, I4]  # by group: 0 for units that it feeds, -1 for others
_Arrival = tuple[int, int, _Parts]  # link, groups that feed all units, groups that feed some


@dataclass
class Fed:
    """The connections inside a node that a group of links feeds.

    Attributes
    ----------
    whole : list of int
        Numbers of the connections all of whose in units are fed, ascending.
    parts : dict of int: int32 array, shape (in_units,)
        Of each other connection: 0 for in units that are fed, -1 for others.
    """

    whole: list[int] = field(default_factory=list)
    parts: dict[int, I4] = field(default_factory=dict)


@dataclass
class _Reached:
    """The groups that feed one tensor: wholly, as bits, or in part."""

    whole: int = 0
    parts: _Parts = field(default_factory=dict)

    def add(self, whole: int, parts: _Parts) -> tuple[int, _Parts]:
        """Add groups; returns what is new."""
        new = whole & ~self.whole
        self.whole |= new
        if not parts:
            return new, parts
        fresh: _Parts = {}
        for group, labels in parts.items():
            if self.whole >> group & 1:
                continue
            old = self.parts.get(group)
            both = labels if old is None else np.maximum(old, labels)
            if both.min(initial=0) >= 0:
                new |= 1 << group
                self.whole |= 1 << group
            elif old is None or not np.array_equal(both, old):
                fresh[group] = self.parts[group] = both
        return new, fresh


def coverage(
    passing: Passing, inflow: Inflow, span: tuple[int, int], groups: Sequence[I4]
) -> list[Fed]:
    """Which connections inside a node are fed by each of several groups of links into it.

    Parameters
    ----------
    passing : Passing
    inflow : Inflow
        Of the same passing.
    span : (first, stop)
        Places of the layers inside the node.
    groups : sequence of int32 array
        Numbers of links into it from outside.

    Returns
    -------
    list of Fed
        One per group.
    """
    fed = [Fed() for _ in groups]
    leading = [sum(map(passing.leads.__getitem__, links.tolist())) for links in groups]
    if sum(count > 0 for count in leading) == 1:
        everything = inflow.fed(span, sum(leading))
        if everything is not None:  # what anything outside feeds, this group feeds
            fed[int(np.argmax(leading))].whole = everything.tolist()
            return fed
    simple = inflow.fed_by(span, groups)
    if simple is not None:
        for bits, numbers in _by_bits(simple).items():
            for group in _bits(bits):
                fed[group].whole += numbers
        for one in fed:
            one.whole.sort()
        return fed
    found = _Coverage(passing, span).run(groups)
    for number in sorted(found):
        reached = found[number]
        for group in _bits(reached.whole):
            fed[group].whole.append(number)
        for group, labels in reached.parts.items():
            if not reached.whole >> group & 1:
                fed[group].parts[number] = labels
    return fed


class _Coverage:
    def __init__(self, passing: Passing, span: tuple[int, int]) -> None:
        self.passing, self.span = passing, span
        self.arrived: dict[int, list[_Arrival]] = {}
        self.queue: list[int] = []
        self.reached: dict[tuple[int, int, int], _Reached] = {}
        self.found: dict[int, _Reached] = {}

    def run(self, groups: Sequence[I4]) -> dict[int, _Reached]:
        """Follow the groups; returns what reaches each connection, by number."""
        for group, links in enumerate(groups):
            for link in links.tolist():
                if self.passing.leads[link] and self.passing.channels(link):
                    self._send(link, 1 << group, {})
        while self.queue:
            at = heapq.heappop(self.queue)
            self._visit(self.passing.order[at], self.arrived.pop(at))
        return self.found

    def _send(self, link: int, whole: int, parts: _Parts) -> None:
        at = self.passing.place[self.passing.target[link]]
        if at not in self.arrived:
            self.arrived[at] = []
            heapq.heappush(self.queue, at)
        self.arrived[at].append((link, whole, parts))

    def _visit(self, layer: int, arrivals: list[_Arrival]) -> None:
        passing, (first, stop) = self.passing, self.span
        if passing.ends(layer):
            self._feed(arrivals)
            return
        if passing.clear(layer):
            self._pass_on((layer, 0, 0), passing.onward(layer, self.span), arrivals)
            return
        for output, count, links in passing.ports(layer):
            place, target, leads = passing.place, passing.target, passing.leads
            onward = [k for k in links if leads[k] and first <= place[target[k]] < stop]
            if onward:
                through = [
                    (link, *self._through(link, output, count, whole, parts))
                    for link, whole, parts in arrivals
                ]
                self._pass_on((layer, output, count), onward, through)

    def _pass_on(
        self, port: tuple[int, int, int], onward: list[int], arrivals: list[_Arrival]
    ) -> None:
        """Send what is new at an output along the links that leave it."""
        known = self.reached.get(port)
        if known is None:
            known = self.reached[port] = _Reached()
        new = 0
        fresh: _Parts = {}
        for _, whole, parts in arrivals:
            more, changed = known.add(whole, parts)
            new |= more
            fresh.update(changed)
        if new or fresh:
            for k in onward:
                self._send(k, new, fresh)

    def _through(
        self, link: int, output: int, count: int, whole: int, parts: _Parts
    ) -> tuple[int, _Parts]:
        """What a layer that may mix or choose units makes of what arrives."""
        passed = self.passing.step(link, output, count)
        if passed is None:
            return 0, {}
        if passed.index is None:
            return whole, parts
        made = {group: along(labels, passed) for group, labels in parts.items()}
        fed = np.where(passed.index >= 0, np.int32(0), np.int32(-1))
        if fed.min(initial=0) < 0:
            made.update(dict.fromkeys(_bits(whole), fed))
            whole = 0
        return whole, {g: labels for g, labels in made.items() if labels.max(initial=-1) >= 0}

    def _feed(self, arrivals: list[_Arrival]) -> None:
        for number, at in self.passing.read_by([link for link, _, _ in arrivals]):
            link, whole, parts = arrivals[at]
            way = self.passing.feeds(link, number)
            if way is None:
                continue
            if way.index is not None:
                parts = {group: along(labels, way) for group, labels in parts.items()}
            self.found.setdefault(number, _Reached()).add(whole, parts)


def _by_bits(found: dict[int, int]) -> dict[int, list[int]]:
    """Numbers of the connections that the same groups feed."""
    made: dict[int, list[int]] = {}
    for number, bits in found.items():
        made.setdefault(bits, []).append(number)
    return made


def _bits(number: int) -> Iterator[int]:
    """Positions of the bits that are set, ascending."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
