"""Mean weight an edge stands for, with its sign."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "signed",
    "mean w, with sign",
    "the mean weight with its sign: orange is negative, violet positive",
    lambda stats: stats.signed_mean,
    diverging=True,
)
