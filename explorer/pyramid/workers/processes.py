"""Worker processes on this machine, as an executor: short numpy calls in threads of one process
wait for each other's interpreter lock, and two such threads are slower than one.

A worker is a fresh interpreter at the ends of two pipes. It reads what to do from one and writes
what came of it to the other, and ends when its pipe is closed, whether its parent closed it, was
interrupted or was killed. Where no worker can be started, or one is lost, its work is done here.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from explorer.network import Network
from explorer.pyramid.level0 import Level0
from explorer.pyramid.workers.building import Work, here
from explorer.pyramid.workers.remote import RemoteWork

WORTH = 256 << 20
"""Bytes of weights below which workers take longer to start than they save."""
_MOST = 8  # workers
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_START = """
import sys
sys.path[:] = sys.argv[1].split("\\n")
from explorer.pyramid.workers import processes
from explorer.pyramid.workers import remote
processes.serve()
"""
_SIZE = struct.Struct("<Q")
_PIPE = 1 << 20  # bytes that a pipe holds, where the system allows it
_PATIENCE = 5.0  # seconds until a worker that was told to end is killed

_Order = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Standby:
    """Worker processes that start while it is still being found out what they are to do.

    A context manager: those that nobody took are ended when it is left.

    Parameters
    ----------
    nbytes : int
        About how many bytes of weights will be measured; of few, none is started.
    """

    def __init__(self, nbytes: int) -> None:
        self._workers = [_Worker(_started()) for _ in range(_helpers(nbytes))]

    def __enter__(self) -> Standby:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.take(len(self._workers)):
            worker.close()

    def take(self, count: int) -> list[_Worker]:
        """At most so many of them."""
        taken, self._workers = self._workers[:count], self._workers[count:]
        return taken


def _helpers(nbytes: int) -> int:
    """How many processes are worth their start."""
    return min(_MOST, os.cpu_count() or 1) - 1 if nbytes >= WORTH else 0


@contextmanager
def hands(
    network: Network, level0: Level0, nbytes: int, standby: Standby | None = None
) -> Iterator[tuple[tuple[Executor, int], Work]]:
    """Who measures on this machine: processes where there is much to do, else one thread.

    Parameters
    ----------
    network : Network
    level0 : Level0
        Of the same network.
    nbytes : int
        Of weights that are to be measured.
    standby : Standby, optional
        Has workers that are started already.

    Yields
    ------
    executor : (Executor, int)
        As `explorer.pyramid.workers.building.build_all` takes it.
    work : callable

    Raises
    ------
    ModelError
        If a file of the network cannot be read any more, or was changed.
    """
    helpers = _helpers(nbytes)
    if helpers:
        with Processes(helpers, also_here=True, standby=standby) as processes:
            yield (processes, processes.workers), RemoteWork.of(network)
    else:
        with ThreadPoolExecutor(1) as thread:
            yield (thread, 1), here(level0)


class Processes(Executor):
    """Worker processes, each fed by a thread of its own; safe for threads.

    Functions, arguments and results must be picklable. Functions whose worker dies are called
    again, in this process.

    Parameters
    ----------
    workers : int
        How many processes.
    also_here : bool
        Whether a thread of this process works too: it need not be started, so it is the first to
        begin.
    standby : Standby, optional
        Processes of it are used first.
    """

    def __init__(
        self, workers: int, also_here: bool = False, standby: Standby | None = None
    ) -> None:
        self.workers = workers + also_here
        self._waiting: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        crew = standby.take(workers) if standby is not None else []
        crew += [_Worker(_started()) for _ in range(workers - len(crew))]
        crew += [_Worker(None)] if also_here else []
        self._feeders = [
            threading.Thread(target=self._feed, args=(worker,), name="worker", daemon=True)
            for worker in crew
        ]
        for feeder in self._feeders:
            feeder.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called in one of the processes."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker processes are closed")
            self._waiting.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once what was submitted is done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                while cancel_futures:
                    try:
                        order = self._waiting.get_nowait()
                    except queue.Empty:
                        break
                    if order is not None:
                        order[0].cancel()
                for _ in self._feeders:
                    self._waiting.put(None)
        if wait:
            for feeder in self._feeders:
                feeder.join()

    def _feed(self, worker: _Worker) -> None:
        """Hand orders to one worker until there are no more."""
        try:
            while (order := self._waiting.get()) is not None:
                future, fn, args, kwargs = order
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = worker.call(fn, args, kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                del order, future, fn, args, kwargs
        finally:
            worker.close()


class _Worker:
    """One process, or this one; for one thread."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        self._process = process

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function returns or raises in the worker; without one, here."""
        if self._process is None:
            return fn(*args, **kwargs)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, (fn, args, kwargs))
            failed, found = _received(self._process.stdout)
        except (OSError, EOFError):  # it was killed, or could not be started after all
            self.close()
            return fn(*args, **kwargs)
        if failed:
            raise found
        return found

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started() -> subprocess.Popen[bytes] | None:
    """A fresh interpreter that waits for orders; ``None`` where none can be started."""
    package = str(Path(__file__).resolve().parents[3])
    search = "\n".join([package, *(entry for entry in sys.path if entry)])
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, search],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            start_new_session=True,  # Ctrl-C goes to the parent alone, which then ends the worker
        )
    except (OSError, ValueError):
        return None
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        _widen(pipe.fileno())
    return process


def _widen(pipe: int) -> None:
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):  # elsewhere pipes are as wide as they are
        pass


# -- both ends of a pipe ---------------------------------------------------------------------------


def serve() -> None:
    """Do what is ordered on standard input until it ends; the worker's whole life."""
    orders, out = (os.fdopen(os.dup(n), mode, buffering=0) for n, mode in ((0, "rb"), (1, "wb")))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # nothing that is printed may come between
        os.dup2(nowhere, descriptor)
    with suppress(EOFError, OSError):
        while True:
            fn, args, kwargs = _received(orders)
            answer: tuple[bool, Any]
            try:
                answer = False, fn(*args, **kwargs)
            except Exception as error:
                answer = True, error
            _send(out, answer)


def _send(pipe: Any, message: Any) -> None:
    """Write a message; large arrays go as they are, without a copy."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, 5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(b.raw() for b in buffers)]
    sizes = struct.pack(f"<{len(parts)}Q", *(p.nbytes for p in parts))
    for part in (memoryview(_SIZE.pack(len(parts)) + sizes), *parts):
        done = 0
        while done < part.nbytes:
            done += pipe.write(part[done:])


def _received(pipe: Any) -> Any:
    """The next message; raises `EOFError` when there are no more."""
    (count,) = _SIZE.unpack(_exactly(pipe, _SIZE.size))
    sizes = struct.unpack(f"<{count}Q", _exactly(pipe, 8 * count))
    head, *buffers = [_exactly(pipe, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def _exactly(pipe: BinaryIO, nbytes: int) -> bytearray:
    found = bytearray(nbytes)
    view, done = memoryview(found), 0
    while done < nbytes:
        got = pipe.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        done += got
    return found
