"""Figures of the window's panel: a histogram, a colour scale. Pure numpy and Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

U1 = NDArray[np.uint8]


def histogram(counts: ArrayLike, size: tuple[int, int], color: tuple[int, int, int]) -> Image.Image:
    """Bars on a clear ground, the highest as high as the figure.

    Parameters
    ----------
    counts : array_like, shape (bins,)
        Not negative. A bin that holds anything is at least a pixel high.
    size : (int, int)
        Width and height, pixels; bars share the width as evenly as pixels allow.
    color : (int, int, int)
    """
    width, height = size
    values = np.asarray(counts, float)
    share = values / max(float(values.max(initial=0.0)), 1.0)
    tall = np.where(values > 0, np.maximum(np.rint(share * height), 1), 0).astype(int)
    column = tall[np.arange(width) * len(values) // width] if len(values) else np.zeros(width, int)
    inside = np.arange(height)[:, None] >= height - column[None]
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[inside] = (*color, 255)
    return Image.fromarray(pixels)


def ramp_strip(ramp: U1, size: tuple[int, int]) -> Image.Image:
    """A colour scale from left to right."""
    at = np.rint(np.linspace(0, len(ramp) - 1, size[0])).astype(int)
    return Image.fromarray(np.ascontiguousarray(np.repeat(ramp[at][None], size[1], axis=0)))
