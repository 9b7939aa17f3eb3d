"""Share of the weights that are near zero: what pruning by magnitude would take away."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "sparsity",
    "share of weights with |w| ≤ {threshold}",
    "how many of the weights lie under the threshold; 0 counts those that are exactly zero",
    lambda stats: stats.share,
    counts="near zero",
    scale="linear",
    told="{hits} of {of} weights have |w| ≤ {threshold}",
)
