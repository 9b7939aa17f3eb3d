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
    if tree.room is not None and tree.room.shape != (n, 3):
        raise ValueError(f"a tree of {n} nodes needs rooms ({n}, 3), not {tree.room.shape}")
    if tree.abreast is not None and tree.abreast.shape != (n,):
        raise ValueError(f"a tree of {n} nodes needs {n} flags, not {tree.abreast.shape}")
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


def lift_each(tree: Tree, depth: I8) -> I8:
    """For each link, the two children of the lowest common ancestor of its ends.

    In as many array passes as the tree is deep.

    Parameters
    ----------
    tree : Tree
    depth : int64 array, shape (n,)
        As `family` gives it.

    Returns
    -------
    int64 array, shape (m, 2)
        Siblings; (-1, -1) for a link from a node to itself or to a node inside or around it, which
        joins no siblings.
    """
    parent = tree.parent.astype(np.int64)
    lifted = np.full((len(tree.links), 2), -1, np.int64)
    at = np.arange(len(tree.links))
    source, target = tree.links[:, 0].astype(np.int64), tree.links[:, 1].astype(np.int64)
    while len(at):
        apart = source != target
        at, source, target = at[apart], source[apart], target[apart]
        siblings = parent[source] == parent[target]
        lifted[at[siblings], 0] = source[siblings]
        lifted[at[siblings], 1] = target[siblings]
        at, source, target = at[~siblings], source[~siblings], target[~siblings]
        up_source, up_target = depth[source] >= depth[target], depth[target] >= depth[source]
        source = np.where(up_source, parent[source], source)
        target = np.where(up_target, parent[target], target)
    return lifted


def lift_links(tree: Tree, depth: I8) -> I8:
    """The links between siblings that the links between leaves imply.

    Parameters
    ----------
    tree : Tree
    depth : int64 array, shape (n,)
        As `family` gives it.

    Returns
    -------
    int64 array, shape (k, 2)
        Unique pairs of siblings, sorted.
    """
    pairs = lift_each(tree, depth)
    n = max(len(tree), 1)
    key = np.sort((pairs[:, 0] * n + pairs[:, 1])[pairs[:, 0] >= 0])
    key = key[np.append(True, np.diff(key) > 0)[: len(key)]]
    return np.column_stack([key // n, key % n])
