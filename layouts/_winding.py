"""Rows wound around a vertical axis like a spring: every second one runs back, behind the others.

The axis is vertical because a network is seen from a little above, and pictures are wider than
high: so each turn is seen whole, its front half read from left to right, and its back half through
the gap above the next front half. Around a horizontal axis the turns would hide one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layouts._flow import F8
from layouts._ranks import I8
from layouts._strip import Strip, best_cut, row_extents

BULGE = 0.10  # of the length: how far the middle of a row stands before its ends
DECLINE = 0.04
FREE = 1.3
MAX_DRAWN_OUT = 0.6
LIFT = 0.42  # what stands further back shows so much further up, for the lowest turns
TURNS = 0.9  # more turns than fit the picture best, or it would not look like a spring
# The usual view, `Layout.view`: how far right and up a step along x, y, z leads in the picture.
RIGHT, UP = (0.91, 0.0, 0.42), (0.13, 0.95, -0.28)


@dataclass(frozen=True)
class Coil:
    """Where the ranks of a wound strip stand.

    Attributes
    ----------
    place : float64 array, shape (r, 3)
        Of the flow through the middle of each rank; x from 0 on, the axis at z = 0.
    back : bool array, shape (rows,)
        Rows that run along -x, behind the others.
    """

    place: F8
    back: NDArray[np.bool_]


def cut_to_wind(strip: Strip, aspect: float) -> I8:
    """First rank of each half turn, such that the spring fills a picture of this aspect."""
    deep, reach = float(strip.half.max()), float(strip.reach.max())

    def ratio(cuts: I8) -> float:
        lengths, top, bottom = row_extents(strip, cuts)
        width = float(lengths.max())
        drop = _drops(strip, cuts, top, bottom, width)
        high = float(drop.sum() + top[0] - bottom[-1])
        depth = 2 * (2 * deep + reach + BULGE * width)
        wide = RIGHT[0] * width + RIGHT[2] * depth
        return wide / (UP[0] * width + UP[1] * high - UP[2] * depth) / (TURNS * aspect)

    return best_cut(strip, ratio)


def wind(strip: Strip, cuts: I8, bottom: F8) -> Coil:
    """Wind the rows of a strip.

    Parameters
    ----------
    strip : Strip
    cuts : int64 array, shape (rows,)
        First rank of each half turn.
    bottom : float64 array, shape (rows,)
        How far each row extends (negative) below its axis.
    """
    ranks, rows = len(strip.width), len(cuts)
    row = np.searchsorted(cuts, np.arange(ranks), side="right") - 1
    width, top, _ = row_extents(strip, cuts)
    whole = float(width.max())
    along = _justified(strip, cuts, row, width) + strip.width / 2
    back = np.arange(rows) % 2 == 1
    x = np.where(back[row], whole - along, along)
    # Front halves stand before z = 0 and back halves behind it, each with all its nodes.
    near = float(strip.half.max() + strip.reach.max() / 2)
    z = near + BULGE * whole * np.sqrt(np.maximum(1 - (2 * along / whole - 1) ** 2, 0.0))
    z = np.where(back[row], -z, z)
    axis = -np.append(0.0, np.cumsum(_drops(strip, cuts, top, bottom, whole)))
    # What stands further back shows further up: brought down, it shows between the front halves.
    axis[back] -= LIFT * (2 * near + BULGE * whole)
    return Coil(np.column_stack([x, axis[row] - DECLINE * along, z]), back)


def _justified(strip: Strip, cuts: I8, row: I8, width: F8) -> F8:
    """Where each rank begins in its row.

    Rows are drawn out to one length; what that would tear apart stands at the end of its row, so
    that each turn is as short as can be. The last row begins at its turn and ends where it ends.
    """
    count = np.diff(np.append(cuts, len(row)))
    free = width.max() - width
    free[-1] = 0.0
    most = MAX_DRAWN_OUT * np.add.reduceat(strip.gap, cuts) / count
    step = np.minimum(free / np.maximum(count - 1, 1), most)
    index = np.arange(len(row)) - cuts[row]
    begin = free - step * (count - 1)
    return np.asarray(strip.start - strip.start[cuts][row] + begin[row] + index * step[row])


def _drops(strip: Strip, cuts: I8, top: F8, bottom: F8, whole: float) -> F8:
    """By how much lower than each row the next one begins, shape (rows - 1,).

    Each row is free of the one a whole turn before, which declines as it does; a box is level
    while its row declines, and so needs the decline along its own width on top.
    """
    reach = np.maximum.reduceat(strip.reach, cuts)
    widest = np.maximum.reduceat(strip.width, cuts)
    free = FREE * np.maximum(reach[:-1], reach[1:])
    drop = np.maximum(top[1:] - bottom[:-1] + free + DECLINE * whole / 2, 0.0)
    turn = top[2:] - bottom[:-2] + DECLINE * (widest[:-2] + widest[2:]) / 2
    turn += FREE * np.maximum(reach[:-2], reach[2:])
    missing = np.maximum(turn - drop[:-1] - drop[1:], 0.0)
    drop[1:] += missing
    return np.asarray(drop)
