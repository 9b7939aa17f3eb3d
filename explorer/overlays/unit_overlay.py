"""What a unit overlay is: one number per drawn box, shown as its colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Side = Literal["in", "out", "both"]
KIND = "kind"
"""The name of no unit overlay: boxes are coloured by the kind of layer."""


@dataclass(frozen=True, eq=False)
class UnitStats:
    """Statistics of the weights of the units inside each box; arrays of shape (n,).

    Attributes
    ----------
    units : int64 array
        Units that have weights on the side in question; 0 where none has, or nothing is known.
    weights : int64 array
        How many weights they have.
    sum_sq : float64 array
        Σw² of all of them.
    dead : int64 array
        Units all of whose weights are zero.
    known : bool array
        Whether all that is inside has been read.
    """

    units: I8
    weights: I8
    sum_sq: F8
    dead: I8
    known: NDArray[np.bool_]

    @property
    def norm(self) -> F8:
        """√(Σw² / units): of one unit the norm of its weights, of several their RMS; else NaN."""
        return np.asarray(np.sqrt(self._per_unit(self.sum_sq)))

    @property
    def dead_share(self) -> F8:
        """Share of the units that are dead; NaN where there is none."""
        return self._per_unit(self.dead)

    def _per_unit(self, values: NDArray[np.number]) -> F8:
        told = self.known & (self.units > 0)
        return np.where(told, values / np.maximum(self.units, 1), np.nan)


@dataclass(frozen=True)
class UnitOverlay:
    """A unit overlay as the registry knows it.

    Attributes
    ----------
    name : str
        What a person types.
    title : str
        Head of its colour scale in the legend.
    summary : str
        One line for menus.
    side : {"in", "out", "both"}
        Which weights of a unit: those into it, those that act on what it sends, or either.
    values : callable UnitStats -> float64 array, shape (n,)
        The number shown for each box; NaN leaves it grey.
    one, many : str
        How the number is told of one unit, and of several: ``{value}``, ``{units}``,
        ``{weights}`` and ``{dead}`` stand for numbers.
    shares : bool
        Whether the numbers are shares, 0 to 1.
    """

    name: str
    title: str
    summary: str
    side: Side
    values: Callable[[UnitStats], F8]
    one: str
    many: str
    shares: bool = False
