"""Equal siblings side by side: what is fed by the same and read by the same is one series.

Such twins are the parallel modules of a graph's modular decomposition (Gallai 1967). A group of
them is convex: a way out of it and back would lead from what reads one to what feeds all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.tree.forest import SCOPE, Forest, mixed
from explorer.tree.structure import MOST_CHILDREN
from explorer.tree.titles import Titles

I8 = NDArray[np.int64]

_LEAST = 8  # so many twins tell more as one series than one by one


def fans(forest: Forest, titles: Titles) -> None:
    """Fold twins in every scope that has too many children; O(V + E).

    Parameters
    ----------
    forest : Forest
    titles : Titles
    """
    held = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
    wide = (held > MOST_CHILDREN) & (forest.kinds == SCOPE)
    members = np.flatnonzero((forest.parent >= 0) & wide[forest.parent])
    if not len(members):
        return
    links = forest.links
    read = np.zeros(len(forest.parent), np.uint64)
    np.add.at(read, links.u, mixed(links.v, 8) * links.at_a)
    linked = (forest.counts[members] > 0) | (read[members] > 0)
    members = members[linked]
    key = mixed(forest.parent[members], 9)
    for salt, of in enumerate((forest.inside, forest.fed, read)):
        key = mixed(key + mixed(of[members], 10 + salt), 10)
    _, group, count = np.unique(key, return_inverse=True, return_counts=True)
    many = count[group] >= _LEAST
    members, group = members[many], group[many]
    if not len(members):
        return
    order = np.lexsort((forest.rank[members], group))
    members, group = members[order], np.unique(group[order], return_inverse=True)[1].ravel()
    first = np.flatnonzero(np.diff(group, prepend=-1))
    last = np.append(first[1:], len(group)) - 1
    forest.nest(members, group, titles.fans(members[first], members[last]))
