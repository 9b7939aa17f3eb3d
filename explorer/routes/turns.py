"""Lines that turn round at the end of a row into the next one, which runs the other way."""

from __future__ import annotations

import numpy as np

from explorer.routes.cables import Cables, Obstacles, Ramps
from explorer.routes.route_map import Flags, RouteMap

_SWING = 1.0  # how far a line swings out, in heights of a usual box
_RUN = 0.3  # share of the way along the shorter row in which a line leaves or enters its box


def turns_round(cables: Cables, obstacles: Obstacles, solid: RouteMap, unit: float) -> Flags:
    """Cables at the end of a row that only have to turn round into the next one.

    They turn beyond the end that stands further out; the other row is free up to there.

    Parameters
    ----------
    cables : Cables
    obstacles : Obstacles
    solid : RouteMap
        Of the closed obstacles.
    unit : float
        Height of a usual box, world units.

    Returns
    -------
    bool array, shape (m,)
    """
    found = cables.steps[:, 0] != cables.steps[:, 1]
    some = np.flatnonzero(found)
    if not len(some):
        return np.asarray(found)
    here, grid = cables.take(some), solid.grid
    ahead, swing = here.steps[:, 0] > 0, _SWING * unit
    x, y = (np.stack((here.start[:, k], here.end[:, k])) for k in (0, 1))
    near = np.where(ahead, x.max(axis=0), x.min(axis=0) - swing)
    first = np.clip(grid.after(near), 0, grid.columns)
    last = np.clip(grid.before(near + swing) + 1, 0, grid.columns)
    free = solid.free_boxes(first, last, grid.row(y.min(axis=0)), grid.row(y.max(axis=0)) + 1)
    apart = np.abs(x[0] - x[1])
    at_source = _is_shorter_at_source(here)
    back = np.where(at_source, here.steps[:, 0], here.steps[:, 1]) < 0
    first, last = grid.after(x.min(axis=0)), grid.before(x.max(axis=0)) + 1
    row = grid.row(np.where(at_source, y[0], y[1]))
    for half in (False, True):
        run = (back == half) & (apart >= unit)
        if run.any():
            own = (obstacles.back == half) & (obstacles.depth < 0)
            alone = RouteMap(grid, obstacles.low[own, :2], obstacles.high[own, :2])
            free &= ~run | alone.free_boxes(first, last, row, row + 1)
    found[some] = free
    return np.asarray(found)


def round_the_end(cables: Cables, unit: float) -> Ramps:
    """The ramps of cables that turn round.

    Parameters
    ----------
    cables : Cables
    unit : float
        Height of a usual box, world units.

    Returns
    -------
    Ramps
        One piece where both ends are about as far out; else two, with a straight run between.
    """
    start, end = cables.start, cables.end
    ramps = Ramps.none(len(start))
    swing = np.minimum(np.linalg.norm((start - end)[:, 1:], axis=1) / 2, _SWING * unit)
    bulge = cables.steps[:, 0] * swing
    apart = start[:, 0] - end[:, 0]
    ramps.pieces[np.abs(apart) < unit] = 1
    ramps.first[:, 0], ramps.last[:, 2] = start, end
    at_source = _is_shorter_at_source(cables)
    ramps.last[:, 0], ramps.first[:, 2] = start, end
    ramps.last[at_source, 0, 0] -= _RUN * apart[at_source]
    ramps.first[~at_source, 2, 0] += _RUN * apart[~at_source]
    # The turn leads from row to row at the x of the end that stands further out.
    ramps.first[at_source, 2, 1:] = start[at_source, 1:]
    ramps.last[~at_source, 0, 1:] = end[~at_source, 1:]
    ramps.bulge[:, 2] = np.where(at_source, bulge, 0.0)
    ramps.bulge[:, 0] = np.where(at_source & (ramps.pieces != 1), 0.0, bulge)
    return ramps


def _is_shorter_at_source(cables: Cables) -> Flags:
    """Whether the source, not the target, has the straight run to where the line turns."""
    return np.asarray(cables.steps[:, 0] * (cables.end - cables.start)[:, 0] > 0)
