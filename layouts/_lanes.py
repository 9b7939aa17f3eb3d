"""Where the members of each rank stand across the flow: heights, and arrays of wide ranks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np

from layouts._flow import F8, MANY, Flow, mean_of_feeders, mean_of_few, one_by_one, spread
from layouts._ranks import I8
from layouts._rings import ring_places, stretched
from layouts._style import Across


@dataclass(frozen=True)
class Pieces:
    """What the nodes of one scope look like from outside.

    Attributes
    ----------
    size : float64 array, shape (k, 3)
        Extents of their boxes.
    axis : float64 array, shape (k,)
        Height of the flow through a node above its box's centre (frames have a title on top, so
        the flow through them runs below their centre).
    face : float64 array, shape (k,)
        Side of a square of the same area as the face turned to the flow; of a frame, of the
        largest face in it.
    reach : float64 array, shape (k,)
        Free length wished for before and after the node; two neighbours' add up.
    """

    size: F8
    axis: F8
    face: F8
    reach: F8

    def of(self, members: I8) -> Pieces:
        """The pieces of some of the nodes."""
        return Pieces(
            self.size[members], self.axis[members], self.face[members], self.reach[members]
        )

    @property
    def above(self) -> F8:
        """From the flow up to the top of each box, shape (k,)."""
        return self.size[:, 1] / 2 - self.axis

    @property
    def below(self) -> F8:
        """From the flow down to the bottom of each box, shape (k,)."""
        return self.size[:, 1] / 2 + self.axis

    @property
    def lateral(self) -> F8:
        """Free length wished for beside each node, across the flow, shape (k,)."""
        return 0.4 * self.reach


def grid_offsets(extent: F8, usual: F8, cols: int, gap: float) -> tuple[F8, F8]:
    """Places of a table of cells, filled row by row from the top, each row from its beginning.

    Rows are as high as their largest cell, and columns are as wide as is usual in them, so that a
    table of usual cells is regular; a larger cell pushes on what follows in its own row alone.

    Parameters
    ----------
    extent, usual : float64 array, shape (k, 2)
        Height and width of each cell, and the least that it is given.
    cols : int
        Cells in a row.
    gap : float
        Free length between rows and between cells of a row.

    Returns
    -------
    down, along : float64 array, shape (k,)
        Centres, the table's own centre at (0, 0). The first cell has the highest ``down`` and the
        lowest ``along``.
    """
    k = len(extent)
    row, col = np.divmod(np.arange(k), cols)
    height = np.zeros(int(row[-1]) + 1)
    column = np.zeros(min(cols, k))
    np.maximum.at(height, row, np.maximum(extent, usual)[:, 0])
    np.maximum.at(column, col, usual[:, 1])
    width = np.maximum(extent[:, 1], column[col])
    y = np.cumsum(height + gap) - height / 2
    first = np.flatnonzero(col == 0)
    before = np.cumsum(width + gap) - (width + gap)
    x = before - before[first][row] + width / 2
    length = float((x + width / 2).max())
    y_mid = (height.sum() + gap * (len(height) + 1)) / 2
    return (y_mid - y)[row], x - length / 2


def place_across(flow: Flow, pieces: Pieces, closed: Pieces, across: Across) -> F8:
    """Where the flow through each node stands, relative to the axis and the middle of its rank.

    A rank that all paths go through stands on the axis.

    Parameters
    ----------
    flow : Flow
    pieces, closed : Pieces
        As they are, and as they would be with all nodes closed.
    across : {"stack", "ring", "plane"}
        See `Style`.

    Returns
    -------
    float64 array, shape (k, 3)
    """
    place = np.zeros((len(flow.rank), 3))
    if not flow.off_axis.any():
        return place
    if across == "ring":
        _rings(place, flow, pieces, closed)
    else:
        stack = _Stack(place, flow, pieces, closed, across)
        for members in flow.spread_ranks():
            stack.put(members)
    return place


def _rings(place: F8, flow: Flow, pieces: Pieces, closed: Pieces) -> None:
    unit = ring_places(flow)
    beside_axis = (flow.late | (unit != 0).any(axis=1)).tolist()
    above, below, beside, wanted = pieces.above, pieces.below, pieces.lateral, closed.lateral
    for nodes in flow.spread_ranks():
        if len(nodes) == 1 and not beside_axis[nodes[0]]:
            continue
        members = np.array(nodes)
        late = flow.late[members]
        ring = members[~late]
        if len(ring):
            gap = 2 * float(wanted[ring].max())
            cell = closed.size[ring].max(axis=0) + gap
            grown = np.maximum(pieces.size[ring] + gap - cell, 0.0)
            for axis in (1, 2):
                place[ring, axis] = stretched(unit[ring, axis - 1], cell[axis], grown[:, axis])
        place[ring, 1] += pieces.axis[ring]  # centres stand on the ring
        floor = float((place[ring, 1] - below[ring]).min(initial=0.0))
        for node in members[late].tolist():
            floor -= 2 * float(beside[node])
            place[node, 1] = floor - above[node]
            floor -= float(pieces.size[node, 1])


class _Stack:
    """One rank after another: members as close to the heights of what feeds them as they fit."""

    def __init__(
        self, place: F8, flow: Flow, pieces: Pieces, closed: Pieces, across: Across
    ) -> None:
        self.place, self.flow, self.pieces, self.closed = place, flow, pieces, closed
        self.height = place[:, 1]  # a view, and the same for reading one at a time
        self.at = one_by_one(self.height)
        self.few, self.late = flow.feeders_as_lists, flow.late.tolist()
        self.above, self.below = pieces.above.tolist(), pieces.below.tolist()
        self.lateral: list[float] = pieces.lateral.tolist()
        self.second = 0 if across == "plane" else 2

    def put(self, nodes: list[int]) -> None:
        """Place the members of one rank, given from the top one down."""
        if len(nodes) == 1:
            if not self.late[nodes[0]]:
                self.at[nodes[0]] = mean_of_few(self.at, nodes[0], self.few)
            return
        if len(nodes) > MANY:
            self._array(np.array(nodes))
            return
        led = len(nodes) - sum(self.late[m] for m in nodes)
        distance = [
            self.below[a] + self.lateral[a] + self.lateral[b] + self.above[b]
            for a, b in pairwise(nodes)
        ]
        heights = [0.0]
        if led:
            wish = [mean_of_few(self.at, m, self.few) for m in nodes[:led]]
            heights = spread(wish, distance[: led - 1])
        for step in distance[len(heights) - 1 :]:
            heights.append(heights[-1] - step)
        for node, height in zip(nodes, heights, strict=True):
            self.at[node] = height

    def _array(self, members: I8) -> None:
        middle = float(mean_of_feeders(self.height, members, self.flow.feeders).mean())
        # as wide as high when all are closed, whatever is open
        beside = 2 * self.closed.lateral[members].max()
        high, wide = np.median(self.closed.size[members][:, [1, self.second]], axis=0) + beside
        rows = ceil(sqrt(len(members) * wide / high))
        cols = ceil(len(members) / rows)
        extent, usual = (
            pieces.size[members][:, [1, self.second]] for pieces in (self.pieces, self.closed)
        )
        gap = 2 * max(self.lateral[m] for m in members.tolist())
        down, along = grid_offsets(extent, usual, cols, gap)
        self.height[members] = down + self.pieces.axis[members] + middle
        self.place[members, self.second] = along
