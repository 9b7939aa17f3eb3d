"""What a visitor with the key may do to the server, and what is left of one who has gone."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
from aiohttp import ClientSession, WSMsgType
from web_helpers import DIGITS, ROOT
from wslink.chunking import UnChunker, generate_chunks
from yarl import URL

from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.web import Handle, front, serve_in_thread, vtk_thread
from explorer.web.painter import Painter

LIMIT = 30.0


@pytest.fixture(scope="module")
def handle() -> Iterator[Handle]:
    with serve_in_thread(str(DIGITS)) as made:
        yield made


class Visitor:
    """Speaks the page's own protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self._chunks = UnChunker()
        self._chunks.set_max_message_size(1 << 26)
        self._next = 0

    async def call(self, method: str, *arguments: Any, system: bool = False) -> dict[str, Any]:
        """Call a remote procedure; returns the whole answer."""
        self._next += 1
        name = f"{'system' if system else 'rpc'}:c0:{self._next}"
        message = {"wslink": "1.0", "id": name, "method": method, "args": list(arguments),
                   "kwargs": {}}  # fmt: skip
        for chunk in generate_chunks(msgpack.packb(message), 1 << 20):
            await self.socket.send_bytes(chunk)
        while True:
            received = await asyncio.wait_for(self.socket.receive(), LIMIT)
            if received.type is not WSMsgType.BINARY:
                raise ConnectionError(received)
            answer = self._chunks.process_chunk(received.data)
            if answer is not None and answer.get("id") == name:
                return dict(answer)

    async def hello(self, secret: str) -> dict[str, Any]:
        """Greet."""
        return await self.call("wslink.hello", {"secret": secret}, system=True)


@asynccontextmanager
async def _visit(handle: Handle) -> AsyncIterator[tuple[Visitor, str]]:
    url, others = URL(handle.url), handle.tabs
    async with ClientSession() as client:
        target = url.with_path("/ws").with_query(key=url.query["key"], w=1260, h=764, p=1)
        async with client.ws_connect(target) as socket:
            yield Visitor(socket), url.query["key"]
    # Closing takes a moment; the next test begins with what this one found.
    async with asyncio.timeout(LIMIT):
        while handle.tabs > others:
            await asyncio.sleep(0.01)


async def _gone(handle: Handle) -> None:
    async with asyncio.timeout(LIMIT):
        while handle.tabs:
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize("secret", ["wslink-secret", "", "k" + "0" * 64, 7, None])
async def test_the_librarys_own_key_is_of_no_use(handle: Handle, secret: Any) -> None:
    async with _visit(handle) as (visitor, _):
        answer = await visitor.hello(secret)
        assert "error" in answer
        answer = await visitor.call("trame.state.get")
        assert "error" in answer
        assert "result" not in answer


@pytest.mark.asyncio
async def test_a_fault_is_told_without_a_traceback(handle: Handle) -> None:
    async with _visit(handle) as (visitor, key):
        assert "result" in await visitor.hello(key)
        answer = await visitor.call("trame.trigger", "act")  # arguments are missing
        assert "error" in answer
        assert "Traceback" not in repr(answer)
        assert "site-packages" not in repr(answer)
        assert "TypeError" not in repr(answer)
        assert "result" in await visitor.call("trame.state.get")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "method", ["application.exit", "application.exit.later", "trame.force.push", "trame.rca.push"]
)
async def test_what_the_page_does_not_need_cannot_be_called(handle: Handle, method: str) -> None:
    async with _visit(handle) as (visitor, key):
        await visitor.hello(key)
        answer = await visitor.call(method)
        assert answer["error"]["message"] == "Unregistered method called"
        assert "result" in await visitor.call("trame.state.get")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nothing"], ["open"], ["open", 5], ["open", None], ["open", "a" * 10_000],
        ["open", "../../etc/passwd"], ["layout", "/etc/passwd"], ["overlay", "__class__"],
        [{"a": 1}], ["theme", "dark"], ["weight", "/etc/passwd"], ["select", "\x00"],
        ["find", "(" * 1000], ["key", "q"], ["close", "conv_1[99999999999]"],
    ],
)  # fmt: skip
async def test_no_argument_harms_the_session(handle: Handle, arguments: list[Any]) -> None:
    async with _visit(handle) as (visitor, key):
        await visitor.hello(key)
        answer = await visitor.call("trame.trigger", "act", arguments, {})
        assert "Traceback" not in repr(answer)
        state = (await visitor.call("trame.state.get"))["result"]["state"]
        assert state["title"] == "digits"
        assert "root:" not in repr(state)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "arguments",
    [
        ["draw_by", "nobody"], ["rested", 1, [], []], ["rested", 1, ["x"] * 10, []],
        ["rested", True, 7], ["rested", 1, [0.0] * 10, [5, 5]], ["rested", 1, [1e300] * 10, []],
        ["rested", 10**18, [1.0] * 10, []], ["rested", 1, [0, 0, 9, 0, 0, 0, 0, 1, 0, 30], ["x"]],
        ["rested", 1, [0, 0, 9, 0, 0, 0, 0, 1, 0, 30], [float("nan"), float("inf"), 3]],
        ["hit", "click", 1, 10**9, -1, 0, 0], ["hit", "click", 1, -5, 10**9, 0, 0],
        ["hit", "rest", 1, -1, -10**9, 0, 0], ["hit", "rest", 1, 0, -1, 10**18, -10**18],
        ["hit", "\x00", 1, 0, 0, 0, 0], ["hit", "click", 0, 0, 0, 0, 0], ["hit", "click"],
    ],
)  # fmt: skip
async def test_a_page_that_draws_does_no_harm(handle: Handle, arguments: list[Any]) -> None:
    async with _visit(handle) as (visitor, key):
        await visitor.hello(key)

        async def scene(known: Any) -> bytes:
            answer = await visitor.call("trame.trigger", "scene", [known], {})
            assert "Traceback" not in repr(answer)
            return bytes(answer["result"])

        assert await scene(0) == b""  # the server draws
        await visitor.call("trame.trigger", "act", ["draw_by", "browser"], {})
        first = await scene(0)
        assert first[:4] == b"NND1"
        answer = await visitor.call("trame.trigger", "act", arguments, {})
        assert "Traceback" not in repr(answer)
        for known in (-1, "x", None, [], 10**18):
            assert (await scene(known))[:4] == b"NND1"
        state = (await visitor.call("trame.state.get"))["result"]["state"]
        assert (state["title"], state["drawn_by"]) == ("digits", "browser")
        assert "Something went wrong" not in state["message"]
        # What it knows already is not sent again.
        assert len(await scene(state["scene"])) < len(first) / 4


