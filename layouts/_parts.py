"""The children of one scope: the parts that hang together, and what hangs on nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layouts._lanes import F8, Pieces
from layouts._ranks import I8, components, find_rail, rank_nodes
from layouts._strip import (
    Strip,
    best_count,
    build_strip,
    cut_to_aspect,
    cut_to_width,
    even_cuts,
    lay,
    one_row,
    strip_aspect,
)

NO_LINKS = np.empty((0, 2), np.int64)
SHELF_MAX_ROW = 8
STACK_MAX = 3
PART_GAP = 1.5


@dataclass(frozen=True)
class Wish:
    """What the picture wants of a scope.

    Attributes
    ----------
    aspect : float
        Width / height to come near to.
    main : bool
        Whether the scope is (all of) the picture itself, not a part of it.
    leaves : int
        How many leaves the scope holds.
    """

    aspect: float
    main: bool
    leaves: int


Cut = Callable[[Strip, Wish], tuple[Strip, I8]]


@dataclass(frozen=True)
class Part:
    """Some of a scope's children, placed among themselves.

    Attributes
    ----------
    members : int64 array, shape (k,)
        Positions among the scope's children.
    spot : float64 array, shape (k, 3)
        Place of the flow through each, from x = 0 on.
    gutter : float64 array, shape (k,)
        Height of the gutter above the row of each.
    width, top, bottom : float
        Extents.
    reach : float
        The longest of its members'.
    """

    members: I8
    spot: F8
    gutter: F8
    width: float
    top: float
    bottom: float
    reach: float


def place_parts(pieces: Pieces, links: I8, wish: Wish, cut: Cut) -> tuple[F8, F8]:
    """Place the children of a scope along the flow.

    Parts that do not hang together stand one under another (many of them in columns, like the
    items of a newspaper); nodes without any link stand in order on a shelf below.

    Parameters
    ----------
    pieces : Pieces
        Of the k children.
    links : int64 array, shape (m, 2)
        Among the children, in any direction; sorted, unique.
    wish : Wish
    cut : callable (Strip, Wish) -> Strip, int64 array
        The strip, its gaps adjusted if need be, and the first rank of each row.

    Returns
    -------
    place : float64 array, shape (k, 3)
        Of the flow through each child.
    gutter : float64 array, shape (k,)
        Height of the gutter above the row of each child.
    """
    count = len(pieces.reach)
    parts, alone = _flowing(pieces, links, wish, cut)
    place, gutter = np.zeros((count, 3)), np.zeros(count)
    shift = _columns(parts, wish.aspect)
    for part, move in zip(parts, shift, strict=True):
        place[part.members] = part.spot + move
        gutter[part.members] = part.gutter + move[1]
    if len(alone):
        right = max((p.width + float(m[0]) for p, m in zip(parts, shift, strict=True)), default=0.0)
        shelf = _shelf(pieces, alone, right, wish)
        floor = [p.bottom + float(m[1]) for p, m in zip(parts, shift, strict=True)]
        reach = max([shelf.reach, *(p.reach for p in parts)])
        down = min(floor) - PART_GAP * reach - shelf.top if floor else 0.0
        place[alone] = shelf.spot + np.array([0.0, down, 0.0])
        gutter[alone] = shelf.gutter + down
    return place, gutter


def _flowing(pieces: Pieces, links: I8, wish: Wish, cut: Cut) -> tuple[list[Part], I8]:
    """The parts with links, placed, and the nodes without any."""
    count = len(pieces.reach)
    forward = links[links[:, 0] < links[:, 1]]
    number = components(count, links)
    rank, rail = rank_nodes(count, forward), find_rail(count, forward)
    held = np.bincount(number)
    by_part = np.argsort(number, kind="stable")
    first = np.cumsum(held) - held
    position = np.empty(count, np.int64)
    position[by_part] = np.arange(count) - np.repeat(first, held)
    of_link = number[forward[:, 0]]
    sorted_links = forward[np.argsort(of_link, kind="stable")]
    link_end = np.cumsum(np.bincount(of_link, minlength=len(held)))
    parts = []
    for p in np.flatnonzero(held > 1).tolist():
        members = by_part[first[p] : first[p] + held[p]]
        inner = sorted_links[link_end[p - 1] if p else 0 : link_end[p]]
        strip = build_strip(pieces.of(members), rank[members], position[inner], rail[members])
        strip, cuts = cut(strip, wish)
        parts.append(_part(members, strip, cuts))
    return parts, np.flatnonzero(held[number] == 1)


def _part(members: I8, strip: Strip, cuts: I8) -> Part:
    (spot, gutter), pieces = lay(strip, cuts), strip.pieces
    return Part(
        members,
        spot,
        gutter,
        width=float((spot[:, 0] + pieces.size[:, 0] / 2).max()),
        top=float((spot[:, 1] + pieces.above).max()),
        bottom=float((spot[:, 1] - pieces.below).min()),
        reach=float(pieces.reach.max()),
    )


def _shelf(pieces: Pieces, alone: I8, width: float, wish: Wish) -> Part:
    """Nodes without links in order, as wide as the flow above them, or to fill the picture."""
    none: NDArray[np.bool_] = np.zeros(len(alone), bool)
    strip = build_strip(pieces.of(alone), np.arange(len(alone)), NO_LINKS, none)
    cuts = one_row(strip)
    if width > 0:
        cuts = cut_to_width(strip, width)
    elif len(alone) > SHELF_MAX_ROW and strip_aspect(strip) > wish.aspect:
        strip, cuts = cut_to_aspect(strip, wish.aspect)
    return _part(alone, strip, cuts)


def _columns(parts: list[Part], aspect: float) -> list[F8]:
    """How far to move each part so that all stand one under another, in columns if many."""
    if len(parts) < 2:
        return [np.zeros(3) for _ in parts]
    width, top, bottom, reach = np.array([(p.width, p.top, p.bottom, p.reach) for p in parts]).T
    gap = PART_GAP * np.maximum(reach, np.append(reach[1:], reach[-1]))
    start = np.cumsum(top - bottom + gap) - (top - bottom + gap)
    boundary = (start + top - bottom + gap / 2)[:-1]
    length = float(start[-1] + top[-1] - bottom[-1])

    def cuts(columns: int) -> I8:
        return even_cuts(boundary, length, columns)

    def extent(cut: I8) -> tuple[float, float]:
        last = np.append(cut[1:], len(parts)) - 1
        high = start[last] + (top - bottom)[last] - start[cut]
        wide = np.maximum.reduceat(width, cut) + 2 * reach.max()
        return float(wide.sum()), float(high.max())

    def tallness(columns: int) -> float:
        wide, high = extent(cuts(columns))
        return high * aspect / wide

    columns = best_count(tallness, len(parts)) if len(parts) > STACK_MAX else 1
    cut = cuts(columns)
    column = np.searchsorted(cut, np.arange(len(parts)), side="right") - 1
    advance = np.maximum.reduceat(width, cut) + 2 * reach.max()
    x = (np.cumsum(advance) - advance)[column]
    y = top[0] - (start - start[cut][column]) - top
    return [np.array([dx, dy, 0.0]) for dx, dy in zip(x, y, strict=True)]
