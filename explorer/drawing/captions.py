"""What is written in a picture: labels at nodes, and the legend that says what colours mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.crossing.rows import Crossing, Search, Sum
from explorer.drawing.appearance import looks_of, title_of
from explorer.drawing.color_scale import TITLES, ColorScale, count, percent
from explorer.drawing.draw_list import Label, Legend
from explorer.drawing.scale_bar import scale_bar
from explorer.drawing.short_titles import short_titles
from explorer.drawing.themes import Theme
from explorer.open_model import OpenModel
from explorer.overlays import Overlay
from explorer.tree.lod import Cut
from layouts.tree import Boxes

_OF_RMS = ("magnitude", "change")  # overlays whose number is an RMS


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
    whole = np.array([u is None for u in cut.units], bool)
    unit = cut.leaf & ~whole
    x, y, z = boxes.centers.T
    wide, high, deep = boxes.sizes.T
    priority = high * np.maximum(wide, deep) + np.where(cut.leaf, 0, 1000) - np.where(whole, 0, 500)
    x = np.where(unit, x + wide / 2, x)
    y = np.where(unit, y, y + np.where(cut.leaf, -0.5, 0.5) * high)
    anchors = np.stack((x, y, z), axis=1).tolist()
    order, leaf = priority.tolist(), cut.leaf.tolist()
    # A crowd of units goes without labels.
    chosen = np.flatnonzero(~unit | (siblings[cut.parent] <= 16)).tolist()
    texts = {row: title_of(model.hierarchy, cut, row, model.units_of) for row in chosen}
    named = [row for row in chosen if whole[row]]
    at = {row: i for i, row in enumerate(named)}
    parents = [at.get(int(cut.parent[row]), -1) for row in named]
    short = short_titles([texts[row] for row in named], parents)
    texts.update(zip(named, short, strict=True))
    level = _levels(cut)
    return tuple(
        Label(
            texts[row],
            (anchors[row][0], anchors[row][1], anchors[row][2]),
            order[row],
            row,
            not leaf[row],
            leaf[row] and bool(whole[row]),
            level=0 if leaf[row] else level[row],
        )
        for row in chosen
        if row > 0
    )


def _levels(cut: Cut) -> list[int]:
    """How many open frames there are around each row, the whole network not counted."""
    level: list[int] = []
    for above in cut.parent.tolist():
        level.append(level[above] + 1 if above > 0 else 0)
    return level


def legend_of(
    model: OpenModel,
    cut: Cut,
    crossing: Crossing,
    colored: tuple[Overlay, ColorScale, str],
    theme: Theme,
) -> Legend:
    """What colour, width and grey mean in this picture, with numbers.

    Parameters
    ----------
    model : OpenModel
    cut : Cut
    crossing : Crossing
    colored : (Overlay, ColorScale, str)
        The numbers, how they became colours, and the kind of scale that was wished for.
    theme : Theme
    """
    overlay, scale, wish = colored
    nodes, first = np.unique(cut.node[cut.leaf], return_index=True)
    looks = looks_of(model.hierarchy, nodes[np.argsort(first)])
    families = dict.fromkeys(looks.family)  # in the order of the picture
    if looks.pool.any():
        families["pool"] = None
    kinds = tuple((name, theme.families[name]) for name in families)
    lines = list(_statements(crossing, overlay))
    if not model.graph.layers:
        lines.append("this network holds no layers")
    lines += model.network.notes[:2]
    if not overlay.tells(crossing.edges.stats).any():
        title = overlay.title if overlay.counts else ""
        return Legend(title, scale.ramp[:0], (), kinds, tuple(lines))
    if scale.chosen:
        lines.insert(0, _range_text(scale))
    title = f"{overlay.title}, {TITLES[scale.kind]}"
    return Legend(title, scale.ramp, scale.ticks(), kinds, tuple(lines), scale_bar(scale, wish))


def _range_text(scale: ColorScale) -> str:
    """What a person chose to see, and how much lies beyond it."""
    ends = f"{scale.text(scale.low)} to {scale.text(scale.high)}"
    beyond = f"{count(scale.below)} lie below, {count(scale.above)} above"
    return f"range set by hand: {ends}; of what is drawn {beyond}"


def _share_text(crossing: Crossing) -> str:
    """What share of Σw² is drawn singly; nothing while none of that is known."""
    if crossing.total_sum_sq:
        return f": {percent(min(crossing.shown_sum_sq / crossing.total_sum_sq, 1.0))} of Σw²"
    return "" if len(crossing.unread) else f": {percent(1.0)} of Σw²"


def _statements(crossing: Crossing, overlay: Overlay) -> Sequence[str]:
    found = []
    stats, pending = crossing.edges.stats, crossing.edges.pending
    if crossing.total:
        which = "all of them" if crossing.shown == crossing.total else "the strongest of each link"
        found.append(
            f"{count(crossing.shown)} of {count(crossing.total)} connections drawn singly"
            f" ({which}){_share_text(crossing)}"
        )
    if crossing.alone:
        found.append(
            f"{count(crossing.alone)} wide lines without their strongest connections:"
            " too many to tell apart"
        )
    for drawn, what in (
        (crossing.bundles, "wide lines: the strongest"),
        (crossing.flows, "grey lines without weights: the widest"),
    ):
        if drawn.shown < drawn.total:
            found.append(f"{count(drawn.shown)} of {count(drawn.total)} {what}")
    if ((stats.count > 1) & ~crossing.edges.strand).any():
        what = "all weights between two nodes or groups"
        found.append(f"wide line: {f'RMS of {what}' if overlay.name in _OF_RMS else what}")
    if ((stats.count + stats.non_finite == 0) & ~pending).any():
        found.append("grey line: passes data on, no weights")
    if crossing.non_finite:
        found.append(f"{count(crossing.non_finite)} weights are NaN or infinite")
    if len(crossing.unread):
        unread = int(crossing.table.weights[crossing.unread].sum())
        guessed = int((pending & (stats.count > 0)).sum())
        some = "1 line is an estimate" if guessed == 1 else f"{count(guessed)} lines are estimates"
        told = f"{some}, others grey" if guessed else "grey"
        found.append(f"still reading {count(unread)} weights: {told} until they are read")
    elif any(isinstance(t, Search) or stats.counted is None for t in crossing.searches):
        found.append("still looking for the strongest connections")
    if stats.counted is not None:
        lacking = (stats.count > 0) & ~pending & ~overlay.tells(stats)
        late = lacking & (stats.counted.of == 0)
        if late.any() and any(isinstance(task, Sum) for task in crossing.searches):
            found.append(f"still counting: {count(int(late.sum()))} lines are grey until then")
        elif lacking.any() and overlay.grey:
            found.append(f"{count(int(lacking.sum()))} grey lines: {overlay.grey}")
    return found
