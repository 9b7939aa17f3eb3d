"""Largest absolute weight an edge stands for."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "maximum",
    "largest |w|",
    "the largest absolute weight",
    lambda stats: stats.max_abs,
)
