"""All that changes a view, with undo and redo; how it is drawn is no matter here."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import replace

from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.session import opening
from explorer.session.opening import Opening
from explorer.tree import lod
from explorer.viewing.history import History
from explorer.viewing.view_state import Camera, ViewState, checked_range


class Changes(ABC):
    """The view of a model, and what a person may do to it.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self.model = model
        self.state = ViewState()
        self._lock = threading.RLock()
        self._history: History[ViewState] = History()
        self._gesture: object = None

    @abstractmethod
    def _show(self, state: ViewState) -> None:
        """Take over a state and draw it; raise, and leave all as it was, if that cannot be."""

    @abstractmethod
    def row_of(self, path: str) -> int | None:
        """Row of a node in the current cut, or ``None`` when it is not visible."""

    @property
    def first_opened(self) -> frozenset[str]:
        """What is open in the first picture."""
        return lod.first_cut(self.model.hierarchy)

    def update(self, state: ViewState, *, remember: bool = True, gesture: object = None) -> None:
        """Take over a whole view state.

        Parameters
        ----------
        state : ViewState
        remember : bool
            Whether `undo` may bring back what was; a change of the selection or the camera alone
            is never remembered.
        gesture : object, optional
            Changes one after another with an equal mark are steps of one: `undo` takes back all.

        Raises
        ------
        UnknownNameError
            If its layout or overlay does not exist; the view is left as it was.
        """
        with self._lock:
            before = self.state
            self._show(state)
            if remember and _told(state) != _told(before):
                if gesture is None or gesture != self._gesture:
                    self._history.record(before)
                self._gesture = gesture

    @property
    def camera(self) -> Camera | None:
        """Where the viewer stands, as far as the session has been told.

        Set by what shows the session, before each change: `undo` brings it back with the view.
        """
        return self.state.camera

    @camera.setter
    def camera(self, camera: Camera | None) -> None:
        with self._lock:
            self.state = replace(self.state, camera=camera)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return self._history.previous is not None

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return self._history.following is not None

    def undo(self) -> bool:
        """Take back the last change of the view; whether there was one.

        What is open, the focus, overlay, layout, theme, selection and camera are as before it.
        """
        with self._lock:
            now, previous = self.state, self._history.previous
            if previous is None:
                return False
            self._show(replace(previous, detail=now.detail))
            self._gesture = None
            self._history.undo(now)
            return True

    def redo(self) -> bool:
        """Make the change again that was last taken back; whether there was one."""
        with self._lock:
            now, following = self.state, self._history.following
            if following is None:
                return False
            self._show(replace(following, detail=now.detail))
            self._gesture = None
            self._history.redo(now)
            return True

    def resolve(self, name: str) -> str:
        """The path of the node a person means; see `explorer.tree.lod.resolve`."""
        return lod.resolve(self.model.hierarchy, self.model.units_of, name)

    def open(self, name: str) -> str:
        """Open a node and everything around it; returns its path.

        Raises
        ------
        UnknownNameError
            If there is no such node.
        """
        path = self.resolve(name)
        outer = lod.opening(self.model.hierarchy, self.model.units_of, path)
        self.update(replace(self.state, opened=self.state.opened | {*outer, path}))
        return path

    def reveal(self, name: str) -> str:
        """Open what is around a node, so that it is visible, and select it; returns its path."""
        path = self.resolve(name)
        outer = lod.opening(self.model.hierarchy, self.model.units_of, path)
        opened = self.state.opened | set(outer)
        self.update(replace(self.state, opened=opened, selected=path))
        return path

    def close(self, name: str) -> str:
        """Close a node; what is open inside comes back when it is opened again."""
        path = self.resolve(name)
        self.update(self.state.close(path))
        return path

    def select(self, name: str | None) -> None:
        """Select a node, or nothing."""
        self.update(self.state.select(self.resolve(name) if name is not None else None))

    def click(self, path: str) -> None:
        """What a click on a node does: opens a closed one, closes an open one, selects it."""
        path = self.resolve(path)
        if path in self.state.opened and self.row_of(path) is not None:
            self.update(self.state.close(path).select(path))
        elif self.can_open(path):
            self.update(self.state.open(path).select(path))
        else:
            self.update(self.state.select(path))

    def set_overlay(self, name: str) -> None:
        """Colour edges by another number; a range of the old numbers is dropped."""
        self.update(self.state.colored_by(name))

    def set_scale(self, name: str) -> None:
        """Turn numbers into colours ``"linear"``, by ``"log"``, by ``"rank"`` or ``"automatic"``.

        Raises
        ------
        NeuronautError
            If there is no such scale.
        """
        self.update(replace(self.state, scale=name))

    def set_range(self, ends: tuple[float, float] | None, *, gesture: object = None) -> None:
        """Lay the colour scale on a range of magnitudes; what lies beyond has its ends' colours.

        Parameters
        ----------
        ends : (float, float) or None
            Low and high; ``None`` fits the scale to what is drawn.
        gesture : object, optional
            A mark of the drag that this is a step of, as for `update`.

        Raises
        ------
        NeuronautError
            If it is no range.
        """
        ends = None if ends is None else checked_range(ends)
        self.update(replace(self.state, range=ends), gesture=gesture)

    def set_units(self, name: str) -> None:
        """Colour boxes by another number of their units, or by ``"kind"`` of layer."""
        self.update(replace(self.state, units=name))

    def set_threshold(self, threshold: float) -> None:
        """Count weights as near zero up to another |w|.

        Raises
        ------
        NeuronautError
            If it is negative, or no number.
        """
        self.update(replace(self.state, threshold=threshold))

    def set_layout(self, name: str) -> None:
        """Place nodes in another way."""
        self.update(replace(self.state, layout=name))

    def set_theme(self, name: str) -> None:
        """Switch between ``"dark"`` and ``"light"``."""
        if name not in ("dark", "light"):
            raise NeuronautError(f"no theme called {name!r}; there are dark and light")
        self.update(replace(self.state, theme=name))

    def set_detail(self, name: str) -> None:
        """Let nodes open and close as the camera moves, ``"automatic"``, or not: ``"manual"``.

        The picture stays as it is, and `undo` does not switch back.
        """
        with self._lock:
            self.state = replace(self.state, detail=name)

    def set_focus(self, name: str | None) -> None:
        """Let all fade but a node and its neighbours, or nothing.

        Raises
        ------
        UnknownNameError
            If there is no such node.
        """
        path = self.resolve(name) if name is not None else None
        self.update(replace(self.state, focus=path))

    def reset(self) -> None:
        """Start over: the first picture, seen as a whole; overlay, layout and theme stay."""
        first = self.first_opened
        self.update(replace(self.state, opened=first, selected=None, camera=None, focus=None))

    # -- opening many nodes at once ----------------------------------------------------------

    def open_all(self, kind: str, budget: int = opening.BUDGET) -> Opening:
        """Open all nodes of a kind; see `explorer.session.opening.open_all`."""
        model = self.model
        opened = self.state.opened
        return self._opened(opening.open_all(model.hierarchy, model.units_of, opened, kind, budget))

    def open_like(self, name: str, budget: int = opening.BUDGET) -> Opening:
        """Open all nodes like this one; see `explorer.session.opening.open_like`."""
        model, opened = self.model, self.state.opened
        path = self.resolve(name)
        return self._opened(
            opening.open_like(model.hierarchy, model.units_of, opened, path, budget)
        )

    def open_to(self, depth: int, budget: int = opening.BUDGET) -> Opening:
        """Open all groups down to a depth and close the rest; 0 closes all.

        See `explorer.session.opening.open_to_depth`.
        """
        return self._opened(opening.open_to_depth(self.model.hierarchy, depth, budget))

    def close_all(self) -> None:
        """Close everything: only what stands at the top shows."""
        self.update(replace(self.state, opened=frozenset()))

    def _opened(self, found: Opening) -> Opening:
        self.update(replace(self.state, opened=found.opened))
        return found

    def around(self, path: str) -> str | None:
        """The open node nearest around a node, or ``None`` for one that stands at the top."""
        outer = lod.opening(self.model.hierarchy, self.model.units_of, path)
        opened = [p for p in outer if p in self.state.opened]
        return opened[-1] if opened else None

    def can_open(self, path: str) -> bool:
        """Whether there is something inside a node."""
        node, here = lod.locate(self.model.hierarchy, path)
        layer = self.model.hierarchy.layer(node)
        if layer is None:
            return bool(self.model.hierarchy.nodes[node].children)
        return bool(lod.open_units(self.model.units_of(layer), here)[0])


def _told(state: ViewState) -> ViewState:
    """What of a view counts as a change to be taken back."""
    return replace(state, selected=None, camera=None)
