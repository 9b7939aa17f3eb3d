"""Reading the weights that a picture lacks: a little at once, the rest in a thread.

The thread first takes a glance at everything large that is on the screen, so that there are
estimates; then it reads that whole; then, where statistics are kept from run to run, all the rest.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.edges import EdgeFinder
from explorer.crossing.rows import Crossing, Sum
from explorer.errors import NeuronautError
from explorer.open_model import OpenModel

_SMALL = 1 << 20  # bytes of a connection that may be read at once
_IDLE = 10.0  # seconds without work after which the thread ends
_LARGE = 4 << 20  # bytes of a connection that is estimated before it is read


@dataclass(frozen=True)
class Progress:
    """How much of a model's weights has been read, or of what a picture needs counted.

    Attributes
    ----------
    done, total : int
        Bytes; weights where they are counted.
    state : {"idle", "reading", "paused"}
    counting : bool
        All is read, and weights are looked at once more for what sums do not tell.
    """

    done: int
    total: int
    state: str
    counting: bool = False

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 1.0


def unread(crossing: Crossing) -> bool:
    """Whether anything is still to be read or found."""
    return bool(len(crossing.unread) or crossing.searches)


def _lacking(crossing: Crossing) -> tuple[Hashable, ...]:
    """Equal for pictures that lack the same."""
    return (crossing.unread.tobytes(), *(s.key for s in crossing.searches))


class BackgroundReading:
    """Reads what the latest picture lacks.

    Parameters
    ----------
    model : OpenModel
    finder : EdgeFinder
        Of the same model.

    Attributes
    ----------
    fresh : threading.Event
        Set when something was read that the picture does not show yet, or reading failed.
    busy : bool
        Whether the thread is reading.
    message : str
        Why weights could not be read; empty while all is well.
    """

    def __init__(self, model: OpenModel, finder: EdgeFinder) -> None:
        self.fresh = threading.Event()
        self.busy = False
        self.message = ""
        self._told = False
        self._counted = 0  # weights looked at since last there was nothing to count
        self._model, self._pyramid, self._finder = model, model.pyramid, finder
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._free = threading.Event()  # cleared while a person waits for a picture
        self._free.set()
        self._paused = threading.Event()
        self._wanted = threading.Event()
        self._latest: Crossing | None = None
        self._thread: threading.Thread | None = None
        self._failed: tuple[Hashable, ...] | None = None
        self._turn = np.zeros(0, np.int64)  # when each connection was first needed; 0: not yet

    def at_once(self, crossing: Crossing, seconds: float) -> bool:
        """Read what is small, for so long at most; whether anything was read."""
        if not self._worth_trying(crossing):
            return False
        try:
            return self._read(crossing, time.monotonic() + seconds)
        except NeuronautError as error:  # the structure can still be looked at
            self._fail(crossing, str(error))
            return False

    def want(self, crossing: Crossing) -> None:
        """Have the rest read in the thread; what an earlier picture wanted is dropped."""
        with self._lock:
            self._latest = crossing
            if not any(isinstance(task, Sum) for task in crossing.searches):
                self._counted = 0
            more = self._worth_trying(crossing) or self._model.keeper.unfinished
            if not more or self._closed.is_set() or self._paused.is_set():
                return
            self._wanted.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="weights", daemon=True)
                self._thread.start()

    def pause(self) -> None:
        """Stop reading; what has been read so far is kept."""
        self._paused.set()

    def resume(self) -> None:
        """Go on reading after `pause`."""
        self._paused.clear()
        self._failed = None
        if self._latest is not None:
            self.want(self._latest)

    @property
    def progress(self) -> Progress:
        """How much of the model's weights has been read, or of what is counted of them."""
        table, crossing = self._model.table, self._latest
        total = int(table.nbytes.sum())
        done = int(table.nbytes[table.ready].sum()) + self._pyramid.under_way
        state = "paused" if self._paused.is_set() else "reading" if self.busy else "idle"
        if crossing is not None and not len(crossing.unread):
            sums = (task for task in crossing.searches if isinstance(task, Sum))
            left = sum(task.weights for task in sums if not self._finder.known(task))
            if left:
                return Progress(self._counted, self._counted + left, state, counting=True)
        return Progress(min(done, total), total, state)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the thread rest meanwhile: a person waits, and there are few cores."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._free.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _worth_trying(self, crossing: Crossing) -> bool:
        return unread(crossing) and (self._failed is None or self._failed != _lacking(crossing))

    def _fail(self, crossing: Crossing, message: str) -> None:
        """Tell why, and do not try the same ones again at once."""
        self._failed = _lacking(crossing)
        self.message = message

    def _work(self) -> None:
        while not self._closed.is_set():
            if not self._wanted.wait(_IDLE):
                with self._lock:
                    if not self._wanted.is_set():
                        self._thread = None
                        return
            with self._lock:
                self._wanted.clear()
                crossing = self._latest
            if crossing is None or self._closed.is_set():
                continue
            self.busy = True
            try:
                self._begin()
                self._read(crossing, math.inf)
                self._read_rest(crossing)
            except NeuronautError as error:
                self._fail(crossing, str(error))
            except Exception as error:  # a person must hear of it
                self._fail(crossing, f"reading weights failed: {type(error).__name__}: {error}")
            finally:
                if self._paused.is_set():  # who knows for how long
                    self._pyramid.write_unfinished()
                self.busy = False
                self.fresh.set()

    def _begin(self) -> None:
        """Have what is read kept from run to run; where it cannot be, that is told once."""
        keeper = self._model.keeper
        keeper.begin()
        if keeper.reason and not self._told:
            self._told, self.message = True, keeper.reason

    def _read(self, crossing: Crossing, until: float) -> bool:
        """Read weights and find strands until a time; whether any was read or found.

        What came to be needed last (it was just opened) comes first, then the cheapest. In the
        thread, a picture that is no longer the latest is left for the one that is.
        """
        limit = math.inf if until == math.inf else _SMALL

        def stopped() -> bool:
            if until == math.inf:
                self._free.wait()
            return self._closed.is_set() or (until == math.inf and self._paused.is_set())

        def over() -> bool:
            if stopped():
                return True
            stale = until == math.inf and self._latest is not crossing
            return stale or time.monotonic() > until

        found = False
        if until == math.inf:
            self._glance(crossing, over)
        for number in self._ranked(crossing, limit):
            if over():
                return found
            connection = crossing.table.connections[number]
            found = not self._pyramid.ready(connection) or found
            self._pyramid.build(connection, stopped)
            crossing.table.refresh()
            self.fresh.set()
        for task in sorted(crossing.searches, key=lambda task: task.weights):
            if over():
                return found
            if not self._finder.known(task) and task.weights * 4 <= limit:
                self._finder.search(task, stopped)
                if isinstance(task, Sum) and self._finder.known(task):
                    self._counted += task.weights
                found = True
                self.fresh.set()
        return found

    def _glance(self, crossing: Crossing, over: Callable[[], bool]) -> None:
        """Read a little of everything large, so that there is something to show.

        One line after the other along the flow: a line has an estimate once a part of all its
        connections is known, so what is small among them is read on the way.
        """
        table, numbers = crossing.table, crossing.unread
        self._take_turns(numbers, len(table))
        for number in numbers[np.lexsort((numbers, -self._turn[numbers]))].tolist():
            if over():
                return
            connection = table.connections[number]
            if table.nbytes[number] > _LARGE:
                self._pyramid.glance(connection)
            else:
                self._pyramid.build(connection, over)
            table.refresh()
            self.fresh.set()

    def _read_rest(self, crossing: Crossing) -> None:
        """Read what no picture has asked for yet, where it is kept for the next run."""

        def over() -> bool:
            self._free.wait()
            gone = self._closed.is_set() or self._paused.is_set()
            return gone or self._latest is not crossing

        keeper, table = self._model.keeper, crossing.table
        if keeper.unfinished:
            for connection in table.connections:
                if over() or not self._pyramid.build(connection, over):
                    return
            table.refresh()
            keeper.finish(table.connections)

    def _ranked(self, crossing: Crossing, limit: float) -> list[int]:
        """Numbers of the connections to read, in order, of at most so many bytes each."""
        numbers, table = crossing.unread, crossing.table
        self._take_turns(numbers, len(table))
        small = numbers[table.nbytes[numbers] <= limit]
        ranked = small[np.lexsort((table.nbytes[small], -self._turn[small]))]
        return [int(n) for n in ranked]

    def _take_turns(self, numbers: NDArray[np.integer], size: int) -> None:
        """Note which of these connections, of so many, are needed for the first time."""
        if len(self._turn) != size:
            self._turn = np.zeros(size, np.int64)
        new = numbers[self._turn[numbers] == 0]
        self._turn[new] = 1 + self._turn.max(initial=0)
