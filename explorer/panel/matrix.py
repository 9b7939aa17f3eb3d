"""A weight as a matrix: out units × in units, from the pyramid's blocks and the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.pyramid import ComparedPyramid
from explorer.network import Layer, Weight
from explorer.open_model import OpenModel
from explorer.overlays import Counts, Overlay
from explorer.panel.plane import Cells, Side, Span, Stop, index_text, many, numbers
from explorer.panel.weight_summary import Stopped
from explorer.pyramid.pyramid import Pyramid, Stats
from explorer.pyramid.tallies import Pairs, codes_used, count_where, near_zero
from explorer.weights.codecs import code_range
from explorer.weights.codecs.kinds import number_dtype
from explorer.weights.connections import Connection, Matrix
from explorer.weights.kernels import axes_of
from explorer.weights.weight_reader import WeightReader

_CACHE = 16 << 20  # bytes of the file that a matrix of its own keeps
_AT_ONCE = 4 << 20  # bytes read between two looks whether that is still wanted
_BAND = 1 << 23  # weights that are exported at once
ALL_TAPS = -1
Array = NDArray[Any]


class WeightMatrix:
    """A connection, or a weight that is none, as a plane.

    Parameters
    ----------
    pyramid : Pyramid
        Measures the connection.
    connection : Connection
    weight : Weight
        Where all its matrices lie.
    rows, columns : Side
        Out units and in units.
    """

    most_step: int = 1 << 30
    diverging: bool | None = None

    def __init__(
        self, pyramid: Pyramid, connection: Connection, weight: Weight, rows: Side, columns: Side
    ) -> None:
        self.pyramid, self.connection, self.weight = pyramid, connection, weight
        self.rows, self.columns = rows, columns

    @property
    def ready(self) -> bool:
        """Whether the weight has been measured."""
        return self.pyramid.ready(self.connection)

    def prepare(self, stop: Stop) -> None:
        """Measure the weight."""
        if not self.ready and not self.pyramid.build(self.connection, stop):
            raise Stopped

    def cost(self, rows: Span, columns: Span) -> int:
        """Bytes of the file that blocks do not answer."""
        labels = rows.labels(self.rows.size), columns.labels(self.columns.size)
        return self.pyramid.cost(self.connection, *labels)

    def stats(self, rows: Span, columns: Span, stop: Stop = lambda: False) -> Stats:
        """Sums over the weights of each cell: arrays of shape (rows.count, columns.count)."""
        return self._stats(self.pyramid, rows, columns, stop)

    def cells(self, rows: Span, columns: Span, overlay: Overlay, stop: Stop) -> Cells:
        """The overlay's number over the weights of each cell."""
        self.prepare(stop)
        stats, before = self.stats(rows, columns, stop), None
        if overlay.compares and isinstance(self.pyramid, ComparedPyramid):
            before = self._stats(self.pyramid.before, rows, columns, stop).rms
        counted = self._counted(rows, columns, overlay, stats, stop)
        values = numbers(stats, overlay, before, counted)
        return Cells(rows, columns, values, stats.mean, stats.count, stats.non_finite)

    def counts(self, overlay: Overlay, rows: Span, columns: Span) -> int:
        """Weights of the rectangle, where they have to be looked at one by one."""
        if overlay.counts not in ("near zero", "codes"):
            return 0
        return (rows.stop - rows.start) * (columns.stop - columns.start) * self.taps

    def suits(self, overlay: Overlay) -> bool:
        """Whether the weight has codes, where those are counted."""
        return overlay.counts != "codes" or bool(code_range(self.weight))

    def _counted(
        self, rows: Span, columns: Span, overlay: Overlay, stats: Stats, stop: Stop
    ) -> Counts | None:
        """What an overlay counts of each cell, where sums do not tell it."""
        if not self.counts(overlay, rows, columns) or not self.suits(overlay):
            return None
        labels = rows.labels(self.rows.size), columns.labels(self.columns.size)
        shape = rows.count, columns.count
        every = np.arange(shape[0] * shape[1])
        pairs = Pairs.of(labels, shape, (every // shape[1], every % shape[1]))
        if overlay.counts == "codes":
            reader = self.pyramid.level0.reader
            assert isinstance(reader, WeightReader)  # differences have no codes
            codes = codes_used(reader, self.connection, pairs, stop)
            if codes is None:
                raise Stopped
            used = codes[self.weight.name]
            return Counts(used.sum(axis=1), np.where(used.any(axis=1), used.shape[1], 0))
        close = near_zero(overlay.threshold)
        hits = count_where(self.pyramid.level0, self.connection, pairs, close, stop)
        if hits is None:
            raise Stopped
        return Counts(hits, stats.count.ravel())

    @property
    def about(self) -> str:
        """Out units × in units; of a strip, how long it is."""
        columns = many(self.columns.size, self.columns.title)
        if self.rows.size == 1 and self.rows.title == "row":
            return columns
        return f"{many(self.rows.size, self.rows.title)} × {columns}"

    def names(self, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
        """Units of rows and columns; a strip has no rows to tell of."""
        told = [] if self.rows.size == 1 else [self.rows.range(*rows)]
        return [*told, self.columns.range(*columns)]

    def place(self, row: int, column: int) -> str:
        """Index of the weights of a pair of units in the file."""
        for matrix in self.connection.matrices:
            at = _flat(matrix, row, column)
            if at is not None:
                last = at + (matrix.taps - 1) * matrix.tap_stride
                ends = (np.unravel_index(flat, self.weight.shape or (1,)) for flat in (at, last))
                first, stop = (tuple(int(i) for i in end)[: len(self.weight.shape)] for end in ends)
                return index_text(self.weight.role, first, stop)
        return ""

    @property
    def taps(self) -> int:
        """Weights of each pair that has any."""
        return max((m.taps for m in self.connection.matrices), default=1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of single weights: float32, or float64 where the file holds that or whole numbers."""
        return exact_dtype(self.weight)

    def bands(self, rows: Span, columns: Span, stop: Stop = lambda: False) -> Iterator[Array]:
        """Every weight of a rectangle, as it is in the file; steps do not matter.

        Yields
        ------
        float32 or float64 array, shape (some rows, columns, taps)
            From the first row to the last; NaN for pairs without a weight.
        """
        width = columns.stop - columns.start
        high = max(_BAND // max(width * self.taps, 1), 1)
        for first in range(rows.start, rows.stop, high):
            last = min(first + high, rows.stop)
            band = np.full((last - first, width, self.taps), np.nan, self.dtype)
            for matrix in self.connection.matrices:
                if stop():
                    raise Stopped
                self._fill(band, matrix, (first, last), (columns.start, columns.stop))
            yield band

    def _fill(
        self, band: Array, matrix: Matrix, rows: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        """Put what a matrix has of some rows and columns where it belongs."""
        out_count, in_count = matrix.minor, matrix.major
        if matrix.transposed:
            out_count, in_count = in_count, out_count
        out, out_at = _overlap(matrix.out_start, matrix.out_step, out_count, rows)
        inside, in_at = _overlap(matrix.in_start, matrix.in_step, in_count, columns)
        if out[0] >= out[1] or inside[0] >= inside[1]:
            return
        runs, across = (out, inside) if matrix.transposed else (inside, out)
        level0 = self.pyramid.level0
        for tap, values in enumerate(level0.taps(matrix, [runs], across, keep=False)):
            band[out_at, in_at, tap] = values if matrix.transposed else values.T

    def _stats(self, pyramid: Pyramid, rows: Span, columns: Span, stop: Stop) -> Stats:
        """Strip by strip, so that what is no longer wanted ends soon."""
        inside = columns.labels(self.columns.size)
        cost = pyramid.cost(self.connection, rows.labels(self.rows.size), inside)
        strips = min(max(-(-cost // _AT_ONCE), 1), rows.count)
        cuts = np.linspace(0, rows.count, strips + 1).astype(int).tolist()
        found = []
        for first, last in pairwise(cuts):
            if stop():
                raise Stopped
            part = rows.cut(first, last)
            labels = part.labels(self.rows.size)
            found.append(pyramid.stats(self.connection, labels, inside, part.count, columns.count))
        return found[0] if len(found) == 1 else _joined(found)


def exact_dtype(weight: Weight) -> np.dtype[Any]:
    """The narrower of float32 and float64 that holds every number of a weight."""
    own = number_dtype(weight)
    return np.dtype(np.float32 if own.kind == "f" and own.itemsize <= 4 else np.float64)


def _overlap(
    start: int, step: int, count: int, span: tuple[int, int]
) -> tuple[tuple[int, int], slice]:
    """Which of the units ``start + i * step`` lie in a span, and where in it."""
    first = max(-((start - span[0]) // step), 0)
    stop = min(-((start - span[1]) // step), count)
    return (first, stop), slice(
        start + first * step - span[0], max(start + (stop - 1) * step - span[0] + 1, 0), step
    )


def _joined(found: list[Stats]) -> Stats:
    names = ("sum_sq", "sum", "sum_abs", "max_abs", "count", "non_finite")
    return Stats(*(np.concatenate([getattr(s, name) for s in found]) for name in names))


def _flat(matrix: Matrix, out: int, inside: int) -> int | None:
    """Where the first tap of a pair lies in the flat weight; ``None`` for a pair not in it."""
    a, b = out - matrix.out_start, inside - matrix.in_start
    if a < 0 or b < 0 or a % matrix.out_step or b % matrix.in_step:
        return None
    a, b = a // matrix.out_step, b // matrix.in_step
    if matrix.diagonal:
        row, column = b, a - b * matrix.minor
    else:
        row, column = (a, b) if matrix.transposed else (b, a)
    if not (0 <= row < matrix.major and 0 <= column < matrix.minor):
        return None
    return matrix.offset + row * matrix.major_stride + column * matrix.minor_stride


def tap_shape(layer: Layer, weight: Weight) -> tuple[int, ...]:
    """How many taps a kernel has along each of its axes; empty for one without."""
    letters = axes_of(weight, "koi" if "Transpose" in layer.op else "kio")
    return tuple(n for n, c in zip(weight.shape, letters, strict=False) if c == "k")


def taps_of(model: OpenModel, layer: Layer, weight: Weight) -> tuple[int, ...]:
    """Shape of the taps of each pair of units; empty where a pair has one weight."""
    connection = _connection(model, layer, weight)
    if connection is None or connection.matrices[0].taps == 1:
        return ()
    return tap_shape(layer, weight)


def weight_matrix(
    model: OpenModel, layer: Layer, weight: Weight, tap: int = ALL_TAPS
) -> WeightMatrix:
    """A weight as out × in.

    Parameters
    ----------
    model : OpenModel
    layer : Layer
        Of the expanded network, with this weight.
    weight : Weight
        With at least one number.
    tap : int
        One tap of a kernel, in C order over its leading axes; ``ALL_TAPS`` for sums over all.

    Notes
    -----
    What joins no units to others, such as a bias, is a strip of one row; a depthwise kernel is
    channels × taps; a weight of an unknown kind is leading axes × last axis.
    """
    connection = _connection(model, layer, weight)
    if connection is None:
        return _alone(model, layer, weight)
    units = model.units_of(layer)
    rows = Side("out unit", connection.out_units, 1, *_named(units, connection.out_units))
    columns = Side("in unit", connection.in_units)
    if tap == ALL_TAPS or connection.matrices[0].taps == 1:
        return WeightMatrix(model.pyramid, connection, weight, rows, columns)
    pieces = tuple(
        replace(m, offset=m.offset + tap * m.tap_stride, taps=1, tap_stride=0)
        for m in connection.matrices
    )
    one = replace(connection, name=f"{connection.name} tap {tap}", matrices=pieces)
    return WeightMatrix(_own_pyramid(model), one, weight, rows, columns)


def _connection(model: OpenModel, layer: Layer, weight: Weight) -> Connection | None:
    """The connection that a weight is, but for diagonal ones and for one of several."""
    for connection in model.wires.connections(layer.path):
        matrices = connection.matrices
        if matrices and all(m.weight.name == weight.name for m in matrices):
            whole = connection.weights == weight.size
            return None if matrices[0].diagonal or not whole else connection
    return None


def _alone(model: OpenModel, layer: Layer, weight: Weight) -> WeightMatrix:
    """A weight that joins no units to others, or a unit to one other only."""
    units, shape = model.units_of(layer), weight.shape
    out = units.count if units.blocks else units.channels
    bands = [m for c in model.wires.connections(layer.path) for m in c.matrices if m.diagonal]
    band = next((m for m in bands if m.weight.name == weight.name), None)
    if band is not None:
        each, taps = band.pairs, band.taps
        if band.minor_stride == 1:  # the units of a tap lie side by side
            piece = Matrix(weight, 0, 1, 0, taps, each, each)
        else:
            piece = Matrix(weight, 0, 1, 0, each, taps, taps, transposed=True)
        rows, columns = Side("out unit", each), Side("tap", taps)
    else:
        last = shape[-1] if shape else 1
        across = prod(shape[:-1])
        piece = Matrix(weight, 0, 1, 0, across, last, last, transposed=True)
        strip = across == 1 and last == out
        columns = (
            Side("unit", last, 1, *_named(units, last)) if strip else Side(_axis(shape, -1), last)
        )
        rows = Side("row" if across == 1 else _axis(shape, 0), across)
    sizes = (rows.size, columns.size)
    own = Connection(layer.path, 0, weight.role, *sizes, (piece,))
    return WeightMatrix(_own_pyramid(model), own, weight, rows, columns)


def _axis(shape: tuple[int, ...], which: int) -> str:
    if which < 0:
        return f"axis {len(shape) - 1}" if len(shape) > 1 else "element"
    return "axis 0" if len(shape) == 2 else f"axes 0 to {len(shape) - 2}, place"


def _named(units: object, size: int) -> tuple[tuple[str, ...], int]:
    """Gates and components per head of units, if there are so many of them."""
    blocks, heads = getattr(units, "blocks", ()), getattr(units, "heads", None)
    if getattr(units, "count", 0) != size:
        return (), 0
    return blocks, (heads[1] if heads is not None and not blocks else 0)


def _own_pyramid(model: OpenModel) -> Pyramid:
    """One that measures what the model's own does not know, and keeps nothing of it."""
    if isinstance(model.pyramid, ComparedPyramid):
        assert model.comparison is not None
        return ComparedPyramid(model.reader, model.comparison.older)
    return Pyramid(model.reader, _CACHE)
