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

from explorer.drawing.draw_list import DrawList
from explorer.viewing.on_screen import Screen
from explorer.viewing.view_state import Camera, Point, interpolate

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
    screen: Screen, free: float, before: DrawList, after: DrawList, hold: Held
) -> Flight | None:
    """The way on which a node keeps its place on the screen while a picture passes to another.

    The camera is carried along with the node's middle, which moves on a line (see
    `explorer.drawing.animation.Blend`). Where the node will be larger than the picture, or the
    better part of it outside, the camera also goes back, about the node's middle and no farther
    than needed.

    Parameters
    ----------
    screen : Screen
        The picture, seen by the camera at the start.
    free : float
        Width from the left that nothing covers, pixels.
    before, after : DrawList
    hold : Held

    Returns
    -------
    callable share -> Camera, or None
        ``None`` where the node is not drawn in both pictures, or nothing is to be done.
    """
    boxes = box_in(before, hold.path), box_in(after, hold.path)
    if boxes[0] is None or boxes[1] is None:
        return None
    camera, room = screen.camera, (float(free), float(screen.size[1]))
    start, (end, size) = boxes[0][0], boxes[1]
    radius = math.dist(camera.position, camera.focal_point)
    left, top, right, bottom = _rectangle(screen, start, np.zeros(3)).tolist()
    here, depth = (left, top), float(screen.depths(start))
    ahead = left <= right
    if not ahead:  # the viewer stands inside an open node, its middle is behind
        here, depth = (room[0] / 2, room[1] / 2), radius
    pixel = hold.pixel or here
    if not (0 <= pixel[0] <= room[0] and 0 <= pixel[1] <= room[1]):
        left, top, right, bottom = _rectangle(_moved(screen, end - start), end, size).tolist()
        pixel = _inside(room, pixel, (right - left, bottom - top))
    # Seen from a camera that goes along, the node's middle passes from `start` to `goal`.
    goal = start
    if not ahead or pixel != here:
        eye, step = screen.ray(pixel)
        goal = eye + step * depth
    carried = end - goal
    back = _steps_back(_moved(screen, carried), room, end, size)
    if back == 1.0 and not np.abs(carried).max() > 1e-6 * radius:
        return None

    def flight(share: float) -> Camera:
        middle = start + (end - start) * share
        return _scaled(_moved(screen, carried * share), middle, back**share).camera

    return flight


def _inside(
    room: tuple[float, float], pixel: tuple[float, float], extents: tuple[float, float]
) -> tuple[float, float]:
    """The nearest pixel about which a thing of these extents, pixels, is all in the picture."""
    found = []
    for at, extent, most in zip(pixel, extents, room, strict=True):
        margin = min(max(extent, 0.0) / 2 + _EDGE * min(room), most / 2)
        found.append(float(min(max(at, margin), most - margin)))
    return found[0], found[1]


def _steps_back(screen: Screen, room: tuple[float, float], middle: F8, size: F8) -> float:
    """The least factor by which to go back from a point so that a box about it is well seen."""
    factor, most = 1.0, np.array(room)
    for _ in range(_FARTHEST_STEPS):
        rectangle = _rectangle(_scaled(screen, middle, factor), middle, size)
        low, high = rectangle[:2], rectangle[2:]
        share = (high - low) / most
        inside = np.minimum(high, most) - np.maximum(low, 0.0)
        well = (share <= _FILLS) & (inside >= _SEEN * (high - low))
        if (well | (share <= _SMALL)).all():
            return factor
        factor *= _STEP
    return factor


def _rectangle(screen: Screen, middle: F8, size: F8) -> F8:
    """Left, top, right, bottom of a box in the picture, pixels."""
    found: F8 = screen.rectangles(middle[None], size[None])[0]
    return found


def _moved(screen: Screen, by: F8) -> Screen:
    camera = screen.camera
    moved = replace(
        camera, position=_point(camera.position + by), focal_point=_point(camera.focal_point + by)
    )
    return replace(screen, camera=moved)


def _scaled(screen: Screen, middle: F8, factor: float) -> Screen:
    """The same from farther away from a point, which keeps its place in the picture."""
    if factor == 1.0:
        return screen
    camera = screen.camera
    scaled = replace(
        camera,
        position=_point(middle + (camera.position - middle) * factor),
        focal_point=_point(middle + (camera.focal_point - middle) * factor),
    )
    return replace(screen, camera=scaled)


def _point(v: F8) -> Point:
    x, y, z = (float(c) for c in v)
    return (x, y, z)
