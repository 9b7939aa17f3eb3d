"""From world to screen and back, and what lies under a pixel. Pure numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.drawing.draw_list import BoxArrays, EdgeArrays
from explorer.viewing.view_state import Camera

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """A perspective camera over a picture; pixels count from the top left.

    Attributes
    ----------
    origin, right, up, forward : float64 array, shape (3,)
        Where the viewer stands and the axes of the picture, world units.
    slope : float
        Half the picture's height at depth 1.
    size : (int, int)
        Width and height in pixels.
    near : float
        Depth in front of which nothing is drawn.
    """

    origin: F8
    right: F8
    up: F8
    forward: F8
    slope: float
    size: tuple[int, int]
    near: float

    @classmethod
    def of(cls, camera: Camera, size: tuple[int, int], near: float = 1e-9) -> Projection:
        """The projection of a camera."""
        origin = np.array(camera.position, float)
        forward = np.array(camera.focal_point, float) - origin
        forward /= max(float(np.linalg.norm(forward)), 1e-300)
        right = np.cross(forward, camera.up)
        if np.linalg.norm(right) < 1e-9:  # looks along its own up: any right will do
            right = np.cross(forward, (0.0, 0.0, 1.0) if abs(forward[2]) < 0.9 else (1.0, 0.0, 0.0))
        right /= np.linalg.norm(right)
        slope = math.tan(math.radians(camera.view_angle) / 2)
        return cls(origin, right, np.cross(right, forward), forward, slope, size, near)

    def view(self, points: ArrayLike) -> F8:
        """Coordinates along right, up and forward: shape (..., 3); the last one is the depth."""
        return np.asarray(
            (np.asarray(points) - self.origin) @ np.stack([self.right, self.up, self.forward], 1),
            np.float64,
        )

    def pixels(self, view: F8) -> F8:
        """Pixels of points in view coordinates: shape (..., 2); NaN behind the near plane."""
        width, height = self.size
        scale = height / 2 / self.slope
        depth = np.where(view[..., 2] >= self.near, view[..., 2], np.nan)
        out = np.empty((*view.shape[:-1], 2))
        out[..., 0] = width / 2 + scale * view[..., 0] / depth
        out[..., 1] = height / 2 - scale * view[..., 1] / depth
        return out

    def ray(self, x: float, y: float) -> F8:
        """Direction through a pixel, scaled so that a step of 1 is a step of 1 in depth."""
        width, height = self.size
        unit = self.slope / (height / 2)
        return np.asarray(
            self.forward
            + self.right * ((x - width / 2) * unit)
            + self.up * ((height / 2 - y) * unit)
        )


def nearest_box(projection: Projection, ray: F8, low: F8, high: F8) -> tuple[int, float]:
    """The first box whose outside a ray from the viewer meets.

    The slab method (Kay and Kajiya 1986) over all boxes at once.

    Parameters
    ----------
    projection : Projection
    ray : float64 array, shape (3,)
        As `Projection.ray` gives it.
    low, high : float64 array, shape (n, 3)
        Corners of the boxes.

    Returns
    -------
    index : int
        -1 if there is none. A box that the viewer stands in does not count: it is not drawn.
    depth : float
        Of the hit, in world units; infinite if there is none.
    """
    if len(low) == 0:
        return -1, math.inf
    step = np.where(np.abs(ray) < 1e-12, 1e-12, ray)
    a, b = (low - projection.origin) / step, (high - projection.origin) / step
    enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    depth = np.where((enter <= leave) & (enter >= projection.near), enter, np.inf)
    index = int(depth.argmin())
    return (index, float(depth[index])) if np.isfinite(depth[index]) else (-1, math.inf)


class Picker:
    """Answers what lies under a pixel for one picture; keeps what does not depend on the pixel.

    Parameters
    ----------
    projection : Projection
    solids : BoxArrays
    edges : EdgeArrays
    """

    def __init__(self, projection: Projection, solids: BoxArrays, edges: EdgeArrays) -> None:
        self._projection = projection
        half = np.abs(solids.sizes.astype(float)) / 2
        self._low, self._high = solids.centers - half, solids.centers + half
        self._edges = edges
        self._curves: tuple[F8, F8] | None = None

    def solid(self, x: float, y: float) -> tuple[int, float]:
        """Row of the solid under a pixel, or -1, and its depth."""
        return nearest_box(self._projection, self._projection.ray(x, y), self._low, self._high)

    def edge(self, x: float, y: float, reach: float) -> int | None:
        """Row of the visible edge nearest to a pixel and not farther than `reach` pixels.

        Of several that pass within 1.5 pixels the one drawn last, on top, is taken. An edge
        that a solid hides at that place does not count.
        """
        distance, share, row, segment = self._near(x, y, reach)
        if len(row) == 0:
            return None
        touching = np.maximum(distance, 1.5)
        order = np.lexsort((-row, touching))
        pixels, depth = self._projected()
        for i in order[:64].tolist():
            ends = depth[row[i], segment[i] : segment[i] + 2]
            # Along a projected segment it is 1 / depth that changes evenly.
            here = 1.0 / (1.0 / ends[0] + share[i] * (1.0 / ends[1] - 1.0 / ends[0]))
            a, b = pixels[row[i], segment[i] : segment[i] + 2]
            at = a + share[i] * (b - a)
            if self.solid(float(at[0]), float(at[1]))[1] >= here * (1 - 1e-4):
                return int(row[i])
        return None

    def _projected(self) -> tuple[F8, F8]:
        if self._curves is None:
            view = self._projection.view(self._edges.points)
            view = _clipped(view, self._projection.near)
            self._curves = self._projection.pixels(view), view[..., 2]
        return self._curves

    def _near(
        self, x: float, y: float, reach: float
    ) -> tuple[F8, F8, NDArray[np.intp], NDArray[np.intp]]:
        """Segments within reach: distance in pixels, place along it 0..1, edge, segment."""
        pixels, _ = self._projected()
        at = np.array((x, y))
        with np.errstate(invalid="ignore"):
            low, high = at - reach, at + reach
            a, b = pixels[:, :-1], pixels[:, 1:]
            close = (np.minimum(a, b) <= high) & (np.maximum(a, b) >= low)
        row, segment = np.nonzero(close[..., 0] & close[..., 1])
        start = pixels[row, segment]
        along = pixels[row, segment + 1] - start
        length = np.maximum((along**2).sum(axis=1), 1e-12)
        share = np.clip(((at - start) * along).sum(axis=1) / length, 0.0, 1.0)
        distance = np.linalg.norm(start + share[:, None] * along - at, axis=1)
        keep = distance <= reach
        return distance[keep], share[keep], row[keep], segment[keep]


def _clipped(view: F8, near: float) -> F8:
    """Curves whose points behind the near plane are pulled along their segment onto it.

    Only a point with a neighbour in front is moved; the others keep their depth and become NaN in
    pixels. A point between two visible neighbours is pulled towards the one before it.
    """
    hidden = view[..., 2] < near
    if not hidden.any():
        return view
    out = view.copy()
    for step in (1, -1):
        here, other = (
            (slice(None, -1), slice(1, None)) if step == 1 else (slice(1, None), slice(None, -1))
        )
        rows, cols = np.nonzero(hidden[:, here] & ~hidden[:, other])
        cols = cols + (0 if step == 1 else 1)
        p, q = view[rows, cols], view[rows, cols + step]
        t = (near * (1 + 1e-9) - p[:, 2]) / (q[:, 2] - p[:, 2])
        out[rows, cols] = p + t[:, None] * (q - p)
    return out
