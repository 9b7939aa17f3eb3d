"""The web server's front: one page, one websocket route, one isolated tab per connection."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from explorer.errors import NeuronautError
from explorer.viewing.view_state import ViewState
from explorer.web import download, page
from explorer.web.door import Door
from explorer.web.link import MESSAGE_LIMIT, Link

logger = logging.getLogger(__name__)
MOST_TABS = 8
#: A tab that does nothing for so long is closed, seconds; it can be reloaded.
IDLE_AFTER = 3600.0
#: A connection must greet with the key within this time, seconds.
GREETING = 20.0
_FULL = "Too many open tabs: close one of them, then reload this page."


class Tab(download.Telling, Protocol):
    """What the front needs of a tab; `explorer.web.tab.Tab` is one."""

    async def start(self) -> None:
        """Show the first picture."""

    async def close(self) -> None:
        """Give everything back."""

    @property
    def view(self) -> ViewState:
        """What a reload of the tab begins with."""


MakeTab = Callable[[Link, tuple[int, int, float], ViewState | None], Awaitable[Tab]]


class Front:
    """Routes and the table of tabs.

    Parameters
    ----------
    door : Door
        The rules at the entrance.
    make_tab : coroutine function (Link, size, ViewState or None) -> Tab
        Builds a tab's session and renderer.
    ready : future
        Done when tabs can be made.
    """

    def __init__(self, door: Door, make_tab: MakeTab, ready: asyncio.Future[Any]) -> None:
        self.door = door
        self._make_tab = make_tab
        self._ready = ready
        self._tabs: dict[str, web.WebSocketResponse] = {}
        self._open: dict[str, Tab] = {}
        self._views: OrderedDict[str, ViewState] = OrderedDict()

    @property
    def count(self) -> int:
        """Number of open tabs."""
        return len(self._tabs)

    def application(self) -> web.Application:
        """The aiohttp application with all routes behind the door."""
        app = web.Application(middlewares=[self.door.middleware()], client_max_size=1024)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/index.html", self._index),
                web.get("/ws", self._websocket),
                web.get("/vue.global.js", self._vue),
                web.get(download.PATH, self._download),
            ]
        )
        app.add_routes([web.static(f"/{name}", path) for name, path in page.routes().items()])
        app.on_shutdown.append(self._shut)
        return app

    async def _index(self, _request: web.Request) -> web.Response:
        if len(self._tabs) >= MOST_TABS:
            return web.Response(status=503, text=page.notice(_FULL), content_type="text/html")
        return web.Response(
            text=page.index(), content_type="text/html", headers={"Cache-Control": "no-store"}
        )

    async def _download(self, request: web.Request) -> web.StreamResponse:
        return await download.answer(request, self._open, self.door.headers())

    async def _vue(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(page.vue_file())

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            max_msg_size=MESSAGE_LIMIT, heartbeat=30, compress=False, writer_limit=1 << 22
        )
        # Headers cannot be added once the handshake is sent.
        socket.headers.update(self.door.headers())
        await socket.prepare(request)
        if len(self._tabs) >= MOST_TABS:
            await self._turn_away(socket)
            return socket
        name = uuid.uuid4().hex
        self._tabs[name] = socket
        try:
            await self._serve_tab(name, socket, request)
        finally:
            self._tabs.pop(name, None)
        return socket

    async def _serve_tab(
        self, name: str, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        await asyncio.shield(self._ready)
        link = Link(name, self.door.key, page.CLIENT_KEYS)
        memory = request.query.get("tab", "")[:64]
        tab: Tab | None = None
        try:
            tab = await self._make_tab(link, _size(request), self._views.pop(memory, None))
            self._open[name] = tab
            await link.start(_sender(socket))
            await tab.start()
            await self._pump(socket, link)
        except (ConnectionError, TimeoutError):
            pass
        except Exception as error:
            # The handshake is done, so nothing but a close code can be sent.
            known = isinstance(error, NeuronautError)
            logger.error("a tab could not be opened: %s", error, exc_info=not known)
            reason = str(error) if known else "Something went wrong on the server."
            await socket.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR, message=_short(reason))
        finally:
            self._open.pop(name, None)
            if tab is not None:
                self._remember(memory, tab.view)
                await tab.close()
            await link.close()

    async def _pump(self, socket: web.WebSocketResponse, link: Link) -> None:
        """Hand the page's messages on until it goes, is silent too long, or has no key."""
        begun = time.monotonic()
        while not socket.closed:
            limit = IDLE_AFTER if link.greeted else GREETING - (time.monotonic() - begun)
            message = await asyncio.wait_for(socket.receive(), max(limit, 0.01))
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            try:
                await link.receive(message)
            except Exception:  # a malformed message of a page must not end the server
                logger.exception("a message of a page could not be read")
                break
        if not socket.closed:
            await socket.close()

    async def _turn_away(self, socket: web.WebSocketResponse) -> None:
        await socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER, message=_short(_FULL))

    def _remember(self, memory: str, view: ViewState) -> None:
        if memory:
            self._views[memory] = view
            while len(self._views) > 4 * MOST_TABS:
                self._views.popitem(last=False)

    async def _shut(self, _app: web.Application) -> None:
        for socket in list(self._tabs.values()):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)


def _short(reason: str) -> bytes:
    """A close reason: at most 123 bytes of text."""
    return reason.encode()[:120].decode(errors="ignore").encode()


def _sender(socket: web.WebSocketResponse) -> Callable[[bool, Any], Any]:
    async def send(binary: bool, content: Any) -> None:
        if socket.closed:
            return
        with suppress(ConnectionError):  # the page may go while something is on its way
            await (socket.send_bytes(content) if binary else socket.send_str(content))

    return send


def _size(request: web.Request) -> tuple[int, int, float]:
    """The window's size that the page tells in its address; what is odd is put right."""
    try:
        width, height = (int(float(request.query.get(k, "0"))) for k in ("w", "h"))
        ratio = float(request.query.get("p", "1"))
    except (ValueError, OverflowError):
        return 1280, 800, 1.0
    ratio = ratio if 0.5 <= ratio <= 4.0 else 1.0
    return max(64, min(width, 8192)), max(64, min(height, 8192)), ratio
