"""A panel that is filled from the top: rows of text, headings, tables, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from explorer.panel.text import clean, cut, length, wrap
from explorer.renderer.text import INKS, Rgb, Sprite, font

PAD_PX = 18  # margins in a picture 900 pixels high
_GROUND = {"dark": (13, 17, 26, 244), "light": (255, 255, 255, 246)}


class Paper:
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
        self.pad = round(PAD_PX * scale)
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
