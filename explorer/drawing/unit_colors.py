"""Boxes coloured by what a unit overlay tells of the units inside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from explorer.drawing.color_scale import TITLES, ColorScale, count, fit_scale, percent
from explorer.drawing.draw_list import BoxArrays, BoxScale, Legend
from explorer.drawing.themes import RGB, Theme
from explorer.overlays import UnitOverlay, UnitStats

NEUTRAL: dict[str, RGB] = {"dark": (70, 78, 92), "light": (206, 210, 218)}
"""Of boxes without a number."""


@dataclass(frozen=True, eq=False)
class UnitColors:
    """A unit overlay in one picture.

    Attributes
    ----------
    overlay : UnitOverlay
    stats : UnitStats
        One entry per row of the cut.
    scale : ColorScale
    """

    overlay: UnitOverlay
    stats: UnitStats
    scale: ColorScale

    @classmethod
    def of(cls, overlay: UnitOverlay, stats: UnitStats, theme: Theme) -> UnitColors:
        """Fit the colours to the boxes of a picture."""
        values = overlay.values(stats)
        wish = "linear" if overlay.shares else "automatic"
        scale = fit_scale(values, theme.boxes, False, wish, shares=overlay.shares)
        return cls(overlay, stats, scale)

    def painted(self, boxes: BoxArrays, theme: str) -> BoxArrays:
        """Solids in the colours of their numbers; those without are neutral."""
        values = self.overlay.values(self.stats)
        told = ~np.isnan(values)
        rgb = np.empty((len(values), 3), np.uint8)
        rgb[:] = NEUTRAL[theme]
        rgb[told] = self.scale.colors(values[told])
        colors = boxes.colors.copy()
        colors[:, :3] = rgb[boxes.node]
        return replace(boxes, colors=colors)

    def explained(self, legend: Legend, shown: BoxArrays) -> Legend:
        """A legend that tells what colours of boxes mean, in place of the kinds of layers."""
        rows = np.unique(shown.node)
        told = ~np.isnan(self.overlay.values(self.stats))[rows]
        late = int((~self.stats.known[rows]).sum())
        lines = []
        if (self.stats.units[rows] > 1).any():
            lines.append(
                "box of several units: " + ("their share" if self.overlay.shares else "their RMS")
            )
        if late:
            lines.append(f"{count(late)} boxes are grey until their weights are read")
        elif not told.all():
            lines.append("grey box: no such weights, or none that can be told apart")
        if not told.any():
            return replace(legend, kinds=(), lines=(*lines, *legend.lines))
        title = f"{self.overlay.title}, {TITLES[self.scale.kind]}"
        scale = BoxScale(title, self.scale.ramp, self.scale.ticks())
        return replace(legend, kinds=(), boxes=scale, lines=(*legend.lines, *lines))

    def told(self, row: int) -> str:
        """The number of a box in words; empty where it has none."""
        stats, value = self.stats, float(self.overlay.values(self.stats)[row])
        if np.isnan(value):
            return "" if stats.known[row] else "its weights are not yet read"
        units = int(stats.units[row])
        text = self.overlay.one if units == 1 else self.overlay.many
        exact = percent(value) if self.overlay.shares else f"{value:.6g}"
        return text.format(value=exact, units=count(units), weights=count(int(stats.weights[row])),
                           dead=count(int(stats.dead[row])))  # fmt: skip
