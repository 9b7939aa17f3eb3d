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
Values = NDArray[Any]
BINS = 64
#: Longest side of the picture of a weight, pixels.
SIDE = 256
#: Elements read at once.
BLOCK = 1 << 18


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
        kept = _finite(values)
        heat.add(start, values, kept is values)
        if len(kept):
            finite += len(kept)
            zeros += len(kept) - int(np.count_nonzero(kept))
            with np.errstate(over="ignore"):
                total += float(kept.sum(dtype=np.float64))
            low, high = min(low, float(kept.min())), max(high, float(kept.max()))
    if not finite:
        none = math.nan
        return WeightSummary(
            weight.size, 0, 0, none, none, none, none, np.zeros(0, np.int64), np.zeros(0),
            heat.result(),
        )  # fmt: skip
    mean = total / finite
    bins = _Bins(low, high)
    for _, values in _blocks(reader, weight, heat.columns, stop):
        bins.add(_finite(values))
    # About the lowest value, the squares lose no digits that matter to the deviation.
    variance = bins.squares / finite - (mean - low) * (mean - low)
    return WeightSummary(
        weight.size, finite, zeros, low, high, mean, math.sqrt(max(variance, 0.0)), bins.counts,
        bins.edges, heat.result(),
    )  # fmt: skip


def _finite(values: Values) -> Values:
    """The finite ones of these; the same array where all are."""
    if values.dtype.kind != "f":
        return values
    if math.isfinite(values.min()) and math.isfinite(values.max()):
        return values
    return values[np.isfinite(values)]


def _blocks(
    reader: FlatReader, weight: Weight, columns: int, stop: Callable[[], bool]
) -> Iterator[tuple[int, Values]]:
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
                yield start, _plain(reader.read_flat(weight, start, end))
        return
    for start in range(0, weight.size, step):
        if stop():
            raise Stopped
        end = min(start + step, weight.size)
        yield start, _plain(reader.read_flat(weight, start, end))


def _plain(values: Values) -> Values:
    """Numbers as float32 or float64: exact, and none overflows when made positive."""
    small = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return values.astype(np.float32 if small else np.float64, copy=False)


class _Heat:
    """Gathers the largest |w| per cell, block by block."""

    def __init__(self, weight: Weight) -> None:
        self.columns = max(weight.shape[-1] if weight.shape else 1, 1)
        self.rows = weight.size // self.columns
        self.cell = (max(math.ceil(self.rows / SIDE), 1), max(math.ceil(self.columns / SIDE), 1))
        shape = (math.ceil(self.rows / self.cell[0]), math.ceil(self.columns / self.cell[1]))
        self._matrix = np.full(shape, -1.0)

    def add(self, start: int, values: Values, all_finite: bool) -> None:
        """Take a block that begins at element `start` and ends with a row or within one."""
        size = np.abs(values)
        if not all_finite:
            size[~np.isfinite(size)] = -1.0
        row, column = divmod(start, self.columns)
        width = min(self.columns - column, len(size))
        block = size.reshape(-1, width)
        rows = (row + np.arange(len(block))) // self.cell[0]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        # Rows first: whole rows are compared element by element, many at a time.
        cells = np.maximum.reduceat(block, starts, axis=0)
        cuts = np.arange(0, width, self.cell[1])
        cells = np.maximum.reduceat(cells, cuts, axis=1)
        first = column // self.cell[1]
        part = (rows[starts][:, None], np.arange(first, first + len(cuts)))
        self._matrix[part] = np.maximum(self._matrix[part], cells)

    def result(self) -> HeatMap:
        """The picture so far."""
        matrix = np.where(self._matrix < 0, np.nan, self._matrix)
        return HeatMap(matrix, self.rows, self.columns, self.cell)


class _Bins:
    """Counts elements in even bins, as `numpy.histogram` does, and adds up their squares."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self.squares = 0.0
        self._at, self._index = np.empty(0), np.empty(0, np.intp)
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, BINS + 1) if math.isfinite(high - low) else np.zeros(1)
        usable = len(edges) > 1 and bool(np.all(edges[1:] > edges[:-1]))
        self.edges = edges if usable else np.zeros(0)
        self.counts = np.zeros(BINS if usable else 0, np.int64)

    def add(self, values: Values) -> None:
        """Count these; `squares` is taken about the lowest value."""
        if len(values) > len(self._at):
            # Kept from block to block: fresh memory costs more than the arithmetic on it.
            self._at, self._index = np.empty(len(values)), np.empty(len(values), np.intp)
        at, index = self._at[: len(values)], self._index[: len(values)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(values, self._low, out=at, dtype=np.float64)
            self.squares += float(np.dot(at, at))
        if not len(self.counts):
            return
        at -= float(self.edges[0]) - self._low
        at *= BINS / (float(self.edges[-1]) - float(self.edges[0]))
        np.copyto(index, at, casting="unsafe")
        # Rounding may put a value that is close to an edge on its wrong side.
        at -= np.rint(at)
        np.abs(at, out=at)
        close = np.flatnonzero(at < 1e-6)
        if len(close):
            near, place = values[close].astype(np.float64), np.minimum(index[close], BINS - 1)
            place -= near < self.edges[place]
            place += (near >= self.edges[place + 1]) & (place != BINS - 1)
            index[close] = place
        self.counts += np.bincount(index, minlength=BINS)
