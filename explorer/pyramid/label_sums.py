"""Sums of block statistics by the labels of their rows and columns, without a loop per unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.level0 import PairSums, Values

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Groups:
    """Rows or columns of equal label.

    Attributes
    ----------
    order : int array or None
        Entries with a label, sorted by it; ``None`` when all are, as they stand.
    starts : int array or None
        Where each group begins; ``None`` when each holds one entry.
    labels : int array
        Label of each group, ascending.
    period : int
        Entries are first folded into so many, where the labels repeat (a flattened channel);
        0 where they do not. Adding whole rows is ten times quicker than sorting them.
    """

    order: NDArray[np.intp] | None
    starts: NDArray[np.intp] | None
    labels: I4
    period: int = 0

    @classmethod
    def of(cls, labels: I4) -> _Groups:
        period = period_of(labels)
        if period:
            return replace(cls.of(labels[:period]), period=period)
        order: NDArray[np.intp] | None = None
        if len(labels) and (np.any(np.diff(labels) < 0) or labels[0] < 0):
            order = np.argsort(labels, kind="stable")
            order = order[np.searchsorted(labels, 0, sorter=order) :]
            labels = labels[order]
        fresh = np.diff(labels, prepend=-1) > 0
        if fresh.all():
            return cls(order, None, labels)
        return cls(order, np.flatnonzero(fresh), labels[fresh])

    def fold(self, values: Values, axis: int, function: np.ufunc) -> Values:
        """One entry per label of the period."""
        if not self.period:
            return values
        n = values.shape[axis]
        shape = (*values.shape[:axis], n // self.period, self.period, *values.shape[axis + 1 :])
        whole = np.float64 if values.dtype.kind == "f" and function is np.add else None
        return function.reduce(values.reshape(shape), axis=axis, dtype=whole)  # type: ignore[no-any-return]

    def take(self, values: Values, axis: int) -> Values:
        """The entries with a label, sorted by it."""
        return values if self.order is None else np.take(values, self.order, axis=axis)

    def reduce(self, values: Values, axis: int, function: np.ufunc) -> Values:
        """One entry per group; sums are made in double precision."""
        if self.starts is None:
            return values
        whole = np.float64 if values.dtype.kind == "f" and function is np.add else None
        if len(self.starts) == 1:
            return function.reduce(values, axis=axis, keepdims=True, dtype=whole)  # type: ignore[no-any-return]
        stops = np.append(self.starts[1:], values.shape[axis])
        several = np.flatnonzero(stops - self.starts > 1)
        if not _pays_alone(len(several), len(self.starts), values.shape[1 - axis], axis):
            return function.reduceat(values, self.starts, axis=axis, dtype=whole)
        found = np.take(values, self.starts, axis=axis).astype(whole or values.dtype, copy=False)
        for group in several.tolist():
            part = slice(int(self.starts[group]), int(stops[group]))
            if axis == 0:
                function.reduce(values[part], axis=0, dtype=whole, out=found[group])
            else:
                function.reduce(values[:, part], axis=1, dtype=whole, out=found[:, group])
        return found

    def index(self) -> slice | I4:
        """The groups' labels as a slice where they follow one another."""
        first, last = int(self.labels[0]), int(self.labels[-1])
        return slice(first, last + 1) if last - first + 1 == len(self.labels) else self.labels


def _pays_alone(several: int, groups: int, across: int, axis: int) -> bool:
    """Whether copying groups of one entry and adding the others one by one is quicker.

    A `reduceat` costs for each group and each entry across, even where a group holds one entry
    only; a `reduce` has a fixed cost, and along rows one for each row. Measured.
    """
    if axis == 0:
        return 200 * several < groups * across
    return across >= 16 and 4 * several < groups


class Sums:
    """Accumulates Σw², Σw, Σ|w|, max|w| and the count of weights by (out label, in label).

    Parameters
    ----------
    n_out, n_in : int
        Number of labels on either side; the arrays have shape (n_out, n_in).
    """

    def __init__(self, n_out: int, n_in: int) -> None:
        shape = (n_in, n_out)  # out units lie side by side, as in most kernels
        self.sum_sq = np.zeros(shape).T
        self.sum = np.zeros(shape).T
        self.sum_abs = np.zeros(shape).T
        self.max_abs = np.zeros(shape).T
        self.count = np.zeros(shape, np.int64).T
        self.bad: I8 | None = None

    def add(self, rows: I4, columns: I4, parts: PairSums, transposed: bool) -> None:
        """Add statistics of shape (rows, columns); label ``-1`` leaves a row or column out.

        With `transposed`, rows are out units, else in units.
        """
        over, along = _Groups.of(rows), _Groups.of(columns)
        if not len(over.labels) or not len(along.labels):
            return
        at: tuple[slice | I4, slice | I4] = (along.index(), over.index())
        at = (at[1], at[0]) if transposed else at
        if not all(isinstance(i, slice) for i in at):
            shape = self.sum.shape
            at = np.ix_(*(np.arange(n)[i] for n, i in zip(shape, at, strict=True)))  # type: ignore[assignment]

        def folded(values: Values, function: np.ufunc) -> Values:
            values = along.fold(over.fold(values, 0, function), 1, function)
            if along.order is not None and len(along.order) < values.shape[1]:
                values = over.take(along.take(values, 1), 0)
            else:
                values = along.take(over.take(values, 0), 1)
            values = along.reduce(over.reduce(values, 0, function), 1, function)
            return values if transposed else values.T

        self.sum_sq[at] += folded(parts.sum_sq, np.add)
        self.sum[at] += folded(parts.sum, np.add)
        self.sum_abs[at] += folded(parts.sum_abs, np.add)
        self.max_abs[at] = np.maximum(self.max_abs[at], folded(parts.max_abs, np.maximum))
        if parts.bad is not None:
            self.bad = np.zeros(self.sum.shape, np.int64) if self.bad is None else self.bad
            self.bad[at] += folded(parts.bad.astype(np.int64), np.add)

    def add_pairs(self, out: I4, inside: I4, parts: PairSums) -> None:
        """Add single pairs: flat labels and statistics of equal length, each with a label."""
        at = (out, inside)
        np.add.at(self.sum_sq, at, parts.sum_sq)
        np.add.at(self.sum, at, parts.sum)
        np.add.at(self.sum_abs, at, parts.sum_abs)
        np.maximum.at(self.max_abs, at, parts.max_abs)
        if parts.bad is not None:
            self.bad = np.zeros(self.sum.shape, np.int64) if self.bad is None else self.bad
            np.add.at(self.bad, at, parts.bad)

    def count_weights(self, out: I4, inside: I4, taps: int) -> None:
        """Count the weights of a matrix with these labels of its out and in units."""
        n_out, n_in = self.count.shape
        a = np.bincount(out[out >= 0], minlength=n_out).astype(np.int64)
        b = np.bincount(inside[inside >= 0], minlength=n_in).astype(np.int64)
        self.count += ((b * taps)[:, None] * a[None, :]).T


def period_of(labels: I4) -> int:
    """Length after which the labels repeat, a divisor of their number; 0 when they do not."""
    n = len(labels)
    if n < 4:
        return 0
    again = np.flatnonzero((labels[1:] == labels[0]) & (labels[:-1] == labels[-1]))
    if not len(again):
        return 0
    period = int(again[0]) + 1
    if period < 2 or n % period or np.array_equal(labels[:1].repeat(n), labels):
        return 0
    return period if np.array_equal(labels[period:], labels[:-period]) else 0
