"""What weights look like in numbers: exact statistics and exact histograms, out of core.

Weights may be far larger than memory: they are read twice in blocks, once for the range and the
bins of `explorer.pyramid.histograms`, once for the deviation and for what lies in one of those
bins but not in one bar. Until then what was read so far is an estimate of the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.pyramid.histograms import NONE, Counter, Histogram
from explorer.pyramid.histograms import edges as code_edges

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Values = NDArray[Any]
BINS = 64
#: Elements read at once.
BLOCK = 1 << 18
_TOLD_EVERY = 0.3  # seconds between two estimates
_PER_OCTAVE = 4  # bars of a histogram of magnitudes per factor of two
_OCTAVES = 16


class FlatReader(Protocol):
    """Reads elements of a weight."""

    def read_flat(self, weight: Weight, start: int, stop: int) -> NDArray[Any]:
        """Elements ``start:stop`` in C order."""


class Stopped(Exception):  # noqa: N818  (not an error: the reader was told to stop)
    """The caller no longer wants the result."""


@dataclass(frozen=True)
class WeightSummary:
    """Statistics over all finite elements of some weights.

    Attributes
    ----------
    size, finite, zeros : int
        Elements in all, finite ones, and those that are exactly zero.
    low, high, mean, std : float
        Smallest, largest, mean and standard deviation; NaN when nothing is finite.
    counts : int64 array, shape (64,)
        Elements per bin; a bin holds its lower edge, the last one both. Empty when nothing is
        finite, or when the range is too wide or too narrow for bins in float64.
    edges : float64 array, shape (65,)
        Evenly spaced from `low` to `high`; half a unit to both sides when all are equal.
    codes : Histogram
        The same elements in finer bins.
    read : int
        Elements that all this is about: fewer than `size` while the rest is being read, and then
        an estimate of it.
    """

    size: int
    finite: int
    zeros: int
    low: float
    high: float
    mean: float
    std: float
    counts: I8
    edges: F8
    codes: Histogram = NONE
    read: int = -1

    @property
    def exact(self) -> bool:
        """Whether everything was read, and every bar is exact."""
        return self.read in (-1, self.size)

    def octaves(self) -> tuple[I8, F8, int]:
        """A histogram of |w|, four bars per factor of two.

        Returns
        -------
        counts : int64 array, shape (b,)
            At most 64 bars up to the largest; empty where all is zero.
        edges : float64 array, shape (b + 1,)
        smaller : int
            Elements below the first edge, zeros among them.
        """
        magnitudes = self.codes.magnitudes()
        step = 128 // _PER_OCTAVE
        folded = np.add.reduceat(magnitudes, np.arange(0, len(magnitudes), step))
        folded[0] -= min(self.codes.zeros, int(folded[0]))
        seen = np.flatnonzero(folded)
        if not len(seen):
            return np.zeros(0, np.int64), np.zeros(0), self.codes.zeros
        last = int(seen[-1]) + 1
        first = max(int(seen[0]), last - _OCTAVES * _PER_OCTAVE)
        bounds = code_edges()[np.minimum(np.arange(first, last + 1) * step, len(magnitudes))]
        smaller = int(folded[:first].sum()) + self.codes.zeros
        return folded[first:last], np.where(np.isfinite(bounds), bounds, self.high), smaller


def summarize(
    reader: FlatReader,
    weights: Sequence[Weight],
    stop: Callable[[], bool] = lambda: False,
    told: Callable[[WeightSummary], None] = lambda _: None,
) -> WeightSummary:
    """Read weights and summarise them.

    Parameters
    ----------
    reader : FlatReader
    weights : sequence of Weight
        Of numeric types, with their bytes in the file.
    stop : callable () -> bool
        Asked between blocks.
    told : callable (WeightSummary)
        Called now and then with what is known so far, `exact` being false.

    Raises
    ------
    ModelError
        If a file was changed or cannot be read.
    Stopped
        When `stop` says so.
    """
    first = _First(sum(w.size for w in weights))
    later = time.monotonic() + _TOLD_EVERY
    for values in _blocks(reader, weights, stop):
        first.add(values)
        if time.monotonic() > later:
            told(first.estimate())
            later = time.monotonic() + _TOLD_EVERY
    if not first.finite:
        none = math.nan
        return WeightSummary(
            first.size, 0, 0, none, none, none, none, np.zeros(0, np.int64), np.zeros(0)
        )
    codes, mean = first.counter.result(), first.total / first.finite
    bars, squares = _Bars(codes if first.single else NONE, first.low, first.high), 0.0
    for values in _blocks(reader, weights, stop):
        kept = _finite(values)
        bars.add(kept)
        with np.errstate(over="ignore"):
            apart = np.subtract(kept, mean, dtype=np.float64)
            squares += float(np.dot(apart, apart))
    return WeightSummary(
        first.size, first.finite, first.zeros, first.low, first.high, mean,
        math.sqrt(squares / first.finite), bars.counts, bars.edges, codes,
    )  # fmt: skip


class _First:
    """What one pass over the weights tells."""

    def __init__(self, size: int) -> None:
        self.size, self.read, self.finite, self.zeros = size, 0, 0, 0
        self.total, self.low, self.high = 0.0, math.inf, -math.inf
        self.counter, self.single = Counter(), True

    def add(self, values: Values) -> None:
        kept = _finite(values)
        self.read += len(values)
        self.single = self.single and values.dtype == np.float32
        self.counter.add(values)
        if not len(kept):
            return
        self.finite += len(kept)
        self.zeros += len(kept) - int(np.count_nonzero(kept))
        with np.errstate(over="ignore"):
            self.total += float(kept.sum(dtype=np.float64))
        self.low, self.high = min(self.low, float(kept.min())), max(self.high, float(kept.max()))

    def estimate(self) -> WeightSummary:
        """From what was read so far, bars by the middle of each fine bin."""
        codes = self.counter.result()
        edges = _even(self.low, self.high)
        counts = np.zeros(max(len(edges) - 1, 0), np.int64)
        if len(counts):
            middle = _signed_ends(codes.codes).mean(axis=1)
            at = np.clip(np.searchsorted(edges, middle, "right") - 1, 0, BINS - 1)
            np.add.at(counts, at, codes.counts)
        mean = self.total / max(self.finite, 1)
        # Never the whole: the last bars are only exact after the second pass.
        read = min(self.read, self.size - 1)
        return WeightSummary(self.size, self.finite, self.zeros, self.low, self.high, mean,
                             math.nan, counts, edges, codes, read)  # fmt: skip


def _finite(values: Values) -> Values:
    """The finite ones of these; the same array where all are."""
    if values.dtype.kind != "f" or not len(values):
        return values
    if math.isfinite(values.min()) and math.isfinite(values.max()):
        return values
    return values[np.isfinite(values)]


def _blocks(
    reader: FlatReader, weights: Sequence[Weight], stop: Callable[[], bool]
) -> Iterator[Values]:
    for weight in weights:
        for start in range(0, weight.size, BLOCK):
            if stop():
                raise Stopped
            yield _plain(reader.read_flat(weight, start, min(start + BLOCK, weight.size)))


def _plain(values: Values) -> Values:
    """Numbers as float32 or float64: exact, and none overflows when made positive."""
    small = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return values.astype(np.float32 if small else np.float64, copy=False)


def _even(low: float, high: float) -> F8:
    """Edges of even bins; none where float64 cannot tell them apart."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1) if math.isfinite(high - low) else np.zeros(1)
    usable = len(edges) > 1 and bool(np.all(edges[1:] > edges[:-1]))
    return edges if usable else np.zeros(0)


