"""Statistics of every connection at every resolution, and what can be asked of them.

Level 0 is the model file itself. Above it lie blocks of 64 × 64, measured in one pass over the
file, and coarser levels made of those. A question is answered from the largest blocks that lie
within its sets; only what lies across a border between sets is read from the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import MatrixStats
from explorer.pyramid.cover import cover
from explorer.pyramid.grid import SIDE
from explorer.pyramid.label_sums import Sums, period_of
from explorer.pyramid.level0 import row_blocks, spans
from explorer.pyramid.measuring import Measuring
from explorer.weights.codecs import stored_bits
from explorer.weights.connections import Connection, Matrix

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
READ_AT_ONCE = 16 << 20
"""Bytes that may be read of the file while a person waits."""
MOST_KEPT = 1 << 22
"""Elements that one question may leave in the cache; a larger read would only drive out others."""


@dataclass(frozen=True, eq=False)
class Stats:
    """Statistics of the weights between labelled sets of units; arrays of shape (n_out, n_in).

    Attributes
    ----------
    sum_sq, sum, sum_abs, max_abs : float64 array
        Σw², Σw, Σ|w| and max|w| of the finite weights.
    count, non_finite : int64 array
        Finite weights, and those that are NaN or infinite. A weight beyond 1e140 counts as
        infinite, because sums of such squares are.
    """

    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: I8
    non_finite: I8

    @property
    def rms(self) -> F8:
        """√(Σw² / count); NaN where there is no finite weight."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.sum_sq / self.count)

    @property
    def mean(self) -> F8:
        """Σw / count; NaN where there is no finite weight."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sum / self.count


def labels_of(matrix: Matrix, out_label: I4, in_label: I4) -> tuple[I4, I4]:
    """Labels of a matrix' own out and in units, in order."""
    out_count = matrix.minor if not matrix.transposed else matrix.major
    in_count = matrix.major if not matrix.transposed else matrix.minor
    if matrix.diagonal:
        out_count = matrix.major * matrix.minor
    out_stop = matrix.out_start + out_count * matrix.out_step
    in_stop = matrix.in_start + in_count * matrix.in_step
    return (
        out_label[matrix.out_start : out_stop : matrix.out_step],
        in_label[matrix.in_start : in_stop : matrix.in_step],
    )


def visible(
    connection: Connection, out_label: I4, in_label: I4
) -> Iterator[tuple[int, Matrix, I4, I4]]:
    """Matrices with visible pairs: place, matrix, labels of its out and in units."""
    for at, matrix in enumerate(connection.matrices):
        out, inside = labels_of(matrix, out_label, in_label)
        if np.any(out >= 0) and np.any(inside >= 0):
            yield at, matrix, out, inside


