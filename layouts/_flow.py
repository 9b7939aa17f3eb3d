"""The order of a scope's children: parts, ranks, lanes. No sizes: opening a node changes nothing.

The ranks of all parts are numbered through, one part after another, so that thousands of small
parts cost a few array passes, not thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from layouts._ranks import I8, components, find_rail, rank_nodes

F8 = NDArray[np.float64]
MANY = 6
"""More members of one rank than this stand as an array."""
VERY_MANY = 256


@dataclass(frozen=True)
class Flow:
    """The children of one scope, in order.

    Attributes
    ----------
    part : int64 array, shape (r,)
        Part that each rank belongs to: what hangs together, by its first member; the shelf of
        what hangs on nothing, if there is one, is the last.
    parts : int
        How many parts, the shelf included.
    shelf : bool
        Whether the last part is the shelf; each of its nodes is a rank of its own.
    rank : int64 array, shape (k,)
    rail : bool array, shape (k,)
        Nodes that stand in a row of their own beneath the flow.
    links : int64 array, shape (m, 2)
        Forward links among the nodes that are not on the rail.
    members, first : int64 array, shapes (f,) and (r + 1,)
        Nodes of the flow by rank, from the top lane to the bottom one; those of rank i are
        ``members[first[i]:first[i + 1]]``.
    late : bool array, shape (k,)
        Nodes that nothing leads to, in a rank that is not the first of its part.
    off_axis : bool array, shape (r,)
        Ranks that not all paths go through; the only member of another stands on the axis.
    lane : float64 array, shape (k,)
        Place across the flow in a world where all nodes are of size 1; falls with the order.
    crossing : int64 array, shape (r,)
        How many nodes feed something across the boundary after each rank.
    """

    part: I8
    parts: int
    shelf: bool
    rank: I8
    rail: NDArray[np.bool_]
    links: I8
    members: I8
    first: I8
    late: NDArray[np.bool_]
    off_axis: NDArray[np.bool_]
    lane: F8
    crossing: I8

    @property
    def ranks(self) -> int:
        """How many ranks."""
        return len(self.part)

    @cached_property
    def part_start(self) -> I8:
        """First rank of each part, and the number of ranks; shape (parts + 1,)."""
        return np.searchsorted(self.part, np.arange(self.parts + 1)).astype(np.int64)

    @cached_property
    def feeders(self) -> tuple[I8, I8]:
        """What feeds each node i: ``sources[start[i]:start[i + 1]]``; (start, sources)."""
        return _feeders(len(self.rank), self.links)

    @cached_property
    def feeders_as_lists(self) -> tuple[list[int], list[int]]:
        """The same for reading one at a time."""
        start, source = self.feeders
        return start.tolist(), source.tolist()

    def spread_ranks(self) -> Iterator[list[int]]:
        """For each rank whose members stand beside the axis, these members from the top."""
        everyone, bounds = self.members.tolist(), self.first.tolist()
        for r in np.flatnonzero(self.off_axis).tolist():
            yield everyone[bounds[r] : bounds[r + 1]]


def order_children(count: int, links: I8) -> Flow:
    """Sort a scope's children into parts, ranks and lanes.

    Parameters
    ----------
    count : int
    links : int64 array, shape (m, 2)
        Among the children, in any direction; sorted, unique.
    """
    forward = links[links[:, 0] < links[:, 1]]
    number = components(count, links)
    held = np.bincount(number, minlength=1)
    alone = held[number] == 1
    # Parts by first member, then the shelf.
    linked = np.cumsum(held > 1) - 1
    parts = int((held > 1).sum())
    part_of = np.where(alone, parts, linked[number])
    shelf = bool(alone.any())
    local = rank_nodes(count, forward)
    local[alone] = np.arange(int(alone.sum()))
    depth = np.zeros(parts + shelf, np.int64)
    np.maximum.at(depth, part_of, local + 1)
    start = np.cumsum(depth) - depth
    rank = local + start[part_of]
    rail = find_rail(count, forward)
    inner = forward[~(rail[forward[:, 0]] | rail[forward[:, 1]])]
    total = int(depth.sum())
    flowing = np.flatnonzero(~rail)
    widths = np.bincount(rank[flowing], minlength=total)
    members = flowing[np.argsort(rank[flowing], kind="stable")]
    first = np.append(0, np.cumsum(widths))
    fed = np.zeros(count, bool)
    fed[inner[:, 1]] = True
    late = ~fed & ~rail & (local > 0) & ~alone
    off_axis = (widths > 1) | ((widths == 1) & _spanned(rank, inner, total))
    lane = np.zeros(count)
    _sweep(lane, members, first, np.flatnonzero(off_axis), late, _feeders(count, inner))
    part = np.repeat(np.arange(parts + shelf), depth)
    crossing = _crossing(rank, inner, total)
    return Flow(
        part,
        parts + shelf,
        shelf,
        rank,
        rail,
        inner,
        members,
        first,
        late,
        off_axis,
        lane,
        crossing,
    )


def _feeders(count: int, links: I8) -> tuple[I8, I8]:
    by_target = np.argsort(links[:, 1], kind="stable")
    start = np.append(0, np.cumsum(np.bincount(links[:, 1], minlength=count)))
    return start, links[by_target, 0]


def _spanned(rank: I8, links: I8, ranks: int) -> NDArray[np.bool_]:
    """Whether some link passes each rank by."""
    step = np.zeros(ranks + 2, np.int64)
    np.add.at(step, rank[links[:, 0]] + 1, 1)
    np.add.at(step, rank[links[:, 1]], -1)
    return np.cumsum(step)[:ranks] > 0


def _crossing(rank: I8, links: I8, ranks: int) -> I8:
    furthest = rank.copy()
    np.maximum.at(furthest, links[:, 0], rank[links[:, 1]])
    step = np.zeros(ranks + 1, np.int64)
    np.add.at(step, rank, 1)
    np.add.at(step, furthest, -1)
    return np.cumsum(step)[:ranks]


def _sweep(
    lane: F8,
    members: I8,
    first: I8,
    chosen: I8,
    late: NDArray[np.bool_],
    feeders: tuple[I8, I8],
) -> None:
    """One pass over the ranks: fill in the lanes, and sort each rank's members by them, in place.

    Members are ordered by the barycentre of their predecessors' lanes, ties by sibling order; what
    nothing leads to stands beneath the others, out of their way.
    """
    few, at, is_late = (feeders[0].tolist(), feeders[1].tolist()), one_by_one(lane), late.tolist()
    bounds, everyone = first.tolist(), members.tolist()
    for r in chosen.tolist():
        low, high = bounds[r], bounds[r + 1]
        if high - low == 1:
            node = everyone[low]
            at[node] = -1.0 if is_late[node] else mean_of_few(at, node, few)
        elif high - low <= MANY:
            nodes = everyone[low:high]
            wishes = {m: mean_of_few(at, m, few) for m in nodes}
            nodes.sort(key=lambda m: (is_late[m], -wishes[m], m))
            led = len(nodes) - sum(is_late[m] for m in nodes)
            lanes = spread([wishes[m] for m in nodes[:led]], [1.0] * (led - 1)) if led else []
            while len(lanes) < len(nodes):
                lanes.append((lanes[-1] if lanes else 0.0) - 1.0)
            for node, value in zip(nodes, lanes, strict=True):
                at[node] = value
            everyone[low:high] = nodes
        else:
            everyone[low:high] = _sweep_wide(lane, members[low:high], late, feeders).tolist()
    members[:] = everyone


def _sweep_wide(lane: F8, here: I8, late: NDArray[np.bool_], feeders: tuple[I8, I8]) -> I8:
    """The same for one rank of many; returns its members in order."""
    wish = mean_of_feeders(lane, here, feeders)
    beneath = late[here]
    order = np.lexsort((here, -wish, beneath))
    here = here[order]
    led = len(here) - int(beneath.sum())
    lane[here[:led]] = _lanes_near(wish[order[:led]])
    lowest = float(lane[here[led - 1]]) if led else 0.0
    lane[here[led:]] = lowest - np.arange(1, len(here) - led + 1)
    return here


def _lanes_near(wish: F8) -> F8:
    """Lanes 1 apart, as near to the wished ones as can be; of very many, only in the middle."""
    count = len(wish)
    if not count:
        return wish
    if count > VERY_MANY:
        return np.asarray(wish.mean() + (count - 1) / 2 - np.arange(count))
    return np.array(spread(wish.tolist(), [1.0] * (count - 1)))


def mean_of_feeders(value: F8, nodes: I8, feeders: tuple[I8, I8]) -> F8:
    """Mean of a value over what feeds each of some nodes; 0 where nothing does."""
    start, source = feeders
    low, high = start[nodes], start[nodes + 1]
    count = high - low
    ends = np.cumsum(count)
    at = np.arange(int(ends[-1])) + np.repeat(low - (ends - count), count)
    total = np.bincount(np.repeat(np.arange(len(nodes)), count), value[source[at]], len(nodes))
    return np.asarray(total / np.maximum(count, 1))


def one_by_one(values: F8) -> memoryview[float]:
    """The same numbers, faster to read and write one at a time."""
    return cast("memoryview[float]", values.data)


def mean_of_few(value: memoryview[float], node: int, feeders: tuple[list[int], list[int]]) -> float:
    """The same as `mean_of_feeders`, faster for one node."""
    start, source = feeders
    low, high = start[node], start[node + 1]
    if high - low == 1:
        return float(value[source[low]])
    return sum(value[f] for f in source[low:high]) / (high - low) if high > low else 0.0


def spread(wish: Sequence[float], distance: Sequence[float]) -> list[float]:
    """Heights closest to the wished ones (least squares) that keep order and distance.

    Pool-adjacent-violators, O(k).

    Parameters
    ----------
    wish : sequence of k float
        Wished heights, from the top member to the bottom one.
    distance : sequence of k - 1 float
        Least height of each member above the next.
    """
    if len(wish) == 1:
        return [float(wish[0])]
    offset = [0.0]
    for d in distance:
        offset.append(offset[-1] + d)
    blocks: list[tuple[float, int]] = []
    for w, o in zip(wish, offset, strict=True):
        mean, count = w + o, 1
        while blocks and blocks[-1][0] < mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    pooled = [mean for mean, count in blocks for _ in range(count)]
    return [m - o for m, o in zip(pooled, offset, strict=True)]
