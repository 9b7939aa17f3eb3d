"""The way of the camera while the picture changes: flown to a place, or held at a node.

When a node opens or closes everything moves, for the layout grows or shrinks. A held camera goes
along, so that the node a person has pointed at stays where it was on the screen during the whole
move. Pure functions on `Camera` and draw lists; the window and the page fly the same ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.draw_list import DrawList
from explorer.orbit import axes
from explorer.view_state import Camera, Point, interpolate

F8 = NDArray[np.float64]
#: The camera after a share of the way, 0 to 1, already eased like the boxes' way.
Flight = Callable[[float], Camera]

_EDGE = 0.06  # of the picture: what is brought into it comes at least so far from its rim
_FILLS = 0.94  # what opened may take of the picture's width and height
_SEEN = 0.7  # of what opened is to be in the picture, in width and in height
_SMALL = 0.4  # what takes less of the picture is not made smaller to be seen better
_STEP = 1.06
_FARTHEST_STEPS = 120  # of going back: a factor of 1000


@dataclass(frozen=True)
class Held:
    """A node that is to stay where it is on the screen while it opens or closes.

    Attributes
    ----------
    path : str
    pixel : tuple of 2 float or None
        Where its middle is to come to, from the top left of the picture; ``None`` keeps it where
        it is (and brings it in where that is outside of the picture).
    """

    path: str
    pixel: tuple[float, float] | None = None


@dataclass(frozen=True)
class Screen:
    """The picture of the scene, pixels from its top left.

    Attributes
    ----------
    width, height : float
    free : float
        Width from the left that nothing covers.
    """

    width: float
    height: float
    free: float

    def pixels(self, camera: Camera, points: F8) -> F8:
        """Pixel and depth of world points: shape (n, 3); depths below 0 lie behind the viewer."""
        right, up, back, _ = axes(camera)
        seen = (np.asarray(points, float).reshape(-1, 3) - camera.position) @ np.stack(
            (right, up, -back), axis=1
        )
        depth = seen[:, 2]
        scale = self.height / 2 / _slope(camera) / np.where(depth > 0, depth, np.nan)
        x, y = self.width / 2 + scale * seen[:, 0], self.height / 2 - scale * seen[:, 1]
        return np.stack((x, y, depth), axis=1)

    def point(self, camera: Camera, pixel: tuple[float, float], depth: float) -> F8:
        """World point at a pixel and a depth."""
        right, up, back, _ = axes(camera)
        unit = depth * _slope(camera) / (self.height / 2)
        across, high = pixel[0] - self.width / 2, self.height / 2 - pixel[1]
        found: F8 = camera.position - back * depth + (right * across + up * high) * unit
        return found


def box_in(drawn: DrawList, path: str) -> tuple[F8, F8] | None:
    """Centre and extents of a node as it is drawn, several solids as one; ``None`` if it is not."""
    try:
        node = drawn.nodes.index(path)
    except ValueError:
        return None
    for boxes in (drawn.frames, drawn.solids):
        rows = np.flatnonzero(boxes.node == node)
        if len(rows):
            half = boxes.sizes[rows].astype(float) / 2
            low = (boxes.centers[rows] - half).min(axis=0)
            high = (boxes.centers[rows] + half).max(axis=0)
            return (low + high) / 2, high - low
    return None


def straight(start: Camera, end: Camera) -> Flight:
    """From one camera to another."""
    return lambda share: interpolate(start, end, share)


def held(
    camera: Camera, screen: Screen, before: DrawList, after: DrawList, hold: Held
) -> Flight | None:
    """The way on which a node keeps its place on the screen while a picture passes to another.

    The camera is carried along with the node's middle, which moves on a line (see
    `explorer.animation.Blend`). Where the node will be larger than the picture, or the better part
    of it outside, the camera also goes back, about the node's middle and no farther than needed.

    Parameters
    ----------
    camera : Camera
        At the start.
    screen : Screen
    before, after : DrawList
    hold : Held

    Returns
    -------
    callable share -> Camera, or None
        ``None`` where the node is not drawn in both pictures.
    """
    boxes = box_in(before, hold.path), box_in(after, hold.path)
    if boxes[0] is None or boxes[1] is None:
        return None
    start, (end, size) = boxes[0][0], boxes[1]
    (x, y, depth), radius = screen.pixels(camera, start)[0].tolist(), axes(camera)[3]
    ahead = depth > 1e-3 * radius
    if not ahead:  # the viewer stands inside an open node, its middle is behind
        x, y, depth = screen.free / 2, screen.height / 2, radius
    pixel = hold.pixel or (x, y)
    if not (0 <= pixel[0] <= screen.free and 0 <= pixel[1] <= screen.height):
        pixel = _inside(screen, pixel, _extents(_moved(camera, end - start), screen, end, size))
    # Seen from a camera that goes along, the node's middle passes from `start` to `goal`.
    goal = start if ahead and pixel == (x, y) else screen.point(camera, pixel, depth)
    carried = end - goal
    back = _steps_back(_moved(camera, carried), screen, end, size)
    if back == 1.0 and not np.abs(carried).max() > 1e-6 * radius:
        return None

    def flight(share: float) -> Camera:
        middle = start + (end - start) * share
        return _scaled(_moved(camera, carried * share), middle, back**share)

    return flight


def _inside(screen: Screen, pixel: tuple[float, float], extents: F8) -> tuple[float, float]:
    """The nearest pixel about which a thing of these extents, pixels, is all in the picture."""
    found = []
    for at, extent, room in zip(pixel, extents, (screen.free, screen.height), strict=True):
        margin = min(extent / 2 + _EDGE * min(screen.free, screen.height), room / 2)
        found.append(float(min(max(at, margin), room - margin)))
    return found[0], found[1]


def _corners(middle: F8, size: F8) -> F8:
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    found: F8 = middle + signs * size / 2
    return found


def _extents(camera: Camera, screen: Screen, middle: F8, size: F8) -> F8:
    """Width and height of a box in the picture, pixels; endless where it reaches the viewer."""
    seen = screen.pixels(camera, _corners(middle, size))[:, :2]
    found: F8 = np.nan_to_num(seen.max(axis=0) - seen.min(axis=0), nan=np.inf)
    return found


def _steps_back(camera: Camera, screen: Screen, middle: F8, size: F8) -> float:
    """The least factor by which to go back from a point so that a box about it is well seen."""
    factor, room = 1.0, np.array((screen.free, screen.height))
    for _ in range(_FARTHEST_STEPS):
        seen = screen.pixels(_scaled(camera, middle, factor), _corners(middle, size))
        if np.isfinite(seen).all():
            low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
            share = (high - low) / room
            inside = np.minimum(high, room) - np.maximum(low, 0.0)
            well = (share <= _FILLS) & (inside >= _SEEN * (high - low))
            if (well | (share <= _SMALL)).all():
                return factor
        factor *= _STEP
    return factor


def _moved(camera: Camera, by: F8) -> Camera:
    return replace(
        camera, position=_point(camera.position + by), focal_point=_point(camera.focal_point + by)
    )


def _scaled(camera: Camera, middle: F8, factor: float) -> Camera:
    """The camera farther from a point by a factor; the point keeps its place on the screen."""
    if factor == 1.0:
        return camera
    return replace(
        camera,
        position=_point(middle + (camera.position - middle) * factor),
        focal_point=_point(middle + (camera.focal_point - middle) * factor),
    )


def _slope(camera: Camera) -> float:
    return math.tan(math.radians(camera.view_angle) / 2)


def _point(v: F8) -> Point:
    x, y, z = (float(c) for c in v)
    return (x, y, z)
