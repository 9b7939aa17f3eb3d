"""Layers in ranks along the flow, in one row: the plain way to read a network."""

from __future__ import annotations

from layouts._parts import Wish
from layouts._ranks import I8
from layouts._scopes import arrange
from layouts._strip import Strip, one_row
from layouts.tree import Boxes, Layout, Tree


def _never(strip: Strip, wish: Wish) -> tuple[Strip, I8]:
    return strip, one_row(strip)


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place the children of every scope by rank along +x, branches spread over y and z.

    The rank of a node is the length of the longest path that leads to it (Sugiyama's layering, but
    without a dummy node per crossed rank, so that long links cost nothing). O(V + E).

    Parameters
    ----------
    tree : Tree
    aspect : float
        Width / height wished for what has no links and so no flow to follow.

    Returns
    -------
    Boxes
        The root's box is centred on the origin.

    Raises
    ------
    ValueError
        If the tree breaks its own rules or the aspect is not a positive number.
    """
    return arrange(tree, aspect, _never)


LAYOUT = Layout("layered", "one row from the first layer to the last", place)