class Pyramid(Measuring):
    """Statistics of connections, measured on demand; safe for threads."""

    def stats(
        self, connection: Connection, out_label: I4, in_label: I4, n_out: int, n_in: int
    ) -> Stats:
        """Statistics of the weights between sets of units.

        Parameters
        ----------
        connection : Connection
            Measured now if it is not ready.
        out_label : int32 array, shape (connection.out_units,)
            The set each out unit belongs to, in ``0 … n_out - 1``; ``-1`` for none.
        in_label : int32 array, shape (connection.in_units,)
            Likewise for in units.
        n_out, n_in : int

        Returns
        -------
        Stats
            Arrays of shape (n_out, n_in). The file is read only where a block of 64 × 64 lies
            across a border between sets; block sums are exact to single precision, the rest to
            double precision.
        """
        sums = Sums(n_out, n_in)
        for view in self.views(connection, out_label, in_label):
            matrix = view.matrix
            if matrix.diagonal:
                out, inside = (view.columns, view.rows)
                self.add_diagonal(sums, matrix, out, inside)
                continue
            rows, columns = view.rows, view.columns
            out, inside = (rows, columns) if matrix.transposed else (columns, rows)
            sums.count_weights(out, inside, matrix.taps)
            for piece in cover(view.stats, rows, columns):
                if piece.sums is not None:
                    sums.add(piece.rows, piece.columns, piece.sums, matrix.transposed)
                    continue
                for a, b in spans(_any_of(piece.columns)):
                    span = (a * SIDE, min(b * SIDE, matrix.minor))
                    self.add_level0(sums, matrix, piece.rows, piece.columns, span)
        return finished(sums)

    def cost(self, connection: Connection, out_label: I4, in_label: I4) -> int:
        """Bytes that `stats` would have to read from the file or fetch from its cache."""
        total = 0.0
        for view in self.views(connection, out_label, in_label):
            if view.matrix.diagonal:
                total += view.matrix.pairs * view.matrix.taps * 4
                continue
            each = view.matrix.taps * stored_bits(view.matrix.weight) / 8
            for piece in cover(view.stats, view.rows, view.columns):
                if piece.sums is None:
                    n = np.count_nonzero(piece.rows >= 0) * np.count_nonzero(piece.columns >= 0)
                    total += int(n) * each
        return int(total)

    def views(self, connection: Connection, out_label: I4, in_label: I4) -> list[View]:
        """The matrices with a visible pair, as these labels are best seen.

        Where the in units are the rows of flattened channels and labelled by channel, the rows
        of a channel are taps of one.
        """
        seen = self.seen(connection, out_label, in_label)
        stats = self.matrices(connection) if seen else ()
        return [View(matrix, rows, columns, stats[at]) for at, matrix, rows, columns in seen]

    def seen(
        self, connection: Connection, out_label: I4, in_label: I4
    ) -> list[tuple[int, Matrix, I4, I4]]:
        """What `views` looks at, without measuring it: place in the plan, matrix and labels."""
        out_label, in_label = (np.asarray(a, np.int32) for a in (out_label, in_label))
        parts = self.plan(connection).parts
        again = {part.matrix.offset: at for at, part in enumerate(parts) if part.folded}
        found = []
        for at, matrix, out, inside in visible(connection, out_label, in_label):
            rows, columns = (out, inside) if matrix.transposed else (inside, out)
            place = at
            if matrix.offset in again:
                fold = parts[again[matrix.offset]].matrix
                if _repeats(rows, fold.major):
                    place, matrix, rows = again[matrix.offset], fold, rows[: fold.major]
            found.append((place, matrix, rows, columns))
        return found

    def add_level0(self, sums: Sums, matrix: Matrix, rows: I4, columns: I4,
                   span: tuple[int, int], keep: bool = True) -> None:  # fmt: skip
        """Add some columns of a matrix from the file, in blocks of a few MB."""
        c0, c1 = span
        shown = int(np.count_nonzero(rows >= 0))
        keep = keep and shown * (c1 - c0) * matrix.taps <= MOST_KEPT
        period = period_of(rows)
        if period and matrix.taps == 1:  # the rows of a flattened channel are like its taps
            matrix = replace(matrix, taps=matrix.major // period, major=period,
                             tap_stride=period * matrix.major_stride)  # fmt: skip
            rows = rows[:period]
        step = max(SIDE, (1 << 16) // SIDE * SIDE)
        for c in range(c0, c1, step):
            stop = min(c1, c + step)
            if not np.any(columns[c:stop] >= 0):
                continue
            for runs in row_blocks(rows, stop - c):
                parts = self.level0.pairs(matrix, runs, (c, stop), keep)
                labels = np.concatenate([rows[a:b] for a, b in runs])
                sums.add(labels, columns[c:stop], parts, matrix.transposed)

    def add_diagonal(self, sums: Sums, matrix: Matrix, out: I4, inside: I4) -> None:
        """Add the pairs of a depthwise kernel and count them."""
        for runs in row_blocks(inside, matrix.minor):
            parts = self.level0.pairs(matrix, runs, (0, matrix.minor))
            labels = np.concatenate([inside[a:b] for a, b in runs])
            a = np.repeat(labels, matrix.minor)
            b = np.concatenate([out[r0 * matrix.minor : r1 * matrix.minor] for r0, r1 in runs])
            seen = (a >= 0) & (b >= 0)
            sums.add_pairs(b[seen], a[seen], parts.at(seen.reshape(-1, matrix.minor)))
            np.add.at(sums.count, (b[seen], a[seen]), matrix.taps)


def finished(sums: Sums) -> Stats:
    """The statistics that sums have come to."""
    bad = np.zeros_like(sums.count) if sums.bad is None else sums.bad
    return Stats(sums.sum_sq, sums.sum, sums.sum_abs, sums.max_abs, sums.count - bad, bad)


@dataclass(frozen=True, eq=False)
class View:
    """A matrix, the labels of its rows and columns, and its statistics."""

    matrix: Matrix
    rows: I4
    columns: I4
    stats: MatrixStats


def _repeats(labels: I4, period: int) -> bool:
    """Whether labels repeat so, and are not all one."""
    if np.array_equal(labels[:period], labels[:1].repeat(period)):
        return False  # plain blocks answer that
    return bool(np.array_equal(labels[period:], labels[:-period]))


def _any_of(labels: I4) -> NDArray[np.bool_]:
    """Of every 64 labels, whether any is one."""
    return np.logical_or.reduceat(labels >= 0, np.arange(0, len(labels), SIDE))
