"""Small questions about boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from layouts._links import family, lift_each
from layouts.tree import Boxes, Tree

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


def return_gutter(tree: Tree, boxes: Boxes) -> F8:
    """Where the line of each link may run back to the left, free of what stands in between.

    A link whose ends stand in different rows (of the innermost scope around both) best leaves its
    source to the right, drops to this height, runs back to the left of its target, and enters it.

    Parameters
    ----------
    tree : Tree
    boxes : Boxes
        Of the same tree.

    Returns
    -------
    float64 array, shape (m,)
        Height y, in world units, for each row of ``tree.links``; NaN for a link that runs within
        one row, or in a winding, where rows follow one another round the ends.
    """
    free = np.full(len(tree.links), np.nan)
    if boxes.gutter is None or not len(free):
        return free
    pairs = lift_each(tree, family(tree.parent).depth)
    source, target = boxes.gutter[pairs[:, 0]], boxes.gutter[pairs[:, 1]]
    wraps = (pairs[:, 0] >= 0) & (np.abs(source - target) > 1e-9)
    free[wraps] = target[wraps]
    return free
