"""Curves through the ramps of a route, for all edges at once.

A route is a few ramps with straight lines between them. On a ramp a curve leaves level and arrives
level; where it turns back it goes round two corners. All are fixed functions of the share of the
way, so a curve costs a few multiplications for each of its points.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
POINTS = 24  # samples per curve


@cache
def _ramp(count: int) -> tuple[F4, F4]:
    """Shares of the way along the flow and across it at each of some samples."""
    t = np.linspace(0.0, 1.0, count)
    along = t + 0.25 * np.sin(2 * np.pi * t) / np.pi  # denser where the curve bends
    across = along**3 * (along * (6 * along - 15) + 10)  # level at both ends
    return along.astype(np.float32), across.astype(np.float32)


def curves(first: F8, last: F8, bulge: F8) -> F4:
    """Sample curves that all have equally many ramps.

    Parameters
    ----------
    first, last : float64 array, shape (m, r, 3)
        Where each ramp begins and ends, world units; r divides POINTS. Data flows along x.
    bulge : float64 array, shape (m, r)
        How far along x a ramp swings out between its ends: 0 for a plain one; for one that turns
        back, positive at the source's side and negative at the target's.

    Returns
    -------
    float32 array, shape (m, POINTS, 3)
    """
    m, ramps = bulge.shape
    count = POINTS // ramps
    along, across = _ramp(count)
    points = np.empty((m, ramps, count, 3), np.float32)
    start, step = first.astype(np.float32), (last - first).astype(np.float32)
    points[..., 0] = start[..., None, 0] + step[..., None, 0] * along
    points[..., 1:] = start[..., None, 1:] + step[..., None, 1:] * across[:, None]
    turn = np.nonzero(bulge)
    if len(turn[0]):
        points[turn] = _turns(start[turn], step[turn], bulge[turn].astype(np.float32), count)
    return points.reshape(m, POINTS, 3)


def _turns(start: F4, step: F4, bulge: F4, count: int) -> F4:
    """Ramps that turn back: two quarters of a circle and a straight piece between."""
    angle = np.linspace(0.0, np.pi, count, dtype=np.float32)
    height = np.linalg.norm(step[:, 1:], axis=1)
    round_ = np.minimum(np.abs(bulge) / np.maximum(height, 1e-9), 0.5)[:, None]
    across = np.where(
        angle <= np.pi / 2, round_ * (1 - np.cos(angle)), 1 - round_ * (1 + np.cos(angle))
    )
    points = start[:, None] + step[:, None] * across[..., None]
    points[..., 0] = start[:, None, 0] + step[:, None, 0] * (angle / np.float32(np.pi))
    points[..., 0] += bulge[:, None] * np.sin(angle)
    return np.asarray(points, np.float32)
