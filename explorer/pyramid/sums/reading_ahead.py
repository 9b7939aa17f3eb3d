"""Reading what comes next while what is there is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def reading_ahead(
    read: Callable[[T, int], R], requests: Sequence[T], ahead: bool = True
) -> Iterator[Iterator[tuple[T, R]]]:
    """What was read for each request, in order; a thread is always one request ahead.

    Parameters
    ----------
    read : callable (T, int) -> R
        Called with a request and 0 or 1 in turn: the place to read to. What was read to a place is
        done with when the next but one is read there.
    requests : sequence of T
    ahead : bool
        If not, each is read when its turn comes, always to place 0.

    Yields
    ------
    iterator of (T, R)
        Raises what `read` raises, where its result would come.
    """
    if len(requests) < 2 or not ahead:
        yield ((request, read(request, 0)) for request in requests)
        return
    with ThreadPoolExecutor(1, "reading ahead") as thread:

        def arriving() -> Iterator[tuple[T, R]]:
            coming = thread.submit(read, requests[0], 0)
            for at, request in enumerate(requests):
                found = coming.result()
                if at + 1 < len(requests):
                    coming = thread.submit(read, requests[at + 1], (at + 1) % 2)
                yield request, found

        yield arriving()
