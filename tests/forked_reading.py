"""`open_network` with the reader forked from a process that has its modules loaded already.

Everything else is as it always is: the limits of the child, and all checks of the parent. An open
takes some 20 ms in place of half a second.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fork_server
import pytest

from explorer.formats.sandbox import isolation
from explorer.formats.sandbox.isolation import Limits


class _Forked:
    """What `isolation` needs of a `subprocess.Popen`."""

    def __init__(self, server: Server, pid: int, out: IO[bytes]) -> None:
        self._server, self.pid, self.stdout = server, pid, out
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            harm = told = self._server.line()
            if told.startswith("!"):
                told = self._server.line()
            self.returncode, peak = map(int, told.split())
            self._server.peak = max(self._server.peak, peak << 10)
            assert harm == told, f"the reader did what it must not do {harm}"
        return self.returncode


class Server:
    """A process that parses files in forks of itself.

    Attributes
    ----------
    peak : int
        Bytes of memory of the largest fork so far.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._mine, theirs = socket.socketpair()
        start = isolation._START.replace(
            "from explorer.formats.sandbox.child import main", "import runpy"
        ).replace("main(sys.argv[3:])", "runpy.run_path(sys.argv[3], run_name='__main__')")
        search = "\n".join(entry for entry in sys.path if entry)
        package = str(Path(isolation.__file__).parents[2])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", start, package, search,
                 fork_server.__file__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, cwd="/",
                env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )  # fmt: skip
        self._lines = self._mine.makefile("r")

    def line(self) -> str:
        """The next thing that the server tells."""
        told = self._lines.readline()
        assert told, "the server of forks has ended"
        return told

    def start(self, path: str, descriptor: int, limits: Limits) -> Any:
        """In the place of `isolation._started`."""
        out, into = os.pipe()
        request = json.dumps([path, limits.memory, limits.seconds]).encode()
        socket.send_fds(self._mine, [request], [descriptor, into])
        os.close(into)
        return _Forked(self, int(self.line()), os.fdopen(out, "rb"))

    def close(self) -> None:
        """End the server."""
        self._lines.close()
        self._mine.close()
        self._process.wait()

    @contextmanager
    def patched(self) -> Iterator[Server]:
        """While in this context models are read by this server."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(isolation, "_started", self.start)
            yield self
