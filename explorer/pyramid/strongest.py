"""The strongest connections between two sets of units, found exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.candidates import Candidates
from explorer.pyramid.grid import SIDE
from explorer.pyramid.label_sums import Sums
from explorer.pyramid.level0 import spans
from explorer.pyramid.pyramid import Pyramid, Stats, View, finished, visible
from explorer.pyramid.tile_search import search, seen_blocks
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

FULL_READ = 1 << 14
"""Weights up to which everything is read rather than searched."""
_CHUNK = 1 << 20
"""Pairs of labels summed at a time."""


@dataclass(frozen=True, eq=False)
class Strongest:
    """The strongest pairs of units, strongest first, and what they were chosen from.

    Attributes
    ----------
    out, inside : int32 array, shape (m,)
        Labels of the target's and the source's unit.
    sum_sq, sum, sum_abs, max_abs : float64 array, shape (m,)
        Σw², Σw, Σ|w| and max|w| of the finite weights of the pair.
    count : int64 array, shape (m,)
        Finite weights of the pair.
    total_pairs, total_weights, non_finite : int
        Joined pairs of labels; their weights; how many of those are not finite.
    total_sum_sq : float
        Σw² of all finite weights.
    """

    out: I4
    inside: I4
    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: I8
    total_pairs: int
    total_weights: int
    non_finite: int
    total_sum_sq: float

    @property
    def rms(self) -> F8:
        """Magnitude: √(Σw² / count)."""
        return np.asarray(np.sqrt(self.sum_sq / self.count))


def strongest(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int
) -> Strongest:
    """The k pairs of units with the largest root mean square of their weights.

    Parameters
    ----------
    pyramid : Pyramid
        Where the connection is ready, few tiles are read; else all weights between the sets.
    connection : Connection
    out_label : int32 array, shape (connection.out_units,)
        Unit of the target that each out unit belongs to, ``-1`` for none; several may share one
        (the gates of a cell).
    in_label : int32 array, shape (connection.in_units,)
        Unit of the source that each in unit carries, ``-1`` for none; several may share one (a
        channel that was flattened).
    k : int

    Returns
    -------
    Strongest
        Exact; equal magnitudes are ordered by (out, inside). A pair without any finite weight is
        counted in the totals but never listed.
    """
    out_names, out_label = _dense(out_label)
    in_names, in_label = _dense(in_label)
    pairs, weights = _totals(connection, out_label, in_label)
    found = None
    if k <= 0 and pyramid.ready(connection):
        found = Candidates.joined([])  # only the totals are asked for
    elif (
        weights > FULL_READ
        and pyramid.ready(connection)
        and _one_to_one(pyramid.views(connection, out_label, in_label), pairs)
    ):
        found = search(pyramid, connection, out_label, in_label, k)
    if found is None:
        found, total, bad = _read_all(
            pyramid, connection, out_label, in_label, k, (len(out_names), len(in_names))
        )
    else:
        stats = pyramid.stats(connection, np.minimum(out_label, 0), np.minimum(in_label, 0), 1, 1)
        total, bad = float(stats.sum_sq[0, 0]), int(stats.non_finite[0, 0])
    return Strongest(
        out_names[found.out], in_names[found.inside], found.sum_sq, found.sum, found.sum_abs,
        found.max_abs, found.count, pairs, weights, bad, total,
    )  # fmt: skip


def _dense(labels: I4) -> tuple[I4, I4]:
    """Labels that occur, ascending, and the same labelling by position among them."""
    labels = np.asarray(labels, np.int32)
    names = np.unique(labels[labels >= 0])
    place = np.searchsorted(names, labels).astype(np.int32)
    return names, np.where(labels >= 0, place, np.int32(-1))


def _totals(connection: Connection, out_label: I4, in_label: I4) -> tuple[int, int]:
    """Distinct joined pairs of labels, and their weights."""
    weights = 0
    bands: list[NDArray[np.int64]] = []
    boxes: dict[tuple[bytes, bytes], tuple[I4, I4]] = {}
    n_in = int(in_label.max(initial=-1)) + 1
    for _, matrix, out, inside in visible(connection, out_label, in_label):
        if matrix.diagonal:
            across = np.repeat(inside, matrix.minor)
            seen = (across >= 0) & (out >= 0)
            weights += int(np.count_nonzero(seen)) * matrix.taps
            bands.append(out[seen].astype(np.int64) * n_in + across[seen])
            continue
        a, b = out[out >= 0], inside[inside >= 0]
        weights += len(a) * len(b) * matrix.taps
        a, b = np.unique(a), np.unique(b)
        boxes[a.tobytes(), b.tobytes()] = (a, b)
    pairs = len(np.unique(np.concatenate(bands))) if bands else 0
    return pairs + _area(list(boxes.values()), int(out_label.max(initial=-1)) + 1, n_in), weights


def _area(boxes: list[tuple[I4, I4]], n_out: int, n_in: int) -> int:
    """Cells covered by at least one of some sets of rows × sets of columns."""
    if len(boxes) < 2:
        return sum(len(a) * len(b) for a, b in boxes)
    for side, n in ((0, n_out), (1, n_in)):
        times = np.zeros(n, np.int32)
        for box in boxes:
            times[box[side]] += 1
        if times.max() == 1:  # no label occurs twice on this side, so nothing overlaps
            return sum(len(a) * len(b) for a, b in boxes)
    covered = 0
    step = max(1, (1 << 24) // max(1, n_in))
    for first in range(0, n_out, step):
        cells = np.zeros((min(step, n_out - first), n_in), np.bool_)
        for a, b in boxes:
            inside = a[(a >= first) & (a < first + step)] - first
            cells[np.ix_(inside, b)] = True
        covered += int(np.count_nonzero(cells))
    return covered


def _one_to_one(views: list[View], pairs: int) -> bool:
    """Whether every visible pair of labels stands for one pair of the kernel as it is viewed."""
    cells = 0
    for view in views:
        if view.matrix.diagonal:
            return False
        cells += int(np.count_nonzero(view.rows >= 0)) * int(np.count_nonzero(view.columns >= 0))
    return cells == pairs


def _read_all(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int,
    size: tuple[int, int],
) -> tuple[Candidates, float, int]:  # fmt: skip
    """Sum every visible pair from the file, some labels at a time."""
    n_out, n_in = size
    best = Candidates.joined([])
    total, bad = 0.0, 0
    if not n_out or not n_in:
        return best, total, bad
    if all(m.diagonal for m in connection.matrices):
        return _read_bands(pyramid, connection, out_label, in_label, k)
    by_out = n_out >= n_in
    step = max(1, _CHUNK // (n_in if by_out else n_out))
    for first in range(0, n_out if by_out else n_in, step):
        side = out_label if by_out else in_label
        inside_chunk = (side >= first) & (side < first + step)
        cut = np.where(inside_chunk, side - first, -1).astype(np.int32)
        labels = (cut, in_label) if by_out else (out_label, cut)
        width = min(step, (n_out if by_out else n_in) - first)
        stats = _sum_all(pyramid, connection, labels, (width, n_in) if by_out else (n_out, width))
        total += float(stats.sum_sq.sum())
        bad += int(stats.non_finite.sum())
        if k > 0:
            start = (first, 0) if by_out else (0, first)
            best = Candidates.joined([best, _candidates(stats, start, k)]).best(k)
    return best, total, bad


def _sum_all(
    pyramid: Pyramid, connection: Connection, labels: tuple[I4, I4], size: tuple[int, int]
) -> Stats:
    """Statistics of every pair of labels, all from the file."""
    sums = Sums(*size)
    for _, matrix, out, inside in visible(connection, *labels):
        sums.count_weights(out, inside, matrix.taps)
        rows, columns = (out, inside) if matrix.transposed else (inside, out)
        for a, b in spans(seen_blocks(columns, SIDE)[1]):
            span = (a * SIDE, min(b * SIDE, matrix.minor))
            pyramid.add_level0(sums, matrix, rows, columns, span, keep=False)
    return finished(sums)


def _candidates(stats: Stats, start: tuple[int, int], k: int) -> Candidates:
    """The k strongest of some statistics, and what is as strong as the last of them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.where(stats.count > 0, stats.sum_sq / stats.count, -1.0)
    flat = square.ravel(order="K")
    least = float(np.partition(flat, len(flat) - k)[len(flat) - k]) if len(flat) > k else 0.0
    at = np.nonzero(square >= max(least, 0.0))
    return Candidates(
        (at[0] + start[0]).astype(np.int32),
        (at[1] + start[1]).astype(np.int32),
        stats.sum_sq[at],
        stats.sum[at],
        stats.sum_abs[at],
        stats.max_abs[at],
        stats.count[at],
    )


