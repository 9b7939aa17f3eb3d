"""How big a node is, what colour it has and what is written on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import count
from explorer.kinds import family
from explorer.network import Layer, Shape
from explorer.tree.hierarchy import KINDS, Hierarchy, shape_text
from explorer.tree.lod import Cut, UnitRange, UnitsOf, near_square, open_units
from explorer.tree.node_facts import node_facts
from explorer.tree.titles import FAN
from explorer.weights.units import Units

F8 = NDArray[np.float64]
SLICES = 16  # a series is shown as this many slices at most
TILES = 36  # and one whose members stand side by side as this many tiles


def node_family(hierarchy: Hierarchy, node: int) -> str:
    """The family whose colour a node takes: its own, or the one that holds most weights inside."""
    return node_facts(hierarchy).family(node)


def shows_pool(hierarchy: Hierarchy, node: int) -> bool:
    """Whether a closed node is a stage that pools, which is drawn with a slab of its own."""
    return hierarchy.nodes[node].kind == "stage" and node_facts(hierarchy).has_pool(node)


@dataclass(frozen=True, eq=False)
class Looks:
    """How some closed nodes look; one entry per node.

    Attributes
    ----------
    family : tuple of str
    pool : bool array
        As `shows_pool` says.
    slices : int array
        How many members to show, as `members` says, up to 16, or up to 36 where they are tiles.
    tiles : bool array
        Whether they stand side by side across the flow, not one after another.
    size : float64 array, shape (n, 3)
        As `leaf_size` says.
    """

    family: tuple[str, ...]
    pool: NDArray[np.bool_]
    slices: NDArray[np.int64]
    tiles: NDArray[np.bool_]
    size: F8


_Look = tuple[str, bool, int, bool, tuple[float, float, float]]


def looks_of(hierarchy: Hierarchy, nodes: NDArray[np.int32]) -> Looks:
    """How these nodes look when they are closed; found once per node.

    Parameters
    ----------
    hierarchy : Hierarchy
    nodes : int32 array, shape (n,)
    """
    store: dict[int, _Look] = hierarchy.__dict__.setdefault("_looks", {})
    found = []
    for node in nodes.tolist():
        look = store.get(node)
        if look is None:
            look = store[node] = (
                node_family(hierarchy, node),
                shows_pool(hierarchy, node),
                min(members(hierarchy, node), TILES if is_fan(hierarchy, node) else SLICES),
                is_fan(hierarchy, node),
                leaf_size(hierarchy, node),
            )
        found.append(look)
    families, pool, slices, tiles, size = zip(*found, strict=True) if found else ((),) * 5
    return Looks(
        tuple(families),
        np.array(pool, bool),
        np.array(slices, np.int64),
        np.array(tiles, bool),
        np.array(size, float).reshape(-1, 3),
    )


def is_fan(hierarchy: Hierarchy, node: int) -> bool:
    """Whether a node is a series, or a piece of one, whose members stand side by side."""
    path = hierarchy.paths[node]
    return KINDS[hierarchy.kinds[node]] == "series" and path.partition("~part")[0].endswith(FAN)


def members(hierarchy: Hierarchy, node: int) -> int:
    """How many blocks of one sort a node consists of; 1 where that is not what it is.

    A series consists of its members. So does a scope of nothing but scopes and series of about the
    same size, at least three in all: stages of a network hold blocks that differ in a shape only.
    Where these consist of blocks themselves (the pieces of a long stage), those are counted.
    """
    return sum(size for size, _ in _members(hierarchy, node)) or 1


def _members(hierarchy: Hierarchy, node: int) -> tuple[tuple[int, float], ...]:
    """Members of a node as pairs of (how many, layers in each), kept beside the hierarchy."""
    store: dict[int, tuple[tuple[int, float], ...]]
    store = hierarchy.__dict__.setdefault("_members", {})
    if node not in store:
        row = hierarchy.nodes[node]
        inside = row.layers[1] - row.layers[0]
        if row.kind == "series":
            copies = max(int(hierarchy.copies[node]), 1)
            store[node] = ((copies, inside / copies),)
        else:
            store[node] = _blocks(hierarchy, row.children) if row.kind == "scope" else ()
    return store[node]


def _blocks(hierarchy: Hierarchy, children: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
    nodes = hierarchy.nodes
    if len(children) < 2 or any(nodes[i].kind not in ("scope", "series") for i in children):
        return ()
    if any(nodes[i].path.endswith("~branch") for i in children):
        return ()  # side by side, not one after another
    found: list[tuple[int, float]] = []
    for i in children:
        inner = _members(hierarchy, i)
        if not inner and "~part" in nodes[i].path.rpartition("/")[2]:
            return ()  # a piece of what is too long to be shown at once is no block
        found += inner or ((1, float(nodes[i].layers[1] - nodes[i].layers[0])),)
    sizes = [size for _, size in found]
    alike = sum(n for n, _ in found) >= 3 and max(sizes) <= 2 * min(sizes)
    return tuple(found) if alike else ()


def leaf_size(hierarchy: Hierarchy, node: int) -> tuple[float, float, float]:
    """Wished extents of a closed node along x, y, z in world units.

    The face shows the size of the output: height and width grow with the logarithm of its rows
    and columns (of its length, for a flat output); the thickness with that of its channels.
    """
    facts = node_facts(hierarchy)
    row = hierarchy.nodes[node]
    thickness, height, width = _solid(facts.shape(node))
    if is_fan(hierarchy, node):
        side = 1.1 + 0.16 * _log(members(hierarchy, node))
        return thickness, max(height, side), max(width, side)
    if row.kind == "layer" and family(row.type) in ("activation", "norm", "shape", "merge"):
        thickness *= 0.5
    if row.kind in ("scope", "series"):
        thickness = max(thickness, 0.9 + 0.35 * math.log2(1 + facts.count(node)))
        height, width = max(height, 1.3), max(width, 1.3)
    thickness = max(thickness, 0.34 * min(members(hierarchy, node), SLICES))
    return thickness, height, width


def _solid(shape: Shape | None) -> tuple[float, float, float]:
    inner = list((shape or ())[1:])
    known = [n if n is not None else 16 for n in inner]
    if len(known) >= 3:
        *space, channels = known
        rows, columns = space[-2:]
        return 0.18 + 0.08 * _log(channels), 0.55 + 0.44 * _log(rows), 0.55 + 0.44 * _log(columns)
    if len(known) == 2:
        length, channels = known
        return 0.30, 0.5 + 0.33 * _log(channels), 0.5 + 0.33 * _log(length)
    if len(known) == 1:
        return 0.34, 0.5 + 0.36 * _log(known[0]), 0.5 + 0.16 * _log(known[0])
    return 0.3, 0.8, 0.8


def _log(n: int) -> float:
    return math.log2(1 + max(n, 0))


def unit_size(
    layer: Layer, units: Units, grid: tuple[int, int], here: UnitRange, nested: bool
) -> tuple[float, float, float]:
    """Extents of one unit, or of a range of units.

    Parameters
    ----------
    layer : Layer
    units : Units
        Of the layer.
    grid : (int, int)
        Rows and columns of the grid that it stands on.
    here : UnitRange
    nested : bool
        Whether the grid lies inside an open range, where it must not outgrow the closed ranges
        beside it.
    """
    is_map = len(layer.output_shape or ()) >= 4
    if here.count > 1:
        side = min(max(0.7 + 0.16 * _log(here.count), 0.8), 2.0)
        return 0.30, side, side
    total = 2.6 if nested else 3.4 + 0.25 * _log(units.count)
    # A long grid (heads x components) must not reach far out of its neighbourhood.
    side = max(min(total / max(2.0, math.sqrt(grid[0] * grid[1])), 1.6 * total / max(grid)), 0.15)
    side = min(side, 1.15 if is_map else 0.62)
    return (0.07 if is_map else side * 0.62), side, side


@lru_cache(maxsize=1024)
def unit_places(units: Units) -> F8:
    """Where each unit stands on the face of its closed layer.

    Returns
    -------
    float64 array, shape (count, 2)
        Offsets along (y, z) from the centre, in shares of the face, each within -0.5 .. 0.5;
        the same arrangement as when the layer is open. Shared: not to be written to.
    """
    return _places(units, None, units.count)


def _places(units: Units, here: UnitRange | None, size: int) -> F8:
    ranges, (rows, columns) = open_units(units, here)
    if not ranges:
        return np.zeros((size, 2))
    index = np.arange(len(ranges))
    cell = np.stack(
        (0.5 - (index // columns + 0.5) / rows, (index % columns + 0.5) / columns - 0.5), axis=1
    )
    lengths = np.array([r.count for r in ranges])
    places = np.repeat(cell, lengths, axis=0)
    if lengths.max() > 1:
        # Inside a range the units fill a near-square grid of the cell.
        first = np.repeat(np.cumsum(lengths) - lengths, lengths)
        inner = np.arange(size) - first
        inner_rows, inner_columns = near_square(int(lengths.max()))
        offset = np.stack(
            (
                0.5 - (inner // inner_columns + 0.5) / inner_rows,
                (inner % inner_columns + 0.5) / inner_columns - 0.5,
            ),
            axis=1,
        )
        places += 0.9 * offset / np.array([rows, columns])
    return places


def title_of(hierarchy: Hierarchy, cut: Cut, row: int, units_of: UnitsOf) -> str:
    """What is written on a node."""
    node = hierarchy.nodes[int(cut.node[row])]
    here = cut.units[row]
    if here is not None:
        return unit_title(hierarchy, int(cut.node[row]), here, units_of)
    if node.kind == "series" and (cut.leaf[row] or is_fan(hierarchy, int(cut.node[row]))):
        return f"{node.title}  × {count(members(hierarchy, int(cut.node[row])))}"
    if node.kind == "scope" and cut.leaf[row] and " … " not in node.title:
        blocks = members(hierarchy, int(cut.node[row]))
        return f"{node.title} · {count(blocks)} blocks" if blocks > 1 else node.title
    if node.kind == "stage" and not cut.leaf[row]:
        return f"{node.title} stage"  # the layer inside has the plain name
    return node.title


def unit_title(hierarchy: Hierarchy, node: int, here: UnitRange, units_of: UnitsOf) -> str:
    """What is written on a unit or a range of units."""
    layer = hierarchy.layer(node)
    assert layer is not None
    units = units_of(layer)
    step = max(units.channels, 1)
    block = units.blocks[here.start // step] if len(units.blocks) > 1 else ""
    if block and here.start % step == 0 and here.count == step:
        return block
    low = here.start % step if block else here.start
    if units.heads is not None:
        heads, dim = units.heads
        if here.start % dim == 0 and here.count == dim and heads > 1:
            return f"head {here.start // dim}"
    text = str(low) if here.count == 1 else f"{low}–{low + here.count - 1}"
    return f"{block} {text}".strip()


def describe(hierarchy: Hierarchy, node: int, here: UnitRange | None, units_of: UnitsOf) -> str:
    """One line for a tooltip: name, kind, shape, weights."""
    row, facts = hierarchy.nodes[node], node_facts(hierarchy)
    if here is not None:
        layer = facts.first(node)
        what = "unit" if here.count == 1 else f"{count(here.count)} units"
        title = unit_title(hierarchy, node, here, units_of)
        return f"{layer.path} · {what} {title} · {layer.kind} {shape_text(layer.output_shape)}"
    kind = {
        "series": f"series of {count(members(hierarchy, node))}",
        "stage": f"stage, {row.type}",
    }.get(row.kind, row.type or "group")
    parts = [row.title, kind, shape_text(facts.shape(node))]
    if facts.count(node) > 1:
        parts.append(f"{count(facts.count(node))} layers")
    parts.append(f"{count(facts.parameters(node))} parameters")
    if row.inferred and row.kind == "scope":
        parts.append("grouping inferred")
    return " · ".join(parts)
