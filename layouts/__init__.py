"""Where things stand: a `Tree` of visible nodes in, `Boxes` out. numpy only.

A layout is one module of this folder that ends in ``LAYOUT = Layout(name, summary, place)``; it is
found by being there. All keep one contract:

- Every box is finite, siblings stand apart, children inside their parent, the root on the origin.
- Links between siblings run forward, in the sense that `Layout.forward` says.
- The same tree gives the same boxes, whatever was placed before, in any thread.
- Opening a node keeps the order of rows and ranks of all others. Two siblings that stand in
  different rows stay in different rows in that order; two in one row that hang together keep left
  and right, and in one rank above and below; a row breaks further only if it holds what opened.
  ``helix`` alone is wound anew, in the same order, when the whole has become longer by a half.
  Closing the node gives exactly the boxes of before.
- Time grows with nodes and links, not with the ranks that links cross; scopes in which nothing
  changed are not placed again but looked up, in a bounded memory (`forget` empties it).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from layouts._parts import forget
from layouts.tree import Boxes, Layout, Tree

__all__ = ["Boxes", "Layout", "Tree", "forget", "layouts", "place"]


@cache
def _registry() -> tuple[Layout, ...]:
    found = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            record = getattr(importlib.import_module(f"layouts.{module.name}"), "LAYOUT", None)
            if isinstance(record, Layout):
                found.append(record)
    return tuple(sorted(found, key=lambda layout: layout.name))


def layouts() -> dict[str, Layout]:
    """All layouts by name, in alphabetical order."""
    return {layout.name: layout for layout in _registry()}


def place(tree: Tree, name: str, aspect: float = 16 / 9) -> Boxes:
    """Place a tree by the layout of this name.

    Parameters
    ----------
    tree : Tree
    name : str
        A key of `layouts`.
    aspect : float
        Width / height of the picture to fill.

    Returns
    -------
    Boxes
        The root's box is centred on the origin.

    Raises
    ------
    LookupError
        If there is no such layout; the text lists those that exist.
    ValueError
        If the tree breaks its own rules (a parent after its child, a size that is not positive) or
        the aspect is not a positive number.
    """
    known = layouts()
    if name not in known:
        raise LookupError(f"no layout called {name!r}; there are: {', '.join(known)}")
    return known[name].place(tree, aspect)
