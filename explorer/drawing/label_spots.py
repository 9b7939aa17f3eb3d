"""Spots on the screen that a label may stand at, the best first. Pixels, y downwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GAP = 3
"""Pixels between an anchor and its text."""

AT_EDGE = 2 / 3
"""Share of the spots of a title that touch the edge it names; the rest are farther away."""


def near(x: float, y: float, w: int, h: int, below: bool) -> list[tuple[int, int]]:
    """Top left corners to try, best first: near the anchor, then a line or half a text away."""
    middle = round(x - w / 2)
    over, under = round(y - h - GAP), round(y + GAP)
    first, second, line = (under, over, h) if below else (over, under, -h)
    side, aside = round(y - h / 2), round(w * 0.4)
    return [
        (middle, first),
        (middle + aside // 2, first),
        (middle - aside // 2, first),
        (middle + aside, first),
        (middle - aside, first),
        (middle, first + line),
        (round(x + 2 * GAP), side),
        (round(x - w - 2 * GAP), side),
        (middle, second),
        (middle, second - line),
    ]


def far(
    bounds: tuple[float, float, float, float], w: int, h: int, below: bool
) -> list[tuple[int, int]]:
    """Top left corners under and over a thing, the nearest first, up to four lines away."""
    left, top, right, bottom = bounds
    middle = (left + right) / 2 - w / 2
    shifts = (0.0, 0.35 * w, -0.35 * w, 0.7 * w, -0.7 * w)
    out = []
    for line in (0.0, 1.2, 2.4, 3.6):
        under, over = bottom + GAP + line * h, top - GAP - (line + 1) * h
        for y in (under, over) if below else (over, under):
            out += [(round(middle + shift), round(y)) for shift in shifts]
    return out


class TopEdge:
    """The upper edge of a frame on the screen, over which its title may stand.

    In plain Python: there are hundreds of frames, each a handful of numbers.

    Parameters
    ----------
    corners : float64 array, shape (8, 2)
        Of the frame, pixels.
    """

    def __init__(self, corners: NDArray[np.float64]) -> None:
        points = corners.tolist()
        self._hull = _upper_hull(points)
        self._ends = _shoulders(points)

    def spots(
        self, span: tuple[float, float], size: tuple[int, int], width: int
    ) -> list[tuple[int, int]]:
        """Top left corners of a title: above the edge from where that begins, then below it.

        So frames inside each other have their titles at their own corners.

        Parameters
        ----------
        span : (float, float)
            What of the frame is in the picture, left and right.
        size : (int, int)
            Of the text.
        width : int
            Of the picture.
        """
        (left, right), (w, h) = span, size
        left = max(left, min(self._ends[0], right - w))
        spare = right - left - w
        most = max(width - w, 0.0)
        columns = []
        above, under, over = [], [], []
        for share in (0.0, 0.15, 0.3, 0.5, 0.7, 0.9) if spare > 0 else (0.5,):
            x = min(max(left + share * spare, 0.0), most)
            # The highest of a convex outline over the text lies near one of these.
            heights = [self._at(x + w * k / 4) for k in range(5)]
            columns.append(round(x))
            top = min(heights) - h
            # At the upper edge of the picture a title may come to lie on its frame's own line.
            above.append(round(max(top, 0.0) if top > -0.7 * h else top))
            under.append(round(max(heights) + GAP))
            over.append(round((max(top, 0.0) if top > -0.7 * h else top) - h))
        return [(x, y) for rows in (above, under, over) for x, y in zip(columns, rows, strict=True)]

    def tick(self, x: float) -> tuple[float, float]:
        """Where a line straight up or down from a title meets the edge."""
        return min(max(x, self._ends[0]), self._ends[1]), self._at(x)

    def _at(self, x: float) -> float:
        """Height of the edge over a place, or over the nearer of its ends."""
        hull = self._hull
        x = min(max(x, self._ends[0]), self._ends[1])
        ax, ay = hull[0]
        if x <= ax:
            return ay
        for bx, by in hull[1:]:
            if x < bx:
                return (by - ay) / (bx - ax) * (x - ax) + ay
            ax, ay = bx, by
        return ay


def _shoulders(points: list[list[float]]) -> tuple[float, float]:
    """Where the upper edge of a frame begins and ends: not down its steep sides."""
    ends = []
    for side in (1.0, -1.0):
        outer_x, outer_y = min((side * x, y) for x, y in points)
        steep = [side * x for x, y in points if outer_y - y > 1.5 * (side * x - outer_x)]
        ends.append(side * max([outer_x, *steep]))
    return (ends[0], ends[1]) if ends[0] <= ends[1] else (points[0][0], points[0][0])


def _upper_hull(points: list[list[float]]) -> list[tuple[float, float]]:
    """Upper edge of the hull of some points, from the left: Andrew's monotone chain (1979)."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if hull and hull[-1][0] == x:
            continue  # the higher of two above one another came first
        while len(hull) > 1:
            (ax, ay), (bx, by) = hull[-2:]
            if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                break
            hull.pop()
        hull.append((x, y))
    return hull
