"""One tab's connection: a trame server of its own, with its doors narrowed.

Out of the box the framework shares one state among all visitors, lets every visitor call every
remote procedure (the one that ends the process too) and answers an error with a Python traceback.
Here each websocket gets its own server object; only the procedures the page needs remain; a failed
one answers with one line.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

#: The remote procedures that the page uses; all others are taken away.
ALLOWED = (
    "trame.state.get",
    "trame.state.update",
    "trame.trigger",
    "trame.lifecycle.update",
    "trame.error.client",
    "trame.rca.size",
    "trame.rca.event",
    "trame.rca.reset",
)
#: Largest message from a page, bytes; its own are a few hundred.
MESSAGE_LIMIT = 1 << 20
# The framework hands the new server to its protocol through a class attribute.
_starting = threading.Lock()


class Link:
    """A trame server for one websocket.

    Parameters
    ----------
    name : str
        Unique name.
    key : str
        What the page must send in its greeting.
    client_keys : mapping of str to type
        State entries that the page may change, and the type each must have.
    """

    def __init__(self, name: str, key: str, client_keys: Mapping[str, type]) -> None:
        from trame_client.widgets.core import VirtualNode
        from trame_server import Server

        self.name = name
        self._key = key
        self._client_keys = dict(client_keys)
        self.server = Server(name, VirtualNode)
        # This process' own command line is not the framework's.
        parser = self.server.cli
        self.server.cli.parse_known_args = lambda *_: type(parser).parse_known_args(parser, [])
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._endpoint: Any = None

    async def start(self, send: Callable[[bool, Any], Any]) -> None:
        """Start the server; ``send(binary, content)`` is awaited with what goes to the page."""
        with _starting:
            self._task = self.server.start(
                backend="generic",
                exec_mode="task",
                disable_logging=True,
                show_connection_info=False,
                open_browser=False,
                timeout=0,
                thread=True,
            )
        await self.server.ready
        self._endpoint = self.server._server.ws
        self._narrow()
        self._connection = await self._endpoint.connect()
        self._connection.on_message(send)

    @property
    def greeted(self) -> bool:
        """Whether the page has shown the right key in its greeting."""
        return bool(self._endpoint.isClientAuthenticated(self._connection.client_id))

    @property
    def backlog(self) -> int:
        """Messages under way to the page."""
        return int(self.server.protocol.network_monitor.pending) if self.server.protocol else 0

    async def receive(self, message: Any) -> None:
        """Take one binary websocket message of the page."""
        await self._connection.send(True, message)
        unchunker = self._endpoint.unchunkers.get(self._connection.client_id)
        if unchunker is not None:
            unchunker.set_max_message_size(MESSAGE_LIMIT)

    async def close(self) -> None:
        """End the server; nothing of it stays in the framework's tables."""
        if self._connection is not None:
            await self._connection.close()
        await self.server.stop()
        if self._task is not None:
            await self._task
        import wslink.server
        from trame_server.protocol import CoreServer

        if CoreServer.server is self.server:
            CoreServer.server = None
            wslink.server.ws_server = None

    def _narrow(self) -> None:
        endpoint = self._endpoint
        known = endpoint.functionMap
        endpoint.functionMap = {uri: known[uri] for uri in ALLOWED if uri in known}
        endpoint.functionMap["trame.state.update"] = (self, Link._update_state)
        endpoint.sendWrappedError = self._one_line_error(endpoint.sendWrappedError)
        self.server.protocol.validateToken = self._validate

    async def _validate(self, token: object, _client: str) -> bool:
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self._key.encode())

    def _update_state(self, changes: object) -> None:
        """State entries changed by the page: only those it owns, and only of their type."""
        if not isinstance(changes, list):
            return
        accepted = {}
        for change in changes:
            key = change.get("key") if isinstance(change, dict) else None
            wanted = self._client_keys.get(key) if isinstance(key, str) else None
            value = change.get("value") if wanted else None
            if wanted and isinstance(value, wanted) and len(str(value)) <= 1000:
                accepted[key] = value
        with self.server.state as state:
            # The page has these values already: noted as sent, so that they do not echo.
            self.server.protocol.push_state_change(accepted, skip_last_active_client=True)
            state.update(accepted)

    @staticmethod
    def _one_line_error(send: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapped(
            rpcid: object, code: int, message: str, data: object = None, client_id: object = None
        ) -> None:
            if isinstance(data, dict) and "trace" in data:
                logger.error("a page's request failed: %s", data.get("trace"))
                message = "Something went wrong on the server."
            await send(rpcid, code, message, client_id=client_id)

        return wrapped
