"""What moves in the local window: boxes on their way to new places, and the camera."""

from __future__ import annotations

import time

from explorer.drawing.animation import Blend
from explorer.renderer import Window
from explorer.session.detail import Follow
from explorer.session.flight import Flight
from explorer.viewing.view_state import Camera, ease

MOVE_TIME = 0.3  # seconds that a change of the picture takes
RESTS_AFTER = 0.2  # seconds without a move until the camera counts as come to rest


class DesktopMotion:
    """The one move under way in a window, and the rest that follows it.

    Parameters
    ----------
    window : Window
    """

    def __init__(self, window: Window) -> None:
        self._window, self._renderer = window, window.renderer
        self._move: tuple[Flight | Follow | None, Blend | None] | None = None
        self._share = 0.0
        self._since = 0.0
        self._camera = self._renderer.camera
        self._camera_moved = 0.0  # when it was last seen to move; 0 while it rests

    @property
    def under_way(self) -> bool:
        """Whether something moves by itself."""
        return self._move is not None

    def begin(self, way: Flight | Follow | None, blend: Blend | None = None) -> None:
        """Let the camera, the boxes or both move from now on.

        On a flight the camera is where the flight is; when it follows the boxes, a person may
        move it meanwhile.
        """
        self._move, self._since, self._share = (way, blend), time.monotonic(), 0.0
        self._window.redraw(moving=True)

    def settle(self) -> None:
        """End a move under way, at its end."""
        if self._move is not None:
            self._show(1.0)

    def step(self, now: float) -> None:
        """Go on with the move under way."""
        if self._move is not None:
            self._show(min((now - self._since) / MOVE_TIME, 1.0))

    def rested(self, now: float) -> Camera | None:
        """The camera, once, when it has come to rest, whatever moved it: a person or a flight."""
        camera = self._renderer.camera
        if camera != self._camera or self._move is not None:
            self._camera, self._camera_moved = camera, now
        elif self._camera_moved and now - self._camera_moved > RESTS_AFTER:
            self._camera_moved = 0.0
            return camera
        return None

    def _show(self, share: float) -> None:
        assert self._move is not None
        way, blend = self._move
        if blend is not None:
            self._renderer.draw(blend.at(ease(share)))
        if isinstance(way, Follow):
            self._renderer.camera = way.move(self._renderer.camera, ease(self._share), ease(share))
        elif way is not None:
            self._renderer.camera = way(ease(share))
        self._share = share
        if share >= 1.0:
            self._move = None
        self._window.redraw(moving=True)
