"""Overlays: one file each; a file that ends in ``OVERLAY = Overlay(...)`` is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from explorer.errors import UnknownNameError
from explorer.overlays.overlay import Counting, Counts, EdgeStats, Overlay

__all__ = ["Counting", "Counts", "EdgeStats", "Overlay", "get_overlay", "overlays"]


@cache
def overlays(comparing: bool = False) -> dict[str, Overlay]:
    """All overlays by name: of weights, or of what changed between two files."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        record = getattr(importlib.import_module(f"{__name__}.{module.name}"), "OVERLAY", None)
        if isinstance(record, Overlay) and record.compares == comparing:
            found[record.name] = record
    return found


def get_overlay(name: str, comparing: bool = False) -> Overlay:
    """The overlay of this name.

    Raises
    ------
    UnknownNameError
        If there is none; the nearest names are offered.
    """
    try:
        return overlays(comparing)[name]
    except KeyError:
        raise UnknownNameError("overlay", name, overlays(comparing)) from None
