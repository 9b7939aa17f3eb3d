"""Mean absolute weight an edge stands for."""

import numpy as np

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "mean",
    "mean |w|",
    "the mean absolute weight",
    lambda stats: stats.sum_abs / np.maximum(stats.count, 1),
)
