"""Sums of the weights between the units that two rows show, kept in pieces.

What a click opens or closes is one range of units: of a million pairs of units all others stay as
they were. So large tables of pairs are cut where the ranges are, and only new pieces are summed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.older import Older
from explorer.crossing.rows import STATS
from explorer.crossing.unit_sides import Question, Side
from explorer.crossing.unit_sums import UnitSums, Whole, mean_squares, strongest_pairs
from explorer.memory import Memory
from explorer.open_model import OpenModel
from explorer.pyramid.pyramid import READ_AT_ONCE

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Index = NDArray[np.intp]
_FEW = 1 << 16  # pairs that are summed in no time, all at once
_ROOM = 96 << 20  # bytes of pieces
_OLDER = ("older_sum_sq", "older_count")  # what is told besides where two files are compared


class UnitTables:
    """Sums weights between units, and remembers pieces of large tables.

    Parameters
    ----------
    model : OpenModel
    older : Older, optional
        Where two files are compared.
    """

    def __init__(self, model: OpenModel, older: Older | None) -> None:
        self._model, self._older = model, older
        self._fields = STATS if older is None else (*STATS, *_OLDER)
        self._cells: Memory[_Cell] = Memory(_ROOM, lambda cell: 600 + cell.nbytes)

    def nbytes_to_read(self, asked: Question) -> int:
        """Bytes of weights that the answer needs of the file."""
        model, ways = self._model, asked.ways.ways
        if all(model.table.nbytes[number] <= READ_AT_ONCE for number, _ in ways):
            return 0  # each is read in no time
        total = 0
        for part in self._look(asked)[1]:
            for number, out, inside in self._labels(asked, part):
                if model.table.nbytes[number] > READ_AT_ONCE >= total:
                    total += model.pyramid.cost(model.table.connections[number], out, inside)
        return total

    def answer(self, asked: Question) -> UnitSums:
        """Sums between what shows of two rows; all connections have been read."""
        target, source = asked.target, asked.source
        if target.size * source.size <= _FEW:
            alone = target.single()[:, None] & source.single()
            return strongest_pairs(Whole(self._sum(asked, None), alone), alone)
        held, parts = self._look(asked)
        ranges = None
        for part in parts:
            grids = self._sum(asked, part)
            if not part.cells:
                ranges = _Cell.of(grids, self._fields, slice(None), slice(None), False)
            for i, j, rows, columns in part.pieces(target, source):
                single = bool(target.alone[i] and source.alone[j])
                cell = _Cell.of(grids, self._fields, rows, columns, single)
                held[i, j] = self._cells.put((asked.key, target.keys[i], source.keys[j]), cell)
        alone = target.single()[:, None] & source.single()
        return strongest_pairs(_Pieces(target, source, held, ranges), alone)

    def _look(self, asked: Question) -> tuple[dict[tuple[int, int], _Cell], list[_Part]]:
        """Pieces that are known, by run of the target and of the source, and what is not.

        Where longer ranges meet, blocks of the pyramid answer: these are no pieces.
        """
        target, source = asked.target, asked.source
        known: dict[tuple[int, int], _Cell] = {}
        if target.size * source.size <= _FEW:
            return known, [_Part(np.arange(target.size), np.arange(source.size))]
        lacking: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for j, (alone, right) in enumerate(zip(source.alone.tolist(), source.keys, strict=True)):
            missing = []
            for i, left in enumerate(target.keys):
                if not alone and not target.alone[i]:
                    continue
                cell = self._cells.get((asked.key, left, right))
                if cell is None:
                    missing.append(i)
                else:
                    known[i, j] = cell
            if missing:
                lacking[tuple(missing)].append(j)
        parts = [
            _Part(target.of(list(some)), source.of(others), (list(some), others))
            for some, others in lacking.items()
        ]
        if len(target.ranges) and len(source.ranges):
            parts.append(_Part(target.ranges, source.ranges))
        return known, parts

    def _labels(self, asked: Question, part: _Part | None) -> Iterator[tuple[int, I4, I4]]:
        """Connections, and the places in a part of what their out and in units show as."""
        for number, out, inside in asked.labelled(self._model.table):
            if part is not None:
                out = _among(part.out, asked.target.size)[out]
                inside = _among(part.inside, asked.source.size)[inside]
            yield number, out, inside

    def _sum(self, asked: Question, part: _Part | None) -> dict[str, NDArray[Any]]:
        """Sums of a part of all pairs, or of all: arrays of shape (target, source) by field."""
        shape = asked.target.size, asked.source.size
        if part is not None:
            shape = len(part.out), len(part.inside)
        total: dict[str, NDArray[Any]] = {}

        def add(name: str, more: NDArray[Any]) -> None:
            grid = total.get(name)
            if grid is None:
                total[name] = more  # made for this question alone
            else:
                (np.maximum if name == "max_abs" else np.add)(grid, more, out=grid)

        for number, out, inside in self._labels(asked, part):
            connection = self._model.table.connections[number]
            stats = self._model.pyramid.stats(connection, out, inside, *shape)
            for name in STATS:
                add(name, getattr(stats, name))
            if self._older is not None:
                old = self._older.pyramid.stats(connection, out, inside, *shape)
                add(_OLDER[0], old.sum_sq)
                add(_OLDER[1], old.count)
        return total or {name: np.zeros(shape) for name in self._fields}


@dataclass(frozen=True, eq=False)
class _Part:
    """Pairs that are summed together: positions in the target and in the source, ascending.

    With `cells`, the runs of either that are to be remembered piece by piece.
    """

    out: Index
    inside: Index
    cells: tuple[list[int], list[int]] | None = None

    def pieces(self, target: Side, source: Side) -> Iterator[tuple[int, int, slice, slice]]:
        """Runs of the target and the source, and where in the part their pairs stand."""
        if self.cells is None:
            return
        for i, rows in _slices(target, self.cells[0]):
            for j, columns in _slices(source, self.cells[1]):
                yield i, j, rows, columns


def _slices(side: Side, runs: list[int]) -> list[tuple[int, slice]]:
    sizes = np.diff(side.bounds)[runs]
    stops = np.cumsum(sizes).tolist()
    starts = [0, *stops[:-1]]
    return [(run, slice(a, b)) for run, a, b in zip(runs, starts, stops, strict=True)]


def _among(chosen: Index, size: int) -> I4:
    """Place of each position among the chosen ones, -1 for others; then -1, for no position."""
    places = np.full(size + 1, -1, np.int32)
    places[chosen] = np.arange(len(chosen), dtype=np.int32)
    return places


@dataclass(frozen=True, eq=False)
class _Cell:
    """A piece of a table.

    Attributes
    ----------
    values : float64 array, shape (fields, target, source)
    strength : float64 array, shape (source, target)
        Mean square; -1 where nothing joins a pair.
    total : int
        Joined pairs of single units.
    total_sum_sq : float
        Their Σw².
    non_finite : int
    """

    values: F8
    strength: F8
    total: int
    total_sum_sq: float
    non_finite: int

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.strength.nbytes

    @classmethod
    def of(cls, grids: dict[str, NDArray[Any]], fields: tuple[str, ...],
           rows: slice, columns: slice, single: bool) -> _Cell:  # fmt: skip
        own = {name: grids[name][rows, columns] for name in fields}
        # As they lie in memory, where the target's units are side by side.
        values = np.empty((len(fields), *own["sum_sq"].T.shape)).transpose(0, 2, 1)
        for at, name in enumerate(fields):
            values[at] = own[name]
        strength = mean_squares(own)
        total = int(np.count_nonzero(strength >= 0)) if single else 0
        square = float(own["sum_sq"].sum()) if single else 0.0
        return cls(values, strength, total, square, int(own["non_finite"].sum()))


class _Pieces:
    """A table made of pieces.

    Parameters
    ----------
    target, source : Side
    cells : dict of (int, int) to _Cell
        By run of the target and of the source.
    ranges : _Cell or None
        Between the longer ranges of either.
    """

    def __init__(self, target: Side, source: Side, cells: dict[tuple[int, int], _Cell],
                 ranges: _Cell | None) -> None:  # fmt: skip
        self._target, self._source, self._cells, self._ranges = target, source, cells, ranges
        self.strength: F8 = np.empty((source.size, target.size))
        starts, above = target.bounds.tolist(), source.bounds.tolist()
        for (i, j), cell in cells.items():
            self.strength[above[j] : above[j + 1], starts[i] : starts[i + 1]] = cell.strength
        every = list(cells.values())
        if ranges is not None:
            self.strength[np.ix_(source.ranges, target.ranges)] = ranges.strength
            every.append(ranges)
        self.total = sum(cell.total for cell in every)
        self.total_sum_sq = sum(cell.total_sum_sq for cell in every)
        self.non_finite = sum(cell.non_finite for cell in every)

    def at(self, out: Index, inside: Index) -> F8:
        """Sums of some pairs."""
        i, j = self._target.run[out], self._source.run[inside]
        row, column = out - self._target.bounds[i], inside - self._source.bounds[j]
        wide = ~(self._target.alone[i] | self._source.alone[j])
        found: list[tuple[Index, F8]] = []
        if self._ranges is not None and wide.any():
            row[wide] = np.searchsorted(self._target.ranges, out[wide])
            column[wide] = np.searchsorted(self._source.ranges, inside[wide])
            at = np.flatnonzero(wide)
            found.append((at, self._ranges.values[:, row[at], column[at]]))
        code = np.where(wide, -1, i * len(self._source.keys) + j)
        order = np.argsort(code, kind="stable")[np.count_nonzero(wide) :]
        for at in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
            if len(at):
                cell = self._cells[int(i[at[0]]), int(j[at[0]])]
                found.append((at, cell.values[:, row[at], column[at]]))
        place = np.concatenate([at for at, _ in found]) if found else np.zeros(0, np.intp)
        values = np.concatenate([v for _, v in found], axis=1) if found else np.zeros((8, 0))
        made = np.empty_like(values)
        made[:, place] = values
        return made
