"""Share of the codes of a quantised weight that occur: how well its few bits are used."""

from explorer.overlays.overlay import Overlay

OVERLAY = Overlay(
    "codes",
    "share of the possible codes that occur",
    "how many of the codes that quantised weights can have are in use",
    lambda stats: stats.share,
    counts="codes",
    scale="linear",
    told="{hits} of {of} possible codes occur",
    grey="their weights have no codes",
)
