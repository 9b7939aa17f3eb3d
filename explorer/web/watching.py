"""What background reading brings, shown in a tab: weights that came in, and how far it is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from explorer.errors import NeuronautError
from explorer.session.reading_line import ReadingLine
from explorer.web import shown

if TYPE_CHECKING:
    from explorer.web.tab import Tab

#: How often background reading may change the picture, seconds.
POLL_EVERY = 0.15


async def watch(tab: Tab) -> None:
    """Show what background reading brings, until the tab is closed."""
    failed = ""
    while True:
        await asyncio.sleep(POLL_EVERY)
        tab.matrix.follow()
        if tab.moves():
            continue
        _show_line(tab, tab.reading)
        try:
            async with tab.lock:
                changed = await asyncio.to_thread(_poll, tab)
        except NeuronautError as error:
            if str(error) != failed:  # the file is gone or changed: told once
                failed = str(error)
                tab.tell(failed)
            continue
        if changed:
            tab.show_now()


def _show_line(tab: Tab, line: ReadingLine) -> None:
    now = shown.reading_state(line)
    if tab.state.reading != now:
        tab.flush(reading=now)


def _poll(tab: Tab) -> bool:
    """Look for news and, if there are any, make the draw list anew; in another thread."""
    session = tab.session
    tab.reading.update(session.reading, time.monotonic())
    if session.message:
        message, session.message = session.message, ""
        raise NeuronautError(message)
    return session.poll() and session.draw_list is not None
