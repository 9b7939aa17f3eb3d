"""What is written in a picture: labels at nodes, and the legend that says what colours mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.appearance import node_family, shows_pool, title_of
from explorer.color_scale import ColorScale, count, percent
from explorer.crossing import Crossing
from explorer.draw_list import Label, Legend
from explorer.lod import Cut
from explorer.open_model import OpenModel
from explorer.overlays import Overlay
from explorer.themes import Theme
from layouts.tree import Boxes


def labels_of(model: OpenModel, cut: Cut, boxes: Boxes) -> tuple[Label, ...]:
    """Labels of the visible nodes and titles of the open ones.

    Parameters
    ----------
    model : OpenModel
    cut : Cut
    boxes : Boxes
        One box per row of the cut.
    """
    siblings = np.bincount(np.maximum(cut.parent, 0), minlength=len(cut))
    found = []
    for row in range(1, len(cut)):
        center, size = boxes.centers[row], boxes.sizes[row]
        leaf, here = bool(cut.leaf[row]), cut.units[row]
        if here is not None and leaf and siblings[cut.parent[row]] > 16:
            continue
        text = title_of(model.hierarchy, cut, row, model.units_of)
        up = 0.5 if not leaf else -0.5
        anchor = (float(center[0]), float(center[1] + up * size[1]), float(center[2]))
        if here is not None and leaf:
            anchor = (float(center[0] + size[0] / 2), float(center[1]), float(center[2]))
        area = float(size[1] * max(size[0], size[2]))
        priority = area + (1000 if not leaf else 0) - (500 if here is not None else 0)
        found.append(Label(text, anchor, priority, row, not leaf, leaf and here is None))
    return tuple(found)


def legend_of(
    model: OpenModel,
    cut: Cut,
    crossing: Crossing,
    overlay: Overlay,
    scale: ColorScale,
    theme: Theme,
) -> Legend:
    """What colour, width and grey mean in this picture, with numbers."""
    nodes = dict.fromkeys(int(cut.node[row]) for row in np.flatnonzero(cut.leaf))
    families = dict.fromkeys(node_family(model.hierarchy, node) for node in nodes)
    if any(shows_pool(model.hierarchy, node) for node in nodes):
        families["pool"] = None
    kinds = tuple((name, theme.families[name]) for name in families)
    lines = list(_statements(crossing))
    lines += model.network.notes[:2]
    weighted = bool((crossing.edges.stats.count > 0).any())
    ramp = scale.ramp if weighted else scale.ramp[:0]
    ticks = scale.ticks() if weighted else ()
    title = f"{overlay.title}, {'log' if scale.log else 'linear'} scale" if weighted else ""
    return Legend(title, ramp, ticks, kinds, tuple(lines))


def _statements(crossing: Crossing) -> Sequence[str]:
    found = []
    stats, pending = crossing.edges.stats, crossing.edges.pending
    if crossing.total:
        share = crossing.shown_sum_sq / crossing.total_sum_sq if crossing.total_sum_sq else 1.0
        which = "all of them" if crossing.shown == crossing.total else "the strongest of each link"
        found.append(
            f"{count(crossing.shown)} of {count(crossing.total)} connections drawn singly"
            f" ({which}): {percent(min(share, 1.0))} of Σw²"
        )
    if crossing.alone:
        found.append(
            f"{count(crossing.alone)} wide lines without their strongest connections:"
            " more than can be told apart"
        )
    for drawn, what in (
        (crossing.bundles, "wide lines: the strongest"),
        (crossing.flows, "grey lines without weights: the widest"),
    ):
        if drawn.shown < drawn.total:
            found.append(f"{count(drawn.shown)} of {count(drawn.total)} {what}")
    if ((stats.count > 1) & ~crossing.edges.strand).any():
        found.append("wide line: RMS of all weights between two nodes or groups")
    if ((stats.count + stats.non_finite == 0) & ~pending).any():
        found.append("grey line: passes data on, no weights")
    if crossing.non_finite:
        found.append(f"{count(crossing.non_finite)} weights are NaN or infinite")
    if len(crossing.unread):
        unread = int(crossing.table.weights[crossing.unread].sum())
        found.append(f"still reading {count(unread)} weights: grey until they are read")
    elif crossing.searches:
        found.append("still looking for the strongest connections")
    return found
