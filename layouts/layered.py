"""Layers in ranks along the flow, in one row: the plain way to read a network."""

from __future__ import annotations

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Boxes, Layout, Tree

STYLE = Style(wrap=False)


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place the children of every scope by rank along +x, branches spread over y and z.

    The rank of a node is the length of the longest path that leads to it (Sugiyama's layering, but
    without a dummy node per crossed rank, so that long links cost nothing). O(V + E).

    Parameters
    ----------
    tree : Tree
    aspect : float
        Width / height of the picture to fill.

    Returns
    -------
    Boxes
        The root's box is centred on the origin.

    Raises
    ------
    ValueError
        If the tree breaks its own rules or the aspect is not a positive number.
    """
    return arrange(tree, aspect, STYLE)


LAYOUT = Layout("layered", "one row from the first layer to the last", place)
