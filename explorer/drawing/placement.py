"""Which nodes are visible and where they stand: a cut goes into a layout, boxes come out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

import layouts
from explorer.crossing.places import cut_links
from explorer.drawing.appearance import is_fan, looks_of, unit_size
from explorer.errors import UnknownNameError
from explorer.open_model import OpenModel
from explorer.tree.lod import Cut, first_cut, make_cut
from explorer.viewing.view_state import ViewState
from layouts.tree import Boxes, Layout, Tree

F8 = NDArray[np.float64]
ASPECT = 16 / 9
_WIDER = 2.0  # columns for each row where branches face the flow: the view shortens rows

# By model and layout: extents of what is open in the first picture, by node.
_ROOMS: WeakKeyDictionary[OpenModel, dict[str, dict[int, list[float]]]] = WeakKeyDictionary()
_LOCK = Lock()


@dataclass(frozen=True)
class Placed:
    """A cut whose nodes have places.

    Attributes
    ----------
    cut : Cut
    boxes : Boxes
        One box per row of the cut.
    """

    cut: Cut
    boxes: Boxes


def place(model: OpenModel, state: ViewState, aspect: float = ASPECT) -> Placed:
    """Choose what is visible and where it stands.

    Raises
    ------
    UnknownNameError
        If there is no such layout.
    """
    known = layouts.layouts()
    if state.layout not in known:
        raise UnknownNameError("layout", state.layout, known)
    cut = make_cut(model.hierarchy, model.units_of, state.opened)
    layout = known[state.layout]
    tree = replace(_tree(model, cut), room=_room(model, cut, layout))
    return Placed(cut, layout.place(tree, aspect))


def _room(model: OpenModel, cut: Cut, layout: Layout) -> F8:
    """Extents of nodes that are open in the first picture, as they are there; else zeros."""
    with _LOCK:
        known = _ROOMS.setdefault(model, {})
    if layout.name not in known:
        first = make_cut(model.hierarchy, model.units_of, first_cut(model.hierarchy))
        boxes = layout.place(_tree(model, first), ASPECT)
        opened = np.flatnonzero(~first.leaf)
        known[layout.name] = dict(
            zip(first.node[opened].tolist(), boxes.sizes[opened].tolist(), strict=True)
        )
    found, room = known[layout.name], np.zeros((len(cut), 3))
    for row, (node, units) in enumerate(zip(cut.node.tolist(), cut.units, strict=True)):
        if units is None and node in found:
            room[row] = found[node]
    return room


def _tree(model: OpenModel, cut: Cut) -> Tree:
    """What a layout reads; branches that are all equal stand on a grid as units do."""
    grid, abreast = cut.grid.copy(), np.zeros(len(cut), bool)
    inside = np.bincount(cut.parent[1:], minlength=len(cut))
    for row in np.flatnonzero(~cut.leaf & ~grid.any(axis=1)).tolist():
        if cut.units[row] is None and is_fan(model.hierarchy, int(cut.node[row])):
            rows = max(round(float(np.sqrt(inside[row] / _WIDER))), 1)
            grid[row], abreast[row] = (rows, -(-int(inside[row]) // rows)), True
    return Tree(cut.parent, _sizes(model, cut), _links(model, cut), grid, abreast=abreast)


def _sizes(model: OpenModel, cut: Cut) -> F8:
    """Extents of each node as it is closed; an open one's frame is the layout's affair."""
    sizes = np.zeros((len(cut), 3))
    whole = np.array([u is None for u in cut.units], bool)
    sizes[whole] = looks_of(model.hierarchy, cut.node[whole]).size
    # The units of one grid have two sizes at most, so sizes are remembered.
    memory: dict[tuple[int, tuple[int, int], int, bool], tuple[float, float, float]] = {}
    for row in np.flatnonzero(~whole).tolist():
        here, node, above = cut.units[row], int(cut.node[row]), int(cut.parent[row])
        assert here is not None
        rows, columns = cut.grid[above].tolist()
        key = (node, (rows, columns), here.count, cut.units[above] is not None)
        if key not in memory:
            layer = model.hierarchy.layer(node)
            assert layer is not None
            _, grid, _, nested = key
            memory[key] = unit_size(layer, model.units_of(layer), grid, here, nested)
        sizes[row] = memory[key]
    return sizes


def _links(model: OpenModel, cut: Cut) -> NDArray[np.int32]:
    """Links between leaves; a layer open into units is joined by its first unit."""
    links = cut_links(model, cut)
    pairs = links.rows[links.rows[:, 0] != links.rows[:, 1]]
    opened = links.places.opened()
    if opened:
        first = np.arange(len(cut), dtype=np.int32)
        first[opened] = [links.places.shown(row)[0] for row in opened]
        pairs = first[pairs]
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])
