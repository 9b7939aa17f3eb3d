"""The boxes of a picture: solids for closed nodes and units, frames around open ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.appearance import node_family, shows_pool
from explorer.draw_list import BoxArrays
from explorer.lod import Cut
from explorer.open_model import OpenModel
from explorer.themes import RGB, Theme
from layouts.tree import Boxes

SLICES = 16  # a series is shown as this many slices at most
_DIMMED = (255, 200, 150, 115)  # opacity of a frame by the levels of frames inside it


class _Part(NamedTuple):
    """A piece of a solid along the flow, in shares of the whole."""

    start: float
    stop: float
    face: float
    color: RGB


def boxes_of(model: OpenModel, cut: Cut, boxes: Boxes, theme: Theme) -> tuple[BoxArrays, BoxArrays]:
    """Solids and frames of a placed cut.

    A series is drawn as a row of slices, one per member up to 16; a stage that pools as a slab
    with a thin slab of the pool's colour at its back: what is folded away stays in sight.

    Parameters
    ----------
    model : OpenModel
    cut : Cut
    boxes : Boxes
        One box per row of the cut.
    theme : Theme

    Returns
    -------
    solids, frames : BoxArrays
        Their ``node`` columns are rows of the cut.
    """
    return _solids(model, cut, boxes, theme), _frames(cut, boxes, theme)


def _solids(model: OpenModel, cut: Cut, boxes: Boxes, theme: Theme) -> BoxArrays:
    leaves = np.flatnonzero(cut.leaf)
    colors: dict[int, RGB] = {}
    rows: list[int] = []
    parts: list[_Part] = []
    for row in leaves.tolist():
        node = int(cut.node[row])
        if node not in colors:
            colors[node] = theme.families[node_family(model.hierarchy, node)]
        pieces = [] if cut.units[row] else _pieces(model, node, colors[node], theme)
        pieces = pieces or [_Part(0.0, 1.0, 1.0, colors[node])]
        rows += [row] * len(pieces)
        parts += pieces
    index = np.array(rows, np.int32)
    start, stop, face = (np.array([p[k] for p in parts], float) for k in range(3))
    centers, sizes = boxes.centers[index].copy(), boxes.sizes[index].copy()
    centers[:, 0] += ((start + stop) / 2 - 0.5) * sizes[:, 0]
    sizes[:, 0] *= stop - start
    sizes[:, 1:] *= face[:, None]
    rgba = np.array([(*p.color, 255) for p in parts], np.uint8).reshape(-1, 4)
    return BoxArrays(centers.astype(np.float32), sizes.astype(np.float32), rgba, index)


def _pieces(model: OpenModel, node: int, color: RGB, theme: Theme) -> list[_Part]:
    """The pieces of a closed node; none for a plain one."""
    row = model.hierarchy.nodes[node]
    if row.kind == "series":
        n = min(len(row.children), SLICES)
        return [_Part((k + 0.14) / n, (k + 0.86) / n, 1.0, color) for k in range(n)]
    if shows_pool(model.hierarchy, node):
        return [_Part(0.0, 0.64, 1.0, color), _Part(0.76, 1.0, 0.84, theme.families["pool"])]
    return []


def _frames(cut: Cut, boxes: Boxes, theme: Theme) -> BoxArrays:
    inner = np.flatnonzero(~cut.leaf)[1:]
    levels: NDArray[np.int64] = np.zeros(len(cut), np.int64)
    for row in inner[::-1].tolist():  # children come after their parents
        above = int(cut.parent[row])
        levels[above] = max(levels[above], levels[row] + 1)
    colors = np.full((len(inner), 4), (*theme.frame, 255), np.uint8)
    colors[:, 3] = np.array(_DIMMED, np.uint8)[np.minimum(levels[inner], len(_DIMMED) - 1)]
    return BoxArrays(
        boxes.centers[inner].astype(np.float32),
        boxes.sizes[inner].astype(np.float32),
        colors,
        inner.astype(np.int32),
    )
