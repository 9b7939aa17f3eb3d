"""What a comparison of two files adds to a picture: colours of boxes, badges, lines of the legend.

A box is coloured by the change of all weights inside it, on the scale of the edges, so that a
change shows before anything is opened.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.comparison import Comparison
from explorer.comparing.joined import Mark
from explorer.comparing.measuring import ChangeSums, added
from explorer.drawing.color_scale import ColorScale, count
from explorer.drawing.draw_list import BoxArrays, Label, Legend
from explorer.drawing.themes import RGB
from explorer.open_model import OpenModel
from explorer.overlays import EdgeStats, Overlay
from explorer.tree.hierarchy import Hierarchy
from explorer.tree.lod import Cut

F8 = NDArray[np.float64]

# Green, vermilion and yellow that colour-blind eyes tell apart (Okabe and Ito 2008).
MARKS: dict[str, dict[Mark, RGB]] = {
    "dark": {"added": (38, 190, 140), "removed": (222, 94, 20), "differs": (240, 228, 66)},
    "light": {"added": (0, 158, 115), "removed": (213, 94, 0), "differs": (206, 176, 0)},
}
SAME = 90
"""Opacity of an edge all of whose weights are as they were."""
UNCHANGED: dict[str, RGB] = {"dark": (84, 94, 112), "light": (196, 202, 212)}
UNREAD: dict[str, RGB] = {"dark": (48, 56, 70), "light": (224, 228, 234)}
_TOLD: dict[Mark, str] = {"added": "added", "removed": "removed", "differs": "shape differs"}


@dataclass(frozen=True)
class Changed:
    """What changed inside the visible nodes; one entry per row of the cut.

    Attributes
    ----------
    stats : EdgeStats
        Of all weights inside that both files have; nothing for units.
    read : bool array
        Whether all of them have been read.
    marks : tuple of Counter
        How many layers inside were added, were removed, or differ.
    layers : int array
        How many layers there are inside.
    """

    stats: EdgeStats
    read: NDArray[np.bool_]
    marks: tuple[Counter[Mark], ...]
    layers: NDArray[np.int64]

    def mark(self, row: int) -> Mark | None:
        """The mark of a node all of whose layers have it."""
        for mark, number in self.marks[row].items():
            if number == self.layers[row]:
                return mark
        return None

    def values(self, overlay: Overlay) -> F8:
        """The number that colours each box; NaN where nothing was compared."""
        known = self.read & (self.stats.count > 0)
        return np.where(known, overlay.values(self.stats), np.nan)


def changed_nodes(model: OpenModel, cut: Cut) -> Changed | None:
    """What changed inside the visible nodes; ``None`` where no files are compared."""
    comparison = model.comparison
    if comparison is None:
        return None
    sums, marks, layers, read = [], [], [], []
    for node, units in zip(cut.node.tolist(), cut.units, strict=True):
        inside, complete = (ChangeSums(), True) if units else _inside(model, comparison, node)
        sums.append(inside)
        read.append(complete)
        found = Counter[Mark]() if units else _marks(model.hierarchy, comparison, node)
        marks.append(found)
        first, stop = model.hierarchy.nodes[node].layers
        layers.append(stop - first)
    sizes = np.array([(s.finite, s.non_finite) for s in sums], np.int64).reshape(-1, 2)
    stats = EdgeStats(
        sum_sq=np.array([s.sum_sq for s in sums]),
        sum=np.array([s.sum for s in sums]),
        sum_abs=np.array([s.sum_abs for s in sums]),
        max_abs=np.array([s.largest for s in sums]),
        count=sizes[:, 0],
        non_finite=sizes[:, 1],
        before=np.array([s.rms_before for s in sums]),
    )
    return Changed(stats, np.array(read, bool), tuple(marks), np.array(layers, np.int64))


def _inside(model: OpenModel, comparison: Comparison, node: int) -> tuple[ChangeSums, bool]:
    """Change of all weights inside a node, each once, and whether all are known."""
    known: dict[int, ChangeSums] = model.hierarchy.__dict__.setdefault("_changes", {})
    if node in known:
        return known[node], True
    changes = comparison.changes
    names = dict.fromkeys(
        w.name
        for layer in model.hierarchy.layers_in(node)
        for w in layer.weights
        if changes.compares(w.name)
    )
    found = [changes.of_weight(name) for name in names]
    measured = [sums for sums in found if sums is not None]
    total = added(measured)
    if len(measured) == len(found):
        known[node] = total
    return total, len(measured) == len(found)


def _marks(hierarchy: Hierarchy, comparison: Comparison, node: int) -> Counter[Mark]:
    """How many layers inside a node have each mark; a part has the mark of its composite."""
    known: dict[int, Counter[Mark]] = hierarchy.__dict__.setdefault("_marks", {})
    if node not in known:
        found: Counter[Mark] = Counter()
        for layer in hierarchy.layers_in(node) if comparison.marks else ():
            path = layer.path
            while path and path not in comparison.marks:
                path = path.rpartition("/")[0]
            if path:
                found[comparison.marks[path]] += 1
        known[node] = found
    return known[node]


def painted(
    boxes: BoxArrays, changed: Changed, overlay: Overlay, scale: ColorScale, theme: str
) -> BoxArrays:
    """Solids in the colours of what changed inside them.

    Marks come before numbers: what is only in one file, or has another shape, has no difference.
    """
    values = changed.values(overlay)
    moved = changed.stats.sum_sq > 0
    rgb = np.empty((len(values), 3), np.uint8)
    rgb[:] = UNCHANGED[theme]
    rgb[~changed.read] = UNREAD[theme]
    seen = np.isfinite(values) & moved
    rgb[seen] = scale.colors(values[seen])
    for row in range(len(values)):
        mark = changed.mark(row)
        if mark is not None:
            rgb[row] = MARKS[theme][mark]
    colors = boxes.colors.copy()
    colors[:, :3] = rgb[boxes.node]
    return replace(boxes, colors=colors)


def badged(labels: tuple[Label, ...], changed: Changed) -> tuple[Label, ...]:
    """Labels that also say what was added, removed, or differs."""
    return tuple(
        replace(label, text=f"{label.text}  · {badge}")
        if label.node >= 0 and (badge := _badge(changed, label.node))
        else label
        for label in labels
    )


def _badge(changed: Changed, row: int) -> str:
    whole = changed.mark(row)
    if whole is not None:
        return _TOLD[whole]
    return ", ".join(f"{count(n)} {_TOLD[mark]}" for mark, n in changed.marks[row].items())


def explained(legend: Legend, changed: Changed, comparison: Comparison, theme: str) -> Legend:
    """A legend that tells the colours of boxes, and how much of the network changed."""
    present = {mark for found in changed.marks for mark in found}
    kinds = [(_TOLD[m], MARKS[theme][m]) for m in MARKS[theme] if m in present]
    kinds.append(("unchanged", UNCHANGED[theme]))
    if not changed.read.all():
        kinds.append(("not yet compared", UNREAD[theme]))
    lines = [
        f"what changed from {comparison.before} to {comparison.after}",
        "box: all weights inside; edge: the weights between",
    ]
    changes = comparison.changes
    done = [c for c in map(changes.known, changes.pairs) if c is not None]
    moved = sum(c.sums.changed > 0 for c in done)
    if len(done) == len(changes.pairs):
        lines.append(f"{count(moved)} of {count(len(done))} layers with weights changed")
    else:
        left = len(changes.pairs) - len(done)
        lines.append(f"still comparing {count(left)} of {count(len(changes.pairs))} layers")
    number = comparison.counts()
    if any(number.values()):
        lines.append(", ".join(f"{count(n)} {_TOLD[m]}" for m, n in number.items() if n))
    words = {"Σw²": "Σ(Δw)²", "grey line: passes": "grey line: unchanged, or passes"}
    before = [line for line in legend.lines if line != comparison.note]
    for word, meant in words.items():
        before = [line.replace(word, meant) for line in before]
    return replace(legend, kinds=tuple(kinds), lines=(*lines, *before))
