"""A view of an open model that a person changes: the only object here that is not frozen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import layouts
from explorer.comparing.reading import DifferenceReader
from explorer.crossing.edges import EdgeFinder
from explorer.drawing.appearance import describe
from explorer.drawing.build import Sketch, colored, recolors, sketched
from explorer.drawing.draw_list import DrawList
from explorer.drawing.edge_text import describe_edge
from explorer.drawing.placement import ASPECT, Placed
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.pyramid.pyramid import Pyramid
from explorer.session.background import BackgroundReading, Progress, unread
from explorer.session.changes import Changes
from explorer.session.detail import ROOM, Detail, Follow, decide, follow
from explorer.tree import lod
from explorer.viewing.on_screen import Screen
from explorer.viewing.view_state import Camera, ViewState, frame
from explorer.weights.weight_reader import WeightReader

AT_ONCE = 0.06  # seconds that a person may be kept waiting by reading
_MOST_FRAMED = 4000  # points of lines that a camera makes sure to see
_PATIENCE = 0.25  # seconds between two redraws while weights are being read


class Session(Changes):
    """One person's view of a model.

    All methods may be called from any thread, one at a time.

    Parameters
    ----------
    model : OpenModel or Network
        An open model is shared and left open by `close_session`; a network is opened.
    state : ViewState, optional
        Default: the first cut, seen as a whole.
    aspect : float
        Width / height of the picture that the layout is to fill.
    """

    def __init__(
        self, model: OpenModel | Network, state: ViewState | None = None, aspect: float = ASPECT
    ) -> None:
        self._owned = isinstance(model, Network)
        super().__init__(OpenModel(model) if isinstance(model, Network) else model)
        self.aspect = aspect
        self._finder = EdgeFinder(self.model)
        self._built: tuple[DrawList, Sketch] | None = None
        self._sketch: Sketch | None = None
        self._reading = BackgroundReading(self.model, self._finder)
        self._drawn_at = 0.0
        self._detail = Detail()
        self.state = state or ViewState()
        if state is None:
            self.state = replace(self.state, opened=self.first_opened)
            if self.model.comparison is not None:
                self.state = replace(self.state, overlay="change")

    # -- what it is made of ------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """What the file holds."""
        return self.model.network

    @property
    def graph(self) -> Network:
        """The network with composite layers expanded."""
        return self.model.graph

    @property
    def reader(self) -> WeightReader | DifferenceReader:
        """Reads the bytes of weights."""
        return self.model.reader

    @property
    def pyramid(self) -> Pyramid:
        """Statistics of the weights."""
        return self.model.pyramid

    @property
    def message(self) -> str:
        """What went wrong while weights were read; empty while all is well."""
        return self._reading.message

    @message.setter
    def message(self, text: str) -> None:
        self._reading.message = text

    # -- reading weights ---------------------------------------------------------------------

    @property
    def reading(self) -> Progress:
        """How much of the weights has been read, and whether reading goes on."""
        return self._reading.progress

    def pause_reading(self) -> None:
        """Stop reading weights; what was read stays."""
        self._reading.pause()

    def resume_reading(self) -> None:
        """Go on reading weights."""
        self._reading.resume()

    # -- the picture -------------------------------------------------------------------------

    @property
    def draw_list(self) -> DrawList:
        """The current picture; never waits for more than a few megabytes of weights."""
        return self._current()[0]

    @property
    def placed(self) -> Placed:
        """The visible nodes and where they stand."""
        return self._current()[1].placed

    def _current(self) -> tuple[DrawList, Sketch]:
        with self._lock:
            if self._built is None:
                self._built = self._build()
                self._drawn_at = time.monotonic()
            return self._built

    def _build(self) -> tuple[DrawList, Sketch]:
        start = time.monotonic()
        built = self._make()
        # Reading a little at once costs a second drawing: only where both are quick.
        left = AT_ONCE - 2 * (time.monotonic() - start)
        if left > 0 and self._reading.at_once(built[1].crossing, left):
            built = self._make()
        self._reading.want(built[1].crossing)
        return built

    def _make(self) -> tuple[DrawList, Sketch]:
        # Nothing in here may wait for a weight to be read: the reading thread rests.
        with self._reading.held():
            sketch = sketched(self.model, self._finder, self.state, self.aspect, self._sketch)
            self._sketch = sketch
            return colored(self.model, sketch, self.state), sketch

    def poll(self) -> bool:
        """Whether weights read in the background changed the picture since the last look."""
        with self._lock:
            if not self._reading.fresh.is_set():
                return False
            if self._reading.busy and time.monotonic() - self._drawn_at < _PATIENCE:
                return False
            self._reading.fresh.clear()
            self._built = None
            return True

    def wait(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read all the weights that the picture needs.

        Parameters
        ----------
        progress : callable (done, total), optional
            Called with bytes read so far and in all.

        Raises
        ------
        ModelError
            If the file was changed or cannot be read.
        """
        while unread(crossing := self._current()[1].crossing):
            self.model.keeper.begin()
            sizes = [self.pyramid.bytes_needed(c) for c in crossing.missing]
            done = 0
            for connection, size in zip(crossing.missing, sizes, strict=True):
                self.pyramid.build(connection)
                done += size
                if progress is not None:
                    progress(done, sum(sizes))
            for search in crossing.searches:
                self._finder.search(search)
            with self._lock:
                self._built = None

    # -- taking over a view ------------------------------------------------------------------

    def _show(self, state: ViewState) -> None:
        with self._lock:
            before = self.state, self._built
            self.state = state
            try:
                self._built = self._recolored(*before)
                self._current()
            except BaseException:
                self.state, self._built = before
                raise
            self._detail = self._detail.by_hand(before[0].opened, state.opened)

    def _recolored(
        self, before: ViewState, built: tuple[DrawList, Sketch] | None
    ) -> tuple[DrawList, Sketch] | None:
        """The picture in other colours, where nothing else of it changes."""
        if built is None or built[1].made_of[2] != self.aspect or not recolors(before, self.state):
            return None
        return colored(self.model, built[1], self.state), built[1]

    def adjust(self, screen: Screen, room: int = ROOM) -> Follow | None:
        """A step of automatic detail, if it is switched on and there is something to do.

        Such a step is not remembered: `undo` brings back what a person changed.

        Parameters
        ----------
        screen : Screen
            The picture that a person sees.
        room : int
            The most nodes that may be visible after opening one.

        Returns
        -------
        Follow or None
            How the camera goes along with what opened or closed; ``None`` if nothing did.
        """
        with self._lock:
            if self.state.detail != "automatic":
                return None
            before = self.placed
            step = decide(self.model, before, screen, self._detail, room)
            self._detail = step.detail
            if not step:
                return None
            opened = step.apply(self.state.opened)
            self.update(replace(self.state, opened=opened), remember=False)
            move, self._detail = follow(before, self.placed, screen, step)
            return move

    def close_automatic(self) -> None:
        """Close what opened by itself, if automatic detail is switched on."""
        with self._lock:
            if self.state.detail == "automatic" and self._detail.opened:
                opened = self.state.opened - set(self._detail.opened)
                self.update(replace(self.state, opened=opened), remember=False)
                self._detail = Detail()

    def framed(self, camera: Camera) -> None:
        """The camera was put here to show everything: until it moves nothing opens by itself."""
        with self._lock:
            self._detail = replace(self._detail, since=camera, at_rest=True)

    # -- asking ------------------------------------------------------------------------------

    def row_of(self, path: str) -> int | None:
        """Row of a node in the current cut, or ``None`` when it is not visible."""
        index = self.draw_list.nodes[: len(self.placed.cut)]
        try:
            return index.index(path)
        except ValueError:
            return None

    def describe(self, path: str) -> str:
        """One line on a node: name, kind, shape, number of weights."""
        node, here = lod.locate(self.model.hierarchy, path)
        text = describe(self.model.hierarchy, node, here, self.model.units_of)
        units, row = self._current()[1].units, self.row_of(path)
        told = units.told(row) if units is not None and row is not None else ""
        return f"{text} · {told}" if told else text

    def describe_edge(self, index: int) -> str:
        """One line on an edge of the draw list: its ends, its value, its place in the file."""
        return describe_edge(self.model, self.draw_list, index)

    def find(self, text: str, most: int = 20) -> list[str]:
        """Paths of the nodes whose path or title contains a text, shortest first."""
        needle = text.strip().lower()
        if not needle:
            return []
        hits = [
            n.path
            for n in self.model.hierarchy.nodes[1:]
            if needle in n.path.lower() or needle in n.title.lower()
        ]
        return sorted(hits, key=lambda p: (len(p), p))[:most]

    def camera_for(self, name: str | None = None, aspect: float | None = None) -> Camera:
        """A camera that frames a node (or the nearest visible node around it), or everything."""
        cut, boxes = self.placed.cut, self.placed.boxes
        rows = np.flatnonzero(cut.leaf) if len(cut) > 1 else np.arange(len(cut))
        if name is not None:
            path = self.resolve(name)
            row = self.row_of(path)
            outer = lod.opening(self.model.hierarchy, self.model.units_of, path)
            while row is None and outer:
                row = self.row_of(outer.pop())
            if row:
                rows = np.array([row])
        centers, sizes = boxes.centers[rows], boxes.sizes[rows].copy()
        if name is None:
            inner = np.flatnonzero(~cut.leaf)[1:]
            # Lines that go round what they pass may reach further than all boxes.
            ways = self.draw_list.edges.points.reshape(-1, 3)
            ways = ways[:: 1 + len(ways) // _MOST_FRAMED]
            centers = np.concatenate((centers, boxes.centers[inner], ways))
            sizes = np.concatenate((sizes, boxes.sizes[inner], np.zeros_like(ways)))
        else:
            sizes += 0.35 * sizes.max()
        view = layouts.layouts()[self.state.layout].view
        return frame(centers, sizes, aspect or self.aspect, view)

    def close_session(self) -> None:
        """Stop background reading; close the model if this session opened it."""
        self._reading.close()
        if self._owned:
            self.model.close()
