"""Root mean square of the weights an edge stands for."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "magnitude",
    "weight strength |w| (RMS)",
    "root mean square of the weights: means the same at every level",
    lambda stats: stats.rms,
)
