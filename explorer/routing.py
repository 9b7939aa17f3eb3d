"""Curves that edges follow: forward, over what they pass, back to the next row, in a loop.

Every curve is a clamped cubic B-spline (de Boor 1978) over six control points, evaluated for all
edges at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
POINTS = 24  # samples per curve
_CONTROLS = 6


@cache
def _basis() -> F8:
    """Weights of the six control points at each sample, shape (POINTS, 6)."""
    degree = 3
    knots = np.concatenate(
        (np.zeros(degree), np.linspace(0, 1, _CONTROLS - degree + 1), np.ones(degree))
    )
    at = np.linspace(0.0, 1.0, POINTS)
    spans = len(knots) - 1
    basis = np.zeros((POINTS, spans))
    for i in range(spans):
        basis[:, i] = (knots[i] <= at) & (at < knots[i + 1])
    basis[-1, _CONTROLS - 1] = 1.0
    for d in range(1, degree + 1):
        raised = np.zeros((POINTS, spans - d))
        for i in range(spans - d):
            left, right = knots[i + d] - knots[i], knots[i + d + 1] - knots[i + 1]
            if left > 0:
                raised[:, i] += (at - knots[i]) / left * basis[:, i]
            if right > 0:
                raised[:, i] += (knots[i + d + 1] - at) / right * basis[:, i + 1]
        basis = raised
    basis[0], basis[-1] = 0.0, 0.0
    basis[0, 0] = basis[-1, -1] = 1.0
    return basis


def curves(start: F8, end: F8, over: F8, reach: F8) -> NDArray[np.float32]:
    """Sample the curve of each edge.

    Parameters
    ----------
    start, end : float64 array, shape (m, 3)
        Where each edge leaves its source and enters its target; data flows along +x.
    over : float64 array, shape (m,)
        Height (y) that the middle of the curve runs at; NaN for an edge with nothing in its way.
    reach : float64 array, shape (m,)
        How far an edge that runs at a given height first goes straight on, world units.

    Returns
    -------
    float32 array, shape (m, POINTS, 3)
    """
    control = np.empty((len(start), _CONTROLS, 3))
    step = end - start
    # Straight out of the face, a soft turn, straight in: (share along x, share along y and z).
    for k, (x, yz) in enumerate(((0, 0), (0.2, 0), (0.4, 0.12), (0.6, 0.88), (0.8, 1), (1, 1))):
        control[:, k] = start + yz * step
        control[:, k, 0] = start[:, 0] + x * step[:, 0]
    bent = ~np.isnan(over)
    if bent.any():
        a, b = start[bent], end[bent]
        out, height = reach[bent], over[bent]
        corner = np.stack((a, a, a, b, b, b), axis=1)
        corner[:, 1:3, 0] += out[:, None]
        corner[:, 3:5, 0] -= out[:, None]
        corner[:, 2:4, 1] = height[:, None]
        control[bent] = corner
    weights = _basis().astype(np.float32)
    return np.asarray(np.matmul(weights, control.astype(np.float32)))


def heights(start: F8, end: F8, ends: NDArray[np.int32], centers: F8, sizes: F8) -> tuple[F8, F8]:
    """Which edges must go round something, and at what height.

    Parameters
    ----------
    start, end : float64 array, shape (m, 3)
    ends : int32 array, shape (m, 2)
        Rows of the source and target boxes.
    centers, sizes : float64 array, shape (n, 3)
        The visible boxes that stand in the way.

    Returns
    -------
    over, reach : float64 array, shape (m,)
        As `curves` takes them. An edge that would pass through a box rises above the highest one
        it meets; one that runs back (to the next row of a wrapped layout) takes the middle
        between its ends; a loop rises above its own box.
    """
    m = len(start)
    over, reach = np.full(m, np.nan), np.full(m, 0.4)
    low, high = centers - sizes / 2, centers + sizes / 2
    for e in range(m):
        a, b = start[e], end[e]
        source, target = ends[e]
        if source == target:
            over[e] = high[source, 1] + 0.5 * sizes[source, 1] + 0.2
            reach[e] = 0.5 + 0.2 * sizes[source, 0]
            continue
        if b[0] <= a[0]:
            over[e] = _return_height(a, b, low[source], high[source], low[target], high[target])
            reach[e] = 0.6
            continue
        # Boxes strictly between the two ends along x, met by the straight line.
        between = (low[:, 0] > a[0] - 1e-6) & (high[:, 0] < b[0] + 1e-6)
        between[[source, target]] = False
        if not between.any():
            continue
        t = (centers[between, 0] - a[0]) / (b[0] - a[0])
        line = a[None] + t[:, None] * (b - a)[None]
        met = np.all(
            (line[:, 1:] > low[between][:, 1:] - 0.05)
            & (line[:, 1:] < high[between][:, 1:] + 0.05),
            axis=1,
        )
        if met.any():
            span = b[0] - a[0]
            over[e] = high[between][met, 1].max() + 0.35 + 0.04 * span
            reach[e] = min(0.5, span / 4)
    return over, reach


def _return_height(a: F8, b: F8, low_a: F8, high_a: F8, low_b: F8, high_b: F8) -> float:
    if high_b[1] < low_a[1]:  # the target stands in a row below
        return float((low_a[1] + high_b[1]) / 2)
    if high_a[1] < low_b[1]:
        return float((high_a[1] + low_b[1]) / 2)
    return float(max(high_a[1], high_b[1]) + 0.5)
