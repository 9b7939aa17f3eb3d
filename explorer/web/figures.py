"""Small figures for the page: a colour ramp as CSS, a histogram as an SVG path, a matrix as PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import ArrayLike, NDArray

U1 = NDArray[np.uint8]


def rgb(color: tuple[int, int, int]) -> str:
    """A colour in CSS."""
    r, g, b = (int(c) for c in color)
    return f"rgb({r},{g},{b})"


def css_gradient(ramp: U1, stops: int = 24) -> str:
    """A ramp of colours as a CSS gradient from left to right; empty for an empty ramp.

    Parameters
    ----------
    ramp : uint8 array, shape (r, 3)
    stops : int
        Colours taken from the ramp.
    """
    if len(ramp) == 0:
        return ""
    chosen = ramp[np.rint(np.linspace(0, len(ramp) - 1, stops)).astype(int)]
    return f"linear-gradient(to right, {', '.join(rgb(tuple(c)) for c in chosen.tolist())})"


def histogram_path(counts: ArrayLike, width: float, height: float) -> str:
    """Outline of the bars of a histogram as an SVG path, the highest bar as high as the figure.

    Parameters
    ----------
    counts : array_like, shape (bins,)
    width, height : float
        Size of the figure in its own units.
    """
    values = np.asarray(counts, float)
    top = max(float(values.max(initial=0.0)), 1.0)
    step = width / max(len(values), 1)
    points = [f"M0 {height:g}"]
    for i, value in enumerate(values):
        y = height * (1 - value / top)
        if value > 0:  # a bin that holds anything is seen
            y = min(y, height - 0.75)
        points.append(f"V{y:.2f}H{(i + 1) * step:.2f}")
    return "".join(points) + f"V{height:g}Z"


def heat_map_url(matrix: ArrayLike, high: float, ramp: U1) -> str:
    """A matrix as a PNG in a data URL: 0 at the start of the ramp, `high` at its end.

    Parameters
    ----------
    matrix : array_like, shape (rows, columns)
        Not negative; NaN marks cells without a finite number and is drawn grey.
    high : float
    ramp : uint8 array, shape (r, 3)
    """
    from PIL import Image

    values = np.asarray(matrix, float)
    at = values / high if high > 0 else np.zeros_like(values)
    index = np.rint(np.nan_to_num(np.clip(at, 0, 1)) * (len(ramp) - 1)).astype(int)
    pixels = np.ascontiguousarray(ramp[index])
    pixels[np.isnan(values)] = (128, 128, 128)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
