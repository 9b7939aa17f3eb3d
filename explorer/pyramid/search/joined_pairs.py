"""Labels of units, and how many pairs of them a connection joins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.pyramid import visible
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
_SPARSE = 16
"""Fewer labels than one in so many are sorted; of more, those that occur are ticked off."""


def dense(labels: I4) -> tuple[I4, I4]:
    """Labels that occur, ascending, and the same labelling by position among them.

    Parameters
    ----------
    labels : int32 array
        ``-1`` for none, which stays so.
    """
    labels = np.asarray(labels, np.int32)
    size = int(labels.max(initial=-1)) + 1
    names = _occurring(labels[labels >= 0], size)
    if len(names) == size:
        return names, labels
    place = np.full(size + 1, -1, np.int32)  # the last is for -1
    place[names] = np.arange(len(names), dtype=np.int32)
    return names, place[labels]


def joined_pairs(connection: Connection, out_label: I4, in_label: I4) -> tuple[int, int]:
    """Distinct joined pairs of labels, and their weights."""
    weights = 0
    bands: list[NDArray[np.int64]] = []
    boxes: dict[tuple[bytes, bytes], tuple[I4, I4]] = {}
    n_out, n_in = (int(a.max(initial=-1)) + 1 for a in (out_label, in_label))
    for _, matrix, out, inside in visible(connection, out_label, in_label):
        if matrix.diagonal:
            across = np.repeat(inside, matrix.minor)
            seen = (across >= 0) & (out >= 0)
            weights += int(np.count_nonzero(seen)) * matrix.taps
            bands.append(out[seen].astype(np.int64) * n_in + across[seen])
            continue
        a, b = out[out >= 0], inside[inside >= 0]
        weights += len(a) * len(b) * matrix.taps
        a, b = _occurring(a, n_out), _occurring(b, n_in)
        boxes[a.tobytes(), b.tobytes()] = (a, b)
    pairs = len(np.unique(np.concatenate(bands))) if bands else 0
    return pairs + _area(list(boxes.values()), n_out, n_in), weights


def _occurring(labels: I4, size: int) -> I4:
    """Labels that occur, ascending; all are below `size`."""
    if len(labels) * _SPARSE < size:
        return np.unique(labels)
    seen = np.zeros(size, np.bool_)
    seen[labels] = True
    return np.flatnonzero(seen).astype(np.int32)


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
