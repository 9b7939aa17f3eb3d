"""Where the flow of a scope breaks into rows and columns, decided as if every node were closed.

So a node that opens pushes the others aside, but moves none into another row: rows break further
only where they have become too long, and only at places fixed beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from layouts._flow import F8, Flow
from layouts._lanes import Pieces
from layouts._ranks import I8
from layouts._rows import Laid, Rows, lay
from layouts._strip import (
    Strip,
    best_count,
    clean_boundary,
    cut_to_aspect,
    cut_to_width,
    even_cuts,
    one_row,
    row_extents,
    widening,
)
from layouts._style import Style, Wish
from layouts._winding import cut_to_wind

IN_ONE_ROW = 8
FEW_OPEN = 2
MAX_MAIN_ASPECT = 4.5
MAX_INNER_ASPECT = 6.0
TOO_LONG, TOO_LONG_INSIDE = 2.0, 1.5
MIN_TO_SET_APART = 7
SPLIT_WINDOW = 0.25
STACK_MAX = 3
GROWTH = 2**0.5
PART_GAP = 1.5


@dataclass(frozen=True)
class Plan:
    """How a scope breaks into rows and columns.

    Attributes
    ----------
    rows : Rows
    gap : float64 array, shape (r,)
        Factor for the gap after each rank.
    limit : float64 array, shape (parts,)
        Length from which a row of each part breaks further.
    columns : int64 array, shape (c,)
        First part of each column of parts; the shelf stands below all columns.
    """

    rows: Rows
    gap: F8
    limit: F8
    columns: I8


def make_plan(
    flow: Flow, strip: Strip, pieces: Pieces, place: F8, wish: Wish, style: Style
) -> Plan:
    """Plan the rows of each part, the columns of parts, and the shelf.

    Parameters
    ----------
    flow : Flow
    strip, pieces, place
        Of the closed nodes; see `layouts._strip.measure`.
    wish : Wish
    style : Style
    """
    parts, start = flow.parts, flow.part_start
    linked = parts - flow.shelf
    whole, _, _ = row_extents(strip, start[:-1])
    none = np.zeros(parts, bool)
    plan = Plan(
        Rows(start[:-1], np.ones(parts), none),
        np.ones(flow.ranks),
        np.full(parts, np.inf),
        np.zeros(1, np.int64),
    )
    if style.wrap:
        plan = _wrap(plan, flow, strip, wish, style)
    if linked > 1 or (linked and flow.shelf):
        laid = lay(flow, strip.with_gaps(plan.gap), place, pieces, plan.rows)
        plan = replace(plan, columns=_column_cuts(laid, linked, wish.aspect))
        if flow.shelf:
            move = column_shifts(laid, linked, plan.columns)
            right = float((laid.width[:linked] + move[:linked, 0]).max())
            shelf = strip.piece(int(start[linked]), flow.ranks)
            return _with_cuts(plan, flow, linked, cut_to_width(shelf, right))
    elif flow.shelf:
        top, bottom = strip.top.max(), strip.bottom.min()
        if flow.ranks > IN_ONE_ROW and whole[0] > wish.aspect * (top - bottom):
            cuts, gap, gutter = cut_to_aspect(strip, wish.aspect, wish.drawn)
            return _with_cuts(plan, flow, 0, cuts, gap, gutter)
    elif wish.main and len(plan.rows.cuts) == 1:
        return _with_cuts(plan, flow, 0, one_row(), widening(strip, wish.aspect, wish.drawn))
    return plan


def _wrap(plan: Plan, flow: Flow, strip: Strip, wish: Wish, style: Style) -> Plan:
    """Cut the long parts."""
    start, linked = flow.part_start, flow.parts - flow.shelf
    whole, top, bottom = row_extents(strip, start[:-1])
    ranks = np.diff(start)
    high = top - bottom
    winds = style.wind and wish.main
    aspect = wish.aspect * GROWTH**-wish.grown
    most = max(MAX_MAIN_ASPECT if wish.main else MAX_INNER_ASPECT, wish.aspect)
    longest = (aspect if winds else most) * high
    if linked > STACK_MAX:  # many parts fill the picture together
        area = float((whole * (high + PART_GAP * strip.reach.max()))[:linked].sum())
        np.maximum(longest, (aspect * area) ** 0.5, out=longest)
    too_long = TOO_LONG if wish.main else TOO_LONG_INSIDE
    limit = too_long * whole * np.maximum(IN_ONE_ROW / ranks, 1.0)
    many = ranks > (FEW_OPEN if wish.open else IN_ONE_ROW)
    for part in np.flatnonzero(many & (whole > longest))[::-1].tolist():
        if part >= linked:
            continue
        here = strip.piece(int(start[part]), int(start[part + 1]))
        if winds:
            cuts, gap, gutter = cut_to_wind(here, aspect), 1.0, 1.0
            plan.rows.wound[part] = len(cuts) > 1
        else:
            cuts, gap, gutter = cut_to_aspect(here, aspect, wish.drawn)
        widest = float(row_extents(here, cuts)[0].max())
        limit[part] = too_long * widest
        if not wish.open:
            limit[part] = max(limit[part], too_long * IN_ONE_ROW * here.length / len(here.width))
        plan = _with_cuts(plan, flow, part, cuts, gap, gutter)
    return replace(plan, limit=limit)


def _with_cuts(
    plan: Plan, flow: Flow, part: int, cuts: I8, gap: float = 1.0, gutter: float = 1.0
) -> Plan:
    """The plan with one part, so far in one row, in several."""
    first, last = flow.part_start[part], flow.part_start[part + 1]
    gaps, gutters = plan.gap.copy(), plan.rows.gutter.copy()
    gaps[first:last], gutters[part] = gap, gutter
    at = int(np.searchsorted(plan.rows.cuts, first))
    rows = np.concatenate([plan.rows.cuts[:at], cuts + first, plan.rows.cuts[at + 1 :]])
    return replace(plan, gap=gaps, rows=Rows(rows, gutters, plan.rows.wound))


def growth(closed: Strip, strip: Strip) -> int:
    """How much longer a strip is than it would be closed, its height set off: a power of `GROWTH`.

    So coarse that opening one node among many rarely changes it.
    """
    length = (strip.width + strip.gap).sum() / (closed.width + closed.gap).sum()
    height = (strip.top - strip.bottom).mean() / (closed.top - closed.bottom).mean()
    return max(round(float(np.log(length / height) / np.log(GROWTH))), 0)


def break_rows(flow: Flow, plan: Plan, closed: Strip, strip: Strip) -> Rows:
    """The rows as they are now: those with much open in them broken further.

    Where a row may break was fixed when all was closed: around a node that takes half a row by
    itself, and else in the middle of what is too long. So opening a node adds breaks to its own
    row and takes none away, and closing it takes just these away.

    Parameters
    ----------
    flow : Flow
    plan : Plan
    closed, strip : Strip
        Of the closed nodes and as they are, gaps as planned.
    """
    rows = plan.rows
    limit = plan.limit[flow.part[rows.cuts]]
    width, _, _ = row_extents(strip, rows.cuts)
    long = (width > limit) & ~rows.wound[flow.part[rows.cuts]]
    if not long.any():
        return rows
    last = np.append(rows.cuts[1:], flow.ranks)
    more = [rows.cuts]
    for r in np.flatnonzero(long).tolist():
        first, end = int(rows.cuts[r]), int(last[r])
        here = strip.width[first:end] + strip.gap[first:end]
        here[-1] -= strip.gap[end - 1]  # which depends on the next row
        np.minimum(here, limit[r] / 2, out=here)
        found: list[int] = []
        _halve(closed.piece(first, end), here, float(limit[r]), 0, found)
        if end - first >= MIN_TO_SET_APART:
            apart = np.flatnonzero(here >= limit[r] / 2)
            found += [*apart.tolist(), *(apart + 1).tolist()]
        inside = [first + i for i in found if 0 < i < end - first]
        more.append(np.array(inside, np.int64))
    return replace(rows, cuts=np.unique(np.concatenate(more)))


def _halve(closed: Strip, advance: F8, limit: float, offset: int, found: list[int]) -> None:
    """Where to break what is longer than the limit, into `found`."""
    if len(advance) < 2 or advance.sum() <= limit:
        return
    middle = int(np.searchsorted(closed.boundary, closed.length / 2))
    near = min(middle, len(advance) - 2)
    cut = clean_boundary(closed, near, SPLIT_WINDOW * closed.length) + 1
    found.append(offset + cut)
    _halve(closed.piece(0, cut), advance[:cut], limit, offset, found)
    _halve(closed.piece(cut, len(advance)), advance[cut:], limit, offset + cut, found)


def _heights(laid: Laid, parts: int) -> tuple[F8, F8]:
    """Of each part, and the gap below each."""
    reach = laid.reach[:parts]
    gap = PART_GAP * np.maximum(reach, np.append(reach[1:], reach[-1]))
    return (laid.top - laid.bottom)[:parts], gap


def _column_cuts(laid: Laid, parts: int, aspect: float) -> I8:
    """First part of each column: all in one if they are few, else to come near to an aspect."""
    if parts <= STACK_MAX:
        return np.zeros(1, np.int64)
    high, gap = _heights(laid, parts)
    start = np.cumsum(high + gap) - (high + gap)
    boundary, length = (start + high + gap / 2)[:-1], float(start[-1] + high[-1])

    def tallness(columns: int) -> float:
        cut = even_cuts(boundary, length, columns)
        last = np.append(cut[1:], parts) - 1
        wide = np.maximum.reduceat(laid.width[:parts], cut) + 2 * laid.reach.max()
        return float((start[last] + high[last] - start[cut]).max() * aspect / wide.sum())

    return even_cuts(boundary, length, best_count(tallness, parts))


def column_shifts(laid: Laid, linked: int, columns: I8) -> F8:
    """How far to move each part, so that all stand one under another in their columns.

    Parameters
    ----------
    laid : Laid
    linked : int
        How many parts stand in columns; one more is the shelf, which stands below all.
    columns : int64 array, shape (c,)

    Returns
    -------
    float64 array, shape (parts, 3)
    """
    move = np.zeros((len(laid.width), 3))
    if linked:
        high, gap = _heights(laid, linked)
        start = np.cumsum(high + gap) - (high + gap)
        column = np.searchsorted(columns, np.arange(linked), side="right") - 1
        wide = np.maximum.reduceat(laid.width[:linked], columns) + 2 * laid.reach.max()
        move[:linked, 0] = (np.cumsum(wide) - wide)[column]
        move[:linked, 1] = laid.top[0] - (start - start[columns][column]) - laid.top[:linked]
    if 0 < linked < len(move):
        floor = float((laid.bottom + move[:, 1])[:linked].min())
        move[linked, 1] = floor - PART_GAP * float(laid.reach.max()) - float(laid.top[linked])
    return move
