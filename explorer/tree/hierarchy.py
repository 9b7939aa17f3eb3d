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
    piece : tuple of bool
        True for a piece of the series around it, which has too many members to show at once.
    """

    path: tuple[str, ...]
    title: tuple[str, ...]
    type: tuple[str, ...]
    prefix: tuple[str, ...]
    inferred: tuple[bool, ...]
    piece: tuple[bool, ...]


class NodeTable(Sequence[Node]):
    """Nodes kept as arrays; a row is made when it is asked for, and kept.

    Nodes stand in the order in which one meets them going through the tree depth first: what is
    inside a node follows it directly.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the leaves.
    parents : int32 array, shape (n,)
        Parent of each node, -1 for the root.
    spans : int32 array, shape (n, 2)
        First and last + 1 place of the layers inside each node.
    kinds : int8 array, shape (n,)
        Index into `KINDS`.
    texts : GroupTexts
    layer_title : callable (path, prefix) -> str
        Makes the title of a layer.
    """

    def __init__(self, layers: Sequence[Layer], parents: NDArray[np.int32],
                 spans: NDArray[np.int32], kinds: NDArray[np.int8], texts: GroupTexts,
                 layer_title: Callable[[str, str], str]) -> None:  # fmt: skip
        self.layers, self.parents, self.spans, self.kinds = layers, parents, spans, kinds
        self.texts, self._layer_title = texts, layer_title
        self._text = np.cumsum(kinds != 0) - 1  # entry of `texts` of each node that is no layer
        # Nodes in order of their parents, and where the children of each node start.
        self._inside = np.argsort(parents, kind="stable")
        self._starts = np.searchsorted(parents[self._inside], np.arange(len(parents) + 1))
        self._made: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self.parents)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = self._made.get(index)
        if found is None:
            found = self._made[index] = self._node(range(len(self))[index])
        return found

    def __iter__(self) -> Iterator[Node]:
        return map(self.__getitem__, range(len(self)))

    def paths(self) -> list[str]:
        """Path of each node."""
        groups = iter(self.texts.path)
        firsts = np.where(self.kinds == 0, self.spans[:, 0], -1).tolist()
        return [self.layers[at].path if at >= 0 else next(groups) for at in firsts]

    def _node(self, index: int) -> Node:
        kind = KINDS[self.kinds[index]]
        parent = int(self.parents[index])
        first, last = self.spans[index].tolist()
        texts = self.texts
        if kind == "layer":
            layer = self.layers[first]
            title = self._layer_title(layer.path, texts.prefix[self._text[parent]])
            return Node(layer.path, title, kind, layer.kind, parent, (), (first, last), False)
        at = int(self._text[index])
        children = tuple(self._inside[self._starts[index] : self._starts[index + 1]].tolist())
        return Node(texts.path[at], texts.title[at], kind, texts.type[at], parent, children,
                    (first, last), texts.inferred[at])  # fmt: skip


@dataclass(frozen=True)
class Hierarchy:
    """All nodes; parents precede children, children stand in order of flow.

    Attributes
    ----------
    nodes : sequence of Node
        Node 0 is the root.
    order : tuple of int
        Indices into ``network.layers`` in the order of the leaves.
    network : Network
    """

    nodes: Sequence[Node]
    order: tuple[int, ...]
    network: Network

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Path of each node."""
        if isinstance(self.nodes, NodeTable):
            return tuple(self.nodes.paths())
        return tuple(node.path for node in self.nodes)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Type of each node: a layer's kind, a scope's class name, or ``""``."""
        if not isinstance(self.nodes, NodeTable):
            return tuple(node.type for node in self.nodes)
        groups, layers = iter(self.nodes.texts.type), self.nodes.layers
        firsts = np.where(self.kinds == 0, self.spans[:, 0], -1).tolist()
        return tuple(layers[at].kind if at >= 0 else next(groups) for at in firsts)

    @cached_property
    def by_path(self) -> dict[str, int]:
        """Node index by path."""
        return {path: i for i, path in enumerate(self.paths)}

    @cached_property
    def parents(self) -> NDArray[np.int32]:
        """Parent of each node, -1 for the root; shape (n,)."""
        if isinstance(self.nodes, NodeTable):
            return self.nodes.parents
        return np.array([node.parent for node in self.nodes], np.int32)

    @cached_property
    def spans(self) -> NDArray[np.int32]:
        """First and last + 1 place in `order` of the layers inside each node; shape (n, 2)."""
        if isinstance(self.nodes, NodeTable):
            return self.nodes.spans
        return np.array([node.layers for node in self.nodes], np.int32).reshape(-1, 2)

    @cached_property
    def kinds(self) -> NDArray[np.int8]:
        """Index into `KINDS` of the kind of each node; shape (n,)."""
        if isinstance(self.nodes, NodeTable):
            return self.nodes.kinds
        return np.array([KINDS.index(node.kind) for node in self.nodes], np.int8)

    @cached_property
    def place(self) -> NDArray[np.int32]:
        """Place in `order` of each layer of the network: the inverse of `order`."""
        place = np.empty(len(self.order), np.int32)
        place[np.asarray(self.order, np.int64)] = np.arange(len(self.order), dtype=np.int32)
        return place

    @cached_property
    def pieces(self) -> NDArray[np.bool_]:
        """Which nodes are pieces of the series around them; shape (n,)."""
        found = np.zeros(len(self.nodes), bool)
        if isinstance(self.nodes, NodeTable):
            found[self.kinds != 0] = self.nodes.texts.piece
        return found

    @cached_property
    def copies(self) -> NDArray[np.int32]:
        """How many equal members a series has, also where it shows them in pieces; shape (n,)."""
        series = self.kinds == KINDS.index("series")
        count = [0] * len(series)
        is_series, parents, piece = series.tolist(), self.parents.tolist(), self.pieces.tolist()
        for i in range(len(count) - 1, 0, -1):  # children come after their parents
            if is_series[parents[i]]:
                count[parents[i]] += count[i] if piece[i] else 1
        return np.array(count, np.int32)

    def layer(self, node: int) -> Layer | None:
        """The layer of a layer node, else ``None``."""
        if KINDS[self.kinds[node]] != "layer":
            return None
        return self.network.layers[self.order[int(self.spans[node, 0])]]

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


def shape_text(shape: Shape | None) -> str:
    """A shape without its batch axis, for people: ``56 × 56 × 64``; unknown lengths are ``?``."""
    if shape is None:
        return "shape not recorded"
    inner = shape[1:] if len(shape) > 1 else shape
    return " × ".join("?" if n is None else str(n) for n in inner)
