"""From a parsed ONNX graph to layers and links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import Names
from explorer.formats.onnx_model.operators import Meaning, Node, directions, meaning
from explorer.formats.onnx_model.quantised import scaled
from explorer.formats.onnx_model.tensors import Distinct, Tensors, constant, whole
from explorer.formats.onnx_model.values import (
    MOST_VALUES,
    Attributes,
    Shapes,
    Values,
    called,
    folder_of,
)
from explorer.formats.record import UnreadableError
from explorer.network import Layer, Link, Network, Shape, Weight
from explorer.plain_text import clean
from explorer.weights.codecs import is_number

_DEEPEST = 12
_GRAPH = 5  # AttributeProto.Type of a graph
_RECURRENT = ("LSTM", "GRU", "RNN")
_NONE: frozenset[int] = frozenset()
_NO_NAME: frozenset[str] = frozenset()
_FLOATS = (1, 10, 11, 16)  # TensorProto.DataType of what Cast may change without harm
Place = tuple[int, int]
"""The number of a layer, and the number of its output."""


class Graph:
    """Layers and links of a model.

    Parameters
    ----------
    tensors : Tensors
    model : onnx.ModelProto
        Without the bytes of its large tensors.
    notes : list of str
    """

    def __init__(self, tensors: Tensors, model: Any, notes: list[str]) -> None:
        self._tensors, self._model, self._notes = tensors, model, notes
        self._names, self._attributes, self._shapes = Names(), Attributes(), Shapes()
        self._layers: list[tuple[Any, ...]] = []  # what a Layer is made of
        self._links: list[tuple[int, int, int, int, Shape | None]] = []
        # What stands under a name: a tensor of the file, or what a layer makes.
        self._weights: dict[str, Weight] = {}
        self._made: dict[str, Place] = {}
        self._raw: dict[str, Any] = {}
        self._whole: dict[str, tuple[int, ...] | None] = {}
        self._turned: set[str] = set()
        self._rounded: dict[str, Weight] = {}
        self._distinct = Distinct()
        self._kinds: dict[str, int] = {}

    def build(self) -> None:
        """Walk the graph."""
        self._graph(self._model.graph, "", 0)

    def network(self, name: str, notes: list[str]) -> Network:
        """What was found."""
        if not self._layers:
            raise UnreadableError("its graph holds no operator")
        paths = self._settled()
        order = topological(len(paths), {(link[0], link[2]) for link in self._links
                                         if link[0] != link[2]})  # fmt: skip
        layers = tuple([Layer(paths[i], *self._layers[i][1:]) for i in order])
        links = tuple([Link(paths[source], paths[target], output, at, 0, shape)
                       for source, output, target, at, shape in self._links])  # fmt: skip
        told = tuple(dict.fromkeys([*self._notes, *notes]))
        return Network(clean(name), "onnx", layers, links=links, notes=told)

    def _settled(self) -> list[str]:
        """Paths; a module with one operator in it has its name: ``fc1``, not ``fc1/Gemm``."""
        paths: list[str] = [layer[0] for layer in self._layers]
        folders = [path.rpartition("/")[0] for path in paths]
        inside: dict[str, int] = {}
        for folder, count in Counter(folders).items():
            while folder:
                inside[folder] = inside.get(folder, 0) + count
                folder = folder.rpartition("/")[0]
        taken = set(paths)
        for at, folder in enumerate(folders):
            if inside.get(folder) == 1 and folder not in taken:
                own = paths[at][len(folder) + 1 :]
                if own.startswith((self._layers[at][1], "node_")):
                    paths[at] = folder
        return paths

    # -- walking ---------------------------------------------------------------------------------

    def _graph(self, graph: Any, prefix: str, depth: int, given: frozenset[str] = _NO_NAME) -> None:
        if depth > _DEEPEST:
            raise UnreadableError("it is nested too deeply")
        for values in (graph.value_info, graph.input, graph.output):
            for value in values:
                self._shapes.add(value)
        stored = {tensor.name for tensor in graph.initializer}
        for value in graph.input:
            if value.name not in stored and value.name not in given:
                self._input(value.name, prefix)
        for tensor in graph.initializer:
            self._tensor(tensor, tensor.name)
        for tensor in graph.sparse_initializer:
            self._sparse(tensor, tensor.values.name)
        for node in graph.node:
            self._node(node, prefix, depth)

    def _input(self, name: str, prefix: str) -> None:
        path = self._names.unique(prefix, name)
        self._made[name] = (len(self._layers), 0)
        self._weights.pop(name, None)
        self._layers.append((path, "InputLayer", {}, (), self._shapes.get(name), (), ""))

    def _tensor(self, tensor: Any, name: str) -> None:
        weight = self._tensors.weight(tensor, name)
        if weight is not None:
            self._known(name, weight)
            self._raw[name] = tensor

    def _sparse(self, tensor: Any, name: str) -> None:
        """A tensor of which only what is not zero is stored: shown, its numbers are not read."""
        weight = self._tensors.weight(tensor.values, name)
        if weight is not None:
            shape = tuple(max(int(n), 0) for n in tensor.dims)
            self._known(name, Weight(name, "", shape, weight.dtype, None))
            self._notes.append("sparse tensors are shown without their numbers")

    def _known(self, name: str, weight: Weight) -> None:
        """A name stands for a tensor; in another graph it may have stood for something else."""
        self._weights[name] = weight
        for table in (self._made, self._raw, self._whole):
            table.pop(name, None)
        self._turned.discard(name)

    def _node(self, node: Any, prefix: str, depth: int) -> None:
        kind = node.op_type
        fold = _FOLDED.get(kind)
        if fold is not None and fold(self, node):
            return
        name = prefix + called(node, self._kinds)
        if kind in _RECURRENT:
            self._recurrent(node, name)
            return
        told, shown, others = self._attributes.of(node)
        inner = [(a.name, a.g) for a in node.attribute if a.type == _GRAPH] if others else ()
        if inner:
            self._branches(node, name, inner, depth)
            return
        read = self._read(node, told, shown)
        self._put(node, name, read, meaning(read))

    def _read(self, node: Any, told: Values, shown: Values) -> Node:
        names, known, shapes = list(node.input), self._weights, self._shapes
        weights: dict[int, Weight] = {}
        constants: dict[int, tuple[int, ...]] = {}
        turned = _NONE
        for i, name in enumerate(names):
            if name in known:
                found = self._values(name)
                # A number or a shape steers; a tensor that is added or multiplied is a weight.
                if found is not None:
                    constants[i] = found
                    continue
                weights[i] = known[name]
                if name in self._turned:
                    turned |= {i}
        output = node.output
        return Node(
            node.op_type, told, weights, constants, [shapes.get(name) for name in names],
            shapes.get(output[0]) if output else None, turned, names, shown,
        )  # fmt: skip

    def _values(self, name: str) -> tuple[int, ...] | None:
        """The values of a small tensor of whole numbers."""
        if name not in self._whole:
            self._whole[name] = whole(self._raw.get(name), MOST_VALUES)
        return self._whole[name]

    def _put(self, node: Any, name: str, read: Node, found: Meaning) -> int:
        path = self._names.unique(*folder_of(name))
        made, layers, links = self._made, self._layers, self._links
        number = len(layers)
        flowing: list[Shape] = []
        for given, shape in zip(read.inputs, read.shapes, strict=True):
            if given in made:
                source, output = made[given]
                links.append((source, output, number, len(flowing), shape))
                flowing.append(shape or ())
        config = {**read.shown, **found.config} if found.config else read.shown
        weights = tuple([self._distinct.of(w) for w in found.weights]) if found.weights else ()
        layers.append(
            (path, read.kind, config, tuple(flowing) if all(flowing) else (), read.output,
             weights, found.operation)
        )  # fmt: skip
        self._outputs(node, number)
        return number

    def _outputs(self, node: Any, number: int) -> None:
        """The names of what a layer makes; in another graph they may have stood for tensors."""
        for at, name in enumerate(node.output):
            if name:
                self._made[name] = (number, at)
                if name in self._weights:
                    del self._weights[name]

    def _recurrent(self, node: Any, name: str) -> None:
        """One layer per direction; of two, a layer that joins them."""
        read = self._read(node, *self._attributes.of(node)[:2])
        ways = directions(read)
        if len(ways) == 1:
            self._put(node, name, read, ways[0][1])
            return
        parts = [self._put(node, f"{name}/{way}", read, found) for way, found in ways]
        number = len(self._layers)
        path = self._names.unique(f"{name}/", "concatenate")
        self._layers.append((path, "Concat", {"axis": 1}, (), read.output, (), ""))
        self._links += [(part, 0, number, at, None) for at, part in enumerate(parts)]
        self._outputs(node, number)

    def _branches(self, node: Any, name: str, inner: list[tuple[str, Any]], depth: int) -> None:
        """If, Loop, Scan: the graphs inside, and a layer that hands on what they find."""
        made = self._made
        ends: list[tuple[Place, Shape | None]] = []
        for branch, graph in inner:
            given = []
            own = [value.name for value in graph.input]
            for outer, taken in zip(reversed(node.input), reversed(own), strict=False):
                if outer in made:
                    made[taken] = made[outer]
                    self._weights.pop(taken, None)
                    given.append(taken)
            if node.op_type == "Loop":
                given += self._kept(node, graph)
            self._graph(graph, f"{name}/{clean(branch)}/", depth + 1, frozenset(given))
            ends += [(made[v.name], self._shapes.get(v.name)) for v in graph.output
                     if v.name in made]  # fmt: skip
        ends += [(made[n], self._shapes.get(n)) for n in node.input if n in made]
        folder, own_name = folder_of(name)
        path = self._names.unique(folder, f"{own_name} result")
        shape = self._shapes.get(node.output[0]) if node.output else None
        number = len(self._layers)
        self._layers.append((path, node.op_type, {}, (), shape, (), ""))
        for at, ((source, output), told) in enumerate(dict.fromkeys(ends)):
            self._links.append((source, output, number, at, told))
        self._outputs(node, number)

    def _kept(self, node: Any, graph: Any) -> list[str]:
        """What a loop is given of the file and hands on unchanged is that tensor inside it too."""
        same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
        states = zip(node.input[2:], graph.input[2:], graph.output[1:], strict=False)
        kept = []
        for outer, taken, left in states:
            name = left.name
            for _ in range(_DEEPEST):
                name = same.get(name, name)
            if outer in self._weights and name == taken.name:
                raw = self._raw.get(outer)
                self._known(name, self._weights[outer])
                self._raw[name] = raw
                kept.append(name)
        return kept

    # -- operators on tensors of the file that only say how these are to be read -----------------

    def _constant(self, node: Any) -> bool:
        for attribute in node.attribute:
            if attribute.name == "sparse_value":
                self._sparse(attribute.sparse_tensor, node.output[0])
            elif (tensor := constant(attribute)) is not None:
                self._tensor(tensor, node.output[0])
        return True

    def _same(self, node: Any) -> bool:
        """Identity, and Cast between kinds of floats: the numbers of the file."""
        name = node.input[0] if node.input else ""
        weight = self._weights.get(name)
        if weight is None:
            return False
        if node.op_type == "Cast":
            to = next((a.i for a in node.attribute if a.name == "to"), 0)
            if to not in _FLOATS or not is_number(weight):
                return False
        raw, turned = self._raw.get(name), name in self._turned
        self._known(node.output[0], weight)
        if raw is not None:
            self._raw[node.output[0]] = raw
        if turned:
            self._turned.add(node.output[0])
        return True

    def _transposed(self, node: Any) -> bool:
        """A matrix of the file, taken the other way round."""
        name = node.input[0] if node.input else ""
        weight = self._weights.get(name)
        if weight is None or len(weight.shape) != 2 or not is_number(weight):
            return False
        if self._attributes.of(node)[0].get("perm", [1, 0]) != [1, 0]:
            return False
        turned = name not in self._turned
        self._known(node.output[0], weight)
        if turned:
            self._turned.add(node.output[0])
        return True

    def _reshaped(self, node: Any) -> bool:
        """A tensor of the file under another shape."""
        names = [*node.input, "", ""]
        weight, shape = self._weights.get(names[0]), None
        if names[1] in self._weights:
            shape = self._values(names[1])
        if weight is None or not shape or weight.packing is not None or names[0] in self._turned:
            return False
        known = prod(n for n in shape if n > 0)
        if shape.count(-1) == 1 and known and weight.size % known == 0:
            shape = tuple(weight.size // known if n == -1 else n for n in shape)
        if min(shape) < 1 or prod(shape) != weight.size or weight.where is None:
            return False
        self._known(node.output[0], replace(weight, shape=shape))
        return True

    def _rounding(self, node: Any) -> bool:
        """A tensor of floats that is rounded when the network runs, as training with it does."""
        weight = self._weights.get(node.input[0] if node.input else "")
        if weight is None or not is_number(weight) or weight.packing is not None:
            return False
        self._rounded[node.output[0]] = weight
        return True

    def _dequantised(self, node: Any) -> bool:
        """Whether a node decodes a tensor of the file: the codes are then a weight with scales."""
        names = [*node.input, "", "", ""][:3]
        made = self._rounded.get(names[0])
        if made is not None:
            self._notes.append("weights that are rounded when it runs are shown as they are stored")
        else:
            codes, scale, zero = (self._weights.get(n) for n in names)
            if (names[2] and zero is None) or names[0] in self._turned:
                return False
            made = scaled(codes, scale, zero, self._attributes.of(node)[0])
        if made is None:
            return False
        self._known(node.output[0], made)
        return True


_FOLDED: dict[str, Callable[[Graph, Any], bool]] = {
    "Constant": Graph._constant, "Identity": Graph._same, "Cast": Graph._same,
    "Transpose": Graph._transposed, "Reshape": Graph._reshaped,
    "QuantizeLinear": Graph._rounding, "DequantizeLinear": Graph._dequantised,
}  # fmt: skip
