"""Who may come in: the key, the Host and Origin checks, the headers of every answer.

The checks follow what notebook servers do against DNS rebinding and cross-site websockets: a Host
that is not one of ours is refused, an Origin that is not ourselves is refused, and everything that
belongs to a person's network needs the key of this start.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from explorer.web.page import notice

logger = logging.getLogger(__name__)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Paths that need the key; all others are the libraries' own public files.
LOCKED = ("/", "/index.html", "/ws", "/shown")


def new_key() -> str:
    """A fresh random key of 256 bits.

    Lower-case hexadecimal behind a letter: the page's library lower-cases the websocket address
    and turns texts that look like numbers into numbers, and this survives both.
    """
    return "k" + secrets.token_hex(32)


@dataclass(frozen=True)
class Door:
    """The rules for one server.

    Attributes
    ----------
    host : str
        The address that the server binds to.
    key : str
        What a visitor must know.
    frame_ancestors : str
        Who may show the page in a frame, in the words of Content-Security-Policy.
    """

    host: str
    key: str = field(default_factory=new_key, repr=False)
    frame_ancestors: str = "'none'"

    def host_allowed(self, host: str) -> bool:
        """Whether a ``Host`` header names this server: its bound name or a loopback name.

        A server bound to all interfaces is reached by addresses it cannot list; there an IP
        address is let in, a name is not (a name is what rebinding needs).
        """
        name = _host_name(host)
        if name in LOOPBACK or name == self.host.strip("[]").lower():
            return True
        return self.host in ("0.0.0.0", "::") and _is_address(name)

    def key_fits(self, given: str | None) -> bool:
        """Compare in a time that does not depend on where the first difference is."""
        return hmac.compare_digest((given or "").encode(), self.key.encode())

    def headers(self) -> dict[str, str]:
        """Headers set on every answer.

        ``unsafe-eval`` is there because the page's templates are compiled in the browser; nothing
        from outside this server can be loaded, sent to, or framed.
        """
        policy = (
            "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' "
            "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
            f"base-uri 'self'; form-action 'none'; frame-ancestors {self.frame_ancestors}"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if self.frame_ancestors == "'none'":
            headers["X-Frame-Options"] = "DENY"
        return headers

    def middleware(self) -> Middleware:
        """The checks as an aiohttp middleware; a refusal is a 403 without detail."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = self._refusal(request)
            response = refusal if refusal is not None else await _answer(request, handler)
            if not response.prepared:
                response.headers.update(self.headers())
            return response

        return guard

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self.host_allowed(request.headers.get("Host", "")):
            return _plain(403, "This server does not answer to that name.")
        origin = request.headers.get("Origin")
        if origin is not None and not _same_origin(origin, request):
            return _plain(403, "Requests from other pages are refused.")
        if request.method not in ("GET", "HEAD"):
            return _plain(405, "Only GET is answered here.")
        if request.path in LOCKED and not self.key_fits(request.query.get("key")):
            return web.Response(status=403, text=notice(NO_KEY), content_type="text/html")
        return None


NO_KEY = "This page needs the whole address that the command printed, its key included."


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _plain(error.status, error.reason)
    except (ConnectionError, TimeoutError):
        return _plain(503, "The connection broke.")
    except Exception:  # the browser never sees why; the person at the terminal may ask to
        logger.exception("a request failed")
        return _plain(500, "Something went wrong on the server.")


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", content_type="text/plain")


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(origin: str, request: web.Request) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == request.scheme and parts.netloc.lower() == request.host.lower()
