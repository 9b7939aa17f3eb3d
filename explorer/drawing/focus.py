"""Focus on one node: it and its neighbours stay as they are, all else fades, nothing is hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import Crossing
from explorer.drawing.appearance import title_of
from explorer.drawing.color_scale import count
from explorer.drawing.draw_list import U1, BoxArrays, DrawList, EdgeArrays, Label, NodePaths
from explorer.open_model import OpenModel
from explorer.tree import lod
from explorer.tree.lod import Cut

Rows = NDArray[np.bool_]
FADED_SOLID = 0.84  # how far the colour of a faded solid goes towards the ground
FADED_FRAME = 0.35  # share of opacity that the frame of a faded node keeps
FADED_EDGE = 0.06  # the same for an edge between others
_GROUND = {"dark": (19, 25, 37), "light": (246, 248, 251)}  # between both ends of the background
_FIRST, _LAST = 5_000.0, 10_000.0  # how much labels gain that are meant, and lose that are not


def fade(
    draw_list: DrawList, model: OpenModel, cut: Cut, crossing: Crossing, path: str
) -> DrawList:
    """The picture with all faded that is neither a node nor a neighbour of it.

    Parameters
    ----------
    draw_list : DrawList
    model : OpenModel
    cut : Cut
        Whose rows the draw list's nodes begin with.
    crossing : Crossing
        The edges that the draw list was made of.
    path : str
        A node; where it is hidden in a closed one, that one counts. Of an open node all that is
        inside counts.

    Returns
    -------
    DrawList
        Edges of the node are drawn over all others. The legend tells of the focus.
    """
    row = _row(model, cut, path)
    if row is None:
        return draw_list
    inside = _beneath(cut, row)
    source, target = _end_rows(draw_list, cut, crossing)
    own = (inside[source] & (source >= 0), inside[target] & (target >= 0))
    touching = own[0] | own[1]
    sends = np.unique(source[own[1] & ~own[0] & (source >= 0)])
    takes = np.unique(target[own[0] & ~own[1] & (target >= 0)])
    kept = inside.copy()
    for neighbour in np.union1d(sends, takes).tolist():
        # An edge may end at the frame of an open layer: all its units are meant.
        kept |= _beneath(cut, neighbour)
    around = kept.copy()  # and the frames that they stand in
    for r in range(len(cut) - 1, 0, -1):  # children come after their parents
        if around[r]:
            around[cut.parent[r]] = True
    legend = draw_list.legend
    name = title_of(model.hierarchy, cut, row, model.units_of)
    line = _statement(name, sends, takes)
    return replace(
        draw_list,
        solids=_faded_solids(draw_list.solids, kept, draw_list.theme),
        frames=_faded_frames(draw_list.frames, around),
        edges=_faded_edges(draw_list.edges, touching),
        labels=tuple(_label(label, kept, around) for label in draw_list.labels),
        legend=replace(legend, lines=(line, *legend.lines)),
    )


def _row(model: OpenModel, cut: Cut, path: str) -> int | None:
    """Row of a node, or of the closed node that hides it; ``None`` for what does not exist."""
    rows = {p: i for i, p in enumerate(cut.paths)}
    if path in rows:
        return rows[path] or None  # all of the network is no focus
    split = lod.split_unit_path(path)
    if path not in model.hierarchy.by_path and (
        split is None or split[0] not in model.hierarchy.by_path
    ):
        return None
    outer = lod.opening(model.hierarchy, model.units_of, path)
    return next((rows[p] for p in reversed(outer) if p in rows), None)


def _beneath(cut: Cut, row: int) -> Rows:
    """A row and all rows inside it, which stand behind it without a gap."""
    after = np.flatnonzero(cut.parent[row + 1 :] < row)
    found = np.zeros(len(cut), bool)
    found[row : row + 1 + int(after[0]) if len(after) else len(cut)] = True
    return found


def _end_rows(
    draw_list: DrawList, cut: Cut, crossing: Crossing
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row of the cut at which each edge of the draw list begins and ends; -1 where none is known.

    Strands end at units inside closed nodes: those have no rows of their own.
    """
    nodes, rows = draw_list.nodes, crossing.edges
    row_of = np.arange(len(cut))
    if isinstance(nodes, NodePaths) and len(nodes) > len(cut):
        ends = (
            (rows.source, rows.source_layer, rows.source_unit),
            (rows.target, rows.target_layer, rows.target_unit),
        )
        home = np.full(max(int(nodes.layer.max()), *(int(e[1].max()) for e in ends)) + 1, -1)
        for at, layer, unit in ends:
            home[layer[unit >= 0]] = at[unit >= 0]
        row_of = np.concatenate((row_of, home[nodes.layer]))
    return row_of[draw_list.edges.source], row_of[draw_list.edges.target]


def _statement(name: str, sends: NDArray[np.intp], takes: NDArray[np.intp]) -> str:
    number = len(np.union1d(sends, takes))
    return (
        f"focus on {name}: {count(number)} neighbour{'s' if number != 1 else ''},"
        f" {count(len(sends))} in, {count(len(takes))} out; the rest is faded"
    )


def _faded_solids(boxes: BoxArrays, kept: Rows, theme: str) -> BoxArrays:
    """Solids nearer to the ground's colour; they stay opaque, as renderers want them."""
    colors = boxes.colors.copy()
    gone = ~kept[boxes.node]
    mixed = colors[gone, :3] + (np.array(_GROUND[theme]) - colors[gone, :3]) * FADED_SOLID
    colors[gone, :3] = np.rint(mixed).astype(np.uint8)
    return replace(boxes, colors=colors)


def _faded_frames(boxes: BoxArrays, kept: Rows) -> BoxArrays:
    return replace(boxes, colors=_thinner(boxes.colors, ~kept[boxes.node], FADED_FRAME))


def _faded_edges(edges: EdgeArrays, touching: Rows) -> EdgeArrays:
    """Edges of the node last, so that they lie over the others, which are dim."""
    colors = _thinner(edges.colors, ~touching, FADED_EDGE)
    order = np.concatenate((np.flatnonzero(~touching), np.flatnonzero(touching)))
    columns = {**vars(edges), "colors": colors}
    return EdgeArrays(**{name: values[order] for name, values in columns.items()})


def _thinner(colors: U1, which: Rows, share: float) -> U1:
    thinner = colors.copy()
    thinner[which, 3] = np.rint(colors[which, 3] * share).astype(np.uint8)
    return thinner


def _label(label: Label, kept: Rows, around: Rows) -> Label:
    if label.node < 0 or (around[label.node] and not kept[label.node]):
        return label
    if kept[label.node]:
        return replace(label, priority=label.priority + _FIRST)
    return replace(label, priority=label.priority - _LAST, faded=True)
