"""Which nodes are visible: the cut through the tree, and how layers open into units.

Units are not rows of the hierarchy (a vocabulary has 10^5): they are ranges of a layer's unit
numbers, ``path[start:stop]``, made on demand. A range that is too long to be shown unit by unit
opens into shorter ranges whose bounds are multiples of 64, the width of the pyramid's tiles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.errors import UnknownNameError
from explorer.network import Layer
from explorer.tree.hierarchy import Hierarchy, Node
from explorer.weights.units import Units

TILE = 64
MOST_UNITS = 256  # units shown one by one before they are gathered into ranges
MOST_OPENED = 1 << 24  # units of a layer that opens: what stands for units takes memory for each
_RANGE = re.compile(r"(?P<layer>.*)\[(?P<start>\d{1,12})(?::(?P<stop>\d{1,12}))?\]", re.DOTALL)

UnitsOf = Callable[[Layer], Units]


@dataclass(frozen=True, slots=True)
class UnitRange:
    """Units ``start`` to ``stop - 1`` of a layer."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of units."""
        return self.stop - self.start


def unit_path(layer: str, units: UnitRange) -> str:
    """The path of a unit or a range of units."""
    if units.count == 1:
        return f"{layer}[{units.start}]"
    return f"{layer}[{units.start}:{units.stop}]"


def split_unit_path(path: str) -> tuple[str, UnitRange] | None:
    """Layer path and range of a unit path; ``None`` when the path is not one."""
    found = _RANGE.fullmatch(path)
    if found is None:
        return None
    start = int(found["start"])
    stop = int(found["stop"]) if found["stop"] else start + 1
    return (found["layer"], UnitRange(start, stop)) if stop > start else None


def open_units(units: Units, inside: UnitRange | None) -> tuple[list[UnitRange], tuple[int, int]]:
    """The ranges that a layer, or a range of its units, opens into.

    Parameters
    ----------
    units : Units
        Of the layer.
    inside : UnitRange or None
        The range to open; ``None`` opens the whole layer.

    Returns
    -------
    list of UnitRange
        At most 256 single units, or at most 64 longer ranges, in order; empty for a single unit
        and for a layer of more than 2**24 units, which does not open.
    (int, int)
        Rows and columns of the grid they stand on.
    """
    whole = UnitRange(0, units.count)
    here = inside or whole
    if (here.count <= 1 and inside is not None) or not 0 < units.count <= MOST_OPENED:
        return [], (0, 0)
    if here == whole and len(units.blocks) > 1:
        step = units.channels
        ranges = [UnitRange(b * step, (b + 1) * step) for b in range(len(units.blocks))]
        return ranges, (len(ranges), 1)
    if here == whole and units.heads is not None:
        heads, dim = units.heads
        if here.count <= MOST_UNITS:
            return [UnitRange(u, u + 1) for u in range(here.count)], (heads, dim)
        if 1 < heads <= TILE:
            ranges = [UnitRange(h * dim, (h + 1) * dim) for h in range(heads)]
            return ranges, near_square(heads)
    if here.count <= MOST_UNITS:
        return [UnitRange(u, u + 1) for u in range(here.start, here.stop)], near_square(here.count)
    step = TILE
    while math.ceil(here.count / step) > TILE:
        step *= 2
    # Bounds count from the start of the block (a gate, a head), where its matrix starts too.
    ranges = [UnitRange(a, min(a + step, here.stop)) for a in range(here.start, here.stop, step)]
    return ranges, near_square(len(ranges))


def near_square(count: int) -> tuple[int, int]:
    """Rows and columns of a grid for `count` things, a little wider than high."""
    columns = max(1, math.ceil(math.sqrt(count)))
    return max(1, math.ceil(count / columns)), columns


