"""Block statistics of every connection at every resolution, and what can be asked of them.

Level 0 is the model file itself. Above it lie tiles of 64 columns, built in one pass over the
file, and blocks of 64 × 64. A question is answered from the coarsest level that is exact for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.label_sums import Sums, period_of
from explorer.pyramid.level0 import Level0, Reader, row_blocks, spans
from explorer.pyramid.tiles import TILE, Tiles, measure, tile_count
from explorer.weights.connections import Connection, Matrix

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
MOST_KEPT = 1 << 22
"""Elements that one question may leave in the cache; a larger read would only drive out others."""
_PATIENCE = 0.05  # seconds between two looks whether a caller who waits for another was cancelled


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


class Pyramid:
    """Statistics of connections, kept in memory and built on demand; safe for threads.

    Parameters
    ----------
    reader : Reader
        Reads the weights' elements (`explorer.weights.weight_reader.WeightReader`).
    cache_bytes : int
        Most bytes of level 0 that are kept.
    """

    def __init__(self, reader: Reader, cache_bytes: int = 64 << 20) -> None:
        self.level0 = Level0(reader, cache_bytes)
        self._built: dict[tuple[str, str], tuple[tuple[Tiles, Tiles], ...]] = {}
        self._building: dict[tuple[str, str], threading.Event] = {}
        self._lock = threading.Lock()

    def ready(self, connection: Connection) -> bool:
        """Whether the connection's tiles are built."""
        return connection.key in self._built

    def built_since(self, count: int) -> list[tuple[str, str]]:
        """Keys of the connections that were built after the first `count`, in order."""
        with self._lock:
            return list(islice(self._built, count, None)) if len(self._built) > count else []

    def bytes_needed(self, connection: Connection) -> int:
        """Bytes of weights that `build` will read."""
        width = {"float16": 2, "bfloat16": 2, "float64": 8}
        return sum(m.pairs * m.taps * width.get(m.weight.dtype, 4) for m in connection.matrices)

    @property
    def nbytes(self) -> int:
        """Bytes of statistics held in memory."""
        with self._lock:
            built = list(self._built.values())
        return sum(t.nbytes for tiles in built for pair in tiles for t in pair)

    def build(self, connection: Connection, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Read the connection's weights once and sum their tiles.

        A second caller waits for the first, and takes over if that one gave up.

        Parameters
        ----------
        connection : Connection
        cancelled : callable () -> bool
            Asked every few MB; when true, the work so far is dropped.

        Returns
        -------
        bool
            Whether the connection is ready now.

        Raises
        ------
        ModelError
            If the file cannot be read any more.
        """
        while not self.ready(connection):
            mine = threading.Event()
            with self._lock:
                building = self._building.setdefault(connection.key, mine)
            if building is not mine:
                while not building.wait(_PATIENCE):
                    if cancelled():
                        return False
                continue
            try:
                if not self._measure(connection, cancelled):
                    return False
            finally:
                with self._lock:
                    del self._building[connection.key]
                mine.set()
        return True

    def _measure(self, connection: Connection, cancelled: Callable[[], bool]) -> bool:
        """Read the connection's weights in this thread; whether it was not cancelled."""
        if self.ready(connection):  # another thread finished just before this one's turn
            return True
        made = []
        for matrix in connection.matrices:
            tiles = measure(matrix, self.level0, cancelled)
            if tiles is None:
                return False
            made.append((tiles, tiles.blocks()))
        with self._lock:
            self._built[connection.key] = tuple(made)
        return True

    def tiles(self, connection: Connection) -> tuple[tuple[Tiles, Tiles], ...]:
        """Tiles and blocks of each matrix, built now if they are not."""
        self.build(connection)
        return self._built[connection.key]

    def stats(
        self, connection: Connection, out_label: I4, in_label: I4, n_out: int, n_in: int
    ) -> Stats:
        """Statistics of the weights between sets of units.

        Parameters
        ----------
        connection : Connection
            Built now if it is not ready.
        out_label : int32 array, shape (connection.out_units,)
            The set each out unit belongs to, in ``0 … n_out - 1``; ``-1`` for none.
        in_label : int32 array, shape (connection.in_units,)
            Likewise for in units.
        n_out, n_in : int

        Returns
        -------
        Stats
            Arrays of shape (n_out, n_in). The file is read only where a tile of 64 units spans
            several sets; tile sums are exact to single precision, the rest to double precision.
        """
        sums = Sums(n_out, n_in)
        out_label, in_label = (np.asarray(a, np.int32) for a in (out_label, in_label))
        for matrix, levels in zip(connection.matrices, self.tiles(connection), strict=True):
            out, inside = labels_of(matrix, out_label, in_label)
            if not np.any(out >= 0) or not np.any(inside >= 0):
                continue
            if matrix.diagonal:
                self.add_diagonal(sums, matrix, out, inside)
                continue
            sums.count_weights(out, inside, matrix.taps)
            rows, columns = (out, inside) if matrix.transposed else (inside, out)
            mixed = _add_tiles(sums, matrix, rows, columns, levels)
            for first, stop in spans(mixed):
                self.add_level0(sums, matrix, rows, columns,
                                (first * TILE, min(stop * TILE, matrix.minor)))  # fmt: skip
        return finished(sums)

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
        step = max(TILE, (1 << 16) // TILE * TILE)
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


def _add_tiles(
    sums: Sums, matrix: Matrix, rows: I4, columns: I4, levels: tuple[Tiles, Tiles]
) -> NDArray[np.bool_]:
    """Add the tiles whose columns have one label; returns a mask of those that have several."""
    low, high = _ranges(columns, tile_count(matrix))
    mixed: NDArray[np.bool_] = low != high
    labels = np.where(mixed, np.int32(-1), low)
    if not np.any(labels >= 0):
        return mixed
    fine, coarse = levels
    first, last = _ranges(rows, -(-matrix.major // TILE))
    alike = first == last
    if np.any(alike & (first >= 0)):
        sums.add(np.where(alike, first, np.int32(-1)), labels, coarse, matrix.transposed)
    if not np.all(alike):
        single = np.repeat(~alike, TILE)[: matrix.major]
        sums.add(np.where(single, rows, np.int32(-1)), labels, fine, matrix.transposed)
    return mixed


def _ranges(labels: I4, tiles: int) -> tuple[I4, I4]:
    """Lowest and highest label of every 64."""
    padded = np.pad(labels, (0, tiles * TILE - len(labels)), mode="edge").reshape(tiles, TILE)
    return padded.min(axis=1), padded.max(axis=1)
