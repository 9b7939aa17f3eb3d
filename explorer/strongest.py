"""The strongest connections between two sets of units, found exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.connections import Connection, Matrix
from explorer.label_sums import Sums
from explorer.level0 import spans
from explorer.pyramid import Pyramid, finished, labels_of
from explorer.tiles import TILE, Tiles

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

FULL_READ = 1 << 14
"""Weights up to which everything is read rather than searched."""
_CHUNK = 1 << 22
"""Pairs of labels summed at a time."""
_MOST_TILES = 20_000
"""Tiles above which reading everything is quicker than reading them one by one."""
_SLACK = 1.0 - 1e-6
"""Tile maxima are kept in single precision; a bound this much lower is still worth a look."""


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


@dataclass(frozen=True, eq=False)
class _Found:
    """Candidate pairs, flat."""

    out: I4
    inside: I4
    sum_sq: F8
    sum: F8
    sum_abs: F8
    max_abs: F8
    count: I8

    def best(self, k: int) -> _Found:
        """The k strongest, strongest first, ties by (out, inside)."""
        square = self.sum_sq / self.count
        if len(square) > k > 0:
            least = np.partition(square, len(square) - k)[len(square) - k]
            keep = np.flatnonzero(square >= least)
        else:
            keep = np.arange(len(square))
        order = np.lexsort((self.inside[keep], self.out[keep], -square[keep]))[: max(k, 0)]
        return self.at(keep[order])

    def at(self, index: NDArray[np.intp]) -> _Found:
        """Some of the candidates."""
        return _Found(
            self.out[index],
            self.inside[index],
            self.sum_sq[index],
            self.sum[index],
            self.sum_abs[index],
            self.max_abs[index],
            self.count[index],
        )

    @classmethod
    def joined(cls, parts: list[_Found]) -> _Found:
        empty = np.empty(0, np.int32)
        parts = [cls(empty, empty, *(np.empty(0),) * 4, np.empty(0, np.int64)), *parts]
        names = ("out", "inside", "sum_sq", "sum", "sum_abs", "max_abs", "count")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


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
    if (
        weights > FULL_READ
        and pyramid.ready(connection)
        and _one_to_one(connection, out_label, in_label, pairs)
    ):
        found = _search(pyramid, connection, out_label, in_label, k)
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


def _visible(
    connection: Connection, out_label: I4, in_label: I4
) -> Iterator[tuple[int, Matrix, I4, I4]]:
    """Matrices with visible pairs: place, matrix, labels of its out and in units."""
    for at, matrix in enumerate(connection.matrices):
        out, inside = labels_of(matrix, out_label, in_label)
        if np.any(out >= 0) and np.any(inside >= 0):
            yield at, matrix, out, inside


def _totals(connection: Connection, out_label: I4, in_label: I4) -> tuple[int, int]:
    """Distinct joined pairs of labels, and their weights."""
    weights = 0
    bands: list[NDArray[np.int64]] = []
    boxes: dict[tuple[bytes, bytes], tuple[I4, I4]] = {}
    n_in = int(in_label.max(initial=-1)) + 1
    for _, matrix, out, inside in _visible(connection, out_label, in_label):
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


def _one_to_one(connection: Connection, out_label: I4, in_label: I4, pairs: int) -> bool:
    """Whether every visible pair of labels stands for one pair of the kernel."""
    cells = 0
    for _, matrix, out, inside in _visible(connection, out_label, in_label):
        if matrix.diagonal:
            return False
        cells += int(np.count_nonzero(out >= 0)) * int(np.count_nonzero(inside >= 0))
    return cells == pairs


def _read_all(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int,
    size: tuple[int, int],
) -> tuple[_Found, float, int]:  # fmt: skip
    """Sum every visible pair from the file, some labels at a time."""
    n_out, n_in = size
    best = _Found.joined([])
    total, bad = 0.0, 0
    if not n_out or not n_in:
        return best, total, bad
    by_out = n_out >= n_in
    step = max(1, _CHUNK // (n_in if by_out else n_out))
    for first in range(0, n_out if by_out else n_in, step):
        side = out_label if by_out else in_label
        inside_chunk = (side >= first) & (side < first + step)
        cut = np.where(inside_chunk, side - first, -1).astype(np.int32)
        labels = (cut, in_label) if by_out else (out_label, cut)
        width = min(step, (n_out if by_out else n_in) - first)
        sums = Sums(*((width, n_in) if by_out else (n_out, width)))
        for _, matrix, out, inside in _visible(connection, *labels):
            if matrix.diagonal:
                pyramid.add_diagonal(sums, matrix, out, inside)
                continue
            sums.count_weights(out, inside, matrix.taps)
            rows, columns = (out, inside) if matrix.transposed else (inside, out)
            for a, b in spans(_seen(columns)[1]):
                pyramid.add_level0(sums, matrix, rows, columns,
                                   (a * TILE, min(b * TILE, matrix.minor)))  # fmt: skip
        stats = finished(sums)
        total += float(stats.sum_sq.sum())
        bad += int(stats.non_finite.sum())
        at = np.nonzero(stats.count)
        found = _Found(
            (at[0] + (first if by_out else 0)).astype(np.int32),
            (at[1] + (0 if by_out else first)).astype(np.int32),
            stats.sum_sq[at],
            stats.sum[at],
            stats.sum_abs[at],
            stats.max_abs[at],
            stats.count[at],
        ).best(k)
        best = _Found.joined([best, found]).best(k)
    return best, total, bad


def _search(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int
) -> _Found | None:
    """Best first over the tiles' maxima; ``None`` where too many tiles would have to be read.

    The maximum of a tile that is wholly visible is the value of one of the pairs looked for, so
    the k-th largest such maximum is a bound that every pair among the k strongest must reach.
    """
    levels = pyramid.tiles(connection)
    views = [
        _View(at, matrix, out, inside, levels[at])
        for at, matrix, out, inside in _visible(connection, out_label, in_label)
    ]
    if not views or any(v.levels[0].bad is not None for v in views) or k < 1:
        return None
    taps = [v.matrix.taps for v in views]
    if len(set(taps)) > 1:
        return None
    blocks = [v.block_bounds() for v in views]
    least = _kth([values[sure] for values, sure, _ in blocks], k)
    chosen = [np.argwhere(some & (values >= least * _SLACK)) for values, _, some in blocks]
    if sum(map(len, chosen)) * TILE > 64 * _MOST_TILES:
        return None
    tiles = [v.tile_bounds(c) for v, c in zip(views, chosen, strict=True)]
    least = max(least, _kth([values[sure] for values, sure, _, _ in tiles], k))
    wanted = [places[some & (values >= least * _SLACK)] for values, _, some, places in tiles]
    if sum(map(len, wanted)) * taps[0] > _MOST_TILES:
        return None
    found = [part for v, w in zip(views, wanted, strict=True) for part in v.read(pyramid, w)]
    return _Found.joined(found).best(k)


def _kth(parts: list[NDArray[np.floating]], k: int) -> float:
    """The k-th largest of some values; 0 when there are fewer."""
    values = np.concatenate([p.ravel() for p in parts])
    if len(values) < k:
        return 0.0
    return float(np.partition(values, len(values) - k)[len(values) - k])


@dataclass(frozen=True, eq=False)
class _View:
    """A matrix with the labels of its units, as the search sees it."""

    place: int
    matrix: Matrix
    out: I4
    inside: I4
    levels: tuple[Tiles, Tiles]

    @property
    def rows(self) -> I4:
        return self.out if self.matrix.transposed else self.inside

    @property
    def columns(self) -> I4:
        return self.inside if self.matrix.transposed else self.out

    def block_bounds(self) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_]]:
        """Bounds of the 64 × 64 blocks; which are wholly visible; which are at all."""
        rows, columns = _seen(self.rows), _seen(self.columns)
        bound = self.levels[1].pair_max
        return (
            bound,
            rows[0][:, None] & columns[0][None, :],
            rows[1][:, None] & columns[1][None, :],
        )

    def tile_bounds(
        self, blocks: NDArray[np.intp]
    ) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
        """Bounds of the visible tiles of some blocks, wholly visible or not, and their places."""
        rows = (blocks[:, :1] * TILE + np.arange(TILE)[None, :]).ravel()
        tiles = np.repeat(blocks[:, 1], TILE)
        inside = rows < self.matrix.major
        rows, tiles = rows[inside], tiles[inside]
        shown = self.rows[rows] >= 0
        rows, tiles = rows[shown], tiles[shown]
        sure, some = _seen(self.columns)
        values = self.levels[0].pair_max[rows, tiles]
        return values, sure[tiles], some[tiles], np.stack((rows, tiles), axis=1)

    def read(self, pyramid: Pyramid, places: NDArray[np.intp]) -> Iterator[_Found]:
        """The visible pairs of some tiles, given as (row, tile)."""
        m = self.matrix
        narrow = m.minor - (m.minor - 1) // TILE * TILE
        last = places[:, 1] == (m.minor - 1) // TILE
        for some, width in ((places[~last], TILE), (places[last], narrow)):
            if not len(some):
                continue
            rows, first = some[:, 0], some[:, 1] * TILE
            parts = pyramid.level0.tile_pairs(m, rows, first, width)
            along = self.columns[first[:, None] + np.arange(width)]
            seen = along >= 0
            along = along[seen]
            across = np.broadcast_to(self.rows[rows][:, None], seen.shape)[seen]
            out, inside = (across, along) if m.transposed else (along, across)
            yield _Found(out, inside, parts.sum_sq[seen], parts.sum[seen], parts.sum_abs[seen],
                         parts.max_abs[seen], np.full(len(along), m.taps, np.int64))  # fmt: skip


def _seen(labels: I4) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For every 64 units: whether all are visible, and whether any is."""
    starts = np.arange(0, len(labels), TILE)
    visible = labels >= 0
    return np.logical_and.reduceat(visible, starts), np.logical_or.reduceat(visible, starts)
