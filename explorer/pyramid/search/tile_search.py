"""Best-first search for the strongest pairs: reads only the tiles that can still hold one.

A block's peak is the value of one of its pairs, and a tile's code bounds its peak from above and
below. The k-th largest bound from below is one that every pair looked for must reach; tiles are
then read in the order of their bounds from above, until the next one cannot change the result.
Where the weights of a pair lie in several matrices (the gates of a cell), the bounds of its value
follow from theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import Blocks
from explorer.pyramid.grid import SIDE, TILE_ROWS
from explorer.pyramid.level0 import PairSums, row_blocks, together
from explorer.pyramid.pyramid import Pyramid, View
from explorer.pyramid.search.candidates import Candidates, Rank
from explorer.weights.connections import Matrix

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Seen = tuple[int, Matrix, I4, I4]
_SLACK = 1.0 - 2e-6
"""Peaks are kept in single precision; the square of a bound this much lower is worth a look."""
_FIRST, _MOST_AT_ONCE = 512, 8192  # tiles read between two looks at what was found
_WORTH = 6
"""Reading single tiles costs so much more than reading through, per weight."""
_STRIP = SIDE // TILE_ROWS  # tiles of a block


def stacked(seen: Sequence[Seen]) -> list[list[Seen]]:
    """Matrices whose equal places join equal labels, together."""
    stacks: dict[tuple[object, ...], list[Seen]] = {}
    for one in seen:
        _, m, rows, columns = one
        alike = (rows.tobytes(), columns.tobytes(), m.taps, m.transposed, m.diagonal, m.weight.name)
        stacks.setdefault(alike, []).append(one)
    return list(stacks.values())


def one_to_one(stacks: Sequence[Sequence[Seen]], pairs: int) -> bool:
    """Whether every visible pair of labels stands for one place of one stack of matrices.

    Parameters
    ----------
    stacks : sequence
        As `stacked` makes them.
    pairs : int
        How many distinct pairs of labels are visible.
    """
    cells = 0
    for (_, matrix, rows, columns), *_ in stacks:
        if matrix.diagonal:
            return False
        cells += int(np.count_nonzero(rows >= 0)) * int(np.count_nonzero(columns >= 0))
    return cells == pairs


def search(
    pyramid: Pyramid, fields: Sequence[Field], k: int, rank: Rank = "rms", least: float = 0.0
) -> Candidates:
    """The k strongest pairs.

    Parameters
    ----------
    pyramid : Pyramid
    fields : sequence of Field
        No two hold the same pair of labels.
    k : int
    rank : "rms" or "sum_sq"
        Whether mean squares or sums of squares are compared.
    least : float
        Pairs of a lower mean square, or sum of squares, need not be found.
    """
    bounds = [field.block_bounds(rank) for field in fields]
    least = max(least, _kth([low[sure] for _, low, sure, _ in bounds], k))
    chosen = [np.argwhere(some & (high >= least * _SLACK)) for high, _, _, some in bounds]
    tiles = [field.tile_bounds(c, rank) for field, c in zip(fields, chosen, strict=True)]
    least = max(least, _kth([t.low[t.sure] for t in tiles], k))
    kept = [t.take(t.high >= least * _SLACK) for t in tiles]
    return _read(pyramid, fields, kept, _Best(k, rank, least))


def _kth(parts: list[F8], k: int) -> float:
    """The k-th largest of some values; 0 when there are fewer."""
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(values) < k:
        return 0.0
    return float(np.partition(values, len(values) - k)[len(values) - k])


def _times(values: F8, factor: float) -> F8:
    """The product, without a copy where it changes nothing."""
    return values if factor == 1.0 else values * np.float64(factor)


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Tiles that may hold a strong pair.

    Attributes
    ----------
    row, block : int array
        Number of the tile from the top, and of its column of blocks.
    low, high : float64 array
        Bounds of the largest value of a pair in it.
    sure : bool array
        Whether all of it is visible, so that `low` is the bound of a visible pair.
    """

    row: NDArray[np.intp]
    block: NDArray[np.intp]
    low: F8
    high: F8
    sure: Bools

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: NDArray[np.intp] | Bools) -> _Tiles:
        """Some of the tiles."""
        return _Tiles(self.row[at], self.block[at], self.low[at], self.high[at], self.sure[at])


