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


def on_edge(
    corners: NDArray[np.float64], span: tuple[float, float], size: tuple[int, int], width: int
) -> list[tuple[int, int]]:
    """Top left corners of a frame's title: above its upper edge from where that begins, so that
    frames inside each other have their titles at their own corners; then below the edge.
    """
    (left, right), (w, h) = span, size
    left = max(left, min(_shoulders(corners)[0], right - w))
    room = max(right - left - w, 0.0)
    shares = np.array((0.0, 0.15, 0.3, 0.5, 0.7, 0.9)) if room else np.array((0.5,))
    x = np.clip(left + shares * (right - left - w), 0.0, max(width - w, 0.0))
    # The upper edge over the text: of a convex outline, the highest lies near one of these.
    xs = np.clip((x[:, None] + np.linspace(0, w, 5)).ravel(), *_shoulders(corners))
    over = _upper_edge(corners, xs).reshape(-1, 5)
    above, under = over.min(axis=1) - h, over.max(axis=1) + GAP
    # At the upper edge of the picture a title may come to lie on its frame's own line.
    above = np.where(above > -0.7 * h, np.maximum(above, 0.0), above)
    rows = np.concatenate([above, under, above - h])
    places = np.stack([np.tile(x, 3), rows], 1).round().astype(int).tolist()
    return [(column, row) for column, row in places]


def tick(corners: NDArray[np.float64], x: float) -> tuple[float, float]:
    """Where a line straight up or down from a title meets the upper edge of its frame."""
    at = float(np.clip(x, *_shoulders(corners)))
    return at, float(_upper_edge(corners, np.array([at]))[0])


def _shoulders(corners: NDArray[np.float64]) -> tuple[float, float]:
    """Where the upper edge of a frame begins and ends: not down its steep sides."""
    ends = []
    for side in (1.0, -1.0):
        x, y = side * corners[:, 0], corners[:, 1]
        outer = int(np.lexsort((y, x))[0])
        steep = (y[outer] - y) > 1.5 * (x - x[outer])
        ends.append(side * float(x[steep].max(initial=x[outer])))
    return (ends[0], ends[1]) if ends[0] <= ends[1] else (corners[0, 0], corners[0, 0])


def _upper_edge(corners: NDArray[np.float64], xs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper edge of the hull of some points, over these x: float64, shape (len(xs),).

    By Andrew's monotone chain (1979), in plain Python: the points are a box's eight corners.
    """
    hull: list[tuple[float, float]] = []
    for x, y in sorted(corners.tolist()):
        if hull and hull[-1][0] == x:
            continue  # the higher of two above one another came first
        while len(hull) > 1:
            (ax, ay), (bx, by) = hull[-2:]
            if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                break
            hull.pop()
        hull.append((x, y))
    return np.asarray(np.interp(xs, *np.array(hull).T))
