"""What the pointer does in the picture: drags move the camera, clicks open, rests tell values."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from explorer.viewing import orbit
from explorer.viewing.dolly import dolly, kept
from explorer.viewing.on_screen import Screen
from explorer.viewing.view_state import Camera
from explorer.web import page, shown
from explorer.web.pointer import Gesture, Pointer

if TYPE_CHECKING:
    from explorer.renderer import Pick
    from explorer.web.tab import Tab

#: How long the pointer rests before the tip shows, seconds.
HOVER_REST = 0.07


class Pointing:
    """The pointer of one tab, whoever draws its picture.

    Parameters
    ----------
    tab : Tab
    """

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._pointer = Pointer()
        self._hover: asyncio.Task[None] | None = None

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take a raw event over a picture that the server drew."""
        tab, gesture = self._tab, self._pointer.feed(event)
        if gesture is None or tab.feed.on:
            return
        if gesture.kind == "hover":
            self._rest(gesture)
            return
        self.hide_tip()
        tab.heard()
        if gesture.kind == "click":
            tab.spawn(tab.guarded(self._click(gesture)))
        elif gesture.kind == "end":
            tab.stir()
        else:
            if not tab.follows:
                tab.settle()
            tab.camera = self._moved(gesture)
            tab.stir(quick=True)
            tab.nearing.look((gesture.x, gesture.y) if gesture.kind == "zoom" else None)

    async def clicked(self, pick: Pick, at: tuple[float, float]) -> None:
        """A click, in pixels of the page, on what is drawn now."""
        tab = self._tab
        if pick.node is None:
            if pick.edge is not None:
                await self._select_edge(pick.edge)
            else:
                await tab.run("select", None)
            return
        path = tab.drawn.nodes[pick.node]
        await tab.run("press", path, at if pick.frame_title else None)

    async def tell(self, pick: Pick, at: tuple[float, float]) -> None:
        """Show the tip of what the pointer rests on, in what is drawn now."""
        tab, drawn, session = self._tab, self._tab.drawn, self._tab.session
        async with tab.lock:
            if drawn is not session.draw_list:
                return
            if pick.node is not None:
                text = await asyncio.to_thread(session.describe, drawn.nodes[pick.node])
            elif pick.edge is not None:
                text = await asyncio.to_thread(session.describe_edge, pick.edge)
            else:
                return
        tab.flush(tip=shown.tip(text, at, tab.stream.size))

    def hide_tip(self) -> None:
        """Take the tip away."""
        if self._hover is not None:
            self._hover.cancel()
            self._hover = None
        if self._tab.state.tip["show"]:
            self._tab.flush(tip=page.EMPTY_TIP)

    def rest(self, work: Any) -> None:
        """Run what shows a tip, until the pointer moves on."""
        self.hide_tip()
        self._hover = self._tab.spawn(work)

    def _moved(self, gesture: Gesture) -> Camera:
        tab, solids = self._tab, self._tab.drawn.solids
        width, height = tab.stream.size
        focus = (gesture.x, gesture.y) if gesture.x or gesture.y else None
        screen = Screen(tab.camera, (width, height), focus)
        if gesture.kind == "turn":
            return orbit.turn(tab.camera, gesture.dx, gesture.dy)
        if gesture.kind == "shift":
            moved = orbit.shift(tab.camera, gesture.dx, gesture.dy)
            return kept(screen, moved, solids.centers, solids.sizes)
        return dolly(screen, solids.centers, solids.sizes, gesture.factor)

    async def _under(self, gesture: Gesture) -> Pick:
        tab = self._tab
        width, height = (max(n, 1) for n in tab.stream.size)
        at = gesture.x / width, gesture.y / height
        return await tab.painter.pick(tab.drawn, tab.camera, *at)

    async def _click(self, gesture: Gesture) -> None:
        self._tab.settle()
        drawn = self._tab.drawn
        pick = await self._under(gesture)
        if drawn is self._tab.drawn:
            await self.clicked(pick, (gesture.x, gesture.y))

    async def _select_edge(self, edge: int) -> None:
        """Show what an edge stands for in the panel."""
        tab = self._tab
        async with tab.lock:
            if tab.drawn is not tab.session.draw_list:
                return  # its numbers would be another edge's
            text = await asyncio.to_thread(tab.session.describe_edge, edge)
        tab.panel_of = "edge"
        tab.flush(panel=shown.edge_panel(text), stats=None, weight="", incoming=[])

    def _rest(self, gesture: Gesture) -> None:
        self.rest(self._tip(gesture))

    async def _tip(self, gesture: Gesture) -> None:
        await asyncio.sleep(HOVER_REST)
        tab = self._tab
        if tab.lock.locked() or tab.moves():
            return
        drawn = tab.drawn
        pick = await self._under(gesture)
        if drawn is tab.drawn:
            await self.tell(pick, (gesture.x, gesture.y))
