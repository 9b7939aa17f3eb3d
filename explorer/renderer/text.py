"""Text and the legend as small RGBA pictures, drawn with Pillow."""

from __future__ import annotations

import functools
import importlib.util
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from explorer.draw_list import Legend

Sprite = NDArray[np.uint8]
"""A picture, shape (height, width, 4), RGBA with straight alpha, top row first."""

Rgb = tuple[int, int, int]

_MAX_CHARS = 120
_LEGEND_CHARS = 52


@dataclass(frozen=True)
class Ink:
    """Colours of text and panels in a theme."""

    text: Rgb
    title: Rgb
    dim: Rgb
    halo: Rgb
    panel: tuple[int, int, int, int]
    rim: tuple[int, int, int, int]


INKS = {
    "dark": Ink((205, 214, 228), (255, 255, 255), (150, 162, 182), (10, 13, 19),
                (12, 16, 24, 214), (70, 82, 104, 255)),
    "light": Ink((44, 52, 66), (8, 12, 20), (92, 102, 120), (250, 251, 253),
                 (255, 255, 255, 226), (186, 194, 208, 255)),
}  # fmt: skip


@functools.lru_cache(maxsize=64)
def font(px: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A sans-serif face that has the signs networks need (×, Σ, →, ²).

    DejaVu Sans as matplotlib ships it: a dependency of pyvista, found without importing it. Without
    it, Pillow's own face, which lacks some of those signs.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), px)
    return ImageFont.load_default(px)


def shortened(text: str, limit: int = _MAX_CHARS) -> str:
    """One printable line of at most `limit` characters, the middle left out."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    if len(clean) <= limit:
        return clean
    keep = limit - 1
    return clean[: keep - keep // 3] + "…" + clean[len(clean) - keep // 3 :]


@functools.lru_cache(maxsize=1024)
def text_sprite(text: str, px: int, color: Rgb, halo: Rgb, bold: bool = False) -> Sprite:
    """One line of text with a soft halo, so that it reads over anything.

    Parameters
    ----------
    text : str
    px : int
        Size of the face, pixels.
    color, halo : (int, int, int)
    bold : bool

    Returns
    -------
    Sprite
        As high as the face is, whatever the letters, so that lines of text align.
    """
    face, text = font(px, bold), shortened(text)
    pad = max(2, round(px * 0.22))
    box = face.getbbox(text, anchor="ls") if text else (0, 0, 1, 1)
    rise, fall = round(px * 0.98), round(px * 0.28)
    size = (int(box[2] - min(box[0], 0)) + 2 * pad + 1, rise + fall + 2 * pad)
    at = (pad - min(box[0], 0), pad + rise)
    body = Image.new("L", size)
    ImageDraw.Draw(body).text(at, text, 255, face, anchor="ls")
    around = Image.new("L", size)
    ImageDraw.Draw(around).text(at, text, 255, face, anchor="ls", stroke_width=max(1, pad - 1))
    around = around.filter(ImageFilter.GaussianBlur(pad * 0.4)).point(lambda v: v * 0.82)
    alpha = ImageChops.screen(body, around)
    t = np.asarray(body, np.float32)[..., None] / 255
    a = np.asarray(alpha, np.float32)[..., None] / 255
    share = np.divide(t, a, out=np.zeros_like(t), where=a > 0)
    out = np.empty((size[1], size[0], 4), np.uint8)
    out[..., :3] = np.array(color) * share + np.array(halo) * (1 - share)
    out[..., 3] = np.asarray(alpha)
    out.flags.writeable = False
    return out


def panel_sprite(lines: Sequence[str], px: int, ink: Ink, heading: bool = False) -> Sprite:
    """Lines of text on a panel.

    Parameters
    ----------
    lines : sequence of str
        A tab in a line begins its second column.
    px : int
        Size of the face, pixels.
    ink : Ink
    heading : bool
        Whether the first line is bold.
    """
    faces = [font(px, heading and i == 0) for i in range(len(lines))]
    cells = [[shortened(part) for part in line.split("\t", 1)] for line in lines]
    pad, step = round(px * 0.7), round(px * 1.45)
    widths = [[face.getlength(c) for c in row] for face, row in zip(faces, cells, strict=True)]
    column = max((w[0] + px * 1.5 for w in widths if len(w) > 1), default=0.0)
    width = max((column + w[1] if len(w) > 1 else w[0] for w in widths), default=1.0)
    picture = _panel(
        round(width) + 2 * pad, step * len(lines) + 2 * pad - (step - px) // 2, px, ink
    )
    draw = ImageDraw.Draw(picture)
    for i, (face, row) in enumerate(zip(faces, cells, strict=True)):
        y = pad + i * step + round(px * 0.92)
        first = ink.title if (heading and i == 0) or len(row) > 1 else ink.text
        draw.text((pad, y), row[0], (*first, 255), face, anchor="ls")
        if len(row) > 1:
            draw.text((pad + column, y), row[1], (*ink.text, 255), face, anchor="ls")
    return np.asarray(picture)


def legend_sprite(legend: Legend, px: int, ink: Ink) -> Sprite | None:
    """The legend as a panel: title, colour ramp with numbers, kinds, statements.

    Parameters
    ----------
    legend : Legend
    px : int
        Size of the face, pixels.
    ink : Ink

    Returns
    -------
    Sprite or None
        ``None`` when there is nothing to say.
    """
    if not (legend.title or len(legend.ramp) or legend.kinds or legend.lines):
        return None
    small, step, pad = font(px), round(px * 1.55), round(px * 0.9)
    lines = [piece for line in legend.lines for piece in _wrapped(line)]
    ramp_width = round(px * 17) if len(legend.ramp) else 0
    bold = font(px, True)
    widest = [ramp_width + 2 * px, round(bold.getlength(legend.title))]
    widest += [round(small.getlength(line)) for line in lines]
    inner = max(widest)
    rows = _chip_rows(legend, px, inner)
    height = 2 * pad + step * (bool(legend.title) + len(lines) + len(rows)) - round(px * 0.3)
    height += round(px * 2.9) if ramp_width else 0
    picture = _panel(inner + 2 * pad, height, px, ink)
    draw, y = ImageDraw.Draw(picture), pad
    if legend.title:
        draw.text((pad, y + px), legend.title, (*ink.title, 255), bold, anchor="ls")
        y += step
    if ramp_width:
        _draw_ramp(picture, legend, (pad + px // 2, y, ramp_width), px, ink)
        y += round(px * 2.9)
    for row in rows:
        for x, name, color in row:
            draw.rounded_rectangle(
                (pad + x, y + px * 0.18, pad + x + px * 0.85, y + px * 1.03), px // 5, (*color, 255)
            )
            draw.text((pad + x + px * 1.2, y + px), name, (*ink.text, 255), small, anchor="ls")
        y += step
    for line in lines:
        draw.text((pad, y + px), line, (*ink.dim, 255), small, anchor="ls")
        y += step
    return np.asarray(picture)


def _wrapped(line: str) -> list[str]:
    # A number stays together with its groups of digits and its per cent sign.
    return textwrap.wrap(re.sub(r"(?<=\d) (?=[\d%])", "\u00a0", shortened(line)), _LEGEND_CHARS)


def _panel(width: int, height: int, px: int, ink: Ink) -> Image.Image:
    picture = Image.new("RGBA", (max(width, 1), max(height, 1)), (*ink.panel[:3], 0))
    ImageDraw.Draw(picture).rounded_rectangle(
        (0, 0, width - 1, height - 1), round(px * 0.4), ink.panel, ink.rim, 1
    )
    return picture


def _chip_rows(legend: Legend, px: int, inner: int) -> list[list[tuple[int, str, Rgb]]]:
    """Kinds laid out in rows no wider than `inner`: (x, name, colour)."""
    rows: list[list[tuple[int, str, Rgb]]] = []
    x = inner + 1
    for name, color in legend.kinds:
        name = shortened(name, 24)
        width = round(px * 2.2 + font(px).getlength(name))
        if x + width > inner + px or not rows:
            rows.append([])
            x = 0
        rows[-1].append((x, name, color))
        x += width
    return rows


def _draw_ramp(
    picture: Image.Image, legend: Legend, where: tuple[int, int, int], px: int, ink: Ink
) -> None:
    left, top, width = where
    high = round(px * 0.9)
    columns = np.linspace(0, len(legend.ramp) - 1, width).round().astype(int)
    strip = np.repeat(legend.ramp[columns][None], high, axis=0)
    picture.paste(Image.fromarray(np.ascontiguousarray(strip, np.uint8)), (left, top))
    draw = ImageDraw.Draw(picture)
    free = -1.0
    for at, text in sorted(legend.ticks):
        x = left + round(min(max(at, 0.0), 1.0) * (width - 1))
        half = font(px).getlength(text) / 2
        draw.line((x, top + high, x, top + high + px // 4), (*ink.text, 255))
        begin = min(max(x - half, left - px // 2), picture.width - 2 * half - 2)
        if begin > free:  # a number that would run into the one before it is left out
            y = top + high + round(px * 1.3)
            draw.text((begin, y), text, (*ink.text, 255), font(px), anchor="ls")
            free = begin + 2 * half + px * 0.5
