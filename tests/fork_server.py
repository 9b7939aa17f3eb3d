"""Parses model files as the child of `explorer.formats.sandbox.isolation` does, each in a fork.

Started by `forked_reading`. Every fork has the limits of the real child, and none of its start. It
is watched: to write, to run or connect to anything, to import a framework, or to open what lies
outside the folder of the model ends it and is told.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import warnings
from typing import Any, NoReturn

_FRAMEWORKS = frozenset(("tensorflow", "keras", "torch", "h5py"))
_HARM = ("os.", "shutil.", "socket.", "subprocess.", "urllib.", "ctypes.dlopen", "pty.", "ftplib.")
_HARMLESS = frozenset(("os.scandir", "os.listdir"))
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _roots(path: str) -> list[str]:
    """Folders in which a reader may open files: Python's own, and those of the model."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    found = [
        *sys.path,
        sys.prefix,
        sys.base_prefix,
        folder,
        os.path.dirname(os.path.realpath(path)),
    ]
    if os.path.basename(os.path.dirname(folder)) == "snapshots":
        found.append(os.path.join(os.path.dirname(os.path.dirname(folder)), "blobs"))
    return [os.path.realpath(root) for root in found]


def _watched(path: str, connection: socket.socket) -> None:
    """End this process when its Python does what a reader has no business to do."""
    roots = _roots(path)

    def harm(what: object) -> NoReturn:
        connection.sendall(f"! {what!r}\n".encode())
        os._exit(1)

    def hook(event: str, told: tuple[Any, ...]) -> None:
        if event == "open":
            name, _, flags = told
            if flags & _WRITES:
                harm(f"open {name!r} to write")
            if isinstance(name, (str, bytes)):
                real = os.path.realpath(os.fsdecode(name))
                if not any(os.path.commonpath((real, root)) == root for root in roots):
                    harm(f"open {name!r}")
        elif event == "import":
            if told[0].split(".")[0] in _FRAMEWORKS:
                harm(f"import {told[0]}")
        elif event.startswith(_HARM) and event not in _HARMLESS:
            harm(f"{event}{told}")

    sys.addaudithook(hook)


def _parse(
    connection: socket.socket, path: str, limits: list[int], descriptor: int, out: int
) -> NoReturn:
    from explorer.formats.sandbox.child import limit, parse

    limit(*limits)
    _watched(path, connection)
    data = parse(path, descriptor)
    while data:
        data = data[os.write(out, data) :]
    os._exit(0)


def serve(connection: socket.socket) -> None:
    """Parse what is asked for, one after the other, until the other end is closed."""
    import onnx.inliner
    import onnx.shape_inference  # noqa: F401

    from explorer.formats import formats
    from explorer.formats.sandbox.child import _leave_out

    formats()
    _leave_out()
    warnings.simplefilter("ignore")
    gc.disable()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        if not request:
            return
        path, *limits = json.loads(request)
        child = os.fork()
        if not child:
            _parse(connection, path, limits, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(f"{child}\n".encode())
        _, status, usage = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        connection.sendall(f"{code} {usage.ru_maxrss}\n".encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[4])))
