"""Like `layered`, but a long strip is wrapped like lines of text, so that it fills the picture."""

from __future__ import annotations

from layouts._scopes import arrange
from layouts._style import ASLANT, Style
from layouts.tree import Boxes, Layout, Tree

STYLE = Style(wrap=True, drawn=ASLANT)


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place a tree in ranks, the ranks cut into rows of nearly equal length.

    Every row begins at the left and flows along +x; rows follow downwards. A row is cut where the
    fewest nodes feed across, if there is a choice nearby.

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
    "serpentine", "wrapped like lines of text, to fill the picture", place, forward="reading"
)
