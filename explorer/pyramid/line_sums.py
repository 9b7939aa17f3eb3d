"""Sums over all weights of each out unit and of each in unit of a connection, both in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import MatrixStats
from explorer.pyramid.level0 import BLOCK, LARGEST, Level0, Values
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import Connection, Matrix

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LineSums:
    """Statistics of the weights of each unit; arrays of shape (units,).

    Attributes
    ----------
    sum_sq, max_abs : float64 array
        Σw² and max|w| of the finite weights.
    weights, non_finite : int64 array
        How many weights there are, and how many of them are NaN, infinite or beyond 1e140.
    """

    sum_sq: F8
    max_abs: F8
    weights: I8
    non_finite: I8

    @classmethod
    def none(cls, units: int) -> LineSums:
        """Of so many units without weights."""
        counts = np.zeros(units, np.int64), np.zeros(units, np.int64)
        return cls(np.zeros(units), np.zeros(units), *counts)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 32 * len(self.weights)

    def add(self, at: slice, sum_sq: Values, max_abs: Values, weights: int, bad: I8 | int) -> None:
        """Add what some units have, in place."""
        self.sum_sq[at] += sum_sq
        np.maximum(self.max_abs[at], max_abs, out=self.max_abs[at])
        self.weights[at] += weights
        self.non_finite[at] += bad


def line_sums(pyramid: Pyramid, connection: Connection) -> tuple[LineSums, LineSums]:
    """What the weights of each out unit and of each in unit amount to.

    Parameters
    ----------
    pyramid : Pyramid
        Measures the connection if it has not yet; where it keeps sums over rows and columns, no
        weight is read.
    connection : Connection

    Returns
    -------
    LineSums, LineSums
        Of the out units and of the in units; those that are kept are exact to single precision,
        others to double precision.

    Raises
    ------
    ModelError
        If the file was changed or cannot be read.
    """
    out, inside = LineSums.none(connection.out_units), LineSums.none(connection.in_units)
    for matrix, stats in zip(connection.matrices, pyramid.matrices(connection), strict=False):
        rows, columns = (out, inside) if matrix.transposed else (inside, out)
        row_at, column_at = _places(matrix)
        kept = None if matrix.diagonal else _kept(stats)
        if kept is not None:
            for lines, at, sums, each in (
                (rows, row_at, kept[0], matrix.minor),
                (columns, column_at, kept[1], matrix.major),
            ):
                lines.add(at, sums[0], sums[3], each * matrix.taps, 0)
            continue
        for (first, stop), values in _read(pyramid.level0, matrix):
            size, bad = _finite(values)
            square = size * size
            wrong = (0, 0, 0) if bad is None else (bad.sum(axis=1), bad.sum(axis=0), bad.ravel())
            some = slice(row_at.start + first * row_at.step,
                         row_at.start + stop * row_at.step, row_at.step)  # fmt: skip
            rows.add(some, square.sum(axis=1), size.max(axis=1), matrix.minor, wrong[0])
            if matrix.diagonal:  # each column of a row is an out unit of its own
                some = slice(column_at.start + first * matrix.minor,
                             column_at.start + stop * matrix.minor)  # fmt: skip
                columns.add(some, square.ravel(), size.ravel(), 1, wrong[2])
            else:
                many = stop - first
                columns.add(column_at, square.sum(axis=0), size.max(axis=0), many, wrong[1])
    return out, inside


def _places(matrix: Matrix) -> tuple[slice, slice]:
    """Units of the rows and of the columns of a matrix."""
    out = matrix.out_start, matrix.out_step
    inside = matrix.in_start, matrix.in_step
    rows, columns = (out, inside) if matrix.transposed else (inside, out)
    return (
        slice(rows[0], rows[0] + matrix.major * rows[1], rows[1]),
        slice(columns[0], columns[0] + matrix.minor * columns[1], columns[1]),
    )


def _kept(stats: MatrixStats) -> tuple[Values, Values] | None:
    """Sums over rows and over columns, where the pyramid has both and all weights are finite."""
    if stats.finest is None or stats.finest.bad is not None:
        return None
    if stats.over_rows is None or stats.over_columns is None:
        return None
    return stats.over_rows, stats.over_columns


def _read(level0: Level0, matrix: Matrix) -> Iterator[tuple[tuple[int, int], Values]]:
    """Whole rows of each tap in turn."""
    step = max(1, BLOCK // max(matrix.minor, 1))
    for first in range(0, matrix.major, step):
        stop = min(first + step, matrix.major)
        for values in level0.taps(matrix, [(first, stop)], (0, matrix.minor), keep=False):
            yield (first, stop), values


def _finite(values: Values) -> tuple[F8, I8 | None]:
    """Magnitudes, 0 for those that are no numbers, and 1 for each of these; `None` for none."""
    size = np.abs(values.astype(np.float64))
    if size.max(initial=0.0) <= LARGEST:  # false for NaN
        return size, None
    bad = ~(size <= LARGEST)
    size[bad] = 0.0
    return size, bad.astype(np.int64)
