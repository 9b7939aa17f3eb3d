"""What is to be routed and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Cables:
    """What is to be routed.

    Attributes
    ----------
    source, target : int array, shape (m,)
        Numbers of the nodes at the ends; equal for a loop.
    start, end : float64 array, shape (m, 3)
        Middle of the source's right face and of the target's left face, world units.
    spread : float64 array, shape (m, 2)
        How far up and down from there edges leave and enter.
    gutter : float64 array, shape (m,)
        Height at which a line back to the next row is wished to run; NaN for no wish.
    depth : int array, shape (m,)
        Level of the innermost scope around both ends.
    inner : float64 array, shape (m, 2)
        Right side of the source's part of that scope, and left side of the target's.
    """

    source: NDArray[np.integer]
    target: NDArray[np.integer]
    start: F8
    end: F8
    spread: F8
    gutter: F8
    depth: NDArray[np.integer]
    inner: F8

    def take(self, index: I8) -> Cables:
        """The cables at these positions."""
        return Cables(*(getattr(self, f)[index] for f in self.__dataclass_fields__))


@dataclass(frozen=True)
class Obstacles:
    """Boxes that lines go round.

    Attributes
    ----------
    low, high : float64 array, shape (k, 3)
        Corners, world units.
    depth : int array, shape (k,)
        Level of each open frame; -1 for what is closed. Cables of a deeper scope may cross it.
    """

    low: F8
    high: F8
    depth: NDArray[np.integer]
