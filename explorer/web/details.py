"""The page's panel: facts of the selected node, statistics of its weights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.drawing.color_scale import count
from explorer.errors import NeuronautError
from explorer.web import shown

if TYPE_CHECKING:
    from explorer.panel.export import Table
    from explorer.panel.weight_summary import WeightSummary
    from explorer.web.tab import Tab

Told = Callable[["WeightSummary"], None]


async def show(tab: Tab, path: str | None) -> None:
    """Tell of a node; ``None`` for the whole network."""
    path = path or ""
    tab.panel_of = path
    from explorer.panel import panel

    model, theme = tab.session.model, tab.session.state.theme
    data = await asyncio.to_thread(panel.layer_panel, model, path)
    if tab.panel_of != path:
        return
    tab.flush(
        panel=shown.panel_state(data, theme), stats=None, weight="", incoming=[], counting=None
    )
    tab.matrix.hide()
    if data["weights"]:
        await weight(tab, data["weights"][0]["name"])
    elif data["kind"] in ("unit", "units"):
        rows = await asyncio.to_thread(panel.incoming, model, path)
        if tab.panel_of == path:
            tab.flush(incoming=shown.incoming_rows(rows))
    elif data["kind"] != "layer":
        await _offer(tab, path)


async def weight(tab: Tab, name: str) -> None:
    """Show one weight of the selected layer and its statistics."""
    from explorer.panel.statistics import weight_statistics

    path, shows = tab.panel_of, tab.state.panel
    if not path or shows is None or name not in [w["name"] for w in shows["weights"]]:
        return
    tab.flush(weight=name, stats=None)
    tab.matrix.hide()
    tab.spawn(tab.guarded(tab.matrix.show(path, name)))
    model = tab.session.model
    await _read(tab, path, lambda *rest: weight_statistics(model, path, name, *rest))


async def count_all(tab: Tab) -> None:
    """Read all weights of the node that the panel tells of."""
    from explorer.panel.statistics import node_statistics

    path, model = tab.panel_of, tab.session.model
    if not tab.state.counting:
        return
    tab.flush(counting={"text": tab.state.counting["text"], "under_way": True})
    await _read(tab, path, lambda *rest: node_statistics(model, path, *rest))


async def begin(tab: Tab) -> None:
    """Offer to read all weights, once there is a picture: nothing is selected yet."""
    await _offer(tab, tab.panel_of)


async def _offer(tab: Tab, path: str) -> None:
    """Read the weights of a group, or offer to where they are many."""
    from explorer.panel.statistics import UNASKED, node_weights

    weights, nbytes = await asyncio.to_thread(node_weights, tab.session.model, path)
    if tab.panel_of != path or not weights:
        return
    text = f"all {count(sum(w.size for w in weights))} weights inside"
    tab.flush(counting={"text": text, "under_way": False})
    if path and nbytes <= UNASKED:
        await count_all(tab)


async def _read(
    tab: Tab, path: str, work: Callable[[Callable[[], bool], Told], dict[str, Any]]
) -> None:
    """Show statistics, estimates before them; ends when the panel tells of something else."""
    from explorer.panel.weight_summary import Stopped

    ticket = tab.weight_ticket = object()
    tab.summary = None
    loop = asyncio.get_running_loop()

    def unwanted() -> bool:
        return tab.weight_ticket is not ticket or tab.panel_of != path

    def estimate(summary: WeightSummary) -> None:
        if not unwanted():
            tab.flush(stats=shown.estimate_state(summary))

    def told(summary: WeightSummary) -> None:
        loop.call_soon_threadsafe(estimate, summary)

    try:
        data = await asyncio.to_thread(work, unwanted, told)
        summary, stats = data["summary"], shown.weight_state(data)
    except NeuronautError as error:
        summary, stats = None, shown.failed_state(str(error))
    except Stopped:
        return
    if not unwanted():
        tab.summary = summary
        tab.flush(stats=stats)


def table(tab: Tab, what: str) -> Table:
    """What the panel shows, as numbers: ``"cells"``, ``"weights"`` or ``"histogram"``.

    Raises
    ------
    NeuronautError
        If there is no such thing, or it is still being read.
    """
    from explorer.panel.export import histogram_table

    if what in ("cells", "weights"):
        return tab.matrix.table(what)
    if what != "histogram" or tab.summary is None:
        raise NeuronautError("the weights are still being read")
    return histogram_table(tab.summary)
