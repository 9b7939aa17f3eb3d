"""Opening many nodes at once: all of one kind, all like one, all down to a depth.

Pure functions from what is open to what is open then. None of them lets more nodes become visible
than a budget allows; what was left closed for it is counted and can be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import count
from explorer.errors import NeuronautError, UnknownNameError
from explorer.kinds import family
from explorer.tree.hierarchy import KINDS, Hierarchy
from explorer.tree.lod import UnitRange, UnitsOf, open_units, opening, split_unit_path, unit_path
from explorer.weights.units import Units

BUDGET = 1500
"""The most nodes that these functions let become visible."""
DEEPEST = 64


@dataclass(frozen=True)
class Opening:
    """What came of a wish to open many nodes.

    Attributes
    ----------
    opened : frozenset of str
        Paths of all open nodes, those of before among them.
    what : str
        What was wished for, for people.
    done, wanted : int
        How many of the nodes meant are open now, and how many there are.
    budget : int
        The most nodes that were let become visible.
    """

    opened: frozenset[str]
    what: str
    done: int
    wanted: int
    budget: int = BUDGET

    @property
    def message(self) -> str:
        """One line for people: how many were opened, and what stopped the rest."""
        if self.wanted == 0:
            return self.what
        if self.done == self.wanted:
            return f"{self.what}: {count(self.done)} open"
        return (
            f"{self.what}: {count(self.done)} of {count(self.wanted)} open, the largest first;"
            f" more would show over {count(self.budget)} nodes"
        )


class _Sight:
    """How many nodes are visible, kept up to date while nodes are opened."""

    def __init__(self, hierarchy: Hierarchy, units_of: UnitsOf, opened: Set[str]) -> None:
        self.hierarchy, self.units_of = hierarchy, units_of
        self.opened = set(opened)
        split = (split_unit_path(p) for p in opened if p not in hierarchy.by_path)
        self._ranged = {found[0] for found in split if found is not None}
        self._parents = hierarchy.parents.tolist()
        self._counts: dict[tuple[Units, UnitRange | None], int] = {}
        self._above: dict[int, tuple[int, int]] = {}
        self.visible = self._leaves(0, None)

    def open(self, paths: list[str], budget: int) -> bool:
        """Open a node and what is around it, outermost first, unless too much would show."""
        new = [p for p in paths if p not in self.opened]
        if not new:
            return True
        self.opened.update(new)
        # What is inside the outermost one that was closed was hidden, whatever was open in it.
        top = self._locate(new[0])
        grown = self.visible - 1 + self._leaves(*top)
        if grown > budget:
            self.opened.difference_update(new)
            return False
        self.visible = grown
        self._above.clear()
        return True

    def closed_around(self, index: int) -> tuple[int, int]:
        """How many closed nodes hold a node, and by how much opening them adds at least."""
        above = self._parents[index]
        if above <= 0:
            return 0, 0
        found = self._above.get(above)
        if found is None:
            closed, grows = self.closed_around(above)
            if self.hierarchy.paths[above] not in self.opened:
                closed, grows = closed + 1, grows + self.inside(above) - 1
            found = self._above[above] = (closed, grows)
        return found

    def inside(self, index: int, here: UnitRange | None = None) -> int:
        """How many nodes a node opens into; 0 for one that does not open."""
        layer = self.hierarchy.layer(index)
        if layer is None:
            return len(self.hierarchy.nodes[index].children)
        units = self.units_of(layer)
        found = self._counts.get((units, here))
        if found is None:
            found = self._counts[units, here] = len(open_units(units, here)[0])
        return found

    def _locate(self, path: str) -> tuple[int, UnitRange | None]:
        if path in self.hierarchy.by_path:
            return self.hierarchy.by_path[path], None
        found = split_unit_path(path)
        assert found is not None
        self._ranged.add(found[0])
        return self.hierarchy.by_path[found[0]], found[1]

    def _leaves(self, index: int, here: UnitRange | None) -> int:
        """Visible nodes inside an open node."""
        nodes, paths, total = self.hierarchy.nodes, self.hierarchy.paths, 0
        stack: list[tuple[int, UnitRange | None]] = [(index, here)]
        while stack:
            node, units = stack.pop()
            layer = self.hierarchy.layer(node)
            if layer is None:
                for child in nodes[node].children:
                    if paths[child] in self.opened:
                        stack.append((child, None))
                    else:
                        total += 1
                continue
            if paths[node] not in self._ranged:
                total += max(self.inside(node, units), 1)
                continue
            ranges, _ = open_units(self.units_of(layer), units)
            total += not ranges
            for inner in ranges:
                if unit_path(paths[node], inner) in self.opened:
                    stack.append((node, inner))
                else:
                    total += 1
        return total


def known_kinds(hierarchy: Hierarchy) -> list[str]:
    """Names that `open_all` knows in this network: types of nodes, those of most nodes first."""
    number = Counter(hierarchy.types[1:])
    return sorted((name for name in number if name), key=lambda name: (-number[name], name))


def levels(hierarchy: Hierarchy) -> int:
    """The depth to which `open_to_depth` has something to open."""
    groups = _depths(hierarchy)[hierarchy.parents[1:]]  # of the parent of each node
    return int(groups.max(initial=-1)) + 1


def _depths(hierarchy: Hierarchy) -> NDArray[np.int64]:
    """How many nodes hold each node, the network itself not counted: -1 for the root."""
    parents = hierarchy.parents
    depth = np.full(len(parents), -1, np.int64)
    around = parents.copy()
    while (inner := around >= 0).any():
        depth[inner] += 1
        around[inner] = parents[around[inner]]
    return depth


def _within(parents: NDArray[np.int32], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which nodes stand, at any depth, inside a chosen one."""
    found = np.zeros(len(parents), bool)
    around = parents.copy()
    while (inner := around > 0).any():
        found[inner] |= chosen[around[inner]]
        around[inner] = parents[around[inner]]
    return found


