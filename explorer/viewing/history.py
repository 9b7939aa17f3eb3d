"""Undo and redo: what was, and what was taken back, both bounded."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
MOST_STEPS = 100


class History(Generic[T]):
    """States before each change, the newest last; and those that were taken back.

    It holds what it is given and knows nothing of it: anything immutable will do.

    Parameters
    ----------
    most : int
        How many changes can be taken back; of more, the oldest are forgotten.
    """

    def __init__(self, most: int = MOST_STEPS) -> None:
        self._most = most
        self._past: list[T] = []
        self._future: list[T] = []

    @property
    def previous(self) -> T | None:
        """What `undo` would give."""
        return self._past[-1] if self._past else None

    @property
    def following(self) -> T | None:
        """What `redo` would give."""
        return self._future[-1] if self._future else None

    def record(self, before: T) -> None:
        """Note the state before a change; what was taken back is lost with it."""
        self._past.append(before)
        del self._past[: -self._most]
        self._future.clear()

    def undo(self, now: T) -> T | None:
        """The state before the last change, or ``None``; `now` can be had back by `redo`."""
        return self._step(self._past, self._future, now)

    def redo(self, now: T) -> T | None:
        """The state that the last `undo` left, or ``None``; `now` can be had back by `undo`."""
        return self._step(self._future, self._past, now)

    @staticmethod
    def _step(from_here: list[T], to_there: list[T], now: T) -> T | None:
        if not from_here:
            return None
        to_there.append(now)
        return from_here.pop()
