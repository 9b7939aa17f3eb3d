"""Groups that the links alone tell: stages, regions between bottlenecks, branches, segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.tree.forest import SCOPE, SERIES, Forest, Rows, rows_of
from explorer.tree.titles import Titles

I8 = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_CHILDREN = 34
"""A scope with this many children can be opened beside six other nodes and leaves 40 in sight."""
STRUCTURE_FROM = 8
"""Below this many children a scope is readable without further grouping."""
_BRANCHES_FROM = 20
_WHOLE = 0.6  # a region with more than this share of its scope says nothing


def stages(forest: Forest, titles: Titles, groups: I8, heads: Flags, followers: Flags) -> None:
    """Join layers with weights and the weightless ones that hang on them one by one.

    Joining a layer to the only one that reads it makes no cycle.

    Parameters
    ----------
    forest : Forest
    titles : Titles
    groups : int64 array
        The groups to look into.
    heads, followers : bool array, shape (n,)
        Which layers may start a stage and which may continue one.
    """
    n = forest.layers
    links = forest.links
    inside = np.zeros(len(forest.parent), bool)
    inside[groups] = True
    read_by = np.bincount(links.a, minlength=n)
    reads = np.bincount(links.v, minlength=n)  # from siblings
    may = heads | followers
    u, v = links.u, links.v
    pair = np.flatnonzero((u < n) & (v < n))
    u, v = u[pair], v[pair]
    good = (read_by[u] == 1) & (reads[v] == 1) & may[u] & followers[v] & ~heads[v]
    good &= inside[forest.parent[u]]
    u, v = u[good], v[good]
    first = np.arange(n)
    first[v] = u
    while True:  # pointer jumping: each round doubles the reach
        further = first[first]
        if np.array_equal(further, first):
            break
        first = further
    length = np.bincount(first, minlength=n)
    members = np.flatnonzero(heads[first] & (length[first] > 1))
    parent = forest.parent[members]
    children = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
    # A recorded scope that is one stage stays as it is.
    recorded = np.zeros(len(forest.parent), bool)
    recorded[n:] = ~np.array(forest.meta.inferred, bool)
    members = members[~((length[first[members]] == children[parent]) & recorded[parent])]
    if not len(members):
        return
    lead, group = np.unique(first[members], return_inverse=True)
    forest.nest(members, group, titles.stages(lead))


def regions(forest: Forest, titles: Titles, groups: I8, inputs: Flags) -> I8:
    """Group what lies between two bottlenecks with the join that ends it.

    A bottleneck is a child that every path passes: no link jumps over it. Where there are too few
    because something is fed to much of the scope (a mask, a position, the output of an encoder),
    links of such sources are left out, then all that jump far.

    Parameters
    ----------
    forest : Forest
    titles : Titles
    groups : int64 array
    inputs : bool array, shape (n,)
        Layers that stay outside: what feeds the network.

    Returns
    -------
    int64 array
        The new groups.
    """
    rows = rows_of(forest, groups)
    if not len(rows.node):
        return groups[:0]
    large = rows.size >= STRUCTURE_FROM
    jump = rows.target - rows.source
    kept = np.ones(len(jump), bool)
    bottleneck = np.ones(len(rows.node), bool)
    open_ = large.copy()  # rows of scopes without a good division so far
    for level in range(3):
        if level:
            kept &= ~_far(rows, jump, level)
        if level == 2:
            open_ &= rows.size > MOST_CHILDREN
        found = ~_jumped(len(rows.node), rows.source[kept], rows.target[kept])
        bottleneck[open_] = found[open_]
        widest = _widest(rows, bottleneck)
        size = rows.size
        good = (widest <= _WHOLE * size) | ((size > MOST_CHILDREN) & (widest <= 0.9 * size))
        open_ &= ~good
        if not open_.any():
            break
    region = np.cumsum(bottleneck) - bottleneck  # a join ends its region
    region = region + np.cumsum(np.diff(rows.group, prepend=-1) != 0)
    return _contracted(forest, titles, rows, region, large, inputs)


def _far(rows: Rows, jump: I8, level: int) -> Flags:
    """Links to leave out: of sources that feed much of a scope; then all that jump far."""
    size = rows.size[rows.source]
    reach = np.zeros(len(rows.node), np.int64)
    np.maximum.at(reach, rows.source, jump)
    feeds = np.bincount(rows.source, minlength=len(rows.node))
    fed = np.bincount(rows.target, minlength=len(rows.node))
    side = (reach > np.maximum(rows.size // 4, 4)) & ((feeds >= 3) | (fed == 0))
    far = side[rows.source] & (jump > 1)
    return np.asarray(far if level == 1 else far | (jump > np.maximum(size // 8, 8)))


def _jumped(count: int, source: I8, target: I8) -> Flags:
    """Which rows some link jumps over."""
    change = np.zeros(count + 1, np.int64)
    np.add.at(change, source + 1, 1)
    np.subtract.at(change, target, 1)
    return np.asarray(np.cumsum(change)[:count] > 0)


def _widest(rows: Rows, bottleneck: Flags) -> I8:
    """The most rows between two bottlenecks in the scope of each row."""
    run = np.arange(len(bottleneck))
    last = np.maximum.accumulate(np.where(bottleneck, run, -1))
    length = run - np.maximum(last, rows.start - 1)
    first = np.flatnonzero(rows.start == run)
    widest = np.maximum.reduceat(length, first)
    return np.asarray(np.repeat(widest, np.diff(np.append(first, len(run)))))


def _contracted(forest: Forest, titles: Titles, rows: Rows, region: I8, large: Flags,
                inputs: Flags) -> I8:  # fmt: skip
    """Make groups of the regions that are worth it."""
    n = forest.layers
    fed = np.bincount(rows.target, minlength=len(rows.node))
    leaf = rows.node < n
    source = leaf & (fed == 0)
    source[leaf] &= inputs[rows.node[leaf]]
    region = np.unique(region, return_inverse=True)[1]
    length = np.bincount(region, weights=~source).astype(np.int64)[region]
    last = np.append(np.diff(region) > 0, True)
    join = np.flatnonzero(last)[region]
    size = rows.size
    # A single scope with the join behind it is a region too: a block and its residual sum.
    scope = (forest.kinds[rows.node] == SCOPE) & ~last
    scopes = np.bincount(region, weights=scope).astype(np.int64)[region]
    good = large & ((length >= 3) | ((length == 2) & (scopes == 1)))
    good &= length <= np.where(size <= MOST_CHILDREN, _WHOLE, 0.9) * size
    good &= ~source[join] & ~(scope[join])
    member = np.flatnonzero(good & ~source)
    if not len(member):
        return member
    _ahead(forest, rows, region, np.flatnonzero(good & source))
    _, group = np.unique(region[member], return_inverse=True)
    joins = rows.node[np.unique(join[member])]
    return forest.nest(rows.node[member], group, titles.regions(joins, rows.node[member], group))


def _ahead(forest: Forest, rows: Rows, region: I8, moved: I8) -> None:
    """Place inputs in front of the region in whose midst they stand."""
    first = np.flatnonzero(np.diff(region, prepend=-1) > 0)[region[moved]]
    share = (moved - first + 1) / (rows.size[moved] + 2)
    forest.rank[rows.node[moved]] = forest.rank[rows.node[first]] - 1 + share


def branches(forest: Forest, titles: Titles, groups: I8) -> I8:
    """Group the branches that run side by side through a wide scope.

    What is left when the sources at its start and the join at its end are taken away falls into
    parts without a link between them.

    Returns
    -------
    int64 array
        The new groups.
    """
    rows = rows_of(forest, groups)
    m = len(rows.node)
    if not m:
        return groups[:0]
    wide = rows.size > _BRANCHES_FROM
    fed = np.bincount(rows.target, minlength=m)
    feeds = np.bincount(rows.source, minlength=m)
    # Sources stand ahead of everything: all before the first row that something feeds.
    seen = np.cumsum((fed > 0) | (feeds < 2))
    ahead = seen - (np.append(0, seen)[rows.start]) == 0
    last = rows.stop - 1 == np.arange(m)
    out = ahead | (last & (fed > 1))
    keep = ~(out[rows.source] | out[rows.target])
    part = _parts(m, rows.source[keep], rows.target[keep])
    size = np.bincount(part, minlength=m)[part]
    alone = size == rows.size - np.bincount(rows.start, weights=out, minlength=m)[rows.start]
    member = np.flatnonzero(wide & ~out & (size > 1) & ~alone)
    if not len(member):
        return member
    first, group = np.unique(part[member], return_inverse=True)
    return forest.nest(rows.node[member], group, titles.branches(rows.node[first]))


def _parts(count: int, source: I8, target: I8) -> I8:
    """The smallest row that each row is connected with (label propagation, pointer jumping)."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[source], label[target])
        before = label.copy()
        np.minimum.at(label, label[source], low)
        np.minimum.at(label, label[target], low)
        np.minimum.at(label, source, low)
        np.minimum.at(label, target, low)
        while True:
            further = label[label]
            if np.array_equal(further, label):
                break
            label = further
        if np.array_equal(label, before):
            return label


def segments(forest: Forest, titles: Titles) -> None:
    """Cut the children of every group that has too many into contiguous pieces of nearly one size.

    Contiguous pieces of an order of flow are convex.
    """
    while True:
        held = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
        groups = np.flatnonzero(held > MOST_CHILDREN)
        if not len(groups):
            return
        rows = rows_of(forest, groups)
        size = rows.size.astype(float)
        levels = np.ceil(np.log(size) / np.log(MOST_CHILDREN) - 1e-9)
        # The count per level that makes the tree even: size = count ** levels.
        count = np.clip(np.round(size ** (1 / levels)), 2, MOST_CHILDREN).astype(np.int64)
        index = np.arange(len(rows.node)) - rows.start
        piece = (index * count + count // 2) // rows.size
        piece = np.minimum(piece, count - 1)
        new = np.diff(piece, prepend=-1) != 0
        new |= np.diff(rows.start, prepend=-1) != 0
        group = np.cumsum(new) - 1
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(group)) - 1
        series = forest.kinds[rows.group[first]] == SERIES
        kinds = np.where(series, SERIES, SCOPE)
        meta = titles.segments(rows.node[first], rows.node[last], kinds, piece[first])
        forest.nest(rows.node, group, meta)
