"""Small figures for the page: a colour ramp as CSS, a histogram as an SVG path, pixels as PNG."""

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


def png_url(pixels: U1) -> str:
    """Pixels as a PNG in a data URL.

    Parameters
    ----------
    pixels : uint8 array, shape (rows, columns, 4)
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
