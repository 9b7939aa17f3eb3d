"""What the mouse takes hold of beside the scene: the panel's figure, the legend's scale."""

from __future__ import annotations

from explorer.desktop.panel import DesktopPanel
from explorer.desktop.scale import DesktopScale


class Grips:
    """Hands the mouse on to what lies under it.

    Parameters
    ----------
    panel : DesktopPanel
    scale : DesktopScale
    """

    def __init__(self, panel: DesktopPanel, scale: DesktopScale) -> None:
        self._panel, self._scale = panel, scale
        self._held: DesktopPanel | DesktopScale | None = None

    def press(self, x: float, y: float) -> bool:
        """A press of the left button; whether a drag begins with it."""
        self._held = next((g for g in (self._panel, self._scale) if g.press(x, y)), None)
        return self._held is not None

    def drag(self, x: float, y: float) -> None:
        """The pointer is here, in that drag."""
        if self._held is not None:
            self._held.drag(x, y)

    def release(self) -> None:
        """That drag is over."""
        if self._held is not None:
            self._held.release()
        self._held = None

    def wheel(self, x: float, y: float, factor: float) -> bool:
        """The wheel turns; whether something comes nearer by it."""
        return self._panel.wheel(x, y, factor)
