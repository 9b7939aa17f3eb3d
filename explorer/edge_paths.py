"""The ways that edges take through the picture, as curves: one per edge, bundles kept together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.appearance import unit_places
from explorer.crossing import EdgeRows
from explorer.lod import Cut
from explorer.open_model import OpenModel
from explorer.placement import Placed
from explorer.routing import curves, heights
from layouts.geometry import return_gutter
from layouts.tree import Tree

F8 = NDArray[np.float64]


def edge_points(model: OpenModel, placed: Placed, rows: EdgeRows) -> NDArray[np.float32]:
    """The curve of each edge.

    Parameters
    ----------
    model : OpenModel
    placed : Placed
    rows : EdgeRows
        Ends are rows of the placed cut.

    Returns
    -------
    float32 array, shape (m, k, 3)
        World units, from the source to the target.
    """
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
