"""Like `layered`, but a long strip is wrapped like lines of text, so that it fills the picture."""

from __future__ import annotations

from layouts._parts import Wish
from layouts._ranks import I8
from layouts._scopes import arrange
from layouts._strip import Strip, cut_to_aspect, one_row, strip_aspect
from layouts.tree import Boxes, Layout, Tree

MAX_LEAVES_IN_ONE_ROW = 8
MAX_MAIN_ASPECT = 4.5
MAX_INNER_ASPECT = 6.0


def _wrap(strip: Strip, wish: Wish) -> tuple[Strip, I8]:
    limit = MAX_MAIN_ASPECT if wish.main else MAX_INNER_ASPECT
    short = wish.leaves <= MAX_LEAVES_IN_ONE_ROW
    if short or strip_aspect(strip) <= max(limit, wish.aspect):
        return strip, one_row(strip)
    return cut_to_aspect(strip, wish.aspect)


def place(tree: Tree, aspect: float = 16 / 9) -> Boxes:
    """Place a tree in ranks, the ranks cut into rows of nearly equal length.

    Every row begins at the left and flows along +x; rows follow downwards. A row is cut where the
    fewest nodes feed across, if there is a choice nearby. Reading order is always the order of
    ranks, whatever is open.

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
    return arrange(tree, aspect, _wrap)


LAYOUT = Layout("serpentine", "wrapped like lines of text, to fill the picture", place)
