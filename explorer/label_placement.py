"""Where labels go on the screen: next to what they name, never over each other.

Pure numpy, in pixels, y downwards; knows nothing of what draws the text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CELL = 4  # pixels per cell of the occupancy grid: a test touches 1/16 of the pixels it covers
_GAP = 3  # pixels between an anchor and its text


def place_labels(
    anchors_px: ArrayLike,
    sizes_px: ArrayLike,
    priorities: ArrayLike,
    viewport: tuple[int, int],
    obstacles: ArrayLike = (),
    below: ArrayLike | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Place labels greedily, the most important first.

    Each label is tried above its anchor, a little aside, one line higher, beside it and below it
    (or below first, where `below` says so); the first place that is inside the viewport and free
    is taken. A label
    that finds none is dropped. The greedy order on an occupancy grid is the usual one for
    interactive maps (Christensen, Marks and Shieber 1995 compare it with slower methods).

    Parameters
    ----------
    anchors_px : array_like, shape (n, 2)
        Pixels from the top left. A row that is not finite (behind the viewer) is dropped, and so
        is one outside the viewport.
    sizes_px : array_like, shape (n, 2)
        Width and height of each text.
    priorities : array_like, shape (n,)
        Higher is placed first; of equals, the first in the list.
    viewport : (int, int)
        Width and height.
    obstacles : array_like, shape (k, 4)
        Rectangles left, top, right, bottom that no label may touch.
    below : array_like of bool, shape (n,), optional
        Labels that hang under their anchor by preference.

    Returns
    -------
    positions : int32 array, shape (n, 2)
        Top left corner of each text; meaningless where not visible.
    visible : bool array, shape (n,)
        No two visible rectangles overlap, and none leaves the viewport.
    """
    anchors = np.asarray(anchors_px, float).reshape(-1, 2)
    sizes = np.ceil(np.asarray(sizes_px, float).reshape(-1, 2)).astype(np.int32)
    count, (width, height) = len(anchors), viewport
    hang = np.zeros(count, bool) if below is None else np.asarray(below, bool)
    positions = np.zeros((count, 2), np.int32)
    visible = np.zeros(count, bool)
    with np.errstate(invalid="ignore"):
        inside = ((anchors >= 0) & (anchors <= (width, height))).all(axis=1)
    if not inside.any():
        return positions, visible
    taken = np.zeros((-(-height // _CELL) + 1, -(-width // _CELL) + 1), bool)
    for left, top, right, bottom in np.asarray(obstacles, float).reshape(-1, 4):
        taken[_cells(top, bottom), _cells(left, right)] = True
    order = np.argsort(-np.asarray(priorities, float), kind="stable")
    for i in order[np.take(inside, order)].tolist():
        w, h = sizes[i].tolist()
        x_anchor, y_anchor = anchors[i].tolist()
        for x, y in _candidates(x_anchor, y_anchor, w, h, bool(hang[i])):
            if x < 0 or y < 0 or x + w > width or y + h > height:
                continue
            cells = taken[y // _CELL : -(-(y + h) // _CELL), x // _CELL : -(-(x + w) // _CELL)]
            if not cells.any():
                cells[:] = True
                positions[i] = x, y
                visible[i] = True
                break
    return positions, visible


def _cells(low: float, high: float) -> slice:
    """Grid cells that the pixels from `low` to `high` touch."""
    return slice(max(int(low // _CELL), 0), max(int(-(-high // _CELL)), 0))


def _candidates(x: float, y: float, w: int, h: int, below: bool) -> list[tuple[int, int]]:
    """Top left corners to try, best first: near the anchor, then a line or half a text away."""
    middle = round(x - w / 2)
    over, under = round(y - h - _GAP), round(y + _GAP)
    first, second, line = (under, over, h) if below else (over, under, -h)
    side, aside = round(y - h / 2), round(w * 0.45)
    return [
        (middle, first),
        (middle + aside, first),
        (middle - aside, first),
        (middle, first + line),
        (round(x + 2 * _GAP), side),
        (round(x - w - 2 * _GAP), side),
        (middle, second),
        (middle, second - line),
    ]
