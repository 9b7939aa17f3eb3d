"""A part of a scope as one strip of ranks, in one row or cut into rows like lines of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from layouts._lanes import F8, Pieces, lanes
from layouts._ranks import I8

CUT_WINDOW = 0.2
FIRST_GUTTER = 0.06
SLOPE = 0.45
MAX_GAP_STRETCH = 1.25
MAX_GUTTER_STRETCH = 2.0


@dataclass(frozen=True)
class Strip:
    """Nodes in ranks, each rank's extents known, not yet placed along x.

    Attributes
    ----------
    pieces : Pieces
        Of the k nodes.
    rank : int64 array, shape (k,)
    rail : bool array, shape (k,)
        Nodes that stand in a row of their own below the flow.
    y, z : float64 array, shape (k,)
        Flow through each node relative to the axis of its row.
    width, top, bottom, reach : float64 array, shape (r,)
        Of each rank; top ≥ 0 ≥ bottom relative to the axis.
    gap : float64 array, shape (r,)
        Free length after each rank.
    crossing : int64 array, shape (r,)
        How many nodes feed something across the boundary after each rank.
    gutter : float
        Free height between two rows, in units of the longest reach in them.
    """

    pieces: Pieces
    rank: I8
    rail: NDArray[np.bool_]
    y: F8
    z: F8
    width: F8
    top: F8
    bottom: F8
    reach: F8
    gap: F8
    crossing: I8
    gutter: float = 1.2

    @cached_property
    def start(self) -> F8:
        """Where each rank would begin if all stood in one row, shape (r,)."""
        advance = self.width + self.gap
        return np.cumsum(advance) - advance

    @property
    def length(self) -> float:
        """Of all ranks in one row."""
        return float(self.start[-1] + self.width[-1])

    @cached_property
    def boundary(self) -> F8:
        """The middle of the gap after each rank but the last, in one row, shape (r - 1,)."""
        return (self.start + self.width + self.gap / 2)[:-1]


def build_strip(pieces: Pieces, rank: I8, links: I8, rail: NDArray[np.bool_]) -> Strip:
    """Measure the ranks of some nodes.

    Parameters
    ----------
    pieces : Pieces
    rank : int64 array, shape (k,)
        From 0; together with the rail no rank is empty.
    links : int64 array, shape (m, 2)
        Forward links among the k nodes.
    rail : bool array, shape (k,)
    """
    count = int(rank.max(initial=-1)) + 1
    flow = np.flatnonzero(~rail)
    index = np.cumsum(~rail) - 1
    inner = links[~(rail[links[:, 0]] | rail[links[:, 1]])]
    y, z = np.zeros(len(rank)), np.zeros(len(rank))
    dense = np.unique(rank[flow], return_inverse=True)[1]
    y[flow], z[flow] = lanes(dense.astype(np.int64), index[inner], pieces.of(flow))
    width, reach = np.zeros(count), np.zeros(count)
    top, bottom = np.zeros(count), np.zeros(count)
    np.maximum.at(width, rank, pieces.size[:, 0])
    np.maximum.at(reach, rank[flow], pieces.reach[flow])
    np.maximum.at(top, rank[flow], (y + pieces.above)[flow])
    np.minimum.at(bottom, rank[flow], (y - pieces.below)[flow])
    gap = reach + np.append(reach[1:], 0.0)
    np.maximum(gap, _steepness(rank, y, inner, count), out=gap)
    gap[-1:] = 0.0
    crossing = _crossing(rank, inner, count)
    return Strip(pieces, rank, rail, y, z, width, top, bottom, reach, gap, crossing)


def _steepness(rank: I8, y: F8, links: I8, count: int) -> F8:
    """Gap after each rank that keeps links to the next from running too steeply."""
    need = np.zeros(count)
    near = links[rank[links[:, 1]] - rank[links[:, 0]] == 1]
    np.maximum.at(need, rank[near[:, 0]], SLOPE * np.abs(y[near[:, 0]] - y[near[:, 1]]))
    return need


def _crossing(rank: I8, links: I8, count: int) -> I8:
    furthest = rank.copy()
    np.maximum.at(furthest, links[:, 0], rank[links[:, 1]])
    step = np.zeros(count + 1, np.int64)
    np.add.at(step, rank, 1)
    np.add.at(step, furthest, -1)
    return np.cumsum(step)[:count]


def one_row(strip: Strip) -> I8:
    """The first rank of each row, for a strip that is not cut."""
    return np.zeros(min(1, len(strip.width)), np.int64)


def strip_aspect(strip: Strip) -> float:
    """Width / height of the strip in one row."""
    return _aspect(strip, one_row(strip))


def cut_to_aspect(strip: Strip, aspect: float) -> tuple[Strip, I8]:
    """Cut into rows that together come closest to width / height.

    What is then still missing is made up, within limits, by longer gaps or higher gutters.

    Returns
    -------
    strip : Strip
        With its gaps and gutters adjusted.
    cuts : int64 array, shape (rows,)
        First rank of each row.
    """
    cuts = _best_cut(strip, lambda cuts: _aspect(strip, cuts) / aspect)
    width, height = _extent(strip, cuts)
    missing = width / aspect - height
    if missing < 0:
        longer = min(height * aspect / width, MAX_GAP_STRETCH)
        return replace(strip, gap=strip.gap * longer), cuts
    gutters = float(_gutters(strip, cuts).sum())
    higher = min(1 + missing / gutters, MAX_GUTTER_STRETCH) if gutters else 1.0
    return replace(strip, gutter=strip.gutter * higher), cuts


def cut_to_width(strip: Strip, width: float) -> I8:
    """First rank of each row, such that the longest row comes close to a width."""
    return _best_cut(strip, lambda cuts: _extent(strip, cuts)[0] / width)


def best_count(ratio: Callable[[int], float], most: int) -> int:
    """The number from 1 to `most` whose ratio, falling with it, is nearest to 1."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if ratio(middle) > 1.0:
            low = middle + 1
        else:
            high = middle
    near = range(max(1, low - 1), min(most, low + 1) + 1)
    return min(near, key=lambda count: abs(float(np.log(ratio(count)))))


