"""The shape of a tree as arrays: children, depths, and links lifted to siblings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layouts.tree import Tree

I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Family:
    """Who stands inside whom.

    Attributes
    ----------
    order : int64 array, shape (n - 1,)
        All nodes but the root, grouped by parent, in sibling order.
    start : int64 array, shape (n + 1,)
        The children of node i are ``order[start[i]:start[i + 1]]``.
    depth : int64 array, shape (n,)
        0 for the root.
    leaves : int64 array, shape (n,)
        How many leaves each node holds; 1 for a leaf.
    """

    order: I8
    start: I8
    depth: I8
    leaves: I8

    def children(self, node: int) -> I8:
        """The children of a node, in sibling order."""
        return self.order[self.start[node] : self.start[node + 1]]


def check(tree: Tree) -> None:
    """Raise ValueError, in one line, where a tree breaks the rules that `Tree` states."""
    n = len(tree.parent)
    if tree.size.shape != (n, 3) or tree.grid.shape != (n, 2):
        raise ValueError(f"a tree of {n} nodes needs sizes ({n}, 3) and grids ({n}, 2)")
    if tree.links.ndim != 2 or tree.links.shape[1] != 2:
        raise ValueError(f"links must be pairs, not of shape {tree.links.shape}")
    if n and (tree.parent[0] != -1 or (tree.parent[1:] >= np.arange(1, n)).any()):
        raise ValueError("node 0 must be the root and every parent must precede its children")
    if (tree.parent[1:] < 0).any():
        raise ValueError("a tree has one root only")
    if tree.links.size and (tree.links.min() < 0 or tree.links.max() >= n):
        raise ValueError("a link names a node that is not in the tree")


def family(parent: NDArray[np.int32]) -> Family:
    """Children, depths and leaf counts of a tree whose parents precede their children."""
    n = len(parent)
    order = np.argsort(parent[1:], kind="stable").astype(np.int64) + 1
    start = np.searchsorted(parent[order], np.arange(n + 1)).astype(np.int64)
    above = parent.tolist()
    depth = [0] * n
    for i in range(1, n):
        depth[i] = depth[above[i]] + 1
    leaves = [0] * n
    for i in range(n - 1, -1, -1):
        leaves[i] = leaves[i] or 1
        if i:
            leaves[above[i]] += leaves[i]
    return Family(order, start, np.array(depth, np.int64), np.array(leaves, np.int64))


def lift_links(tree: Tree, depth: I8) -> I8:
    """Links between siblings that the links between leaves imply.

    Each link is lifted to the two children of the lowest common ancestor of its ends, in as many
    array passes as the tree is deep.

    Parameters
    ----------
    tree : Tree
    depth : int64 array, shape (n,)
        As `family` gives it.

    Returns
    -------
    int64 array, shape (k, 2)
        Unique pairs of siblings, sorted. Links from a node to itself or to a node inside or around
        it join no siblings and are left out.
    """
    source, target = tree.links[:, 0].astype(np.int64), tree.links[:, 1].astype(np.int64)
    parent = tree.parent.astype(np.int64)
    found = [np.empty((0, 2), np.int64)]
    while len(source):
        deeper, shallower = depth[source] > depth[target], depth[source] < depth[target]
        level = ~(deeper | shallower)
        siblings = level & (parent[source] == parent[target])
        pairs = np.column_stack([source[siblings], target[siblings]])
        found.append(pairs[pairs[:, 0] != pairs[:, 1]])
        keep = ~siblings
        up_source, up_target = (level | deeper)[keep], (level | shallower)[keep]
        source, target = source[keep], target[keep]
        source = np.where(up_source, parent[source], source)
        target = np.where(up_target, parent[target], target)
        apart = source != target
        source, target = source[apart], target[apart]
    pairs = np.concatenate(found)
    n = len(parent)
    key = np.unique(pairs[:, 0] * n + pairs[:, 1])
    return np.column_stack([key // n, key % n]) if n else pairs