@pytest.mark.asyncio
async def test_only_its_own_entries_can_be_changed(handle: Handle) -> None:
    async with _visit(handle) as (visitor, key):
        await visitor.hello(key)
        before = (await visitor.call("trame.state.get"))["result"]["state"]
        changes = [
            {"key": "trame__template_main", "value": "<b>mine</b>"},
            {"key": "title", "value": "mine"},
            {"key": "panel_shown", "value": "<b>mine</b>"},
            {"key": ["x"], "value": 1},
            "nonsense",
        ]
        await visitor.call("trame.state.update", changes)
        after = (await visitor.call("trame.state.get"))["result"]["state"]
        for name in ("trame__template_main", "title", "panel_shown"):
            assert after[name] == before[name]
        await visitor.call("trame.state.update", [{"key": "panel_shown", "value": False}])
        after = (await visitor.call("trame.state.get"))["result"]["state"]
        assert after["panel_shown"] is False


@pytest.mark.asyncio
async def test_nothing_is_left_of_a_tab_that_closed(handle: Handle) -> None:
    await _gone(handle)
    for _ in range(3):
        async with _visit(handle) as (visitor, key):
            await visitor.hello(key)
            assert handle.tabs == 1
        await _gone(handle)
    from trame.app.core import AVAILABLE_SERVERS
    from trame_server.protocol import CoreServer

    assert AVAILABLE_SERVERS == {}
    assert CoreServer.server is None


@pytest.mark.asyncio
async def test_too_many_tabs_get_a_message(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    await _gone(handle)
    monkeypatch.setattr(front, "MOST_TABS", 1)
    async with _visit(handle) as (visitor, key):
        await visitor.hello(key)
        async with ClientSession() as client, client.get(handle.url) as answer:
            assert answer.status == 503
            assert "Too many open tabs" in await answer.text()
        async with _visit(handle) as (second, _):
            with pytest.raises(ConnectionError):
                await second.hello(key)
            assert handle.tabs == 1


@pytest.mark.asyncio
async def test_garbage_ends_its_own_connection_only(handle: Handle) -> None:
    async with _visit(handle) as (good, key):
        await good.hello(key)
        async with _visit(handle) as (bad, _):
            await bad.socket.send_bytes(b"\xff" * 100)
            received = await asyncio.wait_for(bad.socket.receive(), LIMIT)
            assert received.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.BINARY)
        assert "result" in await good.call("trame.state.get")


def test_a_script_may_end_without_stopping_the_server() -> None:
    """The graphics go down in their own thread: no crash at the process' end."""
    script = (
        "import sys, urllib.request, explorer.web.vtk_thread as v\n"
        "from explorer.web import serve_in_thread\n"
        f"handle = serve_in_thread({str(DIGITS)!r})\n"
        "urllib.request.urlopen(handle.url).read()\n"
        "v.VTK.submit(lambda: None).result(30)\n"
        "print('end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script], cwd=ROOT, capture_output=True,
        text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.asyncio
async def test_a_forgotten_painter_goes_down_in_the_drawing_thread() -> None:
    with OpenModel.open(str(DIGITS)) as model:
        session = Session(model)
        painter = Painter()
        camera = session.camera_for(None)
        image = await painter.paint(session.draw_list, camera, (320, 200))
        assert image.shape == (200, 320, 3)
        number = painter._number
        assert number in vtk_thread._renderers
        del painter
        gc.collect()
        vtk_thread.VTK.submit(lambda: None).result(LIMIT)
        assert number not in vtk_thread._renderers
        session.close_session()


def test_a_port_in_use_is_told_in_one_line(handle: Handle) -> None:
    port = URL(handle.url).port
    assert port is not None
    with pytest.raises(NeuronautError, match=f"port {port}"):
        serve_in_thread(str(DIGITS), port=port)


def test_a_missing_file_is_told_in_one_line(tmp_path: Any) -> None:
    with pytest.raises(NeuronautError, match=r"gone\.keras"):
        serve_in_thread(str(tmp_path / "gone.keras"))


def test_stopping_frees_the_port() -> None:
    first = serve_in_thread(str(DIGITS))
    port = URL(first.url).port
    first.stop()
    assert port is not None
    with serve_in_thread(str(DIGITS), port=port) as again:
        assert URL(again.url).port == port
