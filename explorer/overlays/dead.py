"""Units whose incoming weights are all zero, or whose outgoing ones are."""

from explorer.overlays.unit_overlay import UnitOverlay

UNIT_OVERLAY = UnitOverlay(
    "dead",
    "share of dead units",
    "units all of whose incoming weights are zero, or all of whose outgoing ones (biases apart)",
    "both",
    lambda stats: stats.dead_share,
    one="dead: {dead} of 1 (all incoming or all outgoing weights are zero)",
    many="{dead} of {units} units are dead: all incoming or all outgoing weights are zero",
    shares=True,
)
