"""What a format is, and how it says no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.formats.containers.source import Source
    from explorer.network import Network


class UnreadableError(Exception):
    """A file that a format will not read; the text is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format: how to recognise it and how to read it.

    Attributes
    ----------
    name : str
        Stands in ``Network.format``.
    matches : callable
        ``matches(source) -> bool``, by content and never by the name of the file; must be cheap
        and must not raise for any bytes.
    read : callable
        ``read(source) -> Network`` without reading a weight's bytes; raises `UnreadableError`. It
        runs in a child process with limits on time and memory, so any other exception is reported
        as a damaged file and does no harm.
    """

    name: str
    matches: Callable[[Source], bool]
    read: Callable[[Source], Network]
