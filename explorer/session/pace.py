"""How much is drawn while things move, from how long frames take.

A still picture is always complete. A moving one may leave out the weakest edges, points of curves,
the less important labels, and pixels where a picture is sent to a page, so that it keeps its pace:
10 frames a second where the processor draws, 60 where a graphics card does. Which of the two it
is shows in the time that drawing takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SLOW_AIM = 1 / 10
"""Seconds that a moving frame may take where the processor draws."""
FAST_AIM = 1 / 60
"""Seconds that a moving frame may take where a graphics card draws."""

_STEP = 0.75  # what a level leaves of the level above it
LEVELS = 9
_QUICK = FAST_AIM / 2  # a frame drawn in less was drawn by a graphics card, or is very small
_ABOVE, _BELOW = 1.15, 0.6  # of the aim: between them nothing changes
_CALM = 3  # frames in a row below the band before more is drawn
_MOST_LABELS, _LEAST_LABELS = 240, 8
_ROOMS = (200, 3000)  # fewest and most nodes that automatic detail may show


@dataclass(frozen=True, slots=True)
class Quality:
    """What is drawn of a picture.

    Attributes
    ----------
    edges : float
        Share of the edges, the strongest ones, in 0..1.
    every : int
        Every how-manieth point of a curve is drawn; its ends always are.
    labels : int or None
        The most labels, the most important ones; ``None`` for all.
    scale : float
        Width and height of a streamed picture as shares of the full ones.
    """

    edges: float = 1.0
    every: int = 1
    labels: int | None = None
    scale: float = 1.0


FULL = Quality()


def quality_of(level: int) -> Quality:
    """What is drawn at a level of savings, 0 for everything.

    The cost of every part falls at least to `_STEP` times that of the level above only where that
    part can still be reduced; what is fixed stays.
    """
    if level <= 0:
        return FULL
    left = _STEP**level
    every = 1 if left > 0.6 else 2 if left > 0.3 else 4
    scale = 1.0 if left > 0.5 else 0.71 if left > 0.25 else 0.5
    # Curves of half the points cost about two thirds: the share of edges need not fall as far.
    saved = {1: 1.0, 2: 0.7, 4: 0.5}[every]
    return Quality(
        edges=min(left / saved, 1.0),
        every=every,
        labels=max(round(_MOST_LABELS * left), _LEAST_LABELS),
        scale=scale,
    )


class Pace:
    """Chooses the quality of moving frames from the time that the last ones took.

    What takes too long is reduced at once, by as many levels as the excess asks for; more is drawn
    again one level at a time, and only while frames take so little time that the next level cannot
    take too long. So at any constant speed it comes to rest: between 0.6 and 1.15 times the aim,
    or at one end.

    Parameters
    ----------
    slow_aim : float
        Seconds for a frame where the processor draws.
    fast_aim : float
        The same where a graphics card does.
    """

    def __init__(self, slow_aim: float = SLOW_AIM, fast_aim: float = FAST_AIM) -> None:
        self._aims = slow_aim, fast_aim
        self._fast = False
        self._level = 0
        self._calm = 0
        self._room = float(_ROOMS[1]) / 2

    @property
    def aim(self) -> float:
        """Seconds that a moving frame may take."""
        return self._aims[self._fast]

    @property
    def level(self) -> int:
        """How much is left out: 0 for nothing, up to `LEVELS` - 1."""
        return self._level

    @property
    def quality(self) -> Quality:
        """What the next moving frame is to show."""
        return quality_of(self._level)

    @property
    def room(self) -> int:
        """How many nodes automatic detail may show: fewer where even the least is too slow."""
        return round(self._room)

    def feed(self, seconds: float, drawing: float | None = None) -> None:
        """Take the time of a moving frame that was drawn with `quality`.

        Parameters
        ----------
        seconds : float
            Of the whole frame.
        drawing : float, optional
            Of that, what the graphics library took.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            return
        if drawing is not None and 0 < drawing < _QUICK:
            self._fast = True
        ratio = seconds / self.aim
        if ratio > _ABOVE:
            self._calm = 0
            if self._level < LEVELS - 1:
                steps = math.ceil(math.log(ratio) / -math.log(_STEP))
                self._level = min(self._level + min(steps, 3), LEVELS - 1)
            else:
                self._room = max(self._room * 0.9, _ROOMS[0])
        elif ratio < _BELOW:
            self._calm += 1
            if self._calm >= _CALM:
                self._calm = 0
                if self._level > 0:
                    self._level -= 1
                else:
                    self._room = min(self._room * 1.1, _ROOMS[1])
        else:
            self._calm = 0
