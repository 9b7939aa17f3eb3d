"""Branches wound around the axis of the flow: for wide networks."""

from __future__ import annotations

from layouts._scopes import arrange
from layouts._style import ASLANT, Style
from layouts.tree import Boxes, Layout, Tree

STYLE = Style(wrap=True, drawn=ASLANT, across="ring")


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place a tree in rows like `serpentine`, the branches of each on a ring around its axis.

    More than twelve fill a disc. Networks are narrow, wide and narrow again: rings around an input
    in the middle would leave the narrow stretches one node per ring and the output anywhere. Around
    the axis every branch is equally far from where all part and where all meet, none has to be
    passed to reach another, and lines fan out evenly.

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
    "radial", "branches in rings around the flow, for wide networks", place, forward="reading"
)
