"""What a panel shows as numbers in a file: ``.npy`` for programs, ``.csv`` with a header to read.

A table is made band by band and written as it comes, so that its size is bound by the disk alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import count
from explorer.errors import NeuronautError, UnknownNameError
from explorer.open_model import OpenModel
from explorer.panel.figure import Shown, WeightFigure
from explorer.panel.matrix import WeightMatrix, weight_matrix
from explorer.panel.plane import Side, Span
from explorer.panel.weight_summary import WeightSummary
from explorer.small_files import replacing
from explorer.tree import lod

Array = NDArray[Any]
Stop = Callable[[], bool]
KINDS = ("npy", "csv")
MOST_SENT = 1 << 24
"""Numbers that are sent to a browser; more are written by the command line."""


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers with names for their rows and columns.

    Attributes
    ----------
    corner : str
        What the names of the rows are.
    rows, columns : sequence of str
    shape : tuple of int
        Of the array: rows, columns, and what else each of them has.
    dtype : numpy.dtype
    bands : callable () -> iterable of array
        The rows in order, some at a time; each of shape ``(some, *shape[1:])``.
    """

    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bands: Callable[[], Iterable[Array]]

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(np.prod(self.shape))

    def array(self) -> Array:
        """All of it in memory."""
        found = list(self.bands())
        return np.concatenate(found) if found else np.empty(self.shape, self.dtype)


def exact_table(
    matrix: WeightMatrix, rows: Span, columns: Span, stop: Stop = lambda: False
) -> Table:
    """Every weight of a rectangle of out × in units, bit for bit as the file has it.

    Parameters
    ----------
    matrix : WeightMatrix
    rows, columns : Span
        Steps do not matter.
    stop : callable () -> bool
        Asked between bands.
    """
    taps = matrix.taps
    shape: tuple[int, ...] = (rows.stop - rows.start, columns.stop - columns.start)
    names = [matrix.columns.short(i) for i in range(columns.start, columns.stop)]
    if taps > 1:
        shape = (*shape, taps)
        names = [f"{name} tap {tap}" for name in names for tap in range(taps)]

    def bands() -> Iterator[Array]:
        for band in matrix.bands(rows, columns, stop):
            yield band if taps > 1 else band[..., 0]

    return Table(
        f"{matrix.rows.title} \\ {matrix.columns.title}",
        [matrix.rows.short(i) for i in range(rows.start, rows.stop)],
        names,
        shape,
        matrix.dtype,
        bands,
    )


def weight_table(
    model: OpenModel,
    node: str,
    weight: str | None = None,
    rows: slice = slice(None),
    columns: slice = slice(None),
    stop: Stop = lambda: False,
) -> Table:
    """Every weight of a rectangle of out × in units of a layer.

    Parameters
    ----------
    model : OpenModel
    node : str
        Path of a layer.
    weight : str, optional
        Its name in the file or its role, such as ``"bias"``; the layer's first without it.
    rows, columns : slice
        Of out units and of in units, without a step.
    stop : callable () -> bool
        Asked between bands.

    Raises
    ------
    NeuronautError
        If there is no such layer or weight, or nothing of it lies there.
    """
    index, units = lod.locate(
        model.hierarchy, lod.resolve(model.hierarchy, model.units_of, node, any_range=True)
    )
    layer = model.hierarchy.layer(index)
    if layer is None:
        inside = [la.path for la in model.hierarchy.layers_in(index) if la.weights]
        known = f": {', '.join(inside[:4])}" if inside else ""
        raise NeuronautError(f"{node or 'the network'} is no layer; name one of its layers{known}")
    if not layer.weights:
        raise NeuronautError(f"{node}: this {layer.kind} layer has no weights")
    found = next((w for w in layer.weights if weight in (None, w.name, w.role)), None)
    if found is None:
        raise UnknownNameError("weight", str(weight), [w.role for w in layer.weights])
    if found.where is None or not found.size:
        raise NeuronautError(f"{found.name}: the file does not hold its values")
    matrix = weight_matrix(model, layer, found)
    if units is not None and rows == slice(None) and matrix.rows.size > 1:
        rows = slice(units.start, units.stop)
    spans = _checked(rows, matrix.rows), _checked(columns, matrix.columns)
    return exact_table(matrix, *spans, stop)


def _checked(part: slice, side: Side) -> Span:
    first, stop = part.start or 0, side.size if part.stop is None else part.stop
    if part.step not in (None, 1) or not 0 <= first < stop <= side.size:
        told = f"{'' if part.start is None else first}:{'' if part.stop is None else stop}"
        raise NeuronautError(f"{told} is no part of the {side.size} {side.title}s, 0:{side.size}")
    return Span(first, stop)


