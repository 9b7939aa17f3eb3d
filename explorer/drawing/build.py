"""Where the stages meet: an open model and a view state become a draw list.

Everything here is a pure function of frozen inputs (the finder only remembers results), so it can
run in a thread, be tested without a screen, and be cached.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.edges import EdgeFinder
from explorer.crossing.rows import ENDS, Crossing, EdgeRows
from explorer.drawing.captions import labels_of, legend_of
from explorer.drawing.changed import SAME, Changed, badged, changed_nodes, explained, painted
from explorer.drawing.color_scale import ColorScale, fit_scale
from explorer.drawing.crowding import CROWDED, crowding
from explorer.drawing.draw_list import DrawList, EdgeArrays, Legend, NodePaths
from explorer.drawing.edge_look import opacity, widths
from explorer.drawing.edge_paths import edge_points
from explorer.drawing.focus import fade
from explorer.drawing.placement import ASPECT, Placed, place
from explorer.drawing.solids import boxes_of
from explorer.drawing.themes import THEMES, Theme
from explorer.drawing.unit_colors import UnitColors
from explorer.open_model import OpenModel
from explorer.overlays import Overlay, get_overlay, get_unit_overlay
from explorer.tree.lod import Cut
from explorer.viewing.view_state import ViewState

F8 = NDArray[np.float64]

COLORING = ("scale", "range", "selected", "camera", "detail")
"""What of a view state changes neither where anything stands nor what is drawn."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A picture but for what follows from its colour scale and from the selection.

    Attributes
    ----------
    placed : Placed
    crossing : Crossing
        What it was made from: where nodes stand, and which connections are still to be read.
    overlay : Overlay
    rows : EdgeRows
        In the order in which they are drawn.
    values, share : float64 array, shape (m,)
        The overlay's number of each edge, and what it keeps of its opacity in a crowd.
    weighted : bool array, shape (m,)
        Edges that stand for weights that are read; the others are grey.
    changed : Changed or None
        What changed inside each node, where two files are compared.
    units : UnitColors or None
        What a unit overlay tells of each box, if there is one.
    picture : DrawList
        Without colours of edges and without a legend.
    ways : float32 array, shape (m, k, 3)
        Curve of each edge, in the order of the crossing.
    made_of : tuple of (frozenset of str, str, float)
        What is open, the layout and the aspect: what `placed` follows from.
    """

    placed: Placed
    crossing: Crossing
    overlay: Overlay
    rows: EdgeRows
    values: F8
    share: F8
    weighted: NDArray[np.bool_]
    changed: Changed | None
    units: UnitColors | None
    picture: DrawList
    ways: NDArray[np.float32]
    made_of: tuple[frozenset[str], str, float]


def sketched(
    model: OpenModel,
    finder: EdgeFinder,
    state: ViewState,
    aspect: float = ASPECT,
    before: Sketch | None = None,
) -> Sketch:
    """Place, query and route what a view state says, for `colored`.

    Parameters
    ----------
    model : OpenModel
    finder : EdgeFinder
        Of the same model.
    state : ViewState
    aspect : float
        Width / height of the picture that the layout is to fill.
    before : Sketch, optional
        An earlier one of the same model: where nodes stand and lines run, as far as they do so
        still, is taken from it.

    Raises
    ------
    UnknownNameError
        If the layout or the overlay does not exist.
    """
    theme = THEMES[state.theme]
    overlay = get_overlay(state.overlay, model.comparison is not None).at(state.threshold)
    made_of = (state.opened, state.layout, aspect)
    if before is None or before.made_of != made_of:
        before = None
    placed = place(model, state, aspect) if before is None else before.placed
    crossing = finder.crossing(placed.cut, state.edge_budget)
    crossing = finder.counted(crossing, overlay.counting)
    of_units = get_unit_overlay(state.units, model.comparison is not None)
    units = None
    if of_units is not None:
        stats, tasks = finder.norms.of(placed.cut, of_units.side)
        units = UnitColors.of(of_units, stats, theme)
        crossing = replace(crossing, searches=(*crossing.searches, *tasks))
    rows, share = crossing.edges, crowding(placed.cut, crossing.edges)
    weighted = overlay.tells(rows.stats)
    if model.comparison is not None:  # by a glance at a part nothing is told to be unchanged
        weighted &= ~rows.pending
    values = np.where(weighted, overlay.values(rows.stats), 0.0)
    strength = np.abs(values) if overlay.diverging else values
    ways = _ways(model, placed, rows, before)
    # Weakest first; links without weights lie under everything, but for what is lost in a crowd.
    order = np.lexsort((np.where(weighted, strength, -1.0), weighted, share))
    rows, values, weighted, share = rows.take(order), values[order], weighted[order], share[order]
    edges, nodes = _edges(model, placed.cut, rows, ways[order])
    solids, frames = boxes_of(model, placed.cut, placed.boxes, theme)
    labels = labels_of(model, placed.cut, placed.boxes)
    changed = changed_nodes(model, placed.cut)
    picture = DrawList(
        solids if units is None else units.painted(solids, state.theme),
        frames,
        edges,
        labels if changed is None else badged(labels, changed),
        Legend("", theme.sequential[:0], (), (), ()),
        nodes=nodes,
        theme=state.theme,
        pending=bool(len(crossing.unread) or crossing.searches),
        told=overlay.told,
    )
    return Sketch(
        placed, crossing, overlay, rows, values, share, weighted, changed, units, picture, ways,
        made_of,
    )  # fmt: skip


def colored(model: OpenModel, sketch: Sketch, state: ViewState) -> DrawList:
    """The picture of a sketch; places nothing and queries nothing.

    Parameters
    ----------
    model : OpenModel
    sketch : Sketch
        Of this model.
    state : ViewState
        The one that was sketched, but for `COLORING`.
    """
    theme, overlay, cut = THEMES[state.theme], sketch.overlay, sketch.placed.cut
    changed, weighted, picture = sketch.changed, sketch.weighted, sketch.picture
    told, inside = weighted, np.zeros(0)
    if changed is not None:  # what did not change is grey: it has no place on the scale
        told = weighted & (sketch.rows.stats.sum_sq > 0)
        inside = changed.values(overlay)[cut.leaf & (changed.stats.sum_sq > 0)]
    scale = fit_scale(
        np.concatenate((sketch.values[told], inside)),
        theme.diverging if overlay.diverging else theme.sequential,
        overlay.diverging,
        overlay.scale if state.scale == "automatic" else state.scale,
        state.range,
        overlay.counts is not None,
    )
    solids = picture.solids
    legend = legend_of(model, cut, sketch.crossing, (overlay, scale, state.scale), theme)
    if (sketch.share < 1.0).any():
        legend = replace(legend, lines=(*legend.lines, CROWDED))
    if changed is not None and model.comparison is not None:
        solids = painted(solids, changed, overlay, scale, state.theme)
        legend = explained(legend, changed, model.comparison, state.theme)
    if sketch.units is not None:
        legend = sketch.units.explained(legend, solids)
    shown = picture.nodes.shown if isinstance(picture.nodes, NodePaths) else ()
    drawn = replace(
        picture,
        solids=solids,
        edges=_painted(sketch, scale, theme, model.comparison is not None),
        legend=legend,
        selected=shown.index(state.selected) if state.selected in shown else -1,
    )
    if state.focus is not None:
        drawn = fade(drawn, model, cut, sketch.crossing, state.focus)
    return drawn


def recolors(before: ViewState, after: ViewState) -> bool:
    """Whether one view differs from another in nothing but what `colored` sees to."""
    same = {key: getattr(before, key) for key in COLORING}
    return replace(after, **same) == before


def _ways(
    model: OpenModel, placed: Placed, rows: EdgeRows, before: Sketch | None
) -> NDArray[np.float32]:
    """The curve of each edge; those of an earlier sketch where all has the same ends."""
    if before is not None:
        old = before.crossing.edges
        if all(np.array_equal(getattr(old, name), getattr(rows, name)) for name in ENDS):
            return before.ways
    return edge_points(model, placed, rows)


def _edges(
    model: OpenModel, cut: Cut, rows: EdgeRows, points: NDArray[np.float32]
) -> tuple[EdgeArrays, NodePaths]:
    """Edges without colours and widths, and the nodes at their ends."""
    source, target, nodes = _ends(model, rows, cut)
    stats, known = rows.stats, rows.stats.count > 0
    if model.comparison is not None:
        known &= ~rows.pending
    edges = EdgeArrays(
        points,
        np.zeros((len(rows), 4), np.uint8),
        np.zeros(len(rows), np.float32),
        source,
        target,
        np.where(known, stats.rms, np.nan),
        np.where(known, stats.signed_mean, np.nan),
        stats.count + stats.non_finite,
        known & rows.pending,
        _counts(rows),
    )
    return edges, nodes


def _painted(sketch: Sketch, scale: ColorScale, theme: Theme, comparing: bool) -> EdgeArrays:
    """The edges of a sketch in the colours of a scale, and as wide as their strength makes them."""
    rows, values, weighted, share = sketch.rows, sketch.values, sketch.weighted, sketch.share
    at = scale.position(values)
    at = np.where(weighted, np.abs(2 * at - 1) if scale.diverging else at, 0.0)
    rgba = np.empty((len(rows), 4), np.uint8)
    rgba[:, :3] = np.where(weighted[:, None], scale.colors(values), theme.flow)
    rgba[:, 3] = opacity(rows, at, weighted, share)
    if comparing:
        same = weighted & (rows.stats.sum_sq == 0)
        rgba[same] = (*theme.flow, SAME)
    return replace(sketch.picture.edges, colors=rgba, widths=widths(rows, at, weighted, share))


def _counts(rows: EdgeRows) -> NDArray[np.int64]:
    """What `EdgeArrays.counts` holds."""
    found = np.zeros((len(rows), 3), np.int64)
    found[:, 0] = np.where(rows.pending, 0, rows.stats.non_finite)
    if rows.stats.counted is not None:
        found[:, 1], found[:, 2] = rows.stats.counted.hits, rows.stats.counted.of
    return found


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
