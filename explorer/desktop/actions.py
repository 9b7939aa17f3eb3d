"""What the window's keys do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PIL import Image

import layouts
from explorer.desktop.detail import DesktopDetail
from explorer.desktop.motion import DesktopMotion
from explorer.desktop.panel import DesktopPanel
from explorer.desktop.reading import DesktopReading
from explorer.desktop.scale import DesktopScale
from explorer.desktop.texts import following, save_unique, write_unique
from explorer.errors import NeuronautError
from explorer.overlays import KIND, overlays, unit_overlays
from explorer.panel.export import pieces, write_all
from explorer.renderer import Window
from explorer.session.flight import Held, straight
from explorer.session.opening import Opening
from explorer.session.pace import FULL
from explorer.session.session import Session
from explorer.viewing.view_state import SCALES, Camera, next_threshold

_PICTURE_SAMPLES = 8

#: Where the camera goes with a change: to a place, with a node, or nowhere.
Target = Camera | Held | None


class Stage(Protocol):
    """What the actions work on: the window and all that is in it."""

    session: Session
    window: Window
    panel: DesktopPanel
    reading: DesktopReading
    motion: DesktopMotion
    detail: DesktopDetail
    scale: DesktopScale

    def change(
        self, work: Callable[[], object], target: Target | Callable[[], Target] = None
    ) -> None:
        """Change the session; the picture passes smoothly to what came of it."""

    def close(self, path: str, pixel: tuple[float, float] | None = None) -> None:
        """Close a node."""

    def view_of(self, path: str | None) -> Camera:
        """The camera that frames a node, or all."""

    def tell(self, message: str) -> None:
        """Show a message for some seconds."""

    def update_panel(self) -> None:
        """Show in the panel what is selected."""

    def toggle_help(self) -> None:
        """Show or hide the list of keys."""

    def escape(self) -> None:
        """Take back the last of help, message, focus and selection."""


class Actions:
    """What the keys do.

    Parameters
    ----------
    stage : Stage
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, self._session = stage, stage.session
        self.keys: dict[str, Callable[[], None]] = {
            "r": self._see_all,
            "d": lambda: self._stage.tell(self._stage.detail.switch()),
            "f": self._fly_to_selected,
            "b": self._start_over,
            "z": lambda: self._travel(self._session.undo, "nothing to undo"),
            "Z": lambda: self._travel(self._session.redo, "nothing to redo"),
            "y": lambda: self._travel(self._session.redo, "nothing to redo"),
            "a": self._open_like,
            "c": lambda: self._open_to(0),
            "x": self._focus,
            "i": self._toggle_panel,
            "w": lambda: self._next_weight(1),
            "v": self._change_figure,
            "e": lambda: self._export("npy"),
            "E": lambda: self._export("csv"),
            "bracketright": lambda: self._next_weight(1),
            "bracketleft": lambda: self._next_weight(-1),
            "u": self._close_selected,
            "BackSpace": self._close_selected,
            "o": self._next_overlay,
            "n": self._next_units,
            "comma": lambda: self._step_threshold(False),
            "period": lambda: self._step_threshold(True),
            "l": self._next_layout,
            "k": self._next_scale,
            "m": lambda: self._stage.tell(self._stage.scale.toggle()),
            "t": self._switch_theme,
            "p": lambda: self._stage.tell(self._stage.reading.toggle()),
            "s": self._save,
            "h": stage.toggle_help,
            "question": stage.toggle_help,
            "q": stage.window.stop,
            "Escape": stage.escape,
        }
        for depth in range(10):
            work = lambda depth=depth: self._open_to(depth)  # noqa: E731
            self.keys[str(depth)] = self.keys[f"KP_{depth}"] = work

    def _toggle_panel(self) -> None:
        self._stage.panel.wanted = not self._stage.panel.wanted
        self._stage.update_panel()
        if self._session.state.selected is None:
            self._stage.tell(
                f"details of the selected node: {'on' if self._stage.panel.wanted else 'off'}"
            )

    def _export(self, kind: str) -> None:
        made = pieces(self._stage.panel.table(), kind)
        path = write_unique(f".{kind}", lambda file: write_all(made, file))
        self._stage.tell(f"saved {path}")

    def _change_figure(self) -> None:
        self._stage.tell(self._stage.panel.change_figure() or "no kernels in what is selected")

    def _next_weight(self, by: int) -> None:
        if self._stage.panel.step(by):
            self._stage.update_panel()
        else:
            self._stage.tell("no other weight in what is selected")

    def _selected(self) -> str:
        if self._session.state.selected is None:
            raise NeuronautError("nothing is selected: click a node first")
        return self._session.state.selected

    def _see_all(self) -> None:
        self._stage.change(self._session.close_automatic, lambda: self._stage.view_of(None))

    def _fly_to_selected(self) -> None:
        self._stage.motion.begin(
            straight(self._stage.window.renderer.camera, self._stage.view_of(self._selected()))
        )

    def _focus(self) -> None:
        state = self._session.state
        ends = state.focus is not None and state.selected in (None, state.focus)
        path = None if ends else self._selected()
        self._stage.change(lambda: self._session.set_focus(path))
        self._stage.tell("no focus" if path is None else "focus; Esc ends it")

    def _close_selected(self) -> None:
        path = self._session.state.selected
        while path is not None and path not in self._session.state.opened:
            path = self._session.around(path)
        if path is None:
            self._stage.tell("nothing to close: select a node inside an open frame")
        else:
            self._stage.close(path)

    def _open_like(self) -> None:
        path = self._selected()
        found: list[Opening] = []
        self._stage.change(lambda: found.append(self._session.open_like(path)), Held(path))
        self._tell_opening(found)

    def _open_to(self, depth: int) -> None:
        found: list[Opening] = []
        self._stage.change(
            lambda: found.append(self._session.open_to(depth)), lambda: self._stage.view_of(None)
        )
        self._tell_opening(found)

    def _tell_opening(self, found: list[Opening]) -> None:
        if found:
            self._stage.tell(found[0].message)

    def _start_over(self) -> None:
        self._stage.change(self._session.reset, lambda: self._stage.view_of(None))
        self._stage.tell("the first picture; z takes it back")

    def _travel(self, step: Callable[[], bool], nothing: str) -> None:
        """Undo or redo, the camera along with it."""
        done: list[bool] = []
        self._stage.change(
            lambda: done.append(step()),
            lambda: (self._session.camera or self._stage.view_of(None)) if done[0] else None,
        )
        if done == [False]:
            self._stage.tell(nothing)

    def _next_overlay(self) -> None:
        names = list(overlays(self._session.model.comparison is not None))
        name = following(names, self._session.state.overlay)
        self._stage.change(lambda: self._session.set_overlay(name))
        self._stage.tell(f"overlay: {name}")

    def _next_units(self) -> None:
        known = unit_overlays(self._session.model.comparison is not None)
        name = following([KIND, *known], self._session.state.units)
        self._stage.change(lambda: self._session.set_units(name))
        self._stage.tell(f"boxes: {name}" if known else "boxes show what changed")

    def _step_threshold(self, up: bool) -> None:
        threshold = next_threshold(self._session.state.threshold, up)
        self._stage.change(lambda: self._session.set_threshold(threshold))
        self._stage.tell(f"threshold of sparsity: |w| ≤ {threshold:g}")

    def _next_scale(self) -> None:
        name = following(list(SCALES), self._session.state.scale)
        self._stage.change(lambda: self._session.set_scale(name))
        self._stage.tell(f"scale: {name}")

    def _next_layout(self) -> None:
        name = following(list(layouts.layouts()), self._session.state.layout)
        self._stage.change(
            lambda: self._session.set_layout(name), lambda: self._stage.view_of(None)
        )
        self._stage.tell(f"layout: {name}")

    def _switch_theme(self) -> None:
        name = "light" if self._session.state.theme == "dark" else "dark"
        self._stage.change(lambda: self._session.set_theme(name))

    def _save(self) -> None:
        self._stage.window.renderer.set_note()
        self._stage.window.renderer.quality = FULL
        picture = Image.fromarray(self._stage.window.renderer.image(_PICTURE_SAMPLES))
        self._stage.tell(f"saved {save_unique(picture)}")
