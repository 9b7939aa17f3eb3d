"""The boxes of a picture: solids for closed nodes and units, frames around open ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.appearance import looks_of
from explorer.drawing.draw_list import BoxArrays
from explorer.drawing.themes import Theme
from explorer.open_model import OpenModel
from explorer.tree.lod import Cut
from layouts.tree import Boxes

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
_TILE = 0.78  # of the place of each
_DIMMED = (255, 200, 150, 115)  # opacity of a frame by the levels of frames inside it


def boxes_of(model: OpenModel, cut: Cut, boxes: Boxes, theme: Theme) -> tuple[BoxArrays, BoxArrays]:
    """Solids and frames of a placed cut.

    What consists of members of one sort is drawn as a row of slices, one for each up to 16, or,
    where they stand side by side, as tiles that face the flow, one for each up to 36; a stage that
    pools as a slab with a thin slab of the pool's colour at its back: what is folded away
    stays in sight.

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
    leaves = leaves[leaves > 0]  # a network without layers has nothing to show
    # All units of a layer look alike.
    nodes, which = np.unique(cut.node[leaves], return_inverse=True)
    looks = looks_of(model.hierarchy, nodes)
    whole = np.array([cut.units[row] is None for row in leaves.tolist()], bool)
    pool = looks.pool[which] & whole
    slices = np.where(whole & ~pool, looks.slices[which], 1)
    at = np.repeat(np.arange(len(leaves)), np.where(pool, 2, slices))
    k = np.arange(len(at)) - np.searchsorted(at, at)  # number of a piece within its solid
    tiled = looks.tiles[which[at]]
    n, pooled, first = np.where(tiled, 1, slices[at]), pool[at], k == 0
    # Pieces along the flow, in shares of the whole.
    start = np.where(pooled, np.where(first, 0.0, 0.76), np.where(n > 1, (k + 0.14) / n, 0.0))
    stop = np.where(pooled, np.where(first, 0.64, 1.0), np.where(n > 1, (k + 0.86) / n, 1.0))
    back = pooled & ~first
    index = leaves[at].astype(np.int32)
    centers, sizes = boxes.centers[index].copy(), boxes.sizes[index].copy()
    centers[:, 0] += ((start + stop) / 2 - 0.5) * sizes[:, 0]
    sizes[:, 0] *= stop - start
    sizes[back, 1:] *= 0.84
    _tile(centers, sizes, slices[at], k, np.flatnonzero(tiled))
    colors = np.array([theme.families[name] for name in looks.family], np.uint8).reshape(-1, 3)
    rgba = np.full((len(at), 4), 255, np.uint8)
    rgba[:, :3] = colors[which[at]]
    rgba[back, :3] = theme.families["pool"]
    return BoxArrays(centers.astype(np.float32), sizes.astype(np.float32), rgba, index)


def _tile(centers: F8, sizes: F8, count: I8, k: I8, tiles: I8) -> None:
    """Give each of these pieces its place on the largest face, in rows from the top."""
    second = np.where(sizes[tiles, 0] > sizes[tiles, 2], 0, 2)  # turned to the reader, or the flow
    rows = np.maximum(np.floor(np.sqrt(count[tiles])), 1)
    columns = np.ceil(count[tiles] / rows)
    down, along = np.divmod(k[tiles], columns)
    centers[tiles, 1] += (0.5 - (down + 0.5) / rows) * sizes[tiles, 1]
    centers[tiles, second] += ((along + 0.5) / columns - 0.5) * sizes[tiles, second]
    sizes[tiles, 1] *= _TILE / rows
    sizes[tiles, second] *= _TILE / columns


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