def _read_bands(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int
) -> tuple[Candidates, float, int]:
    """The same for depthwise kernels, whose pairs are few: sorted, not laid out on a grid."""
    keys, values, counts = [], [], []
    bad = 0
    n_in = int(in_label.max(initial=0)) + 1
    for _, matrix, out, inside in visible(connection, out_label, in_label):
        across = np.repeat(inside, matrix.minor)
        seen = (across >= 0) & (out >= 0)
        pairs = pyramid.level0.pairs(matrix, [(0, matrix.major)], (0, matrix.minor), keep=False)
        parts = pairs.at(seen.reshape(matrix.major, matrix.minor))
        wrong = np.zeros(len(parts.sum), np.int64) if parts.bad is None else parts.bad
        bad += int(wrong.sum())
        keys.append(out[seen].astype(np.int64) * n_in + across[seen])
        values.append(np.stack((parts.sum_sq, parts.sum, parts.sum_abs, parts.max_abs)))
        counts.append(matrix.taps - wrong)
    if not keys:
        return Candidates.joined([]), 0.0, 0
    key, value, count = np.concatenate(keys), np.concatenate(values, axis=1), np.concatenate(counts)
    order = np.argsort(key, kind="stable")
    key, value, count = key[order], value[:, order], count[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    if not len(starts):
        return Candidates.joined([]), 0.0, 0
    sums = np.add.reduceat(value[:3], starts, axis=1)
    peak = np.maximum.reduceat(value[3], starts)
    count = np.add.reduceat(count, starts)
    out, inside = np.divmod(key[starts], n_in)
    found = Candidates(
        out.astype(np.int32), inside.astype(np.int32), sums[0], sums[1], sums[2], peak, count
    )
    return found.at(np.flatnonzero(count)).best(k), float(value[0].sum()), bad
