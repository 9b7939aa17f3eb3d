"""Labels: which are shown where, for the present camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkRenderingCore import vtkActor2D

from explorer.drawing.draw_list import BoxArrays, DrawList, Label
from explorer.drawing.label_placement import Placement, Surroundings, place_labels
from explorer.drawing.screen_cover import Cover, Ink
from explorer.renderer.geometry import box_corners
from explorer.renderer.leaders import Leaders
from explorer.renderer.projection import Projection
from explorer.renderer.sprites import SpriteSheet
from explorer.renderer.text import INKS, Sprite, shortened, text_sprite

LABEL_PX = 15
TITLE_PX = (18, 16, 15)  # of an outermost frame, of one inside, of all farther inside
MOST_LABELS = 500  # more would not fit on a screen, and a texture has its limits
_MOST_LINES = 300  # edges that texts keep clear of
_SHORTER = {False: (14,), True: (22, 14)}  # characters of the texts tried when one does not fit


def text_scale(height: int) -> float:
    """Size of text in a picture of this height, 1 at 900 pixels."""
    return min(max(height / 900, 0.8), 6.0)


@dataclass(frozen=True)
class PlacedLabel:
    """A label that is in the picture.

    Attributes
    ----------
    label : Label
    left, top, right, bottom : int
        Pixels from the top left of the picture.
    """

    label: Label
    left: int
    top: int
    right: int
    bottom: int


class LabelLayer:
    """All text that belongs to the scene, in one sheet of sprites, and the leaders."""

    def __init__(self) -> None:
        self.sheet = SpriteSheet()
        self._leaders = Leaders()
        self._labels: tuple[Label, ...] = ()
        self._first = np.zeros(1, np.intp)
        self._key: object = None
        self._source: DrawList | None = None
        self._placed: Placement | None = None

    @property
    def actors(self) -> list[vtkActor2D]:
        """All actors, in the order in which they are drawn."""
        return [self._leaders.actor, self.sheet.actor]

    @property
    def is_placed(self) -> bool:
        """Whether the labels of the present draw list have places."""
        return self._placed is not None

    def load(self, draw_list: DrawList, height: int) -> None:
        """Take the labels of a draw list for a picture of this height in pixels."""
        scale = text_scale(height)
        self._scale, self._ink = scale, INKS[draw_list.theme]
        if draw_list is not self._source:
            before, self._source = self._source, draw_list
            if before is None or not _same_places(before, draw_list):
                self._take(draw_list)
        key = (
            [(la.text, la.title, la.faded, la.level) for la in self._labels],
            draw_list.theme,
            scale,
        )
        if self._key == key:
            return
        self._key = key
        sprites = [self._texts(label) for label in self._labels]
        self._first = np.cumsum([0, *(len(texts) for texts in sprites)])
        self.sheet.load([text for texts in sprites for text in texts])

    def _take(self, draw_list: DrawList) -> None:
        """What does not depend on the camera: anchors, and what each label names."""
        labels = draw_list.labels
        if len(labels) > MOST_LABELS:
            labels = tuple(sorted(labels, key=lambda la: -la.priority)[:MOST_LABELS])
        self._labels, self._placed = labels, None
        self._anchors = np.array([la.anchor for la in labels], float).reshape(-1, 3)
        self._priorities = np.array([la.priority for la in labels], float)
        self._below = np.array([la.below for la in labels], bool)
        self._faded = np.array([la.faded for la in labels], bool)
        node = np.array([la.node for la in labels], np.intp)
        title = np.array([la.title for la in labels], bool)
        self._own = np.where(title, -1, _rows(draw_list.solids, node))
        # A node may be drawn as several solids, one for each of its operations.
        self._owner = _rows(draw_list.solids, draw_list.solids.node)
        self._upon = ~title & ~self._below & (self._own >= 0)
        frames = np.where(title, _rows(draw_list.frames, node), -1)
        self._titles = {i: int(frames[i]) for i in np.flatnonzero(frames >= 0).tolist()}
        self._lines = _some_lines(draw_list)
        middles, boxes = draw_list.solids.centers, draw_list.frames
        self._inner = {
            i: (np.abs(middles - boxes.centers[f]) <= boxes.sizes[f] / 2).all(axis=1)
            for i, f in self._titles.items()
        }

    def _texts(self, label: Label) -> list[Sprite]:
        """The label's text, and shorter ones for where there is no room for it."""
        ink = self._ink
        size = TITLE_PX[min(label.level, len(TITLE_PX) - 1)] if label.title else LABEL_PX
        px = round(size * self._scale)
        color = ink.title if label.title and not label.level else ink.text
        if label.faded:
            color = ink.faded
        texts = [label.text]
        texts += [shortened(label.text, n) for n in _SHORTER[label.title] if n < len(label.text)]
        return [text_sprite(text, px, color, ink.halo, label.title) for text in texts]

    def place(self, projection: Projection, draw_list: DrawList, free: int) -> None:
        """Put the labels next to what they name, as seen by this camera.

        Parameters
        ----------
        projection : Projection
        draw_list : DrawList
        free : int
            Width from the left edge that text may use, pixels.
        """
        viewport = free, projection.size[1]
        first, count = self._first, len(self._labels)
        placed = place_labels(
            projection.pixels(projection.view(self._anchors)),
            [self.sheet.sizes[first[i] : first[i + 1]] for i in range(count)],
            self._priorities,
            viewport,
            self._below,
            self._surroundings(projection, draw_list, viewport),
        )
        self._placed = placed
        which = np.flatnonzero(placed.visible)
        self.sheet.show(first[which] + placed.variant[which], placed.positions[which], viewport[1])
        lines = placed.leaders[np.isfinite(placed.leaders).all(axis=1) & ~self._faded]
        self._leaders.show(lines, viewport[1], self._ink.text, max(1.0, self._scale))

    def _surroundings(
        self, projection: Projection, draw_list: DrawList, viewport: tuple[int, int]
    ) -> Surroundings:
        solids, frames = draw_list.solids, draw_list.frames
        cover = Cover(
            projection.pixels(projection.view(box_corners(solids.centers, solids.sizes))),
            projection.view(solids.centers)[:, 2],
            viewport,
            self._owner,
        )
        corners = projection.pixels(projection.view(box_corners(frames.centers, frames.sizes)))
        outline = {i: corners[f] for i, f in self._titles.items() if np.isfinite(corners[f]).all()}
        lines = projection.view(self._lines.reshape(-1, 3))
        ink = Ink(projection.pixels(lines).reshape(*self._lines.shape[:2], 2), viewport)
        return Surroundings(cover, self._own, self._upon, outline, self._inner, ink)

    def placed(self) -> list[PlacedLabel]:
        """The labels in the picture as last drawn, the least important first."""
        found = self._placed
        if found is None:
            return []
        rows = np.flatnonzero(found.visible)
        rows = rows[np.argsort(self._priorities[rows], kind="stable")]
        out = []
        for i in rows.tolist():
            (x, y) = found.positions[i].tolist()
            w, h = self.sheet.sizes[self._first[i] + found.variant[i]].tolist()
            out.append(PlacedLabel(self._labels[i], x, y, x + w, y + h))
        return out


def _some_lines(draw_list: DrawList) -> NDArray[np.float32]:
    """Curves of edges that stand for all: one in so many, as strands lie close together."""
    points = draw_list.edges.points
    if not len(points):
        return np.zeros((0, 2, 3), np.float32)
    return points[:: -(-len(points) // _MOST_LINES)]


def _same_places(a: DrawList, b: DrawList) -> bool:
    """Whether two draw lists, one made from the other, differ in nothing that labels look at."""
    return (
        a.labels is b.labels
        and a.solids is b.solids
        and a.frames is b.frames
        and a.edges.points is b.edges.points
    )


def _rows(boxes: BoxArrays, nodes: NDArray[np.integer]) -> NDArray[np.intp]:
    """The first row of each node among boxes, -1 for none."""
    if len(boxes.node) == 0:
        return np.full(len(nodes), -1)
    order = np.argsort(boxes.node, kind="stable")
    at = np.minimum(np.searchsorted(boxes.node, nodes, sorter=order), len(order) - 1)
    return np.where((boxes.node[order[at]] == nodes) & (nodes >= 0), order[at], -1)
