"""Making the tree that people see from a layer graph.

Sources of the tree, in order: nesting recorded in the file; scopes in names; prefixes of flat
names; the structure of the graph (stages, regions between bottlenecks, repeats, branches side by
side); equal siblings side by side, and contiguous segments, where a scope would still be too wide.
Every group is convex, so no cut through the tree shows a cycle that the network does not have.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from explorer.kinds import family
from explorer.network import Network
from explorer.tree import likeness, repeats, structure
from explorer.tree.convex import Nesting, nested
from explorer.tree.endings import group_by_endings
from explorer.tree.fans import fans
from explorer.tree.forest import SCOPE, Forest, Links, Meta, mixed
from explorer.tree.hierarchy import GroupTexts, Hierarchy, NodeTable
from explorer.tree.names import ENDING, Groups, Paths, layer_title, named_groups
from explorer.tree.order import layer_order
from explorer.tree.titles import Titles

I8 = NDArray[np.int64]
_MOST_ROUNDS = 8


def build_hierarchy(network: Network, weighted: Collection[str]) -> Hierarchy:
    """Make the tree that people see.

    Parameters
    ----------
    network : Network
        With composite layers already expanded into scopes.
    weighted : collection of str
        Paths of the layers whose weights join units; each leads a stage.

    Returns
    -------
    Hierarchy
        The time to make it grows with layers and links, a little faster than linearly.
    """
    order, links, alike = _graph(network)
    taken = Paths(network)
    groups = named_groups(network, taken)
    of_layer = np.array(groups.of_layer, np.int64)[order]
    layers = [network.layers[i] for i in order.tolist()]
    pairs = np.stack((links.a, links.b), axis=1)
    group_by_endings(layers, groups, of_layer, pairs, taken)
    nesting = nested(groups, of_layer, pairs, taken)
    forest = _forest(groups, nesting, links, alike)
    titles = Titles(forest, layers, taken)
    kinds = [layer.op for layer in layers]
    families = {kind: family(kind) for kind in set(kinds)}
    leads = np.array([la.path in weighted for la in layers], bool)
    follows = {k: f not in ("merge", "input", "attention") for k, f in families.items()}
    follow = np.array([follows[kind] for kind in kinds], bool)
    inputs = np.array([families[kind] == "input" for kind in kinds], bool)
    open_ = _open(forest, np.arange(forest.layers, len(forest.parent)))
    structure.stages(forest, titles, open_, leads, follow & ~leads)
    open_ = open_[~_told_by_endings(forest)[open_]]
    fans(forest, titles)
    for _ in range(_MOST_ROUNDS):
        new = [structure.regions(forest, titles, open_, inputs)]
        new.append(repeats.series(forest, titles, open_))
        new.append(structure.branches(forest, titles, open_))
        open_ = _open(forest, np.concatenate(new))
        if not len(open_):
            break
    fans(forest, titles)
    structure.segments(forest, titles)
    return _hierarchy(network, order, forest)


def _open(forest: Forest, groups: I8) -> I8:
    """The groups among these that may be divided further."""
    closed = np.zeros(len(forest.parent), bool)
    closed[forest.layers :] = forest.meta.composite
    closed |= forest.kinds != SCOPE
    return groups[~closed[groups]]


def _told_by_endings(forest: Forest) -> NDArray[np.bool_]:
    """Groups whose branches their names have told, and that are readable as they are."""
    held = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
    told = np.zeros(len(forest.parent), bool)
    told[forest.layers :] = [ENDING in prefix for prefix in forest.meta.prefix]
    return np.asarray(told & (held <= structure.MOST_CHILDREN))


def _graph(network: Network) -> tuple[I8, Links, NDArray[np.uint64]]:
    """An order of flow of the layers, the links between them, and what makes layers alike."""
    n = len(network.layers)
    ends = network.link_ends.astype(np.int64)
    order, forward = layer_order(n, ends)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    output, into = network.link_ports.astype(np.int64).T
    what = mixed(64 * into + output, 20)
    at = place[ends]
    alike = mixed(likeness.alike(network)[order], 21)
    # What closes a loop is part of what its ends are.
    back = ~forward
    for side in (0, 1):
        turn = mixed(at[back, 1] - at[back, 0], 22 + side) + what[back]
        np.add.at(alike, at[back, side], mixed(turn, 24))
    at, what = at[forward], what[forward]
    by_pair = np.lexsort((at[:, 1], at[:, 0]))
    at, what = at[by_pair], what[by_pair]
    first = np.flatnonzero(np.any(np.diff(at, axis=0, prepend=-1) != 0, axis=1))
    total = np.add.reduceat(what, first) if len(first) else what
    return order, Links(at[first], total), alike


def _forest(groups: Groups, nesting: Nesting, links: Links, alike: NDArray[np.uint64]) -> Forest:
    """The named groups put around the layers, inner before outer."""
    n = len(alike)
    root = Meta(
        [""], [groups.title[0]], [""], [SCOPE], [False], [False], [groups.prefix[0]], [False]
    )
    forest = Forest(alike, links, root)
    forest.rank[:n] = nesting.rank[:n]
    made = np.full(len(nesting.parent), -1, np.int64)
    made[: n + 1] = np.arange(n + 1)
    depth_of_link = np.maximum(nesting.depth[links.a], nesting.depth[links.b])
    deepest = np.argsort(-depth_of_link, kind="stable")
    depths = -depth_of_link[deepest]
    for depth in range(int(nesting.depth.max(initial=0)), 1, -1):
        member = np.flatnonzero(nesting.depth == depth)
        group, which = np.unique(nesting.parent[member], return_inverse=True)
        rows = (group - n).tolist()
        meta = Meta(
            [groups.path[r] for r in rows],
            [groups.title[r] for r in rows],
            [groups.type[r] for r in rows],
            [SCOPE] * len(rows),
            [groups.inferred[r] for r in rows],
            [groups.composite[r] for r in rows],
            [groups.prefix[r] for r in rows],
            [False] * len(rows),
        )
        among = deepest[: np.searchsorted(depths, -depth, side="right")]
        made[group] = forest.nest(made[member], which, meta, nesting.rank[group], among)
    return forest


def _hierarchy(network: Network, order: I8, forest: Forest) -> Hierarchy:
    _collapse(forest)
    n, parent = forest.layers, forest.parent
    alive = np.ones(len(parent), bool)
    alive[n + 1 :] = parent[n + 1 :] != -1
    levels = _levels(forest, alive)
    leaves = np.zeros(len(parent), np.int64)
    leaves[:n] = 1
    total = alive.astype(np.int64)
    for level in reversed(levels[1:]):
        np.add.at(leaves, parent[level], leaves[level])
        np.add.at(total, parent[level], total[level])
    number = np.zeros(len(parent), np.int64)
    first = np.zeros(len(parent), np.int64)
    for level in levels[1:]:  # siblings side by side, in order of flow
        above = parent[level]
        start = np.flatnonzero(np.diff(above, prepend=-2))
        sizes = np.diff(np.append(start, len(level)))
        for values, base, shift in ((leaves, first, 0), (total, number, 1)):
            before = np.cumsum(values[level]) - values[level]
            base[level] = before - np.repeat(before[start], sizes) + base[above] + shift
    vertex = np.empty(int(alive.sum()), np.int64)
    vertex[number[alive]] = np.flatnonzero(alive)
    layer_place = np.empty(n, np.int64)
    layer_place[first[:n]] = np.arange(n)
    above = parent[vertex]
    parents = np.where(above < 0, -1, number[above]).astype(np.int32)
    spans = np.stack((first[vertex], first[vertex] + leaves[vertex]), axis=1).astype(np.int32)
    meta = forest.meta
    rows = (vertex[vertex >= n] - n).tolist()
    texts = GroupTexts(
        tuple([meta.path[r] for r in rows]),
        tuple([meta.title[r] for r in rows]),
        tuple([meta.type[r] for r in rows]),
        tuple([meta.prefix[r] for r in rows]),
        tuple([meta.inferred[r] for r in rows]),
        tuple([meta.piece[r] for r in rows]),
    )
    found = tuple(order[layer_place].tolist())
    table = NodeTable(
        [network.layers[i] for i in found],
        parents,
        spans,
        forest.kinds[vertex],
        texts,
        layer_title,
    )
    return Hierarchy(table, found, network)


def _levels(forest: Forest, alive: NDArray[np.bool_]) -> list[I8]:
    """Vertices by depth; those of one level in the order of their parents, then of flow."""
    n = forest.layers
    vertex = np.flatnonzero(alive)
    order = vertex[np.lexsort((forest.rank[vertex], forest.parent[vertex]))]
    start = np.searchsorted(forest.parent[order], np.arange(len(alive) + 1))
    level: I8 = np.array([n])
    levels = []
    while len(level):
        levels.append(level)
        size = start[level + 1] - start[level]
        begin = np.repeat(start[level] - (np.cumsum(size) - size), size)
        level = order[begin + np.arange(len(begin))]
    return levels


def _collapse(forest: Forest) -> None:
    """Replace an inferred scope that has a single child by that child, which takes its title."""
    n, meta = forest.layers, forest.meta
    held = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
    inferred = np.zeros(len(forest.parent), bool)
    inferred[n + 1 :] = meta.inferred[1:]
    single = np.flatnonzero(inferred & (held == 1))
    if not len(single):
        return
    lonely = set(single.tolist())
    child = np.full(len(forest.parent), -1, np.int64)
    child[forest.parent[n + 1 :]] = np.arange(n + 1, len(forest.parent))
    child[forest.parent[:n]] = np.arange(n)
    only = {g: int(child[g]) for g in lonely}
    parent = forest.parent
    # Outer before inner, so that a title goes down to what remains.
    done: set[int] = set()
    for top in sorted(lonely):
        chain = [top]
        while int(parent[chain[0]]) in lonely:
            chain.insert(0, int(parent[chain[0]]))
        for group in chain:
            if group in done:
                continue
            done.add(group)
            inner = only[group]
            if inner > n and meta.inferred[inner - n] and meta.kind[group - n] == SCOPE:
                # A bare counter says too little by itself: "1" becomes "1_conv".
                title, own = meta.title[group - n], meta.title[inner - n]
                meta.title[inner - n] = f"{title}_{own}" if title.isdigit() else title
    for group in sorted(lonely):
        inner = only[group]
        if inner in lonely:
            continue
        top = group
        while int(parent[top]) in lonely:
            top = int(parent[top])
        forest.parent[inner] = parent[top]
        forest.rank[inner] = forest.rank[top]
    for group in lonely:
        forest.parent[group] = -1
