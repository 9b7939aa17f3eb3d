"""Links by the node that holds both their ends: the links that a cut can show, without the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.tree.hierarchy import Hierarchy

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinkIndex:
    """Links sorted by their lowest common ancestor, then by the children of it that they join.

    A link shows in a cut only where its lowest common ancestor is open. Get it from `link_index`.

    Attributes
    ----------
    ends : int32 array, shape (links, 2)
        Place, in the order of the leaves, of each link's source and target.
    order : int32 array, shape (links,)
        Links, sorted.
    pairs : int32 array, shape (pairs, 2)
        Children of the ancestor that a run of links joins, source first; the ancestor itself,
        twice, for a link from a layer to itself.
    starts : int32 array, shape (pairs + 1,)
        Where the run of each pair begins in `order`.
    first : int32 array, shape (nodes + 1,)
        Where the pairs of each node begin.
    """

    ends: I4
    order: I4
    pairs: I4
    starts: I4
    first: I4

    def pairs_below(self, nodes: I4) -> I8:
        """Indices of the pairs whose lowest common ancestor is one of these nodes."""
        return ranges(self.first[nodes], self.first[nodes + 1])


def link_index(hierarchy: Hierarchy) -> LinkIndex:
    """Sort a network's links by where they show.

    Parameters
    ----------
    hierarchy : Hierarchy

    Returns
    -------
    LinkIndex
        Made in O(links × depth of the tree), all in arrays.
    """
    spans, parents = hierarchy.spans, hierarchy.parents
    ends = hierarchy.place[hierarchy.network.link_ends].reshape(-1, 2)
    leaf = _leaves(spans, parents, len(hierarchy.order))
    above = leaf[ends[:, 0]]
    source = above.copy()
    climbing = np.arange(len(ends))
    while len(climbing):
        span, place = spans[above[climbing]], ends[climbing, 1]
        climbing = climbing[(place < span[:, 0]) | (place >= span[:, 1])]
        source[climbing] = above[climbing]
        above[climbing] = parents[above[climbing]]
    target = leaf[ends[:, 1]]
    climbing = np.flatnonzero(target != above)
    while len(climbing):
        climbing = climbing[parents[target[climbing]] != above[climbing]]
        target[climbing] = parents[target[climbing]]
    order = np.lexsort((target, source, above)).astype(np.int32)
    keys = np.stack((above[order], source[order], target[order]), axis=1)
    fresh = np.ones(len(order), bool)
    fresh[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.append(np.flatnonzero(fresh), len(order)).astype(np.int32)
    first = np.searchsorted(keys[fresh, 0], np.arange(len(spans) + 1)).astype(np.int32)
    return LinkIndex(ends, order, np.ascontiguousarray(keys[fresh, 1:]), starts, first)


def _leaves(spans: I4, parents: I4, count: int) -> I4:
    """The node of each place."""
    inner = np.zeros(len(spans), bool)
    inner[parents[parents >= 0]] = True
    rows = np.flatnonzero(~inner & (spans[:, 1] - spans[:, 0] == 1))
    leaf = np.zeros(count, np.int32)
    leaf[spans[rows, 0]] = rows
    return leaf


def ranges(first: NDArray[np.integer], stop: NDArray[np.integer]) -> I8:
    """All numbers of several half-open ranges, one range after the other."""
    lengths = (stop - first).astype(np.int64)
    total = int(lengths.sum())
    step = np.repeat(first - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return np.asarray(np.arange(total) + step)
