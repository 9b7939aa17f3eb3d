"""From the tables of a TFLite model to layers and links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from explorer.formats.containers.flatbuffer import Buffer, Table
from explorer.formats.lite_model.operators import Meaning, Node, meaning
from explorer.formats.lite_model.tensors import Tensor, Tensors
from explorer.formats.naming.operator_names import scoped
from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import Names
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.lite_names import CUSTOM, NAMES
from explorer.network import Layer, Link, Network
from explorer.plain_text import clean

_CODES, _GRAPHS, _BUFFERS = 1, 2, 4
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3
_OPCODE, _IN, _OUT, _OPTIONS = 0, 1, 2, 4
_NONE = -1  # stands for an input that is left out
_DEEPEST = 12
# Where the options of an operator tell the graphs inside, and what each is.
_INSIDE = {"IF": ((0, "then"), (1, "else")), "WHILE": ((0, "condition"), (1, "body")),
           "CALL": ((0, "called"),)}  # fmt: skip
_USELESS = re.compile(r"StatefulPartitionedCall|PartitionedCall|arith\.constant|tfl\.|Identity\b")


@dataclass
class _Operator:
    """An operator of a graph, and its layer's path once it has one."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    path: str = ""


@dataclass
class _Graph:
    """A graph of the file, and which layer makes each of its tensors."""

    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[_Operator]
    made: dict[int, tuple[str, int]] = field(default_factory=dict)


class Reader:
    """Layers and links of a model.

    Parameters
    ----------
    buffer : Buffer
    """

    def __init__(self, buffer: Buffer) -> None:
        root = buffer.root()
        self._codes = [_kind(code) for code in root.tables(_CODES)]
        self._tensors = Tensors(buffer, root.tables(_BUFFERS))
        self._graphs = root.tables(_GRAPHS)
        self._walked: set[int] = set()
        self._names = Names()
        self._layers: list[Layer] = []
        self._links: list[Link] = []

    def network(self, name: str) -> Network:
        """What the file holds."""
        self._walk(0, "", 0, ())
        if not any(layer.kind != "InputLayer" for layer in self._layers):
            raise UnreadableError("its graph holds no operator")
        at = {layer.path: i for i, layer in enumerate(self._layers)}
        ends = {(at[k.source], at[k.target]) for k in self._links if k.source != k.target}
        layers = tuple(self._layers[i] for i in topological(len(at), ends))
        notes = tuple(self._tensors.notes)
        return Network(clean(name), "tflite", layers, links=tuple(self._links), notes=notes)

    # -- tables ----------------------------------------------------------------------------------

    def _read(self, number: int) -> _Graph:
        table = self._graphs[number]
        tensors = [self._tensors.read(t) for t in table.tables(_TENSORS)]
        operators = [self._operator(t, len(tensors)) for t in table.tables(_OPERATORS)]
        ends = [table.numbers(n) for n in (_INPUTS, _OUTPUTS)]
        for end in ends:
            _check(end, len(tensors), "the graph")
        return _Graph(tensors, ends[0], ends[1], operators)

    def _operator(self, table: Table, tensors: int) -> _Operator:
        code = table.number(_OPCODE, "<I")
        if code >= len(self._codes):
            raise UnreadableError(f"an operator has kind {code}, which is not there")
        kind = self._codes[code]
        inputs, outputs = table.numbers(_IN), table.numbers(_OUT)
        _check(inputs, tensors, kind, optional=True)
        _check(outputs, tensors, kind)
        return _Operator(kind, inputs, outputs, table.table(_OPTIONS))

    # -- walking ---------------------------------------------------------------------------------

    def _walk(self, number: int, prefix: str, depth: int,
              fed: Sequence[tuple[str, int] | None]) -> list[tuple[str, int]]:  # fmt: skip
        """Put down a graph; what makes its outputs."""
        if not 0 <= number < len(self._graphs):
            raise UnreadableError(f"it calls graph {number}, which is not there")
        self._walked.add(number)
        graph = self._read(number)
        for operator in graph.operators:
            if operator.kind == "DEQUANTIZE":
                _unpacked(graph, operator)
        for at, tensor in enumerate(graph.inputs):
            given = fed[at] if at < len(fed) else None
            if given is not None:
                graph.made[tensor] = given
            elif not depth:
                self._input(graph, tensor)
        kept = [o for o in graph.operators if o.kind]
        for operator, name in zip(kept, scoped([_own(graph, o) for o in kept]), strict=True):
            folder, _, own = f"{prefix}{name}".rpartition("/")
            operator.path = self._names.unique(f"{folder}/" if folder else "", own)
            for at, tensor in enumerate(operator.outputs):
                graph.made[tensor] = (operator.path, at)
        for operator in kept:
            self._put(graph, operator, depth)
        return [graph.made[t] for t in graph.outputs if t in graph.made]

    def _input(self, graph: _Graph, at: int) -> None:
        tensor = graph.tensors[at]
        path = self._names.unique("", _plain(tensor.name).rpartition("/")[2])
        self._layers.append(Layer(path, "InputLayer", output_shape=tensor.shape))
        graph.made[at] = (path, 0)

    def _put(self, graph: _Graph, operator: _Operator, depth: int) -> None:
        inputs = [graph.tensors[n] if n != _NONE else None for n in operator.inputs]
        output = graph.tensors[operator.outputs[0]].shape if operator.outputs else None
        node = Node(operator.kind, operator.options, inputs, output)
        found = meaning(node)
        order = sorted(range(len(inputs)), key=lambda at: at != found.data)
        flowing = [n for n in (operator.inputs[at] for at in order) if n in graph.made]
        shapes = tuple(graph.tensors[n].shape for n in flowing)
        inner = self._inside(graph, operator, depth)
        self._layers.append(_layer(operator, found, shapes, output))
        for at, (source, number) in enumerate([*(graph.made[n] for n in flowing), *inner]):
            shape = shapes[at] if at < len(shapes) else None
            self._links.append(Link(source, operator.path, number, at, 0, shape))

    def _inside(self, graph: _Graph, operator: _Operator, depth: int) -> list[tuple[str, int]]:
        """The graphs inside an operator, each put down once; what makes their outputs."""
        if operator.kind not in _INSIDE or operator.options is None:
            return []
        passed = operator.inputs[1:] if operator.kind == "IF" else operator.inputs
        fed = [graph.made.get(n) for n in passed]
        ends: list[tuple[str, int]] = []
        for number, what in _INSIDE[operator.kind]:
            inside = operator.options.number(number)
            if inside in self._walked or depth >= _DEEPEST:
                continue  # shown where it is called first
            ends += self._walk(inside, f"{operator.path} {what}/", depth + 1, fed)
        return list(dict.fromkeys(ends))


