"""Search for the strongest pairs that reads only the tiles which can hold one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.candidates import Candidates
from explorer.pyramid.pyramid import Pyramid, visible
from explorer.pyramid.tiles import TILE, Tiles
from explorer.weights.connections import Connection, Matrix

I4 = NDArray[np.int32]
_MOST_TILES = 20_000
"""Tiles above which reading everything is quicker than reading them one by one."""
_SLACK = 1.0 - 1e-6
"""Tile maxima are kept in single precision; a bound this much lower is still worth a look."""


def search(
    pyramid: Pyramid, connection: Connection, out_label: I4, in_label: I4, k: int
) -> Candidates | None:
    """Best first over the tiles' maxima; ``None`` where too many tiles would have to be read.

    The maximum of a tile that is wholly visible is the value of one of the pairs looked for, so
    the k-th largest such maximum is a bound that every pair among the k strongest must reach.
    """
    levels = pyramid.tiles(connection)
    views = [
        _View(at, matrix, out, inside, levels[at])
        for at, matrix, out, inside in visible(connection, out_label, in_label)
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
    return Candidates.joined(found).best(k)


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
        rows, columns = seen_tiles(self.rows), seen_tiles(self.columns)
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
        sure, some = seen_tiles(self.columns)
        values = self.levels[0].pair_max[rows, tiles]
        return values, sure[tiles], some[tiles], np.stack((rows, tiles), axis=1)

    def read(self, pyramid: Pyramid, places: NDArray[np.intp]) -> Iterator[Candidates]:
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
            yield Candidates(out, inside, parts.sum_sq[seen], parts.sum[seen], parts.sum_abs[seen],
                         parts.max_abs[seen], np.full(len(along), m.taps, np.int64))  # fmt: skip


def seen_tiles(labels: I4) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For every 64 units: whether all are visible, and whether any is."""
    starts = np.arange(0, len(labels), TILE)
    visible = labels >= 0
    return np.logical_and.reduceat(visible, starts), np.logical_or.reduceat(visible, starts)
