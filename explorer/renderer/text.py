"""Text as small RGBA pictures, drawn with Pillow."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Sprite = NDArray[np.uint8]
"""A picture, shape (height, width, 4), RGBA with straight alpha, top row first."""

Rgb = tuple[int, int, int]

_MAX_CHARS = 120


@dataclass(frozen=True)
class Ink:
    """Colours of text and panels in a theme; `faded` is for nodes out of focus."""

    text: Rgb
    title: Rgb
    dim: Rgb
    halo: Rgb
    panel: tuple[int, int, int, int]
    rim: tuple[int, int, int, int]
    faded: Rgb


INKS = {
    "dark": Ink((205, 214, 228), (255, 255, 255), (150, 162, 182), (10, 13, 19),
                (12, 16, 24, 214), (70, 82, 104, 255), (84, 95, 115)),
    "light": Ink((44, 52, 66), (8, 12, 20), (92, 102, 120), (250, 251, 253),
                 (255, 255, 255, 226), (186, 194, 208, 255), (172, 180, 194)),
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


@functools.lru_cache(maxsize=8192)
def text_width(text: str, px: int, bold: bool = False) -> float:
    """Width of a line of text in pixels; measured once, as the same words come again and again."""
    return float(font(px, bold).getlength(text))


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


def _panel(width: int, height: int, px: int, ink: Ink) -> Image.Image:
    picture = Image.new("RGBA", (max(width, 1), max(height, 1)), (*ink.panel[:3], 0))
    ImageDraw.Draw(picture).rounded_rectangle(
        (0, 0, width - 1, height - 1), round(px * 0.4), ink.panel, ink.rim, 1
    )
    return picture
