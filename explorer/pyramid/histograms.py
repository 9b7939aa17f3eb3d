"""How many weights have which value: exact counts over bins that are the same for every weight.

A bin is the upper half of a number in single precision: its sign, its exponent and seven more
bits, which is what bfloat16 keeps. Bins are therefore 0.4 to 0.8 % wide whatever the scale of
the weights, histograms of different weights are added up bin by bin, and where all numbers are
bfloat16 or narrower every bin holds one value only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.pyramid.level0 import LARGEST, Reader, Values

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
CODES = 1 << 16
"""Upper halves of numbers in single precision."""
BINS = 0x7F80
"""Bins of magnitudes; the codes behind them are infinite or no numbers."""
_CHUNK = 1 << 20  # elements read at once
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many of some weights have which value.

    Attributes
    ----------
    codes : uint16 array, shape (k,)
        Upper halves of the numbers that occur, ascending: below 32 768 from zero up, then the
        negative ones from zero down.
    counts : int64 array, shape (k,)
        Finite weights in each bin.
    zeros, non_finite : int
        Weights that are exactly zero (they are in `counts` too), and those that are NaN, infinite
        or beyond 1e140 (they are not).
    plain : bool
        Whether each bin holds one value only, its edge nearest to zero.
    """

    codes: NDArray[np.uint16]
    counts: I8
    zeros: int = 0
    non_finite: int = 0
    plain: bool = True

    @property
    def finite(self) -> int:
        """Finite weights in all."""
        return int(self.counts.sum())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 200 + self.codes.nbytes + self.counts.nbytes

    def magnitudes(self) -> I8:
        """Weights by |w|: int64 array of shape (BINS,), bin i from ``edges()[i]`` up."""
        return np.asarray(np.bincount(self.codes & 0x7FFF, self.counts, BINS).astype(np.int64))

    def signed(self) -> tuple[F8, I8]:
        """Weights by w.

        Returns
        -------
        float64 array, shape (k + 1,)
            Edges of the bins from the lowest to the highest that holds a weight; empty without
            any. A bin of negative numbers holds its upper edge, one of others its lower one.
        int64 array, shape (k,)
        """
        if not len(self.codes):
            return np.zeros(0), np.zeros(0, np.int64)
        # Counted from zero, bin k of the positive numbers is k, bin k of the negative -1 - k.
        code = self.codes.astype(np.int64)
        place = np.where(code < 0x8000, code, 0x7FFF - code)
        low, high = int(place.min()), int(place.max()) + 1
        counts = np.zeros(high - low, np.int64)
        counts[place - low] = self.counts
        at = np.arange(low, high + 1)
        return np.sign(at) * edges()[np.abs(at)], counts


NONE = Histogram(np.zeros(0, np.uint16), np.zeros(0, np.int64))
"""Of no weights."""


@lru_cache(maxsize=1)
def edges() -> F8:
    """Edges of the bins of magnitudes: float64 array of shape (BINS + 1,), the last infinite.

    Bin i holds ``edges()[i] <= |w| < edges()[i + 1]``; the last one holds what is beyond single
    precision too.
    """
    found = (np.arange(BINS + 1, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
    found.flags.writeable = False
    return found


class Counter:
    """Counts values as they are read."""

    def __init__(self) -> None:
        self._counts = np.zeros(CODES, np.int64)
        self._zeros = self._wrong = 0
        self._plain = True

    def add(self, values: Values) -> None:
        """Count some values: a float array of any shape."""
        single = np.ascontiguousarray(values).reshape(-1)
        if single.dtype != np.float32:
            single = self._toward_zero(single.astype(np.float64, copy=False))
        halves = single.view(np.uint16).reshape(-1, 2)
        low, high = halves[:, int(not np.little_endian)], halves[:, int(np.little_endian)]
        self._counts += np.bincount(high, minlength=CODES)
        self._zeros += single.size - int(np.count_nonzero(single))
        self._plain = self._plain and not low.any()

    def _toward_zero(self, values: F8) -> NDArray[np.float32]:
        """The same in single precision, in the same bins; what is no number stays none."""
        size = np.abs(values)
        wrong = ~(size <= LARGEST)
        self._wrong += int(np.count_nonzero(wrong))
        values, size = values[~wrong], size[~wrong]
        kept = np.minimum(size, _LARGEST_SINGLE).astype(np.float32)
        kept = np.where(kept > size, np.nextafter(kept, np.float32(0)), kept)
        tiny = (kept == 0) & (size > 0)
        if tiny.any() or not np.array_equal(kept, size):
            self._plain = False
        self._zeros -= int(np.count_nonzero(tiny))
        return np.copysign(kept, values).astype(np.float32, copy=False)

    def result(self) -> Histogram:
        """What was counted so far."""
        finite = np.concatenate((self._counts[:BINS], self._counts[0x8000 : 0x8000 + BINS]))
        wrong = int(self._counts.sum() - finite.sum()) + self._wrong
        found = np.flatnonzero(finite)
        codes = np.where(found < BINS, found, found - BINS + 0x8000).astype(np.uint16)
        return Histogram(codes, finite[found], self._zeros, wrong, self._plain)


def weight_histogram(
    reader: Reader, weight: Weight, stopped: Callable[[], bool] = lambda: False
) -> Histogram | None:
    """Count the values of a weight; ``None`` when it was stopped.

    Parameters
    ----------
    reader : Reader
    weight : Weight
        Of floats, or of codes that are decoded.
    stopped : callable () -> bool
        Asked every few MB.

    Raises
    ------
    ModelError
        If the file was changed or cannot be read.
    """
    found = Counter()
    for start in range(0, weight.size, _CHUNK):
        if stopped():
            return None
        values = reader.read_flat(weight, start, min(start + _CHUNK, weight.size))
        found.add(values if values.dtype.kind == "f" else values.astype(np.float64))
    return found.result()


def added(histograms: Sequence[Histogram]) -> Histogram:
    """All of them together."""
    if len(histograms) < 2:
        return histograms[0] if histograms else NONE
    dense = np.zeros(CODES, np.int64)
    for one in histograms:
        dense[one.codes] += one.counts
    codes = np.flatnonzero(dense)
    return Histogram(
        codes.astype(np.uint16),
        dense[codes],
        sum(one.zeros for one in histograms),
        sum(one.non_finite for one in histograms),
        all(one.plain for one in histograms),
    )
