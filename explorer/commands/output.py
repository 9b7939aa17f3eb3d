"""What commands write: progress on stderr, JSON, pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.errors import NeuronautError
from explorer.progress import bytes_bar, say
from explorer.viewing.view_state import checked_range

if TYPE_CHECKING:
    from explorer.session.session import Session

LARGEST_PICTURE = 16384
PATIENCE = 1.0
"""Seconds of reading of which nothing is told where there is no terminal."""


class progress_bar:  # noqa: N801  (used like a function)
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def plain_json(found: object) -> str:
    """What ``--json`` prints; only numbers that JSON knows."""
    return json.dumps(found, ensure_ascii=False, allow_nan=False)


def picture_size(text: str) -> tuple[int, int]:
    """Width and height of ``1600x900``, pixels; `NeuronautError` for anything else."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (16 <= width <= LARGEST_PICTURE and 16 <= height <= LARGEST_PICTURE):
        raise NeuronautError(
            f"size {text[:40]!r} is not WIDTHxHEIGHT between 16x16 and"
            f" {LARGEST_PICTURE}x{LARGEST_PICTURE}"
        )
    return width, height


def save_and_close(session: Session, output: Path, size: tuple[int, int]) -> None:
    """Write a session's picture once all its weights are read; the session is closed after."""
    from explorer.films.picture import save_picture

    try:
        with bytes_bar("reading weights", PATIENCE) as progress:
            session.wait(progress)
        if session.model.keeper.reason:
            say(session.model.keeper.reason)
        save_picture(session, output, size)
    finally:
        session.close_session()


def check_picture(output: Path) -> None:
    """Refuse, before any work, a picture that could not be written."""
    if output.suffix.lower() != ".png":
        raise NeuronautError(f"{output}: a picture is written as .png")
    if not output.parent.is_dir():
        raise NeuronautError(f"{output}: the folder {output.parent} does not exist")


def color_range(text: str) -> tuple[float, float]:
    """The ends of a colour scale, written ``LOW:HIGH``."""
    low, _, high = text.partition(":")
    try:
        return checked_range((float(low), float(high)))
    except (ValueError, NeuronautError):
        raise NeuronautError(
            f"range {text[:40]!r} is not LOW:HIGH, two numbers, 0 or more, the high one larger"
        ) from None
