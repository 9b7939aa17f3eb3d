"""Starting and ending the server: from the command line, or beside other work in a thread."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from explorer.collector import paused
from explorer.errors import NeuronautError
from explorer.viewing.view_state import ViewState

if TYPE_CHECKING:
    from explorer.network import Network
    from explorer.open_model import OpenModel
    from explorer.session.session import Session
    from explorer.web.front import Front
    from explorer.web.link import Link
    from explorer.web.painter import Painter
    from explorer.web.tab import Tab

    Openable: TypeAlias = str | Network | OpenModel | Callable[[], OpenModel]


#: Size of the picture in a window of 1600 × 900: what is drawn before the page tells its own.
USUAL_SIZE = (1260, 764)
#: Who may frame the page of `serve_in_thread`.
LOCAL_PAGES = "'self' http://localhost:* http://127.0.0.1:*"


def serve(
    model: Openable,
    state: ViewState | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
) -> None:
    """Serve a network until Ctrl-C; prints one line with the page's address, its key included.

    Parameters
    ----------
    model : str, Network, OpenModel, or callable () -> OpenModel
        A path or a callable is opened while the server starts.
    state : ViewState, optional
        What every new tab begins with; default: the first cut.
    host : str
        Address to bind to; loopback by default. On any other, everybody who has the key and can
        reach this machine can look at the network.
    port : int
        0 takes a free one.
    open_browser : bool
        Whether to open the page in the default browser.

    Raises
    ------
    NeuronautError
        If the model cannot be opened, or the address cannot be bound.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(_Job(model, state, host, port), open_browser))


class Handle:
    """A server that runs in a thread.

    Attributes
    ----------
    url : str
        The page's address, its key included.
    """

    def __init__(self, url: str, job: _Job, thread: threading.Thread) -> None:
        self.url = url
        self._job, self._thread = job, thread

    @property
    def tabs(self) -> int:
        """Number of tabs that are open now."""
        return self._job.front.count if self._job.front is not None else 0

    def stop(self) -> None:
        """End the server and all its tabs; returns when they are gone."""
        self._job.stop()
        self._thread.join(timeout=30)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _repr_html_(self) -> str:
        """A frame with the page, for notebooks on the same machine."""
        return f'<iframe src="{self.url}" style="width:100%;height:640px;border:0"></iframe>'

    def __repr__(self) -> str:
        return f"<Neuronaut at {self.url.split('?')[0]}>"


def serve_in_thread(
    model: Openable,
    state: ViewState | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = False,
    frame_ancestors: str = LOCAL_PAGES,
) -> Handle:
    """Serve a network from a thread of this process, for notebooks and scripts.

    Parameters
    ----------
    model, state, host, port, open_browser
        As for `serve`.
    frame_ancestors : str
        Pages that may show this one in a frame, in the words of Content-Security-Policy; by
        default those of this machine (a notebook). They need the key all the same.

    Returns
    -------
    Handle

    Raises
    ------
    NeuronautError
        As `serve`.
    """
    job = _Job(model, state, host, port, frame_ancestors)
    ready: Future[str] = Future()
    loop = asyncio.new_event_loop()

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(job.run(ready.set_result))
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=work, name="neuronaut-web", daemon=True)
    thread.start()
    url = ready.result()
    if open_browser:
        _open_browser(url)
    return Handle(url, job, thread)


def _open_browser(url: str) -> None:
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


async def _run(job: _Job, open_browser: bool) -> None:
    def announce(url: str) -> None:
        print(f"Neuronaut is at {url}", flush=True)
        if open_browser:
            _open_browser(url)

    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, job.stop)
        except (NotImplementedError, RuntimeError):  # not on Windows, not outside the main thread
            break
    # What is there by then stays as long as the process: no later collection looks through it.
    await job.run(announce, gc.freeze)


