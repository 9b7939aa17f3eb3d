"""Opening many nodes at once: all of one kind, all like one, all down to a depth.

Pure functions from what is open to what is open then. None of them lets more nodes become visible
than a budget allows; what was left closed for it is counted and can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from explorer.color_scale import count
from explorer.errors import NeuronautError, UnknownNameError
from explorer.hierarchy import Hierarchy
from explorer.kinds import family
from explorer.lod import UnitRange, UnitsOf, open_units, opening, split_unit_path, unit_path

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
        self.visible = self._leaves(0, None)

    def open(self, paths: list[str], least: int, budget: int) -> bool:
        """Open a node and what is around it, outermost first, unless too much would show.

        Parameters
        ----------
        paths : list of str
            The node's own path last.
        least : int
            By how much the number of visible nodes grows at least; saves the counting.
        budget : int
        """
        new = [p for p in paths if p not in self.opened]
        if not new:
            return True
        if self.visible + least > budget:
            return False
        self.opened.update(new)
        # What is inside the outermost one that was closed was hidden, whatever was open in it.
        top = self._locate(new[0])
        grown = self.visible - 1 + self._leaves(*top)
        if grown > budget:
            self.opened.difference_update(new)
            return False
        self.visible = grown
        return True

    def inside(self, index: int, here: UnitRange | None = None) -> int:
        """How many nodes a node opens into; 0 for one that does not open."""
        layer = self.hierarchy.layer(index)
        if layer is None:
            return len(self.hierarchy.nodes[index].children)
        return len(open_units(self.units_of(layer), here)[0])

    def _locate(self, path: str) -> tuple[int, UnitRange | None]:
        if path in self.hierarchy.by_path:
            return self.hierarchy.by_path[path], None
        found = split_unit_path(path)
        assert found is not None
        self._ranged.add(found[0])
        return self.hierarchy.by_path[found[0]], found[1]

    def _leaves(self, index: int, here: UnitRange | None) -> int:
        """Visible nodes inside an open node."""
        nodes, total = self.hierarchy.nodes, 0
        stack: list[tuple[int, UnitRange | None]] = [(index, here)]
        while stack:
            node, units = stack.pop()
            layer = self.hierarchy.layer(node)
            if layer is None:
                for child in nodes[node].children:
                    if nodes[child].path in self.opened:
                        stack.append((child, None))
                    else:
                        total += 1
                continue
            ranges, _ = open_units(self.units_of(layer), units)
            if nodes[node].path not in self._ranged or not ranges:
                total += max(len(ranges), 1)
                continue
            for inner in ranges:
                if unit_path(nodes[node].path, inner) in self.opened:
                    stack.append((node, inner))
                else:
                    total += 1
        return total


def known_kinds(hierarchy: Hierarchy) -> list[str]:
    """Names that `open_all` knows in this network: types of nodes, those of most nodes first."""
    number: dict[str, int] = {}
    for node in hierarchy.nodes[1:]:
        if node.type:
            number[node.type] = number.get(node.type, 0) + 1
    return sorted(number, key=lambda name: (-number[name], name))


def levels(hierarchy: Hierarchy) -> int:
    """The depth to which `open_to_depth` has something to open."""
    deepest, depth = 0, [0] * len(hierarchy.nodes)
    for i, node in enumerate(hierarchy.nodes[1:], 1):
        depth[i] = depth[node.parent] + 1
        if node.children:
            deepest = max(deepest, depth[i])
    return deepest


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
    wished = kind.strip().lower()
    nodes = hierarchy.nodes
    for names in (
        [n.type for n in nodes],
        [n.kind if n.kind != "layer" else "" for n in nodes],
        [family(n.type) if n.type else "" for n in nodes],
    ):
        fits = [name.lower() == wished for name in names]
        fits[0] = False  # the network itself
        if wished and any(fits):
            break
    else:
        raise UnknownNameError("kind of node", kind, known_kinds(hierarchy))
    beneath = [False] * len(nodes)  # parents come before their children
    for i, node in enumerate(nodes[1:], 1):
        beneath[i] = beneath[node.parent] or fits[node.parent]
    chosen = [i for i, fit in enumerate(fits) if fit and not beneath[i]]
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
    nodes, me = hierarchy.nodes, hierarchy.by_path[path]
    own, parent = nodes[me], nodes[nodes[me].parent]
    if parent.kind == "series" and own.kind != "layer":
        chosen, what = list(parent.children), f"all of {parent.title}"
    elif own.type:
        chosen = [i for i, n in enumerate(nodes) if (n.kind, n.type) == (own.kind, own.type)]
        what = f"all {own.type} {_PLURAL[own.kind]}"
    else:
        depth = len(hierarchy.ancestors(me))
        alike = (i for i, n in enumerate(nodes[1:], 1) if (n.kind, n.type) == (own.kind, ""))
        chosen = [i for i in alike if len(hierarchy.ancestors(i)) == depth]
        what = f"all {_PLURAL[own.kind]} beside {own.title}"
    return _open_nodes(sight, chosen, what, budget)


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
    visible, done, wanted = len(nodes[0].children), 0, 0
    opened: set[str] = set()
    level, reached = list(nodes[0].children), True
    for _ in range(depth):
        groups = [i for i in level if nodes[i].children]
        wanted += len(groups)
        for i in sorted(groups, key=lambda i: _rank(hierarchy, i)):
            grown = visible + len(nodes[i].children) - 1
            above = nodes[i].parent == 0 or nodes[nodes[i].parent].path in opened
            if reached and above and grown <= budget:
                opened.add(nodes[i].path)
                visible, done = grown, done + 1
        # A level that did not fit is the last: what looks alike is opened alike.
        reached = reached and done == wanted
        level = [child for i in groups for child in nodes[i].children]
    what = "everything closed" if depth == 0 else f"open to depth {depth}"
    return Opening(frozenset(opened), what, done, wanted, budget)


def _open_nodes(sight: _Sight, chosen: Iterable[int], what: str, budget: int) -> Opening:
    hierarchy = sight.hierarchy
    able = [i for i in chosen if sight.inside(i)]
    done = 0
    for i in sorted(able, key=lambda i: _rank(hierarchy, i)):
        chain = [*reversed(hierarchy.ancestors(i)), i]
        closed = [j for j in chain if hierarchy.nodes[j].path not in sight.opened]
        least = sum(sight.inside(j) - 1 for j in closed)
        done += sight.open([hierarchy.nodes[j].path for j in chain], least, budget)
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
        # All of them stand in what is already open around this one.
        least = sight.inside(index, r) - 1
        done += sight.open([*outer, unit_path(layer_path, r)], least, budget)
    what = f"all ranges beside {here.start}–{here.stop - 1}"
    return Opening(frozenset(sight.opened), what, done, len(able), budget)


def _rank(hierarchy: Hierarchy, index: int) -> tuple[int, int, int]:
    """Sorts the largest first: by layers inside, then by weights, then in order of flow."""
    first, last = hierarchy.nodes[index].layers
    layer = hierarchy.layer(index)
    return first - last, -layer.parameters if layer is not None else 0, index
