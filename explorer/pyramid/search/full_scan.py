"""The strongest pairs of units by reading all weights between them, in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE
from explorer.pyramid.label_sums import Sums
from explorer.pyramid.level0 import spans
from explorer.pyramid.pyramid import Pyramid, Stats, finished, visible
from explorer.pyramid.search.candidates import Candidates, Rank
from explorer.pyramid.search.tile_search import seen_blocks
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
_CHUNK = 1 << 20
"""Pairs of labels summed at a time."""


def scan(
    pyramid: Pyramid, connection: Connection, labels: tuple[I4, I4], k: int, rank: Rank = "rms"
) -> tuple[Candidates, float, int]:
    """Sum every visible pair from the file, some labels at a time.

    Parameters
    ----------
    pyramid : Pyramid
    connection : Connection
    labels : (int32 array, int32 array)
        Of the out and of the in units: all from 0 up to the largest occur, ``-1`` for none.
    k : int
    rank : "rms" or "sum_sq"

    Returns
    -------
    Candidates
        The k strongest pairs.
    float, int
        Σw² of all visible weights that are finite, and how many are not.
    """
    out_label, in_label = labels
    n_out, n_in = (int(a.max(initial=-1)) + 1 for a in labels)
    best = Candidates.joined([])
    total, bad = 0.0, 0
    if not n_out or not n_in:
        return best, total, bad
    if all(m.diagonal for m in connection.matrices):
        return _bands(pyramid, connection, labels, k, rank)
    by_out = n_out >= n_in
    step = max(1, _CHUNK // (n_in if by_out else n_out))
    for first in range(0, n_out if by_out else n_in, step):
        side = out_label if by_out else in_label
        inside_chunk = (side >= first) & (side < first + step)
        cut = np.where(inside_chunk, side - first, -1).astype(np.int32)
        some = (cut, in_label) if by_out else (out_label, cut)
        width = min(step, (n_out if by_out else n_in) - first)
        stats = _sums(pyramid, connection, some, (width, n_in) if by_out else (n_out, width))
        total += float(stats.sum_sq.sum())
        bad += int(stats.non_finite.sum())
        if k > 0:
            start = (first, 0) if by_out else (0, first)
            best = Candidates.joined([best, _candidates(stats, start, k, rank)]).best(k, rank)
    return best, total, bad


def _sums(
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


def _candidates(stats: Stats, start: tuple[int, int], k: int, rank: Rank) -> Candidates:
    """The k strongest of some statistics, and what is as strong as the last of them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = stats.sum_sq if rank == "sum_sq" else stats.sum_sq / stats.count
    square = np.where(stats.count > 0, value, -1.0)
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


def _bands(
    pyramid: Pyramid, connection: Connection, labels: tuple[I4, I4], k: int, rank: Rank
) -> tuple[Candidates, float, int]:
    """The same for depthwise kernels, whose pairs are few: sorted, not laid out on a grid."""
    out_label, in_label = labels
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
    return found.at(np.flatnonzero(count)).best(k, rank), float(value[0].sum()), bad
