"""The one thread in which VTK works, and the renderers that live in it.

A renderer that dies in another thread than the one its graphics context belongs to takes the
process with it. So renderers are kept in a table here, outside of what Python collects wherever it
likes, and leave it in this thread only: when asked to, or at the process' end.
"""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.renderer import Renderer

_renderers: dict[int, Renderer] = {}
_numbers = itertools.count(1)
#: How long the end of the process waits for a picture that is being made, seconds.
_PATIENCE = 5.0


class VtkThread(Executor):
    """Runs jobs one after another in a daemon thread.

    The standard library's pool ends its threads before the process' last callbacks run; this one
    is still there then, to take the renderers down.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        # Re-entrant: a painter may be collected, and ask for its end, in the midst of `submit`.
        self._start = threading.RLock()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Put a job behind those that wait."""
        future: Future[Any] = Future()
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vtk", daemon=True)
                self._thread.start()
                atexit.register(self._finish)
        self._jobs.put((future, lambda: work(*arguments, **named)))
        return future

    def _run(self) -> None:
        while True:
            future, work = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del future, work  # nothing of a job may live on into the next one's time

    def _finish(self) -> None:
        try:
            self.submit(_close_all).result(_PATIENCE)
        except TimeoutError:
            return


VTK = VtkThread()


def new_number() -> int:
    """A number for a renderer that may be made later."""
    return next(_numbers)


def renderer(number: int, size: tuple[int, int]) -> Renderer:
    """The renderer of this number, made at first use; in the VTK thread only."""
    found = _renderers.get(number)
    if found is None:
        from explorer.renderer import Renderer

        found = _renderers[number] = Renderer(size, off_screen=True, legend=False)
    return found


def close(number: int) -> None:
    """Take a renderer down, if it was ever made; in the VTK thread only."""
    found = _renderers.pop(number, None)
    if found is not None:
        found.close()


def _close_all() -> None:
    for number in list(_renderers):
        close(number)
