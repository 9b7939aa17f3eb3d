"""Which sibling comes after which: ranks, parts that hang together, and the side rail.

Everything here counts nodes and links only, never sizes, so opening a node changes none of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]

RAIL_MIN_SIBLINGS = 15
RAIL_MIN_LINKS = 4


def rank_nodes(count: int, links: I8) -> I8:
    """Rank of each node: the length of the longest path that leads to it.

    A node that nothing leads to stands right before the first node it feeds, not at the far left.

    Parameters
    ----------
    count : int
        Number of nodes.
    links : int64 array, shape (m, 2)
        Forward links only (source < target), sorted by source: then one pass suffices, since
        sibling order is an order of flow.

    Returns
    -------
    int64 array, shape (count,)
    """
    rank = [0] * count
    fed = [False] * count
    pairs = links.tolist()
    for source, target in pairs:
        fed[target] = True
        if rank[source] >= rank[target]:
            rank[target] = rank[source] + 1
    first = [count] * count
    for source, target in pairs:
        if not fed[source] and rank[target] < first[source]:
            first[source] = rank[target]
    return np.array([f - 1 if f < count else r for r, f in zip(rank, first, strict=True)], np.int64)


def components(count: int, links: I8) -> I8:
    """Number of the part each node belongs to, counted by first member.

    Roots are hooked on one another and flattened, all at once (Shiloach and Vishkin 1982), in
    array passes whose number grows with the logarithm of the count.

    Parameters
    ----------
    count : int
    links : int64 array, shape (m, 2)
        In any direction.

    Returns
    -------
    int64 array, shape (count,)
    """
    low = np.minimum(links[:, 0], links[:, 1])
    high = np.maximum(links[:, 0], links[:, 1])
    joined = np.zeros(count, bool)
    joined[high[low < high]] = True
    if count and joined[1:].all():  # each hangs on an earlier one: all hang on the first
        return np.zeros(count, np.int64)
    root = np.arange(count)
    low, high = low[low < high], high[low < high]
    while len(low):  # hang the higher root on the lowest it is linked to, then flatten
        np.minimum.at(root, high, low)
        while (above := root[root]).tobytes() != root.tobytes():
            root = above
        a, b = root[low], root[high]
        apart = a != b
        low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
    return (np.cumsum(root == np.arange(count)) - 1)[root]


def find_rail(count: int, links: I8) -> NDArray[np.bool_]:
    """Nodes with so many links that they would drown the flow, such as a mask fed to every block.

    The thresholds are TensorBoard's (``extractHighInOrOutDegree``). Unlike there, a node is only
    taken out of the flow where the flow does without it: everything it feeds is fed by another
    node too. So the branching point of many heads and the join of many branches stay.

    Parameters
    ----------
    count : int
    links : int64 array, shape (m, 2)
        Forward links, unique.

    Returns
    -------
    bool array, shape (count,)
    """
    rail = np.zeros(count, bool)
    if count < RAIL_MIN_SIBLINGS or not len(links):
        return rail
    source, target = links[:, 0], links[:, 1]
    feeds = np.bincount(source, minlength=count)
    fed = np.bincount(target, minlength=count)
    rail = feeds > _outlier(feeds, 4.0)
    outside = np.bincount(target[~rail[source]], minlength=count)
    rail[source[rail[source] & (outside[target] == 0)]] = False
    collects = (fed > _outlier(fed, 1.0)) & (feeds == 0) & ~rail
    elsewhere = np.bincount(source[~collects[target]], minlength=count)
    collects[target[collects[target] & (elsewhere[source] == 0)]] = False
    if rail.any():
        _add_feeders(rail, links)
    rail |= collects
    return rail if not rail.all() else np.zeros(count, bool)


def _outlier(degree: I8, spread: float) -> float:
    q1, q3 = np.percentile(degree, [25, 75])
    return max(float(q3 + spread * (q3 - q1)), RAIL_MIN_LINKS)


def _add_feeders(rail: NDArray[np.bool_], links: I8) -> None:
    """Take along, in place, the nodes that feed nothing but the rail."""
    left = np.bincount(links[:, 0], minlength=len(rail)).tolist()
    on_rail = rail.tolist()
    for source, target in links[np.argsort(-links[:, 1], kind="stable")].tolist():
        # targets come in falling order, so a node's own fate is known before its feeders'
        if on_rail[target]:
            left[source] -= 1
            if left[source] == 0:
                on_rail[source] = True
    rail[:] = on_rail
