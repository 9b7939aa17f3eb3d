"""What a page may ask for, each with the types of its arguments.

A page is a stranger until it is checked: every name that it may call stands in `ACTIONS`, and
every argument is tested before anything runs. None of them takes a path in the file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explorer.errors import NeuronautError, UnknownNameError
from explorer.web import shown
from explorer.web.stay import Stay, Target

if TYPE_CHECKING:
    from explorer.web.tab import Tab

LONGEST_TEXT = 4096


@dataclass(frozen=True)
class Action:
    """Something a page may ask for.

    Attributes
    ----------
    run : callable (Tab, ...) -> awaitable
    types : tuple of type
        Of the arguments after the tab.
    """

    run: Callable[..., Awaitable[None]]
    types: tuple[Any, ...] = ()

    def accepts(self, arguments: tuple[object, ...]) -> bool:
        """Whether these arguments are of the right number, type and length."""
        return len(arguments) == len(self.types) and all(
            isinstance(a, t) and not (isinstance(a, str) and len(a) > LONGEST_TEXT)
            for a, t in zip(arguments, self.types, strict=True)
        )


async def _press(tab: Tab, path: str) -> None:
    """A click on a node: a closed one opens, an open one closes; it is selected."""
    before = tab.session.state.opened

    def target() -> Target:
        now = tab.session.state.opened
        if now == before:
            return Stay.HERE
        return path if path in now else shown.parent_shown(tab.session, path)

    await tab.change(lambda: tab.session.click(path), fly_to=target)
    await _show_panel(tab, tab.session.state.selected)


async def _open(tab: Tab, path: str) -> None:
    await tab.change(lambda: tab.session.open(path), fly_to=path)


async def _close(tab: Tab, path: str) -> None:
    await tab.change(lambda: tab.session.close(path), fly_to=shown.parent_shown(tab.session, path))


async def _select(tab: Tab, path: str | None) -> None:
    path = path or None
    if path is None and tab.session.state.selected is None and tab.panel_of == "":
        return
    await tab.change(lambda: tab.session.select(path))
    await _show_panel(tab, path)


async def _go(tab: Tab, path: str) -> None:
    """Select a node wherever it is: what is closed around it opens, and the camera flies there."""
    tab.flush(found=[])
    await tab.change(lambda: tab.session.reveal(path), fly_to=path or None)
    await _show_panel(tab, path)


async def _show_panel(tab: Tab, path: str | None) -> None:
    path = path or ""  # nothing selected: the whole network
    tab.panel_of = path
    from explorer import panel

    model, theme = tab.session.model, tab.session.state.theme
    data = await asyncio.to_thread(panel.layer_panel, model, path)
    if tab.panel_of != path:
        return
    tab.flush(panel=shown.panel_state(data, theme), stats=None, weight="", incoming=[])
    if data["weights"]:
        await _weight(tab, data["weights"][0]["name"])
    elif data["kind"] in ("unit", "units"):
        rows = await asyncio.to_thread(panel.incoming, model, path)
        if tab.panel_of == path:
            tab.flush(incoming=shown.incoming_rows(rows))


async def _weight(tab: Tab, name: str) -> None:
    """Show the statistics of one weight of the selected layer."""
    from explorer.panel import weight_statistics
    from explorer.weight_summary import Stopped

    path, shows = tab.panel_of, tab.state.panel
    if not path or shows is None or name not in [w["name"] for w in shows["weights"]]:
        return
    tab.flush(weight=name, stats=None)
    ticket = tab.weight_ticket = object()

    def unwanted() -> bool:
        return tab.weight_ticket is not ticket or tab.panel_of != path

    try:
        data = await asyncio.to_thread(weight_statistics, tab.session.model, path, name, unwanted)
        stats = shown.weight_state(data, tab.session.state.theme)
    except NeuronautError as error:
        stats = shown.failed_state(str(error))
    except Stopped:
        return
    if not unwanted():
        tab.flush(stats=stats)


async def _overlay(tab: Tab, name: str) -> None:
    await tab.change(lambda: tab.session.set_overlay(name))


async def _layout(tab: Tab, name: str) -> None:
    await tab.change(lambda: tab.session.set_layout(name), fly_to=None)


async def _theme(tab: Tab) -> None:
    new = "light" if tab.session.state.theme == "dark" else "dark"
    await tab.change(lambda: tab.session.set_theme(new))
    if tab.state.weight:  # its picture has the theme's colours
        await _weight(tab, tab.state.weight)


async def _reset(tab: Tab) -> None:
    tab.move(None, tab.session.camera_for(None, tab.aspect))


async def _find(tab: Tab, text: str) -> None:
    tab.flush(found=await asyncio.to_thread(shown.find, tab.session, text[:200]))


async def _leave(tab: Tab) -> None:
    tab.hide_tip()


async def _dismiss(tab: Tab) -> None:
    tab.flush(message="")


async def _key(tab: Tab, key: str) -> None:
    """The keys of the window: r, o, l, t, Escape."""
    if key == "r":
        await _reset(tab)
    elif key == "t":
        await _theme(tab)
    elif key == "o":
        await _overlay(tab, _next(tab.state.overlays, tab.session.state.overlay))
    elif key == "l":
        await _layout(tab, _next(tab.state.layouts, tab.session.state.layout))
    elif key == "Escape":
        tab.hide_tip()
        tab.flush(found=[], message="")
        await _select(tab, None)


def _next(choices: list[dict[str, str]], now: str) -> str:
    names = [c["name"] for c in choices]
    if now not in names:
        raise UnknownNameError("choice", now, names)
    return names[(names.index(now) + 1) % len(names)]


_MAYBE = str | None
#: Everything a page may ask for.
ACTIONS: dict[str, Action] = {
    "press": Action(_press, (str,)),
    "open": Action(_open, (str,)),
    "close": Action(_close, (str,)),
    "select": Action(_select, (_MAYBE,)),
    "go": Action(_go, (str,)),
    "weight": Action(_weight, (str,)),
    "overlay": Action(_overlay, (str,)),
    "layout": Action(_layout, (str,)),
    "theme": Action(_theme),
    "reset": Action(_reset),
    "find": Action(_find, (str,)),
    "leave": Action(_leave),
    "dismiss": Action(_dismiss),
    "key": Action(_key, (str,)),
}
