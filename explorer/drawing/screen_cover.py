"""Which thing is seen where on the screen, coarsely. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 4  # pixels per cell: a test touches 1/16 of the pixels it covers
_EDGES = np.array(
    [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6],
     [3, 7]]
)  # fmt: skip


class Cover:
    """The silhouettes of boxes, the nearer over the farther.

    Drawn by the painter's algorithm, by the depth of their middles, in cells of `CELL` pixels.

    Parameters
    ----------
    corners : float64 array, shape (n, 8, 2)
        Pixels from the top left, corner ``4 ix + 2 iy + iz``; a box with a corner that is not
        finite is left out.
    depths : float64 array, shape (n,)
        Of the middles; larger is farther.
    viewport : (int, int)
        Width and height, pixels.
    owner : int array, shape (n,), optional
        The box whose part each box is; itself without it. All parts count as one thing, under the
        number of their owner.

    Attributes
    ----------
    grid : int32 array, shape (rows, columns)
        Which box is seen in each cell, -1 for none.
    """

    def __init__(
        self,
        corners: NDArray[np.float64],
        depths: NDArray[np.float64],
        viewport: tuple[int, int],
        owner: NDArray[np.intp] | None = None,
    ) -> None:
        columns, rows = -(-viewport[0] // CELL) + 1, -(-viewport[1] // CELL) + 1
        self.grid: NDArray[np.int32] = np.full((rows, columns), -1, np.int32)
        count = len(corners)
        finite = np.isfinite(corners).all(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            low, high = corners.min(axis=1), corners.max(axis=1)
            finite &= (high > 0).all(axis=1) & (low < viewport).all(axis=1)
        order = np.flatnonzero(finite)
        order = order[np.argsort(-depths[order], kind="stable")]
        box, row, begin, end = _spans(corners[order] / CELL, rows, columns)
        lengths = end - begin
        flat = np.repeat(row * columns + begin - np.cumsum(lengths) + lengths, lengths)
        flat += np.arange(len(flat))
        parts = np.arange(count) if owner is None else owner
        who = np.repeat(parts[order[box]], lengths).astype(np.int32)
        # Of several values for one cell, numpy keeps the last: the nearest box.
        self.grid.reshape(-1)[flat] = who
        self._full = np.bincount(who, minlength=count)
        self._left = np.bincount((self.grid + 1).reshape(-1), minlength=count + 1)[1:]
        self._low, self._high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
        np.minimum.at(self._low, parts[finite], low[finite])
        np.maximum.at(self._high, parts[finite], high[finite])
        sums: NDArray[np.int32] = np.zeros((rows + 1, columns + 1), np.int32)
        np.cumsum((self.grid >= 0).cumsum(axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
        self._sums = memoryview(
            sums.data
        )  # single values are read from it faster than from the array

    def covered(self, left: int, top: int, right: int, bottom: int) -> int:
        """How many of the cells from left to right and from top to bottom are on any box."""
        sums = self._sums
        there = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return int(there)

    def seen(self, box: int) -> float:
        """Which share of a box's silhouette nothing hides, 0 to 1; 0 for one off the screen."""
        return float(self._left[box] / max(int(self._full[box]), 1))

    def center(self, box: int) -> tuple[float, float]:
        """Middle of what is seen of a box, pixels; only for one that is seen."""
        left, top, right, bottom = (int(v) // CELL for v in self.bounds(box))
        left, top = max(left, 0), max(top, 0)
        y, x = np.nonzero(self.grid[top : bottom + 1, left : right + 1] == box)
        return (left + x.mean() + 0.5) * CELL, (top + y.mean() + 0.5) * CELL

    def bounds(self, box: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a box's silhouette, pixels."""
        (left, top), (right, bottom) = self._low[box].tolist(), self._high[box].tolist()
        return left, top, right, bottom


class Ink:
    """Cells that lines are drawn in.

    Parameters
    ----------
    lines : float array, shape (m, k, 2)
        Points of polylines, pixels from the top left; pieces with an end that is not finite are
        left out.
    viewport : (int, int)
        Width and height, pixels.
    """

    def __init__(self, lines: NDArray[np.floating], viewport: tuple[int, int]) -> None:
        columns, rows = -(-viewport[0] // CELL) + 1, -(-viewport[1] // CELL) + 1
        a = lines[:, :-1].reshape(-1, 2) / CELL
        b = lines[:, 1:].reshape(-1, 2) / CELL
        with np.errstate(invalid="ignore"):
            size = np.array((columns, rows))
            seen = np.isfinite(a + b).all(axis=1)
            seen &= (np.maximum(a, b) >= 0).all(axis=1) & (np.minimum(a, b) <= size).all(axis=1)
        a, b = a[seen], b[seen]
        # One step per cell; what is so near that it spans many screens is drawn more coarsely.
        steps = np.minimum(np.abs(b - a).sum(axis=1), 4.0 * size.max())
        count = np.ceil(steps).astype(np.intp) + 1
        piece = np.repeat(np.arange(len(a)), count)
        share = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
        at = a[piece] + (b - a)[piece] * (share / count[piece])[:, None]
        cells = at[((at >= 0) & (at < size)).all(axis=1)].astype(np.intp)
        self.grid: NDArray[np.bool_] = np.zeros((rows, columns), bool)
        self.grid[cells[:, 1], cells[:, 0]] = True
        sums: NDArray[np.int32] = np.zeros((rows + 1, columns + 1), np.int32)
        np.cumsum(self.grid.cumsum(axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
        self._sums = memoryview(sums.data)

    def share(self, rectangle: tuple[int, int, int, int]) -> float:
        """Share of the cells of a rectangle (left, top, right, bottom; pixels) with a line in."""
        left, top = max(rectangle[0] // CELL, 0), max(rectangle[1] // CELL, 0)
        right = min(-(-rectangle[2] // CELL), self.grid.shape[1])
        bottom = min(-(-rectangle[3] // CELL), self.grid.shape[0])
        if right <= left or bottom <= top:
            return 0.0
        sums = self._sums
        there = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return float(there / ((right - left) * (bottom - top)))


def _spans(
    corners: NDArray[np.float64], rows: int, columns: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Rows of cells that boxes cover: box, row, first column, column after the last.

    A silhouette is convex, so that in a row it reaches between the outermost of the points where
    the box's edges cross the middle of that row.
    """
    ends = corners[:, _EDGES]
    first = np.clip(np.floor(corners[..., 1].min(axis=1)), 0, rows).astype(np.intp)
    last = np.clip(np.ceil(corners[..., 1].max(axis=1)), 0, rows).astype(np.intp)
    many = last - first
    box = np.repeat(np.arange(len(corners)), many)
    row = np.repeat(first - np.cumsum(many) + many, many) + np.arange(len(box))
    a, b = ends[:, :, 0], ends[:, :, 1]
    # A row that only touches the silhouette would be missed at its middle.
    low, high = corners[..., 1].min(axis=1)[box], corners[..., 1].max(axis=1)[box]
    y = np.clip(row + 0.5, low, high)[:, None]
    rise = b[..., 1] - a[..., 1]
    slope = (b[..., 0] - a[..., 0]) / np.where(rise == 0, 1.0, rise)
    x = a[box, :, 0] + (y - a[box, :, 1]) * slope[box]
    under = np.minimum(a[..., 1], b[..., 1])[box] - 1e-9
    over = np.maximum(a[..., 1], b[..., 1])[box] + 1e-9
    met = (y >= under) & (y <= over)
    begin = np.floor(np.where(met, x, np.inf).min(axis=1, initial=np.inf))
    end = np.ceil(np.where(met, x, -np.inf).max(axis=1, initial=-np.inf))
    begin = np.clip(begin, 0, columns).astype(np.intp)
    end = np.clip(end, begin, columns).astype(np.intp)
    return box, row, begin, np.maximum(end, begin)
