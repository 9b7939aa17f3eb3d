"""The panel beside the picture in the local window as one RGBA picture, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from explorer.drawing.color_scale import count, number
from explorer.drawing.themes import THEMES
from explorer.panel.figures import heat_map, histogram, ramp_strip
from explorer.panel.reader import Details
from explorer.panel.text import (
    clean,
    cut,
    cut_front,
    family_color,
    heat_caption,
    histogram_caption,
    incoming_text,
    length,
    telling_config,
    weight_facts,
    wrap,
)
from explorer.renderer.labels import text_scale
from explorer.renderer.text import INKS, Rgb, Sprite, font

WIDTH_PX = 340  # in a picture 900 pixels high
_WIDEST = 0.45  # share of the picture's width that the panel may take
_GROUND = {"dark": (13, 17, 26, 244), "light": (255, 255, 255, 246)}
_BAR = {"dark": (91, 155, 255), "light": (47, 111, 219)}
_ACCENT = {"dark": (240, 163, 62), "light": (178, 106, 0)}
_NEXT = "w next weight"
_KEYS = ("i hide", _NEXT, "Esc deselect")


def panel_picture(details: Details, size: tuple[int, int], theme: str) -> Sprite:
    """Draw the panel.

    Parameters
    ----------
    details : Details
    size : (int, int)
        Of the whole picture, pixels; the panel is as high as it.
    theme : str
        ``"dark"`` or ``"light"``.

    Returns
    -------
    Sprite
        uint8, shape (height, about 340 at 900 pixels of height, 4).
    """
    width, height = size
    scale = text_scale(height)
    width = max(min(round(WIDTH_PX * scale), round(width * _WIDEST)), 1)
    page = _Page((width, height), scale, theme)
    _head(page, details)
    if details.panel["weights"]:
        _weight(page, details)
    elif details.panel["kind"] in ("unit", "units"):
        _incoming(page, details)
    _children(page, details.panel["children"], len(details.panel["config"]))
    _config(page, details)
    more = len(details.panel["weights"]) > 1
    return page.finish("   ·   ".join(key for key in _KEYS if more or key != _NEXT))


class _Page:
    """A panel that is filled from the top.

    `text` leaves out what would not end above the line of keys; who draws more asks `room` first.

    Parameters
    ----------
    size : (int, int)
    scale : float
        1 in a picture 900 pixels high.
    theme : str
    """

    def __init__(self, size: tuple[int, int], scale: float, theme: str) -> None:
        self.width, self.height = size
        self.scale, self.theme, self.ink = scale, theme, INKS[theme]
        self.pad = round(18 * scale)
        self.inner = max(self.width - 2 * self.pad, 1)
        self.y = round(16 * scale)
        self.picture = Image.new("RGBA", size, _GROUND[theme])
        self.draw = ImageDraw.Draw(self.picture)
        self.draw.line((0, 0, 0, self.height), self.ink.rim, max(round(scale), 1))
        self.text_px, self.small_px = round(12 * scale), round(11 * scale)
        self.step = round(18.5 * scale)

    @property
    def room(self) -> int:
        """Pixels that are left above the line of keys."""
        return self.height - self.y - round(34 * self.scale)

    @property
    def rows(self) -> int:
        """Rows of text that fit under a heading."""
        return max((self.room - round(36 * self.scale)) // self.step, 0)

    def text(
        self, x: float, text: str, color: Rgb, px: int | None = None, bold: bool = False,
    ) -> None:  # fmt: skip
        """One line at x, its base in the row that `y` begins."""
        if self.room < self.step:
            return
        px = px or self.text_px
        text = clean(text)
        base = self.y + round(self.step * 0.72)
        self.draw.text((x, base), text, (*color, 255), font(px, bold), anchor="ls")

    def right(self, text: str, color: Rgb, px: int | None = None) -> None:
        """One line that ends at the right margin."""
        wide = length(text, px or self.text_px)
        self.text(self.pad + self.inner - wide, text, color, px)

    def heading(self, text: str, note: str = "") -> bool:
        """A heading with a thin line above it, if there is room for it and a row."""
        if self.rows < 1:
            return False
        self.y += round(9 * self.scale)
        line = (*self.ink.rim[:3], 110)
        shade = Image.new("RGBA", (self.inner, max(round(self.scale), 1)), line)
        self.picture.alpha_composite(shade, (self.pad, self.y))
        self.y += round(5 * self.scale)
        self.text(self.pad, text, self.ink.title, self.text_px, bold=True)
        if note:
            self.right(note, self.ink.dim, self.small_px)
        self.y += round(self.step * 1.1)
        return True

    def pair(self, name: str, value: str, begin: float = 0.0, end: float = 1.0) -> None:
        """A name and its value; does not go on to the next row.

        Parameters
        ----------
        name, value : str
        begin, end : float
            Where they stand, as shares of the width.
        """
        left, right = self.pad + begin * self.inner, self.pad + end * self.inner
        at = left + max((50 if begin == 0 else 70) * self.scale, self._name_width(name))
        self.text(left, name, self.ink.dim)
        self.text(at, cut(value, self.text_px, right - at), self.ink.text)

    def table(self, rows: Sequence[tuple[str, str]], lines: int) -> int:
        """Names and their values in two columns; how many of the rows found room.

        Parameters
        ----------
        rows : sequence of (str, str)
        lines : int
            Most lines that one value may take.
        """
        widest = max((self._name_width(name) for name, _ in rows), default=0.0)
        at = min(max(92 * self.scale, widest), 0.6 * self.inner)
        for i, (name, value) in enumerate(rows):
            parts = wrap(value, self.text_px, self.inner - at, lines) or [""]
            last = i == len(rows) - 1
            if self.room < (len(parts) + (not last)) * self.step:
                return i
            gap = 8 * self.scale
            self.text(self.pad, cut(name, self.text_px, at - gap), self.ink.dim)
            for part in parts:
                self.text(self.pad + at, part, self.ink.text)
                self.y += self.step
        return len(rows)

    def _name_width(self, name: str) -> float:
        return length(name, self.text_px) + 12 * self.scale

    def caption(self, text: str) -> None:
        """Small dim text, in as many lines as it needs, at most three."""
        for line in wrap(text, self.small_px, self.inner, 3):
            if self.room < self.step:
                return
            self.text(self.pad, line, self.ink.dim, self.small_px)
            self.y += round(self.step * 0.84)

    def finish(self, keys: str) -> Sprite:
        """The picture, with a line of keys at its foot."""
        base, keys = self.height - round(13 * self.scale), cut(keys, self.small_px, self.inner)
        if base > 4 * self.step:
            ink = (*self.ink.dim, 255)
            self.draw.text((self.pad, base), keys, ink, font(self.small_px), anchor="ls")
        return np.asarray(self.picture)


def _head(page: _Page, details: Details) -> None:
    panel, ink = details.panel, page.ink
    px = round(15.5 * page.scale)
    page.text(page.pad, cut(panel["title"], px, page.inner, True), ink.title, px, bold=True)
    page.y += round(page.step * 1.12)
    if panel["path"] != panel["title"]:
        # The end of a path tells more than its beginning.
        page.text(page.pad, cut_front(panel["path"], page.small_px, page.inner), ink.dim,
                  page.small_px)  # fmt: skip
        page.y += page.step
    page.y += round(5 * page.scale)
    page.table(panel["facts"], lines=2)


def _weight(page: _Page, details: Details) -> None:
    weights = details.panel["weights"]
    many = f"{details.weight + 1} of {len(weights)}" if len(weights) > 1 else ""
    if not page.heading("Weights", many):
        return
    _tabs(page, [w["role"] for w in weights], details.weight)
    if details.statistics is None:
        _waiting(page, details)
        return
    for first, second in weight_facts(details.statistics):
        if page.room < page.step:
            return
        page.pair(*first, end=0.49 if second else 1.0)
        if second:
            page.pair(*second, begin=0.5)
        page.y += page.step
    _histogram(page, details.statistics)
    _heat(page, details.statistics)


def _tabs(page: _Page, names: Sequence[str], chosen: int) -> None:
    """The weights of a layer in a row, the chosen one underlined."""
    if page.room < 1.35 * page.step:
        return
    gap, px = round(14 * page.scale), page.text_px
    names = [cut(name, px, page.inner * 0.6) for name in names]
    first = chosen
    used = length(names[chosen], px)
    while first > 0 and used + gap + length(names[first - 1], px) < page.inner * 0.75:
        first -= 1
        used += gap + length(names[first], px)
    x = float(page.pad)
    for i in range(first, len(names)):
        wide = length(names[i], px)
        left = page.pad + page.inner - x
        if wide > left:
            page.text(x, cut(names[i], px, left), page.ink.dim)
            break
        page.text(x, names[i], page.ink.title if i == chosen else page.ink.dim)
        if i == chosen:
            low = page.y + page.step
            page.draw.rectangle((x, low, x + wide, low + max(round(1.6 * page.scale), 1) - 1),
                                (*_ACCENT[page.theme], 255))  # fmt: skip
        x += wide + gap
    page.y += round(page.step * 1.35)


def _waiting(page: _Page, details: Details) -> None:
    """What stands in place of numbers that are not there."""
    text = details.error or ("reading …" if details.reading else "")
    for line in wrap(text, page.text_px, page.inner, 4):
        page.text(page.pad, line, _ACCENT[page.theme])
        page.y += page.step


def _histogram(page: _Page, statistics: Any) -> None:
    summary = statistics["summary"]
    high = round(min(68 * page.scale, page.room * 0.3))
    if not len(summary.counts) or page.room < 6 * page.step:
        return
    page.y += round(6 * page.scale)
    figure = histogram(summary.counts, (page.inner, high), _BAR[page.theme])
    page.picture.alpha_composite(figure, (page.pad, page.y))
    low, top = float(summary.edges[0]), float(summary.edges[-1])
    page.y += high
    dim = (*page.ink.dim, 255)
    page.draw.line((page.pad, page.y, page.pad + page.inner, page.y), dim)
    if low < 0 < top:
        x = page.pad + round(page.inner * -low / (top - low))
        page.draw.line((x, page.y - high, x, page.y + round(3 * page.scale)), (*dim[:3], 255))
    _axis(page, low, top, page.inner)
    page.caption(histogram_caption(summary))


def _axis(page: _Page, low: float, high: float, width: int) -> None:
    """The numbers under the ends of a figure, and under its zero where that stands free."""
    page.y += round(page.scale)
    px, end = page.small_px, number(high)
    page.text(page.pad, number(low), page.ink.text, px)
    page.text(page.pad + width - length(end, px), end, page.ink.text, px)
    if low < 0 < high and 0.25 < -low / (high - low) < 0.75:
        x = page.pad + width * -low / (high - low) - length("0", px) / 2
        page.text(x, "0", page.ink.text, px)
    page.y += round(page.step * 0.9)


def _heat(page: _Page, statistics: Any) -> None:
    summary = statistics["summary"]
    room = min(page.room - 5 * page.step, round(190 * page.scale))
    if not summary.finite or summary.size == 1 or room < 2 * page.step:
        return
    ramp = THEMES[page.theme].sequential
    high = max(abs(summary.low), abs(summary.high))
    figure, merged = heat_map(summary.heat.matrix, high, ramp, (page.inner, room))
    page.y += round(8 * page.scale)
    page.picture.paste(figure, (page.pad, page.y))
    page.y += figure.height + round(7 * page.scale)
    strip = ramp_strip(ramp, (figure.width, max(round(5 * page.scale), 2)))
    page.picture.paste(strip, (page.pad, page.y))
    page.y += strip.height
    _axis(page, 0.0, high, figure.width)
    page.caption(heat_caption(statistics, merged))


def _incoming(page: _Page, details: Details) -> None:
    if not page.heading("Strongest incoming weights"):
        return
    if not details.incoming:
        _waiting(page, details)
        if not details.reading and not details.error:
            page.caption("none: no weights lead here")
        return
    highest = max(row["magnitude"] for row in details.incoming)
    step = round(page.step * 1.25)
    for row in details.incoming[: page.room // step]:
        name, value = incoming_text(row)
        page.right(value, page.ink.text)
        taken = length(value, page.text_px) + 10 * page.scale
        page.text(page.pad, cut_front(name, page.text_px, page.inner - taken), page.ink.text)
        share = row["magnitude"] / highest if highest > 0 else 0.0
        low = page.y + round(page.step * 0.95)
        end = page.pad + max(round(page.inner * share) - 1, 0)
        thick = max(round(2 * page.scale), 1) - 1
        page.draw.rectangle((page.pad, low, end, low + thick), (*_BAR[page.theme], 255))
        page.y += step


def _children(page: _Page, children: Sequence[Any], config_rows: int) -> None:
    if not children or not page.heading("Inside", count(len(children))):
        return
    kept = min(config_rows, 4)
    fits = max(page.room // page.step - kept - 2 * (kept > 0), 1)
    shown = children if len(children) <= fits else children[: max(fits - 1, 0)]
    chip = round(9 * page.scale)
    for child in shown:
        top = page.y + round(page.step * 0.26)
        color = family_color(page.theme, child["family"])
        page.draw.rounded_rectangle(
            (page.pad, top, page.pad + chip, top + chip), round(2 * page.scale), (*color, 255)
        )
        value = count(child["parameters"]) if child["parameters"] else ""
        taken = length(value, page.text_px) + chip + 18 * page.scale
        page.text(page.pad + chip + 8 * page.scale,
                  cut(child["title"], page.text_px, page.inner - taken), page.ink.text)  # fmt: skip
        page.right(value, page.ink.dim)
        page.y += page.step
    if len(shown) < len(children):
        page.text(page.pad, f"… {count(len(children) - len(shown))} more", page.ink.dim)
        page.y += page.step


def _config(page: _Page, details: Details) -> None:
    rows = telling_config(details.panel["config"])
    if not rows or not page.heading("Configuration"):
        return
    shown = page.table(rows, lines=1)
    if shown < len(rows):
        page.text(page.pad, f"… {count(len(rows) - shown)} more", page.ink.dim)
