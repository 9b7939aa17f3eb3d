"""From a parsed ONNX graph to layers and links."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from explorer.formats.onnx_operators import Meaning, Node, directions, meaning
from explorer.formats.onnx_tensors import DTYPES, MARK, Tensors, typed_bytes
from explorer.formats.ordering import topological
from explorer.formats.record import UnreadableError
from explorer.formats.text import LONGEST_VALUE, Names
from explorer.network import Layer, Link, Network, Packing, Shape, TableAxis, Weight
from explorer.plain_text import clean

_MOST_VALUES = 64  # whole numbers of an input that may be axes, a shape, sizes
_DEEPEST = 12
_SCOPES = "pkg.torch.onnx.name_scopes"
_RECURRENT = ("LSTM", "GRU", "RNN")
Place = tuple[str, int]
"""A layer and the number of its output."""


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
        self._names = Names()
        self._layers: list[Layer] = []
        self._links: list[Link] = []
        self._weights: dict[str, Weight] = {}
        self._raw: dict[str, Any] = {}
        self._scales: dict[str, Weight] = {}
        self._shapes: dict[str, Shape] = {}
        self._made: dict[str, Place] = {}
        self._kinds: dict[str, int] = {}

    def build(self) -> None:
        """Walk the graph."""
        self._graph(self._model.graph, "", 0)

    def network(self, name: str, notes: list[str]) -> Network:
        """What was found."""
        self._settle()
        at = {layer.path: i for i, layer in enumerate(self._layers)}
        ends = {(at[k.source], at[k.target]) for k in self._links if k.source != k.target}
        order = topological(len(at), ends)
        told = tuple(dict.fromkeys([*self._notes, *notes]))
        if not self._layers:
            raise UnreadableError("its graph holds no operator")
        layers = tuple(self._layers[i] for i in order)
        return Network(clean(name), "onnx", layers, links=tuple(self._links), notes=told)

    def _settle(self) -> None:
        """A module with one operator in it has the module's name: ``fc1``, not ``fc1/Gemm``."""
        folders = [layer.path.rpartition("/")[0] for layer in self._layers]
        inside: dict[str, int] = {}
        for folder in folders:
            while folder:
                inside[folder] = inside.get(folder, 0) + 1
                folder = folder.rpartition("/")[0]
        new: dict[str, str] = {}
        for layer, folder in zip(self._layers, folders, strict=True):
            own = layer.path[len(folder) + 1 :]
            if inside.get(folder) == 1 and own.startswith((layer.kind, "node_")):
                new[layer.path] = folder
        taken = {layer.path for layer in self._layers}
        new = {old: path for old, path in new.items() if path not in taken}
        self._layers = [replace(la, path=new.get(la.path, la.path)) for la in self._layers]
        self._links = [
            replace(k, source=new.get(k.source, k.source), target=new.get(k.target, k.target))
            for k in self._links
        ]

    # -- walking ---------------------------------------------------------------------------------

    def _graph(self, graph: Any, prefix: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnreadableError("it is nested too deeply")
        for value in (*graph.value_info, *graph.input, *graph.output):
            shape = _shape_of(value)
            if shape is not None:
                self._shapes[value.name] = shape
        for tensor in graph.initializer:
            self._tensor(tensor, tensor.name)
        known = {tensor.name for tensor in graph.initializer}
        for value in graph.input:
            made = depth and (value.name in self._made or value.name in self._weights)
            if value.name not in known and not made:
                self._input(value.name, prefix)
        for node in graph.node:
            self._node(node, prefix, depth)

    def _input(self, name: str, prefix: str) -> None:
        path = self._names.unique(prefix, name)
        self._layers.append(Layer(path, "InputLayer", output_shape=self._shapes.get(name)))
        self._made[name] = (path, 0)

    def _tensor(self, tensor: Any, name: str) -> None:
        weight = self._tensors.weight(tensor, name)
        if weight is not None:
            self._weights[name] = weight
            self._raw[name] = tensor

    def _node(self, node: Any, prefix: str, depth: int) -> None:
        if node.op_type == "Constant":
            self._constant(node)
            return
        if node.op_type == "Identity" and node.input and node.input[0] in self._weights:
            self._weights[node.output[0]] = self._weights[node.input[0]]
            self._raw[node.output[0]] = self._raw.get(node.input[0])
            return
        if node.op_type == "DequantizeLinear" and self._dequantised(node):
            return
        called = self._called(node, prefix)
        inner = [(a.name, a.g) for a in node.attribute if a.type == 5]
        if inner:
            self._branches(node, called, inner, depth)
        elif node.op_type in _RECURRENT:
            self._recurrent(node, called)
        else:
            self._plain(node, called)

    def _constant(self, node: Any) -> None:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.type == 4:
                self._tensor(attribute.t, node.output[0])

    def _called(self, node: Any, prefix: str) -> str:
        """A name for a node: its own, in the scopes that exporters write into it, else a number."""
        name = node.name.strip("/") if node.name else ""
        if not name:
            count = self._kinds[node.op_type] = self._kinds.get(node.op_type, 0) + 1
            name = f"{node.op_type}_{count - 1}"
        scopes = _scopes(node) if "/" not in name else ""
        return prefix + scopes + "/".join([_clean(part) for part in name.split("/") if part])

    def _read(self, node: Any) -> Node:
        names, known = list(node.input), self._weights
        weights: dict[int, Weight] = {}
        constants: dict[int, tuple[int, ...]] = {}
        for i, name in enumerate(names):
            if name in known:
                found = self._whole(name)
                # A number or a shape steers; a tensor that is added or multiplied is a weight.
                if found is None:
                    weights[i] = known[name]
                else:
                    constants[i] = found
        shapes = [self._shapes.get(name) for name in names]
        output = self._shapes.get(node.output[0]) if node.output else None
        told = {a.name: value for a in node.attribute if (value := _value(a)) is not None}
        return Node(node.op_type, told, weights, constants, shapes, output)

    def _whole(self, name: str) -> tuple[int, ...] | None:
        """The values of a small tensor of whole numbers."""
        tensor = self._raw.get(name)
        if tensor is None or tensor.data_type not in (6, 7) or prod(tensor.dims) > _MOST_VALUES:
            return None
        data = bytes(tensor.raw_data)
        if data.startswith(MARK.encode()) or tensor.data_location == 1:
            return None
        found = np.frombuffer(data or typed_bytes(tensor), DTYPES[tensor.data_type][0])
        return tuple(int(n) for n in found)

    def _plain(self, node: Any, called: str) -> None:
        read = self._read(node)
        self._put(node, called, read, meaning(read))

    def _put(self, node: Any, called: str, read: Node, found: Meaning) -> str:
        folder, slash, name = called.rpartition("/")
        path = self._names.unique(folder + slash, name)
        made = self._made
        flowing = [(i, name) for i, name in enumerate(node.input) if name in made]
        shapes = tuple([read.shapes[i] or () for i, _ in flowing])
        config = {**_told(read.attributes), **found.config} if read.attributes else found.config
        self._layers.append(
            Layer(path, node.op_type, config, shapes if all(shapes) else (), read.output,
                  found.weights, found.operation)
        )  # fmt: skip
        for at, (_, name) in enumerate(flowing):
            self._link(name, path, at)
        for at, name in enumerate(node.output):
            if name:
                made[name] = (path, at)
        return path

    def _link(self, name: str, path: str, at: int) -> None:
        source, output = self._made[name]
        self._links.append(Link(source, path, output, at, 0, self._shapes.get(name)))

    def _recurrent(self, node: Any, called: str) -> None:
        """One layer per direction; of two, a layer that joins them."""
        read = self._read(node)
        ways = directions(read)
        if len(ways) == 1:
            self._put(node, called, read, ways[0][1])
            return
        paths = [self._put(node, f"{called}/{name}", read, found) for name, found in ways]
        path = self._names.unique(f"{called}/", "concatenate")
        self._layers.append(Layer(path, "Concat", {"axis": 1}, (), read.output, (), ""))
        for at, source in enumerate(paths):
            self._links.append(Link(source, path, 0, at))
        for at, name in enumerate(node.output):
            if name:
                self._made[name] = (path, at)

    def _branches(self, node: Any, called: str, inner: list[tuple[str, Any]], depth: int) -> None:
        """If, Loop, Scan: the graphs inside, and a layer that hands on what they find."""
        ends: list[str] = []
        fed = {n for n in node.input if n in self._made}
        for name, graph in inner:
            own = [value.name for value in graph.input]
            for given, taken in zip(reversed(node.input), reversed(own), strict=False):
                if given in self._made:
                    self._made[taken] = self._made[given]
            if node.op_type == "Loop":
                self._kept(node, graph)
            self._graph(graph, f"{called}/{clean(name)}/", depth + 1)
            ends += [v.name for v in graph.output if v.name in self._made]
        path = self._names.unique(_folder(called), f"{called.rpartition('/')[2]} result")
        shape = self._shapes.get(node.output[0]) if node.output else None
        self._layers.append(Layer(path, node.op_type, {}, (), shape))
        for at, name in enumerate(dict.fromkeys([*ends, *(n for n in node.input if n in fed)])):
            self._link(name, path, at)
        for at, name in enumerate(node.output):
            if name:
                self._made[name] = (path, at)

    def _kept(self, node: Any, graph: Any) -> None:
        """What a loop is given of the file and hands on unchanged is that tensor inside it too."""
        same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
        states = zip(node.input[2:], graph.input[2:], graph.output[1:], strict=False)
        for given, taken, left in states:
            name = left.name
            for _ in range(_DEEPEST):
                name = same.get(name, name)
            if given in self._weights and name == taken.name:
                self._weights[name] = self._weights[given]
                self._raw[name] = self._raw.get(given)

    def _dequantised(self, node: Any) -> bool:
        """Whether a node decodes a tensor of the file: the codes are then a weight with scales."""
        names = [*node.input, "", "", ""][:3]
        codes, scale, zero = (self._weights.get(n) for n in names)
        if codes is None or scale is None or codes.packing not in (None, codes.packing):
            return False
        told = {a.name: _value(a) for a in node.attribute}
        axes = _table_axes(codes, scale, told)
        if axes is None or (names[2] and zero is None):
            return False
        lanes = codes.packing.lanes if codes.packing is not None else None
        packing = Packing(replace(scale, role="scale"),
                          None if zero is None else replace(zero, role="zero"), False, axes,
                          lanes)  # fmt: skip
        self._weights[node.output[0]] = replace(codes, packing=packing)
        return True


def _table_axes(codes: Weight, scale: Weight, told: dict[str, Any]) -> tuple[TableAxis, ...] | None:
    """How the entries of a table of scales belong to codes: per tensor, per axis, per block."""
    if scale.size == 1:
        return tuple(TableAxis(n) for n in codes.shape)
    axis = told.get("axis", 1)
    if not isinstance(axis, int) or not -len(codes.shape) <= axis < len(codes.shape):
        return None
    axis %= len(codes.shape)
    block = told.get("block_size", 0)
    if not block:
        if scale.shape != (codes.shape[axis],):
            return None
        return tuple(TableAxis(n, 1, int(i == axis)) for i, n in enumerate(codes.shape))
    if not isinstance(block, int) or block < 1 or len(scale.shape) != len(codes.shape):
        return None
    steps = [prod(scale.shape[i + 1 :]) for i in range(len(codes.shape))]
    return tuple(
        TableAxis(n, block if i == axis else 1, steps[i]) for i, n in enumerate(codes.shape)
    )


def _scopes(node: Any) -> str:
    """Modules of PyTorch around a node, as its newer exporter writes them beside the name."""
    told = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
    modules = [
        m for m in re.findall(r"'([^']{0,500})'", told[:20_000])[:-1] if m
    ]  # the last is the function itself
    return "".join(f"{clean(part)}/" for part in modules[-1].split(".")) if modules else ""


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    """Names of scopes and attributes come again and again."""
    return clean(text)


def _folder(called: str) -> str:
    head, slash, _ = called.rpartition("/")
    return head + slash


def _shape_of(value: Any) -> Shape | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(
        [int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else None
         for d in kind.shape.dim]
    )  # fmt: skip


def _value(attribute: Any) -> Any:
    """A plain value of an attribute; ``None`` for tensors and graphs."""
    kind = attribute.type
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")[:LONGEST_VALUE]
    if kind == 6:
        return [float(v) for v in attribute.floats[:_MOST_VALUES]]
    if kind == 7:
        return [int(v) for v in attribute.ints[:_MOST_VALUES]]
    if kind == 8:
        return [s.decode("utf-8", "replace")[:200] for s in attribute.strings[:_MOST_VALUES]]
    return None


def _told(attributes: Any) -> dict[str, Any]:
    """Attributes as JSON values: numbers that JSON does not know become text."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not np.isfinite(value):
            return str(value)
        if isinstance(value, list):
            return [plain(v) for v in value]
        return clean(value, LONGEST_VALUE) if isinstance(value, str) else value

    return {_clean(key): plain(value) for key, value in attributes.items()}
