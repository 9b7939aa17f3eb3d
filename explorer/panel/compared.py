"""What the panel tells of a layer and of a weight where two files are compared."""

from __future__ import annotations

import math
from collections.abc import Callable

from explorer.comparing.comparison import Comparison
from explorer.comparing.measuring import ChangeSums, added
from explorer.drawing.color_scale import count, percent
from explorer.network import Layer
from explorer.panel.weight_summary import Stopped

Rows = list[tuple[str, str]]


def layer_rows(comparison: Comparison, layer: Layer) -> Rows:
    """How a layer of the joined network stands to both files, as far as it has been read.

    Parameters
    ----------
    comparison : Comparison
    layer : Layer
        Of the expanded network: its weights have the names of the joined one.
    """
    path = layer.path
    while path and path not in comparison.pairs and path not in comparison.marks:
        path = path.rpartition("/")[0]  # a part of a composite layer
    rows: Rows = []
    mark, pair = comparison.marks.get(path), comparison.pairs.get(path)
    if mark in ("added", "removed"):
        file = comparison.after if mark == "added" else comparison.before
        rows.append(("compared", f"{mark}: only in {file}"))
    if pair is not None and pair.by == "order":
        rows.append(("before called", f"{pair.before.path}, paired by its order"))
    if pair is not None:
        rows += [("differs", text) for text in pair.differs]
    changes = comparison.changes
    known = [changes.of_weight(w.name) for w in layer.weights if changes.compares(w.name)]
    measured = [sums for sums in known if sums is not None]
    if measured and len(measured) == len(known):
        rows += _change(added(measured))
    return rows


def weight_rows(comparison: Comparison, name: str, stop: Callable[[], bool]) -> Rows:
    """A weight in both files, and by how much it changed; reads it if need be.

    Parameters
    ----------
    comparison : Comparison
    name : str
        Of a weight that both files have, in the joined network.
    stop : callable () -> bool
        Asked between blocks.

    Raises
    ------
    ModelError
        If a file was changed or cannot be read.
    Stopped
        When `stop` says so.
    """
    sums = comparison.changes.measure_weight(name, stop)
    if sums is None:
        raise Stopped
    return _change(sums)


def _change(sums: ChangeSums) -> Rows:
    relative = "was all zero" if math.isinf(sums.relative) else f"{100 * sums.relative:.4g} %"
    return [
        ("RMS before", f"{sums.rms_before:.6g}"),
        ("RMS now", f"{sums.rms_after:.6g}"),
        ("RMS of change", f"{sums.rms:.6g}"),
        ("relative", relative),
        ("largest change", f"{sums.largest:.6g}"),
        ("changed", f"{count(sums.changed)}, {percent(sums.changed / max(sums.size, 1))}"),
    ]
