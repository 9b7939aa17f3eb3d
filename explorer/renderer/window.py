"""A window on the screen: events of mouse and keyboard in, camera moves and calls out."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from explorer.renderer.view import Renderer
from explorer.session.pace import FULL, Pace
from explorer.viewing.dolly import dolly, kept
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import shift, turn

CLICK_SLACK_PX = 4  # a press that moves less than this before its release is a click
_TICK_MS = 15
_STILL_AFTER = 0.2  # seconds without a change until the smooth picture is drawn
_SMOOTH = 4  # samples per pixel of the smooth picture
_HOVER_REST = 0.07  # seconds that the pointer rests before it asks what lies under it
_NOTCH = 1.2  # zoom factor of a notch of the wheel
_BUTTONS = {"Left": "turn", "Middle": "shift", "Right": "shift"}


class Grip(Protocol):
    """What can be taken hold of beside the scene."""

    def press(self, x: float, y: float) -> bool:
        """A press of the left button; whether a drag begins with it."""

    def drag(self, x: float, y: float) -> None:
        """The pointer is here, in that drag."""

    def release(self) -> None:
        """That drag is over."""

    def wheel(self, x: float, y: float, factor: float) -> bool:
        """The wheel turns; whether something comes nearer by it."""


@dataclass
class Handlers:
    """What to do when something happens in a window; x, y are pixels from the top left.

    Attributes
    ----------
    click, hover : callable (x, y)
        A press and release without a drag; a rest of the pointer.
    leave : callable ()
        The pointer moves on, or a drag begins.
    key : callable (name)
        A key, by its X name: ``"r"``, ``"Escape"``, ``"question"``.
    tick : callable ()
        About sixty times a second, between events.
    grip : Grip, optional
    """

    click: Callable[[float, float], None]
    hover: Callable[[float, float], None]
    leave: Callable[[], None]
    key: Callable[[str], None]
    tick: Callable[[], None]
    grip: Grip | None = None


class Window:
    """A renderer in a window of this machine's screen.

    Left drag turns, right or middle drag (or with shift) shifts, the wheel zooms towards the
    pointer. The picture is drawn at most once per tick, rough while things move and smooth at rest;
    where frames would take too long, what moves is drawn with less in it.

    Parameters
    ----------
    size : (int, int)
        Wished width and height in pixels; a smaller screen gives less.
    title : str

    Raises
    ------
    NeuronautError
        If there is no display, or a library is missing.
    """

    def __init__(self, size: tuple[int, int], title: str) -> None:
        self.renderer = Renderer(size, off_screen=False, multi_samples=0)
        window = self.renderer.render_window
        width, height = window.GetScreenSize()
        if 0 < width < size[0] or 0 < height < size[1]:
            self.renderer.resize(min(size[0], width), min(size[1], height))
        window.SetWindowName(title)
        self._interactor = self.renderer.interactor
        self._interactor.SetInteractorStyle(None)  # type: ignore[arg-type]
        self._handlers: Handlers | None = None
        self._error: BaseException | None = None
        self._drag: str | None = None
        self._gripped: Grip | None = None
        self._start = self._last = (0.0, 0.0)
        self._dragging = False
        self._hover_at: tuple[float, tuple[float, float]] | None = None
        self._changed_at = 0.0
        self._dirty = self._rough = True
        self._moving = False
        self._drawn_size = self.renderer.size
        #: What is drawn while things move, from how long frames take.
        self.pace = Pace()
        #: Pixel that a person looks at: where the wheel turned last; ``None`` after a drag.
        self.looked_at: tuple[float, float] | None = None

    @property
    def drags(self) -> bool:
        """Whether a drag is under way."""
        return self._drag is not None and self._dragging

    def redraw(self, moving: bool = False) -> None:
        """Draw the picture anew at the next tick.

        Parameters
        ----------
        moving : bool
            Whether it is one of many: then less is drawn where it would take too long.
        """
        self._dirty = True
        self._moving = self._moving or moving

    def run(self, handlers: Handlers) -> None:
        """Show the window and serve its events until it is closed.

        What a handler raises ends the loop and is raised from here.
        """
        self._handlers = handlers
        events: dict[str, Callable[[], None]] = {
            "MouseMoveEvent": self._moved,
            "MouseWheelForwardEvent": lambda: self._zoomed(_NOTCH),
            "MouseWheelBackwardEvent": lambda: self._zoomed(1 / _NOTCH),
            "LeaveEvent": self._left,
            "KeyPressEvent": lambda: handlers.key(self._interactor.GetKeySym() or ""),
            "TimerEvent": self._ticked,
        }
        for button in _BUTTONS:
            events[f"{button}ButtonPressEvent"] = lambda b=button: self._pressed(b)  # type: ignore[misc]
            events[f"{button}ButtonReleaseEvent"] = lambda b=button: self._released(b)  # type: ignore[misc]
        for name, action in events.items():
            self._interactor.AddObserver(name, self._guarded(action))
        self._interactor.Initialize()
        self._interactor.CreateRepeatingTimer(_TICK_MS)
        with self._interruptible():
            self._interactor.Start()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End `run`."""
        self._interactor.TerminateApp()

    def close(self) -> None:
        """Take the window away."""
        self.renderer.close()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end the loop; an exception raised inside VTK would end the whole process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            self._error = KeyboardInterrupt()
            self.stop()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _guarded(self, action: Callable[[], None]) -> Callable[..., None]:
        # VTK prints what an observer raises and goes on; a fault must end the loop.
        def call(*_: object) -> None:
            if self._error is not None:
                return
            try:
                action()
            except BaseException as error:
                self._error = error
                self.stop()

        return call

    @property
    def _here(self) -> tuple[float, float]:
        x, y = self._interactor.GetEventPosition()
        return (float(x), float(self.renderer.size[1] - 1 - y))

    @property
    def _screen(self) -> Screen:
        """What is seen, and what the panel leaves free of it."""
        renderer = self.renderer
        return Screen(renderer.camera, renderer.scene_size, free=float(renderer.free_width))

    @property
    def _beside_scene(self) -> bool:
        """Whether the pointer is on the panel or on the legend."""
        x, y = self._here
        return x >= self.renderer.free_width or y >= self.renderer.scene_size[1]

    def _pressed(self, button: str) -> None:
        if self._drag is not None or self._gripped is not None:
            return
        if self._beside_scene:
            grip = self._handlers.grip if self._handlers is not None else None
            if button == "Left" and grip is not None and grip.press(*self._here):
                self._gripped = grip
                self._left()
            return
        shift = bool(self._interactor.GetShiftKey())
        self._drag = "shift" if shift else _BUTTONS[button]
        self._start = self._last = self._here
        self._dragging = False

    def _released(self, button: str) -> None:
        grip, self._gripped = self._gripped, None
        if grip is not None:
            grip.release()
            return
        was_click = self._drag is not None and not self._dragging
        self._drag = None
        if was_click and button == "Left" and self._handlers is not None:
            self._handlers.click(*self._here)

    def _moved(self) -> None:
        assert self._handlers is not None
        here = self._here
        if self._gripped is not None:
            self._gripped.drag(*here)
            return
        if self._drag is None:
            self._handlers.leave()
            self._hover_at = (time.monotonic() + _HOVER_REST, here)
            return
        if (
            not self._dragging
            and max(abs(a - b) for a, b in zip(here, self._start, strict=True)) < CLICK_SLACK_PX
        ):
            return
        if not self._dragging:
            self._dragging = True
            self._left()
        height = self.renderer.scene_size[1]
        across, down = ((a - b) / height for a, b in zip(here, self._last, strict=True))
        self._last = here
        camera = self.renderer.camera
        if self._drag == "turn":
            self.renderer.camera = turn(camera, across, down)
        else:
            moved = shift(camera, across, down)
            self.renderer.camera = kept(self._screen, moved, *self.renderer.boxes)
        self.looked_at = None
        self.redraw(moving=True)

    def _zoomed(self, factor: float) -> None:
        if self._beside_scene:
            grip = self._handlers.grip if self._handlers is not None else None
            if grip is not None and grip.wheel(*self._here, factor):
                self._left()
            return
        screen = replace(self._screen, focus=self._here)
        self.renderer.camera = dolly(screen, *self.renderer.boxes, factor)
        self.looked_at = self._here
        self._left()
        self.redraw(moving=True)

    def _left(self) -> None:
        self._hover_at = None
        if self._handlers is not None:
            self._handlers.leave()

    def _ticked(self) -> None:
        assert self._handlers is not None
        now = time.monotonic()
        self._handlers.tick()
        if self._hover_at is not None and now >= self._hover_at[0]:
            at = self._hover_at[1]
            self._hover_at = None
            self._handlers.hover(*at)
        if self.renderer.size != self._drawn_size:
            self._drawn_size = self.renderer.size
            self._dirty = True
        if self._dirty:
            self._dirty, self._rough, self._changed_at = False, True, now
            self._draw_rough()
        elif self._rough and now - self._changed_at > _STILL_AFTER and self._drag is None:
            self._rough = False
            self.renderer.multi_samples, self.renderer.quality = _SMOOTH, FULL
            self.renderer.render()

    def _draw_rough(self) -> None:
        moving, self._moving = self._moving, False
        self.renderer.multi_samples = 0
        self.renderer.quality = self.pace.quality if moving else FULL
        self.renderer.render()
        if moving:
            self.pace.feed(self.renderer.times.whole, self.renderer.times.drawing)
