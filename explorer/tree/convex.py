"""Making wished groups convex, and putting the children of each in an order of flow."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.tree.names import Groups, Paths, short
from explorer.tree.order import kahn, knots

I8 = NDArray[np.int64]
_MOST_PASSES = 200


@dataclass(frozen=True)
class Nesting:
    """Where everything stands after the groups were made convex.

    Vertices are layers (0 to n - 1, places in an order of flow) and groups (n + row).

    Attributes
    ----------
    parent : int64 array, shape (n + groups,)
        Vertex of the group around; -1 for the root.
    rank : float64 array, shape (n + groups,)
        Orders the children of each group so that all links between them point forward.
    depth : int64 array, shape (n + groups,)
        Of each vertex; 0 for the root.
    """

    parent: I8
    rank: NDArray[np.float64]
    depth: I8


class _Pass:
    """The links of all layers lifted to siblings, for one state of the groups."""

    def __init__(self, groups: Groups, of_layer: I8, links: I8) -> None:
        n = len(of_layer)
        parents = np.array(groups.parent, np.int64)
        self.parent = np.concatenate((of_layer + n, np.where(parents < 0, -1, parents + n)))
        self.depth = _depths(groups.parent, of_layer)
        self.first = _firsts(groups.parent, of_layer)
        self.links = links
        self.u, self.v = links[:, 0].copy(), links[:, 1].copy()
        todo = np.arange(len(links))
        while len(todo):
            a, b = self.parent[self.u[todo]], self.parent[self.v[todo]]
            apart = a != b
            todo, a, b = todo[apart], a[apart], b[apart]
            # The one that stands deeper climbs; of two equally deep both do.
            up_u, up_v = self.depth[a] >= self.depth[b], self.depth[b] >= self.depth[a]
            self.u[todo[up_u]] = a[up_u]
            self.v[todo[up_v]] = b[up_v]

    @cached_property
    def _children(self) -> tuple[I8, I8]:
        order = np.argsort(self.parent, kind="stable")
        return order, np.searchsorted(self.parent[order], np.arange(len(self.parent) + 1))

    @cached_property
    def _links(self) -> tuple[I8, I8]:
        above = self.parent[self.u]
        order = np.argsort(above, kind="stable")
        return order, np.searchsorted(above[order], np.arange(len(self.parent) + 1))

    @cached_property
    def _outgoing(self) -> I8:
        return np.searchsorted(self.links[:, 0], np.arange(len(self.parent) + 1))

    def children(self, group: int) -> list[int]:
        """Vertices right inside a group."""
        order, start = self._children
        found: list[int] = order[start[group] : start[group + 1]].tolist()
        return found

    def between(self, group: int) -> list[tuple[int, int]]:
        """Distinct pairs of children that links join."""
        order, start = self._links
        mine = order[start[group] : start[group + 1]]
        pairs = np.unique(np.stack((self.u[mine], self.v[mine]), axis=1), axis=0)
        return list(map(tuple, pairs.tolist()))

    def targets(self, layer: int) -> list[int]:
        """Layers that a layer feeds."""
        start = self._outgoing
        found: list[int] = self.links[start[layer] : start[layer + 1], 1].tolist()
        return found

    def knotted(self) -> I8:
        """Groups with a link between children that points against the order of first layers."""
        against = self.first[self.u] > self.first[self.v]
        return np.unique(self.parent[self.u[against]])


def _depths(parents: Sequence[int], of_layer: I8) -> I8:
    depth = [0] * len(parents)
    for row in range(1, len(parents)):
        depth[row] = depth[parents[row]] + 1
    own = np.array(depth, np.int64)
    return np.concatenate((own[of_layer] + 1, own))


def _firsts(parents: Sequence[int], of_layer: I8) -> I8:
    """First layer inside each vertex, in an order of flow."""
    n = len(of_layer)
    first = np.full(len(parents), n, np.int64)
    np.minimum.at(first, of_layer, np.arange(n))
    found = first.tolist()
    for row in range(len(parents) - 1, 0, -1):
        above = parents[row]
        if found[row] < found[above]:
            found[above] = found[row]
    return np.concatenate((np.arange(n), np.array(found, np.int64)))


def nested(groups: Groups, of_layer: I8, links: I8, taken: Paths) -> Nesting:
    """Make groups convex and order the children of each.

    Groups that are tangled (in a strongly connected component of the graph between siblings) are
    taken apart along an order of flow that stays in one group as long as it can: of a prefix of
    flat names the run that holds most of it remains, if one does; where no prefix takes part, a
    scope is split into its runs, ``a`` and ``a (2)``.

    Parameters
    ----------
    groups : Groups
        Rows are appended, and their parents changed, in place.
    of_layer : int64 array, shape (n,)
        Innermost group of each layer; layers stand in an order of flow. Changed in place.
    links : int64 array, shape (E, 2)
        Pairs of layers, all pointing forward.
    taken : Paths
        Those of new groups are added.

    Returns
    -------
    Nesting
    """
    for count in itertools.count():
        now = _Pass(groups, of_layer, links)
        orders: list[list[int]] = []
        changed: set[int] = set()
        dissolved: set[int] = set()
        for group in now.knotted().tolist():
            if not changed.isdisjoint(_above(now.parent, group)):
                continue  # what is inside a group that was split is looked at in the next pass
            order, tangled = _sorted(now, group)
            if tangled:
                for knot in tangled:
                    vertices, rows = _untangled(
                        groups, of_layer, now, knot, taken, count >= _MOST_PASSES
                    )
                    changed.update(vertices)
                    dissolved.update(rows)
            else:
                orders.append(order)
        if not changed:
            break
        renumbered(groups, of_layer, dissolved)
    rank = now.first.astype(np.float64)
    for order in orders:
        rank[order] = np.sort(rank[order])
    return Nesting(now.parent, rank, now.depth)


def _above(parent: I8, vertex: int) -> set[int]:
    found = set()
    while vertex >= 0:
        found.add(vertex)
        vertex = int(parent[vertex])
    return found


def _sorted(now: _Pass, group: int) -> tuple[list[int], list[list[int]]]:
    """Children of a group in an order of flow, or the knots that make it impossible."""
    links, children = now.between(group), now.children(group)
    order, rest = kahn({c: float(now.first[c]) for c in children}, links)
    return order, knots(rest, links) if rest else []


def _untangled(groups: Groups, of_layer: I8, now: _Pass, knot: list[int], taken: Paths,
               give_up: bool) -> tuple[list[int], list[int]]:  # fmt: skip
    """Split the groups of a knot; returns the vertices that changed and the rows to dissolve."""
    n = len(of_layer)
    runs = _runs(now, _owners(now, n, knot))
    pieces: dict[int, list[list[int]]] = {}
    for vertex, run in runs:
        pieces.setdefault(vertex, []).append(run)
    groups_of_knot = [vertex for vertex in pieces if vertex >= n]
    # a prefix that only names happen to share gives way before a scope that somebody named
    weak = [v for v in groups_of_knot if not groups.strong[v - n] and len(pieces[v]) > 1]
    changed, dissolved = [], []
    for vertex in weak or groups_of_knot:
        parts = pieces[vertex]
        changed.append(vertex)
        row = vertex - n
        whole = sum(map(len, parts))
        if groups.strong[row] and not give_up:
            for count, part in enumerate(parts[1:], 2):
                _split_off(groups, of_layer, row, part, taken, count)
            continue
        best = max(range(len(parts)), key=lambda k: len(parts[k]))
        if 2 * len(parts[best]) > whole and len(parts[best]) > 1 and not give_up:
            for k, part in enumerate(parts):
                if k != best:
                    _split_off(groups, of_layer, row, part, taken, 0)
        else:
            dissolved.append(row)
    return changed, dissolved


def _owners(now: _Pass, n: int, knot: list[int]) -> dict[int, int]:
    """For each layer inside the vertices of a knot, the vertex that holds it."""
    owner: dict[int, int] = {}
    for vertex in knot:
        stack = [vertex]
        while stack:
            at = stack.pop()
            if at < n:
                owner[at] = vertex
            else:
                stack.extend(now.children(at))
    return owner


def _runs(now: _Pass, owner: dict[int, int]) -> list[tuple[int, list[int]]]:
    """Layers in an order of flow that stays with one owner as long as it can, by owner."""
    after = {layer: [b for b in now.targets(layer) if b in owner] for layer in owner}
    waiting = dict.fromkeys(owner, 0)
    for targets in after.values():
        for b in targets:
            waiting[b] += 1
    ready: dict[int, list[int]] = {}
    anywhere: list[int] = []

    def add(layer: int) -> None:
        heapq.heappush(ready.setdefault(owner[layer], []), layer)
        heapq.heappush(anywhere, layer)

    for layer, count in waiting.items():
        if count == 0:
            add(layer)
    done: set[int] = set()
    runs: list[tuple[int, list[int]]] = []
    while len(done) < len(owner):
        here = ready.get(runs[-1][0]) if runs else None
        if not here:
            while anywhere[0] in done:
                heapq.heappop(anywhere)
            here = ready[owner[anywhere[0]]]
            runs.append((owner[anywhere[0]], []))
        layer = heapq.heappop(here)
        done.add(layer)
        runs[-1][1].append(layer)
        for b in after[layer]:
            waiting[b] -= 1
            if waiting[b] == 0:
                add(b)
    return runs


def _split_off(groups: Groups, of_layer: I8, row: int, part: list[int], taken: Paths,
               count: int) -> None:  # fmt: skip
    """Move layers of a group into a copy of it and of its inner groups.

    With count 0 there is no copy of the group itself: what was in it goes to its parent.
    """
    copies = {row: groups.parent[row]}
    if count:
        copies[row] = _copied(groups, row, groups.parent[row], taken, count)
    for layer in part:
        way = []
        inner = int(of_layer[layer])
        while inner not in copies:
            way.append(inner)
            inner = groups.parent[inner]
        at = copies[inner]
        for one in reversed(way):
            at = copies[one] = _copied(groups, one, at, taken, count)
        of_layer[layer] = at


def _copied(groups: Groups, row: int, parent: int, taken: Paths, count: int) -> int:
    title = f"{groups.title[row]} ({count})" if count else groups.title[row]
    flags = (groups.inferred[row], groups.composite[row], groups.strong[row])
    path = taken.unique(groups.path[row])
    return groups.add(path, title, groups.type[row], parent, flags, groups.prefix[row])


def _with_head(groups: Groups, row: int, outer: int, above: int) -> str:
    """Title of a group with the words that a group around it took when that is dissolved."""
    title, prefix = groups.title[row], groups.prefix[outer]
    named = groups.prefix[row]
    head = short(prefix, groups.prefix[above])
    given = groups.prefix[above].startswith(prefix) or title.startswith(head)
    if given or not named.startswith(prefix) or len(named) == len(prefix):
        return title
    return f"{head}{named[len(prefix)]}{title}"


def renumbered(groups: Groups, of_layer: I8, dissolved: set[int]) -> None:
    """Drop groups that are dissolved or without layers; put parents before children again.

    Parameters
    ----------
    groups : Groups
        Changed in place; the root stays row 0.
    of_layer : int64 array, shape (n,)
        Innermost group of each layer; changed in place.
    dissolved : set of int
        Rows whose members go to the parent.
    """
    n = len(groups.path)
    kept = list(range(n))  # nearest row at or above each that is not dissolved
    for row in dissolved:
        at = row
        while at in dissolved:
            at = groups.parent[at]
        kept[row] = at
    for row in range(1, n):
        outer = groups.parent[row]
        if outer in dissolved and row not in dissolved and groups.inferred[row]:
            groups.title[row] = _with_head(groups, row, outer, kept[outer])
    groups.parent = [kept[p] if p >= 0 else -1 for p in groups.parent]
    of_layer[:] = np.array(kept, np.int64)[of_layer]
    used = [False] * n
    used[0] = True
    for row in np.unique(of_layer).tolist():
        while not used[row]:
            used[row] = True
            row = groups.parent[row]
    depth = [-1] * n
    depth[0] = 0
    for row in range(n):
        way = []
        at = row
        while used[row] and depth[at] < 0:
            way.append(at)
            at = groups.parent[at]
        for one in reversed(way):
            depth[one] = depth[groups.parent[one]] + 1
    order = sorted((r for r in range(n) if used[r]), key=lambda r: (depth[r], r))
    place = {row: at for at, row in enumerate(order)}
    groups.parent = [place.get(groups.parent[r], -1) for r in order]
    for name in ("path", "title", "type", "inferred", "composite", "strong", "prefix"):
        column = getattr(groups, name)
        setattr(groups, name, [column[r] for r in order])
    of_layer[:] = np.array([place.get(r, 0) for r in range(n)], np.int64)[of_layer]
