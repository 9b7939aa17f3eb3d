"""Share of the weights that are NaN or infinite; any colour means that there is one."""

import numpy as np

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "nonfinite",
    "share of weights that are NaN or infinite",
    "how many of the weights are no finite numbers",
    lambda stats: np.where(stats.share > 0, stats.share, np.nan),
    counts="no number",
    told="{hits} of {of} weights are NaN or infinite",
    grey="all their weights are finite",
)
