"""One browser tab: a session, a renderer, a picture stream, and what the page asks of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.errors import NeuronautError
from explorer.session.detail import Follow
from explorer.session.flight import Flight, Held, held, straight
from explorer.session.pace import Quality
from explorer.session.reading_line import ReadingLine
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import alike
from explorer.viewing.view_state import Camera, ViewState, ease
from explorer.web import details, drawing, page, shown
from explorer.web.coloring import Coloring
from explorer.web.drawn import Move
from explorer.web.feed import Feed
from explorer.web.link import Link
from explorer.web.matrix import MatrixPane
from explorer.web.nearing import Nearing
from explorer.web.painter import Painter
from explorer.web.pointing import Pointing
from explorer.web.stay import Stay, Target
from explorer.web.stream import Stream, png
from explorer.web.watching import watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from explorer.drawing.draw_list import DrawList
    from explorer.panel.export import Table
    from explorer.panel.weight_summary import WeightSummary
    from explorer.session.session import Session

logger = logging.getLogger(__name__)
#: Seconds that a change of the picture takes to move.
MOVE_TIME = 0.3


class Tab:
    """A tab's own world.

    Parameters
    ----------
    link : Link
        The connection, not yet started.
    session : Session
        This tab's alone.
    painter : Painter
        This tab's alone.
    size : (int, int, float)
        The page's width and height in its own pixels, and its device's pixel ratio.
    """

    def __init__(
        self,
        link: Link,
        session: Session,
        painter: Painter,
        size: tuple[int, int, float],
    ) -> None:
        from explorer.web.actions import ACTIONS

        self.link, self.session, self.painter = link, session, painter
        self.state = link.server.state
        self.lock = asyncio.Lock()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.pointing = Pointing(self)
        self.nearing = Nearing(self)
        self.coloring = Coloring(self)
        self.stream = Stream("view", self._render, self.pointing.on_event, self.on_full)
        self.stream.backlog = lambda: link.backlog
        self.stream.update_size("", dict(zip("whp", size, strict=True)))
        #: Path that the panel shows, and a mark of the weight that is being read for it.
        self.panel_of = ""
        self.weight_ticket: object = None
        self.matrix = MatrixPane(self)
        #: Statistics that the panel shows; ``None`` until they are exact.
        self.summary: WeightSummary | None = None
        #: What the page tells of the weights being read.
        self.reading = ReadingLine()
        self.feed = Feed(lambda number: self.flush(scene=number))
        self._motion: asyncio.Task[None] | None = None
        self._way: Flight | Follow | None = None  # of the camera in that motion
        self._share = 0.0  # of the way that lies behind
        #: What is to be seen now.
        self.drawn = self._end = session.draw_list
        self._framed: Camera | None = None  # where everything was in sight
        self.camera = session.state.camera or self.whole()
        self.stream.on_size = self._refit
        self._actions = ACTIONS
        page.prepare(link.server, {**shown.first_state(session), "tab_name": link.name})
        link.server.trigger("act")(self.act)
        link.server.trigger("picture")(self.picture)
        link.server.trigger("scene")(self.scene)

    @property
    def view(self) -> ViewState:
        """The state that a reload begins with, its camera included."""
        from dataclasses import replace

        return replace(self.session.state, camera=self._goal)

    @property
    def _goal(self) -> Camera:
        """Where the camera is, or comes to in the move under way."""
        return self._ahead(1.0) if self.moves() else self.camera

    def _ahead(self, share: float) -> Camera:
        """Where the camera is after so much of the way under way."""
        if isinstance(self._way, Follow):
            return self._way.move(self.camera, self._share, share)
        return self._way(share) if self._way is not None else self.camera

    def whole(self) -> Camera:
        """The camera that shows everything; until it is moved nothing opens by itself."""
        camera = self.session.camera_for(None, self.aspect)
        self.session.framed(camera)
        self._framed = camera
        return camera

    def _refit(self) -> None:
        """The page has another size: fit everything into it, unless a person moved the camera."""
        if self._framed is None or not alike(self._goal, self._framed):
            return
        camera = self.whole()
        if self.moves():
            self.move(None, camera)
            return
        self.camera = camera
        if self.feed.on:
            self.feed.show(self.drawn, Move(camera=lambda _: camera))

    @property
    def aspect(self) -> float:
        """Width / height of the page."""
        width, height = self.stream.size
        return width / height if height else 16 / 9

    async def start(self) -> None:
        """Draw the first picture and begin to listen."""
        self.link.server.controller.rc_area_register(self.stream)
        self.stream.start()
        self.stir()
        self.spawn(watch(self))

    async def close(self) -> None:
        """Stop everything and give memory back."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.stream.close()
        async with self.lock:
            await asyncio.to_thread(self.session.close_session)
        await self.painter.close()

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine for as long as the tab lives."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    # -- what the page asks ----------------------------------------------------------------------

    def act(self, name: object = None, *arguments: object) -> None:
        """Begin an action of the page; what is unknown or of the wrong type does nothing.

        It is not waited for: the page's next message must not stand behind a long read.
        """
        action = self._actions.get(name) if isinstance(name, str) else None
        if action is not None and action.accepts(arguments):
            if name not in ("leave", "rested", "hit", "matrix_point", "matrix_look"):
                self.heard()
            self.spawn(self.guarded(action.run(self, *arguments)))

    async def run(self, name: str, *arguments: Any) -> None:
        """Run an action from here."""
        await self._actions[name].run(self, *arguments)

    def table(self, what: str) -> Table:
        """What the panel shows, as numbers."""
        return details.table(self, what)

    async def picture(self) -> bytes:
        """The full picture as PNG."""
        return await asyncio.to_thread(png, await self.stream.still())

    async def scene(self, known: object = 0) -> bytes:
        """What the page needs to draw by itself; `known` is the number of what it has."""
        try:
            return await self.feed.message(known)
        except NeuronautError as error:  # too large: pictures are not
            await drawing.draw_by(self, drawing.SERVER)
            self.tell(str(error))
            return b""

    async def guarded(self, work: Any) -> None:
        """Await something; a fault becomes a message in the page, and the session lives on."""
        try:
            await work
        except NeuronautError as error:
            self.tell(str(error))
        except MemoryError:
            self.tell("There is not enough memory for that.")
        except Exception:
            logger.exception("an action of the page failed")
            self.tell("Something went wrong; the terminal may say more.")

    def heard(self) -> None:
        """The page has asked for something: what was told before has been read."""
        if self.state.hint:
            self.flush(hint=False)
        if self.state.notice:
            self.flush(notice="")

    def tell(self, message: str) -> None:
        """Show a message in the page."""
        with self.state:
            self.state.message = message[:500]

    async def change(
        self, work: Callable[[], object], fly_to: Target | Callable[[], Target] = Stay.HERE
    ) -> None:
        """Change the session and show what came of it.

        Parameters
        ----------
        work : callable ()
            Runs in another thread.
        fly_to : Target, or callable () -> Target
            Where the camera goes along; a callable is asked after the work is done.
        """
        async with self.lock:
            # Undo brings the camera back too; for the session it stands where it stands now.
            self.session.camera = self._goal
            task = asyncio.get_running_loop().run_in_executor(None, work)
            await asyncio.wait([task], timeout=0.2)
            if not task.done():
                self.flush(busy=True)
            try:
                await task
            finally:
                self.flush(busy=False)
            to = fly_to() if callable(fly_to) else fly_to
            target = self.session.draw_list
            if to is None or isinstance(to, str):
                to = self.session.camera_for(to, self.aspect) if to else self.whole()
        self.move(target, to)

    def flush(self, **entries: Any) -> None:
        """Set state entries and send them."""
        with self.state:
            self.state.update(entries)

    # -- the picture -----------------------------------------------------------------------------

    def move(self, target: DrawList | None, to: Camera | Held | Follow | Stay) -> None:
        """Pass smoothly to a new draw list, a new camera, or both; replaces a move under way."""
        self._halt()
        start, end = self.drawn, target or self._end
        way: Flight | Follow | None = to if isinstance(to, Follow) else None
        if isinstance(to, Held):
            size = self.stream.size
            way = held(Screen(self.camera, size), size[0], start, end, to)
        elif isinstance(to, Camera):
            way = straight(self.camera, to)
        if start is not end:
            self.flush(**shown.drawn_state(self.session))
        self._way, self._end, self._share = way, end, 0.0
        if self.feed.on:
            self._send(start, end, way)
        else:
            self._motion = self.spawn(self._moving(start, end))

    def _send(self, start: DrawList, end: DrawList, way: Flight | Follow | None) -> None:
        """Let the page play a move; here all is at its end at once."""
        from explorer.drawing.animation import Blend

        blend = Blend(start, end).at if start is not end else None
        if blend is None and way is None:
            return
        self.flush(still=False)
        self.drawn, begin = end, self.camera
        flight = (lambda t: way.move(begin, 0.0, t)) if isinstance(way, Follow) else way
        self.camera = self._ahead(1.0)
        self.feed.show(end, Move(blend, flight, MOVE_TIME))

    def _halt(self) -> None:
        if self._motion is not None and self.moves():
            self._motion.cancel()
        self._motion = None

    def settle(self) -> None:
        """End a move under way at once; the nodes stand where they would have come.

        The camera does too where it was going along with nodes; a flight of its own just ends.
        """
        moved = self.moves()
        self._halt()
        if self.drawn is not self._end:
            self.drawn = self._end
            if moved:
                self.camera = self._ahead(1.0)

    @property
    def follows(self) -> bool:
        """Whether the camera goes along with nodes, and may be moved meanwhile."""
        return self.moves() and isinstance(self._way, Follow)

    async def rest(self) -> None:
        """Wait for the end of a move under way."""
        while self._motion is not None and self.moves():
            await asyncio.wait([self._motion])

    async def _moving(self, start: DrawList, end: DrawList) -> None:
        from explorer.drawing.animation import Blend

        blend = Blend(start, end) if start is not end else None
        if self.state.still:
            self.flush(still=False)
        begin = time.perf_counter()
        while (t := (time.perf_counter() - begin) / MOVE_TIME) < 1.0:
            if blend is not None:
                self.drawn = blend.at(ease(t))
            self.camera, self._share = self._ahead(ease(t)), ease(t)
            await self.stream.quick()
        self.camera, self._share = self._ahead(1.0), 1.0
        self.drawn = end
        self.stir()

    async def _render(self, size: tuple[int, int], smooth: bool, how: Quality) -> NDArray[Any]:
        return await self.painter.paint(self.drawn, self.camera, size, smooth, how)

    def on_full(self, smooth: bool) -> None:
        """A full picture was sent; after the smooth one the camera has come to rest."""
        if not self.state.picture and not self.panel_of:
            self.spawn(self.guarded(details.begin(self)))
        still = smooth and not self.moves()
        pending = self.session.draw_list.pending
        self.flush(picture=int(self.state.picture) + 1, pending=pending, still=still)

    def moves(self) -> bool:
        """Whether a move is under way."""
        return self._motion is not None and not self._motion.done()

    def stir(self, quick: bool = False) -> None:
        """Ask for a new frame; what is shown is no longer the last word."""
        if self.feed.on:
            self.feed.show(self.drawn)
            return
        if self.state.still:
            self.flush(still=False)
        self.stream.request(quick)

    def show_now(self, quick: bool = False) -> None:
        """Show the session's picture at once: nothing in it has moved."""
        self.drawn = self._end = self.session.draw_list
        self.flush(**shown.drawn_state(self.session))
        self.stir(quick)

    async def recolor(self, work: Callable[[], object], quick: bool = False) -> None:
        """Change the session's colours alone, and show that at once; quickly while more comes."""
        async with self.lock:
            self.session.camera = self._goal  # undo brings the camera back too
            await asyncio.to_thread(work)
        self.settle()
        self.show_now(quick)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a tab's task failed", exc_info=task.exception())
