"""Where the stages meet: an open model and a view state become a draw list.

Everything here is a pure function of frozen inputs (the finder only remembers results), so it can
run in a thread, be tested without a screen, and be cached.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import layouts
from explorer.appearance import leaf_size, unit_places, unit_size
from explorer.captions import labels_of, legend_of
from explorer.color_scale import ColorScale, fit_scale
from explorer.crossing import Crossing, EdgeRows
from explorer.draw_list import DrawList, EdgeArrays, NodePaths
from explorer.edges import EdgeFinder
from explorer.errors import UnknownNameError
from explorer.lod import Cut, make_cut
from explorer.open_model import OpenModel
from explorer.overlays import Overlay, get_overlay
from explorer.routing import curves, heights
from explorer.solids import boxes_of
from explorer.themes import THEMES, Theme
from explorer.view_state import ViewState
from layouts.geometry import return_gutter
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


def build_draw_list(
    model: OpenModel, finder: EdgeFinder, state: ViewState, aspect: float = ASPECT
) -> tuple[DrawList, Placed, Crossing]:
    """Draw what a view state says.

    Parameters
    ----------
    model : OpenModel
    finder : EdgeFinder
        Of the same model.
    state : ViewState
    aspect : float
        Width / height of the picture that the layout is to fill.

    Returns
    -------
    DrawList
    Placed, Crossing
        What it was made from: where nodes stand, and which connections are still to be read.

    Raises
    ------
    UnknownNameError
        If the layout or the overlay does not exist.
    """
    theme = THEMES[state.theme]
    overlay = get_overlay(state.overlay)
    placed = place(model, state, aspect)
    crossing = finder.crossing(placed.cut, state.edge_budget)
    edges, scale, nodes = _edges(model, placed, crossing.edges, overlay, theme)
    solids, frames = boxes_of(model, placed.cut, placed.boxes, theme)
    legend = legend_of(model, placed.cut, crossing, overlay, scale, theme)
    labels = labels_of(model, placed.cut, placed.boxes)
    draw_list = DrawList(
        solids,
        frames,
        edges,
        labels,
        legend,
        nodes=nodes,
        selected=nodes.shown.index(state.selected) if state.selected in nodes.shown else -1,
        theme=state.theme,
        pending=bool(crossing.missing or crossing.searches),
    )
    return draw_list, placed, crossing


def _sizes(model: OpenModel, cut: Cut) -> F8:
    sizes = np.zeros((len(cut), 3))
    siblings = np.bincount(np.maximum(cut.parent, 0), minlength=len(cut))
    # The units of one grid have two sizes at most, so sizes are remembered.
    memory: dict[tuple[int, int, int, bool], tuple[float, float, float]] = {}
    for row in np.flatnonzero(cut.leaf):
        here, node = cut.units[row], int(cut.node[row])
        if here is None:
            sizes[row] = leaf_size(model.hierarchy, node)
            continue
        above = int(cut.parent[row])
        shown, nested = int(siblings[above]), cut.units[above] is not None
        key = (node, shown, here.count, nested)
        if key not in memory:
            layer = model.hierarchy.layer(node)
            assert layer is not None
            memory[key] = unit_size(layer, model.units_of(layer), shown, here, nested)
        sizes[row] = memory[key]
    return sizes


def _links(model: OpenModel, cut: Cut) -> NDArray[np.int32]:
    """Links between leaves; a layer open into units is joined by its first unit."""
    hierarchy = model.hierarchy
    home = np.zeros(len(model.graph.layers), np.int32)
    order = np.array(hierarchy.order, np.int64)
    for row in np.flatnonzero(cut.leaf)[::-1]:
        first, last = hierarchy.nodes[int(cut.node[row])].layers
        home[order[first:last]] = row
    position = {la.path: i for i, la in enumerate(model.graph.layers)}
    ends = np.array(
        [(position[k.source], position[k.target]) for k in model.graph.links], np.int64
    ).reshape(-1, 2)
    pairs = home[ends]
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).astype(np.int32)


# -- edges -----------------------------------------------------------------------------------------


def _edges(
    model: OpenModel, placed: Placed, rows: EdgeRows, overlay: Overlay, theme: Theme
) -> tuple[EdgeArrays, ColorScale, NodePaths]:
    weighted = (rows.stats.count > 0) & ~rows.pending
    values = overlay.values(rows.stats)
    ramp = theme.diverging if overlay.diverging else theme.sequential
    scale = fit_scale(values[weighted], ramp, overlay.diverging)
    strength = np.abs(values) if overlay.diverging else values
    # Weakest first; links without weights lie under everything.
    order = np.lexsort((np.where(weighted, strength, -1.0), weighted))
    rows, values, weighted = rows.take(order), values[order], weighted[order]
    rgba = np.empty((len(rows), 4), np.uint8)
    rgba[:, :3] = np.where(weighted[:, None], scale.colors(values), theme.flow)
    rgba[:, 3] = _opacity(rows, scale.position(values), weighted, overlay)
    source, target, nodes = _ends(model, rows, placed.cut)
    stats = rows.stats
    unread = ~weighted
    edges = EdgeArrays(
        _points(model, placed, rows),
        rgba,
        _widths(rows, scale.position(values), weighted),
        source,
        target,
        np.where(unread, np.nan, stats.rms),
        np.where(unread, np.nan, stats.signed_mean),
        stats.count + stats.non_finite,
    )
    return edges, scale, nodes


def _opacity(rows: EdgeRows, at: F8, weighted: NDArray[np.bool_], overlay: Overlay) -> F8:
    strength = np.abs(2 * at - 1) if overlay.diverging else at
    # The more edges there are, the more each must let the others through.
    crowd = np.clip(1.25 - 0.16 * np.log10(max(len(rows), 1)), 0.55, 1.0)
    single = 40 + 205 * strength**1.3 * crowd
    # An edge that stands for many weights is weak beside single ones, but never unimportant; in
    # a crowd of them each must let the others through.
    several = (rows.stats.count > 1) & ~rows.strand
    many = (120 + 120 * strength) * _room(several)
    alpha = np.where(several, many, single)
    return np.where(weighted, alpha, np.where(rows.pending, 70, 150))


def _room(several: NDArray[np.bool_]) -> float:
    """Share of opacity and width that each of many bundles may have."""
    return float(np.clip((40 / max(int(several.sum()), 1)) ** 0.4, 0.22, 1.0))


def _widths(rows: EdgeRows, at: F8, weighted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bundles: wider for more weights. Single connections: wider for stronger ones."""
    single = rows.strand | (rows.stats.count <= 1)
    bundle = 1.8 + 0.75 * np.log10(np.maximum(rows.stats.count, 1))
    bundle = np.maximum(np.minimum(bundle, 7.0) * _room(~single), 1.0)
    width = np.where(single, 1.0 + 0.6 * (at > 0.8), bundle)
    return np.where(weighted, width, 1.6).astype(np.float32)


