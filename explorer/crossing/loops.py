"""Weights and links that lead from a closed node back to itself: what is drawn as a loop.

A recurrent kernel joins a layer's units of one step to those of the next; a link may lead from a
layer to itself. Loops among different layers of a closed node stay inside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.kinds import family
from explorer.open_model import OpenModel
from explorer.tree.hierarchy import KINDS

I4 = NDArray[np.int32]


class Loops:
    """The nodes that are drawn with a loop while they are closed.

    A layer that feeds itself, the stage that it leads, and what the file counts as one recurrent
    layer around it (Bidirectional).

    Parameters
    ----------
    model : OpenModel

    Attributes
    ----------
    numbers : dict of int: int32 array
        By node, the connections whose weights the loop stands for, ascending; empty for a link
        on which no weight acts.
    """

    def __init__(self, model: OpenModel) -> None:
        self.numbers: dict[int, I4] = {}
        found = _layers(model)
        if not found:
            return
        hierarchy, parents = model.hierarchy, model.hierarchy.parents
        leaf = {hierarchy.order[a]: node for node, (a, b) in _leaves(model)}
        stage = KINDS.index("stage")
        joined: dict[int, list[int]] = {}
        for layer, numbers in found.items():
            node = leaf[layer]
            joined.setdefault(node, []).extend(numbers)
            while (node := int(parents[node])) > 0:
                recurrent = family(hierarchy.nodes[node].type) == "recurrent"
                if not recurrent and hierarchy.kinds[node] != stage:
                    break
                joined.setdefault(node, []).extend(numbers)
        self.numbers = {n: np.unique(np.array(k, np.int32)) for n, k in joined.items()}

    def among(self, nodes: I4, closed: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Row and node of each closed row that has a loop.

        Parameters
        ----------
        nodes : int32 array, shape (n,)
            Node of each row.
        closed : bool array, shape (n,)
        """
        if not self.numbers:
            return []
        rows = np.flatnonzero(closed & np.isin(nodes, list(self.numbers)))
        return [(row, int(nodes[row])) for row in rows.tolist()]


def _layers(model: OpenModel) -> dict[int, list[int]]:
    """Layers that feed themselves, and which of their connections do."""
    table = model.table
    found: dict[int, list[int]] = {}
    for number, connection in enumerate(table.connections):
        if connection.input < 0:
            found.setdefault(int(table.layer[number]), []).append(number)
    ends = model.graph.link_ends
    for at in np.flatnonzero(ends[:, 0] == ends[:, 1]).tolist():
        layer, link = int(ends[at, 0]), model.graph.links[at]
        own = [n for n in table.of_layer(layer) if table.connections[n].input == link.target_input]
        found.setdefault(layer, []).extend(own)
    return found


def _leaves(model: OpenModel) -> list[tuple[int, tuple[int, int]]]:
    """Nodes that are layers, and their spans."""
    hierarchy = model.hierarchy
    rows = np.flatnonzero(hierarchy.kinds == KINDS.index("layer"))
    return [(node, tuple(hierarchy.spans[node].tolist())) for node in rows.tolist()]
