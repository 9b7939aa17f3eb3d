"""Routes of cables of edges: straight where nothing is in the way, else round what they pass.

What a person sees as one cable is a *cable*: all edges between the same two visible nodes. A
cable with something in its way runs on a *track*: it leaves its source level, climbs or dives in
the gap behind it, runs level where the whole stretch is free (over the row, under it, between two
rows of branches, in the gutter of a wrapped layout, or in front of everything), and comes down in
the gap before its target. Cables with a common source or target that fit on one track share it: a
*net* that splits late, as a rail with taps. Nets have tracks of their own, shorter ones nearer to
the row.

The ideas are those of channel routing for circuit boards (left-edge algorithm, Hashimoto and
Stevens 1971), of ordered cables and metro maps (parallel lines keep their order; Pupyrev et al.
2011) and of hierarchical bundling (Holten 2006: edges share the way that the tree suggests; here
open frames that hold neither end are passed as a whole). The cost is O(cables × rows of the map).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.routes.cables import Cables, Obstacles, Ramps
from explorer.routes.curves import POINTS, curves
from explorer.routes.detours import Router
from explorer.routes.route_map import Flags, Grid, RouteMap
from explorer.routes.turns import round_the_end, turns_round

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_PITCH = 0.11  # height of a track; this and the next in shares of a usual box's height
_CLEARANCE = 0.06  # between a box and the nearest track's border
_WIDTH = 0.07  # of a column of the map
_CABLE = 0.14  # how far apart edges run on a track, as a share of how far apart they start
_MOST_SHEETS = 4
_LEVEL = 0.1  # share of the way at each end in which a line is all but level
_MARGIN = (1.5, 4.0)  # of the map around all boxes


@dataclass(frozen=True)
class Routes:
    """The ways found.

    Attributes
    ----------
    routed : int64 array, shape (d,)
        Cables that run on a track; all others run directly.
    ramps : Ramps
        Of the d routed cables.
    room : float
        Height of a track, world units.
    """

    routed: I8
    ramps: Ramps
    room: float


def plan(cables: Cables, obstacles: Obstacles) -> Routes:
    """Find a way for each cable.

    Parameters
    ----------
    cables : Cables
    obstacles : Obstacles
        Including the boxes at the ends of the cables.

    Returns
    -------
    Routes
    """
    closed = obstacles.depth < 0
    if not len(cables.source) or not closed.any():
        return Routes(np.zeros(0, np.int64), Ramps.none(), 0.0)
    unit = float(np.median((obstacles.high - obstacles.low)[closed, 1]))
    routed, ramps = [], []
    for some, around, through in _sheets(cables, obstacles):
        which, found = _plan(cables.take(some), around, unit, through)
        routed.append(some[which])
        ramps.append(found)
    return Routes(np.concatenate(routed), Ramps.joined(ramps), _PITCH * unit)


def _sheets(cables: Cables, obstacles: Obstacles) -> list[tuple[I8, Obstacles, float]]:
    """Cables by the sheet that both ends stand in, with what stands in it.

    Sheets are slices of depth with nothing between them, such as the front and the back of a
    winding. What joins two neighbours runs in the free space between them, at the depth given
    last; NaN for cables that stay in a sheet.
    """
    every = np.arange(len(cables.source))
    if obstacles.back.any():
        return _halves(cables, obstacles)
    closed = np.flatnonzero(obstacles.depth < 0)
    order = closed[np.argsort(obstacles.low[closed, 2], kind="stable")]
    low, high = obstacles.low[order, 2], np.maximum.accumulate(obstacles.high[order, 2])
    starts = np.flatnonzero(np.append(True, low[1:] > high[:-1]))
    if not 1 < len(starts) <= _MOST_SHEETS:
        return [(every, obstacles, np.nan)]
    begins = low[starts]
    z = np.stack((cables.start[:, 2], cables.end[:, 2]))
    first, last = np.sort(np.searchsorted(begins, z, side="right") - 1, axis=0)
    middle = (obstacles.low[:, 2] + obstacles.high[:, 2]) / 2
    home = np.searchsorted(begins, middle, side="right") - 1
    out = []
    for k, n in np.unique(np.stack((first, last)), axis=1).T.tolist():
        # A frame around several sheets is in nobody's way.
        around = obstacles.take(home == k) if k == n else obstacles
        between = (high[starts[n] - 1] + begins[n]) / 2 if n == k + 1 else np.nan
        out.append((np.flatnonzero((first == k) & (last == n)), around, float(between)))
    return out


def _halves(cables: Cables, obstacles: Obstacles) -> list[tuple[I8, Obstacles, float]]:
    """The sheets of a winding: its front, its back, and what joins them, near its axis."""
    middle = (obstacles.low[:, 2] + obstacles.high[:, 2]) / 2
    back = obstacles.back
    axis = np.nan if back.all() else (middle[back].max() + middle[~back].min()) / 2
    start, end = (cables.steps < 0).T
    out = []
    for some, around, through in (
        (~start & ~end, obstacles.take(~back), np.nan),
        (start & end, obstacles.take(back), np.nan),
        (start != end, obstacles, float(axis)),
    ):
        if some.any():
            out.append((np.flatnonzero(some), around, through))
    return out


def _plan(cables: Cables, obstacles: Obstacles, unit: float, through: float) -> tuple[I8, Ramps]:
    """Which cables of a sheet need a track, and their ramps."""
    closed = obstacles.depth < 0
    if not closed.any():
        return np.zeros(0, np.int64), Ramps.none()
    low, high = obstacles.low[:, :2], obstacles.high[:, :2]
    clearance = np.array((0.0, _CLEARANCE * unit))
    grid = Grid.over(
        low - clearance,
        high + clearance,
        (_WIDTH * unit, _PITCH * unit),
        (_MARGIN[0] * unit, _MARGIN[1] * unit),
    )
    solid = RouteMap(grid, low[closed] - clearance, high[closed] + clearance)
    turning = np.flatnonzero(turns_round(cables, obstacles, solid, unit))
    routed = ~_is_direct(cables, solid, unit) | np.isfinite(through)
    routed[turning] = False
    which, turns = np.flatnonzero(routed), round_the_end(cables.take(turning), unit)
    if not len(which):
        return turning, turns
    ways = Router(cables.take(which), obstacles, solid, unit).ramps(through)
    return np.concatenate((turning, which)), Ramps.joined((turns, ways))


def _is_direct(cables: Cables, solid: RouteMap, unit: float) -> Flags:
    """Cables with nothing in the whole rectangle around both ends, and flow forward."""
    grid, spread = solid.grid, cables.spread
    x, y = (np.stack((cables.start[:, k], cables.end[:, k])) for k in (0, 1))
    # At its ends it passes what is thicker than its own box, but stands elsewhere.
    low, high = x.min(axis=0), x.max(axis=0)
    level = np.minimum(_LEVEL * (high - low), unit / 2)
    first, last = grid.after(low + level), grid.before(high - level) + 1
    lowest = grid.row((y - spread.T).min(axis=0))
    highest = grid.row((y + spread.T).max(axis=0)) + 1
    free = solid.free_boxes(np.minimum(first, grid.columns), last, lowest, highest)
    # A line that is steep in a narrow gap also runs in columns that are not wholly free.
    near = np.abs(y[0] - y[1]) <= unit * np.maximum(last - first, 1)
    forward = (cables.steps.T * (x[1] - x[0]) > 0).all(axis=0)
    return np.asarray(free & forward & near)


def follow(routes: Routes, cables: Cables, ends: tuple[F8, F8], member: I8) -> NDArray[np.float32]:
    """The curve of each edge along the route of its cable.

    Parameters
    ----------
    routes : Routes
    cables : Cables
        What they were made for.
    ends : (float64 array, float64 array), shape (m, 3) each
        Where each edge begins and ends, world units.
    member : int array, shape (m,)
        The cable of each edge.

    Returns
    -------
    float32 array, shape (m, POINTS, 3)
        The first and last points are exactly the ends.
    """
    start, end = ends
    route = np.full(len(cables.source), -1)
    route[routes.routed] = np.arange(len(routes.routed))
    way = route[member]
    points = np.empty((len(start), POINTS, 3), np.float32)
    free = np.flatnonzero(way < 0)
    points[free] = curves(start[free, None], end[free, None], np.zeros((len(free), 1)))
    bent = np.flatnonzero(way >= 0)
    here, ramps = member[bent], routes.ramps.take(way[bent])
    apart = start[bent, 1:] - cables.start[here, 1:]
    widest = np.zeros(len(cables.source))
    np.maximum.at(widest, here, np.abs(apart).max(axis=1))
    narrow = np.minimum(_CABLE, 0.5 * routes.room / np.maximum(widest, 1e-9))[here, None]
    ramps.first[:, 1:, 1:] += (narrow * apart)[:, None]
    ramps.last[:, :2, 1:] += (narrow * apart)[:, None]
    ramps.first[:, 0, 1:], ramps.last[:, 2, 1:] = start[bent, 1:], end[bent, 1:]
    turning = ramps.pieces == 1
    ramps.last[turning, 0] = end[bent[turning]]
    ramps.first[turning, 0] = start[bent[turning]]
    for count, parts in ((1, [0]), (2, [0, 2]), (3, [0, 1, 2])):
        some = ramps.pieces == count
        pieces = (a[some][:, parts] for a in (ramps.first, ramps.last, ramps.bulge))
        points[bent[some]] = curves(*pieces)
    points[:, 0], points[:, -1] = start, end
    return points
