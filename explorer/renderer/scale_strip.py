"""The colour scale in the legend's strip: a ramp with numbers, or a histogram with two handles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.drawing.draw_list import Legend, ScaleBar
from explorer.drawing.scale_bar import axis_share
from explorer.renderer.text import Ink, Rgb, font, text_width

RAMP_EM = 19
"""Width of the colour scale, in faces."""
RAMP_ROWS = 2.1
"""Height of the ramp and its numbers, in faces."""
HISTOGRAM_ROWS = 2.9
"""Height that the histogram adds, in faces."""
_HANDLE_EM = 0.62  # width of a handle


@dataclass(frozen=True)
class ScaleArea:
    """Where the colour scale lies in a picture.

    Attributes
    ----------
    left, top, width, height : float
        Pixels from the top left.
    bounds : (float, float) or None
        Magnitudes at the left and the right end of the histogram's axis of equal ratios; ``None``
        while the ramp alone is shown.
    """

    left: float
    top: float
    width: float
    height: float
    bounds: tuple[float, float] | None = None

    def holds(self, x: float, y: float, slack: float = 0.0) -> bool:
        """Whether a pixel lies on it, or so near to it."""
        return (
            self.left - slack <= x <= self.left + self.width + slack
            and self.top - slack <= y <= self.top + self.height + slack
        )

    def place(self, magnitude: float) -> float:
        """The pixel column of a magnitude; what is off the axis stands at its end."""
        assert self.bounds is not None
        return self.left + self.width * axis_share(magnitude, self.bounds)

    def magnitude(self, x: float) -> float:
        """The magnitude at a pixel column; the axis ends at its ends."""
        assert self.bounds is not None
        low, high = self.bounds
        share = min(max((x - self.left) / max(self.width, 1.0), 0.0), 1.0)
        return low if share == 0 else high if share == 1 else low * (high / low) ** share

    def moved(self, down: float) -> ScaleArea:
        """The same, lower by so many pixels."""
        return ScaleArea(self.left, self.top + down, self.width, self.height, self.bounds)


def draw_scale(
    picture: Image.Image, legend: Legend, where: tuple[int, int, int], px: int, ink: Ink
) -> ScaleArea:
    """Draw the ramp of a legend with its numbers.

    Parameters
    ----------
    picture : PIL.Image.Image
    legend : Legend
    where : (int, int, int)
        Left, top and width, pixels.
    px : int
        Size of the face.
    ink : Ink
    """
    (left, top, width), high = where, round(px * 0.8)
    _paste(picture, legend.ramp, (left, top, width, high))
    draw = ImageDraw.Draw(picture)
    taken: list[tuple[float, float]] = []
    for at, text in _by_weight(legend.ticks):
        x = left + round(min(max(at, 0.0), 1.0) * (width - 1))
        size = text_width(text, px)
        draw.line((x, top + high, x, top + high + px // 4), (*ink.text, 255))
        begin = max(min(x - size / 2, left + width - size), left)
        end = begin + size + px * 0.5
        if all(end <= a or begin >= b for a, b in taken):  # no number runs into another
            y = top + high + round(px * 1.2)
            draw.text((begin, y), text, (*ink.text, 255), font(px), anchor="ls")
            taken.append((begin, end))
    return ScaleArea(left, top, width, px * RAMP_ROWS)


def draw_histogram(
    picture: Image.Image, bar: ScaleBar, where: tuple[int, int, int], px: int, look: tuple[Ink, Rgb]
) -> ScaleArea:
    """Draw how many edges have which magnitude, in the colours of the scale, and its two handles.

    Heights are square roots of the numbers of edges: a few strong ones can be seen beside
    thousands of weak ones. Parameters as for `draw_scale`; `look` is ink and colour of the ground.
    """
    left, top, width = where
    ink, ground = look
    high, rise = round(px * 0.8), round(px * (HISTOGRAM_ROWS - 0.3))
    base = top + rise
    draw = ImageDraw.Draw(picture)
    edges = left + np.rint(np.linspace(0, width, len(bar.counts) + 1)).astype(int)
    heights = np.ceil(rise * np.sqrt(bar.counts / max(int(bar.counts.max()), 1))).astype(int)
    middle = (np.arange(len(bar.counts)) + 0.5) / len(bar.counts) * (len(bar.colors) - 1)
    colors = bar.colors[np.rint(middle).astype(int)].tolist()
    for a, b, height, (red, green, blue) in zip(edges, edges[1:], heights, colors, strict=False):
        if height > 0:
            color = (*ink.dim, 255) if len(bar.negative) else (red, green, blue, 255)
            draw.rectangle((int(a), base - int(height), max(int(b) - 1, int(a)), base - 1), color)
    strips = [s for s in (bar.colors, bar.negative) if len(s)]
    for i, strip in enumerate(strips):
        part = high // len(strips)
        _paste(picture, strip, (left, base + i * part, width, part))
    area = ScaleArea(left, top, width, rise + high, (float(bar.bounds[0]), float(bar.bounds[-1])))
    for value in (bar.low, bar.high):
        x, half = area.place(value), px * _HANDLE_EM / 2
        draw.line((x, top - px // 4, x, base + high), (*ink.title, 255), max(1, px // 9))
        thumb = (x - half, base - px * 0.15, x + half, base + high + px * 0.15)
        draw.rounded_rectangle(thumb, px // 4, (*ink.title, 255), (*ground, 255))
    _ends(draw, bar, area, px, ink)
    return area


def _ends(draw: ImageDraw.ImageDraw, bar: ScaleBar, area: ScaleArea, px: int, ink: Ink) -> None:
    """The numbers under the two handles, side by side where those come close."""
    sizes = [text_width(text, px) for text in bar.ends]
    gap = px * 0.6
    low = min(max(area.place(bar.low) - sizes[0] / 2, area.left), area.left + area.width)
    high = min(area.place(bar.high) - sizes[1] / 2, area.left + area.width - sizes[1])
    over = low + sizes[0] + gap - high
    if over > 0:
        back = min(over / 2, low - area.left)
        low -= back
        high += over - back
        out = high + sizes[1] - (area.left + area.width)
        if out > 0:
            low, high = low - out, high - out
    y = area.top + area.height + round(px * 1.25)
    for x, text in zip((low, high), bar.ends, strict=True):
        draw.text((x, y), text, (*ink.text, 255), font(px), anchor="ls")


def _paste(picture: Image.Image, ramp: NDArray[np.uint8], where: tuple[int, int, int, int]) -> None:
    left, top, width, high = where
    columns = np.linspace(0, len(ramp) - 1, width).round().astype(int)
    strip = np.repeat(ramp[columns][None], high, axis=0)
    picture.paste(Image.fromarray(np.ascontiguousarray(strip, np.uint8)), (left, top))


def _by_weight(ticks: tuple[tuple[float, str], ...]) -> list[tuple[float, str]]:
    """Ticks, those first that must not be missing: both ends, then the middle, then the others."""
    last = len(ticks) - 1
    order = sorted(range(len(ticks)), key=lambda i: (0 < i < last, 2 * i != last))
    return [ticks[i] for i in order]
