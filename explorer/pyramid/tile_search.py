"""Best-first search for the strongest pairs: reads only the tiles that can still hold one.

A block's peak is the value of one of its pairs, and a tile's code bounds its peak from above and
below. The k-th largest bound from below is one that every pair looked for must reach; tiles are
then read in the order of their bounds from above, until the next one cannot change the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.candidates import Candidates
from explorer.pyramid.grid import SIDE, TILE_ROWS
from explorer.pyramid.pyramid import Pyramid, View
from explorer.weights.connections import Connection

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Bools = NDArray[np.bool_]
_SLACK = 1.0 - 1e-6
"""Peaks are kept in single precision; a bound this much lower is still worth a look."""
_FIRST, _MOST_AT_ONCE = 512, 8192  # tiles read between two looks at what was found
_WORTH = 4
"""Reading single tiles costs so much more than reading through, per weight."""


def search(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int
) -> Candidates | None:
    """The k pairs with the largest mean square, or ``None`` where reading all is as quick.

    Parameters
    ----------
    pyramid : Pyramid
    connection : Connection
    out_label, in_label : int32 array
        Of the connection's units; every pair of labels stands for one pair of the kernel.
    k : int
    """
    views = pyramid.views(connection, out_label, in_label)
    if not views or k < 1 or any(v.stats.codes is None for v in views):
        return None
    fields = [_Field(view) for view in views]
    blocks = [field.block_bounds() for field in fields]
    least = _kth([peak[sure] for peak, sure, _ in blocks], k)
    chosen = [np.argwhere(some & (peak >= least * _SLACK)) for peak, _, some in blocks]
    tiles = [field.tile_bounds(c) for field, c in zip(fields, chosen, strict=True)]
    least = max(least, _kth([t.low[t.sure] for t in tiles], k))
    kept = [t.take(t.high >= least * _SLACK) for t in tiles]
    return _read(pyramid, fields, kept, k)


def _kth(parts: list[NDArray[np.floating]], k: int) -> float:
    """The k-th largest of some values; 0 when there are fewer."""
    values = np.concatenate([p.ravel() for p in parts])
    if len(values) < k:
        return 0.0
    return float(np.partition(values, len(values) - k)[len(values) - k])


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Tiles that may hold a strong pair.

    Attributes
    ----------
    row, block : int array
        Number of the tile from the top, and of its column of blocks.
    low, high : float64 array
        Bounds of the largest root mean square of a pair in it.
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


@dataclass(frozen=True, eq=False)
class _Field:
    """A matrix with labelled rows and columns, as the search sees it."""

    view: View

    def block_bounds(self) -> tuple[F8, Bools, Bools]:
        """Peaks of the blocks; which are wholly visible; which are at all."""
        finest = self.view.stats.finest
        assert finest is not None
        rows = seen_blocks(self.view.rows, finest.height)
        columns = seen_blocks(self.view.columns, finest.width)
        return (
            finest.peak,
            rows[0][:, None] & columns[0][None, :],
            rows[1][:, None] & columns[1][None, :],
        )

    def tile_bounds(self, blocks: NDArray[np.intp]) -> _Tiles:
        """Bounds of the visible tiles of some blocks."""
        finest, codes = self.view.stats.finest, self.view.stats.codes
        assert finest is not None
        assert codes is not None
        each = SIDE // TILE_ROWS
        row = (blocks[:, :1] * each + np.arange(each)[None, :]).ravel()
        block = np.repeat(blocks[:, 1], each)
        inside = row < len(codes)
        row, block = row[inside], block[inside]
        rows = seen_blocks(self.view.rows, TILE_ROWS)
        columns = seen_blocks(self.view.columns, finest.width)
        shown = rows[1][row] & columns[1][block]
        row, block = row[shown], block[shown]
        code = codes[row, block].astype(np.float64)
        peak = finest.peak[row // each, block].astype(np.float64)
        return _Tiles(
            row,
            block,
            np.maximum(code - 1.0, 0.0) / 255.0 * peak * _SLACK,
            code / 255.0 * peak,
            rows[0][row] & columns[0][block],
        )

    def weights(self, tiles: _Tiles) -> int:
        """Weights in some tiles, about."""
        finest = self.view.stats.finest
        assert finest is not None
        return len(tiles) * TILE_ROWS * finest.width * self.view.matrix.taps

    def visible(self) -> int:
        """Weights whose row and column are visible."""
        rows, columns = (int(np.count_nonzero(a >= 0)) for a in (self.view.rows, self.view.columns))
        return rows * columns * self.view.matrix.taps

    def read(self, pyramid: Pyramid, tiles: _Tiles) -> Iterator[Candidates]:
        """The visible pairs of some tiles."""
        m, finest = self.view.matrix, self.view.stats.finest
        assert finest is not None
        row = (tiles.row[:, None] * TILE_ROWS + np.arange(TILE_ROWS)).ravel()
        first = np.repeat(tiles.block, TILE_ROWS) * finest.width
        inside = row < m.major
        row, first = row[inside], first[inside]
        shown = self.view.rows[row] >= 0
        row, first = row[shown], first[shown]
        last = first + finest.width > m.minor
        for some, width in ((~last, finest.width), (last, m.minor % finest.width)):
            if not some.any():
                continue
            parts = pyramid.level0.tile_pairs(m, row[some], first[some], width)
            along = self.view.columns[first[some][:, None] + np.arange(width)]
            across = np.broadcast_to(self.view.rows[row[some]][:, None], along.shape)
            count = np.full(along.shape, m.taps, np.int64)
            if parts.bad is not None:
                count -= parts.bad
            seen = (along >= 0) & (count > 0)
            out, inside_ = (across, along) if m.transposed else (along, across)
            yield Candidates(out[seen], inside_[seen], parts.sum_sq[seen], parts.sum[seen],
                             parts.sum_abs[seen], parts.max_abs[seen], count[seen])  # fmt: skip


def _read(pyramid: Pyramid, fields: list[_Field], tiles: list[_Tiles], k: int) -> Candidates | None:
    """Read tiles, those with the highest bounds first, until no other can hold a strong pair."""
    owner = np.repeat(np.arange(len(tiles)), [len(t) for t in tiles])
    place = np.concatenate([np.arange(len(t)) for t in tiles])
    high = np.concatenate([t.high for t in tiles])
    order = np.argsort(-high, kind="stable")
    visible = sum(field.visible() for field in fields)
    best, at, batch, spent = Candidates.joined([]), 0, max(_FIRST, k), 0
    while at < len(order):
        if len(best.out) >= k:
            square = best.sum_sq[-1] / best.count[-1]
            if high[order[at]] < np.sqrt(square) * _SLACK:
                break
        now = order[at : at + batch]
        found = [best]
        for n, (field, own) in enumerate(zip(fields, tiles, strict=True)):
            chosen = own.take(np.sort(place[now[owner[now] == n]]))
            if len(chosen):
                spent += field.weights(chosen)
                found += field.read(pyramid, chosen)
        if spent * _WORTH > visible:
            return None
        best = Candidates.joined(found).best(k)
        at += len(now)
        batch = min(batch * 2, _MOST_AT_ONCE)
    return best


def seen_blocks(labels: I4, size: int) -> tuple[Bools, Bools]:
    """For every so many units: whether all are visible, and whether any is."""
    starts = np.arange(0, len(labels), size)
    visible = labels >= 0
    return np.logical_and.reduceat(visible, starts), np.logical_or.reduceat(visible, starts)
