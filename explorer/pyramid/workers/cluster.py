"""Measuring on a cluster of dask.distributed that somebody else started.

Tasks of workers that are lost are done again by others. What is sent is read on arrival, not
before, so that a worker that lacks this package says so and goes on serving others.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, InvalidStateError
from types import TracebackType
from typing import TYPE_CHECKING, Any

from explorer.errors import NeuronautError
from explorer.pyramid.plan import Piece
from explorer.pyramid.sums.bands import Band
from explorer.pyramid.workers.building import Work
from explorer.pyramid.workers.remote import close_idle, maker

if TYPE_CHECKING:
    from distributed import Client

_CONNECTING = 10.0  # seconds
_DESERTED = 60.0  # seconds without any worker after which the work is given up
_OFTEN = 2.0  # seconds between two looks at the cluster
_CLOSING = 5.0  # seconds
_TRIES = 5  # times that dask may give a task up because its workers were lost
_INSTALL = "--dask needs dask.distributed; install it with: pip install neuronaut[dask]"


class Cluster(Executor):
    """The workers of a running cluster, as an executor for `build_all`; safe for threads.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://host:port``, ``tls://host:port`` or ``host:port``. Certificates
        are those of dask's configuration.

    Raises
    ------
    NeuronautError
        If no scheduler answers there, or dask.distributed is not installed.

    Notes
    -----
    Both sides believe what the other sends (pickle).
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(_without_log())
        try:
            self._client = _connected(address)
        except BaseException:
            self._quiet.close()
            raise
        self._pool = self._client.get_executor(pure=False)
        self._looked = self._served = time.monotonic()

    @property
    def workers(self) -> int:
        """How many tasks to keep in the cluster's hands; more workers may come at any time."""
        return max(16, 2 * sum(self._threads().values()))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a `Work` done by any worker.

        Parameters
        ----------
        fn : Work
            One that opens the files by itself.
        *args
            Pieces, its only argument.
        """
        ticket = _Ticket(_order(_there, dict(maker()), pickle.dumps((fn, args, kwargs))))
        self._begin(ticket)
        return ticket

    def _begin(self, ticket: _Ticket) -> None:
        if ticket.cancelled():
            return
        ticket.tries += 1
        try:
            sent = self._pool.submit(pickle.loads, ticket.order)
        except Exception as error:  # the client was closed, or the scheduler's end reached it
            raise NeuronautError(f"{self._lost()} ({error})") from None
        sent.add_done_callback(lambda done: self._ended(ticket, done))

    def _ended(self, ticket: _Ticket, done: Future[bytes]) -> None:
        """Hand on what became of a task; one whose workers were all lost is given to others."""
        from distributed.scheduler import KilledWorker

        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            error = None if done.cancelled() else done.exception()
            if done.cancelled():
                ticket.set_exception(NeuronautError(self._lost()))
            elif isinstance(error, KilledWorker) and ticket.tries < _TRIES:
                self._again(ticket)
            elif isinstance(error, KilledWorker):
                ticket.set_exception(NeuronautError(
                    f"{self._address}: workers were lost again and again at the same task, the"
                    f" last was {error.last_worker.address}; do they have enough memory?"
                ))  # fmt: skip
            elif isinstance(error, (ImportError, AttributeError)):
                ticket.set_exception(_LackingError(str(error)))
            elif error is not None:
                ticket.set_exception(error)
            else:
                ticket.set_result(pickle.loads(done.result()))

    def _again(self, ticket: _Ticket) -> None:
        try:
            self._begin(ticket)
        except NeuronautError as error:
            ticket.set_exception(error)

    def _lost(self) -> str:
        return f"{self._address}: the connection to the scheduler was lost"

    def _check(self) -> None:
        """Make sure that somebody works; costs nothing when called often."""
        now = time.monotonic()
        if now - self._looked < _OFTEN:
            return
        self._looked = now
        if self._threads():
            self._served = now
        elif now - self._served > _DESERTED:
            raise NeuronautError(f"{self._address}: the cluster has no workers")

    def _threads(self) -> dict[str, int]:
        """Threads of each worker."""
        if self._client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                found: dict[str, int] = self._client.nthreads()
                return found
        raise NeuronautError(self._lost())

    @contextlib.contextmanager
    def watched(self, ended: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Look after the cluster while `build_all` has its work done.

        Parameters
        ----------
        ended : callable () -> bool
            What else may end the work.

        Yields
        ------
        callable () -> bool
            For `build_all` to ask whether it was cancelled.

        Raises
        ------
        NeuronautError
            If the scheduler is gone, there has been no worker for a minute, or a worker lacks this
            package.
        """

        def asked() -> bool:
            if ended():
                return True
            self._check()
            return False

        try:
            yield asked
        except _LackingError as error:
            raise NeuronautError(
                f"{self._lacking()}: no neuronaut there, or another version of it ({error});"
                " install the same"
            ) from None

    def _lacking(self) -> str:
        """The workers that cannot do the work."""
        with contextlib.suppress(Exception):
            answers = self._client.run(pickle.loads, _order(maker), on_error="return")
            bad = [at for at, found in answers.items() if isinstance(found, Exception)]
            if bad:
                others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
                return f"worker {bad[0]}{others}"
        return f"a worker of {self._address}"

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster: its workers close the model, what is not done is forgotten."""
        try:
            with contextlib.suppress(Exception):
                if self._client.status == "running":
                    self._client.run(
                        pickle.loads, _order(close_idle), wait=False, on_error="ignore"
                    )
            with contextlib.suppress(Exception):
                self._client.close(_CLOSING)
        finally:
            self._quiet.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()


class _LackingError(Exception):
    """A worker could not read what it was sent."""


class _Ticket(Future[list[Band]]):
    """What one task will give; may be cancelled at any time before."""

    def __init__(self, order: bytes) -> None:
        super().__init__()
        self.order = order
        self.tries = 0

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        with contextlib.suppress(InvalidStateError, RuntimeError):
            self.set_running_or_notify_cancel()  # so that nobody waits for it
        return True


def _connected(address: str) -> Client:
    try:
        import distributed
    except ImportError:
        raise NeuronautError(_INSTALL) from None
    if not address.strip():  # dask would start a cluster of its own
        raise NeuronautError("--dask needs the address of a scheduler: tcp://host:port")

    class Quiet(distributed.Client):  # type: ignore[misc]
        """One that failed to connect is left alone: to close it takes long, and may fail loudly."""

        def __del__(self) -> None:
            pass

    with warnings.catch_warnings():
        # Other versions of what our tasks do not use are no matter; of what they do we ask.
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
        try:
            return Quiet(address, timeout=_CONNECTING, set_as_default=False)
        except Exception as error:
            told = str(error).partition("\n")[0] or type(error).__name__
            raise NeuronautError(f"{address}: no dask scheduler answers ({told})") from None


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep dask's own account of lost connections from standing between our lines."""
    logger = logging.getLogger("distributed.client")
    try:
        import distributed  # noqa: F401  (sets the levels when it is first imported)
    except ImportError:
        yield
        return
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


# -- what travels ----------------------------------------------------------------------------------


class _Call:
    """Is what a function gives, once it is unpickled.

    A worker that cannot read what it is sent breaks off; one that is sent bytes to unpickle as its
    task reads them as part of the work, and answers with the error.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _order(function: Callable[..., Any], *arguments: Any) -> bytes:
    return pickle.dumps(_Call(function, *arguments))


def _there(makers: Mapping[str, str], task: bytes) -> bytes:
    """On the worker: do a task, if it is sure to be done as the sender would do it."""
    where = f"worker {_own_address()}"
    own = maker()
    for what, version in makers.items():
        if own.get(what) != version:
            raise NeuronautError(
                f"{where}: has {what} {own.get(what)}, not {version}; install the same"
            )
    work: Work
    pieces: Sequence[Piece]
    try:
        work, (pieces,), _ = pickle.loads(task)
        return pickle.dumps(work(pieces))
    except (NeuronautError, OSError, MemoryError) as error:
        told = error if isinstance(error, NeuronautError) else f"{type(error).__name__}: {error}"
        raise NeuronautError(f"{where}: {told}") from None


def _own_address() -> str:
    from distributed import get_worker

    address: str = get_worker().address
    return address
