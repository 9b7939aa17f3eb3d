"""Where the members of each rank stand across the flow: heights, and depths of wide ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from layouts._ranks import I8

F8 = NDArray[np.float64]

COLUMN_MAX = 6


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


def grid_offsets(size: F8, cols: int, pitch: tuple[float, float], gap: float) -> tuple[F8, F8]:
    """Heights and depths of a table of cells, filled row by row from the top, seen along the flow.

    Rows are as high and columns as deep as their largest cell, so a table of equal cells is
    regular, and one large cell widens its own row and column only.

    Parameters
    ----------
    size : float64 array, shape (k, 3)
    cols : int
        Cells in a row.
    pitch : (float, float)
        Least height of a row and depth of a column.
    gap : float
        Free length between rows and between columns.

    Returns
    -------
    y, z : float64 array, shape (k,)
        Centres, the table's own centre at (0, 0). The first cell has the highest y and the
        lowest z: on the left for who looks along the flow.
    """
    k = len(size)
    row, col = np.divmod(np.arange(k), cols)
    height = np.full(int(row[-1]) + 1, pitch[0])
    depth = np.full(min(cols, k), pitch[1])
    np.maximum.at(height, row, size[:, 1])
    np.maximum.at(depth, col, size[:, 2])
    y = np.cumsum(height + gap) - height / 2
    z = np.cumsum(depth + gap) - depth / 2
    y_mid = (height.sum() + gap * (len(height) + 1)) / 2
    z_mid = (depth.sum() + gap * (len(depth) + 1)) / 2
    return (y_mid - y)[row], (z - z_mid)[col]


def spread(wish: Sequence[float], distance: Sequence[float]) -> list[float]:
    """Heights closest to the wished ones (least squares) that keep order and distance.

    Pool-adjacent-violators, O(k).

    Parameters
    ----------
    wish : sequence of k float
        Wished heights, from the top member to the bottom one.
    distance : sequence of k - 1 float
        Least height of each member above the next.
    """
    if len(wish) == 1:
        return [float(wish[0])]
    offset = [0.0]
    for d in distance:
        offset.append(offset[-1] + d)
    blocks: list[tuple[float, int]] = []
    for w, o in zip(wish, offset, strict=True):
        mean, count = w + o, 1
        while blocks and blocks[-1][0] < mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    pooled = [mean for mean, count in blocks for _ in range(count)]
    return [m - o for m, o in zip(pooled, offset, strict=True)]


def lanes(rank: I8, links: I8, pieces: Pieces) -> tuple[F8, F8]:
    """Height and depth of the flow through each node, relative to the axis of all.

    A rank that all paths go through stands on the axis. Members of another rank are ordered by the
    barycentre of their predecessors, ties by sibling order, and stand as close to that height as
    they fit: so lines cross little and branches run straight. More than six stand as a near-square
    array facing the flow.

    Parameters
    ----------
    rank : int64 array, shape (k,)
        From 0, without holes.
    links : int64 array, shape (m, 2)
        Forward links among the k nodes.
    pieces : Pieces

    Returns
    -------
    y, z : float64 array, shape (k,)
    """
    count = len(rank)
    y, z = np.zeros(count), np.zeros(count)
    widths = np.bincount(rank)
    if widths.max(initial=0) <= 1:
        return y, z
    on_axis = (widths == 1) & ~_spanned(rank, links, len(widths))
    feeders: list[list[int]] = [[] for _ in range(count)]
    for source, target in links.tolist():
        feeders[target].append(source)
    sweep = _Sweep(feeders, pieces, y, z)
    by_rank = np.split(np.argsort(rank, kind="stable"), np.cumsum(widths)[:-1])
    for r, members in enumerate(by_rank):
        if not on_axis[r]:
            sweep.place(members.tolist(), r)
    return y, z


def _spanned(rank: I8, links: I8, ranks: int) -> NDArray[np.bool_]:
    """Whether some link passes each rank by."""
    step = np.zeros(ranks + 1, np.int64)
    np.add.at(step, rank[links[:, 0]] + 1, 1)
    np.add.at(step, rank[links[:, 1]], -1)
    return np.cumsum(step)[:ranks] > 0


class _Sweep:
    """One pass over the ranks; ``lane`` is the place in a world where all nodes are of size 1.

    Order is decided by lanes alone, so that it does not change when a node opens and grows.
    """

    def __init__(self, feeders: list[list[int]], pieces: Pieces, y: F8, z: F8) -> None:
        self.feeders, self.pieces, self.y, self.z = feeders, pieces, y, z
        self.lane = [0.0] * len(feeders)
        self.height = [0.0] * len(feeders)
        self.above: list[float] = pieces.above.tolist()
        self.below: list[float] = pieces.below.tolist()
        self.lateral: list[float] = pieces.lateral.tolist()

    def place(self, members: list[int], rank: int) -> None:
        """Give the members of one rank their lanes, heights and depths."""
        late = [m for m in members if rank and not self.feeders[m]]
        wish = {m: self._mean(self.lane, m) for m in members}
        order = sorted(set(members).difference(late), key=lambda m: (-wish[m], m))
        if order:
            unit = spread([wish[m] for m in order], [1.0] * (len(order) - 1))
            for m, lane in zip(order, unit, strict=True):
                self.lane[m] = lane
        for m in late:  # nothing leads here: beneath the others, out of their way
            self.lane[m] = (self.lane[order[-1]] if order else 0.0) - 1.0
            order.append(m)
        if len(order) > COLUMN_MAX:
            self._array(order)
        else:
            self._column(order, len(order) - len(late))

    def _mean(self, values: list[float], m: int) -> float:
        feeders = self.feeders[m]
        return sum(values[f] for f in feeders) / len(feeders) if feeders else 0.0

    def _distance(self, upper: int, lower: int) -> float:
        gap = self.lateral[upper] + self.lateral[lower]
        return self.below[upper] + gap + self.above[lower]

    def _column(self, order: list[int], wishing: int) -> None:
        distance = [self._distance(a, b) for a, b in pairwise(order)]
        heights: list[float] = []
        if wishing:
            wish = [self._mean(self.height, m) for m in order[:wishing]]
            heights = spread(wish, distance[: wishing - 1])
        for i in range(len(heights), len(order)):
            heights.append(heights[-1] - distance[i - 1] if heights else 0.0)
        for m, height in zip(order, heights, strict=True):
            self.height[m] = height
            self.y[m] = height

    def _array(self, order: list[int]) -> None:
        cols = ceil(len(order) / ceil(sqrt(len(order))))
        size = self.pieces.size[order]
        gap = 2 * float(self.pieces.lateral[order].max())
        centre, depth = grid_offsets(size, cols, (0.0, 0.0), gap)
        middle = sum(self._mean(self.height, m) for m in order) / len(order)
        self.y[order] = centre + self.pieces.axis[order] + middle
        self.z[order] = depth
        for m in order:
            self.height[m] = float(self.y[m])
