"""The local window: a session and a renderer joined by mouse and keys."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image

import layouts
from explorer import lod
from explorer.animation import Blend
from explorer.desktop_panel import DesktopPanel
from explorer.errors import NeuronautError
from explorer.orbit import shift
from explorer.overlays import overlays
from explorer.renderer import Handlers, Window
from explorer.session import Session
from explorer.view_state import Camera, ease, interpolate

HELP = (
    "Keys and mouse",
    "click a node\topen it",
    "click a frame's title\tclose it",
    "left drag\tturn",
    "right drag\tshift",
    "wheel\tzoom towards the pointer",
    "",
    "r\tsee everything",
    "f\tfly to the selected node",
    "i\tshow or hide the details of the selected node",
    "w, [ ]\tits next weight, the one before, the one after",
    "Esc\tselect nothing",
    "u, ⌫\tclose the selected node, or what is around it",
    "o, l\tnext overlay, next layout",
    "t\tdark or light",
    "s\tsave a picture",
    "h, ?\tthis help",
    "q\tquit",
)

_MOVE_TIME = 0.3  # seconds that a change of the picture takes
_POLL_EVERY = 0.15  # seconds between two looks for weights read in the background
_TOLD_FOR = 4.0  # seconds that a message stays
_PICTURE_SAMPLES = 8
_TIP_WIDTH = 64


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
        self._drawn = session.draw_list
        self._motion: Callable[[float], None] | None = None
        self._moving_since = 0.0
        self._polled = 0.0
        self._told_until = 0.0
        self._complaint = ""
        self._help = False
        self._keys: dict[str, Callable[[], None]] = {
            "r": lambda: self._move(self._view_of(None)),
            "f": self._focus,
            "i": self._toggle_panel,
            "w": lambda: self._next_weight(1),
            "bracketright": lambda: self._next_weight(1),
            "bracketleft": lambda: self._next_weight(-1),
            "u": self._close_selected,
            "BackSpace": self._close_selected,
            "o": self._next_overlay,
            "l": self._next_layout,
            "t": self._switch_theme,
            "s": self._save,
            "h": self._toggle_help,
            "question": self._toggle_help,
            "q": window.stop,
            "Escape": self._escape,
        }

    def run(self) -> None:
        """Show the picture and serve the person until the window closes."""
        self.renderer.draw(self._drawn)
        self._update_panel()
        self.renderer.camera = self.session.state.camera or self._view_of(None)
        self.window.run(Handlers(self._click, self._hover, self._leave, self._key, self._tick))
        self.session.state = replace(self.session.state, camera=self.renderer.camera)

    # -- what the person does ------------------------------------------------------------------

    def _click(self, x: float, y: float) -> None:
        self._settle()
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
            self._close(path)
            return
        before = self.session.state.opened
        self._change(lambda: self.session.click(path))
        # What the panel has come to lie upon is brought out from under it.
        if self.session.state.opened != before or x >= self.renderer.free_width:
            self._move(self._view_of(path))

    def _deselect(self) -> None:
        if self.session.state.selected is not None:
            self._change(lambda: self.session.select(None))

    def _hover(self, x: float, y: float) -> None:
        if self._motion is not None or self._help or time.monotonic() < self._told_until:
            return
        pick = self.renderer.pick(x, y)
        if pick.node is not None:
            text = self.session.describe(self._drawn.nodes[pick.node])
        elif pick.edge is not None:
            text = self.session.describe_edge(pick.edge)
        else:
            return
        self._note(_lines(text), (x, y))

    def _leave(self) -> None:
        if not self._help and time.monotonic() >= self._told_until:
            self._note(())

    def _key(self, name: str) -> None:
        action = self._keys.get(name if len(name) > 1 else name.lower())
        if action is not None:
            self._settle()
            try:
                action()
            except NeuronautError as error:
                self._tell(str(error))

    def _escape(self) -> None:
        if self._help:
            self._toggle_help()
        else:
            self._clear_note()
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

    def _focus(self) -> None:
        selected = self.session.state.selected
        if selected is None:
            self._tell("nothing is selected: click a node first")
        else:
            self._move(self._view_of(selected))

    def _close_selected(self) -> None:
        path = self.session.state.selected
        while path is not None and path not in self.session.state.opened:
            path = self._around(path)
        if path is None:
            self._tell("nothing to close: select a node inside an open frame")
        else:
            self._close(path)

    def _close(self, path: str) -> None:
        def work() -> None:
            self.session.close(path)
            self.session.select(path)

        self._change(work)
        self._move(self._view_of(self._around(path)))

    def _next_overlay(self) -> None:
        names = list(overlays())
        name = _following(names, self.session.state.overlay)
        self._change(lambda: self.session.set_overlay(name))
        self._tell(f"overlay: {name}")

    def _next_layout(self) -> None:
        name = _following(list(layouts.layouts()), self.session.state.layout)
        self._change(lambda: self.session.set_layout(name))
        self._move(self._view_of(None))
        self._tell(f"layout: {name}")

    def _switch_theme(self) -> None:
        name = "light" if self.session.state.theme == "dark" else "dark"
        self._change(lambda: self.session.set_theme(name))

    def _save(self) -> None:
        self._clear_note()
        self.renderer.set_note()
        picture = Image.fromarray(self.renderer.image(_PICTURE_SAMPLES))
        self._tell(f"saved {save_unique(picture)}")

    # -- the picture ---------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if self._motion is not None:
            share = (now - self._moving_since) / _MOVE_TIME
            self._motion(min(share, 1.0))
            if share >= 1.0:
                self._motion = None
            self.window.redraw()
        elif now - self._polled > _POLL_EVERY:
            self._polled = now
            self._poll()
        self._update_panel()
        if self._told_until and now >= self._told_until:
            self._clear_note()

    def _poll(self) -> None:
        """Show what background reading brought; a failure is told once."""
        try:
            if self.session.poll():
                self._take()
        except NeuronautError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._tell(self._complaint)

    def _change(self, work: Callable[[], object]) -> None:
        """Change the session; the picture passes smoothly to what came of it."""
        before = self._drawn
        try:
            work()
            after = self.session.draw_list
        except NeuronautError as error:
            self._tell(str(error))
            return
        self._drawn = after
        self._update_panel()
        if after is before:
            return
        blend = Blend(before, after)

        def show(share: float) -> None:
            self.renderer.draw(blend.at(ease(share)))

        self._begin(show)

    def _move(self, camera: Camera) -> None:
        """Fly to a camera, together with a change that is under way."""
        before, change = self.renderer.camera, self._motion

        def fly(share: float) -> None:
            if change is not None:
                change(share)
            self.renderer.camera = interpolate(before, camera, ease(share))

        self._begin(fly)

    def _begin(self, motion: Callable[[float], None]) -> None:
        self._motion, self._moving_since = motion, time.monotonic()
        self.window.redraw()

    def _settle(self) -> None:
        """End a move under way, at its end."""
        if self._motion is not None:
            self._motion(1.0)
            self._motion = None
            self.window.redraw()

    def _take(self) -> None:
        self._drawn = self.session.draw_list
        self.renderer.draw(self._drawn)
        self.window.redraw()

    def _view_of(self, path: str | None) -> Camera:
        (width, height), free = self.renderer.scene_size, self.renderer.free_width
        camera = self.session.camera_for(path, self.renderer.scene_aspect)
        # What is framed stands in the middle of what the panel leaves free.
        return shift(camera, (free - width) / 2 / height, 0.0)

    def _around(self, path: str) -> str | None:
        """The open node around a node, or ``None`` for one that stands at the top."""
        model = self.session.model
        outer = lod.opening(model.hierarchy, model.units_of, path)
        opened = [p for p in outer if p in self.session.state.opened]
        return opened[-1] if opened else None

    # -- messages ------------------------------------------------------------------------------

    def _tell(self, message: str) -> None:
        self._help = False
        self._told_until = time.monotonic() + _TOLD_FOR
        self._note(_lines(message), (0.0, 0.0))

    def _clear_note(self) -> None:
        self._told_until = 0.0
        self._help = False
        self._note(())

    def _note(self, lines: tuple[str, ...], at: tuple[float, float] | None = None) -> None:
        if self.renderer.set_note(lines, at):
            self.window.redraw()


def _lines(text: str) -> tuple[str, ...]:
    """A description in lines that a tooltip can hold."""
    parts = [part for line in text.splitlines() for part in line.split(" · ")]
    return tuple(piece for part in parts for piece in textwrap.wrap(part, _TIP_WIDTH))


def _following(names: list[str], now: str) -> str:
    return names[(names.index(now) + 1) % len(names)] if now in names else names[0]


def save_unique(picture: Image.Image, folder: Path | None = None) -> Path:
    """Write a picture as neuronaut.png, or neuronaut-1.png, -2 … where that is taken.

    Parameters
    ----------
    picture : PIL.Image.Image
    folder : Path, optional
        The working directory without it.

    Returns
    -------
    Path
        Of the new file. No file that exists is ever touched.

    Raises
    ------
    NeuronautError
        If the folder cannot be written to.
    """
    for number in itertools.count():
        path = (folder or Path()) / f"neuronaut{f'-{number}' if number else ''}.png"
        try:
            with path.open("xb") as file:
                picture.save(file, format="PNG")
            return path
        except FileExistsError:
            continue
        except OSError as error:
            reason = error.strerror or str(error)
            raise NeuronautError(f"{path}: cannot be written: {reason}") from None
    raise AssertionError("unreachable")
