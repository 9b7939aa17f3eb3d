"""What is told of an edge: its ends, its value, its place in the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.comparison import Comparison
from explorer.crossing.element_index import elements, index_text
from explorer.drawing.color_scale import count, number
from explorer.drawing.draw_list import DrawList
from explorer.network import Weight
from explorer.open_model import OpenModel
from explorer.tree import lod

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
_MOST_READ = 256  # weights of one edge that are read while a person points at it


def describe_edge(model: OpenModel, drawn: DrawList, index: int) -> str:
    """One line on an edge of a draw list.

    Parameters
    ----------
    model : OpenModel
    drawn : DrawList
        Of this model.
    index : int
        Row in ``drawn.edges``.
    """
    edges = drawn.edges
    paths = [drawn.nodes[int(i[index])] for i in (edges.source, edges.target)]
    ends = " → ".join(paths)
    weights = int(edges.weights[index])
    if weights == 0:
        return f"{ends} · data flow, no weights"
    more = _counted_text(drawn, index)
    if np.isnan(edges.magnitude[index]):
        why = "not yet read" if drawn.pending and not more else "none of them finite"
        return f"{ends} · {count(weights)} weights, {why}{more}"
    if edges.estimated[index]:
        guess = number(float(edges.magnitude[index]))
        return f"{ends} · {count(weights)} weights, RMS about {guess}: an estimate, still reading"
    found = _elements_of(model, *paths)
    where = "".join(f" · {index_text(weight, places)}" for weight, places in found)
    if model.comparison is not None:
        told = _change_text(model.comparison, drawn, index, found)
        return f"{ends} · {told}{where}"
    if weights == 1:
        return f"{ends} · w = {edges.signed_mean[index]:.9g}{more}{where}"
    rms, mean = float(edges.magnitude[index]), float(edges.signed_mean[index])
    return f"{ends} · {count(weights)} weights, RMS {rms:.6g}, mean {number(mean)}{more}{where}"


def _counted_text(drawn: DrawList, index: int) -> str:
    """What the overlay counted among the weights of an edge, and what of them is not finite."""
    wrong, hits, of = drawn.edges.counts[index].tolist()
    told = [drawn.told.format(hits=count(hits), of=count(of))] if of else []
    if wrong and not any("NaN" in text for text in told):
        told.append(f"{count(wrong)} are NaN or infinite")
    return "".join(f" · {text}" for text in told)


def _change_text(
    comparison: Comparison, drawn: DrawList, index: int, found: list[tuple[Weight, I8]]
) -> str:
    """How the weights of an edge were, are and differ; both values where they are few."""
    edges = drawn.edges
    weights = int(edges.weights[index])
    rms, mean = float(edges.magnitude[index]), float(edges.signed_mean[index])
    before, after = _both(comparison, found, weights)
    if weights == 1 and len(before) == 1:
        return f"Δw = {mean:.9g} · before {before[0]:.9g} · now {after[0]:.9g}"
    told = f"{count(weights)} weights, RMS of change {rms:.6g}, mean change {number(mean)}"
    if not len(before):
        return told
    sizes = (float(np.sqrt(np.mean(side * side))) for side in (before, after))
    return "{} · RMS before {:.6g} · now {:.6g}".format(told, *sizes)


def _both(comparison: Comparison, found: list[tuple[Weight, I8]], weights: int) -> tuple[F8, F8]:
    """Older and newer values of the elements of an edge; none where they are many."""
    if not found or weights > _MOST_READ:
        return np.zeros(0), np.zeros(0)
    pairs = [
        comparison.reader.both(weight, place, place + 1)
        for weight, places in found
        for place in places.tolist()
    ]
    values = np.array([(a[0], b[0]) for a, b in pairs], float)
    return values[:, 0], values[:, 1]


def _elements_of(model: OpenModel, source: str, target: str) -> list[tuple[Weight, I8]]:
    """Which elements of which weights join two units; none for wider nodes."""
    units = []
    for path in (source, target):
        split = None if path in model.hierarchy.by_path else lod.split_unit_path(path)
        if split is None or split[1].count != 1:
            return []
        units.append((split[0], split[1].start))
    return elements(model, units[0], units[1])
