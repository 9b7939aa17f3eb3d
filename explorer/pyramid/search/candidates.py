"""Pairs of units that may be among the strongest, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Rank = Literal["rms", "sum_sq"]
"""What pairs are ordered by: the root mean square of their weights, or the sum of squares."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs and sums over the finite weights of each; all arrays have one entry per pair.

    Attributes
    ----------
    out, inside : int32 array
        Labels of the target's and the source's unit.
    sum_sq, sum, sum_abs, max_abs : float64 array
    count : int64 array
        Finite weights, at least one.
    """

    out: I4
    inside: I4
    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: I8

    def value(self, rank: Rank) -> F8:
        """What the pairs are ordered by: mean square or sum of squares."""
        return self.sum_sq if rank == "sum_sq" else self.sum_sq / self.count

    def best(self, k: int, rank: Rank = "rms") -> Candidates:
        """The k strongest, strongest first, ties by (out, inside)."""
        value = self.value(rank)
        if len(value) > k > 0:
            least = np.partition(value, len(value) - k)[len(value) - k]
            keep = np.flatnonzero(value >= least)
        else:
            keep = np.arange(len(value))
        order = np.lexsort((self.inside[keep], self.out[keep], -value[keep]))[: max(k, 0)]
        return self.at(keep[order])

    def at(self, index: NDArray[np.intp]) -> Candidates:
        """Some of the candidates."""
        return Candidates(
            self.out[index],
            self.inside[index],
            self.sum_sq[index],
            self.sum[index],
            self.sum_abs[index],
            self.max_abs[index],
            self.count[index],
        )

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        """All of several lists, which may be none."""
        empty = np.empty(0, np.int32)
        parts = [cls(empty, empty, *(np.empty(0),) * 4, np.empty(0, np.int64)), *parts]
        names = ("out", "inside", "sum_sq", "sum", "sum_abs", "max_abs", "count")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
