"""Cells of a plane as colours and words: what page and window show alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import ColorScale, count, fit_scale
from explorer.drawing.themes import THEMES
from explorer.overlays import Overlay, overlays
from explorer.panel.plane import Cells, Plane
from explorer.viewing.view_state import ViewState

U1 = NDArray[np.uint8]
NOT_FINITE = (128, 128, 128)
"""Colour of a cell without a finite weight: no ramp holds it."""


@dataclass(frozen=True)
class Coloring:
    """How numbers become colours.

    Attributes
    ----------
    overlay : Overlay
    theme : str
        ``"dark"`` or ``"light"``.
    scale : str
        Kind of the colour scale, as `explorer.drawing.color_scale.fit_scale` takes it.
    bounds : (float, float) or None
        Magnitudes at its ends, where a person chose them.
    """

    overlay: Overlay
    theme: str
    scale: str = "automatic"
    bounds: tuple[float, float] | None = None

    @classmethod
    def of(cls, state: ViewState, comparing: bool) -> Coloring:
        """As the view has it."""
        found = overlays(comparing).get(state.overlay)
        if found is None:
            return cls(_first(comparing), state.theme)
        found = found.at(state.threshold)
        scale = found.scale if state.scale == "automatic" else state.scale
        return cls(found, state.theme, scale, state.range)

    def of_plane(self, plane: Plane) -> Coloring:
        """An overlay that has no numbers for a weight gives way to the first."""
        if plane.suits(self.overlay):
            return self
        return Coloring(_first(self.overlay.compares), self.theme)


def _first(comparing: bool) -> Overlay:
    """What cells are told by where nothing else can be: `magnitude`, or its like."""
    known = overlays(comparing)
    return known.get("magnitude", next(iter(known.values())))


@dataclass(frozen=True, eq=False)
class Heat:
    """Cells in colours.

    Attributes
    ----------
    cells : Cells
    pixels : uint8 array, shape (rows, columns, 4)
        A pixel per cell; clear where no weight stands.
    scale : ColorScale or None
        ``None`` where the cells have colours of their own.
    title : str
        What the colours mean.
    overlay : Overlay
        Whose numbers the cells have.
    """

    cells: Cells
    pixels: U1
    scale: ColorScale | None
    title: str
    overlay: Overlay


def heat(plane: Plane, cells: Cells, coloring: Coloring) -> Heat:
    """Colour cells by the scale that suits them."""
    if cells.colors is not None:
        pixels = np.dstack((cells.colors, _opaque(cells)))
        title = (
            "in channels 0, 1, 2 as red, green, blue; each filter from its lowest to its highest"
            " weight"
        )
        return Heat(cells, pixels, None, title, coloring.overlay)
    overlay = coloring.overlay
    diverging = overlay.diverging if plane.diverging is None else plane.diverging
    look = THEMES[coloring.theme]
    ramp = look.diverging if diverging else look.sequential
    values = cells.values.ravel()
    if plane.diverging is None:
        shares = overlay.counts is not None
        scale = fit_scale(values, ramp, diverging, coloring.scale, coloring.bounds, shares)
    else:
        scale = fit_scale(values, ramp, diverging)
    colors = scale.colors(np.nan_to_num(values, posinf=scale.high))
    colors = colors.reshape(*cells.values.shape, 3)
    colors[np.isnan(cells.values)] = NOT_FINITE
    title = "weight w" if plane.diverging else overlay.title
    return Heat(cells, np.dstack((colors, _opaque(cells))), scale, title, overlay)


def _opaque(cells: Cells) -> U1:
    there = cells.count + cells.non_finite > 0
    return np.where(there, 255, 0).astype(np.uint8)


def caption(plane: Plane, cells: Cells) -> str:
    """What the rows, the columns and the cells are."""
    whole = plane.about
    if cells.single:
        return f"{whole}; each cell is one weight"
    most = int((cells.count + cells.non_finite).max(initial=0))
    area = f"{cells.rows.step} × {cells.columns.step}"
    if cells.rows.step == cells.columns.step == 1:
        return f"{whole}; each cell is the {count(most)} taps of a pair"
    return f"{whole}; each cell is up to {area} pairs, {count(most)} weights"


def told(plane: Plane, cells: Cells, row: int, column: int, overlay: Overlay) -> list[str]:
    """What is under the pointer, in lines; empty where there is nothing.

    Parameters
    ----------
    plane : Plane
    cells : Cells
        That are shown.
    row, column : int
        Of the plane.
    overlay : Overlay
        Whose numbers they have.
    """
    if not (cells.rows.start <= row < cells.rows.stop):
        return []
    if not (cells.columns.start <= column < cells.columns.stop):
        return []
    at = (
        (row - cells.rows.start) // cells.rows.step,
        (column - cells.columns.start) // cells.columns.step,
    )
    number, bad = int(cells.count[at]), int(cells.non_finite[at])
    if number + bad == 0:
        return []
    value = cells.values[at]
    ends = plane.names(cells.rows.cell(at[0]), cells.columns.cell(at[1]))
    if cells.parts is not None:
        values = " · ".join(f"{w:.5g}" for w in cells.parts[at])
        return [values, *ends, plane.place(row, column)]
    if number + bad == 1:
        return [
            f"{cells.means[at]:.7g}" if number else "not finite",
            *ends,
            plane.place(row, column),
        ]
    lines = [f"{overlay.title}: {value:.6g}" if number else "no finite weight", *ends]
    many = f"{count(number)} weights" + (f", {count(bad)} not finite" if bad else "")
    if cells.rows.step == cells.columns.step == 1:
        many += f": {plane.place(row, column)}"
    return [*lines, many]
