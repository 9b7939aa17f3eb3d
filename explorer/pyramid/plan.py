"""What is to be measured: matrices of a connection, and the tasks they are cut into.

The plan follows from the shapes in the file alone, so every process comes to the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from explorer.network import Chunks, Inline, Pieces, Weight
from explorer.pyramid.grid import Grid, grid_of
from explorer.pyramid.level0 import Level0
from explorer.pyramid.sums.bands import Band, measure
from explorer.pyramid.sums.diagonals import measure_diagonal
from explorer.weights.codecs import stored_bits, stored_nbytes
from explorer.weights.connections import Connection, Matrix

PLAN = "5"
"""Changes whenever connections, grids or sums come to be made in another way."""
Key = tuple[str, str]
Period = Callable[[Connection], int]
"""Channels of the tensor that was flattened into a connection's in units; 0 when none was."""


@dataclass(frozen=True, slots=True)
class Part:
    """A matrix that is measured.

    Attributes
    ----------
    matrix : Matrix
    grid : Grid
    folded : bool
        Whether it shows weights of another part again, a flattened channel's rows as taps.
    twice : bool
        Whether its weights are read twice, as a folded part and as another.
    """

    matrix: Matrix
    grid: Grid
    folded: bool = False
    twice: bool = False


Piece = tuple[Part, int]
"""A part and the number of one of its bands."""


@dataclass(frozen=True, slots=True)
class Task:
    """A band of a part: what one thread or worker measures at once.

    Attributes
    ----------
    part, band : int
    nbytes : int
        Bytes to read.
    """

    part: int
    band: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is measured of a connection.

    Attributes
    ----------
    parts : tuple of Part
        The connection's own matrices first.
    tasks : tuple of Task
    """

    parts: tuple[Part, ...]
    tasks: tuple[Task, ...]

    def told(self, at: int) -> int:
        """Bytes by which a task, by its position, brings the connection forward.

        Together they are the bytes of its weights: of what is read twice, each reading tells half.
        """
        task = self.tasks[at]
        part, half = self.parts[task.part], task.nbytes // 2
        if not part.twice:
            return task.nbytes
        return half if part.folded else task.nbytes - half

    @property
    def grids(self) -> list[Grid]:
        """Grids of all parts."""
        return [part.grid for part in self.parts]


@lru_cache(maxsize=1 << 13)
def plan_of(connection: Connection, period: int = 0) -> Plan:
    """The plan of a connection.

    Parameters
    ----------
    connection : Connection
    period : int
        Channels of the tensor that was flattened into the in units; 0 when none was.
    """
    again = [folded(m, period) if period else None for m in connection.matrices]
    matrices = [
        *((m, False, f is not None) for m, f in zip(connection.matrices, again, strict=True)),
        *((f, True, True) for f in again if f is not None),
    ]
    parts = tuple(
        Part(m, grid_of(m, stored_bits(m.weight)), is_folded, twice)
        for m, is_folded, twice in matrices
    )
    tasks = tuple(
        Task(at, band, _nbytes(part, band))
        for at, part in enumerate(parts)
        for band in range(part.grid.bands)
    )
    return Plan(parts, tasks)


def bytes_of(connection: Connection) -> int:
    """Bytes that the weights of a connection take in the file."""
    return sum(stored_nbytes(m.weight, m.pairs * m.taps) for m in connection.matrices)


def _nbytes(part: Part, band: int) -> int:
    first, stop = part.grid.band_rows(band)
    weights = (stop - first) * part.grid.columns * part.grid.taps
    return stored_nbytes(part.matrix.weight, weights)


def folded(matrix: Matrix, period: int) -> Matrix | None:
    """The rows of each channel of a flattened tensor as taps; ``None`` where that is not so."""
    rows = matrix.major
    if matrix.transposed or matrix.diagonal or matrix.taps > 1 or matrix.in_step != 1:
        return None
    if period < 2 or rows % period or rows == period or matrix.in_start:
        return None
    stride = period * matrix.major_stride
    return replace(matrix, taps=rows // period, major=period, tap_stride=stride)


def measured(pieces: Sequence[Piece], level0: Level0) -> list[Band]:
    """Do some tasks, best in the order of the file."""
    plain = [(p.matrix, p.grid, band) for p, band in pieces if not p.matrix.diagonal]
    bands = iter(measure(plain, level0))
    return [
        measure_diagonal(part.matrix, level0) if part.matrix.diagonal else next(bands)
        for part, _ in pieces
    ]


def signature(connection: Connection, period: int) -> bytes:
    """Eight bytes that differ when the matrices of a connection are others.

    They are part of the name of its statistics on the shelf, so that none are taken for those of
    another reading of the same file.
    """
    digest = hashlib.blake2b(digest_size=8)
    for text in _described(connection, period):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return digest.digest()


def _described(connection: Connection, period: int) -> Iterator[str]:
    yield f"{connection.target!r} {connection.name!r} {period}"
    for m in connection.matrices:
        geometry = (m.offset, m.taps, m.tap_stride, m.major, m.major_stride, m.minor, m.diagonal,
                    m.minor_stride)  # fmt: skip
        yield f"{m.weight.name!r} {m.weight.dtype} {_place(m.weight)} {geometry}"
        yield from _packed(m.weight)


def _packed(weight: Weight) -> Iterator[str]:
    """How codes become numbers, tables included; nothing where they are numbers."""
    packing = weight.packing
    if packing is None:
        return
    yield str([(a.length, a.block, a.step) for a in packing.axes])
    last = (packing.divide, packing.gain, packing.offset, packing.turned, packing.lanes)
    yield str(last)
    tables = (packing.scale, packing.zero, packing.levels, *(a.index for a in packing.axes))
    for table in tables:
        if table is not None:
            yield f"{table.name!r} {table.dtype} {_place(table)}"
            yield from _packed(table)


def _place(weight: Weight) -> str:
    """Where a weight lies, by whatever path its file was opened."""
    where = weight.where
    if isinstance(where, Chunks):
        pieces = [(at, p.offset, p.nbytes) for at, p in where.pieces]
        return f"{where.shape} {where.filters} {pieces}"
    if isinstance(where, Pieces):
        return str([(p.offset, p.nbytes) for p in where.parts])
    if isinstance(where, Inline):
        return where.data.hex()
    return "" if where is None else f"{where.offset} {where.nbytes}"
