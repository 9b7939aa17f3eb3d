"""Figures of weights on the window's panel: histograms, heat map or kernels, their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from explorer.drawing.color_scale import ColorScale, number
from explorer.panel.captions import histogram_caption, octaves_caption, reading_text
from explorer.panel.figure import Shown
from explorer.panel.figure_reader import FigureLook
from explorer.panel.figures import histogram, ramp_strip
from explorer.panel.heat import caption
from explorer.panel.paper import Paper
from explorer.panel.text import length
from explorer.panel.viewport import Viewport
from explorer.renderer.text import font

Rect = tuple[int, int, int, int]
_BAR = {"dark": (91, 155, 255), "light": (47, 111, 219)}
_GUESS = 0.55  # opacity of the bars of an estimate
_LEFT, _BELOW = 34, 17  # pixels of the numbers beside a figure, at 900 pixels of height
_HEIGHT = 210
_GROUND = {"dark": (16, 21, 30), "light": (255, 255, 255)}
_APART = (38.0, 24.0)  # pixels from number to number, across and down
_DARK, _LIGHT = (16, 21, 30), (242, 245, 250)  # numbers on light and on dark cells
_LINES = 4  # of what is under the pointer


def figure_room(inner: int, scale: float, height: int) -> tuple[float, float]:
    """Width and height that a figure may take, pixels.

    Parameters
    ----------
    inner : int
        Width of the panel within its margins.
    scale : float
        1 in a picture 900 pixels high.
    height : int
        Of the panel.
    """
    room = min(_HEIGHT * scale, height * 0.28)
    return max(inner - _LEFT * scale, 8.0), max(room, 8.0)


def draw_figure(page: Paper, look: FigureLook) -> Rect | None:
    """The heat map or the kernels, what is under the pointer, and the scale.

    Returns
    -------
    (left, top, width, height) or None
        Where the cells are, pixels of the panel; ``None`` where there was no room.
    """
    scale, view = page.scale, look.viewport
    width, height = (round(n) for n in view.size)
    if page.room < height + (_BELOW + 40) * scale + 6 * page.step or height < 4:
        return None
    if look.shown is None:
        page.text(page.pad, look.error or "reading …", page.ink.dim)
        page.y += page.step
        return None
    left, top = page.pad + round(_LEFT * scale), page.y
    ground = _GROUND[page.theme]
    picture = _cells(look.shown, view, (width, height), ground)
    _lines(picture, look, ground)
    _numbers(picture, look, round(10 * scale))
    page.picture.paste(picture, (left, top))
    page.draw.rectangle((left - 1, top - 1, left + width, top + height), outline=page.ink.rim)
    _ticks(page, look, (left, top, width, height))
    page.y = top + height + round(_BELOW * scale)
    _told(page, look)
    heat = look.shown.heat
    if heat.scale is not None:
        strip = ramp_strip(heat.scale.ramp, (page.inner, max(round(5 * scale), 2)))
        page.picture.paste(strip, (page.pad, page.y))
        page.y += strip.height
        _scale_numbers(page, heat.scale)
    more = "" if look.shown.final else " · finer ones are being read …"
    page.caption(f"{heat.title} · {caption(look.figure.plane, look.shown.cells)}{more}")
    return left, top, width, height


def _cells(
    shown: Shown, view: Viewport, size: tuple[int, int], ground: tuple[int, int, int]
) -> Image.Image:
    """What is seen of the cells, with lines between images and the numbers of large weights."""
    cells, (width, height) = shown.cells, size
    rows = view.top + (np.arange(height) + 0.5) / height * view.height
    columns = view.left + (np.arange(width) + 0.5) / width * view.width
    at = (
        (np.floor(rows).astype(int) - cells.rows.start) // cells.rows.step,
        (np.floor(columns).astype(int) - cells.columns.start) // cells.columns.step,
    )
    inside = [(i >= 0) & (i < n) for i, n in zip(at, cells.values.shape, strict=True)]
    pixels = np.zeros((height, width, 4), np.uint8)
    seen = np.ix_(*inside)
    pixels[seen] = shown.heat.pixels[np.ix_(*(i[k] for i, k in zip(at, inside, strict=True)))]
    picture = np.where(pixels[..., 3:] > 0, pixels[..., :3], np.array(ground, np.uint8))
    return Image.fromarray(picture.astype(np.uint8))


def _lines(picture: Image.Image, look: FigureLook, ground: tuple[int, int, int]) -> None:
    """Lines between images, and between weights that are large; in place."""
    view, plane = look.viewport, look.figure.plane
    width, height = picture.size
    each = plane.rows.each, plane.columns.each
    high, wide = height / view.height, width / view.width
    images = max(each) > 1
    if not images and min(high, wide) < 12:
        return
    pixels = np.array(picture)
    thick = int(np.clip(min(each[0] * high, each[1] * wide) / 9, 1, 3)) if images else 1
    for axis, (step, first, length_, one, size) in enumerate((
        (each[0], view.top, view.height, high, height),
        (each[1], view.left, view.width, wide, width),
    )):  # fmt: skip
        if step * one < 8:
            continue
        for edge in range(int(-(-first // step) * step), int(first + length_) + 1, step):
            at = round((edge - first) * one)
            line = slice(max(at - thick // 2, 0), min(at - thick // 2 + thick, size))
            pixels[(line, slice(None)) if axis == 0 else (slice(None), line)] = ground
    picture.paste(Image.fromarray(pixels))


def _ticks(page: Paper, look: FigureLook, rect: Rect) -> None:
    left, top, width, height = rect
    view, plane, scale = look.viewport, look.figure.plane, page.scale
    px, ink = round(10 * scale), (*page.ink.dim, 255)
    mark = max(round(3 * scale), 2)
    for middle, text in plane.rows.ticks(view.top, view.height, height, _APART[1] * scale):
        y = top + round((middle - view.top) / view.height * height)
        if top + px // 2 <= y <= top + height - px // 2:
            page.draw.line((left - mark - 1, y, left - 2, y), ink)
            page.draw.text((left - mark - 3, y), text, ink, font(px), anchor="rm")
    base = top + height
    for middle, text in plane.columns.ticks(view.left, view.width, width, _APART[0] * scale):
        x = left + round((middle - view.left) / view.width * width)
        half = length(text, px) / 2
        page.draw.line((x, base + 1, x, base + mark), ink)
        inside = min(max(x, left + half), left + width - half)
        page.draw.text((inside, base + mark + 1), text, ink, font(px), anchor="ma")


def _told(page: Paper, look: FigureLook) -> None:
    """What is under the pointer; the room for it stays when there is nothing."""
    lines = look.told or ("wheel zooms · drag moves · double click shows all",)
    end = page.y + round(_LINES * page.step * 0.84)
    for i, line in enumerate(lines[:_LINES]):
        bold = bool(look.told) and i == 0
        ink = page.ink.title if bold else page.ink.dim
        page.text(page.pad, line, ink, page.small_px, bold)
        page.y += round(page.step * 0.84)
    page.y = end + round(3 * page.scale)


def _scale_numbers(page: Paper, scale: ColorScale) -> None:
    page.y += round(page.scale)
    px = page.small_px
    for at, text in scale.ticks():
        wide = length(text, px)
        x = min(max(at * page.inner - wide / 2, 0.0), page.inner - wide)
        page.text(page.pad + x, text, page.ink.text, px)
    page.y += round(page.step * 0.9)


def draw_histograms(page: Paper, statistics: Any) -> None:
    """Bars over w, and over the logarithm of its magnitude where there is room."""
    summary = statistics["summary"]
    if not summary.exact:
        page.caption(reading_text(summary))
    if len(summary.counts):
        low, high = float(summary.edges[0]), float(summary.edges[-1])
        _bars(page, summary.counts, (low, high), histogram_caption(summary), summary.exact)
    counts, edges, smaller = summary.octaves()
    if len(counts) > 1:
        ends = float(edges[0]), float(edges[-1])
        _bars(page, counts, ends, octaves_caption(smaller, summary), summary.exact)


def _bars(page: Paper, counts: Any, ends: tuple[float, float], caption_: str, exact: bool) -> None:
    high = round(min(60 * page.scale, page.room * 0.3))
    if page.room < 6 * page.step:
        return
    low, top = ends
    page.y += round(6 * page.scale)
    figure = histogram(counts, (page.inner, high), _BAR[page.theme])
    if not exact:
        figure.putalpha(figure.getchannel("A").point(lambda a: round(a * _GUESS)))
    page.picture.alpha_composite(figure, (page.pad, page.y))
    page.y += high
    dim = (*page.ink.dim, 255)
    page.draw.line((page.pad, page.y, page.pad + page.inner, page.y), dim)
    if low < 0 < top:
        x = page.pad + round(page.inner * -low / (top - low))
        page.draw.line((x, page.y - high, x, page.y + round(3 * page.scale)), (*dim[:3], 255))
    page.y += round(page.scale)
    px, end = page.small_px, number(top)
    page.text(page.pad, number(low), page.ink.text, px)
    page.text(page.pad + page.inner - length(end, px), end, page.ink.text, px)
    if low < 0 < top and 0.25 < -low / (top - low) < 0.75:
        middle = page.pad + page.inner * -low / (top - low)
        page.text(middle - length("0", px) / 2, "0", page.ink.text, px)
    page.y += round(page.step * 0.9)
    page.caption(caption_)


def _numbers(picture: Image.Image, look: FigureLook, px: int) -> None:
    """The numbers of single weights in their cells, where these are large enough; in place."""
    assert look.shown is not None
    view, cells, heat = look.viewport, look.shown.cells, look.shown.heat
    wide = picture.width / view.width * cells.columns.step
    high = picture.height / view.height * cells.rows.step
    if wide < 3.2 * px or high < 1.2 * px:
        return
    draw = ImageDraw.Draw(picture)
    shown = cells.means if cells.single else cells.values
    for i, j in np.argwhere(cells.count + cells.non_finite > 0).tolist():
        y = (cells.rows.start + (i + 0.5) * cells.rows.step - view.top) / view.height
        x = (cells.columns.start + (j + 0.5) * cells.columns.step - view.left) / view.width
        if 0 <= x <= 1 and 0 <= y <= 1:
            red, green, blue, _ = heat.pixels[i, j].tolist()
            light = 0.3 * red + 0.59 * green + 0.11 * blue > 128
            text = f"{shown[i, j]:.2g}" if cells.count[i, j] else "–"
            at = x * picture.width, y * picture.height
            draw.text(at, text, _DARK if light else _LIGHT, font(px), anchor="mm")