def open_all(
    hierarchy: Hierarchy, units_of: UnitsOf, opened: Set[str], kind: str, budget: int = BUDGET
) -> Opening:
    """Open all nodes of one kind, wherever they are, largest first.

    Parameters
    ----------
    hierarchy : Hierarchy
    units_of : callable Layer -> Units
    opened : set of str
        Paths of the nodes that are open now.
    kind : str
        A layer's or a scope's type (``"Conv2D"``), a family (``"conv"``), or ``"stage"``,
        ``"series"``, ``"scope"``; capitals do not matter. Of a stage and the layer in it that both
        are of this type the stage opens.
    budget : int
        The most nodes visible then.

    Raises
    ------
    UnknownNameError
        If no node is of that kind.
    """
    wished, types = kind.strip().lower(), hierarchy.types
    sorts = tuple(KINDS[k] for k in hierarchy.kinds.tolist())
    ways: tuple[tuple[Sequence[str], Callable[[str], str]], ...] = (
        (types, str.lower),
        (sorts, lambda name: name if name != "layer" else ""),
        (types, lambda name: family(name) if name else ""),
    )
    for names, called in ways:
        meant = {name for name in set(names) if wished and called(name) == wished}
        fits = np.array([name in meant for name in names])
        fits[0] = False  # the network itself
        if fits.any():
            break
    else:
        raise UnknownNameError("kind of node", kind, known_kinds(hierarchy))
    chosen = np.flatnonzero(fits & ~_within(hierarchy.parents, fits)).tolist()
    return _open_nodes(_Sight(hierarchy, units_of, opened), chosen, f"all {kind.strip()}", budget)


def open_like(
    hierarchy: Hierarchy, units_of: UnitsOf, opened: Set[str], path: str, budget: int = BUDGET
) -> Opening:
    """Open all nodes like this one, largest first.

    The members of its series, if it is in one; the ranges beside it, for a range of units; else
    all nodes of the same kind and type (and, for groups without a type, the same depth).

    Parameters
    ----------
    hierarchy, units_of, opened, budget
        As in `open_all`.
    path : str
        Of a node that exists.
    """
    sight = _Sight(hierarchy, units_of, opened)
    split = None if path in hierarchy.by_path else split_unit_path(path)
    if split is not None:
        return _open_ranges(sight, path, split, budget)
    me = hierarchy.by_path[path]
    own, around = hierarchy.nodes[me], hierarchy.nodes[me].parent
    kinds, types = hierarchy.kinds, np.array(hierarchy.types, object)
    alike = (kinds == kinds[me]) & (types == own.type)
    if hierarchy.nodes[around].kind == "series":
        series = around
        while hierarchy.pieces[series]:  # a long series stands in pieces
            series = hierarchy.nodes[series].parent
        of_series = _within(hierarchy.parents, np.arange(len(kinds)) == series)
        same_depth = _depths(hierarchy) == _depths(hierarchy)[me]
        pieces = hierarchy.pieces == hierarchy.pieces[me]
        alike = of_series & same_depth & pieces
        what = f"all of {hierarchy.nodes[series].title}"
    elif own.type:
        what = f"all {own.type} {_PLURAL[own.kind]}"
    else:
        alike &= _depths(hierarchy) == _depths(hierarchy)[me]
        what = f"all {_PLURAL[own.kind]} beside {own.title}"
    return _open_nodes(sight, (1 + np.flatnonzero(alike[1:])).tolist(), what, budget)


