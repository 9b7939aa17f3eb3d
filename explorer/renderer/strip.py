"""The legend as a strip along the lower edge of the picture, drawn with Pillow.

The colour scale stands at the left, the kinds of layers in the middle, statements at the right.
The scene ends above the strip, so the legend never hides a part of the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from explorer.drawing.draw_list import BoxScale, DrawList, Legend
from explorer.renderer.scale_strip import (
    HISTOGRAM_ROWS,
    RAMP_EM,
    RAMP_ROWS,
    ScaleArea,
    draw_histogram,
    draw_scale,
)
from explorer.renderer.sprites import SpriteSheet
from explorer.renderer.text import INKS, Ink, Rgb, Sprite, font, shortened, text_width

_FACE_PX = 13  # in a picture 900 pixels high
_USUAL_PX = 80  # height of the strip there
_SMALLEST_PX = 8  # of a face that can still be read
_MOST = 0.25  # of the picture's height
_STEP = 1.36  # from line to line, in faces
_MOST_CHIP_ROWS = 5
_NARROWEST_EM = 16  # no strip in a picture narrower than this


class LegendStrip:
    """The strip in a picture: how high it is, and its sprite.

    Parameters
    ----------
    shown : bool
        Whether there is one at all.
    grows : bool
        Whether it grows with its text. If not, its height follows from the picture's size alone,
        even when there is nothing to say: in a film the scene stays as large as it is.
    """

    def __init__(self, shown: bool, grows: bool) -> None:
        self.sheet = SpriteSheet()
        self.height = 0
        #: Whether the colour scale shows a histogram of the magnitudes.
        self.histogram = False
        #: Where the colour scale lies in the picture, if there is one.
        self.area: ScaleArea | None = None
        self._on, self._grows = shown, grows
        self._key: object = None
        self._room: object = None
        self._highest = 0

    def load(self, draw_list: DrawList, size: tuple[int, int], scale: float, ground: Rgb) -> None:
        """Take the legend of a draw list.

        Parameters
        ----------
        draw_list : DrawList
        size : (int, int)
            Width that the strip may use and height of the whole picture, pixels.
        scale : float
            Size of text, 1 in a picture 900 pixels high.
        ground : (int, int, int)
            Colour of the strip.
        """
        if not self._on:
            return
        legend = draw_list.legend
        key = (size, scale, draw_list.theme, legend.title, legend.ramp.tobytes(), legend.ticks,
               legend.kinds, legend.lines, _key_of_boxes(legend.boxes),
               self.histogram and _key_of(legend))  # fmt: skip
        if key == self._key:
            return
        self._key = key
        usual = usual_height(size[1], scale)
        if size[0] < _NARROWEST_EM * _FACE_PX * scale:
            usual = 0
        if self._room != (size, scale, self.histogram):
            self._room, self._highest = (size, scale, self.histogram), usual
        # It does not shrink again when a statement goes: the scene would jump for nothing.
        most = round(_MOST * size[1]) if self._grows else usual
        room = (min(self._highest, most), most) if usual else (0, 0)
        look = (INKS[draw_list.theme], ground)
        shown = legend if self.histogram else replace(legend, bar=None)
        sprite, self.area = None, None
        if usual:
            sprite, self.area = strip_sprite(shown, size[0], room, scale, look)
        if sprite is None and usual and not self._grows:
            sprite = np.full((usual, size[0], 4), (*ground, 255), np.uint8)
        self.height = 0 if sprite is None else sprite.shape[0]
        self._highest = max(self._highest, self.height)
        self.sheet.load([] if sprite is None else [sprite])
        if sprite is not None:
            place = np.array([[0, size[1] - self.height]], np.int32)
            self.sheet.show(np.zeros(1, np.intp), place, size[1])
        if self.area is not None:
            self.area = self.area.moved(size[1] - self.height)


def _key_of(legend: Legend) -> object:
    """What the histogram of a legend shows, for comparing; `ramp` and `ticks` tell its scale."""
    bar = legend.bar
    return bar and (bar.low, bar.high, bar.counts.tobytes(), bar.bounds.tobytes())


def _key_of_boxes(scale: BoxScale | None) -> object:
    """What the colour scale of boxes shows, for comparing; the theme tells its colours."""
    return scale and (scale.title, scale.ticks)


@dataclass(frozen=True)
class _Plan:
    """What stands where, pixels from the top left of the strip."""

    px: int
    ramp: int  # width of the colour scale, 0 without one
    boxes: int  # width of that of the boxes
    chips: list[list[tuple[int, str, Rgb]]]
    chips_left: int
    lines: list[str]
    lines_left: int
    height: int


def usual_height(height: int, scale: float) -> int:
    """Height of the strip in a picture of this height, pixels; 0 where there is no room for it."""
    usual = round(_USUAL_PX * scale)
    return usual if usual <= _MOST * height else 0


def strip_sprite(
    legend: Legend, width: int, room: tuple[int, int], scale: float, look: tuple[Ink, Rgb]
) -> tuple[Sprite | None, ScaleArea | None]:
    """The legend as a picture of a given width.

    The face becomes smaller before anything is left out; what does not fit with the smallest face
    is cut off at the last line.

    Parameters
    ----------
    legend : Legend
        Its bar, if there is one, is drawn in place of its ramp.
    width : int
        Pixels.
    room : (int, int)
        Height that the strip has at least, and at most, pixels.
    scale : float
        Size of text, 1 in a picture 900 pixels high.
    look : (Ink, (int, int, int))
        Colours of text, and of the ground.

    Returns
    -------
    Sprite or None
        Opaque; ``None`` when there is nothing to say.
    ScaleArea or None
        Where the colour scale lies in it.
    """
    if not (legend.title or len(legend.ramp) or legend.kinds or legend.lines):
        return None, None
    px = round(_FACE_PX * scale)
    plan = _plan(legend, width, px)
    while plan.height > room[1] and px > _SMALLEST_PX:
        px -= 1
        plan = _plan(legend, width, px)
    return _drawn(legend, plan, (width, min(max(plan.height, room[0]), room[1])), look)


def _plan(legend: Legend, width: int, px: int) -> _Plan:
    """The lowest strip of this width; of equals, the one with the fewest rows of kinds."""
    gap = round(px * 2.2)
    pad = round(px * 1.1)
    ramp = min(round(px * RAMP_EM), width // 3) if len(legend.ramp) else 0
    ramp_boxes = min(round(px * RAMP_EM), width // 3) if legend.boxes is not None else 0
    heading = round(text_width(legend.title, px, True))
    left = pad + max(ramp, heading)
    left += gap if left > pad else 0
    step = px * _STEP
    head = _head(legend, px)
    best: _Plan | None = None
    for rows in range(1, _MOST_CHIP_ROWS + 1):
        chips, used = _chips(legend, px, rows)
        if legend.boxes is not None:
            used = max(ramp_boxes, round(text_width(_box_title(legend.boxes), px, True)))
        lines_left = left + used + (gap if used else 0)
        lines = [p for line in legend.lines for p in _wrapped(line, px, width - pad - lines_left)]
        widest = max((text_width(p, px) for p in lines), default=0.0)
        spare = max(width - pad - round(widest) - lines_left, 0)
        # The statements end at the right edge, the kinds stand in the middle of what is left.
        lines_left, chips_left = lines_left + spare, left + spare // 2
        most = max(head, step * len(chips), step * len(lines))
        height = round(most + px * 1.1)
        plan = _Plan(px, ramp, ramp_boxes, chips, chips_left, lines, lines_left, height)
        if best is None or plan.height < best.height:
            best = plan
        if len(chips) < rows:
            break
    assert best is not None
    return best


def _head(legend: Legend, px: int) -> float:
    """Height of the colour scale under its heading, pixels."""
    ramp = RAMP_ROWS + (HISTOGRAM_ROWS if legend.bar else 0) if len(legend.ramp) else 0
    own = (_STEP if legend.title else 0) + ramp
    return px * max(own, _STEP + RAMP_ROWS if legend.boxes is not None else 0)


def _chips(legend: Legend, px: int, rows: int) -> tuple[list[list[tuple[int, str, Rgb]]], int]:
    """Kinds in columns, in so many rows: (x, name, colour) in each row, and the width."""
    names = [(shortened(name, 24), color) for name, color in legend.kinds]
    out: list[list[tuple[int, str, Rgb]]] = [[] for _ in range(min(rows, len(names)))]
    x = 0
    for first in range(0, len(names), rows):
        column = names[first : first + rows]
        for row, (name, color) in zip(out, column, strict=False):
            row.append((x, name, color))
        x += round(px * 2.2 + max(text_width(name, px) for name, _ in column))
    return out, max(x - px, 0)


def _wrapped(line: str, px: int, room: float) -> list[str]:
    """A statement in lines no wider than `room` pixels; a number and its groups stay together."""
    words = re.sub(r"(?<=\d) (?=[\d%])", "\u00a0", shortened(line)).split(" ")
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if text_width(longer, px) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _drawn(
    legend: Legend, plan: _Plan, size: tuple[int, int], look: tuple[Ink, Rgb]
) -> tuple[Sprite, ScaleArea | None]:
    ink, ground = look
    px, height = plan.px, size[1]
    step, pad = px * _STEP, round(px * 1.1)
    picture = Image.new("RGBA", (max(size[0], 1), max(height, 1)), (*ground, 255))
    draw = ImageDraw.Draw(picture)
    draw.line((0, 0, size[0], 0), ink.rim, max(1, px // 13))

    def top(rows: float) -> float:
        return max((height - rows) / 2, px * 0.3)

    face = font(px)
    y = top(_head(legend, px))
    if legend.title:
        draw.text((pad, y + px), legend.title, (*ink.title, 255), font(px, True), anchor="ls")
        y += step
    area: ScaleArea | None = None
    if plan.ramp and legend.bar is not None:
        at = (pad, round(y + px * 0.3), plan.ramp)
        area = draw_histogram(picture, legend.bar, at, px, look)
    elif plan.ramp:
        area = draw_scale(picture, legend, (pad, round(y), plan.ramp), px, ink)
    if legend.boxes is not None:
        _draw_boxes(picture, legend.boxes, plan, ink)
    y = top(step * len(plan.chips))
    for row in plan.chips:
        for x, name, color in row:
            x += plan.chips_left
            box = (x, y + px * 0.2, x + px * 0.8, y + px)
            draw.rounded_rectangle(box, px // 5, (*color, 255))
            draw.text((x + px * 1.15, y + px * 0.96), name, (*ink.text, 255), face, anchor="ls")
        y += step
    y = top(step * len(plan.lines))
    for line in plan.lines:
        draw.text((plan.lines_left, y + px), line, (*ink.dim, 255), face, anchor="ls")
        y += step
    return np.asarray(picture), area


def _draw_boxes(picture: Image.Image, scale: BoxScale, plan: _Plan, ink: Ink) -> None:
    """The colour scale of the boxes, where the kinds of layers stand else."""
    px = plan.px
    y = max((picture.height - px * (_STEP + RAMP_ROWS)) / 2, px * 0.3)
    place = (plan.chips_left, y + px)
    ImageDraw.Draw(picture).text(
        place, _box_title(scale), (*ink.title, 255), font(px, True), anchor="ls"
    )
    legend = Legend("", scale.ramp, scale.ticks, (), ())
    draw_scale(picture, legend, (plan.chips_left, round(y + px * _STEP), plan.boxes), px, ink)


def _box_title(scale: BoxScale) -> str:
    return f"box: {scale.title}"
