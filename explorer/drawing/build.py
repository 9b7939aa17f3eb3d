"""Where the stages meet: an open model and a view state become a draw list.

Everything here is a pure function of frozen inputs (the finder only remembers results), so it can
run in a thread, be tested without a screen, and be cached.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.edges import EdgeFinder
from explorer.crossing.rows import Crossing, EdgeRows
from explorer.drawing.captions import labels_of, legend_of
from explorer.drawing.changed import SAME, badged, changed_nodes, explained, painted
from explorer.drawing.color_scale import ColorScale, fit_scale
from explorer.drawing.crowding import CROWDED, crowding
from explorer.drawing.draw_list import DrawList, EdgeArrays, NodePaths
from explorer.drawing.edge_look import opacity, widths
from explorer.drawing.edge_paths import edge_points
from explorer.drawing.focus import fade
from explorer.drawing.placement import ASPECT, Placed, place
from explorer.drawing.solids import boxes_of
from explorer.drawing.themes import THEMES, Theme
from explorer.open_model import OpenModel
from explorer.overlays import Overlay, get_overlay
from explorer.tree.lod import Cut
from explorer.viewing.view_state import ViewState

F8 = NDArray[np.float64]


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
    overlay = get_overlay(state.overlay, model.comparison is not None)
    placed = place(model, state, aspect)
    crossing = finder.crossing(placed.cut, state.edge_budget)
    share = crowding(placed.cut, crossing.edges)
    changed = changed_nodes(model, placed.cut)
    inside = np.zeros(0) if changed is None else changed.values(overlay)[placed.cut.leaf]
    shown = (overlay, inside)
    edges, scale, nodes = _edges(model, placed, (crossing.edges, share), shown, theme)
    solids, frames = boxes_of(model, placed.cut, placed.boxes, theme)
    legend = legend_of(model, placed.cut, crossing, overlay, scale, theme)
    if (share < 1.0).any():
        legend = replace(legend, lines=(*legend.lines, CROWDED))
    labels = labels_of(model, placed.cut, placed.boxes)
    if changed is not None and model.comparison is not None:
        solids = painted(solids, changed, overlay, scale, state.theme)
        labels = badged(labels, changed)
        legend = explained(legend, changed, model.comparison, state.theme)
    draw_list = DrawList(
        solids,
        frames,
        edges,
        labels,
        legend,
        nodes=nodes,
        selected=nodes.shown.index(state.selected) if state.selected in nodes.shown else -1,
        theme=state.theme,
        pending=bool(len(crossing.unread) or crossing.searches),
    )
    if state.focus is not None:
        draw_list = fade(draw_list, model, placed.cut, crossing, state.focus)
    return draw_list, placed, crossing


def _edges(
    model: OpenModel,
    placed: Placed,
    shared: tuple[EdgeRows, F8],
    shown: tuple[Overlay, F8],
    theme: Theme,
) -> tuple[EdgeArrays, ColorScale, NodePaths]:
    (rows, share), (overlay, beside) = shared, shown
    weighted = rows.stats.count > 0
    if model.comparison is not None:  # by a glance at a part nothing is told to be unchanged
        weighted &= ~rows.pending
    values = overlay.values(rows.stats)
    ramp = theme.diverging if overlay.diverging else theme.sequential
    scale = fit_scale(np.concatenate((values[weighted], beside)), ramp, overlay.diverging)
    strength = np.abs(values) if overlay.diverging else values
    # Weakest first; links without weights lie under everything, but for what is lost in a crowd.
    order = np.lexsort((np.where(weighted, strength, -1.0), weighted, share))
    rows, values, weighted, share = rows.take(order), values[order], weighted[order], share[order]
    at = scale.position(values)
    at = np.abs(2 * at - 1) if overlay.diverging else at
    rgba = np.empty((len(rows), 4), np.uint8)
    rgba[:, :3] = np.where(weighted[:, None], scale.colors(values), theme.flow)
    rgba[:, 3] = opacity(rows, at, weighted, share)
    if model.comparison is not None:
        same = weighted & (rows.stats.sum_sq == 0)
        rgba[same] = (*theme.flow, SAME)
    source, target, nodes = _ends(model, rows, placed.cut)
    stats = rows.stats
    unread = ~weighted
    edges = EdgeArrays(
        edge_points(model, placed, rows),
        rgba,
        widths(rows, at, weighted, share),
        source,
        target,
        np.where(unread, np.nan, stats.rms),
        np.where(unread, np.nan, stats.signed_mean),
        stats.count + stats.non_finite,
        weighted & rows.pending,
    )
    return edges, scale, nodes


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
