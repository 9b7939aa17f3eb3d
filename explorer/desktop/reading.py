"""How far the reading of a large model is, in a corner of the window."""

from __future__ import annotations

import time

from explorer.session.reading_line import ReadingLine
from explorer.session.session import Session

#: Lines of a note, and the pixel that it belongs to.
Note = tuple[tuple[str, ...], tuple[float, float] | None]


class DesktopReading:
    """Tells of weights being read wherever nothing else is told, and pauses that.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session, self._line = session, ReadingLine()
        self._covered = False

    def news(self) -> bool:
        """Whether another line is to be shown in place of the last one."""
        return self._line.update(self._session.reading, time.monotonic()) and not self._covered

    def under(self, lines: tuple[str, ...], at: tuple[float, float] | None) -> Note:
        """What to show where this is to be told: itself, or the line where it is empty."""
        self._covered = bool(lines)
        if lines or not self._line.text:
            return lines, at
        return (self._line.text, f"p: {'go on' if self._line.paused else 'pause'}"), (0.0, 0.0)

    def toggle(self) -> str:
        """Pause or go on; what to tell of it, empty where the line tells it."""
        if not self._line.text:
            return "no large model is being read"
        (self._session.resume_reading if self._line.paused else self._session.pause_reading)()
        return ""
