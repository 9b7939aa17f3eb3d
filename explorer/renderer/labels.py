"""Labels and the legend: which are shown where, for the present camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.draw_list import BoxArrays, DrawList, Label
from explorer.label_placement import place_labels
from explorer.renderer.geometry import box_corners
from explorer.renderer.projection import Projection
from explorer.renderer.sprites import SpriteSheet
from explorer.renderer.text import INKS, Sprite, legend_sprite, text_sprite

LABEL_PX = 15
TITLE_PX = 18
LEGEND_PX = 14
MARGIN_PX = 14
MOST_LABELS = 500  # more would not fit on a screen, and a texture has its limits


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
    """All text that belongs to the scene, in one sheet of sprites.

    Parameters
    ----------
    legend : bool
        Whether the legend is drawn into the picture.
    """

    def __init__(self, legend: bool) -> None:
        self.sheet = SpriteSheet()
        self._legend = legend
        self._has_legend = False
        self._labels: tuple[Label, ...] = ()
        self._anchors = np.zeros((0, 3))
        self._key: object = None
        self._corner: int | None = None
        self._corner_holds = False
        self._size: tuple[int, int] | None = None
        self._placed: tuple[NDArray[np.int32], NDArray[np.bool_]] | None = None

    def load(self, draw_list: DrawList, height: int) -> None:
        """Take the labels of a draw list for a picture of this height in pixels."""
        scale = text_scale(height)
        legend = draw_list.legend if self._legend else None
        labels = draw_list.labels
        if len(labels) > MOST_LABELS:
            labels = tuple(sorted(labels, key=lambda la: -la.priority)[:MOST_LABELS])
        key = ([(la.text, la.title) for la in labels], draw_list.theme, scale)
        key_legend = None if legend is None else (
            legend.title, legend.ramp.tobytes(), legend.ticks, legend.kinds, legend.lines
        )  # fmt: skip
        self._labels = labels
        self._anchors = np.array([la.anchor for la in self._labels], float).reshape(-1, 3)
        self._priorities = np.array([la.priority for la in self._labels], float)
        self._below = np.array([la.below for la in self._labels], bool)
        if self._key == (key, key_legend):
            return
        self._key = (key, key_legend)
        sprites = [self._text(la, draw_list.theme, scale) for la in self._labels]
        self._corner_holds = False
        panel = None
        if legend is not None:
            panel = legend_sprite(legend, round(LEGEND_PX * scale), INKS[draw_list.theme])
        self._has_legend = panel is not None
        self.sheet.load(sprites if panel is None else [*sprites, panel])

    @staticmethod
    def _text(label: Label, theme: str, scale: float) -> Sprite:
        ink = INKS[theme]
        px = round((TITLE_PX if label.title else LABEL_PX) * scale)
        return text_sprite(
            label.text, px, ink.title if label.title else ink.text, ink.halo, label.title
        )

    def place(self, projection: Projection, draw_list: DrawList, free: int) -> None:
        """Put the labels next to what they name, as seen by this camera.

        The legend goes into the corner where it covers the least of the scene. It moves there only
        when its text or the room for it has changed, or at `choose_corner`: not while the camera
        moves.

        Parameters
        ----------
        projection : Projection
        draw_list : DrawList
        free : int
            Width from the left edge that text may use, pixels.
        """
        width, height = free, projection.size[1]
        count = len(self._labels)
        if self._size != (width, height):
            self._size, self._corner_holds = (width, height), False
        corner = self._legend_place(projection, draw_list, free)
        positions, visible = place_labels(
            projection.pixels(projection.view(self._anchors)),
            self.sheet.sizes[:count],
            self._priorities,
            (width, height),
            corner,
            self._below,
        )
        self._placed = positions, visible
        which = np.flatnonzero(visible)
        places = positions[which]
        if corner:
            which = np.append(which, count)
            places = np.vstack([places, np.array([corner[0][:2]], np.int32)])
        self.sheet.show(which, places, height)

    def _legend_place(
        self, projection: Projection, draw_list: DrawList, width: int
    ) -> list[tuple[int, int, int, int]]:
        """Rectangle of the legend; none where it is off or larger than the room."""
        if not self._has_legend:
            return []
        height = projection.size[1]
        w, h = self.sheet.sizes[-1].tolist()
        margin = round(MARGIN_PX * text_scale(height))
        if w + 2 * margin > width or h + 2 * margin > height:
            return []
        left, right, top, low = margin, width - margin - w, margin, height - margin - h
        corners = [(left, low), (right, low), (left, top), (right, top)]
        rectangles = [(x, y, x + w, y + h) for x, y in corners]
        if not self._corner_holds:
            covered = np.array(
                [
                    _covered(r, projection, draw_list.solids)
                    + 0.3 * _covered(r, projection, draw_list.frames)
                    + 0.5 * self._hides_selected(r, projection, draw_list.selected)
                    for r in rectangles
                ]
            )
            best = int((covered + np.array([0, 0.01, 0.02, 0.02])).argmin())
            # Once it has its corner it leaves it only for one that is much better.
            if self._corner is None or covered[self._corner] > covered[best] + 0.2:
                self._corner = best
            self._corner_holds = True
        return [rectangles[self._corner or 0]]

    def _hides_selected(
        self, rectangle: tuple[int, int, int, int], projection: Projection, selected: int
    ) -> bool:
        """Whether a rectangle on the screen lies where the name of the selected node belongs."""
        rows = [i for i, la in enumerate(self._labels) if la.node == selected >= 0]
        at = projection.pixels(projection.view(self._anchors[rows]))
        return bool(((at >= rectangle[:2]) & (at <= rectangle[2:])).all(axis=1).any())

    def choose_corner(self) -> None:
        """Let the legend look for a better corner in the next picture."""
        self._corner_holds = False

    def placed(self) -> list[PlacedLabel]:
        """The labels in the picture as last drawn, the least important first."""
        if self._placed is None:
            return []
        positions, visible = self._placed
        rows = np.flatnonzero(visible)
        rows = rows[np.argsort(self._priorities[rows], kind="stable")]
        out = []
        for i in rows.tolist():
            (x, y), (w, h) = positions[i].tolist(), self.sheet.sizes[i].tolist()
            out.append(PlacedLabel(self._labels[i], x, y, x + w, y + h))
        return out


def _covered(
    rectangle: tuple[int, int, int, int], projection: Projection, boxes: BoxArrays
) -> float:
    """How much of a rectangle on the screen these boxes fill, roughly; 1 is all of it."""
    corners = projection.pixels(projection.view(box_corners(boxes.centers, boxes.sizes)))
    low, high = corners.min(axis=1), corners.max(axis=1)
    overlap = np.minimum(high, rectangle[2:]) - np.maximum(low, rectangle[:2])
    area = (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1])
    return float(np.nansum(np.maximum(overlap, 0).prod(axis=1)) / area)
