"""The colour scale as something to take hold of: how many edges have which magnitude."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import ColorScale
from explorer.drawing.draw_list import ScaleBar

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

BINS = 48
_STEPS = 96  # colours along the axis
_MOST_SPAN = 1e6  # ratio of the ends of the axis; what is smaller counts in the first bin


def scale_bar(scale: ColorScale, wish: str) -> ScaleBar | None:
    """What a surface needs to show a scale with its histogram.

    Parameters
    ----------
    scale : ColorScale
    wish : str
        The kind of scale that a person chose.

    Returns
    -------
    ScaleBar or None
        ``None`` where no number that is drawn has a magnitude above zero.
    """
    sizes = scale.magnitudes
    binned = histogram(sizes[np.isfinite(sizes)])
    if binned is None:
        return None
    bounds, counts = binned
    at = np.geomspace(bounds[0], bounds[-1], _STEPS)
    none = np.zeros((0, 3), np.uint8)
    return ScaleBar(
        wish=wish,
        kind=scale.kind,
        low=scale.low,
        high=scale.high,
        chosen=scale.chosen,
        ends=(
            f"{'≤ ' if scale.below else ''}{scale.text(scale.low)}",
            f"{'≥ ' if scale.above else ''}{scale.text(scale.high)}",
        ),
        beyond=(scale.below, scale.above),
        limits=(scale.text(float(bounds[0])), scale.text(float(bounds[-1]))),
        bounds=bounds,
        counts=counts,
        colors=scale.colors(at),
        negative=scale.colors(-at) if scale.diverging else none,
    )


def histogram(sizes: F8) -> tuple[F8, I8] | None:
    """Numbers counted in bins of equal ratios, from the least above zero to the largest.

    Parameters
    ----------
    sizes : float64 array, shape (m,)
        Finite. Zeros, and what is less than a millionth of the largest, count in the first bin.

    Returns
    -------
    bounds : float64 array, shape (bins + 1,)
    counts : int64 array, shape (bins,)
        They add up to m.
    """
    positive = sizes[sizes > 0]
    if len(positive) == 0:
        return None
    high = float(positive.max())
    low = max(float(positive.min()), high / _MOST_SPAN)
    if not high / low > 1.001:  # all alike: in the middle of an axis
        low, high = low / 2, high * 2
    bounds = np.geomspace(low, high, BINS + 1)
    counts, _ = np.histogram(np.clip(sizes, bounds[0], bounds[-1]), bounds)
    return bounds, counts.astype(np.int64)


def axis_share(magnitude: float, bounds: tuple[float, float]) -> float:
    """How far a magnitude lies along an axis of equal ratios, 0..1, clipped."""
    low, high = bounds
    if magnitude <= low:
        return 0.0
    return min(math.log(magnitude / low) / math.log(high / low), 1.0)
