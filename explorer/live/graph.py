"""A ``networkx.DiGraph`` as a network: its nodes as layers or units, its edges as weights.

Nodes that tell by an attribute in which layer they are (``layer``, or ``subset`` as
``networkx.multipartite_layout`` has it) are the units of that layer; the others are layers of one
unit each. A pair of nodes without an edge has no weight, not one of 0, so a layer's matrix consists
of the rectangles that are filled; where it would take too many of them, the nodes stay layers of
their own inside a scope.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from numbers import Complex, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import NeuronautError
from explorer.formats.naming.text import Names, clean_tree
from explorer.network import Inline, Layer, Link, Network, Scope, Weight
from explorer.plain_text import clean, path_part
from explorer.weights.connections import MOST_PIECES
from explorer.weights.edge_lists import KEY, UNITS, EdgeList, Rectangle, UnitNames

_LAYER = ("layer", "subset")
_KIND = ("kind", "type")
_DEEPEST = 4  # of an attribute's value
_MOST_PARTS = 16  # of a name
_MOST_SHOWN = 64  # entries of an attribute's value
# Keys by which rules of layers would take an attribute for something else.
_MEANT = frozenset(("data_format", "heads", "head_dim", "time_distributed", "gates", "steering",
                    "groups", "name"))  # fmt: skip

I8 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges by the numbers of their nodes, parallel ones added up.

    Attributes
    ----------
    ends : int64 array, shape (n, 2)
        Source and target.
    values : float64 array, shape (n,)
    weighted : bool array, shape (n,)
        Which have a number.
    parallel, missing : int
        How many were added to others, and how many have no number.
    """

    ends: I8
    values: NDArray[np.float64]
    weighted: NDArray[np.bool_]
    parallel: int
    missing: int


@dataclass(frozen=True, eq=False)
class _Places:
    """Where nodes are: `layer` and `unit` of each, shape (nodes,); `sizes` of the layers."""

    layer: I8
    unit: I8
    sizes: I8


def network_of_graph(graph: Any) -> Network:
    """A directed graph as a network.

    Parameters
    ----------
    graph : networkx.DiGraph
        Or ``MultiDiGraph``, whose parallel edges are added up, as
        ``networkx.to_numpy_array`` does. Edges without a ``weight`` are links without a number.

    Returns
    -------
    Network
        Its weights are held in memory, as float64.

    Raises
    ------
    NeuronautError
        If the graph is undirected or empty, or a weight is no real number.
    """
    if not graph.is_directed():
        raise NeuronautError(
            "an undirected graph has no flow: give a networkx.DiGraph (graph.to_directed() makes"
            " each edge two)"
        )
    nodes = [(_name(node), node, data) for node, data in graph.nodes(data=True)]
    if not nodes:
        raise NeuronautError("the graph has no nodes")
    edges = _edges(graph, {node: i for i, (_, node, _) in enumerate(nodes)})
    attributes = [data for _, _, data in nodes]
    labels = [_label(data) for data in attributes]
    groups, scoped = _grouped(labels, edges)
    made = _Maker([text for text, _, _ in nodes], attributes, labels, groups, scoped)
    return made.network(clean(_text(graph.name)) or "graph", edges)


def _name(node: Any) -> str:
    """What a node is called; ``/`` in a text stands between a scope and what is in it."""
    text = _text(node)
    if not isinstance(node, str):
        return text.replace("/", "\N{DIVISION SLASH}")
    parts = [part for part in text.split("/") if part.strip()]
    return "/".join([*parts[:_MOST_PARTS], ".".join(parts[_MOST_PARTS:])]).rstrip("/") or "unnamed"


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        raise NeuronautError(
            f"a {type(value).__name__} in the graph has no name ({type(error).__name__})"
        ) from None


def _label(data: Mapping[Any, Any]) -> str:
    """The layer that a node says it is in; empty for none."""
    for key in _LAYER:
        value = data.get(key)
        if value is not None and not (isinstance(value, float) and value != value):
            text = _text(value)
            return path_part(f"{key} {text}" if text.lstrip("-").isdigit() else text)
    return ""


# -- edges ---------------------------------------------------------------------------------------


