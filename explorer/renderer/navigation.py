"""Moving the viewer with a pointer: turn, shift, approach. Pure functions on `Camera`.

The y axis stays upright, as on a turntable: flow stays level and nobody gets lost upside down.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from explorer.renderer.projection import Projection
from explorer.view_state import Camera, Point

_STEEPEST = math.radians(88.0)
_UP = (0.0, 1.0, 0.0)


def turned(camera: Camera, across: float, down: float) -> Camera:
    """The camera turned about its focal point; a drag over the picture's height is half a turn.

    Parameters
    ----------
    camera : Camera
    across, down : float
        Way of the pointer to the right and down, as a share of the picture's height.
    """
    offset = np.subtract(camera.position, camera.focal_point)
    radius = max(float(np.linalg.norm(offset)), 1e-300)
    around = math.atan2(offset[0], offset[2]) - math.pi * across
    rise = math.asin(max(-1.0, min(1.0, offset[1] / radius))) + math.pi * down
    rise = max(-_STEEPEST, min(_STEEPEST, rise))
    flat = math.cos(rise)
    direction = np.array([flat * math.sin(around), math.sin(rise), flat * math.cos(around)])
    return replace(camera, position=_point(camera.focal_point + radius * direction), up=_UP)


def shifted(camera: Camera, across: float, down: float) -> Camera:
    """The camera moved so that what it looks at follows the pointer; arguments as for `turned`."""
    projection = Projection.of(camera, (1, 1))
    reach = 2 * projection.slope * math.dist(camera.position, camera.focal_point)
    move = (projection.up * down - projection.right * across) * reach
    return replace(
        camera,
        position=_point(camera.position + move),
        focal_point=_point(camera.focal_point + move),
    )


def approached(camera: Camera, factor: float, at: Point | None = None) -> Camera:
    """The camera nearer by a factor, towards a point that keeps its place on the screen.

    Parameters
    ----------
    camera : Camera
    factor : float
        2 halves the distance; below 1 goes away.
    at : tuple of 3 float, optional
        World point; the focal point without it.
    """
    goal = np.array(camera.focal_point if at is None else at)
    keep = 1.0 / factor
    return replace(
        camera,
        position=_point(goal + keep * (camera.position - goal)),
        focal_point=_point(goal + keep * (camera.focal_point - goal)),
    )


def below_pixel(camera: Camera, size: tuple[int, int], x: float, y: float) -> Point:
    """World point under a pixel, as deep as what the camera looks at."""
    projection = Projection.of(camera, size)
    depth = math.dist(camera.position, camera.focal_point)
    return _point(projection.origin + depth * projection.ray(x, y))


def _point(values: object) -> Point:
    x, y, z = np.asarray(values, float).tolist()
    return (x, y, z)
