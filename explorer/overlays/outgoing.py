"""Norm of the weights that act on what each unit sends: how far it is heard."""

from explorer.overlays.unit_overlay import UnitOverlay

UNIT_OVERLAY = UnitOverlay(
    "outgoing",
    "norm of a unit's outgoing weights",
    "√Σw² of the weights of later layers that act on each unit, through weightless layers",
    "out",
    lambda stats: stats.norm,
    one="norm of its {weights} outgoing weights: {value}",
    many="RMS of the norms of the outgoing weights of {units} units: {value}",
)