@dataclass(frozen=True)
class Cut:
    """The visible nodes and the open nodes around them, parents before children.

    Attributes
    ----------
    paths : tuple of str
        Of each row.
    parent : int32 array, shape (n,)
        Row of the parent; -1 for row 0, the root.
    node : int32 array, shape (n,)
        Index into ``hierarchy.nodes``; for units, of their layer.
    units : tuple of (UnitRange or None)
        The range that a row stands for; ``None`` for a row of the hierarchy.
    leaf : bool array, shape (n,)
        True for the visible nodes; False for the open ones.
    grid : int32 array, shape (n, 2)
        Rows and columns of the grid an open layer's units stand on; zeros elsewhere.
    """

    paths: tuple[str, ...]
    parent: NDArray[np.int32]
    node: NDArray[np.int32]
    units: tuple[UnitRange | None, ...]
    leaf: NDArray[np.bool_]
    grid: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.paths)


def make_cut(hierarchy: Hierarchy, units_of: UnitsOf, opened: Set[str]) -> Cut:
    """The rows that are visible when these nodes are open.

    Parameters
    ----------
    hierarchy : Hierarchy
    units_of : callable Layer -> Units
    opened : set of str
        Paths of open nodes; the root is always open. Paths that do not exist or whose ancestors
        are closed have no effect.

    Returns
    -------
    Cut
    """
    paths: list[str] = []
    parent: list[int] = []
    node: list[int] = []
    ranges: list[UnitRange | None] = []
    leaf: list[bool] = []
    grid: list[tuple[int, int]] = []
    stack: list[tuple[int, UnitRange | None, int]] = [(0, None, -1)]
    while stack:
        index, here, above = stack.pop()
        row = hierarchy.nodes[index]
        path = row.path if here is None else unit_path(row.path, here)
        me = len(paths)
        inner: list[tuple[int, UnitRange | None, int]] = []
        shape = (0, 0)
        if index == 0 or path in opened:
            layer = hierarchy.layer(index)
            if layer is None:
                inner = [(child, None, me) for child in row.children]
            else:
                found, shape = open_units(units_of(layer), here)
                inner = [(index, r, me) for r in found]
        paths.append(path)
        parent.append(above)
        node.append(index)
        ranges.append(here)
        leaf.append(not inner)
        grid.append(shape)
        stack.extend(reversed(inner))
    return Cut(
        tuple(paths),
        np.array(parent, np.int32),
        np.array(node, np.int32),
        tuple(ranges),
        np.array(leaf),
        np.array(grid, np.int32).reshape(-1, 2),
    )


def first_cut(
    hierarchy: Hierarchy, least: int = 8, aim: int = 20, most: int = 40
) -> frozenset[str]:
    """What to open first, so that the first picture is worth looking at.

    Starting from the root, the largest scope or series is opened, and with it all that stand
    beside it and are of about its size (all series, where it is a series): what looks alike is
    opened alike. This goes on while fewer than `aim` nodes are visible and ends where the next
    ones would take the count above `most`, so that nothing is open beside something larger that is
    closed. Only while fewer than `least` nodes are visible, the largest is opened without those
    beside it, what does not fit is left for what is smaller, and stages are opened too.

    Returns
    -------
    frozenset of str
        Paths of the nodes to open.
    """
    nodes = hierarchy.nodes
    opened: set[str] = set()
    visible = dict.fromkeys(nodes[0].children, 1)  # depth of each visible node

    def fits(level: list[int]) -> bool:
        return len(visible) + sum(len(nodes[i].children) - 1 for i in level) <= most

    for kinds, enough in ((("scope", "series"), aim), (("stage",), least)):
        refused: set[int] = set()
        while len(visible) < enough:
            closed = {
                i: d for i, d in visible.items() if nodes[i].kind in kinds and i not in refused
            }
            level = _alike(hierarchy, closed)
            if level and not fits(level) and len(visible) < least:
                level = [max(level, key=lambda i: _layers(nodes[i]))]
            if not level or (not fits(level) and len(visible) >= least):
                break
            if not fits(level):
                refused.update(level)
                continue
            for i in level:
                opened.add(nodes[i].path)
                below = visible.pop(i) + 1
                visible.update(dict.fromkeys(nodes[i].children, below))
    return frozenset(opened)


def _layers(node: Node) -> int:
    return node.layers[1] - node.layers[0]


