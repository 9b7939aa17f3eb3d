"""Which blocks, of which level, answer a question; what is left is read from the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import Blocks, MatrixStats
from explorer.pyramid.grid import FACTOR
from explorer.pyramid.level0 import PairSums

I4 = NDArray[np.int32]
Index = NDArray[np.intp]
_MIXED = np.int32(-2)
_QUICK, _LITTLE = 1 << 22, 0.3  # weights read in no time; the share that must be saved of them


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a matrix with the labels of its rows and columns, -1 for none.

    Attributes
    ----------
    rows, columns : int32 array
        One label per block of `sums`, or per row and column of the matrix where that is `None`.
    sums : PairSums or None
        Statistics of blocks, shape (rows, columns); ``None``: to be read from the file.
    """

    rows: I4
    columns: I4
    sums: PairSums | None


def cover(stats: MatrixStats, rows: I4, columns: I4) -> Iterator[Piece]:
    """Cut a question into blocks that lie within one set each way, as large as there are.

    Parameters
    ----------
    stats : MatrixStats
        Of the matrix.
    rows, columns : int32 array, shape (matrix.major,) and (matrix.minor,)
        The set each row and column belongs to, ``-1`` for none.

    Yields
    ------
    Piece
        Disjoint; together they are all weights whose row and column have a label. As many blocks
        are touched as lie along the borders between sets.
    """
    levels = stats.levels
    if not levels:
        yield Piece(rows, columns, None)
        return
    labels = [
        (block_labels(rows, level.height), block_labels(columns, level.width)) for level in levels
    ]
    line = _line(stats, rows, columns, labels[0])
    if line is not None:
        yield line
        return
    if _hardly_pays(stats, labels[0]):
        yield Piece(rows, columns, None)
        return
    top = len(levels) - 1
    shape = levels[top].sum_sq.shape
    yield from _Cover(stats, (rows, columns), labels).within(
        top, np.arange(shape[0]), np.arange(shape[1])
    )


def block_labels(labels: I4, size: int) -> I4:
    """The label of every `size` entries where they have only one; -2 where they have several."""
    count = -(-len(labels) // size)
    padded = np.pad(labels, (0, count * size - len(labels)), mode="edge").reshape(count, size)
    low = padded.min(axis=1)
    return np.where(low == padded.max(axis=1), low, _MIXED)


def _line(stats: MatrixStats, rows: I4, columns: I4, labels: tuple[I4, I4]) -> Piece | None:
    """Whole rows or whole columns, where all that they cross is one set."""
    if stats.finest is None or stats.finest.bad is not None:
        return None
    for side, (label, over) in enumerate(((columns, stats.over_rows), (rows, stats.over_columns))):
        single = label[0] >= 0 and label[0] == label.min() == label.max()
        if over is None or not single or not np.any(labels[side] == _MIXED):
            continue
        one = label[:1]
        if side == 0:
            return Piece(rows, one, PairSums(*(a[:, None] for a in over)))
        return Piece(one, columns, PairSums(*(a[None, :] for a in over)))
    return None


def _hardly_pays(stats: MatrixStats, labels: tuple[I4, I4]) -> bool:
    """Whether blocks would answer so little that reading all in one go is quicker."""
    saved = 1.0
    for label in labels:
        shown = int(np.count_nonzero(label != -1))
        saved *= np.count_nonzero(label >= 0) / max(shown, 1)
    grid = stats.grid
    small = grid.rows * grid.columns * grid.taps <= _QUICK
    return saved == 0.0 or (small and saved < _LITTLE)


@dataclass(frozen=True, eq=False)
class _Cover:
    stats: MatrixStats
    own: tuple[I4, I4]
    labels: list[tuple[I4, I4]]

    def within(self, level: int, rows: Index, columns: Index) -> Iterator[Piece]:
        """Cover some blocks of a level."""
        row, column = (a[i] for a, i in zip(self.labels[level], (rows, columns), strict=True))
        rows, row = rows[row != -1], row[row != -1]
        columns, column = columns[column != -1], column[column != -1]
        if not len(rows) or not len(columns):
            return
        plain = row >= 0, column >= 0
        if plain[0].any() and plain[1].any():
            yield Piece(
                row[plain[0]],
                column[plain[1]],
                _selected(self.stats.levels[level], rows[plain[0]], columns[plain[1]]),
            )
        # What is mixed is looked at again, more finely: rows first, then the columns beside.
        for r, c in ((rows[~plain[0]], columns), (rows[plain[0]], columns[~plain[1]])):
            if not len(r) or not len(c):
                continue
            if level == 0:
                yield self._unread(r, c)
            else:
                shape = self.stats.levels[level - 1].sum_sq.shape
                yield from self.within(level - 1, _children(r, shape[0]), _children(c, shape[1]))

    def _unread(self, rows: Index, columns: Index) -> Piece:
        finest = self.stats.finest
        assert finest is not None
        sizes = (finest.height, finest.width)
        kept = []
        for labels, blocks, size in zip(self.own, (rows, columns), sizes, strict=True):
            chosen = np.zeros(-(-len(labels) // size), bool)
            chosen[blocks] = True
            seen = np.repeat(chosen, size)[: len(labels)]
            kept.append(np.where(seen, labels, np.int32(-1)))
        return Piece(kept[0], kept[1], None)


def _children(blocks: Index, count: int) -> Index:
    """Blocks of the next finer level, of which there are `count`."""
    inner = (blocks[:, None] * FACTOR + np.arange(FACTOR)).ravel()
    return inner[inner < count]


def _selected(level: Blocks, rows: Index, columns: Index) -> PairSums:
    """The statistics of rows × columns of blocks."""
    shape = level.sum_sq.shape
    if len(rows) == shape[0] and len(columns) == shape[1]:
        return PairSums(level.sum_sq, level.sum, level.sum_abs, level.max_abs, level.bad)
    at = np.ix_(rows, columns)
    bad = None if level.bad is None else level.bad[at]
    return PairSums(level.sum_sq[at], level.sum[at], level.sum_abs[at], level.max_abs[at], bad)
