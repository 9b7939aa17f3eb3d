"""The colour scale in the page: its kind, and its ends as they are dragged."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from explorer.drawing.color_scale import count, number
from explorer.drawing.draw_list import ScaleBar
from explorer.drawing.scale_bar import axis_share
from explorer.errors import NeuronautError
from explorer.viewing.view_state import next_threshold
from explorer.web.figures import css_gradient, histogram_path, rgb

if TYPE_CHECKING:
    from explorer.web.tab import Tab

#: Size of the histogram in its own units.
SIZE = (320, 72)
_STOPS = 24  # colours of the histogram's bars


class Coloring:
    """Takes the steps of a drag; those that came while one was at work are one.

    Parameters
    ----------
    tab : Tab
    """

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._wished: tuple[tuple[float, float], int] | None = None
        self._task: asyncio.Task[Any] | None = None

    def drag(self, low: float, high: float, gesture: int) -> None:
        """The scale is to go from low to high; equal marks are steps of one drag."""
        self._wished = (low, high), gesture
        if self._task is None or self._task.done():
            self._task = self._tab.spawn(self._tab.guarded(self._work()))

    async def _work(self) -> None:
        session = self._tab.session
        while self._wished is not None:
            (ends, gesture), self._wished = self._wished, None
            await self._tab.recolor(partial(session.set_range, ends, gesture=gesture), quick=True)


async def set_kind(tab: Tab, name: str) -> None:
    """Turn numbers into colours in another way."""
    await tab.recolor(lambda: tab.session.set_scale(name))


async def drag(tab: Tab, low: float, high: float, gesture: int) -> None:
    """A step of a drag at one of the scale's ends."""
    tab.coloring.drag(low, high, gesture)


async def set_units(tab: Tab, name: str) -> None:
    """Colour boxes by their kind, or by a number of their units."""
    await tab.change(lambda: tab.session.set_units(name))


async def set_threshold(tab: Tab, text: str) -> None:
    """Count weights as near zero up to another magnitude.

    Raises
    ------
    NeuronautError
        If the text is no number from 0 up.
    """
    try:
        threshold = float(text.strip().replace(",", "."))
    except ValueError:
        raise NeuronautError(f"{text.strip()[:40]!r} is no number") from None
    await tab.change(lambda: tab.session.set_threshold(threshold))


async def step_threshold(tab: Tab, up: bool) -> None:
    """The next threshold of the usual ones."""
    threshold = next_threshold(tab.session.state.threshold, up)
    await tab.change(lambda: tab.session.set_threshold(threshold))


async def fit(tab: Tab) -> None:
    """Let the ends of the scale follow from what is drawn."""
    await tab.recolor(lambda: tab.session.set_range(None))


def bar_state(bar: ScaleBar | None) -> dict[str, Any] | None:
    """A colour scale with its histogram as the page shows it."""
    if bar is None:
        return None
    axis = float(bar.bounds[0]), float(bar.bounds[-1])
    steps = range(0, len(bar.colors), max(len(bar.colors) // _STOPS, 1))
    drawn = int(bar.counts.sum())
    return {
        "kind": bar.kind,
        "wish": bar.wish,
        "chosen": bar.chosen,
        "low": bar.low,
        "high": bar.high,
        "ends": list(bar.ends),
        "beyond": f"{count(bar.beyond[0])} below, {count(bar.beyond[1])} above",
        "texts": [number(bar.low), number(bar.high)],
        "at": [round(100 * axis_share(value, axis), 3) for value in (bar.low, bar.high)],
        "axis": list(axis),
        "limits": list(bar.limits),
        "path": histogram_path(bar.counts**0.5, *SIZE),
        "stops": [] if len(bar.negative) else [rgb(tuple(bar.colors[i].tolist())) for i in steps],
        "gradients": [css_gradient(c) for c in (bar.colors, bar.negative) if len(c)],
        "caption": f"magnitudes of the {count(drawn)} lines with weights; "
        f"the fullest bar holds {count(int(bar.counts.max()))}, heights are square roots",
    }
