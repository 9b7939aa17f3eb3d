"""What two rows show of their units, and which weights join those."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.places import Places
from explorer.pyramid.connection_table import ConnectionTable
from explorer.tree.lod import TILE

I4 = NDArray[np.int32]
Index = NDArray[np.intp]
Grid = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UnitWays:
    """Which units reach the weights of a layer, or of all layers inside a closed node.

    Attributes
    ----------
    ways : tuple of (int, tuple of int32 array, shape (in_units,))
        Number of a connection; the source's unit behind each of its in units, -1 for none;
        several where an in unit carries several.
    coarse : bool
        Whether the source's units could not be told apart: its unit is then 0.
    direct : frozenset of int
        Links that end at those weights themselves.
    """

    ways: tuple[tuple[int, tuple[I4, ...]], ...]
    coarse: bool
    direct: frozenset[int]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the connections."""
        return [number for number, _ in self.ways]


@dataclass(frozen=True, eq=False)
class Question:
    """Which sums are asked for.

    Attributes
    ----------
    places : Places
    rows : (int, int)
        Source and target.
    key : hashable
        Equal for equal ways.
    ways : UnitWays
    """

    places: Places
    rows: tuple[int, int]
    key: Hashable
    ways: UnitWays

    @cached_property
    def target(self) -> Side:
        """What shows of the target."""
        return _side(self.places, self.rows[1], False)

    @cached_property
    def source(self) -> Side:
        """What shows of the source."""
        return _side(self.places, self.rows[0], self.ways.coarse)

    def labelled(self, table: ConnectionTable) -> Iterator[tuple[int, I4, I4]]:
        """The connections between the two rows, with what shows of these behind each unit.

        A weight counts once between two rows, also where it joins them on two ways.

        Yields
        ------
        (int, int32 array, int32 array)
            Number of a connection; position of each of its out units among what shows of the
            target, and of its in units among what shows of the source, -1 for none.
        """
        places, (source, target) = self.places, self.rows
        for number, maps in self.ways.ways:
            out = places.labels(target, np.arange(table.connections[number].out_units))
            earlier: list[I4] = []
            for units in maps:
                coarse = self.ways.coarse
                inside = np.minimum(units, 0) if coarse else places.labels(source, units)
                for other in earlier:
                    inside = np.where(inside == other, np.int32(-1), inside)
                earlier.append(inside)
                yield number, out, inside


@dataclass(frozen=True, eq=False)
class Side:
    """What one row shows, cut into runs: single units side by side, or one longer range.

    Attributes
    ----------
    bounds : int array, shape (r + 1,)
        Positions, among what shows, of the first of each run; then their number.
    keys : tuple of hashable
        Of each run; equal for runs of equal units.
    alone : bool array, shape (r,)
        Whether a run's positions are single units.
    """

    bounds: Index
    keys: tuple[Hashable, ...]
    alone: Grid

    @property
    def size(self) -> int:
        """Positions."""
        return int(self.bounds[-1])

    @cached_property
    def run(self) -> Index:
        """Run of each position."""
        return np.repeat(np.arange(len(self.keys)), np.diff(self.bounds))

    @cached_property
    def ranges(self) -> Index:
        """Positions of the longer ranges."""
        return self.bounds[:-1][~self.alone]

    def single(self) -> Grid:
        """Of each position, whether it is a single unit."""
        return self.alone[self.run]

    def of(self, runs: list[int]) -> Index:
        """Positions of some runs."""
        return np.concatenate([np.arange(self.bounds[i], self.bounds[i + 1]) for i in runs])


def _side(places: Places, row: int, coarse: bool) -> Side:
    if coarse or not places.open[row]:
        alone = np.zeros(1, bool) if coarse else places.single(row)
        return Side(np.array([0, 1]), (coarse,), alone)
    bounds = places.bounds(row)
    lengths = np.diff(bounds)
    fresh = np.ones(len(lengths), bool)
    fresh[1:] = (lengths[1:] > 1) | (lengths[:-1] > 1) | (bounds[1:-1] % TILE == 0)
    starts = np.flatnonzero(fresh)
    ends = np.append(starts, len(lengths))
    alone = lengths[starts] == 1
    units = bounds[ends].tolist()
    keys = tuple(zip(units[:-1], units[1:], alone.tolist(), strict=True))
    return Side(ends, keys, alone)
