"""Largest single change among the weights an edge stands for."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "furthest",
    "largest |Δw|",
    "the largest single change of a weight",
    lambda stats: stats.max_abs,
    compares=True,
)
