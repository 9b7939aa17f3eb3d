"""Norm of the weights into each unit: what it listens to, and how strongly."""

from explorer.overlays.unit_overlay import UnitOverlay

UNIT_OVERLAY = UnitOverlay(
    "incoming",
    "norm of a unit's incoming weights",
    "√Σw² of the weights into each unit, recurrent ones too, biases not",
    "in",
    lambda stats: stats.norm,
    one="norm of its {weights} incoming weights: {value}",
    many="RMS of the norms of the incoming weights of {units} units: {value}",
)
