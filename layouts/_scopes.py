"""Every scope placed on its own, from the innermost out; then all put into one space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from layouts._flow import F8
from layouts._lanes import Pieces
from layouts._links import Family, check, family, lift_links
from layouts._parts import Closed, place_grid, place_parts
from layouts._ranks import I8
from layouts._style import Style, Wish
from layouts.tree import Boxes, Tree

NO_LINKS = np.empty((0, 2), np.int64)
LEAF_REACH = 0.4
GRID_REACH = 0.3
FRAME_REACH = 0.25
GRID_GAP, ABREAST_GAP = 0.2, 0.45  # of a cell
ABREAST_REACH = 0.4  # of the extent across the flow
PADDING = 0.13
TITLE = 0.15
INNER_ASPECT = 2.5


def arrange(tree: Tree, aspect: float, style: Style) -> Boxes:
    """Place a tree scope by scope.

    Parameters
    ----------
    tree : Tree
    aspect : float
        Width / height of the picture to fill.
    style : Style

    Returns
    -------
    Boxes
        The root's box is centred on the origin.

    Raises
    ------
    ValueError
        If the tree breaks its own rules or the aspect is not a positive number.
    """
    check(tree)
    n = len(tree)
    if not (np.isfinite(aspect) and aspect > 0):
        raise ValueError(f"the aspect must be a positive number, not {aspect}")
    if not n:
        none = np.zeros((0, 3))
        return Boxes(none, none, np.zeros(0), np.zeros(0, np.int32), none)
    kin = family(tree.parent)
    scope = np.diff(kin.start) > 0
    wished = tree.size[~scope]
    if not (np.isfinite(wished).all() and (wished > 0).all()):
        raise ValueError("every leaf needs a size of three positive numbers")
    closed = _leaf_pieces(_closed_sizes(tree, kin, scope, style))
    usual = closed if tree.room is None else _usual(closed, tree.room, tree.abreast)
    state = Pieces(
        *(column.copy() for column in (closed.size, closed.axis, closed.face, closed.reach))
    )
    offset, gutter = np.zeros((n, 3)), np.zeros(n)
    row, back = np.zeros(n, np.int32), np.zeros(n, bool)
    links = _links_by_scope(tree, kin)
    main = _main_scopes(kin)
    for node in np.flatnonzero(scope)[::-1].tolist():
        inside = kin.children(node)
        shut = closed.of(inside)
        pieces = state.of(inside) if scope[inside].any() else shut
        cols = int(tree.grid[node, 1])
        abreast = cols > 0 and tree.abreast is not None and bool(tree.abreast[node])
        if cols > 0:
            gap = ABREAST_GAP if abreast else GRID_GAP
            placed = place_grid(pieces, shut, (cols, gap), style)
        else:
            wish = Wish(INNER_ASPECT, False)
            if main[node]:
                wish = Wish(aspect, True, style.drawn)
            known = shut if usual is closed else usual.of(inside)
            placed = place_parts(
                pieces, Closed(shut, known), links.get(node, NO_LINKS), wish, style
            )
        place = placed.place.copy()
        place[:, 1] -= pieces.axis
        middle = _frame(state, node, place, pieces, cols > 0 and not abreast)
        if abreast:
            wall = float(state.size[node, 1:].max())
            state.reach[node] = max(state.reach[node], ABREAST_REACH * wall)
        # a single row's own axis is y = 0; of several rows, the middle takes part in the flow
        several = np.ptp(placed.row) > 0
        state.axis[node] = -TITLE / 2 * state.face[node] if several else -middle[1]
        offset[inside] = place - middle
        gutter[inside] = placed.gutter - middle[1]
        row[inside], back[inside] = placed.row, placed.back
    return _absolute(tree, kin, offset, (state.size, gutter, row, back))


def _closed_sizes(tree: Tree, kin: Family, scope: NDArray[np.bool_], style: Style) -> F8:
    """Size of each node as it would be closed; of a scope that does not tell, its largest child's.

    Where all is to stand in one plane, what stands on a grid turns its face to the reader.
    """
    size = np.array(tree.size, np.float64)
    if style.across == "plane":
        turned = np.flatnonzero(tree.grid[np.maximum(tree.parent, 0), 1] > 0)
        turned = turned[tree.parent[turned] >= 0]
        size[turned] = size[turned][:, ::-1]
    silent = scope & ~(np.isfinite(size).all(axis=1) & (size > 0).all(axis=1))
    for node in np.flatnonzero(silent)[::-1].tolist():
        size[node] = size[kin.children(node)].max(axis=0)
    return size


def _usual(closed: Pieces, room: F8, abreast: NDArray[np.bool_] | None) -> Pieces:
    """Pieces to plan rows with: as large as they usually are."""
    told = np.asarray(np.isfinite(room).all(axis=1) & (room > 0).all(axis=1))
    reach = closed.reach
    if abreast is not None:
        wall = ABREAST_REACH * room[:, 1:].max(axis=1)
        reach = np.where(told & abreast, np.maximum(reach, wall), reach)
    return replace(closed, size=np.where(told[:, None], room, closed.size), reach=reach)


def _leaf_pieces(size: F8) -> Pieces:
    """Pieces of closed nodes."""
    face = np.sqrt(np.abs(size[:, 1] * size[:, 2]))
    reach = np.maximum(LEAF_REACH * face, 0.75 * size[:, 0])
    return Pieces(size, np.zeros(len(size)), face, reach)


def _links_by_scope(tree: Tree, kin: Family) -> dict[int, I8]:
    """Sibling links of each scope that has some, as positions among its children."""
    links = lift_links(tree, kin.depth)
    if not len(links):
        return {}
    place = np.zeros(len(tree), np.int64)
    place[kin.order] = np.arange(len(kin.order))
    scope = tree.parent[links[:, 0]]
    by_scope = np.argsort(scope, kind="stable")
    held, first = np.unique(scope[by_scope], return_index=True)
    groups = np.split(place[links[by_scope]], first[1:])
    return {int(node): group - kin.start[node] for node, group in zip(held, groups, strict=True)}


def _main_scopes(kin: Family) -> list[bool]:
    """The root, and what is its only child, and so on: scopes that are all of the picture."""
    main = [False] * len(kin.depth)
    node = 0
    main[0] = True
    while kin.start[node + 1] - kin.start[node] == 1:
        node = int(kin.order[kin.start[node]])
        main[node] = True
    return main


def _frame(state: Pieces, node: int, centre: F8, pieces: Pieces, grid: bool) -> F8:
    """Put a frame around the children's centres, into `state`; returns the frame's centre.

    Padding and title go by the faces inside, not by the frame's own size: otherwise nested frames
    would grow exponentially with their depth.
    """
    low = (centre - pieces.size / 2).min(axis=0)
    high = (centre + pieces.size / 2).max(axis=0)
    extent = high - low
    face = float(pieces.face.max())
    if grid:  # seen from outside it is one layer
        face = float(np.sqrt(extent[1]) * np.sqrt(extent[2]))
    pad = PADDING * face
    low -= pad
    high += [pad, pad + TITLE * face, pad]
    middle: F8 = (low + high) / 2
    state.size[node] = high - low
    state.face[node] = face
    state.reach[node] = (GRID_REACH if grid else FRAME_REACH) * face
    return middle


def _absolute(
    tree: Tree, kin: Family, offset: F8, own: tuple[F8, F8, NDArray[np.int32], NDArray[np.bool_]]
) -> Boxes:
    """Sum the offsets from the root down, one array pass per level.

    What data flows through along -x is the mirror image of what it would be along +x.
    """
    size, gutter, row, back = own
    centers, sign = offset.copy(), np.where(back, -1.0, 1.0)
    by_depth = np.argsort(kin.depth, kind="stable")
    levels = np.split(by_depth, np.cumsum(np.bincount(kin.depth))[:-1])
    for level in levels[1:]:
        above = tree.parent[level]
        # the offset is the parent's own affair: it is mirrored if the parent is
        centers[level, 0] *= sign[above]
        centers[level] += centers[above]
        sign[level] *= sign[above]
    gutter[1:] += centers[tree.parent[1:], 1]
    gutter[0] = size[0, 1] / 2
    heading = np.zeros_like(centers)
    heading[:, 0] = sign
    return Boxes(centers, size, gutter, row, heading)