def _signed_ends(codes: NDArray[np.uint16]) -> F8:
    """Smallest and largest float32 of each code: float64 array of shape (k, 2)."""
    first = codes.astype(np.uint32) << 16
    ends = np.stack((first, first | 0xFFFF), axis=1).view(np.float32)
    return np.sort(np.nan_to_num(ends.astype(np.float64)), axis=1)


class _Bars:
    """Counts elements in even bins, as `numpy.histogram` does.

    A fine bin that lies in one bar is counted already; only what lies in one that an edge cuts is
    looked at, one by one.

    Parameters
    ----------
    codes : Histogram
        Of the elements that will be added, all of them in single precision; or `NONE`.
    low, high : float
        Their range.
    """

    def __init__(self, codes: Histogram, low: float, high: float) -> None:
        self.edges = _even(low, high)
        self.counts = np.zeros(max(len(self.edges) - 1, 0), np.int64)
        self._cut = np.ones(1 << 16, bool)
        if not len(self.counts):
            return
        ends = self._bar(_signed_ends(codes.codes))
        inside = ends[:, 0] == ends[:, 1]
        np.add.at(self.counts, ends[inside, 0], codes.counts[inside])
        self._cut[codes.codes[inside]] = False

    def add(self, values: Values) -> None:
        """Count finite elements."""
        if not len(self.counts):
            return
        if values.dtype == np.float32:
            values = values[self._cut[np.ascontiguousarray(values).view(np.uint32) >> 16]]
        self.counts += np.bincount(self._bar(values.astype(np.float64)), minlength=BINS)

    def _bar(self, values: F8) -> I8:
        found = np.searchsorted(self.edges, values.ravel(), "right") - 1
        return np.asarray(np.clip(found, 0, BINS - 1).reshape(values.shape), np.int64)
