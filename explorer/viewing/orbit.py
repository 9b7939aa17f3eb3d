"""Camera moves for a pointer: turn, shift, approach. Pure functions on `Camera`.

The camera keeps the y axis upright (a turntable): people lose their way in a free trackball, and
labels stay level.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.viewing.view_state import Camera, Point

F8 = NDArray[np.float64]
#: Steepest view from above or below, radians; at the pole the sideways direction is lost.
STEEPEST = math.radians(88.0)
#: Radians that a movement over the full height of the picture turns.
SPEED = math.radians(130.0)


def turn(camera: Camera, dx: float, dy: float) -> Camera:
    """Turn about the focal point.

    Parameters
    ----------
    camera : Camera
    dx, dy : float
        Movement of the pointer as a share of the picture's height, right and down positive; see
        `SPEED`.
    """
    offset = np.subtract(camera.position, camera.focal_point)
    radius = float(np.linalg.norm(offset))
    azimuth = math.atan2(offset[0], offset[2]) - dx * SPEED
    height = math.asin(max(-1.0, min(1.0, offset[1] / radius))) + dy * SPEED
    height = max(-STEEPEST, min(STEEPEST, height))
    flat = radius * math.cos(height)
    offset = np.array(
        (flat * math.sin(azimuth), radius * math.sin(height), flat * math.cos(azimuth))
    )
    return replace(camera, position=_point(camera.focal_point + offset), up=(0.0, 1.0, 0.0))


def shift(camera: Camera, dx: float, dy: float) -> Camera:
    """Move sideways so that what lies at the focal point's depth follows the pointer.

    Parameters
    ----------
    camera : Camera
    dx, dy : float
        Movement of the pointer as a share of the picture's height, right and down positive.
    """
    right, up, _, radius = _axes(camera)
    height = 2.0 * radius * math.tan(math.radians(camera.view_angle) / 2)
    move = (-dx * right + dy * up) * height
    return replace(
        camera,
        position=_point(camera.position + move),
        focal_point=_point(camera.focal_point + move),
    )


def approach(camera: Camera, factor: float, at: tuple[float, float] = (0.0, 0.0)) -> Camera:
    """Come nearer (factor > 1) or go back, keeping the point under the pointer in place.

    Parameters
    ----------
    camera : Camera
    factor : float
        By how much the distance shrinks.
    at : tuple of 2 float
        The pointer from the picture's centre, as a share of its height, right and up positive.
    """
    right, up, back, radius = _axes(camera)
    height = 2.0 * radius * math.tan(math.radians(camera.view_angle) / 2)
    target = camera.focal_point + (at[0] * right + at[1] * up) * height
    focal = target + (np.asarray(camera.focal_point) - target) / factor
    return replace(
        camera, focal_point=_point(focal), position=_point(focal + back * radius / factor)
    )


def alike(a: Camera, b: Camera) -> bool:
    """Whether two cameras see the same, but for rounding on the way to a page and back."""
    near = 1e-6 * math.dist(a.position, a.focal_point)
    ends = ((a.position, b.position), (a.focal_point, b.focal_point))
    return all(math.dist(p, q) <= near for p, q in ends) and (
        math.dist(a.up, b.up) <= 1e-6 and abs(a.view_angle - b.view_angle) <= 1e-6
    )


def _axes(camera: Camera) -> tuple[F8, F8, F8, float]:
    offset = np.subtract(camera.position, camera.focal_point)
    radius = float(np.linalg.norm(offset))
    back = offset / radius
    right = np.cross(np.asarray(camera.up, float), back)
    right /= np.linalg.norm(right)
    return right, np.cross(back, right), back, radius


def _point(v: F8) -> Point:
    x, y, z = (float(c) for c in v)
    return (x, y, z)
