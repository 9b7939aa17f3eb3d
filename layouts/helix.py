"""The strip wound around a vertical axis like a spring: for very deep networks."""

from __future__ import annotations

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Boxes, Layout, Tree

STYLE = Style(wrap=True, wind=True)


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place a tree in ranks, the ranks of the outermost scopes wound around a vertical axis.

    Each turn runs to the right in front and back to the left behind, coming down all the while, so
    what follows one another stands side by side even where a row of `serpentine` would break. The
    scopes inside are placed as `serpentine` places them; those in the back half of a turn are
    mirrored, so that data flows on through them.

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


LAYOUT = Layout("helix", "wound like a spring, for very deep networks", place, forward="winding")
