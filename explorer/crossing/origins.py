"""Which weights the edges of a cut stand for, so that more can be asked of them than their sums."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import Search
from explorer.pyramid.search.strongest import Strongest

I4 = NDArray[np.int32]
Labelled = Iterator[tuple[int, I4, I4]]
"""Numbers of connections, and the set that each of their out and of their in units belongs to."""


@dataclass(frozen=True, eq=False)
class OfBundles:
    """Wide lines between closed nodes.

    Attributes
    ----------
    found : array of Bundle, shape (m,)
    """

    found: NDArray[Any]

    def __len__(self) -> int:
        return len(self.found)


@dataclass(frozen=True, eq=False)
class OfUnits:
    """The strongest pairs of what shows of two rows.

    Attributes
    ----------
    key : hashable
        Equal for equal rows shown alike, in one model.
    labelled : callable
        Gives the connections between them with labels of their units.
    shape : (int, int)
        How many labels there are of out and of in units.
    out, inside : int32 array, shape (k,)
        Labels of all pairs known.
    shown : int
        How many of them are edges, the first ones.
    numbers : list of int
        Of the connections between the two.
    """

    key: Hashable
    labelled: Callable[[], Labelled]
    shape: tuple[int, int]
    out: I4
    inside: I4
    shown: int
    numbers: list[int]

    def __len__(self) -> int:
        return self.shown


@dataclass(frozen=True, eq=False)
class OfStrands:
    """The strongest connections of single units between two closed nodes.

    Attributes
    ----------
    search : Search
    known : Strongest
    shown : int
        How many of them are edges, the first ones.
    """

    search: Search
    known: Strongest
    shown: int

    def __len__(self) -> int:
        return self.shown


@dataclass(frozen=True)
class OfNothing:
    """Edges without weights, or whose weights are not read."""

    number: int

    def __len__(self) -> int:
        return self.number


Origin = OfBundles | OfUnits | OfStrands | OfNothing
