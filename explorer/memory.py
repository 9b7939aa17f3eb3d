"""Remembering results within a limit of bytes, the least recently used forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """Results by key; safe for threads.

    Parameters
    ----------
    room : int
        Bytes that may be held.
    size : callable T -> int
        Bytes of a result.
    """

    def __init__(self, room: int, size: Callable[[T], int]) -> None:
        self._room, self._size = room, size
        self._held: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._bytes

    def get(self, key: Hashable) -> T | None:
        """What is remembered under a key."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: T) -> T:
        """Remember a value; returns it."""
        size = self._size(value)
        with self._lock:
            if key in self._held:
                self._bytes -= self._held.pop(key)[1]
            self._held[key] = (value, size)
            self._bytes += size
            while self._bytes > self._room and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][1]
        return value

    def find(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is remembered under a key, or else made now."""
        found = self.get(key)
        return self.put(key, make()) if found is None else found
