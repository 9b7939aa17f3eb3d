"""The tree that people see: scopes, series, stages and layers of a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Network, Shape

NodeKind = Literal["scope", "series", "stage", "layer"]


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the tree.

    Attributes
    ----------
    path : str
        Stable and unique. A layer's path is the network's own; the root's is ``""``.
    title : str
        What a person reads.
    kind : {"scope", "series", "stage", "layer"}
    type : str
        The layer's kind, the scope's class name, or ``""``.
    parent : int
        Index of the parent; -1 for the root.
    children : tuple of int
        Indices, in order of flow.
    layers : tuple of int
        First and last + 1 of the positions in `Hierarchy.order` that lie inside.
    inferred : bool
        True when the file does not record this grouping.
    """

    path: str
    title: str
    kind: NodeKind
    type: str
    parent: int
    children: tuple[int, ...]
    layers: tuple[int, int]
    inferred: bool


@dataclass(frozen=True)
class Hierarchy:
    """All nodes; parents precede children, children stand in order of flow.

    Attributes
    ----------
    nodes : tuple of Node
        Node 0 is the root.
    order : tuple of int
        Indices into ``network.layers`` in the order of the leaves.
    network : Network
    """

    nodes: tuple[Node, ...]
    order: tuple[int, ...]
    network: Network

    @cached_property
    def by_path(self) -> dict[str, int]:
        """Node index by path."""
        return {node.path: i for i, node in enumerate(self.nodes)}

    @cached_property
    def parents(self) -> NDArray[np.int32]:
        """Parent of each node, -1 for the root; shape (n,)."""
        return np.array([node.parent for node in self.nodes], np.int32)

    @cached_property
    def spans(self) -> NDArray[np.int32]:
        """First and last + 1 place in `order` of the layers inside each node; shape (n, 2)."""
        return np.array([node.layers for node in self.nodes], np.int32).reshape(-1, 2)

    @cached_property
    def place(self) -> NDArray[np.int32]:
        """Place in `order` of each layer of the network: the inverse of `order`."""
        place = np.empty(len(self.order), np.int32)
        place[np.asarray(self.order, np.int64)] = np.arange(len(self.order), dtype=np.int32)
        return place

    def layer(self, node: int) -> Layer | None:
        """The layer of a layer node, else ``None``."""
        row = self.nodes[node]
        return self.network.layers[self.order[row.layers[0]]] if row.kind == "layer" else None

    def layers_in(self, node: int) -> list[Layer]:
        """All layers inside a node, in order of flow."""
        first, last = self.nodes[node].layers
        return [self.network.layers[i] for i in self.order[first:last]]

    def ancestors(self, node: int) -> list[int]:
        """The node's parents, nearest first, without the root."""
        found = []
        while (node := self.nodes[node].parent) > 0:
            found.append(node)
        return found


def shape_text(shape: Shape | None) -> str:
    """A shape without its batch axis, for people: ``56 × 56 × 64``; unknown lengths are ``?``."""
    if shape is None:
        return "shape not recorded"
    inner = shape[1:] if len(shape) > 1 else shape
    return " × ".join("?" if n is None else str(n) for n in inner)
