"""The panel at the right edge of the local window: what is known of the selected node.

The figure of a weight in it is moved and zoomed with the mouse; none of that reaches the scene.
"""

from __future__ import annotations

import time
from dataclasses import replace

from explorer.errors import NeuronautError
from explorer.panel.export import Table, histogram_table, shown_table
from explorer.panel.figure import Shown
from explorer.panel.figure_reader import FigureLook, FigureReader
from explorer.panel.heat import Coloring, told
from explorer.panel.picture import drawn_panel, room_for_figure
from explorer.panel.reader import Details, PanelReader
from explorer.panel.viewport import Viewport
from explorer.panel.weight_picture import Rect
from explorer.renderer import Renderer
from explorer.session.session import Session

_DOUBLE = 0.4  # seconds from click to click of a double one
_SLACK_PX = 4


class DesktopPanel:
    """Follows the selection of a session and keeps the renderer's panel up to date.

    Parameters
    ----------
    session : Session
    renderer : Renderer
    """

    def __init__(self, session: Session, renderer: Renderer) -> None:
        self._session, self._renderer = session, renderer
        self._reader = PanelReader(session.model)
        self._figures = FigureReader(session.model)
        self._path: str | None = None
        self._weight: tuple[str, str] | None = None
        self._viewport: Viewport | None = None
        self._first: Viewport | None = None
        self._told: tuple[str, ...] = ()
        self._shown: tuple[object, ...] = ()
        self._asked: tuple[object, ...] = ()
        self._rect: Rect | None = None
        self._grip: tuple[float, float, Viewport] | None = None
        self._clicked = (0.0, -1.0, -1.0)
        self.wanted = True

    @property
    def details(self) -> Details | None:
        """What the panel tells; ``None`` while there is none."""
        return self._reader.details

    @property
    def viewport(self) -> Viewport | None:
        """Which part of the weight's figure is seen."""
        return self._viewport if self._rect is not None else None

    @property
    def shown(self) -> Shown | None:
        """The cells of the weight's figure."""
        return self._figures.shown

    @property
    def told(self) -> tuple[str, ...]:
        """What is under the pointer in that figure."""
        return self._told

    @property
    def figure_place(self) -> Rect | None:
        """Where the cells are in the window: left, top, width, height, pixels."""
        if self._rect is None:
            return None
        left, *rest = self._rect
        return (left + self._renderer.free_width, *rest)  # type: ignore[return-value]

    def update(self) -> bool:
        """Bring the panel up to date; whether the next picture will differ.

        Costs next to nothing when nothing has changed.
        """
        path = self._session.state.selected if self.wanted else None
        if path != self._path:
            self._path = path
            self._reader.show(path)
        details, state, size = self._reader.details, self._session.state, self._renderer.size
        self._follow(details)
        self._ask()
        figures = self._figures
        now = (details, figures.shown, figures.error, self._viewport, self._told, state.theme, size)
        if all(a is b or a == b for a, b in zip(now, self._shown, strict=False)) and self._shown:
            return False
        before, self._shown = self._shown, now
        if details is None:
            self._rect = None
            self._renderer.set_panel(None)
            return bool(before) and before[0] is not None
        look = self._look()
        picture, self._rect = drawn_panel(details, size, state.theme, look)
        self._renderer.set_panel(picture)
        return True

    def step(self, by: int) -> bool:
        """Go on to another weight of the selected layer; whether there is one."""
        return self._reader.step(by)

    def change_figure(self) -> str:
        """Go on to the next way to show the weight; a line that says which, or nothing."""
        figure = self._figures.figure
        ways = figure.ways() if figure is not None else []
        if figure is None or len(ways) < 2:
            return ""
        now = figure.chosen()
        at = next((i for i, (_, way) in enumerate(ways) if way.items() <= now.items()), -1)
        title, way = ways[(at + 1) % len(ways)]
        for field, value in way.items():
            figure.take(field, value)
        self._restart()
        return title

    def table(self) -> Table:
        """The numbers that are shown: cells of the figure, else the bars of the histogram.

        Raises
        ------
        NeuronautError
            If there are none, or they are still being read.
        """
        figure, shown = self._figures.figure, self._figures.shown
        details = self._reader.details
        if self._rect is not None and figure is not None and shown is not None:
            if not shown.final or shown.viewport != self._viewport:
                raise NeuronautError("the weights are still being read")
            return shown_table(figure, shown)
        if details is None or details.statistics is None:
            raise NeuronautError("no weights are shown: select a layer that has some")
        return histogram_table(details.statistics["summary"])

    def close(self) -> None:
        """End all reading."""
        self._reader.close()
        self._figures.close()

    # -- the mouse -----------------------------------------------------------------------------

    def press(self, x: float, y: float) -> bool:
        """A press of the left button on the figure; whether a drag begins with it."""
        at = self._inside(x, y)
        if at is None or self._viewport is None:
            return False
        when, *where = self._clicked
        near = max(abs(a - b) for a, b in zip(at, where, strict=True)) < _SLACK_PX
        if near and time.monotonic() - when < _DOUBLE and self._first is not None:
            self._viewport, self._clicked = self._first, (0.0, -1.0, -1.0)
            return True
        self._clicked = (time.monotonic(), *at)
        self._grip = (x, y, self._viewport)
        self._told = ()
        return True

    def drag(self, x: float, y: float) -> None:
        """The pointer is here, in that drag."""
        if self._grip is not None:
            begin_x, begin_y, viewport = self._grip
            self._viewport = viewport.moved(x - begin_x, y - begin_y)

    def release(self) -> None:
        """That drag is over."""
        self._grip = None

    def wheel(self, x: float, y: float, factor: float) -> bool:
        """Zoom about a pixel; whether the figure is there."""
        at = self._inside(x, y)
        if at is None or self._viewport is None:
            return False
        self._viewport = self._viewport.zoomed(*at, factor)
        self._told = ()
        return True

    def hover(self, x: float, y: float) -> bool:
        """Tell what is under the pointer; whether it is on the figure."""
        at, figure, shown = self._inside(x, y), self._figures.figure, self._figures.shown
        if at is None or self._viewport is None or figure is None or shown is None:
            self._told = ()
            return False
        row, column = (int(n) for n in self._viewport.at(*at))
        overlay = shown.heat.overlay
        self._told = tuple(told(figure.plane, shown.cells, row, column, overlay))
        return True

    # -- the figure ----------------------------------------------------------------------------

    @property
    def _coloring(self) -> Coloring:
        return Coloring.of(self._session.state, self._session.model.comparison is not None)

    def _inside(self, x: float, y: float) -> tuple[float, float] | None:
        """A pixel of the window as one of the cells' picture."""
        place = self.figure_place
        if place is None:
            return None
        left, top, width, height = place
        inside = left <= x < left + width and top <= y < top + height
        return (x - left, y - top) if inside else None

    def _follow(self, details: Details | None) -> None:
        """Begin with the weight that the details are about."""
        weight = None
        if details is not None and details.panel["weights"]:
            weight = details.panel["path"], details.panel["weights"][details.weight]["name"]
        if weight == self._weight:
            return
        self._weight = weight
        self._viewport = self._first = None
        self._told, self._asked = (), ()
        if weight is None or self._figures.begin(*weight) is None:
            self._figures.end()
        else:
            self._restart()

    def _restart(self) -> None:
        figure = self._figures.figure
        assert figure is not None
        room = room_for_figure(self._renderer.size)
        self._viewport = self._first = Viewport.of(figure.plane, room)
        self._figures.shown = None
        self._told, self._asked = (), ()

    def _ask(self) -> None:
        """Have the cells read that are to be seen now."""
        figure, viewport = self._figures.figure, self._viewport
        if figure is None or viewport is None:
            return
        room = room_for_figure(self._renderer.size)
        if self._asked and self._asked[2] != room:  # the window has another size
            self._restart()
            viewport = self._viewport
            assert viewport is not None
        coloring = self._coloring
        asked = (coloring, viewport, room)
        if asked == self._asked:
            return
        self._asked = asked
        self._figures.look(viewport, coloring)

    def _look(self) -> FigureLook | None:
        figure, viewport = self._figures.figure, self._viewport
        if figure is None or viewport is None:
            return None
        return replace(
            FigureLook(figure, viewport), shown=self._figures.shown, told=self._told,
            error=self._figures.error,
        )  # fmt: skip
