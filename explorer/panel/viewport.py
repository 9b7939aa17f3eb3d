"""Which part of a plane is seen, at which resolution, and what is read to show it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from explorer.overlays import Overlay
from explorer.panel.plane import Cells, Plane, Span, Stop

LARGEST_CELL = 44.0
"""Pixels that a weight is wide at most, unless there are fewer than fill the figure."""
QUICK = 2 << 20
"""Bytes that are read while a person waits."""
MOST = 320 << 20
"""Bytes that are read for one picture in the background; beyond, cells stay coarser."""
_COARSEST = 1 << 20
_SQUARE = 8.0  # pixels of a weight from which the whole is shown in squares
_READABLE = 6.0  # pixels of a weight in an image at first


@dataclass(frozen=True, slots=True)
class Viewport:
    """A rectangle of a plane in a figure.

    Attributes
    ----------
    rows, columns : int
        Of the whole plane.
    size : (float, float)
        Width and height of the figure, pixels.
    top, left, height, width : float
        The rectangle that is seen, in rows and columns.
    least : float
        Pixels that a row or column takes at least; 0: the whole plane may be seen.
    """

    rows: int
    columns: int
    size: tuple[float, float]
    top: float
    left: float
    height: float
    width: float
    least: float = 0.0

    @classmethod
    def of(cls, plane: Plane, room: tuple[float, float]) -> Viewport:
        """The first view, in a figure that suits the plane.

        It is the whole plane; where that cannot be seen, its upper left corner.

        Parameters
        ----------
        plane : Plane
        room : (float, float)
            Width and height that the figure must not exceed, pixels.
        """
        rows, columns = plane.rows.size, plane.columns.size
        image = plane.most_step == 1
        square = min(room[0] / columns, room[1] / rows, LARGEST_CELL)
        if image or square >= _SQUARE:
            scale = max(square, _READABLE)
            size = min(room[0], scale * columns), min(room[1], scale * rows)
            seen = size[1] / scale, size[0] / scale
        else:
            high = min(max(room[0] * rows / columns, min(16.0 * rows, 120.0)), room[1])
            size, seen = (room[0], high), (float(rows), float(columns))
        return cls(rows, columns, size, 0.0, 0.0, *seen, 1.0 if image else 0.0).kept()

    def kept(self) -> Viewport:
        """The same inside the plane, neither nearer nor farther than makes sense."""
        across, down = self.size
        width = min(max(self.width, across / max(LARGEST_CELL, across / self.columns)),
                    across / self.least if self.least else math.inf, self.columns)  # fmt: skip
        height = min(max(self.height, down / max(LARGEST_CELL, down / self.rows)),
                     down / self.least if self.least else math.inf, self.rows)  # fmt: skip
        left = min(max(self.left, 0.0), self.columns - width)
        top = min(max(self.top, 0.0), self.rows - height)
        return replace(self, top=top, left=left, height=height, width=width)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Row and column under a pixel of the figure."""
        across, down = self.size
        return self.top + y / down * self.height, self.left + x / across * self.width

    def zoomed(self, x: float, y: float, factor: float) -> Viewport:
        """Nearer by `factor`, what is under a pixel kept there."""
        row, column = self.at(x, y)
        width = min(self.width / factor, float(self.columns))
        height = min(self.height / factor, float(self.rows))
        sized = replace(self, width=width, height=height).kept()
        across, down = self.size
        return replace(
            sized,
            top=row - y / down * sized.height,
            left=column - x / across * sized.width,
        ).kept()

    def moved(self, across: float, down: float) -> Viewport:
        """Dragged by so many pixels."""
        return replace(
            self,
            left=self.left - across / self.size[0] * self.width,
            top=self.top - down / self.size[1] * self.height,
        ).kept()

    def spans(self, most_step: int) -> tuple[Span, Span]:
        """Rows and columns of the cells that are seen, none smaller than a pixel."""
        across, down = self.size
        return (
            _span(self.top, self.height, self.rows, down, most_step),
            _span(self.left, self.width, self.columns, across, most_step),
        )


def _span(first: float, length: float, size: int, pixels: float, most: int) -> Span:
    step = 1
    while step < most and length / step > pixels:
        step *= 2
    start = int(first // step) * step
    return Span(start, min(math.ceil((first + length) / step) * step, size), step)


def coarsened(plane: Plane, rows: Span, columns: Span, budget: int) -> tuple[Span, Span]:
    """Larger cells, as large as must be for a budget of bytes; a power of two times as large."""
    while plane.cost(rows, columns) > budget:
        step = min(rows.step, columns.step)
        if step >= _COARSEST or step >= max(rows.stop, columns.stop):
            break
        rows, columns = (_at_least(span, 2 * step) for span in (rows, columns))
    return rows, columns


def _at_least(span: Span, step: int) -> Span:
    if span.step >= step:
        return span
    return Span(span.start // step * step, span.stop, step)


def quick_cells(plane: Plane, seen: tuple[Span, Span], overlay: Overlay) -> Cells:
    """What can be shown at once of a plane that is ready: as fine as a small budget allows."""
    rows, columns = coarsened(plane, *seen, QUICK)
    return plane.cells(rows, columns, overlay, lambda: False)


def full_cells(plane: Plane, seen: tuple[Span, Span], overlay: Overlay, stop: Stop) -> Cells:
    """What is to be shown in the end, read in the background.

    Raises
    ------
    Stopped
        When `stop` says so.
    """
    plane.prepare(stop)
    rows, columns = coarsened(plane, *seen, MOST)
    return plane.cells(rows, columns, overlay, stop)


def same(cells: Cells, plane: Plane, seen: tuple[Span, Span]) -> bool:
    """Whether these cells are as fine as they will ever be."""
    wanted = coarsened(plane, *seen, MOST)
    return (cells.rows, cells.columns) == wanted
