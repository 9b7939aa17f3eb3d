"""What is told of an edge: its ends, its value, its place in the file."""

from __future__ import annotations

import numpy as np

from explorer.crossing.element_index import elements, index_text
from explorer.drawing.color_scale import count, number
from explorer.drawing.draw_list import DrawList
from explorer.open_model import OpenModel
from explorer.tree import lod


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
    if np.isnan(edges.magnitude[index]):
        why = "not yet read" if drawn.pending else "none of them finite"
        return f"{ends} · {count(weights)} weights, {why}"
    if edges.estimated[index]:
        guess = number(float(edges.magnitude[index]))
        return f"{ends} · {count(weights)} weights, RMS about {guess}: an estimate, still reading"
    where = _place_of(model, *paths)
    if weights == 1:
        return f"{ends} · w = {edges.signed_mean[index]:.9g}{where}"
    rms, mean = float(edges.magnitude[index]), float(edges.signed_mean[index])
    return f"{ends} · {count(weights)} weights, RMS {rms:.6g}, mean {number(mean)}{where}"


def _place_of(model: OpenModel, source: str, target: str) -> str:
    """Which elements of which weights join two units; empty for wider nodes."""
    units = []
    for path in (source, target):
        split = None if path in model.hierarchy.by_path else lod.split_unit_path(path)
        if split is None or split[1].count != 1:
            return ""
        units.append((split[0], split[1].start))
    found = elements(model, units[0], units[1])
    return "".join(f" · {index_text(weight, places)}" for weight, places in found)