def _layer(operator: _Operator, found: Meaning, shapes: tuple[tuple[int | None, ...], ...],
           output: tuple[int | None, ...] | None) -> Layer:  # fmt: skip
    return Layer(operator.path, operator.kind, found.config, shapes, output, found.weights,
                 found.operation)  # fmt: skip


def _kind(code: Table) -> str:
    """The name of an operator; numbers above 127 came later, in a field of their own."""
    number = max(code.number(0, "<b"), code.number(3))
    if number == CUSTOM:
        return code.text(1) or "CUSTOM"
    return NAMES[number] if 0 <= number < len(NAMES) else f"OPERATOR {number}"


def _check(numbers: Sequence[int], count: int, what: str, optional: bool = False) -> None:
    """Refuse numbers of tensors that are not there."""
    for number in numbers:
        if not (0 <= number < count or (optional and number == _NONE)):
            raise UnreadableError(f"{clean(what)} names tensor {number}, which is not there")


def _unpacked(graph: _Graph, operator: _Operator) -> None:
    """What an operator decodes of the file is itself a weight; the operator is then left out."""
    if len(operator.inputs) != 1 or len(operator.outputs) != 1 or operator.inputs[0] == _NONE:
        return
    stored = graph.tensors[operator.inputs[0]]
    if stored.weight is None:
        return
    at = operator.outputs[0]
    graph.tensors[at] = replace(graph.tensors[at], weight=stored.weight)
    operator.kind = ""


# -- names -----------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    """The name that a tensor had before it was converted."""
    first = name.split(";")[0].split("@")[0]
    return re.sub(r":\d+$", "", first).removeprefix("serving_default_").strip("/")


def _own(graph: _Graph, operator: _Operator) -> str:
    """A name for an operator: that of its output, unless a converter made that up."""
    name = _plain(graph.tensors[operator.outputs[0]].name) if operator.outputs else ""
    if not name or _USELESS.match(name):
        return clean(operator.kind.lower())
    return name
