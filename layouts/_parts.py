"""The children of one scope, placed: what follows the flow, and what stands on a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from layouts._flow import F8, Flow, order_children
from layouts._lanes import Pieces, grid_offsets
from layouts._memo import Memory, digest
from layouts._plan import break_rows, column_shifts, growth, make_plan
from layouts._ranks import I8
from layouts._rows import lay
from layouts._strip import Strip, measure
from layouts._style import Style, Wish

_ORDERED, _PLANNED, _PLACED = Memory(64 << 20), Memory(32 << 20), Memory(64 << 20)


def forget() -> None:
    """Forget all placements: the next ones are made anew."""
    for memory in (_ORDERED, _PLANNED, _PLACED):
        memory.forget()


@dataclass(frozen=True)
class Placement:
    """The children of one scope among themselves.

    Attributes
    ----------
    place : float64 array, shape (k, 3)
        Of the flow through each child.
    gutter : float64 array, shape (k,)
        Height of the gutter above the row of each child; NaN where there is none.
    row : int64 array, shape (k,)
        Row in which each child stands, in order of flow.
    back : bool array, shape (k,)
        Children through which data flows along -x.
    """

    place: F8
    gutter: F8
    row: I8
    back: NDArray[np.bool_]


@dataclass(frozen=True)
class Closed:
    """The children of one scope, whatever is open now.

    Attributes
    ----------
    shut : Pieces
        As they would be closed: their order goes by these.
    usual : Pieces
        As they usually are: rows are planned by these. The same object if all are usually closed.
    """

    shut: Pieces
    usual: Pieces


@dataclass(frozen=True)
class _Ordered:
    """What what is open in a scope does not change."""

    flow: Flow
    strip: Strip  # of the usual pieces
    place: F8


def place_parts(pieces: Pieces, closed: Closed, links: I8, wish: Wish, style: Style) -> Placement:
    """Place the children of a scope along the flow.

    Parts that do not hang together stand one under another (many of them in columns, like the
    items of a newspaper); nodes without any link stand in order on a shelf below.

    Parameters
    ----------
    pieces : Pieces
        Of the k children, as they are; the same object as `closed.shut` if all are closed.
    closed : Closed
    links : int64 array, shape (m, 2)
        Among the children, in any direction; sorted, unique.
    wish : Wish
    style : Style
    """
    usual = () if closed.usual is closed.shut else (closed.usual,)
    shut = digest(closed.shut, *usual, links, wish, style)
    key = shut if pieces is closed.shut else digest(shut, pieces)
    return _PLACED.recall(key, lambda: _placed(pieces, closed, links, wish, style))


def _placed(pieces: Pieces, closed: Closed, links: I8, wish: Wish, style: Style) -> Placement:
    shut, usual = closed.shut, closed.usual

    def ordered() -> _Ordered:
        flow = order_children(len(shut.reach), links)
        return _Ordered(flow, *measure(flow, usual, shut, style.across))

    key = digest(shut, links, style) if usual is shut else digest(shut, usual, links, style)
    known = _ORDERED.recall(key, ordered)
    wish = replace(wish, open=usual is not shut and not np.array_equal(usual.size, shut.size))
    flow, strip, place = known.flow, known.strip, known.place
    if pieces is not usual:
        strip, place = measure(flow, pieces, shut, style.across)
        if style.wind and wish.main:
            wish = replace(wish, grown=growth(known.strip, strip))
    plan = _PLANNED.recall(
        digest(key, wish), lambda: make_plan(flow, known.strip, usual, known.place, wish, style)
    )
    planned, strip = known.strip.with_gaps(plan.gap), strip.with_gaps(plan.gap)
    laid = lay(flow, strip, place, pieces, break_rows(flow, plan, planned, strip))
    spot, gutter = laid.spot, laid.gutter
    if flow.parts > 1:
        move = column_shifts(laid, flow.parts - flow.shelf, plan.columns)[flow.part[flow.rank]]
        spot, gutter = spot + move, gutter + move[:, 1]
    return Placement(spot, gutter, laid.row, laid.back)


def place_grid(pieces: Pieces, closed: Pieces, grid: tuple[int, float], style: Style) -> Placement:
    """Place the children of a scope on a grid, in order, row by row from the top.

    The grid faces the flow or, where all is to stand in one plane, the reader. It is given as the
    number of its columns and the gap between them, as a share of a usual cell.
    """
    second = 0 if style.across == "plane" else 2
    extent, shut = pieces.size[:, [1, second]], closed.size[:, [1, second]]
    least = np.median(shut, axis=0)
    gap = grid[1] * float(least.min())
    usual = np.broadcast_to(least, extent.shape)
    down, along = grid_offsets(extent, usual, grid[0], gap)
    place = np.zeros((len(extent), 3))
    place[:, 1], place[:, second] = down + pieces.axis, along
    above = np.full(len(place), float((place[:, 1] + pieces.above).max()))
    return Placement(place, above, np.zeros(len(place), np.int64), np.zeros(len(place), bool))