def even_cuts(boundary: F8, length: float, rows: int) -> I8:
    """First piece of each row when a line is cut into rows as equally long as can be.

    Parameters
    ----------
    boundary : float64 array, shape (r - 1,)
        Where the line may be cut: between each piece and the next.
    length : float
        Of the line.
    rows : int
        How many rows; where pieces are too long for that, there are fewer.
    """
    if not len(boundary):
        return np.zeros(1, np.int64)
    ideal = np.arange(1, rows) * (length / rows)
    after = np.minimum(np.searchsorted(boundary, ideal), len(boundary) - 1)
    before = np.maximum(after - 1, 0)
    nearer = ideal - boundary[before] <= boundary[after] - ideal
    return np.unique(np.append(0, np.where(nearer, before, after) + 1))


def _best_cut(strip: Strip, ratio: Callable[[I8], float]) -> I8:
    """Cut into the number of rows whose ratio, falling with that number, is nearest to 1."""

    def cuts(rows: int) -> I8:
        return even_cuts(strip.boundary, strip.length, rows)

    count = best_count(lambda rows: ratio(cuts(rows)), len(strip.width))
    tried = [_clean_cuts(strip, cuts(n)) for n in range(max(1, count - 1), count + 2)]
    return min(tried, key=lambda cuts: abs(float(np.log(ratio(cuts)))))


def _clean_cuts(strip: Strip, cuts: I8) -> I8:
    """Move each cut, within a part of a row's length, to where the fewest nodes feed across."""
    boundary, crossing = strip.boundary, strip.crossing
    window = CUT_WINDOW * strip.length / len(cuts)
    clean = [0]
    for cut in cuts[1:].tolist():
        near = boundary[cut - 1]
        first, last = np.searchsorted(boundary, [near - window, near + window], side="left")
        options = range(min(int(first), cut - 1), max(int(last), cut))
        best = min(options, key=lambda i: (crossing[i], abs(boundary[i] - near)))
        if best + 1 > clean[-1]:
            clean.append(best + 1)
    return np.array(clean, np.int64)


def _row_extents(strip: Strip, cuts: I8) -> tuple[F8, F8, F8]:
    last = np.append(cuts[1:], len(strip.width)) - 1
    width = strip.start[last] + strip.width[last] - strip.start[cuts]
    return width, np.maximum.reduceat(strip.top, cuts), np.minimum.reduceat(strip.bottom, cuts)


def _gutters(strip: Strip, cuts: I8) -> F8:
    """Free height between each row and the next, where the line back to the left runs."""
    reach = np.maximum.reduceat(strip.reach, cuts)
    return strip.gutter * np.maximum(reach[:-1], reach[1:])


def _extent(strip: Strip, cuts: I8) -> tuple[float, float]:
    width, top, bottom = _row_extents(strip, cuts)
    return float(width.max()), float((top - bottom).sum() + _gutters(strip, cuts).sum())


def _aspect(strip: Strip, cuts: I8) -> float:
    width, height = _extent(strip, cuts)
    return width / height


def lay(strip: Strip, cuts: I8) -> tuple[F8, F8]:
    """Place the nodes of a strip cut into rows.

    Parameters
    ----------
    strip : Strip
    cuts : int64 array, shape (rows,)
        First rank of each row.

    Returns
    -------
    place : float64 array, shape (k, 3)
        Of the flow through each node. The first row's axis runs along y = z = 0 and every row
        begins at x = 0.
    gutter : float64 array, shape (k,)
        Height of the middle of the gutter above each node's row.
    """
    _, top, bottom = _row_extents(strip, cuts)
    row_of_rank = np.searchsorted(cuts, np.arange(len(strip.width)), side="right") - 1
    x = strip.start - strip.start[cuts][row_of_rank]
    row = row_of_rank[strip.rank]
    hanging, depth = _hang(strip, row, len(cuts), bottom)
    free = _gutters(strip, cuts)
    advance = bottom[:-1] - hanging[:-1] - free - top[1:]
    axis = np.append(0.0, np.cumsum(advance))
    y = np.where(strip.rail, depth, strip.y) + axis[row]
    gutter = axis + top + np.append(FIRST_GUTTER * strip.pieces.face.max(), free / 2)
    place = np.column_stack([x[strip.rank] + strip.width[strip.rank] / 2, y, strip.z])
    return place, gutter[row]


def _hang(strip: Strip, row: I8, rows: int, bottom: F8) -> tuple[F8, F8]:
    """Height that each row's rail takes, and how far under its axis each rail node stands."""
    taken, depth = np.zeros(rows), np.zeros(len(row))
    pieces, used = strip.pieces, dict[int, float]()
    for i in np.flatnonzero(strip.rail).tolist():
        rank, r = int(strip.rank[i]), int(row[i])
        gap = float(pieces.reach[i] + strip.reach.max())
        below = used.get(rank, 0.0) + gap
        depth[i] = bottom[r] - below - pieces.above[i]
        used[rank] = below + float(pieces.size[i, 1])
        taken[r] = max(taken[r], used[rank])
    return taken, depth
