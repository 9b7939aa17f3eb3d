"""The rows of a scope's parts put into one plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layouts._flow import F8, Flow
from layouts._lanes import Pieces
from layouts._ranks import I8
from layouts._strip import Strip, gutters, row_extents
from layouts._winding import wind

FIRST_GUTTER = 0.06
LINE_AT = 0.6  # of the height between rows: more room for titles below than for names above


@dataclass(frozen=True)
class Rows:
    """How the ranks of a scope break into rows.

    Attributes
    ----------
    cuts : int64 array, shape (rows,)
        First rank of each row; every part begins a row.
    gutter : float64 array, shape (parts,)
        Factor for the gutters between the rows of each part.
    wound : bool array, shape (parts,)
        Parts whose rows are wound around an axis.
    """

    cuts: I8
    gutter: F8
    wound: NDArray[np.bool_]


@dataclass(frozen=True)
class Laid:
    """The nodes of a scope in rows, each part for itself.

    Attributes
    ----------
    spot : float64 array, shape (k, 3)
        Place of the flow through each node, from x = 0 on; the axis of the first row of each part
        at y = z = 0.
    gutter : float64 array, shape (k,)
        Height of the gutter above the row of each node; NaN in a winding, where there is none.
    row : int64 array, shape (k,)
        Counted through all parts.
    back : bool array, shape (k,)
        Nodes in rows that run along -x.
    width, top, bottom, reach : float64 array, shape (parts,)
        Extents of each part, and the longest reach in it.
    """

    spot: F8
    gutter: F8
    row: I8
    back: NDArray[np.bool_]
    width: F8
    top: F8
    bottom: F8
    reach: F8


def lay(flow: Flow, strip: Strip, place: F8, pieces: Pieces, rows: Rows) -> Laid:
    """Put the ranks of a strip into rows, the rows of each part under one another.

    Parameters
    ----------
    flow : Flow
    strip : Strip
    place : float64 array, shape (k, 3)
        As `measure` gives it.
    pieces : Pieces
    rows : Rows
    """
    cuts = rows.cuts
    row_of_rank = np.searchsorted(cuts, np.arange(flow.ranks), side="right") - 1
    part_of_row, row = flow.part[cuts], row_of_rank[flow.rank]
    reach = np.maximum.reduceat(strip.reach, flow.part_start[:-1])
    _, top, bottom = row_extents(strip, cuts)
    spot = place.copy()
    hanging = _hang(spot, flow, pieces, row, bottom, reach)
    free = gutters(strip, cuts) * rows.gutter[part_of_row[1:]]
    begins = np.append(True, np.diff(part_of_row) > 0)
    advance = np.append(0.0, hanging[:-1] - free - top[1:])
    advance[begins] = 0.0
    axis = np.cumsum(advance)
    axis -= axis[begins][part_of_row]
    middle = np.zeros((flow.ranks, 3))
    middle[:, 0] = strip.start - strip.start[cuts][row_of_rank] + strip.width / 2
    middle[:, 1] = axis[row_of_rank]
    face = np.zeros(flow.parts)
    np.maximum.at(face, flow.part[flow.rank], pieces.face)
    above = np.append(0.0, LINE_AT * free)
    above[begins] = FIRST_GUTTER * face[part_of_row[begins]]
    gutter, back = axis + top + above, np.zeros(len(cuts), bool)
    for part in np.flatnonzero(rows.wound).tolist():
        first, last = flow.part_start[part], flow.part_start[part + 1]
        of_part = slice(*np.searchsorted(cuts, [first, last]))
        coil = wind(strip.piece(first, last), cuts[of_part] - first, hanging[of_part])
        middle[first:last], back[of_part], gutter[of_part] = coil.place, coil.back, np.nan
    spot[:, 0] *= np.where(back[row], -1, 1)
    spot += middle[flow.rank]
    return Laid(spot, gutter[row], row, back[row], *_extents(flow, spot, pieces), reach)


def _extents(flow: Flow, spot: F8, pieces: Pieces) -> tuple[F8, F8, F8]:
    part = flow.part[flow.rank]
    width, top, bottom = (np.full(flow.parts, fill) for fill in (0.0, -np.inf, np.inf))
    np.maximum.at(width, part, spot[:, 0] + pieces.size[:, 0] / 2)
    np.maximum.at(top, part, spot[:, 1] + pieces.above)
    np.minimum.at(bottom, part, spot[:, 1] - pieces.below)
    return width, top, bottom


def _hang(spot: F8, flow: Flow, pieces: Pieces, row: I8, bottom: F8, reach: F8) -> F8:
    """Hang the rail's nodes under their rows, in `spot`; returns how low each row then comes."""
    lowest, used, above = bottom.copy(), dict[int, float](), pieces.above
    for i in np.flatnonzero(flow.rail).tolist():
        rank, r = int(flow.rank[i]), int(row[i])
        floor = used.get(rank, float(bottom[r]))
        floor -= float(pieces.reach[i] + reach[flow.part[rank]])
        spot[i] = (0.0, floor - above[i], 0.0)
        used[rank] = floor - float(pieces.size[i, 1])
        lowest[r] = min(lowest[r], used[rank])
    return lowest
