"""The colour scale in the window: its histogram, and the two handles that the mouse drags."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from explorer.drawing.draw_list import ScaleBar
from explorer.renderer import Window
from explorer.renderer.scale_strip import ScaleArea
from explorer.session.session import Session

TOLD_ABOVE = "drag the ends · double click: as it fits · k: next kind of scale · m: hide"
_HINT = "colour scale · m or a click: drag its ends on a histogram · k: next kind of scale"
_SLACK_PX = 9.0  # how far beside the scale the pointer still takes hold of it
_TWICE = 0.4  # seconds between the two presses of a double click
_APART = 1.001  # least ratio of the two ends

_End = Literal["low", "high"]


class DesktopScale:
    """What the mouse does on the colour scale in the legend.

    Parameters
    ----------
    session : Session
    window : Window
    take : callable ()
        Gives the session's picture to the renderer.
    """

    def __init__(self, session: Session, window: Window, take: Callable[[], None]) -> None:
        self._session, self._window, self._take = session, window, take
        self._strip = window.renderer.strip
        self._end: _End | None = None
        self._gesture: object = None
        self._wished: tuple[float, float] | None = None
        self._pressed = (-1.0, 0.0, 0.0)  # when and where

    @property
    def _bar(self) -> ScaleBar | None:
        return self._session.draw_list.legend.bar

    def _area(self, x: float, y: float) -> ScaleArea | None:
        area = self._strip.area
        return area if area is not None and area.holds(x, y, _SLACK_PX) else None

    def hint(self, x: float, y: float) -> str:
        """What to tell of the scale where the pointer rests on it."""
        if self._area(x, y) is None or self._bar is None:
            return ""
        return TOLD_ABOVE if self._strip.histogram else _HINT

    def toggle(self) -> str:
        """Show or hide the histogram; what to tell of it."""
        if not self._strip.histogram and self._bar is None:
            return "nothing to count: no magnitude is drawn"
        self._strip.histogram = not self._strip.histogram
        self._window.redraw()
        return ""

    # -- the mouse, called by the window ----------------------------------------------------------

    def press(self, x: float, y: float) -> bool:
        """A press beside the scene; whether a drag on the scale begins with it."""
        area, bar = self._area(x, y), self._bar
        if area is None or bar is None:
            return False
        if area.bounds is None:
            self.toggle()
            return False
        now, (then, old_x, old_y) = time.monotonic(), self._pressed
        self._pressed = (now, x, y)
        if now - then < _TWICE and max(abs(x - old_x), abs(y - old_y)) < _SLACK_PX:
            self._wished, self._pressed = None, (-1.0, 0.0, 0.0)
            self._change(None, object())
            return False
        low, high = area.place(bar.low), area.place(bar.high)
        # Where both stand at one place the side that is pressed tells which is meant.
        nearer_low = abs(x - low) < abs(x - high) or (low == high and x < low)
        self._end, self._gesture = "low" if nearer_low else "high", object()
        return True

    def drag(self, x: float, y: float) -> None:
        """Take the end along; the picture follows at the next `tick`."""
        area, bar = self._strip.area, self._bar
        if self._end is None or area is None or area.bounds is None or bar is None:
            return
        at = area.magnitude(x)
        if self._end == "high":
            self._wished = bar.low, max(at, bar.low * _APART, area.bounds[0] * _APART)
        else:
            # Where zero has a place on the scale it lies at the end of the axis.
            least = 0.0 if at <= area.bounds[0] and bar.kind == "linear" else at
            self._wished = min(least, bar.high / _APART), bar.high

    def release(self) -> None:
        """End the drag."""
        self.tick()
        self._end = None

    def tick(self) -> None:
        """Show the last step of a drag, if there was one since the last call."""
        wished, self._wished = self._wished, None
        if wished is not None:
            self._change(wished, self._gesture)

    def _change(self, ends: tuple[float, float] | None, gesture: object) -> None:
        if ends == self._session.state.range:
            return
        # Undo brings the camera back too; for the session it stands where it stands now.
        self._session.camera = self._window.renderer.camera
        self._session.set_range(ends, gesture=gesture)
        self._take()
        self._window.redraw(moving=True)
