"""The tree while it grows from its leaves: groups are put around siblings, all at once.

Beside its place every vertex carries sums that tell what is inside it and what feeds it, made so
that those of a group follow from those of its members. They are hashes of 64 bits: vertices with
equal sums are taken to be equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]

LAYER, STAGE, SCOPE, SERIES = range(4)
_STEP = np.uint64(0xD1342543DE82EF95)


def mixed(values: NDArray[np.integer] | U8, salt: int = 0) -> U8:
    """Numbers without a pattern, one for each value (splitmix64, Steele and others 2014)."""
    x = values.astype(np.uint64)
    x += np.uint64((0x9E3779B97F4A7C15 * (2 * salt + 1)) & 0xFFFFFFFFFFFFFFFF)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@dataclass
class Meta:
    """What is said of groups, one entry each: see `explorer.tree.hierarchy.Node`."""

    path: list[str] = field(default_factory=list)
    title: list[str] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    inferred: list[bool] = field(default_factory=list)
    composite: list[bool] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    piece: list[bool] = field(default_factory=list)

    def extend(self, other: Meta) -> None:
        """Append the entries of another."""
        for name in self.__dataclass_fields__:
            getattr(self, name).extend(getattr(other, name))


class Links:
    """Links between layers, lifted to the siblings that they join.

    Attributes
    ----------
    a, b : int64 array, shape (E,)
        Layers, by their place in an order of flow; ``a < b``.
    u, v : int64 array, shape (E,)
        The siblings that hold them.
    at_a, at_b : uint64 array, shape (E,)
        Where in its sibling each layer stands: equal for the same place in siblings built alike.
    what : uint64 array, shape (E,)
        Which output of the source goes to which input of the target.
    """

    def __init__(self, ends: I8, what: U8) -> None:
        self.a, self.b = ends[:, 0], ends[:, 1]
        self.u, self.v = self.a.copy(), self.b.copy()
        self.at_a = np.ones(len(ends), np.uint64)
        self.at_b = np.ones(len(ends), np.uint64)
        self.what = what
        self.source = mixed(self.a, 1)


class Forest:
    """All vertices: layers 0 to n - 1 in an order of flow, the root, then groups.

    Parameters
    ----------
    alike : uint64 array, shape (n,)
        Equal for layers that are equal but for their names.
    links : Links
    root : Meta
        One entry.

    Attributes
    ----------
    layers : int
        Number n of layers; the root is vertex n.
    parent : int64 array
        Of each vertex; -1 for the root.
    rank : float64 array
        Order among siblings, in which links point forward.
    inside : uint64 array
        Equal for vertices equal in kinds, attributes, shapes and inner wiring.
    sources, fed : uint64 array
        Sums over the links into a vertex: of their sources; of sources times places.
    places, counts : uint64 array
        Sums over the same links: of their places in the vertex; and their number.
    meta : Meta
        Of vertex ``layers + k`` in entry k.
    """

    def __init__(self, alike: U8, links: Links, root: Meta) -> None:
        n = self.layers = len(alike)
        self.links = links
        self.parent = np.full(n + 1, n, np.int64)
        self.parent[n] = -1
        self.rank = np.arange(n + 1, dtype=np.float64)
        self.inside = np.append(mixed(alike, 2), np.uint64(0))
        self.counts = np.bincount(links.b, minlength=n + 1).astype(np.uint64)
        self.places = self.counts.copy()
        self.sources = np.zeros(n + 1, np.uint64)
        np.add.at(self.sources, links.b, links.source)
        self.fed = self.sources.copy()
        self.meta = root

    @property
    def kinds(self) -> NDArray[np.int8]:
        """LAYER, STAGE, SCOPE or SERIES for each vertex."""
        return np.concatenate((np.zeros(self.layers, np.int8), np.array(self.meta.kind, np.int8)))

    def nest(self, members: I8, group: I8, meta: Meta, rank: NDArray[np.float64] | None = None,
             among: I8 | None = None) -> I8:  # fmt: skip
        """Put groups around siblings.

        Parameters
        ----------
        members : int64 array, shape (m,)
            Vertices; those of one group have one parent.
        group : int64 array, shape (m,)
            Which of the new groups each goes into, from 0, none left out.
        meta : Meta
            Of the new groups.
        rank : float64 array, optional
            Of the new groups among their siblings; that of their first member if not given.
        among : int64 array, optional
            The links that may touch a member; all if not given.

        Returns
        -------
        int64 array
            The new vertices.
        """
        count, base = len(meta.path), len(self.parent)
        order = np.lexsort((self.rank[members], group))
        members, group = members[order], group[order]
        start = np.searchsorted(group, np.arange(count))
        index = np.arange(len(members)) - start[group]
        new = base + np.arange(count)
        self.parent = np.concatenate((self.parent, self.parent[members[start]]))
        self.rank = np.concatenate((self.rank, self.rank[members[start]] if rank is None else rank))
        self.parent[members] = new[group]
        step = mixed(index, 3)
        inner = self._lift(members, base + group, step, among)
        self._add_sums(members, start, step, inner, base)
        self.meta.extend(meta)
        return new

    def _lift(self, members: I8, groups: I8, step: U8, among: I8 | None) -> I8:
        """Move the ends of links from members to their groups; returns the links inside groups."""
        links = self.links
        to = np.full(len(self.parent), -1, np.int64)
        to[members] = groups
        steps = np.zeros(len(self.parent), np.uint64)
        steps[members] = step
        one: I8 = np.arange(len(links.a)) if among is None else among
        gu, gv = to[links.u[one]], to[links.v[one]]
        same = (gu == gv) & (gu >= 0)
        inner: I8 = one[same]
        for moved, g, end, at in (
            ((gu >= 0) & ~same, gu, links.u, links.at_a),
            ((gv >= 0) & ~same, gv, links.v, links.at_b),
        ):
            rows = one[moved]
            at[rows] = at[rows] * _STEP + steps[end[rows]]
            end[rows] = g[moved]
        self._steps = steps
        return inner

    def _add_sums(self, members: I8, start: I8, step: U8, inner: I8, base: int) -> None:
        links, steps = self.links, self._steps
        # Where the ends of inner links stand in the group around them.
        at_a = links.at_a[inner] * _STEP + steps[links.u[inner]]
        at_b = links.at_b[inner] * _STEP + steps[links.v[inner]]
        source, what = links.source[inner], links.what[inner]
        row = self.parent[links.u[inner]] - base

        def sums(of_members: U8, of_links: U8) -> U8:
            total = np.add.reduceat(of_members, start) if len(start) else of_members[:0]
            np.subtract.at(total, row, of_links)
            return total

        inside = mixed(mixed(self.inside[members] + step, 4) * np.uint64(3))
        wiring = mixed(at_a * np.uint64(5) + mixed(at_b + what, 5), 6)
        counts, places = self.counts[members], self.places[members]
        sources, fed = self.sources[members], self.fed[members]
        new = {
            "inside": mixed(sums(inside, wiring), 7),
            "counts": sums(counts, np.ones(len(inner), np.uint64)),
            "places": sums(places * _STEP + step * counts, at_b),
            "sources": sums(sources, source),
            "fed": sums(fed * _STEP + step * sources, source * at_b),
        }
        for name, values in new.items():
            setattr(self, name, np.concatenate((getattr(self, name), values)))


@dataclass(frozen=True)
class Rows:
    """The children of some groups, group after group, each in its order of flow.

    Attributes
    ----------
    node : int64 array, shape (m,)
        Vertices.
    group : int64 array, shape (m,)
        Their parents.
    start, stop : int64 array, shape (m,)
        The row of the first sibling of each, and of the last + 1.
    link : int64 array, shape (L,)
        Links between siblings.
    source, target : int64 array, shape (L,)
        Rows of their ends.
    """

    node: I8
    group: I8
    start: I8
    stop: I8
    link: I8
    source: I8
    target: I8

    @property
    def size(self) -> I8:
        """Number of siblings of each row, itself included; shape (m,)."""
        return self.stop - self.start

    def kept(self, groups: I8, top: int) -> NDArray[np.bool_]:
        """Which rows belong to these groups; vertices are smaller than `top`."""
        chosen = np.zeros(top, bool)
        chosen[groups] = True
        return chosen[self.group]


def rows_of(forest: Forest, groups: I8) -> Rows:
    """The children of these groups; their ranks become whole numbers from 0."""
    chosen = np.zeros(len(forest.parent) + 1, bool)  # the last entry is for the root's parent, -1
    chosen[groups] = True
    node = np.flatnonzero(chosen[forest.parent])
    above = forest.parent[node]
    order = np.lexsort((forest.rank[node], above))
    node, above = node[order], above[order]
    first = np.flatnonzero(np.diff(above, prepend=-2))
    sizes = np.diff(np.append(first, len(node)))
    start = np.repeat(first, sizes)
    stop = start + np.repeat(sizes, sizes)
    forest.rank[node] = np.arange(len(node)) - start
    row = np.full(len(forest.parent), -1, np.int64)
    row[node] = np.arange(len(node))
    link = np.flatnonzero(row[forest.links.u] >= 0)
    return Rows(
        node, above, start, stop, link, row[forest.links.u[link]], row[forest.links.v[link]]
    )
