"""The tree that people see: scopes, series, stages and layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Network, Shape

NodeKind = Literal["scope", "series", "stage", "layer"]
KINDS: tuple[NodeKind, ...] = ("layer", "stage", "scope", "series")


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
class GroupTexts:
    """What is written on the nodes that are no layers, one entry each in order of their index.

    Attributes
    ----------
    path, title, type : tuple of str
    prefix : tuple of str
        What the titles of the layers right inside go without.
    inferred : tuple of bool
    """

    path: tuple[str, ...]
    title: tuple[str, ...]
    type: tuple[str, ...]
    prefix: tuple[str, ...]
    inferred: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """All nodes; parents precede children, children stand in order of flow.

    Nodes stand in the order in which one meets them going through the tree depth first: what is
    inside a node follows it directly.

    Attributes
    ----------
    network : Network
    order : tuple of int
        Indices into ``network.layers`` in the order of the leaves.
    parents : int32 array, shape (n,)
        Parent of each node, -1 for the root.
    spans : int32 array, shape (n, 2)
        First and last + 1 place in `order` of the layers inside each node.
    kinds : int8 array, shape (n,)
        Index into `KINDS`.
    texts : GroupTexts
    layer_title : callable (path, prefix) -> str
        Makes the title of a layer.
    """

    network: Network
    order: tuple[int, ...]
    parents: NDArray[np.int32]
    spans: NDArray[np.int32]
    kinds: NDArray[np.int8]
    texts: GroupTexts
    layer_title: Callable[[str, str], str]

    @cached_property
    def nodes(self) -> Sequence[Node]:
        """All nodes, made one by one when they are asked for; node 0 is the root."""
        return _Nodes(self)

    @cached_property
    def by_path(self) -> dict[str, int]:
        """Node index by path."""
        return {path: i for i, path in enumerate(self.paths)}

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Path of each node."""
        layers, groups = self.network.layers, iter(self.texts.path)
        return tuple([layers[i].path if i >= 0 else next(groups) for i in self._layers.tolist()])

    @cached_property
    def place(self) -> NDArray[np.int32]:
        """Place in `order` of each layer of the network: the inverse of `order`."""
        place = np.empty(len(self.order), np.int32)
        place[np.asarray(self.order, np.int64)] = np.arange(len(self.order), dtype=np.int32)
        return place

    @cached_property
    def copies(self) -> NDArray[np.int32]:
        """How many equal members a series has, also where it shows them in pieces; shape (n,)."""
        count = np.zeros(len(self.parents), np.int64)
        series = KINDS.index("series")
        for depth in range(int(self.depths.max(initial=0)), 0, -1):
            node = np.flatnonzero(self.depths == depth)
            above = self.parents[node]
            piece = self.kinds[node] == series
            piece &= self.kinds[above] == series
            np.add.at(count, above, np.where(piece, count[node], 1))
        return np.where(self.kinds == series, count, 0).astype(np.int32)

    @cached_property
    def depths(self) -> NDArray[np.int32]:
        """Number of nodes around each node; shape (n,)."""
        depth = [0] * len(self.parents)
        for i, parent in enumerate(self.parents.tolist()):
            depth[i] = depth[parent] + 1 if parent >= 0 else 0
        return np.array(depth, np.int32)

    @cached_property
    def _layers(self) -> NDArray[np.int64]:
        """Index into the network's layers of each layer node; -1 for the others."""
        order = np.append(np.asarray(self.order, np.int64), -1)
        return np.where(self.kinds == 0, order[self.spans[:, 0]], -1)

    @cached_property
    def _text(self) -> NDArray[np.int64]:
        """Index into `texts` of each node that is no layer."""
        return np.cumsum(self.kinds != 0) - 1

    @cached_property
    def _children(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Node indices in order of their parents, and where the children of each node start."""
        order = np.argsort(self.parents, kind="stable")
        return order, np.searchsorted(self.parents[order], np.arange(len(self.parents) + 1))

    def children(self, node: int) -> tuple[int, ...]:
        """Indices of the nodes right inside a node, in order of flow."""
        order, start = self._children
        return tuple(order[start[node] : start[node + 1]].tolist())

    def node(self, index: int) -> Node:
        """A row of the tree."""
        kind = KINDS[self.kinds[index]]
        parent = int(self.parents[index])
        first, last = self.spans[index].tolist()
        if kind == "layer":
            layer = self.network.layers[self.order[first]]
            prefix = self.texts.prefix[self._text[parent]]
            title = self.layer_title(layer.path, prefix)
            return Node(layer.path, title, kind, layer.kind, parent, (), (first, last), False)
        at, texts = int(self._text[index]), self.texts
        return Node(
            texts.path[at],
            texts.title[at],
            kind,
            texts.type[at],
            parent,
            self.children(index),
            (first, last),
            texts.inferred[at],
        )

    def layer(self, node: int) -> Layer | None:
        """The layer of a layer node, else ``None``."""
        if self.kinds[node]:
            return None
        at = int(self.spans[node, 0])
        return self.network.layers[self.order[at]]

    def layers_in(self, node: int) -> list[Layer]:
        """All layers inside a node, in order of flow."""
        first, last = self.spans[node].tolist()
        return [self.network.layers[i] for i in self.order[first:last]]

    def ancestors(self, node: int) -> list[int]:
        """The node's parents, nearest first, without the root."""
        found = []
        while (node := int(self.parents[node])) > 0:
            found.append(node)
        return found


class _Nodes(Sequence[Node]):
    """The rows of a hierarchy, made when they are asked for and kept."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._made: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._hierarchy.parents)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = self._made.get(index)
        if found is None:
            at = range(len(self))[index]
            found = self._made[index] = self._hierarchy.node(at)
        return found

    def __iter__(self) -> Iterator[Node]:
        return map(self.__getitem__, range(len(self)))


def shape_text(shape: Shape | None) -> str:
    """A shape without its batch axis, for people: ``56 × 56 × 64``; unknown lengths are ``?``."""
    if shape is None:
        return "shape not recorded"
    inner = shape[1:] if len(shape) > 1 else shape
    return " × ".join("?" if n is None else str(n) for n in inner)
