"""Pausing Python's garbage collector while many objects are made that are all to be kept."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 10_000
"""Objects made in a block that would be looked through at an inconvenient moment."""

_lock = threading.Lock()
_pauses = 0
_was_on = True


@contextmanager
def paused() -> Iterator[None]:
    """Collect no garbage inside this block, nor in a function that this decorates.

    The collector looks through all objects again and again as their number grows; where none of
    them can be garbage this doubles the time. Blocks may be nested and may overlap among threads:
    the collector runs again, if it did before the first, when the last one is left, be it by an
    error. What was made is then taken for old, so that no click afterwards waits until all of it
    has been looked through twice.
    """
    global _pauses, _was_on
    with _lock:
        if not _pauses:
            _was_on = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_on:
                _age()
                gc.enable()


def _age() -> None:
    """Count the objects that exist as old ones, if there are many new ones."""
    if gc.get_count()[0] >= _MANY and not gc.get_freeze_count():
        # All objects go to the permanent generation, and from there to the oldest.
        gc.freeze()
        gc.unfreeze()
