"""What a page asks that draws the scene itself: who draws, where it looks, what was pointed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.web.drawn import Move, camera_of

if TYPE_CHECKING:
    from explorer.web.tab import Tab

SERVER, BROWSER = "server", "browser"


async def draw_by(tab: Tab, who: str) -> None:
    """Let the server or the browser draw from now on; the camera stays."""
    feed, on = tab.feed, who == BROWSER
    if who not in (SERVER, BROWSER) or on == feed.on:
        return
    tab.settle()
    camera = tab.camera
    feed.on = tab.stream.paused = on
    tab.flush(drawn_by=who, still=False)
    if on:
        feed.show(tab.drawn, Move(camera=lambda _: camera))
    tab.stir()


async def toggle(tab: Tab) -> None:
    """From one to the other."""
    await draw_by(tab, SERVER if tab.feed.on else BROWSER)


async def no_graphics(tab: Tab) -> None:
    """The page cannot draw, or can no longer."""
    await draw_by(tab, SERVER)
    tab.tell("This browser cannot draw the scene itself (no WebGL 2): the server draws it.")


async def rested(tab: Tab, number: int, row: list[object], focus: list[object]) -> None:
    """The picture of this number came to rest, seen by this camera.

    `focus` is the pixel of the page that the person zoomed at last, or empty.
    """
    if number != tab.feed.number:
        return
    tab.camera = camera_of(row)
    if tab.feed.on:
        tab.on_full(True)
        at = [float(v) for v in focus[:2] if isinstance(v, int | float) and abs(v) <= 8192]
        tab.nearing.look((at[0], at[1]) if len(at) == 2 else None)
    else:  # the last word of a page that the server draws for again
        tab.stir()


async def hit(tab: Tab, kind: str, number: int, node: int, edge: int, x: int, y: int) -> None:
    """The pointer clicked or rests on something, or on nothing (-1) at this place of the page."""
    from explorer.renderer import Pick

    drawn = tab.drawn
    inside = node < len(drawn.nodes) and edge < len(drawn.edges.source)
    if not tab.feed.on or number != tab.feed.number or not inside:
        return
    title = any(la.title and la.node == node for la in drawn.labels)
    at = min(max(x, 0), 8192), min(max(y, 0), 8192)
    pick = Pick(node if node >= 0 else None, edge if edge >= 0 else None, node >= 0 and title)
    if kind == "click":
        tab.pointing.hide_tip()
        tab.heard()
        await tab.pointing.clicked(pick, at)
    elif kind == "rest":
        tab.pointing.rest(tab.guarded(tab.pointing.tell(pick, at)))