def _edges(graph: Any, at: Mapping[Any, int]) -> _Edges:
    ends, values, weighted = [], [], []
    for source, target, data in graph.edges(data=True):
        value = data.get("weight")
        ends.append((at[source], at[target]))
        weighted.append(value is not None)
        values.append(0.0 if value is None else _number(value, source, target))
    pairs = np.array(ends, np.int64).reshape(-1, 2)
    has, numbers = np.array(weighted, bool), np.array(values, np.float64)
    key = pairs[:, 1] * len(at) + pairs[:, 0]
    unique, which = np.unique(key, return_inverse=True)
    total = np.zeros(len(unique))
    with np.errstate(invalid="ignore", over="ignore"):
        np.add.at(total, which, numbers)
    some = np.zeros(len(unique), bool)
    some[which[has]] = True
    both = np.stack((unique % max(len(at), 1), unique // max(len(at), 1)), axis=1)
    return _Edges(both, total, some, len(key) - len(unique), int((~has).sum()))


def _number(value: Any, source: Any, target: Any) -> float:
    """A weight as a float; booleans and whole numbers, too, Decimal, scalars of arrays."""
    if type(value) is float:
        return value
    plain = isinstance(value, Real | Decimal) or (
        not isinstance(value, str | bytes | bytearray | Complex)
        and getattr(value, "shape", None) == ()
        and getattr(getattr(value, "dtype", None), "kind", "f") in "fiub"
    )
    what = f"the edge from {clean(_text(source))!r} to {clean(_text(target))!r}"
    if not plain:
        told = clean(repr(value), 40) if isinstance(value, str) else f"a {type(value).__name__}"
        raise NeuronautError(f"{what} has a weight that is no real number: {told}")
    try:
        return float(value)
    except OverflowError:
        raise NeuronautError(f"{what} has a weight that is too large for a float") from None
    except Exception as error:
        raise NeuronautError(f"{what} has a weight that is no number ({type(error).__name__})"
                             ) from None  # fmt: skip


# -- layers --------------------------------------------------------------------------------------


def _grouped(labels: Sequence[str], edges: _Edges) -> tuple[_Places, bool]:
    """Where the nodes go, and whether labels are scopes around layers of one node each."""
    numbers = np.arange(len(labels))
    alone = _Places(numbers, np.zeros_like(numbers), np.ones_like(numbers))
    if not any(labels):
        return alone, False
    first: dict[str, int] = {}
    layer = np.array([first.setdefault(label or f"/{i}", len(first))
                      for i, label in enumerate(labels)], np.int64)  # fmt: skip
    sizes = np.bincount(layer)
    by_layer = np.argsort(layer, kind="stable")
    unit = np.empty_like(numbers)
    unit[by_layer] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    source, target = edges.ends[edges.weighted].T
    pair = layer[target] * len(sizes) + layer[source]
    pairs, counts = np.unique(pair, return_counts=True)
    for one in pairs[counts > MOST_PIECES]:
        mine = pair == one
        if len(_rectangles(unit[target[mine]], unit[source[mine]])[0]) > MOST_PIECES:
            return alone, True
    return _Places(layer, unit, sizes), False


def _rectangles(out: I8, inside: I8) -> tuple[list[Rectangle], I8]:
    """Pairs of units as rectangles, and the pairs in the order in which these hold them.

    Pairs side by side are a run; runs that are alike in rows that follow each other a rectangle.
    """
    order = np.lexsort((inside, out))
    o, i = out[order], inside[order]
    first = np.flatnonzero(np.append(True, (np.diff(o) != 0) | (np.diff(i) != 1)))
    length = np.diff(np.append(first, len(o)))
    start, row = i[first], o[first]
    alike = np.lexsort((row, length, start))
    s, n, r = start[alike], length[alike], row[alike]
    new = np.flatnonzero(np.append(True, (np.diff(s) != 0) | (np.diff(n) != 0) | (np.diff(r) != 1)))
    rows = np.diff(np.append(new, len(r)))
    made = [(int(r[a]), int(k), int(s[a]), int(n[a])) for a, k in zip(new, rows, strict=True)]
    spans = [np.arange(first[a], first[a] + length[a]) for a in alike]
    return made, order[np.concatenate(spans)]


class _Maker:
    """Layers and links of a graph whose nodes have their places."""

    def __init__(self, texts: list[str], attributes: list[Mapping[Any, Any]], labels: list[str],
                 places: _Places, scoped: bool) -> None:  # fmt: skip
        self.texts, self.attributes, self.labels = texts, attributes, labels
        self.places, self.scoped = places, scoped
        by_layer = np.argsort(places.layer, kind="stable")
        bounds = np.append(0, np.cumsum(places.sizes)).tolist()
        self.members = [by_layer[a:b].tolist() for a, b in pairwise(bounds)]
        self.paths, self.scopes = self._paths()

    def _paths(self) -> tuple[list[str], tuple[Scope, ...]]:
        names = Names()
        if self.scoped:
            homes = {x: names.unique("", x) for x in dict.fromkeys(self.labels) if x}
            paths = [names.unique(f"{homes[x]}/" if x else "", text)
                     for text, x in zip(self.texts, self.labels, strict=True)]  # fmt: skip
            return paths, tuple(Scope(path, "Layer") for path in homes.values())
        own = [
            self.labels[m[0]] or self.texts[m[0]] if len(m) == 1 else self.labels[m[0]]
            for m in self.members
        ]
        inner = {"/".join(t.split("/")[:n]) for t in own for n in range(1, t.count("/") + 1)}
        paths = []
        for text in own:  # a node of the name of a scope stands in it
            parts = [*text.split("/"), "node"] if text in inner else text.split("/")
            parts = [path_part(p) for p in parts]
            paths.append(names.unique("".join(f"{p}/" for p in parts[:-1]), parts[-1]))
        return paths, ()

    def network(self, name: str, edges: _Edges) -> Network:
        """All of it."""
        notes = []
        if edges.missing:
            notes.append(f"{edges.missing} edges have no weight: they are links without a number")
        if edges.parallel:
            notes.append(f"{edges.parallel} parallel edges are added up")
        if self.scoped:
            notes.append("nodes of one layer are not joined in few enough rectangles to be units")
        layer = self.places.layer
        target, source = layer[edges.ends[:, 1]], layer[edges.ends[:, 0]]
        order = np.lexsort((source, target))
        bounds = np.searchsorted(target[order], np.arange(len(self.members) + 1)).tolist()
        feeds = np.zeros(len(self.members), bool)
        feeds[source[source != target]] = True
        layers: list[Layer] = []
        links: list[Link] = []
        for at in range(len(self.members)):
            mine = order[bounds[at] : bounds[at + 1]]
            layers.append(self._layer(at, mine, source[mine], edges, bool(feeds[at]), links))
        return Network(name, "networkx", tuple(layers), self.scopes, tuple(links),
                       notes=tuple(notes))  # fmt: skip

    def _layer(self, at: int, mine: I8, source: I8, edges: _Edges, feeds: bool,
               links: list[Link]) -> Layer:  # fmt: skip
        """A layer, and the links into it."""
        kernels: list[tuple[int, int, I8]] = []
        ports = 0
        bounds = [*np.flatnonzero(np.diff(source, prepend=-1)).tolist(), len(mine)]
        for a, b in pairwise(bounds):
            origin = int(source[a])
            numbers = mine[a:b][edges.weighted[mine[a:b]]]
            size = int(self.places.sizes[origin])
            if len(numbers):
                kernels.append((-1 if origin == at else ports, size, numbers))
            if origin != at or not len(numbers):  # a kernel from a layer to itself is its loop
                shape = (None, size)
                links.append(Link(self.paths[origin], self.paths[at], 0, ports, 0, shape))
                ports += 1
        weights, told = self._weights(at, kernels, edges)
        config = self._config(at) | ({KEY: told} if told is not None else {})
        operation = "InputLayer" if feeds and not len(mine) else "SparseDense"
        shape = (None, int(self.places.sizes[at]))
        return Layer(self.paths[at], self._kind(at), config, (), shape, weights, operation)

    def _weights(self, at: int, kernels: list[tuple[int, int, I8]],
                 edges: _Edges) -> tuple[tuple[Weight, ...], EdgeList | None]:  # fmt: skip
        """A weight per layer that is read, or one for all where all are single units."""
        path, unit = self.paths[at], self.places.unit
        if not kernels:
            return (), None
        ports, sizes, numbers = zip(*kernels, strict=True)
        if len(self.members[at]) == 1 and set(sizes) == {1}:
            values = edges.values[np.concatenate(numbers)]
            own = Weight(path, "edges", values.shape, "float64", Inline(values.tobytes()))
            return (own,), EdgeList(ports)
        made, told = [], []
        for port, mine in zip(ports, numbers, strict=True):
            ends = edges.ends[mine]
            boxes, order = _rectangles(unit[ends[:, 1]], unit[ends[:, 0]])
            values = edges.values[mine][order]
            shape = (boxes[0][1], boxes[0][3]) if len(boxes) == 1 else values.shape
            role = "recurrent edges" if port < 0 else f"edges {port}"
            data = Inline(values.tobytes())
            made.append(Weight(f"{path}: {role}", role, shape, "float64", data))
            told.append(tuple(boxes))
        return tuple(made), EdgeList(ports, sizes, tuple(told))

    def _kind(self, at: int) -> str:
        kinds = [next((clean(v) for k in _KIND if isinstance(v := self.attributes[m].get(k), str)
                       and v), "") for m in self.members[at]]  # fmt: skip
        (kind, count), *_ = Counter(kinds).most_common(1)
        if kind and count == len(kinds):
            return kind
        return "Layer" if len(kinds) > 1 or self.labels[self.members[at][0]] else "Node"

    def _config(self, at: int) -> dict[str, Any]:
        """Attributes of a node; of a layer of several, names and attributes of its units."""
        members = self.members[at]
        told = [dict(_attributes(self.attributes[m])) for m in members]
        if len(members) == 1:
            return told[0]
        names = tuple(clean(self.texts[m]) for m in members)
        return {"units": len(members), UNITS: UnitNames(names, tuple(told))}


def _attributes(data: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """What is told of a node, as JSON; texts cleaned."""
    for key, value in data.items():
        name = clean(_text(key))
        if name in _MEANT or name.startswith("_"):
            name = f"attribute {name}"
        yield name, clean_tree(_plain(value))


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON; of other types the text that they are shown as."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        items = list(value.items())[:_MOST_SHOWN]
        return {_text(k): _plain(v, depth + 1) for k, v in items}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_plain(v, depth + 1) for v in value[:_MOST_SHOWN]]
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return _plain(item(), _DEEPEST)
    return _text(value)
