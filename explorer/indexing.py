"""Measuring a model ahead of time, and what is stored of others: the command ``index``."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from rich.filesize import decimal

from explorer import formats
from explorer.drawing.color_scale import percent
from explorer.errors import ModelError, NeuronautError
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.plain_text import clean
from explorer.progress import bytes_bar, say
from explorer.pyramid.plan import bytes_of
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.entries import Entry, clear, entries
from explorer.pyramid.workers.building import build_all
from explorer.pyramid.workers.cluster import Cluster
from explorer.pyramid.workers.processes import Standby, hands
from explorer.pyramid.workers.remote import RemoteWork


def index(path: str, dask: str | None = None) -> bool:
    """Measure all weights of a model and store what was found.

    Prints what it does: a bar or lines on stderr, the outcome on stdout. Ctrl-C stops it; what was
    measured by then is kept, and running it again goes on from there.

    Parameters
    ----------
    path : str
        A model file.
    dask : str, optional
        Address of the scheduler of a running cluster whose workers read the model, by the same
        path. What is stored is the same.

    Returns
    -------
    bool
        False when it was stopped.

    Raises
    ------
    NeuronautError
        If the model cannot be read, here or by a worker, or nothing can be stored.
    """
    start = time.perf_counter()
    with Standby(0 if dask else _size(path)) as standby:
        return _index(path, dask, standby, start)


def _size(path: str) -> int:
    """About how many bytes a model has; 0 where nobody can tell."""
    try:
        if os.path.isdir(path):
            return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
        return os.stat(path).st_size
    except OSError:
        return 0


def _index(path: str, dask: str | None, standby: Standby, start: float) -> bool:
    network = formats.open_network(path)
    # Not lasting: what is stored is checked and carried over here, not taken over unseen.
    with OpenModel(network, lasting=False) as model:
        if _already(model):
            return True
        with _cluster(dask) as cluster:
            model.keeper.begin(always=True)
            _go_on(path, model)
            if _already(model):  # another process finished between the two looks
                return True
            whole = _measure(model, cluster, standby)
        _go_on(path, model)
        if not whole:
            say(_stopped(model))
            return False
        model.keeper.finish(model.table.connections)
        _go_on(path, model)
        _report(network, len(model.table.connections), time.perf_counter() - start)
    return True


def _cluster(address: str | None) -> AbstractContextManager[Cluster | None]:
    if address is None:
        return nullcontext()
    return Cluster(address)


def _measure(model: OpenModel, cluster: Cluster | None, standby: Standby) -> bool:
    """Measure what has not been, and show how far it is; whether it came to its end."""
    connections = model.table.connections
    with _interrupted() as stop, bytes_bar(f"measuring {_short(model.network)}") as told:

        def ended() -> bool:
            return stop.is_set() or bool(model.keeper.reason)

        if cluster is not None:
            there = RemoteWork.of(model.network)
            with cluster.watched(ended) as watched:
                return build_all(
                    model.pyramid, connections, (cluster, cluster.workers), there, told, watched
                )
        left = sum(map(bytes_of, (c for c in connections if not model.pyramid.ready(c))))
        with hands(model.network, model.pyramid.level0, left, standby) as (executor, work):
            return build_all(model.pyramid, connections, executor, work, told, ended)


def _go_on(path: str, model: OpenModel) -> None:
    if model.keeper.reason:
        raise ModelError(path, model.keeper.reason)


def _short(network: Network) -> str:
    return clean(Path(network.opened).name)


def _stopped(model: OpenModel) -> str:
    """What is kept of a measuring that was stopped."""
    pyramid, connections = model.pyramid, model.table.connections
    total = sum(map(bytes_of, connections))
    done = sum(bytes_of(c) if pyramid.ready(c) else pyramid.read_of(c) for c in connections)
    if not done:
        return "stopped before anything was measured; nothing is kept"
    return (
        f"stopped; what was measured is kept, {decimal(done)} of {decimal(total)},"
        " and the same command goes on from there"
    )


def _already(model: OpenModel) -> bool:
    """Whether all weights have been measured; says so."""
    if not model.keeper.stored(model.table.connections):
        return False
    print(f"{_short(model.network)}: measured already")
    return True


def _report(network: Network, connections: int, seconds: float) -> None:
    stored = entries([network.opened])
    kept = f"; {_share(stored[0])} stored" if stored else ""
    things = f"{connections} connection{'s' * (connections != 1)}"
    print(f"{_short(network)}: {things} measured in {seconds:.1f} s{kept}")


def _share(entry: Entry) -> str:
    """Bytes stored and what part of the model that is."""
    share = percent(entry.nbytes / entry.model_bytes) if entry.model_bytes else ""
    return f"{decimal(entry.nbytes)} ({share} of {decimal(entry.model_bytes)})"


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that work ends at a good place; a second one interrupts."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, first)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


# -- what is stored --------------------------------------------------------------------------------


def stored_text(path: str | None = None) -> str:
    """What is stored, one line each, and how much that is together.

    Parameters
    ----------
    path : str, optional
        Only of this model, or of models in this folder.
    """
    found = entries(None if path is None else [path])
    if not found:
        return _nothing(path)
    rows = [
        (
            entry.state,
            _share(entry),
            datetime.fromtimestamp(entry.time).strftime("%Y-%m-%d %H:%M"),
            clean(str(entry.model), 1000),
        )
        for entry in found
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join((*map(str.ljust, row, widths), row[3])) for row in rows]
    lines.append(f"{decimal(sum(entry.nbytes for entry in found))} in {cache_folder()}")
    return "\n".join(lines)


def cleared_text(path: str | None = None) -> str:
    """Remove what is stored; says what.

    Parameters
    ----------
    path : str, optional
        Only of this model, or of models in this folder.

    Raises
    ------
    NeuronautError
        If it cannot be removed, is being written now, or the path means nothing.
    """
    removed, busy, nbytes = clear(None if path is None else [path])
    if path is not None and not removed and not busy and not os.path.lexists(path):
        raise ModelError(path, "no such file, and nothing is stored of it")
    done = f"removed {decimal(nbytes)}: {_names(removed)}" if removed else _nothing(path)
    if busy:
        raise NeuronautError(f"{_names(busy)}: being measured now, and left alone; {done}")
    return done


def _nothing(path: str | None) -> str:
    return f"nothing is stored {f'in {cache_folder()}' if path is None else f'of {path}'}"


def _names(found: list[Entry]) -> str:
    return ", ".join(clean(entry.name) for entry in found)
