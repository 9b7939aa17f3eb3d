"""Coming nearer and going back with a wheel, so that the network is never lost from sight.

The wheel leads to what lies under the pointer, or to what is nearest to it: that point keeps its
place in the picture, and the camera comes before it to a stop, so that nobody flies through the
network into emptiness. Going back ends where the whole network has become small. Pure functions;
``explorer/web/static/drawn_dolly.js`` has the same rules.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import approach
from explorer.viewing.view_state import Camera, Point

F8 = NDArray[np.float64]

CLOSEST = 12.0
"""How many times the height of the picture a box under the pointer may reach at the nearest."""

FARTHEST = 12.0
"""How many diagonals of the whole network the height of the picture may span."""

_RIM = 0.03  # of the picture: what is seen there only does not count as in sight
_LEAST_STEP = 0.05  # of the network's diagonal: where nothing is in sight, going back leads so far


def dolly(screen: Screen, centers: ArrayLike, sizes: ArrayLike, factor: float) -> Camera:
    """The camera nearer by a factor to what is looked at, or farther from it.

    Parameters
    ----------
    screen : Screen
        The picture; its focus is the pointer's pixel.
    centers, sizes : array_like, shape (n, 3)
        Boxes that are drawn closed; world units.
    factor : float
        Positive; 2 halves the distance, below 1 goes away.

    Returns
    -------
    Camera
        The same one where it may go no farther.
    """
    camera = screen.camera
    middles, extents = np.asarray(centers, float), np.asarray(sizes, float)
    if not len(middles):
        (x, y), (width, height) = screen.looked_at, screen.size
        return approach(camera, factor, ((x - width / 2) / height, (height / 2 - y) / height))
    goal = _goal(screen, middles, extents)
    slope = 2.0 * math.tan(math.radians(camera.view_angle) / 2)
    if factor >= 1.0:
        if goal is None:
            return camera
        point, depth, size = goal
        nearest = size / CLOSEST / slope
        return _scaled(camera, point, max(1.0 / factor, min(nearest / depth, 1.0)))
    low, high = (middles - extents / 2).min(axis=0), (middles + extents / 2).max(axis=0)
    across = float(np.linalg.norm(high - low))
    if goal is None:
        eye, way = screen.ray((screen.size[0] / 2, screen.size[1] / 2))
        radius = math.dist(camera.position, camera.focal_point)
        moved = _scaled(camera, eye + max(radius, _LEAST_STEP * across) * way, 1.0 / factor)
    else:
        moved = _scaled(camera, goal[0], 1.0 / factor)
    away = [math.dist(c.position, ((low + high) / 2).tolist()) for c in (camera, moved)]
    return camera if away[1] > max(FARTHEST * across / slope, away[0]) else moved


def kept(screen: Screen, moved: Camera, centers: ArrayLike, sizes: ArrayLike) -> Camera:
    """A camera that was moved sideways, or the one before if the network would be lost from sight.

    Parameters
    ----------
    screen : Screen
        The picture before.
    moved : Camera
    centers, sizes : array_like, shape (n, 3)
        Boxes that are drawn closed; world units.
    """
    boxes = np.asarray(centers, float), np.asarray(sizes, float)
    before, after = (
        len(_points(s, (s.size[0] / 2, s.size[1] / 2), *boxes)) > 0
        for s in (screen, replace(screen, camera=moved))
    )
    return screen.camera if before and not after else moved


def _goal(screen: Screen, centers: F8, sizes: F8) -> tuple[F8, float, float] | None:
    """What the wheel leads to: a point, its depth, and how large the box is that it belongs to.

    Where the pixel's line of sight meets the first box; else the point of a box that is seen
    nearest to the pixel. ``None`` where no box is in sight.
    """
    pixel = screen.looked_at
    eye, way = screen.ray(pixel)
    met = _first(eye, way, centers, sizes)
    if met is None:
        points = _points(screen, pixel, centers, sizes)
        if not len(points):
            points = _points(screen, (screen.size[0] / 2, screen.size[1] / 2), centers, sizes)
        if not len(points):
            return None
        way = points[0] - eye
        # Another box may stand before it.
        met = _first(eye, way, centers, sizes)
        if met is None:
            return None
    row, share = met
    point = eye + share * way
    return point, float(screen.depths(point)), float(sizes[row, 1:].max())


def _first(eye: F8, way: F8, centers: F8, sizes: F8) -> tuple[int, float] | None:
    """The box that a line of sight meets first, and after how many of its steps."""
    way = np.where(np.abs(way) < 1e-12, 1e-12, way)
    ends = np.stack(((centers - sizes / 2 - eye) / way, (centers + sizes / 2 - eye) / way))
    enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
    met = np.flatnonzero((enter <= leave + 1e-9) & (enter > 0))
    if not len(met):
        return None
    row = int(met[np.argmin(enter[met])])
    return row, float(enter[row])


def _points(screen: Screen, pixel: tuple[float, float], centers: F8, sizes: F8) -> F8:
    """Of each box in sight a point close to a pixel's line of sight; the closest one first."""
    eye, way = screen.ray(pixel)
    found = eye + screen.depths(centers)[:, None] * way
    found = np.clip(found, centers - sizes / 2, centers + sizes / 2)
    # A rectangle about a point is the point's pixel; behind the viewer it is inside out.
    spots = screen.rectangles(found, np.zeros_like(found))
    rows = np.flatnonzero(screen.in_sight(spots, -_RIM))
    away = np.hypot(spots[rows, 0] - pixel[0], spots[rows, 1] - pixel[1])
    return np.asarray(found[rows[np.argsort(away, kind="stable")]])


def _scaled(camera: Camera, goal: F8, keep: float) -> Camera:
    """The camera at this share of its distance from a point, which keeps its place."""
    return replace(
        camera,
        position=_point(goal + keep * (camera.position - goal)),
        focal_point=_point(goal + keep * (camera.focal_point - goal)),
    )


def _point(values: F8) -> Point:
    x, y, z = values.tolist()
    return (x, y, z)
