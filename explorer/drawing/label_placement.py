"""Where labels go on the screen: next to what they name, never over each other or another thing.

Pure numpy, in pixels, y downwards; knows nothing of what draws the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.drawing import label_spots as spots
from explorer.drawing.screen_cover import CELL, Cover, Ink

_MOST_INK = 0.12  # share of a text that edges may cross where there is room elsewhere
_MOST_FOREIGN = 0.04  # share of a text that may lie on things it does not name
_LEAST_ON_OWN = 0.65  # share of the inner part of a text that must lie on the thing it stands upon
_LEAST_SEEN = 0.2  # share of a thing that must be seen for its label to be shown
_MOST_FAR = 48  # labels that may find no place before the search becomes short
_FEW_SPOTS = 3
_LEADER_LINES = 0.8  # a text farther from its anchor than this many of its heights gets a leader
_PROBES = np.linspace(0.0, 1.0, 33)[:, None]  # where a leader is tested, share of its length

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Placement:
    """What `place_labels` found.

    Attributes
    ----------
    positions : int32 array, shape (n, 2)
        Top left corner of each text; meaningless where not visible.
    visible : bool array, shape (n,)
        No two visible rectangles overlap, and none leaves the viewport.
    variant : int array, shape (n,)
        Which of its texts each label shows.
    leaders : float64 array, shape (n, 4)
        Line from the text (x, y) to what it names (x, y); NaN where none is needed.
    """

    positions: NDArray[np.int32]
    visible: NDArray[np.bool_]
    variant: NDArray[np.intp]
    leaders: NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """What labels have to respect besides each other.

    Attributes
    ----------
    cover : Cover
        Where on the screen things are seen.
    own : int array, shape (n,)
        Row in `cover` of the thing that each label names, or -1.
    upon : bool array, shape (n,)
        Labels that stand upon what they name, or nowhere.
    outline : dict of int to float64 array, shape (8, 2)
        Of a label that is a frame's title: corners of the frame on the screen, pixels.
    inner : dict of int to bool array, shape (things,)
        Of a title: the things inside its frame.
    ink : Ink, optional
        Where edges are drawn: a text stands elsewhere if it can stay as near to what it names.
    """

    cover: Cover
    own: NDArray[np.intp]
    upon: NDArray[np.bool_]
    outline: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    inner: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    ink: Ink | None = None


def place_labels(
    anchors_px: ArrayLike,
    sizes_px: Sequence[ArrayLike] | NDArray[np.generic],
    priorities: ArrayLike,
    viewport: tuple[int, int],
    below: ArrayLike | None = None,
    around: Surroundings | None = None,
) -> Placement:
    """Place labels greedily, the most important first.

    Each label is tried above its anchor, a little aside, one line higher, beside it and below it
    (or below first, where `below` says so), then farther away with a leader; the first place that
    is inside the viewport, free, and not on something else's picture is taken. Titles stand on the
    upper edge of their frame, as seen. A label that finds no place is tried with its next, shorter
    text; one that finds none with any text is dropped, and so is one whose thing is hidden. The
    greedy order on an occupancy grid is the usual one for interactive maps (Christensen, Marks and
    Shieber 1995 compare it with slower methods).

    Parameters
    ----------
    anchors_px : array_like, shape (n, 2)
        Pixels from the top left. A row that is not finite (behind the viewer) is dropped, and so
        is one outside the viewport.
    sizes_px : array_like, shape (n, 2) or a sequence of n arrays of shape (variants, 2)
        Width and height of each text, or of each of its variants, the longest first.
    priorities : array_like, shape (n,)
        Higher is placed first; of equals, the first in the list.
    viewport : (int, int)
        Width and height.
    below : array_like of bool, shape (n,), optional
        Labels that hang under their anchor by preference.
    around : Surroundings, optional

    Returns
    -------
    Placement
    """
    anchors = np.asarray(anchors_px, float).reshape(-1, 2)
    sizes = [np.ceil(np.asarray(s, float).reshape(-1, 2)).astype(int).tolist() for s in sizes_px]
    count = len(anchors)
    hang = np.zeros(count, bool) if below is None else np.asarray(below, bool)
    found = Placement(
        np.zeros((count, 2), np.int32), np.zeros(count, bool), np.zeros(count, np.intp),
        np.full((count, 4), np.nan),
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        inside = ((anchors >= 0) & (anchors <= viewport)).all(axis=1)
    table = _Table(viewport, around)
    order = np.argsort(-np.asarray(priorities, float), kind="stable")
    for i in order[np.take(inside, order)].tolist():
        x, y = anchors[i].tolist()
        place = table.place(i, (x, y), sizes[i], bool(hang[i]))
        if place is None:
            continue
        rectangle, found.variant[i], goal = place
        found.positions[i], found.visible[i] = rectangle[:2], True
        if goal is not None:
            found.leaders[i] = (*_nearest(rectangle, goal), *goal)
    return found


Place = tuple[Rectangle, int, tuple[float, float] | None]


class _Table:
    """The screen while it fills with texts."""

    def __init__(self, viewport: tuple[int, int], around: Surroundings | None) -> None:
        self._width, self._height = viewport
        # One number for each row of cells, one bit for each cell: texts are small, and testing a
        # few bits is several times as quick as looking at a part of an array.
        self._taken = [0] * (-(-viewport[1] // CELL) + 1)
        self._around = around
        self._searches = _MOST_FAR
        self._grid = None if around is None else around.cover.grid

    def place(
        self, i: int, anchor: tuple[float, float], sizes: list[list[int]], below: bool
    ) -> Place | None:
        """The place of a label, which is then taken."""
        around = self._around
        own = -1 if around is None else int(around.own[i])
        if around is not None and i in around.outline:
            return self._place_title(i, sizes)
        if around is None or own < 0:
            return self._place_near(own, anchor, sizes, below)
        if around.cover.seen(own) < _LEAST_SEEN:
            return None
        if around.upon[i]:
            return self._place_upon(own, around.cover.center(own), sizes)
        if self._owner(*anchor) not in (own, -1):
            # Something stands before the anchor: take what is seen of the thing.
            anchor = around.cover.center(own)
        place = self._place_near(own, anchor, sizes, below)
        if place is None and self._searches:
            place = self._place_far(own, around.cover, sizes, below)
            self._searches -= place is None
        return place

    def _place_near(
        self, own: int, anchor: tuple[float, float], sizes: list[list[int]], below: bool
    ) -> Place | None:
        inked: Place | None = None
        # On a crowded screen the less important are not looked a place for at length.
        most = None if self._searches else _FEW_SPOTS
        for variant, (w, h) in enumerate(sizes):
            corners = spots.near(*anchor, w, h, below)[:most]
            for r in self._clear(corners, (w, h), own, _MOST_FOREIGN):
                if not self._free(r):
                    continue
                far = _distance(r, anchor) > _LEADER_LINES * h
                far = far and (own < 0 or self._share(r, own) < 0.2)
                if inked is not None and far:
                    continue  # better across a line than away from what it names
                place = r, variant, anchor if far else None
                if self._is_plain(r):
                    self._take(r)
                    return place
                inked = inked or place
            if inked is not None:
                self._take(inked[0])
                break
        return inked

    def _place_far(
        self, own: int, cover: Cover, sizes: list[list[int]], below: bool
    ) -> Place | None:
        bounds, seen = cover.bounds(own), cover.center(own)
        for variant, (w, h) in enumerate(sizes):
            for r in self._clear(spots.far(bounds, w, h, below), (w, h), own, _MOST_FOREIGN / 2):
                goal = self._leader_end(r, seen, own) if self._free(r) else None
                if goal is not None:
                    # Whoever reads it looks straight up or down from the text.
                    shared = min(r[2], bounds[2]) - max(r[0], bounds[0])
                    plain = shared >= 0.4 * min(w, bounds[2] - bounds[0])
                    plain = plain and _distance(r, goal) <= _LEADER_LINES * h
                    return self._take(r), variant, None if plain else goal
        return None

    def _clear(
        self, corners: list[tuple[int, int]], size: tuple[int, int], own: int, most: float
    ) -> Iterator[Rectangle]:
        """Of the places for a text, those that no other thing covers by more than a share."""
        w, h = size
        if self._around is None:
            yield from ((x, y, x + w, y + h) for x, y in corners)
            return
        cover = self._around.cover
        own_left, own_top, own_right, own_bottom = (
            cover.bounds(own) if own >= 0 else (0.0, 0.0, 0.0, 0.0)
        )
        for x, y in corners:
            if x < 0 or y < 0 or x + w > self._width or y + h > self._height:
                continue
            left, top = x // CELL, y // CELL
            right, bottom = -(-(x + w) // CELL), -(-(y + h) // CELL)
            room = most * (right - left) * (bottom - top)
            covered = cover.covered(left, top, right, bottom)
            if covered > room:
                # At most what it shares with the thing's own rectangle is the thing's own.
                across = min(x + w, own_right) - max(x, own_left) + 2 * CELL
                down = min(y + h, own_bottom) - max(y, own_top) + 2 * CELL
                if across <= 0 or down <= 0 or covered - across * down / CELL**2 > room:
                    continue
                part = cover.grid[top:bottom, left:right]
                if covered - np.count_nonzero(part == own) > room:
                    continue
            yield (x, y, x + w, y + h)

    def _place_upon(
        self, own: int, seen: tuple[float, float], sizes: list[list[int]]
    ) -> Place | None:
        """In the middle of what is seen of its own thing; nothing if it is too small for that."""
        w, h = sizes[0]
        x, y = round(seen[0] - w / 2), round(seen[1] - h / 2)
        rectangle = (x, y, x + w, y + h)
        # The rim of a text is a soft shadow: it may reach over the edge and under the next text.
        core = (x + w // 4, y + h // 4, x + w - w // 4, y + h - h // 4)
        body = (x + w // 6, y + h // 6, x + w - w // 6, y + h - h // 6)
        if not self._free(rectangle, body) or self._share(core, own) < _LEAST_ON_OWN:
            return None
        self._take(body)
        return rectangle, 0, None

    def _place_title(self, i: int, sizes: list[list[int]]) -> Place | None:
        """On the upper edge of the frame, or under it inside; shortened to the frame's width."""
        assert self._around is not None
        corners = self._around.outline[i]
        left, right = float(corners[:, 0].min()), float(corners[:, 0].max())
        left, right = max(left, 0.0), min(right, float(self._width))
        fitting = [k for k, (w, _) in enumerate(sizes) if w <= 1.1 * (right - left)]
        variants = fitting or [len(sizes) - 1]
        inner = self._around.inner.get(i)
        edge = spots.TopEdge(corners)
        places = []
        for variant in variants[:2]:
            w, h = sizes[variant]
            spot = edge.spots((left, right), (w, h), self._width)
            rectangles = [(k, (x, y, x + w, y + h)) for k, (x, y) in enumerate(spot)]
            inside = spots.AT_EDGE * len(spot)
            places.append((variant, inside, [f for f in rectangles if self._free(f[1])]))
        for allowed in (None, inner):
            for variant, inside, open_ in places:
                free = [f for f in open_ if self._on_things(f[1], allowed)]
                if free:
                    # Beyond a line it would seem to name what is on the other side.
                    near = [r for k, r in free if k < inside]
                    plain = next((r for r in near if self._is_plain(r)), free[0][1])
                    goal = edge.tick(plain[0] + 1.0)
                    return self._take(plain), variant, goal
            if inner is None:
                break
        return None

    def _is_plain(self, rectangle: Rectangle) -> bool:
        """Whether hardly an edge runs under a text."""
        ink = None if self._around is None else self._around.ink
        return ink is None or ink.share(rectangle) <= _MOST_INK

    def _on_things(self, rectangle: Rectangle, allowed: NDArray[np.bool_] | None) -> bool:
        """Whether a title may lie here: on nothing, or on things of its own frame."""
        assert self._around is not None
        left, top, right, bottom = _cells(rectangle)
        most = _MOST_FOREIGN / 2 * (right - left) * (bottom - top)
        if self._around.cover.covered(left, top, right, bottom) <= most:
            return True
        if allowed is None:
            return False
        part = self._around.cover.grid[top:bottom, left:right]
        things = part[part >= 0]
        return int(np.count_nonzero(~allowed[things])) <= most

    def _free(self, r: Rectangle, body: Rectangle | None = None) -> bool:
        """Whether a text is inside the viewport, and no other text on it (or on its body)."""
        if r[0] < 0 or r[1] < 0 or r[2] > self._width or r[3] > self._height:
            return False
        left, top, right, bottom = _cells(body or r)
        mask = ((1 << (right - left)) - 1) << left
        return not any(row & mask for row in self._taken[top:bottom])

    def _take(self, rectangle: Rectangle) -> Rectangle:
        left, top, right, bottom = _cells(rectangle)
        mask = ((1 << (right - left)) - 1) << left
        for row in range(top, min(bottom, len(self._taken))):
            self._taken[row] |= mask
        return rectangle

    def _share(self, rectangle: Rectangle, own: int) -> float:
        assert self._grid is not None
        left, top, right, bottom = _cells(rectangle)
        part = self._grid[top:bottom, left:right]
        return float(np.count_nonzero(part == own) / part.size)

    def _owner(self, x: float, y: float) -> int:
        assert self._grid is not None
        rows, columns = self._grid.shape
        return int(self._grid[min(int(y) // CELL, rows - 1), min(int(x) // CELL, columns - 1)])

    def _leader_end(
        self, rectangle: Rectangle, goal: tuple[float, float], own: int
    ) -> tuple[float, float] | None:
        """Where a leader to a goal meets the thing; none if something else is in its way."""
        assert self._grid is not None
        start = np.array(_nearest(rectangle, goal))
        way = start + _PROBES * (np.array(goal) - start)
        rows = np.clip((way[:, 1] // CELL).astype(int), 0, self._grid.shape[0] - 1)
        columns = np.clip((way[:, 0] // CELL).astype(int), 0, self._grid.shape[1] - 1)
        met = self._grid[rows, columns]
        arrived = np.flatnonzero(met == own)
        end = int(arrived[0]) if len(arrived) else len(met) - 1
        if (met[:end] >= 0).any():
            return None
        cells = zip(rows[:end].tolist(), columns[:end].tolist(), strict=True)
        if any(self._taken[row] >> column & 1 for row, column in cells):
            return None
        x, y = way[min(end + 2, len(met) - 1)].tolist()  # a little into it, so that it is seen
        return x, y


def _cells(r: Rectangle) -> Rectangle:
    """First column and row of the cells of a rectangle, and last + 1."""
    left, top = max(r[0] // CELL, 0), max(r[1] // CELL, 0)
    return left, top, max(-(-r[2] // CELL), left), max(-(-r[3] // CELL), top)


def _nearest(
    r: tuple[float, float, float, float], point: tuple[float, float]
) -> tuple[float, float]:
    """The point of a rectangle nearest to another point."""
    return min(max(point[0], r[0]), r[2]), min(max(point[1], r[1]), r[3])


def _distance(r: Rectangle, point: tuple[float, float]) -> float:
    x, y = _nearest(r, point)
    return max(abs(x - point[0]), abs(y - point[1]))
