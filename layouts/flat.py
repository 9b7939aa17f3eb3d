"""Everything in one plane, no box before another: for papers."""

from __future__ import annotations

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Boxes, Layout, Tree

STYLE = Style(wrap=True, across="plane")


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place a tree in rows like `serpentine`, all centres at z = 0.

    Branches stand one above another, many of them as a block. What stands on a grid, such as the
    units of a layer, turns to the reader: its extents along x and z are exchanged.

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


LAYOUT = Layout(
    "flat", "everything in one plane, for papers", place, forward="reading", view=(0.0, 0.0, 1.0)
)
