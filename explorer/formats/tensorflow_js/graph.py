"""Graphs of TensorFlow.js: nodes of TensorFlow written as JSON, their constants in files beside it.

Attributes are those of ``tensorflow/core/framework/{node_def,function}.proto`` in the JSON form of
protocol buffers: texts in base64, whole numbers as text. What is read becomes the same nodes as
those of a frozen graph.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.formats.savedmodel import flow_of
from explorer.formats.tensorflow_graph.flow import Flow
from explorer.formats.tensorflow_graph.layers import Layers
from explorer.formats.tensorflow_graph.messages import STRING
from explorer.formats.tensorflow_graph.nodes import Function, FunctionDef, NodeDef, Tensor
from explorer.network import ByteRange, Network, Shape, Weight
from explorer.plain_text import clean

_MOST_NODES = 400_000
_MOST_FUNCTIONS = 20_000
_MOST_VALUES = 64  # whole numbers that may be axes, a shape, sizes
_MOST_LISTED = 256
_LONGEST = 2000


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
    if all(node.op in ("Const", "NoOp") for node in nodes):
        raise UnreadableError("its graph holds no operator")
    for node in nodes:
        weight = weights.get(node.name)
        if node.op == "Const" and weight is not None:
            values = _values(source, weight)
            node.attributes["value"] = Tensor(weight.dtype, weight.shape, None, values)
    flow = Flow(_functions(_mapping(topology.get("library")).get("function")))
    flow_of(flow, nodes, [], {}, weights)
    title = PurePath(source.name).stem
    return Layers(flow).network(title, "tfjs", dict.fromkeys(notes))


def _values(source: Source, weight: Weight) -> bytes:
    """A few whole numbers: axes, a shape, sizes."""
    where = weight.where
    if weight.dtype != "int32" or weight.size > _MOST_VALUES or not isinstance(where, ByteRange):
        return b""
    part = next(p for p in source.parts.values() if p.path == where.file)
    return part.pread(where.offset, where.nbytes)


def _nodes(listed: Any, known: frozenset[str] | None = frozenset()) -> list[NodeDef]:
    """Nodes of a graph; those of a function, for which `known` is ``None``, have arguments too."""
    if not isinstance(listed, list) or len(listed) > _MOST_NODES:
        raise UnreadableError("its graph is impossibly large")
    nodes: dict[str, NodeDef] = {}
    for entry in listed:
        name, kind = (_mapping(entry).get(key) for key in ("name", "op"))
        if not isinstance(name, str) or not isinstance(kind, str) or len(name) > _LONGEST:
            raise UnreadableError("its graph holds a node without a name or a kind")
        if name in nodes:
            raise UnreadableError(f"its graph holds {clean(name)!r} twice")
        inputs = _texts(entry.get("input"), "a node of its graph has an input that is no name")
        told = {key: _value(value) for key, value in _mapping(entry.get("attr")).items()}
        nodes[name] = NodeDef(name, kind, inputs, told)
    if known is not None:
        ends = (i.removeprefix("^").split(":", 1)[0] for n in nodes.values() for i in n.inputs)
        missing = next((end for end in ends if end not in nodes), None)
        if missing is not None:
            raise UnreadableError(f"a node reads {clean(missing)!r}, which is not in the graph")
    return list(nodes.values())


def _functions(listed: Any) -> dict[str, FunctionDef]:
    """The functions beside a graph, by name."""
    found: dict[str, FunctionDef] = {}
    for entry in listed[:_MOST_FUNCTIONS] if isinstance(listed, list) else []:
        told = _mapping(entry)
        signature = _mapping(told.get("signature"))
        name = signature.get("name")
        if isinstance(name, str):
            ends = [_arguments(signature.get(key)) for key in ("inputArg", "outputArg")]
            returned = {k: v for k, v in _mapping(told.get("ret")).items() if isinstance(v, str)}
            nodes = _nodes(told.get("nodeDef") or [], None)
            found[name] = FunctionDef(name, ends[0], ends[1], returned, nodes)
    return found


def _arguments(listed: Any) -> list[str]:
    names = [_mapping(entry).get("name") for entry in listed or ()]
    return _texts(names, "a function of its graph has an argument without a name")


def _texts(listed: Any, reason: str) -> list[str]:
    found = listed if isinstance(listed, list) else []
    if not all(isinstance(entry, str) for entry in found):
        raise UnreadableError(reason)
    return found


def _value(told: Any) -> Any:
    """An AttrValue as a plain value; ``None`` for what nobody asks for."""
    for key, value in _mapping(told).items():
        if key == "list":
            lists = _mapping(value)
            return [_one(kind, v) for kind, listed in lists.items() if isinstance(listed, list)
                    for v in listed[:_MOST_LISTED]]  # fmt: skip
        return _one(key, value)
    return None


def _one(key: str, value: Any) -> Any:
    if key == "s":
        return _text(value)
    if key == "i":
        return _whole(value)
    if key in ("b", "f"):
        return value if isinstance(value, (bool, int, float)) else None
    if key == "type":
        return STRING if value in ("DT_STRING", STRING) else 0
    if key == "shape":
        return _shape(_mapping(value))
    if key == "func":
        return Function(str(_mapping(value).get("name", ""))[:_LONGEST])
    return None


def _text(value: Any) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()[:_LONGEST]
    except (ValueError, TypeError):
        return ""


def _shape(told: Mapping[str, Any]) -> Shape | None:
    dims = told.get("dim", [])
    if told.get("unknownRank") or not isinstance(dims, list) or len(dims) > 32:
        return None
    lengths = [_whole(_mapping(d).get("size")) for d in dims]
    return tuple(n if n >= 0 else None for n in lengths)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int:
    """A whole number, which JSON writes as a text."""
    text = str(value)
    return int(text) if len(text) < 20 and text.removeprefix("-").isdecimal() else -1
