"""The local window: a session and a renderer joined by mouse and keys."""

from __future__ import annotations

import time
from collections.abc import Callable

from explorer.desktop.actions import Actions, Target
from explorer.desktop.detail import DesktopDetail
from explorer.desktop.fit import Fit
from explorer.desktop.grips import Grips
from explorer.desktop.motion import DesktopMotion
from explorer.desktop.panel import DesktopPanel
from explorer.desktop.reading import DesktopReading
from explorer.desktop.scale import DesktopScale
from explorer.desktop.texts import HELP, in_lines
from explorer.drawing.animation import Blend
from explorer.drawing.draw_list import DrawList
from explorer.errors import NeuronautError
from explorer.renderer import Handlers, Window
from explorer.session.flight import Flight, Held, held, straight
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import shift
from explorer.viewing.view_state import Camera

_POLL_EVERY = 0.15  # seconds between two looks for weights read in the background
_TOLD_FOR = 4.0  # seconds that a message stays
_PICTURE_SAMPLES = 8


def run(session: Session, size: tuple[int, int] = (1600, 900)) -> None:
    """Open a window on a session; returns when the person closes it.

    Parameters
    ----------
    session : Session
        Stays open; its state holds the last camera afterwards.
    size : (int, int)
        Wished width and height of the window, pixels.

    Raises
    ------
    NeuronautError
        If this machine cannot open a window; one line says why.
    """
    window = Window(size, f"{session.network.name} · Neuronaut")
    try:
        desktop = Desktop(session, window)
        try:
            desktop.run()
        finally:
            desktop.panel.close()
    finally:
        window.close()


