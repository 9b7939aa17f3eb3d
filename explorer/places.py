"""Where each layer shows in a cut: hidden in a closed node, or open into units."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from explorer.lod import Cut
from explorer.open_model import OpenModel

I4 = NDArray[np.int32]


class Places:
    """Where each layer shows in a cut: inside a closed node, or open into units."""

    def __init__(self, model: OpenModel, cut: Cut) -> None:
        hierarchy = model.hierarchy
        self.model = model
        self.node = cut.node
        self._alone = np.array([u is not None and u.count == 1 for u in cut.units], bool)
        self.home = np.full(len(model.graph.layers), -1, np.int32)  # -1: open into units
        self._opened: dict[int, int] = {}
        self._unit_rows: dict[int, I4] = {}
        self._spans = {}
        order = np.array(hierarchy.order, np.int64)
        for row in range(len(cut)):
            here = cut.units[row]
            node = hierarchy.nodes[int(cut.node[row])]
            if here is None:
                if cut.leaf[row]:
                    self.home[order[node.layers[0] : node.layers[1]]] = row
                    self._spans[row] = node.layers
                elif node.kind == "layer":
                    layer = hierarchy.order[node.layers[0]]
                    count = model.units_of(model.graph.layers[layer]).count
                    self._opened[layer] = row
                    self._unit_rows[layer] = np.full(count, -1, np.int32)
            elif cut.leaf[row]:
                layer = hierarchy.order[node.layers[0]]
                self._unit_rows[layer][here.start : here.stop] = row
        self._rows: dict[int, I4] = {}
        self._labels: dict[int, I4] = {}
        self._keys: dict[int, Hashable] = {}
        for layer, rows in self._unit_rows.items():
            unique, inverse = np.unique(rows, return_inverse=True)
            self._rows[layer] = unique.astype(np.int32)
            self._labels[layer] = inverse.astype(np.int32)
            self._keys[layer] = hash(self._labels[layer].tobytes())

    def is_open(self, layer: int) -> bool:
        """Whether the layer's units show."""
        return layer in self._unit_rows

    def closed(self, source: int, target: int) -> bool:
        """Whether both ends are hidden in closed nodes."""
        return not (self.is_open(source) or self.is_open(target))

    def outer(self, layer: int) -> int:
        """The row of the closed node around the layer, or of its own open frame."""
        return self._opened[layer] if layer in self._opened else int(self.home[layer])

    def key(self, layer: int) -> Hashable:
        """Equal for equal labels of the layer's units."""
        return self._keys.get(layer)

    def rows(self, layer: int) -> I4:
        """Row of each label."""
        if layer in self._rows:
            return self._rows[layer]
        return np.array([self.home[layer]], np.int32)

    def single(self, layer: int) -> NDArray[np.bool_]:
        """For each label of the layer, whether it stands for one unit."""
        if layer in self._rows:
            return np.asarray(self._alone[self._rows[layer]])
        return np.array([self.model.units_of(self.model.graph.layers[layer]).count == 1])

    def labels(self, layer: int, units: NDArray[np.integer]) -> tuple[I4, int]:
        """Label of each of these units (-1 where there is none) and the number of labels."""
        if layer not in self._labels:
            return np.where(units >= 0, 0, -1).astype(np.int32), 1
        table = self._labels[layer]
        inside = (units >= 0) & (units < len(table))
        found = np.where(inside, table[np.where(inside, units, 0)], -1)
        return found.astype(np.int32), len(self._rows[layer])

    def encloses(self, target: str, row: int) -> bool:
        """Whether all that can reach a layer's weights lies inside the same closed node."""
        first, last = self._spans[row]
        low, high = self.model.reach[target]
        return first <= low and high < last
