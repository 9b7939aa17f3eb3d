"""From raw mouse events to gestures: click, drag, rest of the pointer, turn of the wheel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: A press that moves less than this before its release is a click, in pixels.
CLICK_SLACK = 4.0
_BUTTONS = {"Left": "turn", "Middle": "shift", "Right": "shift"}


@dataclass(frozen=True, slots=True)
class Gesture:
    """What the pointer did.

    Attributes
    ----------
    kind : str
        ``"click"``, ``"turn"``, ``"shift"``, ``"zoom"``, ``"hover"`` or ``"end"`` (of a drag).
    x, y : float
        Pixels from the top-left of the area.
    dx, dy : float
        Movement since the last gesture of a drag, as a share of the area's height, down positive.
    factor : float
        Of a zoom: above 1 comes nearer.
    """

    kind: Literal["click", "turn", "shift", "zoom", "hover", "end"]
    x: float = 0.0
    y: float = 0.0
    dx: float = 0.0
    dy: float = 0.0
    factor: float = 1.0


class Pointer:
    """Remembers the press that a drag or a click began with."""

    def __init__(self) -> None:
        self._button: str | None = None
        self._start = self._last = (0.0, 0.0)
        self._dragging = False
        self._pinch = 1.0

    def feed(self, event: Mapping[str, Any]) -> Gesture | None:
        """Take one event of the page.

        Parameters
        ----------
        event : mapping
            ``type``, and where the type has them ``x``, ``y`` (from the bottom-left), ``w``, ``h``
            (size of the area), ``spinY``, ``factor``, ``shiftKey``.

        Returns
        -------
        Gesture or None
            ``None`` for what means nothing here, malformed events among them.
        """
        kind = event.get("type")
        if not isinstance(kind, str):
            return None
        if kind in ("StartPinch", "Pinch"):
            return self._pinched(kind, _number(event.get("factor"), 1.0))
        height = max(_number(event.get("h"), 0.0), 1.0)
        here = (_number(event.get("x"), 0.0), height - _number(event.get("y"), 0.0))
        if kind in ("MouseWheel", "StartMouseWheel"):
            # One notch is 1 for a wheel, a little for a touch pad.
            spin = max(-3.0, min(3.0, _number(event.get("spinY"), 0.0)))
            return Gesture("zoom", *here, factor=math.exp(-0.18 * spin)) if spin else None
        if kind.endswith("ButtonPress"):
            self._button = self._role(kind, event)
            self._start = self._last = here
            self._dragging = False
            return None
        if kind.endswith("ButtonRelease"):
            return self._released(kind, here)
        return self._moved(here, height) if kind == "MouseMove" else None

    def _role(self, kind: str, event: Mapping[str, Any]) -> str:
        role = _BUTTONS.get(kind.removesuffix("ButtonPress"), "shift")
        return "shift" if role == "turn" and event.get("shiftKey") else role

    def _released(self, kind: str, here: tuple[float, float]) -> Gesture | None:
        role, self._button = self._button, None
        if role is None:
            return None
        if self._dragging:
            self._dragging = False
            return Gesture("end", *here)
        return Gesture("click", *here) if kind.startswith("Left") else None

    def _moved(self, here: tuple[float, float], height: float) -> Gesture | None:
        if self._button is None:
            return Gesture("hover", *here)
        if not self._dragging and math.dist(here, self._start) < CLICK_SLACK:
            return None
        self._dragging = True
        dx, dy = ((a - b) / height for a, b in zip(here, self._last, strict=True))
        self._last = here
        return Gesture("turn" if self._button == "turn" else "shift", *here, dx, dy)

    def _pinched(self, kind: str, factor: float) -> Gesture | None:
        if kind == "StartPinch" or factor <= 0:
            self._pinch = 1.0
            return None
        step, self._pinch = factor / self._pinch, factor
        return Gesture("zoom", factor=max(0.2, min(5.0, step)))


def _number(value: object, default: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(max(-1e6, min(1e6, value)))
    return default