def _alike(hierarchy: Hierarchy, closed: dict[int, int]) -> list[int]:
    """The largest of these nodes (index: depth), and those that are to be opened with it."""
    nodes = hierarchy.nodes
    first = max(closed, key=lambda i: _layers(nodes[i]), default=None)
    if first is None:
        return []
    return [
        i
        for i, depth in closed.items()
        if depth == closed[first]
        and nodes[i].kind == nodes[first].kind
        and (nodes[i].kind == "series" or 8 * _layers(nodes[i]) > _layers(nodes[first]))
    ]


def resolve(hierarchy: Hierarchy, units_of: UnitsOf, name: str, *, any_range: bool = False) -> str:
    """The path of the node that a person means.

    Parameters
    ----------
    hierarchy : Hierarchy
    units_of : callable Layer -> Units
    name : str
        A path, the last part of one if only one node ends so, or either with ``[unit]``,
        ``[start:stop]`` or ``[block name]`` behind it.
    any_range : bool
        Also accept a range that is no node: one that no layer or range opens into.

    Returns
    -------
    str

    Raises
    ------
    UnknownNameError
        If there is no such node, unit or range; the nearest names, or the range around it, are
        offered.
    """
    if name and name in hierarchy.by_path:
        return name
    match = re.fullmatch(r"(.*)\[([^\[\]]+)\]", name, re.DOTALL)
    if match is None:
        return _named(hierarchy, name)
    path = _named(hierarchy, match[1])
    layer = hierarchy.layer(hierarchy.by_path[path])
    if layer is None:
        raise UnknownNameError("unit", name, [path])
    units = units_of(layer)
    for b, block in enumerate(units.blocks):
        if match[2] in (block, block.split()[0]):
            return unit_path(path, UnitRange(b * units.channels, (b + 1) * units.channels))
    found = split_unit_path(f"{path}[{match[2]}]")
    if found is None or found[1].stop > units.count:
        last = [f"{path}[0]", f"{path}[{max(units.count - 1, 0)}]"]
        raise UnknownNameError("unit", name, last)
    if not any_range and found[1].count > 1:
        around = _around(units, found[1])
        if around and around[-1] == found[1]:
            return unit_path(path, found[1])
        nearest = unit_path(path, around[-1]) if around else path
        raise UnknownNameError("range of units", name, [nearest])
    return unit_path(path, found[1])


def _around(units: Units, target: UnitRange) -> list[UnitRange]:
    """The ranges that hold these units, outermost first; the last is their own if it is one."""
    found: list[UnitRange] = []
    while not found or found[-1] != target:
        ranges, _ = open_units(units, found[-1] if found else None)
        inner = [r for r in ranges if r.start <= target.start and target.stop <= r.stop]
        if not inner:
            break
        found.append(inner[0])
    return found


def _named(hierarchy: Hierarchy, name: str) -> str:
    if name and name in hierarchy.by_path:
        return name
    ends = [n.path for n in hierarchy.nodes[1:] if n.path.endswith("/" + name)]
    titled = [n.path for n in hierarchy.nodes[1:] if n.title == name]
    for found in (ends, titled):
        if len(found) == 1:
            return found[0]
    known = [n.path for n in hierarchy.nodes[1:]]
    raise UnknownNameError("node", name, ends or titled or known)


def locate(hierarchy: Hierarchy, path: str) -> tuple[int, UnitRange | None]:
    """The node of a path, and the range of its units that the path means, if any.

    Raises
    ------
    UnknownNameError
        If there is no such node.
    """
    by_path = hierarchy.by_path
    if path in by_path:
        return by_path[path], None
    split = split_unit_path(path)
    if split is None or split[0] not in by_path:
        raise UnknownNameError("node", path, by_path)
    return by_path[split[0]], split[1]


def opening(hierarchy: Hierarchy, units_of: UnitsOf, path: str) -> list[str]:
    """The paths that must be open for a node to be visible, outermost first, without itself."""
    split = None if path in hierarchy.by_path else split_unit_path(path)
    layer_path, target = split if split else (path, None)
    index = hierarchy.by_path[layer_path]
    found = [hierarchy.nodes[i].path for i in reversed(hierarchy.ancestors(index))]
    if target is None:
        return found
    layer = hierarchy.layer(index)
    assert layer is not None
    found.append(layer_path)
    around = _around(units_of(layer), target)
    return found + [unit_path(layer_path, r) for r in around if r != target]
