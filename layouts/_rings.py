"""Branches wound around the axis of the flow, and room made there for what is open."""

from __future__ import annotations

import heapq
from functools import lru_cache
from math import ceil, sqrt

import numpy as np

from layouts._flow import F8, Flow

ONE_RING = 12
"""So many lanes stand on one ring; more fill a disc."""


def ring_places(flow: Flow) -> F8:
    """Where each node stands around the axis, in a world where all nodes are of size 1.

    The lanes between two ranks on the axis are wound once around it, the topmost lane at the top:
    a branch keeps its lane and so runs straight. Two members of a rank are at least 1 apart along
    y or along z. What nothing leads to has no place here.

    Parameters
    ----------
    flow : Flow

    Returns
    -------
    float64 array, shape (k, 2)
        Along y and z.
    """
    place = np.zeros((len(flow.rank), 2))
    off = flow.off_axis
    # Runs of ranks off the axis; a part's end ends a run.
    begins = off & (np.append(True, ~off[:-1]) | np.append(True, np.diff(flow.part) > 0))
    run = np.cumsum(begins) - 1
    runs = int(begins.sum())
    inside = np.flatnonzero(off[flow.rank] & ~flow.rail & ~flow.late)
    run_of = run[flow.rank[inside]]
    lane = flow.lane[inside]
    top, bottom = np.full(runs, -np.inf), np.full(runs, np.inf)
    np.maximum.at(top, run_of, lane)
    np.minimum.at(bottom, run_of, lane)
    widest = np.zeros(runs, np.int64)
    led = np.bincount(flow.rank[inside], minlength=len(off))
    np.maximum.at(widest, run[off], led[off])
    lanes = np.round(top - bottom, 9) + 1
    tidy = lanes <= 2 * widest + 2  # else the lanes wander: each rank for itself
    slot = top[run_of] - lane
    count = lanes[run_of]
    place[inside] = _on_ring(slot, count)
    for r in np.flatnonzero(off & (~tidy | (lanes > ONE_RING))[run]).tolist():
        members = flow.members[flow.first[r] : flow.first[r] + led[r]]
        if not len(members):
            continue
        if tidy[run[r]]:
            cells = disc(ceil(lanes[run[r]]))
            place[members] = cells[np.floor(top[run[r]] - flow.lane[members] + 1e-9).astype(int)]
        elif len(members) > ONE_RING:
            place[members] = disc(len(members))[: len(members)]
        else:
            place[members] = _on_ring(
                np.arange(len(members), dtype=float), np.full(len(members), float(len(members)))
            )
    return place


def _on_ring(slot: F8, count: F8) -> F8:
    """Places (y, z) on a ring of so many lanes, clockwise from the top for who looks along +x."""
    lanes = np.maximum(count, 2.0)
    # A chord of √2 is at least 1 long along y or z.
    radius = np.where(count > 1 + 1e-9, sqrt(0.5) / np.sin(np.pi / lanes), 0.0)
    angle = 2 * np.pi * slot / lanes
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


@lru_cache(maxsize=64)
def disc(count: int) -> F8:
    """Cells of a square grid that fill a disc, ring by ring from the middle.

    Returns
    -------
    float64 array, shape (count, 2)
        Along y and z; two cells are at least 1 apart along one of them. Not to be written to.
    """
    tried = [_cells(count, offset) for offset in (0.0, 0.5)]
    cells = min(tried, key=lambda cells: float((cells**2).sum()))
    ring = np.round(np.hypot(*cells.T) * 2)
    turn = np.arctan2(cells[:, 1], cells[:, 0]) % (2 * np.pi)
    cells = cells[np.lexsort((turn, ring))]
    cells.setflags(write=False)
    return cells


def _cells(count: int, offset: float) -> F8:
    """The cells nearest to a grid point or, for an offset of one half, between four of them.

    Of those that are equally far some are left out, evenly around.
    """
    half = ceil(sqrt(count / np.pi)) + 2
    grid = np.arange(-half, half + 1) + offset
    cells = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    far = np.round((cells**2).sum(axis=1), 6)
    last = np.sort(far)[count - 1]
    inner, rim = cells[far < last], cells[far == last]
    rim = rim[np.argsort(np.arctan2(rim[:, 1], rim[:, 0]))]
    wanted = count - len(inner)
    return np.concatenate([inner, rim[(np.arange(wanted) * len(rim)) // max(wanted, 1)]])


def stretched(unit: F8, cell: float, grown: F8) -> F8:
    """Places along one axis, from places in cells, with room made for what has outgrown its cell.

    The map is monotone: order never changes, and it is the same for all, so what was 1 apart
    keeps its distance however much the others grow.

    Parameters
    ----------
    unit : float64 array, shape (k,)
        Places in cells.
    cell : float
        Length of a cell.
    grown : float64 array, shape (k,)
        By how much each node is longer than the cell.

    Returns
    -------
    float64 array, shape (k,)
        What stands at 0 stays there.
    """
    chosen = np.flatnonzero(grown > 0)
    if not len(chosen):
        return np.asarray(unit * cell)
    # Half a cell to both sides of each large node, space is stretched by its growth; where
    # several ask, by the most.
    low, high = unit[chosen] - 0.5, unit[chosen] + 0.5
    edges = np.unique(np.concatenate([low, high]))
    order = np.argsort(low)
    first, last, need = low[order].tolist(), high[order].tolist(), grown[chosen][order].tolist()
    heap: list[tuple[float, float]] = []
    extra, i = [], 0
    for edge in edges[:-1].tolist():
        while i < len(first) and first[i] <= edge:
            heapq.heappush(heap, (-need[i], last[i]))
            i += 1
        while heap and heap[0][1] <= edge:
            heapq.heappop(heap)
        extra.append(-heap[0][0] if heap else 0.0)
    added = np.append(0.0, np.cumsum(np.array(extra) * np.diff(edges)))
    return np.asarray(unit * cell + np.interp(unit, edges, added) - np.interp(0.0, edges, added))
