"""The figure of a weight in the page's panel: what is sent of it, and what a person does with it.

The page moves and zooms what it has at once; the cells of what then is seen are sent after it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from explorer.errors import NeuronautError
from explorer.web.figures import css_gradient, png_url

if TYPE_CHECKING:
    from explorer.panel.export import Table
    from explorer.panel.figure import Shown, WeightFigure
    from explorer.panel.heat import Coloring
    from explorer.panel.viewport import Viewport
    from explorer.web.tab import Tab

ROOM = (268.0, 280.0)  # pixels of the panel that the figure may take, without its ticks
_APART = (38.0, 24.0)  # pixels from tick to tick, across and down
_NUMBERS = (34.0, 13.0)  # pixels of a cell in which its number is written
EMPTY: dict[str, Any] = {"id": 0}


class MatrixPane:
    """The figure that a tab shows.

    Parameters
    ----------
    tab : Tab
    """

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._figure: WeightFigure | None = None
        self._viewport: Viewport | None = None
        self.shown: Shown | None = None
        self._id = 0
        self._ticket: object = None
        self._colored: Coloring | None = None

    @property
    def figure(self) -> WeightFigure | None:
        """What is shown; ``None`` for nothing."""
        return self._figure

    @property
    def viewport(self) -> Viewport | None:
        """Which part of it is seen."""
        return self._viewport

    def hide(self) -> None:
        """Show no figure."""
        self._ticket, self._figure, self.shown = None, None, None
        self._tab.flush(matrix=EMPTY, matrix_picture=None)

    async def show(self, path: str, name: str) -> None:
        """Begin with a weight; nothing for one that holds a single number."""
        from explorer.panel.figure import figure_of

        ticket = self._ticket = object()
        figure = await asyncio.to_thread(figure_of, self._tab.session.model, path, name)
        if self._ticket is not ticket:
            return
        if figure.weight.size > 1 and figure.weight.where is not None:
            self._begin(figure)
            await self._draw()

    async def choose(self, field: str, value: str) -> None:
        """Choose one of what the figure offers."""
        figure = self._figure
        if figure is not None and figure.take(field, value):
            self._begin(figure)
            await self._draw()

    async def look(self, number: int, top: float, left: float, height: float, width: float) -> None:
        """Another part is seen."""
        viewport = self._viewport
        sizes = (top, left, height, width)
        if viewport is None or number != self._id or not all(map(math.isfinite, sizes)):
            return
        from dataclasses import replace

        floats = [float(min(max(size, 0.0), 1e12)) for size in sizes]
        self._viewport = replace(
            viewport, top=floats[0], left=floats[1], height=floats[2], width=floats[3]
        ).kept()
        await self._draw()

    async def point(self, number: int, row: float, column: float) -> None:
        """Tell what is under the pointer."""
        from explorer.panel.heat import told

        if self.shown is None or self._figure is None or number != self._id:
            return
        if not (math.isfinite(row) and math.isfinite(column)):
            return
        cells, plane, overlay = self.shown.cells, self._figure.plane, self.shown.heat.overlay
        lines = told(plane, cells, math.floor(row), math.floor(column), overlay)
        self._tab.flush(matrix_told=lines)

    def follow(self) -> None:
        """Draw anew if the colours or what they mean have changed; costs next to nothing."""
        if self._figure is None or self._colored is None or self._colored == self._coloring:
            return
        self._tab.spawn(self._tab.guarded(self._draw()))

    @property
    def _coloring(self) -> Coloring:
        from explorer.panel.heat import Coloring

        session = self._tab.session
        return Coloring.of(session.state, session.model.comparison is not None)

    def table(self, what: str) -> Table:
        """What is shown, as numbers: ``"cells"``, or ``"weights"`` behind them.

        Raises
        ------
        NeuronautError
            If it is not there yet.
        """
        from explorer.panel.export import seen_weights, shown_table

        figure, shown = self._figure, self.shown
        if figure is None or shown is None or not shown.final:
            raise NeuronautError("the weights are still being read")
        return (shown_table if what == "cells" else seen_weights)(figure, shown)

    def _begin(self, figure: WeightFigure) -> None:
        from explorer.panel.matrix import WeightMatrix
        from explorer.panel.viewport import Viewport

        self._id += 1
        self._figure, self.shown = figure, None
        view = self._viewport = Viewport.of(figure.plane, ROOM)
        chosen = figure.chosen()
        self._tab.flush(
            matrix={
                "id": self._id,
                "rows": view.rows, "columns": view.columns,
                "figure": [view.size[0], view.size[1]],
                "view": [view.top, view.left, view.height, view.width],
                "least": view.least,
                "exact": isinstance(figure.plane, WeightMatrix),
                "tile": [figure.plane.rows.each, figure.plane.columns.each],
                "titles": [figure.plane.rows.title, figure.plane.columns.title],
                "options": [
                    {"field": field, "chosen": chosen[field],
                     "values": [{"value": v, "title": t} for v, t in values]}
                    for field, values in figure.options().items()
                ],
            },
            matrix_picture=None,
            matrix_told=[],
        )  # fmt: skip

    async def _draw(self) -> None:
        """Send what can be had at once, then all of it; ends early when something else is seen."""
        from explorer.panel import figure as figures
        from explorer.panel.weight_summary import Stopped

        figure, view = self._figure, self._viewport
        assert figure is not None
        assert view is not None
        ticket = self._ticket = object()
        coloring = self._colored = self._coloring

        def unwanted() -> bool:
            return self._ticket is not ticket

        try:
            shown = await asyncio.to_thread(figures.quick, figure, view, coloring)
            if unwanted():
                return
            if shown is not None:
                self._send(shown)
            if shown is None or not shown.final:
                shown = await asyncio.to_thread(figures.full, figure, view, coloring, unwanted)
                if not unwanted():
                    self._send(shown)
        except Stopped:
            return
        except NeuronautError as error:
            if not unwanted():
                self._tab.flush(matrix_picture={"error": str(error)})

    def _send(self, shown: Shown) -> None:
        assert self._figure is not None
        self.shown = shown
        self._tab.flush(matrix_picture=picture_state(self._figure, shown))


async def choose(tab: Tab, wish: str) -> None:
    """One of what the figure of a weight offers: ``"tap 4"``."""
    field, _, value = wish.partition(" ")
    await tab.matrix.choose(field, value)


async def look(tab: Tab, number: int, *seen: float) -> None:
    """Another part of the figure is seen: top, left, height and width."""
    await tab.matrix.look(number, *seen)


async def point(tab: Tab, number: int, row: float, column: float) -> None:
    """The pointer is on this row and column, or on none."""
    await tab.matrix.point(number, row, column)


def picture_state(figure: WeightFigure, shown: Shown) -> dict[str, Any]:
    """The cells as the page draws them: a PNG with a pixel per cell, its place, and words."""
    from explorer.panel.heat import caption

    heat, view, cells, plane = shown.heat, shown.viewport, shown.cells, figure.plane
    across, down = view.size
    scale = heat.scale
    return {
        "error": "",
        "url": png_url(heat.pixels),
        "rows": [cells.rows.start, cells.rows.stop, cells.rows.step],
        "columns": [cells.columns.start, cells.columns.stop, cells.columns.step],
        "ticks": [
            plane.rows.ticks(view.top, view.height, down, _APART[1]),
            plane.columns.ticks(view.left, view.width, across, _APART[0]),
        ],
        "numbers": _numbers(shown),
        "final": shown.final,
        "title": heat.title,
        "gradient": css_gradient(scale.ramp) if scale is not None else "",
        "scale": [{"at": round(100 * at, 2), "text": text} for at, text in scale.ticks()]
        if scale is not None
        else [],
        "caption": caption(plane, cells),
    }


def _numbers(shown: Shown) -> list[list[str]]:
    """The numbers of the cells, where they are large enough to hold them."""
    view, cells = shown.viewport, shown.cells
    wide = view.size[0] / view.width * cells.columns.step
    high = view.size[1] / view.height * cells.rows.step
    if wide < _NUMBERS[0] or high < _NUMBERS[1]:
        return []
    there = cells.count + cells.non_finite > 0
    values = cells.means if cells.single else cells.values
    return [
        [("" if not t else f"{v:.2g}" if v == v else "–") for v, t in zip(vs, ts, strict=True)]
        for vs, ts in zip(values.tolist(), there.tolist(), strict=True)
    ]
