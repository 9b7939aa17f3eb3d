"""What a page may ask for, each with the types of its arguments.

A page is a stranger until it is checked: every name that it may call stands in `ACTIONS`, and
every argument is tested before anything runs. None of them takes a path in the file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explorer.errors import UnknownNameError
from explorer.session.flight import Held
from explorer.session.opening import Opening
from explorer.web import coloring, details, drawing, matrix, nearing, shown
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


async def _press(tab: Tab, path: str, pixel: tuple[float, float] | None = None) -> None:
    """A click on a node: a closed one opens, an open one closes; it is selected.

    It keeps its place on the screen; what a frame becomes comes to the pixel that was clicked.
    """
    before = tab.session.state.opened

    def target() -> Target:
        return Stay.HERE if tab.session.state.opened == before else Held(path, pixel)

    await tab.change(lambda: tab.session.click(path), fly_to=target)
    await details.show(tab, tab.session.state.selected)


async def _open(tab: Tab, path: str) -> None:
    await tab.change(lambda: tab.session.open(path), fly_to=Held(path))


async def _close(tab: Tab, path: str) -> None:
    await tab.change(lambda: tab.session.close(path), fly_to=Held(path))


async def _opening(tab: Tab, wish: str) -> None:
    """Open many nodes: ``"depth 2"``, ``"kind Conv2D"``; 0 is the depth at which all is closed."""
    what, _, value = wish.partition(" ")
    session = tab.session
    if what == "kind":
        await _open_many(tab, lambda: session.open_all(value), _held_selection(tab))
    elif what == "depth" and value.isdecimal() and len(value) <= 2:
        await _open_many(tab, lambda: session.open_to(int(value)), None)


async def _like(tab: Tab, path: str) -> None:
    await _open_many(tab, lambda: tab.session.open_like(path), Held(path))


async def _open_many(tab: Tab, work: Callable[[], Opening], to: Target) -> None:
    found: list[Opening] = []
    await tab.change(lambda: found.append(work()), fly_to=to)
    if found and found[0].done < found[0].wanted:
        tab.flush(notice=found[0].message)


def _held_selection(tab: Tab) -> Target:
    selected = tab.session.state.selected
    return Held(selected) if selected is not None else None


async def _focus(tab: Tab, path: str | None) -> None:
    """Fade all but a node and its neighbours; nothing ends it."""
    await tab.change(lambda: tab.session.set_focus(path or None))


async def _undo(tab: Tab) -> None:
    await _travel(tab, tab.session.undo)


async def _redo(tab: Tab) -> None:
    await _travel(tab, tab.session.redo)


async def _travel(tab: Tab, step: Callable[[], bool]) -> None:
    """Undo or redo, the camera and the panel along with it."""
    session = tab.session
    done: list[bool] = []
    await tab.change(
        lambda: done.append(step()), fly_to=lambda: session.camera if done[0] else Stay.HERE
    )
    if tab.panel_of != (session.state.selected or ""):
        await details.show(tab, session.state.selected)


async def _select(tab: Tab, path: str | None) -> None:
    path = path or None
    if path is None and tab.session.state.selected is None and tab.panel_of == "":
        return
    await tab.change(lambda: tab.session.select(path))
    await details.show(tab, path)


async def _go(tab: Tab, path: str) -> None:
    """Select a node wherever it is: what is closed around it opens, and the camera flies there."""
    tab.flush(found=[])
    await tab.change(lambda: tab.session.reveal(path), fly_to=path or None)
    await details.show(tab, path)


async def _overlay(tab: Tab, name: str) -> None:
    await tab.change(lambda: tab.session.set_overlay(name))


async def _layout(tab: Tab, name: str) -> None:
    await tab.change(lambda: tab.session.set_layout(name), fly_to=None)


async def _theme(tab: Tab) -> None:
    new = "light" if tab.session.state.theme == "dark" else "dark"
    await tab.change(lambda: tab.session.set_theme(new))


async def _see_all(tab: Tab) -> None:
    """Only the camera moves: nothing opens, and nothing closes but what opened by itself."""
    before = tab.session.state.opened
    await tab.change(tab.session.close_automatic, fly_to=None)
    if tab.session.state.opened != before:
        await details.show(tab, tab.session.state.selected)


async def _see(tab: Tab) -> None:
    """Fly to the selected node."""
    if tab.session.state.selected is not None:
        tab.move(None, tab.session.camera_for(tab.session.state.selected, tab.aspect))


async def _start_over(tab: Tab) -> None:
    """Back to the first picture, which may be undone."""
    await tab.change(tab.session.reset, fly_to=None)
    await details.show(tab, None)


async def _close_selected(tab: Tab) -> None:
    """Close the selected node, or what is around it."""
    path, opened = tab.session.state.selected, tab.session.state.opened
    while path is not None and path not in opened:
        path = shown.parent_shown(tab.session, path)
    if path is not None:
        await _close(tab, path)


async def _pause(tab: Tab) -> None:
    """Stop reading weights, or go on; nothing where the page tells of no reading."""
    if tab.reading.text:
        session = tab.session
        await asyncio.to_thread(
            session.resume_reading if tab.reading.paused else session.pause_reading
        )


async def _find(tab: Tab, text: str) -> None:
    tab.flush(found=await asyncio.to_thread(shown.find, tab.session, text[:200]))


async def _leave(tab: Tab) -> None:
    tab.pointing.hide_tip()


async def _dismiss(tab: Tab) -> None:
    tab.flush(message="", notice="")


async def _key(tab: Tab, key: str) -> None:
    """The keys of the window, as far as the page has what they do."""
    action = _KEYS.get(key)
    selected, focus = tab.session.state.selected, tab.session.state.focus
    if action is not None:
        await action(tab)
    elif key == "o":
        await _overlay(tab, _next(tab.state.overlays, tab.session.state.overlay))
    elif key == "n":
        await coloring.set_units(tab, _next(tab.state.units_known, tab.session.state.units))
    elif key in (",", "."):
        await coloring.step_threshold(tab, key == ".")
    elif key == "l":
        await _layout(tab, _next(tab.state.layouts, tab.session.state.layout))
    elif key == "k":
        await coloring.set_kind(tab, _next(tab.state.scales, tab.session.state.scale))
    elif key == "a" and selected is not None:
        await _like(tab, selected)
    elif key == "x":
        await _focus(tab, None if focus is not None and selected in (None, focus) else selected)
    elif len(key) == 1 and key in "0123456789":
        await _opening(tab, f"depth {key}")
    elif key == "Escape":
        tab.pointing.hide_tip()
        tab.flush(found=[], message="", help_shown=False)
        await (_focus(tab, None) if focus is not None else _select(tab, None))


def _next(choices: list[dict[str, str]], now: str) -> str:
    names = [c["name"] for c in choices]
    if now not in names:
        raise UnknownNameError("choice", now, names)
    return names[(names.index(now) + 1) % len(names)]


_KEYS: dict[str, Callable[[Tab], Awaitable[None]]] = {
    "r": _see_all,
    "f": _see,
    "b": _start_over,
    "z": _undo,
    "Z": _redo,
    "y": _redo,
    "u": _close_selected,
    "Backspace": _close_selected,
    "c": lambda tab: _opening(tab, "depth 0"),
    "t": _theme,
    "p": _pause,
    "d": nearing.switch,
    "g": drawing.toggle,
}
_MAYBE = str | None
_NUMBER = int | float
#: Everything a page may ask for.
ACTIONS: dict[str, Action] = {
    "press": Action(_press, (str,)),
    "open": Action(_open, (str,)),
    "close": Action(_close, (str,)),
    "select": Action(_select, (_MAYBE,)),
    "go": Action(_go, (str,)),
    "weight": Action(details.weight, (str,)),
    "count": Action(details.count_all),
    "matrix_choose": Action(matrix.choose, (str,)),
    "matrix_look": Action(matrix.look, (int, _NUMBER, _NUMBER, _NUMBER, _NUMBER)),
    "matrix_point": Action(matrix.point, (int, _NUMBER, _NUMBER)),
    "overlay": Action(_overlay, (str,)),
    "units": Action(coloring.set_units, (str,)),
    "threshold": Action(coloring.set_threshold, (str,)),
    "layout": Action(_layout, (str,)),
    "scale": Action(coloring.set_kind, (str,)),
    "range": Action(coloring.drag, (_NUMBER, _NUMBER, int)),
    "fit_scale": Action(coloring.fit),
    "theme": Action(_theme),
    "undo": Action(_undo),
    "redo": Action(_redo),
    "opening": Action(_opening, (str,)),
    "like": Action(_like, (str,)),
    "focus": Action(_focus, (_MAYBE,)),
    "see_all": Action(_see_all),
    "start_over": Action(_start_over),
    "find": Action(_find, (str,)),
    "pause": Action(_pause),
    "detail": Action(nearing.switch),
    "draw_by": Action(drawing.draw_by, (str,)),
    "no_graphics": Action(drawing.no_graphics),
    "rested": Action(drawing.rested, (int, list, list)),
    "hit": Action(drawing.hit, (str, int, int, int, int, int)),
    "leave": Action(_leave),
    "dismiss": Action(_dismiss),
    "key": Action(_key, (str,)),
}