_PLURAL = {"scope": "groups", "series": "series", "stage": "stages", "layer": "layers"}


def open_to_depth(hierarchy: Hierarchy, depth: int, budget: int = BUDGET) -> Opening:
    """Open all groups down to a depth, level by level, in each the largest first; nothing else.

    Parameters
    ----------
    hierarchy : Hierarchy
    depth : int
        0 leaves all closed; 1 opens what then shows, 2 also what shows in those, and so on, down
        to layers. Layers do not open into units.
    budget : int
        The most nodes visible then.

    Raises
    ------
    NeuronautError
        If the depth is below 0 or above 64.
    """
    if not 0 <= depth <= DEEPEST:
        raise NeuronautError(f"depth {depth} is not between 0 and {DEEPEST}")
    nodes = hierarchy.nodes
    depths = _depths(hierarchy)
    wanted = int((depths[np.unique(hierarchy.parents[1:])] < depth).sum()) - 1  # without the root
    opened: set[str] = set()
    level, visible, done = list(nodes[0].children), len(nodes[0].children), 0
    for _ in range(depth):
        groups = [i for i in level if nodes[i].children]
        level, all_fit = [], True
        for i in sorted(groups, key=lambda i: _rank(hierarchy, i)):
            grown = visible + len(nodes[i].children) - 1
            if grown > budget:
                all_fit = False
                continue
            opened.add(nodes[i].path)
            visible, done = grown, done + 1
            level += nodes[i].children
        if not all_fit:  # the last: what looks alike is opened alike
            break
    what = "everything closed" if depth == 0 else f"open to depth {depth}"
    return Opening(frozenset(opened), what, done, wanted, budget)


def _open_nodes(sight: _Sight, chosen: Iterable[int], what: str, budget: int) -> Opening:
    hierarchy = sight.hierarchy
    paths = hierarchy.paths
    able = [i for i in chosen if sight.inside(i)]
    done = 0
    for i in sorted(able, key=lambda i: _rank(hierarchy, i)):
        closed, least = sight.closed_around(i)
        if paths[i] not in sight.opened:
            closed, least = closed + 1, least + sight.inside(i) - 1
        if closed and sight.visible + least > budget:
            continue
        chain = [*reversed(hierarchy.ancestors(i)), i]
        done += sight.open([paths[j] for j in chain], budget)
    return Opening(frozenset(sight.opened), what, done, len(able), budget)


def _open_ranges(sight: _Sight, path: str, split: tuple[str, UnitRange], budget: int) -> Opening:
    hierarchy, (layer_path, here) = sight.hierarchy, split
    index = hierarchy.by_path[layer_path]
    layer = hierarchy.layer(index)
    assert layer is not None
    outer = opening(hierarchy, sight.units_of, path)
    around = split_unit_path(outer[-1]) if outer[-1] not in hierarchy.by_path else None
    beside, _ = open_units(sight.units_of(layer), around[1] if around else None)
    able = [r for r in beside if sight.inside(index, r)]
    done = 0
    for r in sorted(able, key=lambda r: -r.count):
        done += sight.open([*outer, unit_path(layer_path, r)], budget)
    what = f"all ranges beside {here.start}–{here.stop - 1}"
    return Opening(frozenset(sight.opened), what, done, len(able), budget)


def _rank(hierarchy: Hierarchy, index: int) -> tuple[int, int, int]:
    """Sorts the largest first: by layers inside, then by weights, then in order of flow."""
    first, last = hierarchy.nodes[index].layers
    layer = hierarchy.layer(index)
    return first - last, -layer.parameters if layer is not None else 0, index
