"""Every scope placed on its own, from the innermost out; then all put into one space."""

from __future__ import annotations

import numpy as np

from layouts._lanes import F8, Pieces, grid_offsets
from layouts._links import Family, check, family, lift_links
from layouts._parts import NO_LINKS, Cut, Wish, place_parts
from layouts._ranks import I8
from layouts.tree import Boxes, Tree

LEAF_REACH = 0.4
GRID_REACH = 0.3
FRAME_REACH = 0.25
PADDING = 0.13
TITLE = 0.15
INNER_ASPECT = 2.5


def arrange(tree: Tree, aspect: float, cut: Cut) -> Boxes:
    """Place a tree scope by scope, the flow of each cut into rows by a rule.

    Parameters
    ----------
    tree : Tree
    aspect : float
        Width / height of the picture to fill.
    cut : callable (Strip, Wish) -> Strip, int64 array
        The strip, its gaps adjusted if need be, and the first rank of each row.

    Returns
    -------
    Boxes

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
        return Boxes(np.zeros((0, 3)), np.zeros((0, 3)))
    kin = family(tree.parent)
    scope = np.diff(kin.start) > 0
    wished = tree.size[~scope]
    if not (np.isfinite(wished).all() and (wished > 0).all()):
        raise ValueError("every leaf needs a size of three positive numbers")
    state = _leaf_pieces(tree)
    offset, gutter = np.zeros((n, 3)), np.zeros(n)
    links = _links_by_scope(tree, kin)
    main = _main_scopes(kin)
    for node in np.flatnonzero(scope)[::-1].tolist():
        inside = kin.children(node)
        pieces = state.of(inside)
        cols = int(tree.grid[node, 1])
        if cols > 0:
            place = _place_grid(pieces, cols)
            above = np.full(len(inside), float((place[:, 1] + pieces.above).max()))
        else:
            wish = Wish(aspect if main[node] else INNER_ASPECT, main[node], int(kin.leaves[node]))
            place, above = place_parts(pieces, links.get(node, NO_LINKS), wish, cut)
        place[:, 1] -= pieces.axis
        middle = _frame(state, node, place, pieces, cols > 0)
        # a single row's own axis is y = 0; of several rows, the middle takes part in the flow
        state.axis[node] = -middle[1] if np.ptp(above) == 0.0 else -TITLE / 2 * state.face[node]
        offset[inside] = place - middle
        gutter[inside] = above - middle[1]
    centers = _absolute(tree, kin, offset)
    gutter[1:] += centers[tree.parent[1:], 1]
    gutter[0] = state.size[0, 1] / 2
    return Boxes(centers, state.size, gutter)


def _leaf_pieces(tree: Tree) -> Pieces:
    """Pieces of all nodes, right for the leaves, to be filled in for the scopes."""
    size = np.array(tree.size, np.float64)
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


def _place_grid(pieces: Pieces, cols: int) -> F8:
    """Place of the flow through each child of a grid, shape (k, 3)."""
    extent = pieces.size[:, 1:]
    closed = np.median(extent, axis=0)  # what is open is larger and widens its row and column only
    gap = 0.2 * float(closed.min())
    y, z = grid_offsets(pieces.size, cols, (float(closed[0]), float(closed[1])), gap)
    return np.column_stack([np.zeros(len(y)), y + pieces.axis, z])


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


def _absolute(tree: Tree, kin: Family, offset: F8) -> F8:
    """Sum the offsets from the root down, one array pass per level."""
    centers: F8 = offset.copy()
    by_depth = np.argsort(kin.depth, kind="stable")
    levels = np.split(by_depth, np.cumsum(np.bincount(kin.depth))[:-1])
    for level in levels[1:]:
        centers[level] += centers[tree.parent[level]]
    return centers
