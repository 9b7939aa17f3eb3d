"""What a weight looks like: exact statistics, an exact histogram and a small picture of it.

A weight may be far larger than memory: it is read twice in blocks, once for the range and the
picture, once for the deviation and the bins, whose places follow from the range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight

F8 = NDArray[np.float64]
BINS = 64
#: Longest side of the picture of a weight, pixels.
SIDE = 256
#: Elements read at once.
BLOCK = 1 << 21


class FlatReader(Protocol):
    """Reads elements of a weight."""

    def read_flat(self, weight: Weight, start: int, stop: int) -> NDArray[Any]:
        """Elements ``start:stop`` in C order."""


class Stopped(Exception):  # noqa: N818  (not an error: the reader was told to stop)
    """The caller no longer wants the result."""


@dataclass(frozen=True)
class HeatMap:
    """A weight as a small matrix: the largest |w| of each cell.

    The weight is seen as a matrix whose columns are its last axis and whose rows are all others,
    in the order of the file.

    Attributes
    ----------
    matrix : float64 array, shape (r, c)
        At most 256 × 256; NaN for a cell without a finite value.
    rows, columns : int
        Size of the whole matrix.
    cell : (int, int)
        Rows and columns per cell; the last ones may hold fewer.
    """

    matrix: F8
    rows: int
    columns: int
    cell: tuple[int, int]


@dataclass(frozen=True)
class WeightSummary:
    """Statistics over all finite elements of a weight.

    Attributes
    ----------
    size, finite, zeros : int
        Elements in all, finite ones, and those that are exactly zero.
    low, high, mean, std : float
        Smallest, largest, mean and standard deviation (over the whole weight, not a sample);
        NaN when nothing is finite.
    counts : int64 array, shape (64,)
        Elements per bin; a bin holds its lower edge, the last one both. Empty when nothing is
        finite, or when the range is too wide or too narrow for bins in float64.
    edges : float64 array, shape (65,)
        Evenly spaced from `low` to `high`; half a unit to both sides when all are equal.
    heat : HeatMap
    """

    size: int
    finite: int
    zeros: int
    low: float
    high: float
    mean: float
    std: float
    counts: NDArray[np.int64]
    edges: F8
    heat: HeatMap


def summarize(
    reader: FlatReader, weight: Weight, stop: Callable[[], bool] = lambda: False
) -> WeightSummary:
    """Read a weight and summarise it.

    Parameters
    ----------
    reader : FlatReader
    weight : Weight
        Of a numeric type, with its bytes in the file.
    stop : callable () -> bool
        Asked between blocks.

    Raises
    ------
    ModelError
        If the file was changed or cannot be read.
    Stopped
        When `stop` says so.
    """
    heat = _Heat(weight)
    finite = zeros = 0
    total, low, high = 0.0, math.inf, -math.inf
    for start, values in _blocks(reader, weight, heat.columns, stop):
        good = np.isfinite(values)
        heat.add(start, values, good)
        kept = values if good.all() else values[good]
        if len(kept):
            finite += len(kept)
            zeros += len(kept) - int(np.count_nonzero(kept))
            with np.errstate(over="ignore"):
                total += float(kept.sum())
            low, high = min(low, float(kept.min())), max(high, float(kept.max()))
    if not finite:
        none = math.nan
        return WeightSummary(
            weight.size, 0, 0, none, none, none, none, np.zeros(0, np.int64), np.zeros(0),
            heat.result(),
        )  # fmt: skip
    mean = total / finite
    bins, squares = _Bins(low, high), 0.0
    for _, values in _blocks(reader, weight, heat.columns, stop):
        kept = values[np.isfinite(values)]
        bins.add(kept)
        with np.errstate(over="ignore", invalid="ignore"):
            squares += float(np.square(kept - mean).sum())
    return WeightSummary(
        weight.size, finite, zeros, low, high, mean, math.sqrt(squares / finite), bins.counts,
        bins.edges, heat.result(),
    )  # fmt: skip


def _blocks(
    reader: FlatReader, weight: Weight, columns: int, stop: Callable[[], bool]
) -> Iterator[tuple[int, F8]]:
    """Start and elements of each block; whole rows, or whole cells of one long row."""
    step = max(BLOCK // columns, 1) * columns
    if columns > BLOCK:
        cell = math.ceil(columns / SIDE)
        # A cell's width need not divide a row; a row is then cut at its cells.
        step = max(BLOCK // cell, 1) * cell
        for row in range(0, weight.size, columns):
            for start in range(row, row + columns, step):
                if stop():
                    raise Stopped
                end = min(start + step, row + columns)
                yield start, reader.read_flat(weight, start, end).astype(np.float64)
        return
    for start in range(0, weight.size, step):
        if stop():
            raise Stopped
        end = min(start + step, weight.size)
        yield start, reader.read_flat(weight, start, end).astype(np.float64)


class _Heat:
    """Gathers the largest |w| per cell, block by block."""

    def __init__(self, weight: Weight) -> None:
        self.columns = max(weight.shape[-1] if weight.shape else 1, 1)
        self.rows = weight.size // self.columns
        self.cell = (max(math.ceil(self.rows / SIDE), 1), max(math.ceil(self.columns / SIDE), 1))
        shape = (math.ceil(self.rows / self.cell[0]), math.ceil(self.columns / self.cell[1]))
        self._matrix = np.full(shape, -1.0)

    def add(self, start: int, values: F8, good: NDArray[np.bool_]) -> None:
        """Take a block that begins at element `start` and ends with a row or within one."""
        size = np.where(good, np.abs(values), -1.0)
        row, column = divmod(start, self.columns)
        width = min(self.columns - column, len(size))
        block = size.reshape(-1, width)
        cuts = np.arange(0, width, self.cell[1])
        columns = np.maximum.reduceat(block, cuts, axis=1)
        first = column // self.cell[1]
        rows = (row + np.arange(len(block))) // self.cell[0]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        cells = np.maximum.reduceat(columns, starts, axis=0)
        part = (rows[starts][:, None], np.arange(first, first + len(cuts)))
        self._matrix[part] = np.maximum(self._matrix[part], cells)

    def result(self) -> HeatMap:
        """The picture so far."""
        matrix = np.where(self._matrix < 0, np.nan, self._matrix)
        return HeatMap(matrix, self.rows, self.columns, self.cell)


class _Bins:
    """Counts elements in even bins, as `numpy.histogram` does."""

    def __init__(self, low: float, high: float) -> None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, BINS + 1) if math.isfinite(high - low) else np.zeros(1)
        usable = len(edges) > 1 and bool(np.all(edges[1:] > edges[:-1]))
        self.edges = edges if usable else np.zeros(0)
        self.counts = np.zeros(BINS if usable else 0, np.int64)

    def add(self, values: F8) -> None:
        """Count these."""
        if not len(self.counts):
            return
        low, high = self.edges[0], self.edges[-1]
        at = (values - low) / (high - low) * BINS
        index = np.minimum(at.astype(np.int64), BINS - 1)
        # Rounding may put a value on the wrong side of an edge.
        index -= values < self.edges[index]
        index += (values >= self.edges[index + 1]) & (index != BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)
