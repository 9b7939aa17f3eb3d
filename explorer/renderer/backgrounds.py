"""Colours behind the scene."""

from __future__ import annotations

BACKGROUNDS = {"dark": ("#0a0d13", "#1a2130"), "light": ("#eef1f6", "#ffffff")}
"""Bottom and top of the background."""


def unit_rgb(text: str) -> tuple[float, float, float]:
    """A colour ``#rrggbb`` as three numbers from 0 to 1."""
    r, g, b = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b
