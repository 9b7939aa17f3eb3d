"""The browser page: an image of the server's rendering, and the controls around it.

``serve`` blocks until Ctrl-C; ``serve_in_thread`` returns a handle, for notebooks and scripts.
Both bind to loopback, demand a random key and give every browser tab its own session.
"""

from __future__ import annotations

from explorer.web.serving import Handle, serve, serve_in_thread

__all__ = ["Handle", "serve", "serve_in_thread"]
