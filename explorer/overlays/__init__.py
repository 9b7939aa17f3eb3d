"""Overlays: one file each, found by itself.

A file that ends in ``OVERLAY = Overlay(...)`` colours edges, one that ends in
``UNIT_OVERLAY = UnitOverlay(...)`` colours boxes.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from explorer.errors import UnknownNameError
from explorer.overlays.overlay import Counting, Counts, EdgeStats, Overlay
from explorer.overlays.unit_overlay import KIND, UnitOverlay, UnitStats

__all__ = [
    "KIND", "Counting", "Counts", "EdgeStats", "Overlay", "UnitOverlay", "UnitStats",
    "get_overlay", "get_unit_overlay", "overlays", "unit_overlays",
]  # fmt: skip


def _records(name: str) -> list[Any]:
    """The records of this name at the ends of the files."""
    modules = (m.name for m in pkgutil.iter_modules(__path__))
    found = (
        getattr(importlib.import_module(f"{__name__}.{module}"), name, None) for module in modules
    )
    return [record for record in found if record is not None]


@cache
def overlays(comparing: bool = False) -> dict[str, Overlay]:
    """All overlays of edges by name: of weights, or of what changed between two files."""
    return {o.name: o for o in _records("OVERLAY") if o.compares == comparing}


@cache
def unit_overlays(comparing: bool = False) -> dict[str, UnitOverlay]:
    """All overlays of units by name; none where files are compared: boxes show what changed."""
    return {} if comparing else {o.name: o for o in _records("UNIT_OVERLAY")}


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


def get_unit_overlay(name: str, comparing: bool = False) -> UnitOverlay | None:
    """The unit overlay of this name; ``None`` for `KIND`.

    Raises
    ------
    UnknownNameError
        If there is none; the nearest names are offered.
    """
    if name == KIND:
        return None
    try:
        return unit_overlays(comparing)[name]
    except KeyError:
        raise UnknownNameError("unit overlay", name, [KIND, *unit_overlays(comparing)]) from None
