"""What an overlay is: one number per drawn edge, shown as colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class EdgeStats:
    """Statistics of the weights each edge stands for; all arrays of shape (m,).

    Attributes
    ----------
    sum_sq, sum, sum_abs, max_abs : float64 array
        Σw², Σw, Σ|w| and max |w| over the finite weights.
    count : int64 array
        Number of finite weights.
    non_finite : int64 array
        Number of weights that are NaN or infinite; they are left out of the sums.
    before : float64 array or None
        Where two files are compared and the weights are differences: root mean square of the
        same weights in the older file.
    """

    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    before: F8 | None = None

    @property
    def rms(self) -> F8:
        """Root mean square; 0 for an edge without weights."""
        return np.sqrt(self.sum_sq / np.maximum(self.count, 1))

    @property
    def signed_mean(self) -> F8:
        """Mean with sign; 0 for an edge without weights."""
        return self.sum / np.maximum(self.count, 1)

    @property
    def relative(self) -> F8:
        """RMS of differences over RMS of the older weights; infinite where those are all 0."""
        if self.before is None:
            return np.zeros(len(self.sum_sq))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.rms > 0, self.rms / self.before, 0.0)


@dataclass(frozen=True)
class Overlay:
    """An overlay as the registry knows it.

    Attributes
    ----------
    name : str
        What a person types.
    title : str
        Head of the colour scale in the legend.
    summary : str
        One line for menus.
    values : callable EdgeStats -> float64 array, shape (m,)
        The number shown for each edge.
    diverging : bool
        True when the sign matters: the scale is symmetric about zero.
    compares : bool
        True for what is offered where two files are compared, and only there.
    """

    name: str
    title: str
    summary: str
    values: Callable[[EdgeStats], F8]
    diverging: bool = False
    compares: bool = False