@dataclass(frozen=True)
class Field:
    """Matrices with labelled rows and columns, as the search sees them.

    Attributes
    ----------
    views : tuple of View
        Of one shape and with the same labels: the weights of a pair lie at one place in each.
    """

    views: tuple[View, ...]

    @cached_property
    def _finest(self) -> tuple[Blocks, ...]:
        found = tuple(v.stats.finest for v in self.views)
        return tuple(f for f in found if f is not None)

    @cached_property
    def _whole(self) -> bool:
        """Whether all weights are finite, so that every pair has the same number of them."""
        return all(f.bad is None for f in self._finest)

    def _high(self, squares: list[F8], rank: Rank) -> F8:
        """Bound from above of a pair's value, from those of its mean squares in each matrix."""
        several, taps = len(squares), self.views[0].matrix.taps
        if rank == "rms" and several > 1 and not self._whole:
            return np.asarray(np.maximum.reduce(squares))  # a mean weighted by unknown counts
        total = squares[0] if several == 1 else np.add.reduce(squares)
        return _times(total, taps if rank == "sum_sq" else 1.0 / several)

    def _low(self, squares: list[F8], rank: Rank) -> F8:
        """Bound from below of the largest value, from those of the largest mean squares."""
        several, taps = len(squares), self.views[0].matrix.taps
        top = squares[0] if several == 1 else np.maximum.reduce(squares)
        if rank == "sum_sq":  # of one finite weight at least
            return _times(top, taps if self._whole else 1)
        return _times(top, 1.0 / several if self._whole or several == 1 else 1.0 / several / taps)

    def block_bounds(self, rank: Rank) -> tuple[F8, F8, Bools, Bools]:
        """Bounds of the blocks, from above and below; which are wholly visible; which at all."""
        one, view = self._finest[0], self.views[0]
        rows = seen_blocks(view.rows, one.height)
        columns = seen_blocks(view.columns, one.width)
        squares = [np.square(f.peak, dtype=np.float64) for f in self._finest]
        return (
            self._high(squares, rank),
            self._low(squares, rank),
            rows[0][:, None] & columns[0][None, :],
            rows[1][:, None] & columns[1][None, :],
        )

    def capacity(self) -> tuple[F8, F8]:
        """Of each visible block: the most Σw² that a pair can hold, and at least what all hold."""
        high, _, _, some = self.block_bounds("sum_sq")
        held = np.zeros(int(np.count_nonzero(some)))
        for finest in self._finest:
            held += finest.sum_sq[some]
        return high[some] / _SLACK, held / _SLACK

    def tile_bounds(self, blocks: NDArray[np.intp], rank: Rank) -> _Tiles:
        """Bounds of the visible tiles of some blocks."""
        view, height = self.views[0], -(-self.views[0].matrix.major // TILE_ROWS)
        row = (blocks[:, :1] * _STRIP + np.arange(_STRIP)[None, :]).ravel()
        block = np.repeat(blocks[:, 1], _STRIP)
        rows = seen_blocks(view.rows, TILE_ROWS)
        columns = seen_blocks(view.columns, self._finest[0].width)
        inside = np.flatnonzero(row < height)
        inside = inside[rows[1][row[inside]] & columns[1][block[inside]]]
        row, block = row[inside], block[inside]
        highs, lows = [], []
        for v, f in zip(self.views, self._finest, strict=True):
            assert v.stats.codes is not None
            code = v.stats.codes[row, block].astype(np.float64)
            step = f.peak[row // _STRIP, block].astype(np.float64) / 255.0
            highs.append(np.square(code * step))
            lows.append(np.square(np.maximum(code - 1.0, 0.0) * step) * _SLACK)
        sure = rows[0][row] & columns[0][block]
        return _Tiles(row, block, self._low(lows, rank), self._high(highs, rank), sure)

    def weights(self, tiles: int) -> int:
        """Weights in so many tiles, about."""
        each = TILE_ROWS * self._finest[0].width * self.views[0].matrix.taps
        return tiles * each * len(self.views)

    def visible(self) -> int:
        """Weights whose row and column are visible."""
        view = self.views[0]
        rows, columns = (int(np.count_nonzero(a >= 0)) for a in (view.rows, view.columns))
        return rows * columns * view.matrix.taps * len(self.views)

    def read(self, pyramid: Pyramid, tiles: _Tiles, best: _Best) -> Iterator[Candidates]:
        """The visible pairs of some tiles that may be among the best."""
        view, width = self.views[0], self._finest[0].width
        m = view.matrix
        row = (tiles.row[:, None] * TILE_ROWS + np.arange(TILE_ROWS)).ravel()
        first = np.repeat(tiles.block, TILE_ROWS) * width
        inside = np.flatnonzero(row < m.major)
        inside = inside[view.rows[row[inside]] >= 0]
        row, first = row[inside], first[inside]
        last = first + width > m.minor
        for some, wide in ((~last, width), (last, m.minor % width)):
            if some.any():
                rows, column = row[some], first[some]
                parts = together(
                    pyramid.level0.tile_pairs(v.matrix, rows, column, wide) for v in self.views
                )
                yield self._strong(parts, rows, column, best)

    def sweep(self, pyramid: Pyramid, tiles: _Tiles, best: _Best) -> Iterator[Candidates]:
        """The same by reading through all rows that hold one of the tiles."""
        view = self.views[0]
        wanted = np.zeros(-(-view.matrix.major // TILE_ROWS), np.bool_)
        wanted[tiles.row] = True
        shown = np.repeat(wanted, TILE_ROWS)[: view.matrix.major]
        rows = np.where(shown, view.rows, np.int32(-1))
        columns = np.flatnonzero(view.columns >= 0)
        across = (int(columns[0]), int(columns[-1]) + 1)
        for runs in row_blocks(rows, across[1] - across[0]):
            parts = together(
                pyramid.level0.pairs(v.matrix, runs, across, keep=False) for v in self.views
            )
            row = np.concatenate([np.arange(*run) for run in runs])
            yield self._strong(parts, row, np.full(len(row), across[0]), best)

    def _strong(
        self, parts: PairSums, row: NDArray[np.intp], first: NDArray[np.intp], best: _Best
    ) -> Candidates:
        """The visible ones of some runs of pairs that are strong enough."""
        view = self.views[0]
        count: int | NDArray[np.int64] = view.matrix.taps * len(self.views)
        if parts.bad is not None:
            count = count - parts.bad
        value = parts.sum_sq if best.rank == "sum_sq" else parts.sum_sq / np.maximum(count, 1)
        at = np.nonzero((value >= best.least * _SLACK) & (np.asarray(count) > 0))
        along, across = view.columns[first[at[0]] + at[1]], view.rows[row[at[0]]]
        out, inside = (across, along) if view.matrix.transposed else (along, across)
        counts = np.broadcast_to(np.asarray(count, np.int64), value.shape)[at]
        found = Candidates(out, inside, parts.sum_sq[at], parts.sum[at], parts.sum_abs[at],
                           parts.max_abs[at], counts)  # fmt: skip
        return found.at(np.flatnonzero((along >= 0) & (across >= 0)))


class _Best:
    """The k strongest of what was found so far.

    Attributes
    ----------
    least : float
        What a pair must reach to be one of them.
    """

    def __init__(self, k: int, rank: Rank, least: float) -> None:
        self.k, self.rank, self.least = k, rank, least
        self._ranked = Candidates.joined([])
        self._more: list[Candidates] = []

    def add(self, found: Candidates) -> None:
        """Take more into account."""
        self._more.append(found)
        if sum(len(one.out) for one in self._more) > max(self.k, _MOST_AT_ONCE):
            self.ranked()

    def ranked(self) -> Candidates:
        """Those k, strongest first."""
        if self._more:
            self._ranked = Candidates.joined([self._ranked, *self._more]).best(self.k, self.rank)
            self._more = []
            if len(self._ranked.out) >= self.k:
                self.least = max(self.least, float(self._ranked.value(self.rank)[-1]))
        return self._ranked


def _read(
    pyramid: Pyramid, fields: Sequence[Field], tiles: list[_Tiles], best: _Best
) -> Candidates:
    """Read tiles, those with the highest bounds first, until no other can hold a strong pair."""
    owner = np.repeat(np.arange(len(tiles)), [len(t) for t in tiles])
    place = np.concatenate([np.arange(len(t)) for t in tiles])
    high = np.concatenate([t.high for t in tiles])
    order = np.argsort(-high, kind="stable")
    visible = sum(field.visible() for field in fields)
    at, batch, spent = 0, max(_FIRST, best.k), 0
    while at < len(order) and high[order[at]] >= best.least * _SLACK:
        now = order[at : at + batch]
        chosen = [mine.take(np.sort(place[now[owner[now] == n]])) for n, mine in enumerate(tiles)]
        spent += sum(field.weights(len(c)) for field, c in zip(fields, chosen, strict=True))
        sweep = spent * _WORTH > visible  # nearly all may hold one: read through
        if sweep:
            chosen = [t.take(t.high >= best.least * _SLACK) for t in tiles]
            best = _Best(best.k, best.rank, best.least)
        for field, some in zip(fields, chosen, strict=True):
            if len(some):
                for found in (field.sweep if sweep else field.read)(pyramid, some, best):
                    best.add(found)
        best.ranked()
        if sweep:
            break
        at += len(now)
        batch = min(batch * 2, _MOST_AT_ONCE)
    return best.ranked()


def seen_blocks(labels: I4, size: int) -> tuple[Bools, Bools]:
    """For every so many units: whether all are visible, and whether any is."""
    starts = np.arange(0, len(labels), size)
    visible = labels >= 0
    return np.logical_and.reduceat(visible, starts), np.logical_or.reduceat(visible, starts)
