"""Keeps the figure of a weight for the local window, and reads for it in a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.panel.figure import Shown, WeightFigure, figure_of, full, quick
from explorer.panel.heat import Coloring
from explorer.panel.viewport import Viewport
from explorer.panel.weight_summary import Stopped

_AT_ONCE = 0.03  # seconds that may pass before a picture is shown without new cells
_END = 10.0  # seconds that a reading gets to end when the window closes


@dataclass(frozen=True, eq=False)
class FigureLook:
    """What the window shows of a weight.

    Attributes
    ----------
    figure : WeightFigure
    viewport : Viewport
        What is to be seen; `shown` may still be of another.
    shown : Shown or None
    told : tuple of str
        What is under the pointer.
    error : str
        Why nothing comes, in one line; else empty.
    """

    figure: WeightFigure
    viewport: Viewport
    shown: Shown | None = None
    told: tuple[str, ...] = ()
    error: str = ""


class FigureReader:
    """Reads the cells that are seen; what is seen later ends the reading for what was before.

    Parameters
    ----------
    model : OpenModel
        Not closed before `close` has been called here.
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._unwanted = threading.Event()
        self._threads: list[threading.Thread] = []
        self.figure: WeightFigure | None = None
        self.shown: Shown | None = None
        self.error = ""

    def begin(self, path: str, name: str) -> WeightFigure | None:
        """Take a weight of a layer; ``None`` for one that cannot be shown."""
        self.end()
        figure = figure_of(self._model, path, name)
        if figure.weight.size < 2 or figure.weight.where is None:
            return None
        self.figure = figure
        return figure

    def end(self) -> None:
        """Show no figure."""
        with self._lock:
            self._unwanted.set()
            self.figure, self.shown, self.error = None, None, ""

    def look(self, viewport: Viewport, coloring: Coloring) -> None:
        """Begin to read what is seen; it arrives in `shown`, the quick part at once."""
        figure = self.figure
        if figure is None:
            return
        unwanted = threading.Event()
        with self._lock:
            self._unwanted.set()
            self._unwanted = unwanted
            self.error = ""
        thread = threading.Thread(
            target=self._read, args=(figure, viewport, coloring, unwanted), name="figure",
            daemon=True,
        )  # fmt: skip
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()
        thread.join(_AT_ONCE)

    def close(self) -> None:
        """End all reading."""
        self.end()
        for thread in self._threads:
            thread.join(_END)

    def _read(
        self,
        figure: WeightFigure,
        viewport: Viewport,
        coloring: Coloring,
        unwanted: threading.Event,
    ) -> None:
        try:
            shown = quick(figure, viewport, coloring)
            if shown is not None:
                self._put(unwanted, shown)
            if shown is None or not shown.final:
                self._put(unwanted, full(figure, viewport, coloring, unwanted.is_set))
        except Stopped:
            return
        except NeuronautError as error:
            self._put(unwanted, None, str(error))
        except Exception as error:
            # A thread's fault would go unseen and the panel would say "reading" for ever.
            self._put(unwanted, None, f"cannot be shown: {type(error).__name__}: {error}")

    def _put(self, unwanted: threading.Event, shown: Shown | None, error: str = "") -> None:
        with self._lock:
            if not unwanted.is_set():
                self.shown, self.error = shown or self.shown, error
