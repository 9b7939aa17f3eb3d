"""Root mean square of the difference between two files, of the weights an edge stands for."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "change",
    "change |Δw| (RMS)",
    "root mean square of newer - older weight: means the same at every level",
    lambda stats: stats.rms,
    compares=True,
)