def _ends(
    model: OpenModel, rows: EdgeRows, cut: Cut
) -> tuple[NDArray[np.int32], NDArray[np.int32], NodePaths]:
    """Index of each edge's source and target in the draw list's nodes, and those nodes."""
    index = np.concatenate((rows.source, rows.target))
    unit = np.concatenate((rows.source_unit, rows.target_unit)).astype(np.int64)
    layer = np.concatenate((rows.source_layer, rows.target_layer)).astype(np.int64)
    chosen = np.flatnonzero(unit >= 0)
    # Many strands share their ends: each distinct hidden unit is one node.
    distinct, which = np.unique(layer[chosen] << 32 | unit[chosen], return_inverse=True)
    index[chosen] = len(cut) + which
    nodes = NodePaths(cut.paths, model.layer_paths, distinct >> 32, distinct & 0xFFFFFFFF)
    return index[: len(rows)], index[len(rows) :], nodes


def _points(model: OpenModel, placed: Placed, rows: EdgeRows) -> NDArray[np.float32]:
    boxes = placed.boxes
    if len(rows) == 0:
        return curves(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    start, end = boxes.centers[rows.source].copy(), boxes.centers[rows.target].copy()
    start[:, 0] += boxes.sizes[rows.source, 0] / 2
    end[:, 0] -= boxes.sizes[rows.target, 0] / 2
    # Which way to go round is decided once per pair of nodes, so that a bundle stays together.
    pairs, which = np.unique(np.stack((rows.source, rows.target), 1), axis=0, return_inverse=True)
    first = np.full(len(pairs), len(rows))
    np.minimum.at(first, which.ravel(), np.arange(len(rows)))
    over = np.full(len(pairs), np.nan)
    reach = np.full(len(pairs), 0.4)
    nodes_only = np.array([placed.cut.units[a] is None for a in range(len(placed.cut))])
    plain = nodes_only[pairs].all(axis=1) | (pairs[:, 0] == pairs[:, 1])
    back = start[first, 0] >= end[first, 0]
    chosen = np.flatnonzero(plain | back)
    solid = np.flatnonzero(placed.cut.leaf & nodes_only | _unit_frames(placed.cut))
    obstacles = np.union1d(solid, pairs[chosen].ravel())
    local = np.searchsorted(obstacles, pairs[chosen]).astype(np.int32)
    over[chosen], reach[chosen] = heights(
        start[first[chosen]],
        end[first[chosen]],
        local,
        boxes.centers[obstacles],
        boxes.sizes[obstacles],
    )
    gutter = _gutters(placed, pairs)
    over = np.where(back & ~np.isnan(gutter), gutter, over)
    over, reach = over[which.ravel()], reach[which.ravel()]
    _spread(model, placed, rows, start, end)
    # Strands that go round stay a little apart where they run together.
    bent = rows.strand & ~np.isnan(over)
    over = np.where(bent, over + 0.25 * (start[:, 1] - boxes.centers[rows.source, 1]), over)
    return curves(start, end, over, reach)


def _gutters(placed: Placed, pairs: NDArray[np.int32]) -> F8:
    """Height at which a line between two rows of a wrapped layout runs free; NaN elsewhere."""
    cut = placed.cut
    tree = Tree(cut.parent, placed.boxes.sizes, pairs.astype(np.int32), cut.grid)
    return return_gutter(tree, placed.boxes)


def _unit_frames(cut: Cut) -> NDArray[np.bool_]:
    """Open layers: to what passes by, their units are one obstacle."""
    return np.asarray(np.any(cut.grid > 0, axis=1))


def _spread(model: OpenModel, placed: Placed, rows: EdgeRows, start: F8, end: F8) -> None:
    """Move the ends of strands to where their units stand on the faces of the closed nodes."""
    for ends, row, unit, layer in (
        (start, rows.source, rows.source_unit, rows.source_layer),
        (end, rows.target, rows.target_unit, rows.target_layer),
    ):
        for k in np.unique(layer[unit >= 0]):
            chosen = np.flatnonzero((layer == k) & (unit >= 0))
            places = unit_places(model.units_of(model.graph.layers[k]))
            face = placed.boxes.sizes[row[chosen], 1:] * 0.92
            ends[chosen, 1:] += places[unit[chosen]] * face
