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

from explorer.cables import Cables, Obstacles
from explorer.curves import curves
from explorer.detours import Ramps, Router
from explorer.route_map import Flags, Grid, RouteMap

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_PITCH = 0.11  # height of a track; this and the next in shares of a usual box's height
_CLEARANCE = 0.06  # between a box and the nearest track's border
_WIDTH = 0.07  # of a column of the map
_CABLE = 0.14  # how far apart edges run on a track, as a share of how far apart they start
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
    nobody = np.zeros(0, np.int64)
    closed = obstacles.depth < 0
    if not len(cables.source) or not closed.any():
        return Routes(nobody, Ramps.none(), 0.0)
    low, high = obstacles.low[:, :2], obstacles.high[:, :2]
    unit = float(np.median((high - low)[closed, 1]))
    clearance = np.array((0.0, _CLEARANCE * unit))
    grid = Grid.over(
        low - clearance,
        high + clearance,
        (_WIDTH * unit, _PITCH * unit),
        (_MARGIN[0] * unit, _MARGIN[1] * unit),
    )
    solid = RouteMap(grid, low[closed] - clearance, high[closed] + clearance)
    routed = np.flatnonzero(~_is_direct(cables, solid, unit))
    if not len(routed):
        return Routes(nobody, Ramps.none(), _PITCH * unit)
    router = Router(cables.take(routed), obstacles, solid, unit)
    return Routes(routed, router.ramps(), _PITCH * unit)


def _is_direct(cables: Cables, solid: RouteMap, unit: float) -> Flags:
    """Cables with nothing in the whole rectangle around both ends, and flow forward."""
    grid, spread = solid.grid, cables.spread
    y = np.stack((cables.start[:, 1], cables.end[:, 1]))
    first = np.minimum(grid.after(cables.start[:, 0]), grid.columns)
    last = grid.before(cables.end[:, 0]) + 1
    lowest = grid.row((y - spread.T).min(axis=0))
    highest = grid.row((y + spread.T).max(axis=0)) + 1
    free = solid.free_boxes(first, last, lowest, highest)
    # A line that is steep in a narrow gap also runs in columns that are not wholly free.
    near = np.abs(y[0] - y[1]) <= unit * np.maximum(last - first, 1)
    forward = cables.end[:, 0] > cables.start[:, 0]
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
    points = curves(start[:, None], end[:, None], np.zeros((len(start), 1)))
    bent = np.flatnonzero(way >= 0)
    here, ramps = member[bent], routes.ramps.take(way[bent])
    apart = start[bent, 1:] - cables.start[here, 1:]
    widest = np.zeros(len(cables.source))
    np.maximum.at(widest, here, np.abs(apart).max(axis=1))
    narrow = np.minimum(_CABLE, 0.5 * routes.room / np.maximum(widest, 1e-9))[here, None]
    ramps.first[:, 1:, 1:] += (narrow * apart)[:, None]
    ramps.last[:, :2, 1:] += (narrow * apart)[:, None]
    ramps.first[:, 0, 1:], ramps.last[:, 2, 1:] = start[bent, 1:], end[bent, 1:]
    for parts, some in (([0, 2], ~ramps.changes), ([0, 1, 2], ramps.changes)):
        pieces = (a[some][:, parts] for a in (ramps.first, ramps.last, ramps.bulge))
        points[bent[some]] = curves(*pieces)
    points[:, 0], points[:, -1] = start, end
    return points
