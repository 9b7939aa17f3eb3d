"""Which nodes are visible and where they stand: a cut goes into a layout, boxes come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import layouts
from explorer.crossing.places import cut_links
from explorer.drawing.appearance import looks_of, unit_size
from explorer.errors import UnknownNameError
from explorer.open_model import OpenModel
from explorer.tree.lod import Cut, make_cut
from explorer.viewing.view_state import ViewState
from layouts.tree import Boxes, Tree

F8 = NDArray[np.float64]
ASPECT = 16 / 9


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
    tree = Tree(cut.parent, _sizes(model, cut), _links(model, cut), cut.grid)
    return Placed(cut, known[state.layout].place(tree, aspect))


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
