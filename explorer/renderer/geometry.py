"""Boxes and curves as flat vertex arrays. Pure numpy: it knows no graphics library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F4 = NDArray[np.float32]
U1 = NDArray[np.uint8]
I4 = NDArray[np.int32]

CORNERS: F4 = np.array(
    [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32
)
"""The eight corners of a unit box; corner ``4 ix + 2 iy + iz``."""

FACES: I4 = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]], np.int32
)
"""Corners of the faces -x, +x, -y, +y, -z, +z, counter-clockwise seen from outside."""

EDGES: I4 = np.array(
    [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [0, 2],
        [1, 3],
        [4, 6],
        [5, 7],
        [0, 4],
        [1, 5],
        [2, 6],
        [3, 7],
    ],
    np.int32,
)

# Light is baked into the colours: the form reads the same in every direction, in a browser and in
# a picture, and a software renderer has nothing to compute per pixel. The faces towards the flow
# (x) and the viewer (z) keep the given colour or nearly so, because colour is a measurement.
FACE_LIGHT: F4 = np.array([0.88, 0.84, 0.42, 1.06, 0.56, 0.70], np.float32)


def box_corners(centers: F4, sizes: F4) -> F4:
    """Corners of boxes: float32, shape (n, 8, 3)."""
    return np.asarray(centers[:, None] + CORNERS * sizes[:, None], np.float32)


def box_faces(centers: F4, sizes: F4) -> F4:
    """Vertices of all faces, four each, no two faces share one: float32, shape (n * 24, 3)."""
    return box_corners(centers, sizes)[:, FACES.ravel()].reshape(-1, 3)


def face_triangles(boxes: int) -> I4:
    """Two triangles per face over the vertices of `box_faces`: int32, shape (boxes * 12, 3)."""
    first = np.arange(boxes * 6, dtype=np.int32)[:, None, None] * 4
    return (first + np.array([[0, 1, 2], [0, 2, 3]], np.int32)).reshape(-1, 3)


def box_lines(boxes: int) -> I4:
    """Twelve segments per box over the vertices of `box_corners`: int32, shape (boxes * 12, 2)."""
    return (np.arange(boxes, dtype=np.int32)[:, None, None] * 8 + EDGES).reshape(-1, 2)


def polylines(curves: int, points: int) -> I4:
    """Connectivity of curves whose points lie one after the other: int32, (curves, points)."""
    return np.arange(curves * points, dtype=np.int32).reshape(curves, points)


def shaded(colors: U1) -> U1:
    """Colours of the vertices of `box_faces`, lit from above: uint8, shape (n * 24, 4)."""
    rgb = colors[:, None, :3] * FACE_LIGHT[:, None]
    # What exceeds full brightness goes to white instead of being cut: the hue stays.
    rgb = rgb + np.maximum(FACE_LIGHT[:, None] - 1.0, 0.0) * 90.0
    out = np.empty((len(colors), 6, 4), np.uint8)
    out[..., :3] = np.clip(rgb, 0, 255)
    out[..., 3] = colors[:, None, 3]
    return np.repeat(out.reshape(-1, 4), 4, axis=0)


def mixed(colors: U1, towards: tuple[int, int, int], share: float, alpha: float) -> U1:
    """Colours moved towards another one, their opacity scaled by `alpha`: uint8, shape (n, 4)."""
    out = np.empty_like(colors)
    out[:, :3] = colors[:, :3] * (1.0 - share) + np.array(towards) * share
    out[:, 3] = colors[:, 3] * alpha
    return out
