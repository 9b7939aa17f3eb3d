"""What is inside each node of the tree, from sums over prefixes: no layer is looked at twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.collector import paused
from explorer.kinds import family
from explorer.network import Layer, Shape
from explorer.tree.hierarchy import Hierarchy, NodeTable
from explorer.tree.likeness import classes

_LIGHT = ("norm", "merge", "shape", "activation")  # families whose weights never name a node
_TELLING = ("attention", "recurrent", "conv", "dense", "embedding")
ATTENTION_FROM = 0.25
"""Share of the weights inside from which a node counts as attention: of a Transformer block it
has a third, and tells more about the block than the dense layers around it do."""


class NodeFacts:
    """Families, parameters and shapes of what lies inside nodes; get it from `node_facts`.

    Parameters
    ----------
    hierarchy : Hierarchy
    """

    @paused()
    def __init__(self, hierarchy: Hierarchy) -> None:
        layers = hierarchy.network.layers
        self._hierarchy = hierarchy
        self._layers = [layers[i] for i in hierarchy.order]
        like = classes(hierarchy.network)
        which = like.which[np.asarray(hierarchy.order, np.int64)]
        families = [family(layer.op) for layer in like.ones]
        self._names = sorted(set(families))
        code = {name: k for k, name in enumerate(self._names)}
        codes = np.array([code[name] for name in families], np.int64)[which]
        sizes = np.array([layer.parameters for layer in like.ones], np.int64)[which]
        self._parameters = _prefix(sizes)
        light = np.array([name in _LIGHT for name in self._names], bool)
        heavy = np.where(light[codes], 0, sizes) if len(codes) else sizes
        # One row of prefix sums per family: its weights, and its layers.
        self._weight = np.stack([_prefix(np.where(codes == k, heavy, 0)) for k in code.values()]) \
            if code else np.zeros((0, 1), np.int64)  # fmt: skip
        self._count = np.stack([_prefix(codes == k) for k in code.values()]) \
            if code else np.zeros((0, 1), np.int64)  # fmt: skip
        self._attention = _prefix(np.where(_in_attention(hierarchy), heavy, 0))
        shaped = np.array([bool(layer.output_shape) for layer in like.ones], bool)[which]
        last = np.where(shaped, np.arange(len(self._layers)), -1)
        self._shaped = np.maximum.accumulate(last) if len(last) else last
        self._family: dict[int, str] = {}

    def parameters(self, node: int) -> int:
        """Elements in the weights of all layers inside."""
        first, last = self._hierarchy.nodes[node].layers
        return int(self._parameters[last] - self._parameters[first])

    def shape(self, node: int) -> Shape | None:
        """Output shape of the last layer inside that has one recorded."""
        first, last = self._hierarchy.nodes[node].layers
        at = int(self._shaped[last - 1]) if last > first else -1
        return self._layers[at].output_shape if at >= first else None

    def count(self, node: int) -> int:
        """Number of layers inside."""
        first, last = self._hierarchy.nodes[node].layers
        return last - first

    def first(self, node: int) -> Layer:
        """The first layer inside."""
        return self._layers[self._hierarchy.nodes[node].layers[0]]

    def has_pool(self, node: int) -> bool:
        """Whether a layer inside pools."""
        if "pool" not in self._names:
            return False
        first, last = self._hierarchy.nodes[node].layers
        row = self._count[self._names.index("pool")]
        return bool(row[last] > row[first])

    def family(self, node: int) -> str:
        """The family whose colour a node takes: its own, or the one with most weights inside."""
        found = self._family.get(node)
        if found is None:
            found = self._family[node] = self._find_family(node)
        return found

    def _find_family(self, node: int) -> str:
        row = self._hierarchy.nodes[node]
        first, last = row.layers
        if last - first == 1:
            return family(self._layers[first].op)
        own = family(row.type)
        if own in _TELLING:
            return own  # a stage, or a composite layer such as MultiHeadAttention
        weight = self._weight[:, last] - self._weight[:, first]
        number = self._count[:, last] - self._count[:, first]
        attention = int(self._attention[last] - self._attention[first])
        if attention and attention >= ATTENTION_FROM * weight.sum():
            return "attention"
        inside = [k for k in range(len(self._names)) if number[k]]
        # Where no family has weights, the one with most layers.
        best = max(inside, key=lambda k: (weight[k] + 1e-3 * number[k], k), default=-1)
        return self._names[best] if best >= 0 else "other"


def _in_attention(hierarchy: Hierarchy) -> NDArray[np.bool_]:
    """Which layers, in the order of the leaves, lie in a scope that attends, by type or title."""
    nodes = hierarchy.nodes
    if isinstance(nodes, NodeTable):
        texts, spans = nodes.texts, nodes.spans[nodes.kinds != 0].tolist()
        named = list(zip(texts.type, texts.title, spans, strict=True))
    else:
        named = [(n.type, n.title, list(n.layers)) for n in nodes if n.kind != "layer"]
    known: dict[tuple[str, str], bool] = {}
    found = np.zeros(len(hierarchy.order), bool)
    for kind, title, (first, last) in named:
        attends = known.get((kind, title))
        if attends is None:
            words = title.lower()
            attends = family(kind) == "attention" or "attention" in words or "attn" in words
            known[kind, title] = attends
        if attends:
            found[first:last] = True
    return found


def _prefix(values: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sums of the first 0, 1, … entries."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)))


def node_facts(hierarchy: Hierarchy) -> NodeFacts:
    """The facts of a hierarchy, made once and kept beside it."""
    store = hierarchy.__dict__
    if "_facts" not in store:
        store["_facts"] = NodeFacts(hierarchy)
    made: NodeFacts = store["_facts"]
    return made
