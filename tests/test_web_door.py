"""Who may come in: hosts, origins, keys, headers; against the running application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from explorer.web.door import Door, new_key
from explorer.web.front import Front


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost:8080", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:8080", True),
        ("127.0.0.1", "evil.example:8080", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "192.168.1.5:8080", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("box.local", "box.local:80", True),
        ("0.0.0.0", "192.168.1.5:8080", True),
        ("0.0.0.0", "evil.example", False),
    ],
)
def test_hosts(bound: str, host: str, allowed: bool) -> None:
    assert Door(bound).host_allowed(host) is allowed


def test_keys_are_long_random_and_survive_lower_casing() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(len(k) == 65 and k == k.lower() and k[0] == "k" for k in keys)


def test_a_key_fits_only_itself() -> None:
    door = Door("127.0.0.1")
    assert door.key_fits(door.key)
    for wrong in (None, "", "wslink-secret", door.key[:-1], door.key + "0", "é"):
        assert not door.key_fits(wrong)


def test_the_key_is_not_in_the_doors_own_text() -> None:
    door = Door("127.0.0.1")
    assert door.key not in repr(door)


@asynccontextmanager
async def _running(frame_ancestors: str = "'none'") -> AsyncIterator[tuple[Door, URL, Any]]:
    door = Door("127.0.0.1", frame_ancestors=frame_ancestors)

    async def no_tab(*_: object) -> Any:
        raise AssertionError("no tab should be made")

    front = Front(door, no_tab, asyncio.get_running_loop().create_future())
    runner = web.AppRunner(front.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = URL(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with ClientSession() as client:
            yield door, base, client
    finally:
        await runner.cleanup()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/index.html", "/ws"])
@pytest.mark.parametrize("key", [None, "", "wslink-secret", "k" + "0" * 64])
async def test_what_is_locked_needs_the_key(path: str, key: str | None) -> None:
    async with _running() as (_, base, client):
        query = {} if key is None else {"key": key}
        async with client.get(base.with_path(path).with_query(query)) as answer:
            text = await answer.text()
            assert answer.status == 403
            assert "Traceback" not in text


@pytest.mark.asyncio
async def test_the_right_key_shows_the_page() -> None:
    async with _running() as (door, base, client):
        async with client.get(base.with_query(key=door.key)) as answer:
            text = await answer.text()
            assert answer.status == 200
        assert door.key not in text
        assert answer.headers["Cache-Control"] == "no-store"
        # Everything that the page names is served, from here alone.
        import re

        names = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert len(names) >= 8
        for name in names:
            assert "//" not in name
            if name == ".":
                continue
            async with client.get(base.join(URL(name))) as asset:
                assert asset.status == 200, name


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/ws", "/page/page.css"])
async def test_strangers_are_refused_even_with_the_key(path: str, headers: dict[str, str]) -> None:
    async with _running() as (door, base, client):
        url = base.with_path(path).with_query(key=door.key)
        async with client.get(url, headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.asyncio
async def test_headers_on_every_answer() -> None:
    async with _running() as (door, base, client):
        for url in (base, base.with_query(key=door.key), base / "nothing", base / "vue.global.js"):
            async with client.get(url) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.asyncio
async def test_frames_can_be_allowed() -> None:
    async with _running("http://localhost:8888") as (_, base, client), client.get(base) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors http://localhost:8888" in policy
        assert "X-Frame-Options" not in answer.headers


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["/../../../etc/passwd", "/page/../front.py", "/page/%2e%2e/front.py", "/assets/..%2f"]
)
async def test_no_way_out_of_the_served_folders(path: str) -> None:
    async with _running() as (_, base, client):
        answer = await client.get(URL(str(base).rstrip("/") + path, encoded=True))
        assert answer.status in (403, 404)


@pytest.mark.asyncio
async def test_only_get() -> None:
    async with _running() as (door, base, client):
        answer = await client.post(base.with_query(key=door.key), data=b"x")
        assert answer.status == 405
