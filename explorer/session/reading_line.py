"""What a person is told while a large model's weights are read: one line, or nothing."""

from __future__ import annotations

from explorer.session.background import Progress

LEAST = 32 << 20  # bytes of weights; fewer are read before a line about it could be read
PATIENCE = 0.5  # seconds of reading before it is told, and of rest before the line goes
RENEWED = 0.5  # seconds between two changes of the number at least


class ReadingLine:
    """From `Progress`, looked at again and again, to a line that neither flickers nor races.

    Attributes
    ----------
    text : str
        Such as ``"reading weights: 37 % of 15.0 GB"``; empty while there is nothing to tell.
    paused : bool
        Whether a person has stopped the reading.
    """

    def __init__(self) -> None:
        self.text = ""
        self.paused = False
        self._busy_since: float | None = None
        self._idle_since: float | None = None
        self._changed = 0.0

    def update(self, progress: Progress, now: float) -> bool:
        """Take the latest progress.

        Parameters
        ----------
        progress : Progress
        now : float
            Seconds on a clock that never goes back.

        Returns
        -------
        bool
            Whether the line is another one now.
        """
        paused = progress.state == "paused"
        text = self._line(progress) if self._worth_telling(progress, now) else ""
        if (text, paused) == (self.text, self.paused):
            return False
        number_alone = text and self.text and paused == self.paused
        if number_alone and now - self._changed < RENEWED:
            return False
        self.text, self.paused, self._changed = text, paused, now
        return True

    def _worth_telling(self, progress: Progress, now: float) -> bool:
        if progress.total <= LEAST or progress.done >= progress.total:
            self._busy_since = None
            return False
        if progress.state == "idle":  # between two pictures the thread rests for a moment
            self._idle_since = now if self._idle_since is None else self._idle_since
            if now - self._idle_since >= PATIENCE:
                self._busy_since = None
            return bool(self.text) and self._busy_since is not None
        self._idle_since = None
        if progress.state == "paused":
            self._busy_since = now - PATIENCE  # goes on with the line where it had one
            return True
        self._busy_since = now if self._busy_since is None else self._busy_since
        return now - self._busy_since >= PATIENCE

    def _line(self, progress: Progress) -> str:
        paused, share = progress.state == "paused", f"{int(100 * progress.share)} %"
        if progress.counting:
            return f"counting paused at {share}" if paused else f"counting weights: {share}"
        what = "reading paused at" if paused else "reading weights:"
        return f"{what} {share} of {size(progress.total)}"


def size(number: int) -> str:
    """A number of bytes as a person reads it, in decimal units.

    Parameters
    ----------
    number : int
        Bytes, 0 or more.
    """
    if number >= 999_500_000:
        return f"{number / 1e9:.1f} GB"
    return f"{round(number / 1e6)} MB"
