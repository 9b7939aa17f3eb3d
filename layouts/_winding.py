"""Rows wound around a vertical axis like a spring: every second one runs back, behind the others.

The axis is vertical because a network is seen from a little above, and pictures are wider than
high: so each turn is seen whole, its front half read from left to right, its back half through the
gap above the next turn. Around a horizontal axis the turns would hide one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layouts._flow import F8
from layouts._ranks import I8
from layouts._strip import GUTTER, Strip, best_cut, row_extents

BULGE = 0.22
FULL_ROW = 0.7
YAW, TILT = 0.43, 0.32  # of the usual view: tangents of the angles from the front and from above


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
    back: np.ndarray


def cut_to_wind(strip: Strip, aspect: float) -> I8:
    """First rank of each half turn, such that the spring fills a picture of this aspect."""

    def ratio(cuts: I8) -> float:
        coil = wind(strip, cuts, row_extents(strip, cuts)[2])
        width = float(coil.place[:, 0].max()) + float(strip.width.max()) / 2
        top = float((coil.place[:, 1] + strip.top).max())
        height = top - float((coil.place[:, 1] + strip.bottom).min())
        depth = 2 * float((np.abs(coil.place[:, 2]) + strip.half).max())
        return (width + YAW * depth) / (height + TILT * depth) / aspect

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
    descent = _descents(strip, cuts, top, bottom, float(strip.width.max()) / whole / 2)
    share = along / whole
    y = (np.cumsum(descent) - descent)[row]
    back = np.arange(rows) % 2 == 1
    x = np.where(back[row], whole - along, along)
    near = float(strip.half.max() + strip.reach.max())
    z = near + BULGE * whole * np.sqrt(np.maximum(1 - (2 * share - 1) ** 2, 0.0))
    place = np.column_stack([x, -y - descent[row] * share, np.where(back[row], -z, z)])
    return Coil(place, back)


def _justified(strip: Strip, cuts: I8, row: I8, width: F8) -> F8:
    """Where each rank begins in its row, the rows drawn out to one length."""
    count = np.diff(np.append(cuts, len(row)))
    free = np.where(width >= FULL_ROW * width.max(), width.max() - width, 0.0)
    step = free / np.maximum(count - 1, 1)
    index = np.arange(len(row)) - cuts[row]
    return np.asarray(strip.start - strip.start[cuts][row] + index * step[row])


def _descents(strip: Strip, cuts: I8, top: F8, bottom: F8, widest: float) -> F8:
    """By how much each row comes down from its begin to its end.

    So much that each row is free of the one a whole turn before it, whose way down it follows.
    """
    rows = len(cuts)
    reach = np.maximum.reduceat(strip.reach, cuts)
    free = GUTTER * np.maximum(reach[:-2], reach[2:])
    need = top[2:] - bottom[:-2] + free
    single = float((top - bottom).max() + GUTTER * reach.max()) / 2
    descent = np.full(rows, single if rows < 3 else 0.0)
    # A box is level while its row comes down, so it needs a share of the descent itself; what
    # the rows need of one another converges since no share is above one half.
    for _ in range(64):
        more = need + widest * (descent[:-2] + descent[2:])
        wanted = np.zeros(rows)
        for shift in range(3):
            np.maximum(wanted[shift : rows - 2 + shift], more, out=wanted[shift : rows - 2 + shift])
        wanted = np.maximum(wanted / 2 * (1 + 1e-9), descent)
        if (wanted - descent <= 1e-6 * wanted).all():
            break
        descent = wanted
    return wanted if rows >= 3 else descent
