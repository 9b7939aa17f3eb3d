"""Change of the weights an edge stands for, relative to how large they were."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "relative",
    "relative change, RMS Δw / RMS w before",
    "root mean square of newer - older weight over that of the older weights",
    lambda stats: stats.relative,
    compares=True,
)
