"""Automatic detail in the local window: when it works, and what it is told of the picture."""

from __future__ import annotations

from explorer.desktop.motion import DesktopMotion
from explorer.drawing.animation import Blend
from explorer.drawing.draw_list import DrawList
from explorer.renderer import Window
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen

EVERY = 0.05  # seconds between two looks whether something is to open or to close


class DesktopDetail:
    """Opens and closes nodes of a session as the camera moves in its window.

    Parameters
    ----------
    session : Session
    window : Window
    motion : DesktopMotion
        One change is under way at a time.
    """

    def __init__(self, session: Session, window: Window, motion: DesktopMotion) -> None:
        self._session, self._window, self._motion = session, window, motion
        self._looked = 0.0

    @property
    def screen(self) -> Screen:
        """The picture that a person sees: they look at the pointer, or at the middle."""
        renderer = self._window.renderer
        (width, height), free = renderer.scene_size, renderer.free_width
        return Screen(renderer.camera, (width, height), self._window.looked_at, free)

    def tick(self, now: float, drawn: DrawList) -> DrawList | None:
        """Make a change that is due, and let it move.

        Parameters
        ----------
        now : float
            Seconds, monotonic.
        drawn : DrawList
            What is shown.

        Returns
        -------
        DrawList or None
            What is shown from now on; ``None`` if nothing is to change.
        """
        if self._motion.under_way or now - self._looked < EVERY:
            return None
        self._looked = now
        move = self._session.adjust(self.screen, self._window.pace.room)
        if move is None:
            return None
        after = self._session.draw_list
        self._motion.begin(move, Blend(drawn, after))
        return after

    def switch(self) -> str:
        """Switch it on or off; returns what to tell."""
        on = self._session.state.detail != "automatic"
        self._session.set_detail("automatic" if on else "manual")
        return "detail: automatic; what you come near to opens" if on else "detail: only by hand"
