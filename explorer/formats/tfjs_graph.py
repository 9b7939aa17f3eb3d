"""Graphs of TensorFlow.js: nodes of TensorFlow as its converter leaves them, written as JSON.

Attributes are those of ``tensorflow/core/framework/node_def.proto`` in the JSON form of protocol
buffers: texts in base64, whole numbers as text.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from explorer.formats.operator_names import scoped
from explorer.formats.ordering import topological
from explorer.formats.record import UnreadableError
from explorer.formats.source import Source
from explorer.formats.text import Names
from explorer.network import ByteRange, Layer, Link, Network, Shape, Weight
from explorer.plain_text import clean

_MOST_NODES = 1_000_000
_MOST_VALUES = 64  # whole numbers that may be axes, a shape, sizes
_HIDDEN = ("Const", "NoOp")
_INPUTS = ("Placeholder", "PlaceholderWithDefault")
_SAME = {
    "BiasAdd": "Add", "Add": "Add", "AddV2": "Add", "AddN": "Add", "Sub": "Subtract",
    "Mul": "Multiply", "RealDiv": "Divide", "Maximum": "Maximum", "Minimum": "Minimum",
    "Relu": "ReLU", "Relu6": "ReLU", "LeakyRelu": "LeakyReLU", "Elu": "ELU", "Selu": "Selu",
    "Prelu": "PReLU", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Softmax": "Softmax", "Exp": "Exp",
    "LogSoftmax": "LogSoftmax", "Softplus": "Softplus", "Sqrt": "Sqrt", "Rsqrt": "Rsqrt",
    "Square": "Square", "Abs": "Abs", "Neg": "Negative", "Identity": "Identity", "Cast": "Cast",
    "StopGradient": "StopGradient", "MaxPool": "MaxPooling2D",
    "AvgPool": "AveragePooling2D", "Reshape": "Reshape",
}  # fmt: skip
_ROLES = {"BiasAdd": {1: "bias"}, "Prelu": {1: "alpha"}}
_NORMS = ("FusedBatchNorm", "FusedBatchNormV3")
_NORM_ROLES = {1: "gamma", 2: "beta", 3: "moving_mean", 4: "moving_variance"}
_CONVS = ("Conv2D", "_FusedConv2D")
_DEPTHWISE = ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
_DENSE = ("MatMul", "_FusedMatMul", "BatchMatMul", "BatchMatMulV2")


@dataclass
class _Node:
    """A node of the graph, and the path of its layer once it has one."""

    name: str
    kind: str
    inputs: list[tuple[str, int]]
    attributes: Mapping[str, Any]
    weights: dict[int, Weight] = field(default_factory=dict)
    constants: dict[int, tuple[int, ...]] = field(default_factory=dict)
    path: str = ""

    def text(self, key: str) -> str:
        """An attribute that is a text."""
        value = _mapping(self.attributes.get(key)).get("s")
        try:
            return base64.b64decode(value, validate=True).decode() if value else ""
        except (ValueError, TypeError):
            return ""

    def true(self, key: str) -> bool:
        """An attribute that is true or false."""
        return _mapping(self.attributes.get(key)).get("b") is True

    def turned(self, *keys: str) -> bool:
        """Whether one of several attributes is true."""
        return any(map(self.true, keys))

    def numbers(self, key: str) -> list[int]:
        """An attribute that is a list of whole numbers."""
        listed = _mapping(_mapping(self.attributes.get(key)).get("list")).get("i")
        return [_whole(n) for n in listed[:64]] if isinstance(listed, list) else []

    @property
    def shape(self) -> Shape | None:
        """What it is fed with, where it is an input."""
        told = _mapping(_mapping(self.attributes.get("shape")).get("shape"))
        dims = told.get("dim")
        if not isinstance(dims, list) or len(dims) > 32:
            return None
        lengths = [_whole(_mapping(d).get("size")) for d in dims]
        return tuple(n if n >= 0 else None for n in lengths)


def graph_network(source: Source, topology: Mapping[str, Any], weights: Mapping[str, Weight],
                  notes: list[str]) -> Network:  # fmt: skip
    """The network of a graph.

    Parameters
    ----------
    source : Source
        The model file.
    topology : mapping
        A GraphDef as JSON.
    weights : mapping of str to Weight
        Tensors by the names of the constants that hold them.
    notes : list of str
    """
    nodes = _nodes(topology["node"])
    if _mapping(topology.get("library")).get("function"):
        notes.append("functions of the graph are not walked")
    constants = _constants(nodes, weights)
    kept = [n for n in nodes.values() if n.kind not in _HIDDEN and n.name not in constants]
    if not kept:
        raise UnreadableError("its graph holds no operator")
    names = Names()
    for node, called in zip(kept, scoped([n.name for n in kept]), strict=True):
        folder, _, own = called.rpartition("/")
        node.path = names.unique(f"{folder}/" if folder else "", own)
    links = _links(source, kept, nodes, constants, weights)
    position = {node.path: i for i, node in enumerate(kept)}
    ends = {(position[k.source], position[k.target]) for k in links if k.source != k.target}
    layers = tuple(_layer(kept[i]) for i in topological(len(kept), ends))
    title = clean(PurePath(source.name).stem)
    return Network(title, "tfjs", layers, links=tuple(links), notes=tuple(dict.fromkeys(notes)))


def _links(source: Source, kept: list[_Node], nodes: Mapping[str, _Node],
           constants: Mapping[str, str], weights: Mapping[str, Weight]) -> list[Link]:  # fmt: skip
    """The links between layers; nodes are given the tensors that they read of the file."""
    links: list[Link] = []
    for node in kept:
        flowing = 0
        for at, (name, output) in enumerate(node.inputs):
            weight = weights.get(constants.get(name, ""))
            if weight is not None:
                values = _values(source, weight)
                node.weights[at] = weight
                if values is not None:
                    node.constants[at] = values
            elif name not in constants and nodes[name].path:
                links.append(Link(nodes[name].path, node.path, output, flowing))
                flowing += 1
    return links


def _values(source: Source, weight: Weight) -> tuple[int, ...] | None:
    """A few whole numbers: axes, a shape, sizes."""
    where = weight.where
    if weight.dtype != "int32" or weight.size > _MOST_VALUES or not isinstance(where, ByteRange):
        return None
    part = next(p for p in source.parts.values() if p.path == where.file)
    return struct.unpack(f"<{weight.size}i", part.pread(where.offset, where.nbytes))


def _nodes(listed: list[Any]) -> dict[str, _Node]:
    if len(listed) > _MOST_NODES:
        raise UnreadableError("its graph is impossibly large")
    nodes: dict[str, _Node] = {}
    for entry in listed:
        name, kind = (_mapping(entry).get(key) for key in ("name", "op"))
        if not isinstance(name, str) or not isinstance(kind, str):
            raise UnreadableError("its graph holds a node without a name or a kind")
        if name in nodes:
            raise UnreadableError(f"its graph holds {clean(name)!r} twice")
        told = entry.get("input")
        inputs = [_end(i) for i in (told if isinstance(told, list) else []) if _flows(i)]
        nodes[name] = _Node(name, kind, inputs, _mapping(entry.get("attr")))
    missing = next((i for n in nodes.values() for i, _ in n.inputs if i not in nodes), None)
    if missing is not None:
        raise UnreadableError(f"a node reads {clean(missing)!r}, which is not in the graph")
    return nodes


def _constants(nodes: Mapping[str, _Node], weights: Mapping[str, Weight]) -> dict[str, str]:
    """Nodes that only hold a tensor of the file, or hand one on: the name of the tensor."""
    held = {n.name: n.name for n in nodes.values() if n.kind == "Const"}
    for node in nodes.values():  # in the order of the file: what hands on comes after
        kept = node.kind == "Identity" or (node.kind == "Enter" and node.true("is_constant"))
        if kept and len(node.inputs) == 1 and node.inputs[0][0] in held:
            held[node.name] = held[node.inputs[0][0]]
    return held


def _flows(told: Any) -> bool:
    """Whether an input carries a tensor; others only say what comes first."""
    if not isinstance(told, str):
        raise UnreadableError("a node of its graph has an input that is no name")
    return not told.startswith("^")


def _end(told: str) -> tuple[str, int]:
    name, colon, number = told.rpartition(":")
    if colon and number.isdecimal() and len(number) < 6:
        return name, int(number)
    return told, 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int:
    """A whole number, which JSON writes as a text."""
    text = str(value)
    return int(text) if len(text) < 20 and text.removeprefix("-").isdecimal() else -1


def _layer(node: _Node) -> Layer:
    operation, config, roles, axes = _meaning(node)
    weights = tuple(
        replace(w, role=roles.get(at, f"input_{at}"), axes=axes if at == 1 else "")
        for at, w in node.weights.items()
        if at not in node.constants
    )
    shape = node.shape if node.kind in _INPUTS else None
    if node.kind == "Reshape" and 1 in node.constants:
        shape = tuple(n if n >= 0 else None for n in node.constants[1])
    kind = "InputLayer" if node.kind in _INPUTS else clean(node.kind)
    return Layer(node.path, kind, config, (), shape, weights, operation)


def _meaning(node: _Node) -> tuple[str, dict[str, Any], dict[int, str], str]:
    """Operation, configuration, roles of weights by input, and the axes of the kernel."""
    kernel = node.weights.get(1)
    config: dict[str, Any] = {}
    if node.text("padding"):
        config["padding"] = node.text("padding").lower()
    if strides := node.numbers("strides"):
        config["strides"] = strides[1:-1]
    if node.text("data_format") == "NCHW":
        config["data_format"] = "channels_first"
    if kernel is not None and all(kernel.shape):
        roles = {1: "kernel", 2: "bias"}
        if node.kind in _CONVS and len(kernel.shape) == 4:
            return "Conv2D", {**config, "filters": kernel.shape[3]}, roles, ""
        if node.kind in _DEPTHWISE and len(kernel.shape) == 4:
            return "DepthwiseConv2D", config, {1: "depthwise_kernel", 2: "bias"}, ""
        if (
            node.kind in _DENSE
            and len(kernel.shape) == 2
            and not node.turned("transpose_a", "adj_x")
        ):
            axes = "oi" if node.turned("transpose_b", "adj_y") else "io"
            return "Dense", {"units": kernel.shape[axes.index("o")]}, roles, axes
    table = node.weights.get(0)
    if node.kind in ("GatherV2", "ResourceGather") and table is not None and len(table.shape) == 2:
        told = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
        return "Embedding", told, {0: "embeddings"}, ""
    if node.kind == "Reshape":
        config |= {"target_shape": list(node.constants.get(1, ())), "steering": [1]}
    if node.kind == "ConcatV2":
        axis = node.constants.get(len(node.inputs) - 1)
        return ("Concatenate", {"axis": axis[0]}, {}, "") if axis else ("", {}, {}, "")
    if node.kind in _NORMS:
        return "BatchNormalization", config, dict(_NORM_ROLES), ""
    return _SAME.get(node.kind, ""), config, dict(_ROLES.get(node.kind, {})), ""
