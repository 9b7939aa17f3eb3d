"""The ways that edges take through the picture, as curves: one per edge, cables kept together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import EdgeRows
from explorer.drawing.appearance import unit_places
from explorer.drawing.crowding import outer_rows
from explorer.drawing.placement import Placed
from explorer.open_model import OpenModel
from explorer.routes.cables import Cables, Obstacles
from explorer.routes.curves import POINTS
from explorer.routes.routing import follow, plan
from explorer.tree.lod import Cut
from layouts.geometry import return_gutter
from layouts.tree import Boxes, Tree

_FAN_FROM = 8  # lines from one node to one rank
_FACE = 0.8  # share of a face on which they begin

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


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
    if not len(rows):
        return np.zeros((0, POINTS, 3), np.float32)
    start, end = boxes.centers[rows.source].copy(), boxes.centers[rows.target].copy()
    ahead = _ahead(boxes)
    start[:, 0] += ahead[rows.source] * boxes.sizes[rows.source, 0] / 2
    end[:, 0] -= ahead[rows.target] * boxes.sizes[rows.target, 0] / 2
    _spread(model, placed, rows, start, end)
    _fan(placed, rows, start, end)
    outer = outer_rows(placed.cut)
    source, target = outer[rows.source].astype(np.int64), outer[rows.target].astype(np.int64)
    keys, member = np.unique(source * len(outer) + target, return_inverse=True)
    source, target = np.divmod(keys, len(outer))
    cables = _cables(placed, source, target, _spreads(start, end, member.ravel(), len(keys)))
    routes = plan(cables, _obstacles(placed))
    return follow(routes, cables, (start, end), member.ravel())


def _spreads(start: F8, end: F8, member: I8, count: int) -> F8:
    """How far up and down the edges of each cable begin and end, shape (count, 2)."""
    # The middle is that of the cable's node; ends of edges lie evenly around it.
    found = np.zeros((count, 2))
    for k, y in enumerate((start[:, 1], end[:, 1])):
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, member, y)
        np.maximum.at(high, member, y)
        found[:, k] = (high - low) / 2
    return found


def _cables(placed: Placed, source: I8, target: I8, spread: F8) -> Cables:
    boxes, cut = placed.boxes, placed.cut
    start, end = boxes.centers[source].copy(), boxes.centers[target].copy()
    ahead = _ahead(boxes)
    start[:, 0] += ahead[source] * boxes.sizes[source, 0] / 2
    end[:, 0] -= ahead[target] * boxes.sizes[target, 0] / 2
    links = np.stack((source, target), 1).astype(np.int32)
    gutter = return_gutter(Tree(cut.parent, boxes.sizes, links, cut.grid), boxes)
    depth, a, b = _lifted(cut, source, target)
    near = boxes.centers[a, 0] + ahead[source] * boxes.sizes[a, 0] / 2
    far = boxes.centers[b, 0] - ahead[target] * boxes.sizes[b, 0] / 2
    inner, steps = np.stack((near, far), 1), np.stack((ahead[source], ahead[target]), 1)
    return Cables(source, target, start, end, spread, gutter, depth, inner, steps)


def _ahead(boxes: Boxes) -> I8:
    """1 for each node through which data flows along +x, -1 for -x, shape (n,)."""
    if boxes.heading is None:
        return np.ones(len(boxes.centers), np.int64)
    return np.where(boxes.heading[:, 0] >= 0, 1, -1).astype(np.int64)


def _levels(cut: Cut) -> I8:
    """Depth of each row; the root is 0."""
    depth = np.zeros(len(cut), np.int64)
    for row, above in enumerate(cut.parent.tolist()):
        if above >= 0:
            depth[row] = depth[above] + 1
    return depth


def _lifted(cut: Cut, source: I8, target: I8) -> tuple[I8, I8, I8]:
    """Level of the innermost scope around both ends, and its children that hold them."""
    level, parent = _levels(cut), cut.parent
    a, b = source.copy(), target.copy()
    while True:
        differ = (parent[a] != parent[b]) & (a != b)
        up_a, up_b = differ & (level[a] >= level[b]), differ & (level[b] >= level[a])
        if not differ.any():
            return level[a] - 1, a, b
        a, b = np.where(up_a, parent[a], a), np.where(up_b, parent[b], b)


def _obstacles(placed: Placed) -> Obstacles:
    """Closed nodes, layers open into units (as one box), and open frames."""
    boxes, cut = placed.boxes, placed.cut
    grid = np.any(cut.grid > 0, axis=1)
    unit = (cut.parent >= 0) & grid[cut.parent]
    solid = (cut.leaf | grid) & ~unit
    chosen = np.flatnonzero((solid | ~cut.leaf) & ~unit & (cut.parent >= 0))
    half = boxes.sizes[chosen] / 2
    depth = np.where(solid[chosen], -1, _levels(cut)[chosen])
    low, high = boxes.centers[chosen] - half, boxes.centers[chosen] + half
    return Obstacles(low, high, depth, _ahead(boxes)[chosen] < 0)


def _fan(placed: Placed, rows: EdgeRows, start: F8, end: F8) -> None:
    """Move the ends of many lines to one rank apart on the face of the node that they share.

    They stand there as their other ends stand to each other, so that they run side by side. Lines
    of units stay where their units stand.
    """
    cut, sizes = placed.cut, placed.boxes.sizes
    unit = np.any(cut.grid[np.maximum(cut.parent, 0)] > 0, axis=1)
    plain = np.flatnonzero(
        (rows.source_unit < 0) & (rows.target_unit < 0) & ~(unit[rows.source] | unit[rows.target])
    )
    middles = start[plain], end[plain]
    for k, (ends, own) in enumerate(((start, rows.source), (end, rows.target))):
        others = middles[1 - k]
        node, line, many = np.unique(own[plain], return_inverse=True, return_counts=True)
        low = np.full((len(node), 3), np.inf)
        high = -low
        np.minimum.at(low, line, others)
        np.maximum.at(high, line, others)
        extent = high - low
        fans = (many >= _FAN_FROM) & (extent[:, 0] < 0.5 * extent[:, 1:].max(axis=1, initial=0.0))
        of, others = line[fans[line]], others[fans[line]]
        moved = plain[fans[line]]
        middle, whole = (low + high)[of, 1:] / 2, np.maximum(extent[of, 1:], 1e-9)
        ends[moved, 1:] += _FACE * sizes[own[moved], 1:] * (others[:, 1:] - middle) / whole


def _spread(model: OpenModel, placed: Placed, rows: EdgeRows, start: F8, end: F8) -> None:
    """Move the ends of strands to where their units stand on the faces of the closed nodes."""
    for ends, row, unit, layer in (
        (start, rows.source, rows.source_unit, rows.source_layer),
        (end, rows.target, rows.target_unit, rows.target_layer),
    ):
        hidden = np.flatnonzero(unit >= 0)
        hidden = hidden[np.argsort(layer[hidden], kind="stable")]
        layers, first = np.unique(layer[hidden], return_index=True)
        for k, chosen in zip(layers.tolist(), np.split(hidden, first[1:]), strict=False):
            places = unit_places(model.units_of(model.graph.layers[k]))
            ends[chosen, 1:] += places[unit[chosen]] * (placed.boxes.sizes[row[chosen], 1:] * 0.92)
