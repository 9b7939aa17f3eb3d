"""What was placed before: scopes in which nothing changed are looked up, not placed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from threading import Lock
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def digest(*inputs: object) -> bytes:
    """A key for arrays, plain values and dataclasses of these: equal for equal content."""
    hashed = blake2b(digest_size=20)
    for value in inputs:
        if isinstance(value, np.ndarray):
            hashed.update(f"{value.dtype.str}{value.shape}".encode())
            hashed.update(np.ascontiguousarray(value).data)
        elif is_dataclass(value) and not isinstance(value, type):
            hashed.update(digest(*(getattr(value, field.name) for field in fields(value))))
        else:
            hashed.update(f"{value!r};".encode())
    return hashed.digest()


class Memory:
    """A bounded memory of results by key; what was not asked for the longest is forgotten first.

    Results are shared, so their arrays must not be written to. Safe to share between threads: two
    that ask for the same new result may both make it, and get equal ones.

    Parameters
    ----------
    most_bytes : int
        Bound on the sum of the results' array bytes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._known: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def recall(self, key: bytes, make: Callable[[], T]) -> T:
        """The result under a key, made if it is not known."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                known: T = self._known[key][0]
                return known
        made = make()
        size = _bytes_of(made) + 1000
        with self._lock:
            if key not in self._known:
                self._known[key] = (made, size)
                self._held += size
            while self._held > self._most and self._known:
                self._held -= self._known.popitem(last=False)[1][1]
        return made

    def forget(self) -> None:
        """Start empty."""
        with self._lock:
            self._known.clear()
            self._held = 0

    def __len__(self) -> int:
        return len(self._known)


def _bytes_of(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if is_dataclass(value) and not isinstance(value, type):
        return sum(_bytes_of(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return sum(map(_bytes_of, value))
    return 0
