"""Building the whole pyramid of a model ahead of time, with whatever executor there is.

The work is cut alike whoever does it, and put together in the order of the file, so threads,
processes and a cluster come to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from functools import partial

from explorer.network import ByteRange
from explorer.pyramid.level0 import Level0
from explorer.pyramid.measuring import Measuring
from explorer.pyramid.plan import Piece, measured
from explorer.pyramid.sums.bands import Band
from explorer.weights.connections import Connection

_JOB_BYTES = 32 << 20
_AHEAD = 4  # jobs waiting for each worker: results are small, but must not pile up
_PATIENCE = 0.2  # seconds between two looks whether it was cancelled

Work = Callable[[Sequence[Piece]], list[Band]]
"""Measures some bands, wherever it runs."""


@dataclass(frozen=True, eq=False)
class _Job:
    """Bands that are measured together: whose they are, which, and how many bytes of the model.

    Bytes that are read twice, as a flattened channel's, count half each time.
    """

    owners: list[tuple[Connection, int]]
    pieces: list[Piece]
    nbytes: int


def here(level0: Level0) -> Work:
    """Measuring in this process."""
    return partial(measured, level0=level0)


def build_all(
    pyramid: Measuring,
    connections: Sequence[Connection],
    executor: tuple[Executor, int],
    work: Work,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Measure every connection that has not been.

    Parameters
    ----------
    pyramid : Measuring
        Takes each connection over as soon as all of it is there; what lay on its shelf is not
        measured again.
    connections : sequence of Connection
    executor : (Executor, int)
        Where the work is done, and how many workers that has.
    work : callable
        What is sent there: `here`, or its like that opens the file by itself.
    progress : callable (int, int) -> None
        Told the bytes done and the bytes in all, from this thread.
    cancelled : callable () -> bool
        Asked a few times a second.

    Returns
    -------
    bool
        Whether all is measured. When cancelled, what was done stays, and lasts where the pyramid
        has where to write it.

    Raises
    ------
    ModelError
        If the file cannot be read or was changed; what was done before stays.
    """
    total = sum(pyramid.bytes_needed(c) for c in connections)
    todo = [c for c in connections if not pyramid.ready(c)]
    done = total - sum(pyramid.bytes_needed(c) - pyramid.carried(c) for c in todo)
    progress(done, total)
    pool, workers = executor
    running: dict[Future[list[Band]], _Job] = {}
    jobs = _jobs(pyramid, sorted(todo, key=_place))
    try:
        while not cancelled():
            for job in jobs:
                running[pool.submit(work, job.pieces)] = job
                if len(running) >= workers * _AHEAD:
                    break
            if not running:
                return True
            ready, _ = wait(running, _PATIENCE, FIRST_COMPLETED)
            for future in ready:
                job = running.pop(future)
                _take(pyramid, job, future.result())
                done += job.nbytes
            if ready:
                progress(done, total)
        return False
    finally:
        for future in running:
            future.cancel()
        wait(running)
        for future, job in running.items():  # begun before it was cancelled: not in vain
            if not future.cancelled() and future.exception() is None:
                _take(pyramid, job, future.result())
        pyramid.write_unfinished()


def _place(connection: Connection) -> tuple[str, int]:
    """Where in the files a connection begins: a disk likes to be read in order."""
    where = connection.matrices[0].weight.where if connection.matrices else None
    return (where.file, where.offset) if isinstance(where, ByteRange) else ("", 0)


def _jobs(pyramid: Measuring, connections: Sequence[Connection]) -> Iterator[_Job]:
    """Bands in order, small ones together."""
    owners: list[tuple[Connection, int]] = []
    pieces: list[Piece] = []
    nbytes = told = 0
    for connection in connections:
        plan, left = pyramid.left(connection)
        if not left:  # an earlier process was killed when it had just done the last
            pyramid.finish(connection)
        for at in left:
            task = plan.tasks[at]
            if pieces and nbytes + task.nbytes > _JOB_BYTES:
                yield _Job(owners, pieces, told)
                owners, pieces, nbytes, told = [], [], 0, 0
            owners.append((connection, at))
            pieces.append((plan.parts[task.part], task.band))
            nbytes += task.nbytes
            told += plan.told(at)
    if pieces:
        yield _Job(owners, pieces, told)


def _take(pyramid: Measuring, job: _Job, bands: list[Band]) -> None:
    """Keep what a job found; connections that are whole are handed over."""
    for (connection, at), band in zip(job.owners, bands, strict=True):
        pyramid.take(connection, at, band)
    for connection in {connection.key: connection for connection, _ in job.owners}.values():
        pyramid.finish(connection)
