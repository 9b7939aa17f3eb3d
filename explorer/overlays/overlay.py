"""What an overlay is: one number per drawn edge, shown as colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Kind = Literal["near zero", "no number", "codes"]


@dataclass(frozen=True)
class Counting:
    """What is counted, where sums of weights do not tell enough.

    Attributes
    ----------
    kind : {"near zero", "no number", "codes"}
        Weights with |w| <= `threshold`, of the finite ones; weights that are NaN or infinite, of
        all; codes that occur, of those there can be.
    threshold : float
        Of the first kind; 0 for others.
    """

    kind: Kind
    threshold: float = 0.0


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted among the weights of each edge; arrays of shape (m,).

    Attributes
    ----------
    hits, of : int64 array
        So many of so many; `of` is 0 where nothing is known (yet), or there is nothing to count.
    """

    hits: I8
    of: I8

    def take(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Counts:
        """Those of some of the edges."""
        return Counts(self.hits[index], self.of[index])


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
    counted : Counts or None
        What the overlay counts, if it does.
    """

    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    before: F8 | None = None
    counted: Counts | None = field(default=None, kw_only=True)

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

    @property
    def share(self) -> F8:
        """Share of what was counted, 0 to 1; NaN where nothing is known or can be counted."""
        if self.counted is None:
            return np.full(len(self.sum_sq), np.nan)
        hits, of = self.counted.hits, self.counted.of
        return np.where(of > 0, hits / np.maximum(of, 1), np.nan)


@dataclass(frozen=True)
class Overlay:
    """An overlay as the registry knows it.

    Attributes
    ----------
    name : str
        What a person types.
    title : str
        Head of the colour scale in the legend; ``{threshold}`` stands for that of the view.
    summary : str
        One line for menus.
    values : callable EdgeStats -> float64 array, shape (m,)
        The number shown for each edge; NaN leaves an edge grey.
    diverging : bool
        True when the sign matters: the scale is symmetric about zero.
    compares : bool
        True for what is offered where two files are compared, and only there.
    counts : {"near zero", "no number", "codes"} or None
        What has to be counted; the numbers are then shares of it, 0 to 1.
    told : str
        How a count is told of one edge: ``{hits}``, ``{of}`` and ``{threshold}`` stand for numbers.
    grey : str
        Why edges with weights are grey, where that is not because they are not yet counted.
    scale : str
        The kind of colour scale that suits it, or ``"automatic"``: as suits the numbers.
    threshold : float
        Of the view, once `at` has put it in.
    """

    name: str
    title: str
    summary: str
    values: Callable[[EdgeStats], F8]
    diverging: bool = False
    compares: bool = False
    counts: Kind | None = None
    told: str = ""
    grey: str = ""
    scale: str = "automatic"
    threshold: float = 0.0

    def tells(self, stats: EdgeStats) -> NDArray[np.bool_]:
        """Which edges have a number; the others are grey."""
        there = (stats.count > 0) | (stats.share > 0)
        return np.asarray(there & ~np.isnan(self.values(stats)))

    def at(self, threshold: float) -> Overlay:
        """The same for a view with this threshold: it stands in the texts."""
        number = f"{threshold:.6g}"
        title, told = (text.replace("{threshold}", number) for text in (self.title, self.told))
        return replace(self, title=title, told=told, threshold=threshold)

    @property
    def counting(self) -> Counting | None:
        """What is to be counted."""
        if self.counts is None:
            return None
        return Counting(self.counts, self.threshold if self.counts == "near zero" else 0.0)
