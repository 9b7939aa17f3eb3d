"""Small questions about boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from layouts.tree import Boxes

F8 = NDArray[np.float64]


def bounds(boxes: Boxes) -> tuple[F8, F8]:
    """Lowest and highest corner of what encloses all boxes.

    Returns
    -------
    low, high : float64 array, shape (3,)
        World units; both the origin when there is no box.
    """
    if not len(boxes.centers):
        return np.zeros(3), np.zeros(3)
    half = boxes.sizes / 2
    return (boxes.centers - half).min(axis=0), (boxes.centers + half).max(axis=0)