class _Job:
    """One server from its start to its end."""

    def __init__(
        self,
        model: Openable,
        state: ViewState | None,
        host: str,
        port: int,
        frame_ancestors: str = "'none'",
    ) -> None:
        self._given, self._state = model, state
        self._host, self._port, self._frame_ancestors = host, port, frame_ancestors
        self._end: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._model: OpenModel | None = None
        self._owned = False
        self._warm: asyncio.Task[tuple[Session, Painter]] | None = None
        self._practised: asyncio.Task[Painter] | None = None
        self.front: Front | None = None

    def stop(self) -> None:
        """Ask the server to end; may be called from any thread, and again."""
        if self._loop is not None and self._end is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)

    async def run(
        self, announce: Callable[[str], None], begun: Callable[[], None] | None = None
    ) -> None:
        """Serve until `stop`.

        Calls ``announce(url)`` once the page can be loaded, and ``begun()`` once the first
        picture is there.
        """
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        with ExitStack() as beginning:
            # Next to nothing that is made up to the first picture is garbage.
            beginning.enter_context(paused())
            if begun is not None:
                beginning.callback(begun)
            await self._serve(announce, beginning)

    async def _serve(self, announce: Callable[[str], None], beginning: ExitStack) -> None:
        loop, end = asyncio.get_running_loop(), self._end
        assert end is not None
        # The network is read by another process: that one starts before the slow imports here.
        opening = loop.run_in_executor(None, self._open)
        from aiohttp import web

        from explorer.web.door import Door
        from explorer.web.front import Front

        imports = loop.run_in_executor(None, _import_all)
        self._practised = loop.create_task(_painter(imports))
        ready: asyncio.Future[Any] = loop.create_future()
        door = Door(self._host, frame_ancestors=self._frame_ancestors)
        self.front = Front(door, self._make_tab, ready)
        runner = web.AppRunner(self.front.application(), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            port = await self._bind(runner)
            await opening
            announce(self._url(port, door.key))
            await imports
            self._warm = loop.create_task(self._warm_up())
            self._warm.add_done_callback(lambda _: beginning.close())
            ready.set_result(None)
            await end.wait()
        finally:
            if not ready.done():
                ready.cancel()
            await runner.cleanup()
            await self._cool_down()
            if self._owned and self._model is not None:
                self._model.close()

    async def _bind(self, runner: Any) -> int:
        from aiohttp import web

        site = web.TCPSite(runner, self._host, self._port)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NeuronautError(
                f"cannot serve at {self._host} port {self._port}: {reason}"
            ) from None
        return int(runner.addresses[0][1])

    def _url(self, port: int, key: str) -> str:
        host = self._host
        if host in ("0.0.0.0", "::", ""):
            host = "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/?key={key}"

    def _open(self) -> None:
        from explorer.open_model import OpenModel

        given = self._given
        if isinstance(given, OpenModel):
            self._model = given
            return
        self._owned = True
        if isinstance(given, str):
            self._model = OpenModel.open(given)
        elif callable(given):
            self._model = given()
        else:
            self._model = OpenModel(given)

    async def _make_tab(
        self, link: Link, size: tuple[int, int, float], view: ViewState | None
    ) -> Tab:
        from explorer.web.painter import Painter
        from explorer.web.tab import Tab

        aspect = size[0] / size[1]
        warm, self._warm = self._warm, None
        if warm is not None:
            session, painter = await warm
            if view is not None or abs(session.aspect / aspect - 1) > 0.01:
                session.aspect = aspect
                await asyncio.to_thread(session.update, view or session.state)
        else:
            session = await asyncio.to_thread(self._session, view or self._state, aspect)
            painter = Painter()
        return Tab(link, session, painter, size)

    def _session(self, state: ViewState | None, aspect: float) -> Session:
        """A session whose first picture is ready; in a thread."""
        from explorer.session.session import Session

        assert self._model is not None
        session = Session(self._model, state, aspect)
        try:
            session.draw_list  # noqa: B018
        except BaseException:
            session.close_session()
            raise
        return session

    async def _warm_up(self) -> tuple[Session, Painter]:
        """Make the first tab's session and picture while the browser still loads the page."""
        assert self._practised is not None
        width, height = USUAL_SIZE
        session = await asyncio.to_thread(self._session, self._state, width / height)
        painter = await self._practised
        camera = session.state.camera or session.camera_for(None, width / height)
        await painter.paint(session.draw_list, camera, USUAL_SIZE)
        return session, painter

    async def _cool_down(self) -> None:
        """Give back what was made for a first tab that never came."""
        if self._warm is not None:
            with suppress(NeuronautError, asyncio.CancelledError):
                session, painter = await self._warm
                await asyncio.to_thread(session.close_session)
                await painter.close()
        elif self._practised is not None and not self._practised.done():
            self._practised.cancel()
            await asyncio.wait([self._practised])


async def _painter(imports: asyncio.Future[None]) -> Painter:
    await imports
    from explorer.web.rehearsal import practised

    return await practised(USUAL_SIZE)


def _import_all() -> None:
    """Load what a tab needs while the network is being opened."""
    for name in (
        "explorer.session.session", "explorer.renderer", "explorer.web.tab", "PIL.Image",
        "trame_client.widgets.core", "trame_server",
    ):  # fmt: skip
        import_module(name)
