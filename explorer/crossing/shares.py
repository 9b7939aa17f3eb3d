"""Dividing the budget of edges among wide lines, lines without weights and single connections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
STRANDS = 48  # strongest single connections shown of one tensor between two closed nodes
FEWEST = 12  # fewer strands than this say nothing: then the bundle is shown alone
_OPEN_WEIGHT = 8.0  # share of the budget of a pair whose units show; a tensor's strands have 1


def allot(budget: int, wants: I8, weights: F8) -> I8:
    """Divide a budget among wishes by weight; what one does not need goes to the others.

    Parameters
    ----------
    budget : int
    wants : int64 array, shape (n,)
    weights : float64 array, shape (n,)

    Returns
    -------
    int64 array, shape (n,)
        No entry above its wish; their sum not above the budget.
    """
    wants = np.asarray(wants, np.int64)
    given = np.zeros(len(wants), np.int64)
    left, open_ = max(budget, 0), wants > 0
    while open_.any():
        unit = left / weights[open_].sum()
        full = open_ & (wants <= unit * weights)
        if not full.any():
            given[open_] = (unit * weights[open_]).astype(np.int64)
            break
        given[full] = wants[full]
        left -= int(wants[full].sum())
        open_ &= ~full
    return given


def shares(budget: int, plain: tuple[int, int], singles: list[int], ways: I8) -> tuple[I8, I8]:
    """Divide the budget of edges.

    Parameters
    ----------
    budget : int
    plain : (int, int)
        How many wide lines, and how many lines without weights, there are.
    singles : list of int
        How many single connections there are of each pair that shows units.
    ways : int array
        How many ways join each pair of closed nodes; 0 where no strands are to be drawn.

    Returns
    -------
    int64 array, shape (3,)
        How many wide lines, lines without weights, and single connections may be drawn.
    int64 array
        How many single connections of each pair: those that show units, then the closed ones.
    """
    strands = STRANDS * np.asarray(ways, np.int64)
    while True:
        wants = np.concatenate((np.array(singles, np.int64), strands))
        weights = np.concatenate((np.full(len(singles), _OPEN_WEIGHT), strands / STRANDS))
        room = allot(budget, np.array([*plain, wants.sum()]), np.ones(3))
        quota = allot(int(room[2]), wants, weights)
        few = quota[len(singles) :] < FEWEST * np.asarray(ways)
        if not few.any():
            return room, quota
        strands[few & (strands > 0)] = 0  # too few to say anything: the others have their share
        ways = np.where(few, 0, ways)


def widest(values: I8, most: int) -> NDArray[np.intp]:
    """Positions of the largest values, at most `most`, ties to the lower position."""
    if len(values) <= most:
        return np.arange(len(values))
    return np.sort(np.argsort(-values, kind="stable")[:most])
