"""Which lines step back where more pass than can be told apart: those over many nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import EdgeRows
from explorer.tree.lod import Cut

F8 = NDArray[np.float64]

CROWDED = "faint line: passes other nodes, among too many to tell apart"
"""What a legend says where lines fade."""

_MOST_PASSING = 4.0  # lines over one node that can still be told apart
_FALL = 0.75
_LEAST = 0.12


def crowding(cut: Cut, rows: EdgeRows) -> F8:
    """Share of its opacity and width that each line keeps.

    Nodes stand in order of flow, so the links from each to the next tell how data flows on, however
    many others there are. Where links over several nodes are so many that a net is all that would
    be seen of them, these fade together, and what joins neighbours stands out. Nothing is left out.
    Lines from one node run side by side, or as one rail: k of them count as the root of k.

    Parameters
    ----------
    cut : Cut
    rows : EdgeRows

    Returns
    -------
    float64 array, shape (m,)
        1 for lines between neighbours and wherever few lines pass each node; O(m log m).
    """
    outer = outer_rows(cut)
    nodes = np.unique(outer[cut.leaf])
    source, target = (np.searchsorted(nodes, outer[end]) for end in (rows.source, rows.target))
    pairs = np.unique(source * (len(nodes) + 1) + target)
    first, last = np.divmod(pairs, len(nodes) + 1)
    together = np.maximum(np.bincount(first)[first], np.bincount(last)[last])
    passing = (np.abs(last - first) / np.sqrt(together)).sum() / max(len(nodes), 1)
    share = np.ones(len(rows))
    if passing > _MOST_PASSING:
        far = np.abs(target - source) > 1
        share[far] = max((_MOST_PASSING / passing) ** _FALL, _LEAST)
    return share


def outer_rows(cut: Cut) -> NDArray[np.int32]:
    """Of each row the node that lines go to or past as one: units belong to their layer."""
    grid = np.any(cut.grid > 0, axis=1)
    outer = np.arange(len(cut), dtype=np.int32)
    while True:
        above = cut.parent[outer]
        inside = (above >= 0) & grid[above]
        if not inside.any():
            return outer
        outer = np.where(inside, above, outer).astype(np.int32)
