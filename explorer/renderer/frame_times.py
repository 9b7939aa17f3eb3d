"""How long a picture took, and which part of it was drawing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class FrameTimes:
    """Times of the last picture, seconds.

    Attributes
    ----------
    whole : float
        With the taking of draw lists since the picture before, and the placing of labels.
    drawing : float
        What the graphics library took.
    """

    def __init__(self) -> None:
        self.whole = self.drawing = 0.0
        self._before = self._placed = 0.0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Around what is done once for each new draw list."""
        begin = time.perf_counter()
        yield
        self._before += time.perf_counter() - begin

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Around what is done in each picture before it is drawn, inside of `picture`."""
        begin = time.perf_counter()
        yield
        self._placed += time.perf_counter() - begin

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Around a picture."""
        self._placed = 0.0
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self.whole, self.drawing = self._before + spent, spent - self._placed
        self._before = 0.0
