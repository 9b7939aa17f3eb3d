"""Automatic detail in the page: nodes open as the camera comes near, whoever draws the picture."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from explorer.viewing.on_screen import Screen

if TYPE_CHECKING:
    from explorer.web.tab import Tab

#: Seconds between two looks whether something is to open or to close.
EVERY = 0.05


class Nearing:
    """Opens and closes nodes of one tab as its camera moves, one change at a time.

    Parameters
    ----------
    tab : Tab
    """

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._task: asyncio.Task[None] | None = None
        self._focus: tuple[float, float] | None = None

    def look(self, focus: tuple[float, float] | None = None) -> None:
        """The camera has moved: see what is to be done.

        Parameters
        ----------
        focus : (float, float), optional
            The pixel of the page that a person zooms at; the middle without it.
        """
        self._focus = focus if focus and all(map(math.isfinite, focus)) else None
        if self._tab.session.state.detail != "automatic":
            return
        if self._task is None or self._task.done():
            self._task = self._tab.spawn(self._tab.guarded(self._work()))

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(EVERY)  # many moves of the pointer are one
            await self._tab.rest()
            if not await self._step() or self._tab.feed.on:
                return  # a page that draws by itself tells when the change has come to rest

    async def _step(self) -> bool:
        tab = self._tab
        async with tab.lock:
            width, height = tab.stream.size
            if not width or tab.moves():
                return False
            screen = Screen(tab.camera, (width, height), self._focus)
            move = await asyncio.to_thread(tab.session.adjust, screen, tab.stream.pace.room)
            if move is None:
                return False
            target = tab.session.draw_list
        tab.move(target, move)
        return True


async def switch(tab: Tab) -> None:
    """Let nodes open and close as the camera moves, or by hand only."""
    on = tab.session.state.detail != "automatic"
    async with tab.lock:
        tab.session.set_detail("automatic" if on else "manual")
    tab.flush(detail=tab.session.state.detail)
    tab.nearing.look()
