"""Where boxes fall on the screen: a perspective projection in numpy, for what decides by size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.viewing.view_state import Camera

F8 = NDArray[np.float64]

_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
# Corners that an edge of a box joins: those that differ in one axis.
_EDGES = np.array([(a, b) for a in range(8) for b in range(a, 8) if (a ^ b) in (1, 2, 4)])
_NEAR = 1e-3  # of the distance to the focal point: what is nearer counts as behind the viewer
_RIM = 0.03  # of the picture's height: what is brought into it comes so far from its rim
_FAR_AWAY = 1e7  # pixels


@dataclass(frozen=True)
class Screen:
    """A picture of the scene, and the place in it that a person looks at.

    Attributes
    ----------
    camera : Camera
    size : (int, int)
        Width and height in pixels.
    focus : (float, float) or None
        The pixel looked at, from the top left: where the pointer is. ``None``: the middle.
    free : float or None
        Width from the left that nothing covers; ``None``: all of it.
    """

    camera: Camera
    size: tuple[int, int]
    focus: tuple[float, float] | None = None
    free: float | None = None

    @property
    def looked_at(self) -> tuple[float, float]:
        """The pixel looked at."""
        return self.focus or ((self.free or self.size[0]) / 2, self.size[1] / 2)

    @cached_property
    def _axes(self) -> tuple[F8, F8, float]:
        """Where the viewer stands, the rows right, up, forward, and pixels per world unit at 1."""
        origin = np.array(self.camera.position, float)
        forward = np.array(self.camera.focal_point) - origin
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, self.camera.up)
        if np.linalg.norm(right) < 1e-9:  # looks along its own up: any right will do
            right = np.cross(forward, (0.0, 0.0, 1.0) if abs(forward[2]) < 0.9 else (1.0, 0.0, 0.0))
        right /= np.linalg.norm(right)
        scale = self.size[1] / 2 / math.tan(math.radians(self.camera.view_angle) / 2)
        return origin, np.stack((right, np.cross(right, forward), forward)), scale

    @property
    def _near(self) -> float:
        return _NEAR * math.dist(self.camera.position, self.camera.focal_point)

    def depths(self, points: F8) -> F8:
        """Distance of points along the direction of view, world units; shape (...,)."""
        origin, axes, _ = self._axes
        return np.asarray((points - origin) @ axes[2])

    def ray(self, pixel: tuple[float, float]) -> tuple[F8, F8]:
        """Where a pixel's line of sight begins, and its step for a step of 1 in depth."""
        origin, (right, up, forward), scale = self._axes
        across, down = pixel[0] - self.size[0] / 2, pixel[1] - self.size[1] / 2
        return origin, forward + right * (across / scale) - up * (down / scale)

    def rectangles(self, centers: F8, sizes: F8) -> F8:
        """The rectangles around boxes on the screen.

        Parameters
        ----------
        centers, sizes : float64 array, shape (n, 3)
            World units.

        Returns
        -------
        float64 array, shape (n, 4)
            Left, top, right, bottom in pixels from the top left. What lies behind the viewer is
            cut off first; a box wholly behind has left = +inf and right = -inf.
        """
        origin, axes, _ = self._axes
        view = (
            np.asarray(centers)[:, None] + _SIGNS * np.asarray(sizes)[:, None] - origin
        ) @ axes.T
        ahead = view[..., 2] > self._near
        out = np.empty((len(view), 4))
        whole = ahead.all(axis=1)
        out[whole] = self._around(view[whole], ahead[whole])
        part = np.flatnonzero(~whole)
        if len(part):
            cut = self._cut(view[part], ahead[part])
            out[part] = self._around(*cut)
        return out

    def _around(self, view: F8, ahead: NDArray[np.bool_]) -> F8:
        """Rectangle around those points of each row that lie ahead."""
        width, height = self.size
        scale = self._axes[2]
        depth = np.where(ahead, view[..., 2], 1.0)
        x = width / 2 + scale * view[..., 0] / depth
        y = height / 2 - scale * view[..., 1] / depth
        low, high = np.where(ahead, 0.0, np.inf), np.where(ahead, 0.0, -np.inf)
        bounds = (x + low).min(1), (y + low).min(1), (x + high).max(1), (y + high).max(1)
        found = np.stack(bounds, axis=1)
        return np.where(np.isfinite(found), np.clip(found, -_FAR_AWAY, _FAR_AWAY), found)

    def _cut(self, view: F8, ahead: NDArray[np.bool_]) -> tuple[F8, NDArray[np.bool_]]:
        """The corners of each box and the points where its edges pass the near plane."""
        a, b = view[:, _EDGES[:, 0]], view[:, _EDGES[:, 1]]
        crosses = ahead[:, _EDGES[:, 0]] != ahead[:, _EDGES[:, 1]]
        step = np.where(crosses, b[..., 2] - a[..., 2], 1.0)
        t = (self._near - a[..., 2]) / step
        points = a + np.where(crosses, t, 0.0)[..., None] * (b - a)
        return np.concatenate((view, points), axis=1), np.concatenate((ahead, crosses), axis=1)

    def shares(self, rectangles: F8) -> F8:
        """How much of the picture rectangles would fill: the larger of the shares of its width and
        of its height; above 1 for what reaches beyond, 0 for what is behind the viewer.
        """
        width = (rectangles[:, 2] - rectangles[:, 0]) / self.size[0]
        height = (rectangles[:, 3] - rectangles[:, 1]) / self.size[1]
        return np.asarray(np.maximum(np.maximum(width, height), 0.0))

    def in_sight(self, rectangles: F8, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether rectangles touch the picture, grown on each side by `margin` of its extent."""
        width, height = self.size
        across, down = margin * width, margin * height
        left, top, right, bottom = rectangles.T
        return np.asarray(
            (right >= -across)
            & (left <= width + across)
            & (bottom >= -down)
            & (top <= height + down)
        )

    def way_in(self, rectangle: F8) -> tuple[float, float]:
        """Pixels to the right and down that bring a rectangle into the picture, 0 along an axis
        where it has no room.
        """
        found = []
        for low, high, room in (
            (rectangle[0], rectangle[2], self.free or self.size[0]),
            (rectangle[1], rectangle[3], self.size[1]),
        ):
            rim = _RIM * self.size[1]
            fits = high - low <= room - 2 * rim
            found.append(float(max(rim - low, 0.0) - max(high - room + rim, 0.0)) if fits else 0.0)
        return found[0], found[1]

    def beside(self, point: F8, pixels: tuple[float, float]) -> F8:
        """The point as deep as this one that is seen so many pixels to the right and down of it."""
        _, (right, up, _), scale = self._axes
        step = float(self.depths(point)) / scale
        return np.asarray(point + right * (pixels[0] * step) - up * (pixels[1] * step))

    def gaps(self, rectangles: F8) -> F8:
        """Pixels from the place looked at to each rectangle; 0 inside it."""
        x, y = self.looked_at
        left, top, right, bottom = rectangles.T
        across = np.maximum(np.maximum(left - x, x - right), 0.0)
        down = np.maximum(np.maximum(top - y, y - bottom), 0.0)
        return np.asarray(np.hypot(across, down))
