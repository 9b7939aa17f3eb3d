"""The local window: a session and a renderer joined by mouse and keys."""

from __future__ import annotations

import time
from collections.abc import Callable

from PIL import Image

import layouts
from explorer.desktop.detail import DesktopDetail
from explorer.desktop.fit import Fit
from explorer.desktop.motion import DesktopMotion
from explorer.desktop.panel import DesktopPanel
from explorer.desktop.reading import DesktopReading
from explorer.desktop.texts import HELP, following, in_lines, save_unique
from explorer.drawing.animation import Blend
from explorer.drawing.draw_list import DrawList
from explorer.errors import NeuronautError
from explorer.overlays import overlays
from explorer.renderer import Handlers, Window
from explorer.session.flight import Flight, Held, held, straight
from explorer.session.opening import Opening
from explorer.session.pace import FULL
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import shift
from explorer.viewing.view_state import Camera

_POLL_EVERY = 0.15  # seconds between two looks for weights read in the background
_TOLD_FOR = 4.0  # seconds that a message stays
_PICTURE_SAMPLES = 8

#: Where the camera goes with a change: to a place, with a node, or nowhere.
Target = Camera | Held | None


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
        self._fit = Fit(window.renderer)
        self._polled = 0.0
        self._told_until = 0.0
        self._complaint = ""
        self._help = False
        self._keys: dict[str, Callable[[], None]] = {
            "r": self._see_all,
            "d": lambda: self._tell(self.detail.switch()),
            "f": self._fly_to_selected,
            "b": self._start_over,
            "z": lambda: self._travel(self.session.undo, "nothing to undo"),
            "Z": lambda: self._travel(self.session.redo, "nothing to redo"),
            "y": lambda: self._travel(self.session.redo, "nothing to redo"),
            "a": self._open_like,
            "c": lambda: self._open_to(0),
            "x": self._focus,
            "i": self._toggle_panel,
            "w": lambda: self._next_weight(1),
            "bracketright": lambda: self._next_weight(1),
            "bracketleft": lambda: self._next_weight(-1),
            "u": self._close_selected,
            "BackSpace": self._close_selected,
            "o": self._next_overlay,
            "l": self._next_layout,
            "t": self._switch_theme,
            "p": lambda: self._tell(self.reading.toggle()),
            "s": self._save,
            "h": self._toggle_help,
            "question": self._toggle_help,
            "q": window.stop,
            "Escape": self._escape,
        }
        for depth in range(10):
            work = lambda depth=depth: self._open_to(depth)  # noqa: E731
            self._keys[str(depth)] = self._keys[f"KP_{depth}"] = work

    def run(self) -> None:
        """Show the picture and serve the person until the window closes."""
        self.renderer.draw(self._drawn)
        self._update_panel()
        self.renderer.camera = self.session.state.camera or self._view_of(None)
        self.window.run(Handlers(self._click, self._hover, self._leave, self._key, self._tick))
        self.session.camera = self.renderer.camera

    # -- what the person does ------------------------------------------------------------------

    def _click(self, x: float, y: float) -> None:
        self.motion.settle()
        self._clear_note()
        pick = self.renderer.pick(x, y)
        if pick.node is None:
            if pick.edge is not None:
                self._tell(self.session.describe_edge(pick.edge))
            else:
                self._deselect()
            return
        path = self._drawn.nodes[pick.node]
        if pick.frame_title:
            self._close(path, (x, y))
            return
        before = self.session.state.opened

        def target() -> Target:
            # A node that is only selected moves if the panel has come to lie upon it.
            moves = self.session.state.opened != before or x >= self.renderer.free_width
            return Held(path) if moves else None

        self._change(lambda: self.session.click(path), target)

    def _deselect(self) -> None:
        if self.session.state.selected is not None:
            self._change(lambda: self.session.select(None))

    def _hover(self, x: float, y: float) -> None:
        if self.motion.under_way or self._help or time.monotonic() < self._told_until:
            return
        pick = self.renderer.pick(x, y)
        if pick.node is not None:
            text = self.session.describe(self._drawn.nodes[pick.node])
        elif pick.edge is not None:
            text = self.session.describe_edge(pick.edge)
        else:
            return
        self._note(in_lines(text), (x, y))

    def _leave(self) -> None:
        if not self._help and time.monotonic() >= self._told_until:
            self._note(())

    def _key(self, name: str) -> None:
        action = self._keys.get(name) or self._keys.get(name.lower())
        if action is not None:
            self.motion.settle()
            try:
                action()
            except NeuronautError as error:
                self._tell(str(error))

    def _escape(self) -> None:
        if self._help:
            self._toggle_help()
        else:
            self._clear_note()
            if self.session.state.focus is not None:
                self._change(lambda: self.session.set_focus(None))
            else:
                self._deselect()

    def _toggle_panel(self) -> None:
        self.panel.wanted = not self.panel.wanted
        self._update_panel()
        if self.session.state.selected is None:
            self._tell(f"details of the selected node: {'on' if self.panel.wanted else 'off'}")

    def _next_weight(self, by: int) -> None:
        if self.panel.step(by):
            self._update_panel()
        else:
            self._tell("no other weight in what is selected")

    def _update_panel(self) -> None:
        try:
            if self.panel.update():
                self.window.redraw()
        except NeuronautError as error:
            self._tell(str(error))

    def _toggle_help(self) -> None:
        self._help = not self._help
        self._told_until = 0.0
        self._note(HELP if self._help else ())

    def _selected(self) -> str:
        if self.session.state.selected is None:
            raise NeuronautError("nothing is selected: click a node first")
        return self.session.state.selected

    def _see_all(self) -> None:
        self._change(self.session.close_automatic, lambda: self._view_of(None))

    def _fly_to_selected(self) -> None:
        self.motion.begin(straight(self.renderer.camera, self._view_of(self._selected())))

    def _focus(self) -> None:
        state = self.session.state
        ends = state.focus is not None and state.selected in (None, state.focus)
        path = None if ends else self._selected()
        self._change(lambda: self.session.set_focus(path))
        self._tell("no focus" if path is None else "focus; Esc ends it")

    def _close_selected(self) -> None:
        path = self.session.state.selected
        while path is not None and path not in self.session.state.opened:
            path = self.session.around(path)
        if path is None:
            self._tell("nothing to close: select a node inside an open frame")
        else:
            self._close(path)

    def _close(self, path: str, pixel: tuple[float, float] | None = None) -> None:
        """Close a node; what it becomes comes to this pixel, or stays where the frame is."""

        def work() -> None:
            self.session.close(path)
            self.session.select(path)

        self._change(work, Held(path, pixel))

    def _open_like(self) -> None:
        path = self._selected()
        found: list[Opening] = []
        self._change(lambda: found.append(self.session.open_like(path)), Held(path))
        self._tell_opening(found)

    def _open_to(self, depth: int) -> None:
        found: list[Opening] = []
        self._change(lambda: found.append(self.session.open_to(depth)), lambda: self._view_of(None))
        self._tell_opening(found)

    def _tell_opening(self, found: list[Opening]) -> None:
        if found:
            self._tell(found[0].message)

    def _start_over(self) -> None:
        self._change(self.session.reset, lambda: self._view_of(None))
        self._tell("the first picture; z takes it back")

    def _travel(self, step: Callable[[], bool], nothing: str) -> None:
        """Undo or redo, the camera along with it."""
        done: list[bool] = []
        self._change(
            lambda: done.append(step()),
            lambda: (self.session.camera or self._view_of(None)) if done[0] else None,
        )
        if done == [False]:
            self._tell(nothing)

    def _next_overlay(self) -> None:
        names = list(overlays(self.session.model.comparison is not None))
        name = following(names, self.session.state.overlay)
        self._change(lambda: self.session.set_overlay(name))
        self._tell(f"overlay: {name}")

    def _next_layout(self) -> None:
        name = following(list(layouts.layouts()), self.session.state.layout)
        self._change(lambda: self.session.set_layout(name), lambda: self._view_of(None))
        self._tell(f"layout: {name}")

    def _switch_theme(self) -> None:
        name = "light" if self.session.state.theme == "dark" else "dark"
        self._change(lambda: self.session.set_theme(name))

    def _save(self) -> None:
        self.renderer.set_note()
        self.renderer.quality = FULL
        picture = Image.fromarray(self.renderer.image(_PICTURE_SAMPLES))
        self._tell(f"saved {save_unique(picture)}")

    # -- the picture ---------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if self.motion.under_way:
            self.motion.step(now)
        elif self._fit.due():
            self._take()  # the legend may have another height now
            self.renderer.camera = self._view_of(None)
        elif now - self._polled > _POLL_EVERY:
            self._polled = now
            self._poll()
        try:
            self._drawn = self.detail.tick(now, self._drawn) or self._drawn
        except NeuronautError as error:
            self._tell(str(error))
        camera = self.motion.rested(now)
        if camera is not None:
            self.session.camera = camera
        self._update_panel()
        if self._told_until and now >= self._told_until:
            self._clear_note()

    def _poll(self) -> None:
        """Show what background reading brought; a failure is told once."""
        try:
            if self.session.poll():
                self._take()
            if self.reading.news():
                self._note(())
        except NeuronautError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._tell(self._complaint)

    def _change(
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
            self._tell(str(error))
            return
        self._drawn = after
        self._update_panel()
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

    def _view_of(self, path: str | None) -> Camera:
        (width, height), free = self.renderer.scene_size, self.renderer.free_width
        camera = self.session.camera_for(path, self.renderer.scene_aspect)
        # What is framed stands in the middle of what the panel leaves free.
        camera = shift(camera, (free - width) / 2 / height, 0.0)
        if path is None:
            self._fit.camera = camera
            self.session.framed(camera)
        return camera

    # -- messages ------------------------------------------------------------------------------

    def _tell(self, message: str) -> None:
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
