"""Mean change of the weights an edge stands for, with its sign."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "direction",
    "mean Δw, with sign",
    "the mean of newer - older weight: orange has fallen, violet has risen",
    lambda stats: stats.signed_mean,
    diverging=True,
    compares=True,
)
