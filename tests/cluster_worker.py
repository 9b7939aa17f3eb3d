"""A worker of a dask cluster with something to it: ``cluster_worker.py SCHEDULER FOLDER [HOW …]``.

Run by test_cluster.py as a process of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any


def hang(told: str) -> None:
    """Take a task, say so in a file, and never finish it."""
    from explorer.pyramid.workers.remote import RemoteWork

    def call(self: RemoteWork, pieces: object) -> None:
        Path(told).touch()
        threading.Event().wait()

    RemoteWork.__call__ = call  # type: ignore[assignment,method-assign]


def die() -> None:
    """Break down in each task."""
    from explorer.pyramid.workers.remote import RemoteWork

    RemoteWork.__call__ = lambda self, pieces: os._exit(9)  # type: ignore[method-assign]


def other(path: str, instead: str) -> None:
    """See another file under a path, as on a machine whose folders are others."""
    real = os.open

    def open_(name: Any, *arguments: Any, **options: Any) -> int:
        return real(instead if name == path else name, *arguments, **options)

    os.open = open_  # type: ignore[assignment]


def bare() -> None:
    """Have no Neuronaut."""
    sys.modules["explorer"] = None  # type: ignore[assignment]


def older() -> None:
    """Have another numpy."""
    from explorer.pyramid.workers import cluster, remote

    made = {**remote.maker(), "numpy": "1.0"}
    cluster.maker = lambda: made  # type: ignore[assignment]


if __name__ == "__main__":
    scheduler, folder, *how = sys.argv[1:]
    if how:
        {"hang": hang, "die": die, "other": other, "bare": bare, "older": older}[how[0]](*how[1:])
    from distributed.cli.dask_worker import main

    main([scheduler, "--no-nanny", "--no-dashboard", "--nthreads=1", f"--local-directory={folder}"])
