"""Figures of the window's panel: a histogram, a matrix, a colour scale. Pure numpy and Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

U1 = NDArray[np.uint8]
F8 = NDArray[np.float64]

NOT_FINITE = (128, 128, 128)
"""Colour of a cell without a finite weight: no ramp holds it."""

_SMALLEST_STRIP = 18  # pixels that a matrix of few rows is high, if there is room


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


def heat_map(
    matrix: ArrayLike, high: float, ramp: U1, room: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int]]:
    """A matrix as a picture whose cells are all of one size, whole pixels wide and high.

    Parameters
    ----------
    matrix : array_like, shape (rows, columns)
        Largest |w| of each cell; NaN where a cell holds no finite number.
    high : float
        Takes the end of the ramp; 0 takes its start.
    ramp : uint8 array, shape (r, 3)
    room : (int, int)
        Width and height that the picture must not exceed, pixels.

    Returns
    -------
    picture : PIL.Image.Image
    merged : (int, int)
        Rows and columns of the matrix in one cell of the picture, which shows their largest.
        More than 1 where the matrix has more rows or columns than there are pixels.
    """
    values = np.asarray(matrix, float)
    rows, columns = values.shape
    merged = (-(-rows // max(room[1], 1)), -(-columns // max(room[0], 1)))
    cells = _largest(values, merged)
    across = max(room[0] // cells.shape[1], 1)
    # Cells stay roughly square; those of few rows may be lower than wide, so the width is used.
    down = max(min(room[1] // cells.shape[0], max(across, _SMALLEST_STRIP // cells.shape[0])), 1)
    at = cells / high if high > 0 else np.where(np.isnan(cells), np.nan, 0.0)
    index = np.rint(np.nan_to_num(np.clip(at, 0, 1)) * (len(ramp) - 1)).astype(int)
    pixels = np.array(ramp[index], np.uint8)
    pixels[np.isnan(cells)] = NOT_FINITE
    return Image.fromarray(pixels.repeat(down, axis=0).repeat(across, axis=1)), merged


def ramp_strip(ramp: U1, size: tuple[int, int]) -> Image.Image:
    """A colour scale from left to right."""
    at = np.rint(np.linspace(0, len(ramp) - 1, size[0])).astype(int)
    return Image.fromarray(np.ascontiguousarray(np.repeat(ramp[at][None], size[1], axis=0)))


def _largest(values: F8, merged: tuple[int, int]) -> F8:
    """The largest of each block; NaN only where a block has nothing else."""
    known = np.where(np.isnan(values), -1.0, values)
    for axis in (0, 1):
        if merged[axis] > 1:
            cuts = np.arange(0, known.shape[axis], merged[axis])
            known = np.maximum.reduceat(known, cuts, axis=axis)
    return np.where(known < 0, np.nan, known)
