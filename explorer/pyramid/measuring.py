"""Measuring connections: what was measured, what is being measured, and what lies on the shelf."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from explorer.memory import Memory
from explorer.pyramid.blocks import MatrixStats, Totals, from_bytes, to_bytes
from explorer.pyramid.gathering import Gathered
from explorer.pyramid.level0 import Level0, Reader
from explorer.pyramid.plan import Key, Period, Plan, bytes_of, measured, plan_of
from explorer.pyramid.shelf import Put, Runs, Shelf, section_key
from explorer.pyramid.sums.bands import Band
from explorer.weights.connections import Connection

_PATIENCE = 0.05  # seconds between two looks whether a caller who waits for another was cancelled
_HELD = 160 << 20  # bytes of statistics kept in memory


@dataclass(eq=False)
class _Work:
    """A connection that is being measured: what has been done of it so far."""

    connection: Connection
    plan: Plan
    done: Gathered
    nbytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    estimated: tuple[int, Totals | None] = (0, None)  # after so many tasks

    def left(self) -> list[int]:
        """Tasks that are not done."""
        return [at for at in range(len(self.plan.tasks)) if at not in self.done]


class Measuring:
    """Measures connections on demand and keeps what it found; safe for threads.

    Parameters
    ----------
    reader : Reader
        Reads the weights' elements (`explorer.weights.weight_reader.WeightReader`).
    cache_bytes : int
        Most bytes of level 0 that are kept.
    period : callable Connection -> int, optional
        Channels of the tensor that was flattened into a connection's in units; 0 for none.
    """

    def __init__(
        self, reader: Reader, cache_bytes: int = 64 << 20, period: Period = lambda _: 0
    ) -> None:
        self.level0 = Level0(reader, cache_bytes)
        self._find_period = period
        self._periods: dict[Key, int] = {}
        self._totals: dict[Key, Totals] = {}
        self._held: Memory[tuple[MatrixStats, ...]] = Memory(
            _HELD, lambda found: 500 + sum(s.nbytes for s in found)
        )
        self._building: dict[Key, threading.Event] = {}
        self._work: dict[Key, _Work] = {}
        self._names: dict[Key, str] = {}
        self._shelf: Shelf | None = None
        self._offered: dict[str, Totals] = {}  # on the shelf, and not asked for yet
        self._put: Put | None = None
        self._runs: Runs | None = None
        self._lock = threading.Lock()

    def _period(self, connection: Connection) -> int:
        found = self._periods.get(connection.key)
        if found is None:
            found = self._periods[connection.key] = self._find_period(connection)
        return found

    # -- what has been measured --------------------------------------------------------------

    def attach(self, shelf: Shelf, put: Put | None = None, runs: Runs | None = None) -> None:
        """Take over what was measured earlier.

        Parameters
        ----------
        shelf : Shelf
        put : callable, optional
            Called with all that is measured from now on.
        runs : Runs, optional
            Has bands of connections that were not finished, and is given others from now on.
        """
        offered = {name: Totals(*totals) for name, totals in shelf.totals.items()}
        with self._lock:
            self._shelf, self._put, self._offered, self._runs = shelf, put, offered, runs

    def section_name(self, connection: Connection) -> str:
        """Name of a connection's statistics on the shelf."""
        found = self._names.get(connection.key)
        if found is None:
            found = section_key(connection, self._period(connection))
            self._names[connection.key] = found
        return found

    def section_names(self, connection: Connection) -> tuple[str, ...]:
        """Names of all that lies on the shelf of a connection."""
        return (self.section_name(connection),)

    def take_over(self, connections: Iterable[Connection]) -> None:
        """Look on the shelf for all connections there are; what else lies there is of no use."""
        offered, runs = self._offered, self._runs
        begun = () if runs is None else runs.begun
        if offered or begun:
            for connection in connections:
                if not self.ready(connection) and begun:
                    self.carried(connection)
            with self._lock:
                if self._offered is offered:
                    self._offered = {}

    def ready(self, connection: Connection) -> bool:
        """Whether the connection has been measured."""
        if connection.key in self._totals:
            return True
        if not self._offered:
            return False
        with self._lock:
            found = self._offered.pop(self.section_name(connection), None)
            if found is not None:
                self._totals.setdefault(connection.key, found)
        return found is not None

    def built_since(self, count: int) -> list[Key]:
        """Keys of the connections that were measured after the first `count`, in order."""
        with self._lock:
            return list(islice(self._totals, count, None)) if len(self._totals) > count else []

    def totals(self, connection: Connection) -> Totals:
        """Sums over all weights of a connection that is ready."""
        return self._totals[connection.key]

    def plan(self, connection: Connection) -> Plan:
        """What is measured of a connection."""
        return plan_of(connection, self._period(connection))

    def bytes_needed(self, connection: Connection) -> int:
        """Bytes of weights that `build` will read."""
        return bytes_of(connection)

    @property
    def nbytes(self) -> int:
        """Bytes of statistics held in memory."""
        return self._held.nbytes

    # -- measuring ---------------------------------------------------------------------------

    def build(self, connection: Connection, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Read the connection's weights once and sum their blocks.

        A second caller waits for the first, and takes over if that one gave up. What was done
        before a cancellation is kept.

        Parameters
        ----------
        connection : Connection
        cancelled : callable () -> bool
            Asked every few MB.

        Returns
        -------
        bool
            Whether the connection is ready now.

        Raises
        ------
        ModelError
            If the file cannot be read any more.
        """
        while not self.ready(connection):
            mine = threading.Event()
            with self._lock:
                building = self._building.setdefault(connection.key, mine)
            if building is not mine:
                while not building.wait(_PATIENCE):
                    if cancelled():
                        return False
                continue
            try:
                if not self.ready(connection) and not self._measure(connection, cancelled):
                    return False
            finally:
                with self._lock:
                    del self._building[connection.key]
                mine.set()
        return True

    def glance(self, connection: Connection) -> None:
        """Read one band of a connection, so that `estimate` has something to go by."""
        plan = self.plan(connection)
        if len(plan.tasks) == 1:
            self.build(connection)
            return
        own = len(connection.matrices)
        first = next((at for at, task in enumerate(plan.tasks) if task.part < own), None)
        if first is not None and not self.ready(connection):
            work = self._work_on(connection)
            middle = first + plan.parts[plan.tasks[first].part].grid.bands // 2
            if not work.done:
                self._do(work, middle)

    def estimate(self, connection: Connection) -> Totals | None:
        """Sums over the part of a connection that has been read so far; ``None`` for none.

        The same object for as long as no more has been read.
        """
        work = self._work.get(connection.key)
        if work is None:
            return None
        with work.lock:
            if work.estimated[0] != len(work.done):
                work.estimated = len(work.done), work.done.estimate()
            return work.estimated[1]

    def estimates(self) -> dict[Key, Totals]:
        """Sums over what has been read so far of connections that are not ready."""
        with self._lock:
            work = [(key, w.connection) for key, w in self._work.items()]
        found = ((key, self.estimate(connection)) for key, connection in work)
        return {key: totals for key, totals in found if totals is not None}

    def read_of(self, connection: Connection) -> int:
        """Bytes that have been read of a connection that is not ready."""
        work = self._work.get(connection.key)
        return 0 if work is None else work.nbytes

    def carried(self, connection: Connection) -> int:
        """Bytes that were read of a connection that is not ready, by an earlier process too."""
        runs = self._runs
        if runs is not None and runs.begun and self.section_name(connection) in runs.begun:
            self._work_on(connection)
        return self.read_of(connection)

    @property
    def under_way(self) -> int:
        """Bytes that have been read of connections that are not ready."""
        with self._lock:
            work = list(self._work.values())
        return sum(w.nbytes for w in work)

    def left(self, connection: Connection) -> tuple[Plan, list[int]]:
        """The plan of a connection, and which of its tasks nobody has done yet."""
        work = self._work_on(connection)
        return work.plan, work.left()

    def take(self, connection: Connection, at: int, band: Band) -> None:
        """Take over what came of a task, wherever it was done.

        Parameters
        ----------
        connection : Connection
        at : int
            Position of the task in ``plan(connection)``.
        band : Band
        """
        self._take(self._work_on(connection), at, band)

    def _take(self, work: _Work, at: int, band: Band) -> None:
        with work.lock:
            if at not in work.done:
                work.done.add(at, band)
                work.nbytes += work.plan.told(at)
                self._write(work)

    def finish(self, connection: Connection) -> bool:
        """Take over a connection if all of its tasks are done; whether they are."""
        work = self._work_on(connection)
        if not work.done.whole:
            return False
        stats, totals = work.done.assembled()
        self._held.put(connection.key, stats)
        if self._put is not None:
            self._put(self.section_name(connection), totals.row(), to_bytes(stats))
        with self._lock:
            self._totals[connection.key] = totals
            self._work.pop(connection.key, None)
        return True

    def write_unfinished(self) -> None:
        """Write down what was measured of connections that are not whole, where that is kept."""
        with self._lock:
            every = list(self._work.values())
        for work in every:
            with work.lock:
                self._write(work, all_of_it=True)

    def _write(self, work: _Work, all_of_it: bool = False) -> None:
        runs = self._runs
        payload = None if runs is None else work.done.unwritten(all_of_it)
        if runs is not None and payload is not None:
            runs.append_run(self.section_name(work.connection), payload)

    def put(self, connection: Connection) -> None:
        """Have a connection that is ready kept, which was measured before anything was kept."""
        stats = self.matrices(connection)
        if self._put is not None:
            totals = self.totals(connection)
            self._put(self.section_name(connection), totals.row(), to_bytes(stats))

    def _shelved(self, connection: Connection, plan: Plan) -> tuple[MatrixStats, ...] | None:
        """What lies on the shelf, if it is whole and of these matrices."""
        if self._shelf is None or not self.ready(connection):
            return None
        data = self._shelf.section(self.section_name(connection))
        return None if data is None else from_bytes(memoryview(data), plan.grids)

    def _work_on(self, connection: Connection) -> _Work:
        """What was done of a connection, by an earlier process if not by this one."""
        found = self._work.get(connection.key)
        if found is not None:
            return found
        plan, runs = self.plan(connection), self._runs
        fresh = _Work(connection, plan, Gathered(plan))
        if runs is not None and runs.begun:
            fresh.done.go_on(runs.runs(self.section_name(connection)))
            fresh.nbytes = sum(plan.told(at) for at in range(len(plan.tasks)) if at in fresh.done)
        with self._lock:
            return self._work.setdefault(connection.key, fresh)

    def _do(self, work: _Work, at: int) -> None:
        self._take(work, at, self._measured(work.plan, at))

    def _measured(self, plan: Plan, at: int) -> Band:
        task = plan.tasks[at]
        (band,) = measured([(plan.parts[task.part], task.band)], self.level0)
        return band

    def _measure(self, connection: Connection, cancelled: Callable[[], bool]) -> bool:
        """Do what is left of a connection; whether it was not cancelled."""
        work = self._work_on(connection)
        for at in work.left():  # by one thread: several make each other wait, and are slower
            if cancelled():
                return False
            self._do(work, at)
        return self.finish(connection)

    def matrices(self, connection: Connection) -> tuple[MatrixStats, ...]:
        """Statistics of each part of the plan, measured or fetched now if need be."""
        found = self._held.get(connection.key)
        if found is not None:
            return found
        plan = self.plan(connection)
        found = self._shelved(connection, plan)
        if found is not None:
            return self._held.put(connection.key, found)
        if not any(grid.stored for grid in plan.grids):
            self.build(connection)
            return tuple(MatrixStats(grid) for grid in plan.grids)
        with self._lock:  # forgotten, or damaged on the shelf
            before = self._totals.get(connection.key)
        if before is None:
            self.build(connection)
        else:
            again = Gathered(plan)
            for at in range(len(plan.tasks)):
                again.add(at, self._measured(plan, at))
            stats, _ = again.assembled()
            return self._held.put(connection.key, stats)
        return self.matrices(connection)
