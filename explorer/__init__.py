"""Neuronaut: a 3D interactive explorer for large neural networks.

>>> import explorer
>>> view = explorer.open_network("model.keras")  # doctest: +SKIP
>>> view.open("block4").shot("picture.png")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.errors import ModelError, NeuronautError, UnknownNameError

if TYPE_CHECKING:
    from explorer.view import View, compare, open_network

__version__ = "0.1.0"
__all__ = ["ModelError", "NeuronautError", "UnknownNameError", "View", "compare", "open_network"]


def __getattr__(name: str) -> object:
    # The view pulls in numpy and the readers; the errors and the version must not wait for them.
    if name in ("View", "compare", "open_network"):
        from explorer import view

        return getattr(view, name)
    raise AttributeError(f"module 'explorer' has no attribute {name!r}")
