"""How far long work is, told on stderr: bytes done of all, rate, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_STEPS = 10  # lines of progress where there is no terminal
_OFTEN, _SELDOM = 1.0, 30.0  # seconds between them, at least and at most

Told = Callable[[int, int], None]
"""Told of bytes done and of bytes in all."""


@contextmanager
def bytes_bar(title: str, patience: float = -1.0) -> Iterator[Told]:
    """A bar, or lines where stderr is no terminal.

    Parameters
    ----------
    title : str
    patience : float
        Seconds of work of which nothing is told.
    """
    from rich.console import Console  # here: it takes longer to load than most work does

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, patience)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task: Any = None

        def told(done: int, total: int) -> None:
            nonlocal task
            if task is None:  # what is there already must not count for the rate
                task = bar.add_task(title.replace("[", r"\["), completed=done, total=total)
            bar.update(task, completed=done, total=total)

        yield told


def _lines(title: str, patience: float) -> Told:
    """Progress as a line at each tenth."""
    from rich.filesize import decimal

    begun = last = time.monotonic()
    first = due = -1
    silent = patience > 0

    def told(done: int, total: int) -> None:
        nonlocal first, due, last, silent
        now = time.monotonic()
        step = done * _STEPS // total if total else _STEPS
        if silent and now - begun < patience:
            first = done if first < 0 else first
            return
        if first < 0:
            first = done
        elif not silent and done < total and now - last < (_OFTEN if step >= due else _SELDOM):
            return
        due, last, silent = step + 1, now, False
        rate = (done - first) / max(now - begun, 1e-3)
        part = f"{100 * done // total} %" if total else "100 %"
        text = f"{part}, {decimal(done)} of {decimal(total)}"
        if rate > 0:
            text += f", {decimal(int(rate))}/s, {(total - done) / rate:.0f} s left"
        say(f"{title}: {text}")

    return told


def say(text: str) -> None:
    """One line on stderr, with the name of the program before it."""
    print(f"neuronaut: {text}", file=sys.stderr, flush=True)
