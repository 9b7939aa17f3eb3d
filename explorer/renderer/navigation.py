"""Coming nearer with a wheel, and what lies under a pixel. Pure functions on `Camera`.

Turning and shifting are `explorer.viewing.orbit`, shared with the page.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from explorer.renderer.projection import Projection
from explorer.viewing.view_state import Camera, Point


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
