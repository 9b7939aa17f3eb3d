"""What is to be routed, what stands in the way, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
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
        Middle of the face at which data leaves the source and of the one at which it enters the
        target, world units.
    spread : float64 array, shape (m, 2)
        How far up and down from there edges leave and enter.
    gutter : float64 array, shape (m,)
        Height at which a line back to the next row is wished to run; NaN for no wish.
    depth : int array, shape (m,)
        Level of the innermost scope around both ends.
    inner : float64 array, shape (m, 2)
        Where the source's part of that scope ends along the flow, and the target's begins.
    steps : int64 array, shape (m, 2)
        1 where data flows along +x through the source and through the target, -1 for -x.
    """

    source: NDArray[np.integer]
    target: NDArray[np.integer]
    start: F8
    end: F8
    spread: F8
    gutter: F8
    depth: NDArray[np.integer]
    inner: F8
    steps: I8

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
    back : bool array, shape (k,)
        Boxes through which data flows along -x: the back of a winding.
    """

    low: F8
    high: F8
    depth: NDArray[np.integer]
    back: NDArray[np.bool_]

    def take(self, index: NDArray[np.bool_]) -> Obstacles:
        """Some of the boxes."""
        return Obstacles(*(getattr(self, f)[index] for f in self.__dataclass_fields__))


@dataclass(frozen=True)
class Ramps:
    """The pieces of routes that are not level: at the source, on the way, at the target.

    Attributes
    ----------
    first, last : float64 array, shape (m, 3, 3)
        Where the three ramps of each route begin and end.
    bulge : float64 array, shape (m, 3)
        As `explorer.routes.curves.curves` takes it.
    pieces : int8 array, shape (m,)
        3 for a route that changes its track on the way, 2 for one that has no middle ramp, 1 for
        one that turns round to its target on the first.
    """

    first: F8
    last: F8
    bulge: F8
    pieces: NDArray[np.int8]

    @classmethod
    def none(cls, count: int = 0) -> Ramps:
        """Ramps of so many routes, all zero."""
        shape = (count, 3, 3)
        return cls(
            np.zeros(shape), np.zeros(shape), np.zeros(shape[:2]), np.full(count, 2, np.int8)
        )

    @classmethod
    def joined(cls, parts: Sequence[Ramps]) -> Ramps:
        """The ramps of several lists of routes."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in _FIELDS))

    def take(self, index: I8) -> Ramps:
        """The ramps of the routes at these positions."""
        return Ramps(self.first[index], self.last[index], self.bulge[index], self.pieces[index])


_FIELDS = ("first", "last", "bulge", "pieces")
