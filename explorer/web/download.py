"""What a tab's panel shows, sent as a file: the numbers are made while they are sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from explorer.errors import NeuronautError

if TYPE_CHECKING:
    from explorer.panel.export import Table

logger = logging.getLogger(__name__)
PATH = "/shown"
_TYPES = {"npy": "application/octet-stream", "csv": "text/csv"}
_WHAT = ("cells", "weights", "histogram")


class Telling(Protocol):
    """What this needs of a tab."""

    def table(self, what: str) -> Table:
        """What the panel shows, as numbers."""

    def tell(self, message: str) -> None:
        """Show a message in the page."""


async def answer(
    request: web.Request, tabs: Mapping[str, Telling], headers: Mapping[str, str]
) -> web.StreamResponse:
    """A file of numbers; a line of text where there is none, which the page shows too.

    Parameters
    ----------
    request : aiohttp.web.Request
        ``tab``: which; ``what``: ``"cells"``, ``"weights"`` or ``"histogram"``; ``kind``:
        ``"npy"`` or ``"csv"``. Its key has been checked.
    tabs : mapping of str to Telling
    headers : mapping of str to str
        Set on every answer.
    """
    query = request.query
    tab, what, kind = tabs.get(query.get("tab", "")), query.get("what"), query.get("kind")
    if tab is None or what not in _WHAT or kind not in _TYPES:
        raise web.HTTPNotFound
    try:
        data = await asyncio.to_thread(_begun, tab, what, kind)
    except NeuronautError as error:
        tab.tell(str(error))
        return web.Response(status=409, text=f"{error}\n", content_type="text/plain")
    response = web.StreamResponse(headers=dict(headers))
    response.content_type = _TYPES[kind]
    response.headers["Content-Disposition"] = f'attachment; filename="{what}.{kind}"'
    response.headers["Cache-Control"] = "no-store"
    await response.prepare(request)
    try:
        while (piece := await asyncio.to_thread(next, data, None)) is not None:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        pass
    except Exception as error:  # the browser must see that the file is not whole
        if isinstance(error, NeuronautError):
            tab.tell(str(error))
        else:
            logger.exception("numbers could not be sent")
        if request.transport is not None:
            request.transport.abort()
    return response


def _begun(tab: Telling, what: str, kind: str) -> Iterator[bytes]:
    from explorer.panel.export import sent

    return sent(tab.table(what), kind)