class Desktop:
    """What a person does in the window, done to the session; what the session shows, drawn.

    Parameters
    ----------
    session : Session
    window : Window
        Not yet running.
    """

    def __init__(self, session: Session, window: Window) -> None:
        self.session, self.window, self.renderer = session, window, window.renderer
        self.panel = DesktopPanel(session, self.renderer)
        self.reading = DesktopReading(session)
        self._drawn = session.draw_list
        self.motion = DesktopMotion(window)
        self.detail = DesktopDetail(session, window, self.motion)
        self.scale = DesktopScale(session, window, self._take_colors)
        self._fit = Fit(window.renderer)
        self._polled = 0.0
        self._told_until = 0.0
        self._complaint = ""
        self._help = False
        self.actions = Actions(self)

    def run(self) -> None:
        """Show the picture and serve the person until the window closes."""
        self.renderer.draw(self._drawn)
        self.update_panel()
        self.renderer.camera = self.session.state.camera or self.view_of(None)
        self.window.run(
            Handlers(
                self._click,
                self._hover,
                self._leave,
                self._key,
                self._tick,
                Grips(self.panel, self.scale),
            )
        )
        self.session.camera = self.renderer.camera

    # -- what the person does ------------------------------------------------------------------

    def _click(self, x: float, y: float) -> None:
        self.motion.settle()
        self._clear_note()
        pick = self.renderer.pick(x, y)
        if pick.node is None:
            if pick.edge is not None:
                self.tell(self.session.describe_edge(pick.edge))
            else:
                self._deselect()
            return
        path = self._drawn.nodes[pick.node]
        if pick.frame_title:
            self.close(path, (x, y))
            return
        before = self.session.state.opened

        def target() -> Target:
            # A node that is only selected moves if the panel has come to lie upon it.
            moves = self.session.state.opened != before or x >= self.renderer.free_width
            return Held(path) if moves else None

        self.change(lambda: self.session.click(path), target)

    def _deselect(self) -> None:
        if self.session.state.selected is not None:
            self.change(lambda: self.session.select(None))

    def _hover(self, x: float, y: float) -> None:
        if self.motion.under_way or self._help or time.monotonic() < self._told_until:
            return
        if self.panel.hover(x, y):
            return
        pick = self.renderer.pick(x, y)
        if pick.node is not None:
            text = self.session.describe(self._drawn.nodes[pick.node])
        elif pick.edge is not None:
            text = self.session.describe_edge(pick.edge)
        else:
            text = self.scale.hint(x, y)
        if not text:
            return
        self._note(in_lines(text), (x, y))

    def _leave(self) -> None:
        if not self._help and time.monotonic() >= self._told_until:
            self._note(())

    def _key(self, name: str) -> None:
        action = self.actions.keys.get(name) or self.actions.keys.get(name.lower())
        if action is not None:
            self.motion.settle()
            try:
                action()
            except NeuronautError as error:
                self.tell(str(error))

    def escape(self) -> None:
        """Take back the last of help, message, focus and selection."""
        if self._help:
            self.toggle_help()
        else:
            self._clear_note()
            if self.session.state.focus is not None:
                self.change(lambda: self.session.set_focus(None))
            else:
                self._deselect()

    def update_panel(self) -> None:
        """Show in the panel what is selected."""
        try:
            if self.panel.update():
                self.window.redraw()
        except NeuronautError as error:
            self.tell(str(error))

    def toggle_help(self) -> None:
        """Show or hide the list of keys."""
        self._help = not self._help
        self._told_until = 0.0
        self._note(HELP if self._help else ())

    def close(self, path: str, pixel: tuple[float, float] | None = None) -> None:
        """Close a node; what it becomes comes to this pixel, or stays where the frame is."""

        def work() -> None:
            self.session.close(path)
            self.session.select(path)

        self.change(work, Held(path, pixel))

    # -- the picture ---------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if self.motion.under_way:
            self.motion.step(now)
        elif self._fit.due():
            self._take()  # the legend may have another height now
            self.renderer.camera = self.view_of(None)
        elif now - self._polled > _POLL_EVERY:
            self._polled = now
            self._poll()
        try:
            self.scale.tick()
            self._drawn = self.detail.tick(now, self._drawn) or self._drawn
        except NeuronautError as error:
            self.tell(str(error))
        camera = self.motion.rested(now)
        if camera is not None:
            self.session.camera = camera
        self.update_panel()
        if self._told_until and now >= self._told_until:
            self._clear_note()

    def _poll(self) -> None:
        """Show what background reading brought; a failure is told once."""
        try:
            if self.session.message:
                message, self.session.message = self.session.message, ""
                raise NeuronautError(message)
            if self.session.poll():
                self._take()
            if self.reading.news():
                self._note(())
        except NeuronautError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.tell(self._complaint)

    def change(
        self, work: Callable[[], object], target: Target | Callable[[], Target] = None
    ) -> None:
        """Change the session; the picture passes smoothly to what came of it.

        Parameters
        ----------
        work : callable ()
        target : Camera or Held or None, or callable () -> one of them
            Where the camera goes along; a callable is asked after the work is done.
        """
        before = self._drawn
        # Undo brings the camera back too; for the session it stands where it stands now.
        self.session.camera = self.renderer.camera
        try:
            work()
            after = self.session.draw_list
        except NeuronautError as error:
            self.tell(str(error))
            return
        self._drawn = after
        self.update_panel()
        to = target() if callable(target) else target
        way = self._way(before, after, to)
        if after is not before:
            self.motion.begin(way, Blend(before, after))
        elif way is not None:
            self.motion.begin(way)

    def _way(self, before: DrawList, after: DrawList, to: Target) -> Flight | None:
        camera = self.renderer.camera
        if isinstance(to, Held):
            screen = Screen(camera, self.renderer.scene_size)
            return held(screen, self.renderer.free_width, before, after, to)
        return straight(camera, to) if to is not None else None

    def _take(self) -> None:
        self._drawn = self.session.draw_list
        self.renderer.draw(self._drawn)
        self.window.redraw()

    def _take_colors(self) -> None:
        self.motion.settle()
        self._take()

    def view_of(self, path: str | None) -> Camera:
        """The camera that frames a node, or all, beside the panel."""
        (width, height), free = self.renderer.scene_size, self.renderer.free_width
        camera = self.session.camera_for(path, self.renderer.scene_aspect)
        # What is framed stands in the middle of what the panel leaves free.
        camera = shift(camera, (free - width) / 2 / height, 0.0)
        if path is None:
            self._fit.camera = camera
            self.session.framed(camera)
        return camera

    # -- messages ------------------------------------------------------------------------------

    def tell(self, message: str) -> None:
        """Show a message for some seconds."""
        self._help = False
        self._told_until = time.monotonic() + (_TOLD_FOR if message else 0.0)
        self._note(in_lines(message), (0.0, 0.0))

    def _clear_note(self) -> None:
        self._told_until = 0.0
        self._help = False
        self._note(())

    def _note(self, lines: tuple[str, ...], at: tuple[float, float] | None = None) -> None:
        if self.renderer.set_note(*self.reading.under(lines, at)):
            self.window.redraw()
