"""TensorFlow SavedModel: the graph of its signature, and variables beside it.

``tensorflow/core/protobuf/{saved_model,meta_graph}.proto``. The graph is read, never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType

from explorer.formats.containers.protobuf import BYTES, VARINT, Field, fields
from explorer.formats.containers.source import Source, View
from explorer.formats.record import Format, UnreadableError
from explorer.formats.tensorflow_graph.flow import Flow, Op, Ref
from explorer.formats.tensorflow_graph.layers import Layers
from explorer.formats.tensorflow_graph.messages import STRING, numbers, text
from explorer.formats.tensorflow_graph.named_layers import layers_of
from explorer.formats.tensorflow_graph.nodes import (
    Function,
    FunctionDef,
    GraphReader,
    NodeDef,
    Tensor,
)
from explorer.formats.tensorflow_graph.shapes import fill_shapes
from explorer.formats.tensorflow_graph.variables import Variables, read_variables
from explorer.network import Network, Weight
from explorer.weights.codecs import is_number

_FILE = "saved_model.pb"
_USUAL = ("serving_default", "serve")
_NONE: Mapping[str, Weight] = MappingProxyType({})
_HANDLES = ("VarHandleOp", "VariableV2", "Variable")


def matches(source: Source) -> bool:
    """A folder with ``saved_model.pb``, or that file: a version, then graphs."""
    if source.is_folder:
        return source.has(_FILE)
    try:
        head = source.pread(0, 16)
        if head[:1] != b"\x08":
            return False
        found = [(f.number, f.wire) for f in fields(source, 0, source.size)]
    except UnreadableError:
        return False
    return found[:1] == [(1, VARINT)] and len(found) > 1 and set(found[1:]) == {(2, BYTES)} \
        and _is_meta_graph(source)  # fmt: skip


def _is_meta_graph(source: Source) -> bool:
    """Whether the first graph has the fields of a MetaGraphDef."""
    graph = next(f for f in fields(source, 0, source.size) if f.number == 2)
    try:
        numbers = {f.number for f in fields(source, graph.start, graph.stop)}
    except UnreadableError:
        return False
    return 2 in numbers and numbers <= set(range(1, 8))


def read(source: Source) -> Network:
    """The network of a SavedModel."""
    file = source.part(_FILE) if source.is_folder else source
    title = source.name if source.is_folder else PurePath(source.path).parent.name
    variables = Variables()
    if source.has("variables/variables.index"):
        prefix = "variables/variables"
        variables = read_variables(source, source.part(f"{prefix}.index"), prefix)
    view = file.view()
    nodes, outputs, functions, bound = _first_graph(file, view)
    notes = list(variables.notes)
    flow = Flow(functions)
    needed = _needed(nodes, outputs)
    flow_of(flow, needed, variables.weights, _captured(needed, bound, variables))
    if not any(op.data for op in flow.ops):
        if not variables.weights:
            raise UnreadableError("it has no signature that could be shown")
        notes.append("links are not known: it has no signature that data flow through")
        return Network(title, "savedmodel", layers_of(variables.weights), links_known=False,
                       notes=tuple(notes))  # fmt: skip
    network = Layers(flow).network(title, "savedmodel", notes)
    unread = len({w.name for w in variables.weights}
                 - {w.name for la in network.layers for w in la.weights})  # fmt: skip
    if unread:
        told = f"{unread} variables that its signature does not read are not shown"
        network = replace(network, notes=(*network.notes, told))
    return network


def _first_graph(
    file: Source, view: View
) -> tuple[list[NodeDef], list[str], Mapping[str, FunctionDef], dict[str, list[int]]]:
    """Nodes, names of the outputs of the signature, functions, and what those capture."""
    meta = next((f for f in fields(view, 0, file.size) if f.number == 2 and f.wire == BYTES), None)
    if meta is None:
        raise UnreadableError("it holds no graph")
    reader = GraphReader(view, file.path)
    nodes: list[NodeDef] = []
    functions: Mapping[str, FunctionDef] = {}
    signatures: dict[str, list[str]] = {}
    bound: dict[str, list[int]] = {}
    for field in fields(view, meta.start, meta.stop):
        if field.number == 2 and field.wire == BYTES:
            nodes, functions = reader.graph(field.start, field.stop)
        elif field.number == 7 and field.wire == BYTES:
            bound = _bound(reader, view, field)
        elif field.number == 5 and field.wire == BYTES:
            name, value = reader.pair(field)
            if value is not None:
                signatures[name] = _outputs(reader, view, value)
    usual = [name for name in _USUAL if signatures.get(name)]
    rest = sorted(n for n in signatures if signatures[n] and not n.startswith("__"))
    chosen = next(iter(usual + rest), "")
    return nodes, signatures.get(chosen, []), functions, bound


def _bound(reader: GraphReader, view: View, place: Field) -> dict[str, list[int]]:
    """Numbers of the objects that functions take beside their arguments (SavedObjectGraph)."""
    found = {}
    for field in fields(view, place.start, place.stop):
        if field.number == 2 and field.wire == BYTES:
            name, value = reader.pair(field)
            inner = fields(view, value.start, value.stop) if value is not None else ()
            found[name] = [n for f in inner if f.number == 2 for n in numbers(view, f)]
    return found


def _captured(
    nodes: list[NodeDef], bound: Mapping[str, list[int]], variables: Variables
) -> dict[str, str]:
    """Which variable each node is that a call hands to a function as its last arguments.

    Names of nodes do not tell it where two variables have the same name.
    """
    found = {}
    for node in nodes:
        called = node.attributes.get("f")
        taken = [name for name in node.inputs if not name.startswith("^")]
        objects = bound.get(called.name, []) if isinstance(called, Function) else []
        if objects and len(objects) <= len(taken):
            for name, number in zip(taken[-len(objects) :], objects, strict=True):
                if number in variables.by_node:
                    found[name.split(":", 1)[0]] = variables.by_node[number]
    return found


def _outputs(reader: GraphReader, view: View, place: Field) -> list[str]:
    """Names of the tensors that a SignatureDef gives back."""
    found = []
    for field in fields(view, place.start, place.stop):
        if field.number == 2 and field.wire == BYTES:
            _, value = reader.pair(field)
            if value is not None:
                told = (f for f in fields(view, value.start, value.stop)
                        if f.number == 1 and f.wire == BYTES)  # fmt: skip
                found += [text(view, f) for f in told]
    return found


def _needed(nodes: list[NodeDef], outputs: list[str]) -> list[NodeDef]:
    """The nodes that outputs are computed from."""
    by_name = {node.name: node for node in nodes}
    waiting = [name.split(":", 1)[0] for name in outputs]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            waiting += [i.split(":", 1)[0] for i in by_name[name].inputs if not i.startswith("^")]
    return [node for node in nodes if node.name in seen]


def flow_of(flow: Flow, nodes: list[NodeDef], weights: list[Weight], captured: Mapping[str, str],
            constants: Mapping[str, Weight] = _NONE) -> None:  # fmt: skip
    """Put nodes into a flow and tell which operators are weights and inputs.

    Parameters
    ----------
    flow : Flow
    nodes : list of NodeDef
    weights : list of Weight
        Variables of the files beside the graph.
    captured : mapping of str to str
        Names of variables by names of nodes, where that is known.
    constants : mapping of str to Weight, optional
        Tensors of constants, by name, where these lie beside the graph.
    """
    by_name = {weight.name: weight for weight in weights}
    known: dict[str, list[Ref | None]] = {}
    flow.nodes(nodes, known)
    for op in flow.ops:
        if op.kind in _HANDLES:
            op.weight = _variable(op, by_name, captured)
        elif op.kind == "Const":
            op.weight = _constant(op, constants.get(op.name))
        elif op.kind == "Placeholder":
            op.data = op.attributes.get("dtype") != STRING
    flow.settle()
    fill_shapes(flow)


def _variable(op: Op, by_name: dict[str, Weight], captured: Mapping[str, str]) -> Weight | None:
    told = str(op.attributes.get("shared_name") or op.name)
    tried = [captured[op.name]] if op.name in captured else [told, op.name]
    for name in tried:
        weight = by_name.get(name)
        if weight is not None and op.attributes.get("shape") in (weight.shape, None):
            return weight
    return None


def _constant(op: Op, beside: Weight | None) -> Weight | None:
    """A constant that is a tensor of numbers and steers nothing."""
    if beside is not None:
        return beside if beside.shape and is_number(beside) else None
    value = op.attributes.get("value")
    if not isinstance(value, Tensor) or not value.shape or "float" not in value.dtype:
        return None
    return Weight(op.name, "", value.shape, value.dtype, value.where)


FORMAT = Format("savedmodel", matches, read)