def shown_table(figure: WeightFigure, shown: Shown) -> Table:
    """The cells that are seen: single weights with their signs, else the overlay's numbers."""
    plane, cells, view = figure.plane, shown.cells, shown.viewport
    rows = _seen(cells.rows, view.top, view.height)
    columns = _seen(cells.columns, view.left, view.width)
    values = cells.means if cells.single else cells.values
    values = cells.parts if cells.parts is not None else values
    kept = values[_place(cells.rows, rows), _place(cells.columns, columns)]
    if cells.parts is not None:
        kept = kept.reshape(len(kept), -1)
    if cells.single:
        kept = kept.astype(figure.dtype, copy=False)
    names = _names(plane.columns, columns)
    if cells.parts is not None:
        names = [f"{name} channel {c}" for name in names for c in range(cells.parts.shape[-1])]
    corner = f"{plane.rows.title} \\ {plane.columns.title}"
    return Table(corner, _names(plane.rows, rows), names, kept.shape, kept.dtype, lambda: [kept])


def seen_weights(figure: WeightFigure, shown: Shown, stop: Stop = lambda: False) -> Table:
    """Every weight behind the cells that are seen."""
    plane, cells, view = figure.plane, shown.cells, shown.viewport
    if not isinstance(plane, WeightMatrix):
        return shown_table(figure, shown)
    rows = _seen(cells.rows, view.top, view.height)
    columns = _seen(cells.columns, view.left, view.width)
    return exact_table(plane, rows, columns, stop)


def histogram_table(summary: WeightSummary) -> Table:
    """The even bars of a histogram: low and high edge, count."""
    if not summary.exact:
        raise NeuronautError("the histogram is still an estimate: wait until all is read")
    edges, counts = summary.edges, summary.counts
    values = np.column_stack((edges[:-1], edges[1:], counts)) if len(counts) else np.zeros((0, 3))
    names = [str(i) for i in range(len(values))]
    return Table("bin", names, ("low", "high", "count"), values.shape, values.dtype,
                 lambda: [values])  # fmt: skip


def pieces(table: Table, kind: str) -> Iterator[bytes]:
    """The bytes of a file.

    Parameters
    ----------
    table : Table
    kind : str
        ``"npy"`` or ``"csv"``.

    Raises
    ------
    NeuronautError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise NeuronautError(f"{kind[:20]!r}: numbers are written as .npy or .csv")
    return _npy(table) if kind == "npy" else _csv(table)


def save_table(table: Table, path: Path) -> None:
    """Write a file, whole or not at all; its ending says which kind.

    Raises
    ------
    NeuronautError
        If the ending is another, or it cannot be written.
    """
    made = pieces(table, path.suffix.lower().removeprefix("."))
    try:
        with replacing(path) as file:
            write_all(made, file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NeuronautError(f"{path}: cannot be written: {reason}") from None


def write_all(made: Iterable[bytes], file: BinaryIO) -> None:
    """Write piece after piece."""
    for piece in made:
        file.write(piece)


def sent(table: Table, kind: str) -> Iterator[bytes]:
    """The bytes of a file for a browser.

    Raises
    ------
    NeuronautError
        If these are too many numbers.
    """
    if table.size > MOST_SENT:
        raise NeuronautError(
            f"{count(table.size)} weights are more than the {count(MOST_SENT)} that are sent to a "
            "browser: zoom in, or write them with the command neuronaut weights"
        )
    return pieces(table, kind)


def _npy(table: Table) -> Iterator[bytes]:
    head = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(table.dtype)
    np.lib.format.write_array_header_1_0(
        head, {"descr": descr, "fortran_order": False, "shape": table.shape}
    )
    yield head.getvalue()
    for band in table.bands():
        yield np.ascontiguousarray(band, table.dtype).tobytes()


def _csv(table: Table) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")

    def taken() -> bytes:
        data = text.getvalue().encode()
        text.seek(0)
        text.truncate()
        return data

    writer.writerow([table.corner, *table.columns])
    names = iter(table.rows)
    for band in table.bands():
        for line in band.reshape(len(band), -1):
            # The shortest text that is read back as the very same number.
            writer.writerow([next(names), *map(repr, _plain(line))])
            if text.tell() > 1 << 16:
                yield taken()
    yield taken()


def _plain(line: Array) -> list[float]:
    """Numbers whose `repr` has no more digits than the type holds."""
    if line.dtype == np.float32:
        return [float(str(v)) for v in line]
    return [float(v) for v in line]


def _seen(span: Span, first: float, length: float) -> Span:
    """The cells of a span of which something is seen."""
    begin = max(int((first - span.start) // span.step), 0)
    end = min(int(-(-(first + length - span.start) // span.step)), span.count)
    return span.cut(begin, max(end, begin + 1))


def _place(span: Span, part: Span) -> slice:
    first = (part.start - span.start) // span.step
    return slice(first, first + part.count)


def _names(side: Side, span: Span) -> list[str]:
    found = []
    for at in range(span.count):
        first, stop = span.cell(at)
        one = stop - first == 1
        found.append(side.short(first) if one else f"{first}-{stop - 1}")
    return found
