"""A TensorFlow graph with its functions put in where they are called, and what flows in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from explorer.formats.naming.ordering import topological
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.nodes import Function, FunctionDef, NodeDef, Tensor
from explorer.network import Shape, Weight

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSED = frozenset((
    "Identity", "ReadVariableOp", "Cast", "StopGradient", "Snapshot", "EnsureShape", "Reshape",
    "Squeeze", "ExpandDims", "Enter", "PreventGradient", "CheckNumerics", "PlaceholderWithDefault",
))  # fmt: skip
_SILENT = frozenset(("Identity", "StopGradient", "Snapshot", "EnsureShape", "NoOp",
                     "PreventGradient", "CheckNumerics", "IdentityN"))  # fmt: skip
_STEERING = frozenset(("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "Assert"))
_BACK = frozenset(("NextIteration", "RefNextIteration"))
_MERGES = frozenset(("Merge", "RefMerge"))
_MOST_OPS = 400_000
_MOST_CALLS = 20_000
_DEEPEST = 24
_MOST_WEIGHTS = 64

Ref = tuple[int, int]
"""An operator and the number of its output."""


@dataclass(slots=True)
class Op:
    """An operator of the flat graph.

    Attributes
    ----------
    name, kind : str
    attributes : mapping
    inputs : list of (Ref or None)
    shape : Shape or None
        Of its first output.
    weight : Weight or None
        What it is, where it is a tensor of the file.
    data : bool
        Whether something of the network's inputs flows through it.
    weights : tuple of Weight
        What of the file is computed with, directly or by way of operators through which no data
        flows.
    """

    name: str
    kind: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[Ref | None] = field(default_factory=list)
    shape: Shape | None = None
    weight: Weight | None = None
    data: bool = False
    weights: tuple[Weight, ...] = ()


class Flow:
    """Operators in an order in which each comes after what it reads.

    Parameters
    ----------
    functions : mapping of str to FunctionDef

    Attributes
    ----------
    ops : list of Op
    """

    def __init__(self, functions: Mapping[str, FunctionDef]) -> None:
        self._functions = functions
        self.ops: list[Op] = []
        self._calls = 0

    def add(self, op: Op) -> Ref:
        """Put an operator at the end."""
        if len(self.ops) >= _MOST_OPS:
            raise UnreadableError("its graph is impossibly large")
        self.ops.append(op)
        return len(self.ops) - 1, 0

    def nodes(self, nodes: Sequence[NodeDef], known: dict[str, list[Ref | None]], prefix: str = "",
              depth: int = 0) -> dict[str, list[Ref | None]]:  # fmt: skip
        """Put nodes in, functions in the place of their calls.

        Parameters
        ----------
        nodes : sequence of NodeDef
        known : dict of str to list of (Ref or None)
            Outputs of nodes and values of arguments by name; those of `nodes` are added.
        prefix : str
            Begins the names.
        depth : int
            Calls around this one.
        """
        at = {node.name: i for i, node in enumerate(nodes)}
        edges = {
            (at[source], i)
            for i, node in enumerate(nodes)
            for name in node.inputs
            if (source := name.split(":", 1)[0]) in at and nodes[at[source]].op not in _BACK
        }
        merged: list[tuple[NodeDef, int]] = []
        for i in topological(len(nodes), edges):
            node = nodes[i]
            if node.name not in known:
                taken = [_output(known, name) for name in node.inputs if not name.startswith("^")]
                known[node.name] = self._node(node, taken, prefix, depth)
                if node.op in _MERGES:
                    merged.append((node, len(self.ops) - 1))
        for node, place in merged:  # what comes round a loop was not known yet
            self.ops[place].inputs = [_output(known, n) for n in node.inputs if n[:1] != "^"]
        return known

    def _node(
        self, node: NodeDef, taken: list[Ref | None], prefix: str, depth: int
    ) -> list[Ref | None]:
        called = node.attributes.get("f") if node.op in _CALLS else None
        name = called.name if isinstance(called, Function) else node.op
        if name in self._functions and name != "":
            return self.call(name, taken, _inside(prefix, node.name), depth)
        if node.op in _SILENT:
            return [*taken, None]
        shapes = node.attributes.get("_output_shapes") or [node.attributes.get("shape")]
        shape = shapes[0] if isinstance(shapes, list) and isinstance(shapes[0], tuple) else None
        at, _ = self.add(Op(prefix + node.name, node.op, node.attributes, taken, shape))
        return [(at, 0)]

    def call(self, name: str, taken: list[Ref | None], prefix: str, depth: int) -> list[Ref | None]:
        """Put a function in, and tell its outputs."""
        if depth > _DEEPEST:
            raise UnreadableError("its functions are nested too deeply")
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise UnreadableError("its graph is impossibly large")
        function = self._functions[name]
        known = {key: [ref] for key, ref in zip(function.inputs, taken, strict=False)}
        self.nodes(function.nodes, known, prefix, depth + 1)
        return [_output(known, function.returned.get(key, key)) for key in function.outputs]

    def settle(self) -> None:
        """Tell for each operator whether data flow through it, and with what it computes."""
        self._spread()
        deps: list[tuple[Weight, ...]] = []
        for op in self.ops:
            found: dict[str, Weight] = {}
            if op.weight is not None:
                found[op.weight.name] = op.weight
            for ref in op.inputs:
                if ref is not None and not self.ops[ref[0]].data and ref[0] < len(deps):
                    found |= {w.name: w for w in deps[ref[0]]}
            kept = tuple(found.values())[:_MOST_WEIGHTS]
            deps.append(kept)
            op.weights = kept

    def _spread(self) -> None:
        """Mark what data flow through; what they bring round a loop, in a further pass."""
        loops = [op for op in self.ops if op.kind in _MERGES]
        for _ in range(_DEEPEST):
            before = sum(op.data for op in loops)
            for op in self.ops:
                if not op.data and op.kind not in _STEERING:
                    op.data = any(self.ops[ref[0]].data for ref in op.inputs if ref is not None)
            if sum(op.data for op in loops) == before:
                return

    def weight_at(self, ref: Ref | None) -> Weight | None:
        """The tensor of the file that an input is, shapes aside."""
        for _ in range(16):
            if ref is None:
                return None
            op = self.ops[ref[0]]
            if op.weight is not None:
                return op.weight
            if op.data or op.kind not in _PASSED or not op.inputs:
                return None
            ref = op.inputs[0]
        return None

    def reshaped_at(self, ref: Ref | None) -> tuple[int, ...] | None:
        """The shape that a tensor of the file is given before it is read, where that is known."""
        for _ in range(16):
            op = self.ops[ref[0]] if ref is not None else None
            if op is None or op.kind not in _PASSED or not op.inputs:
                return None
            if op.kind == "Reshape":
                return self.numbers_at(op.inputs[1]) if len(op.inputs) > 1 else None
            ref = op.inputs[0]
        return None

    def numbers_at(self, ref: Ref | None) -> tuple[int, ...] | None:
        """The values of a small constant of whole numbers."""
        value = self.ops[ref[0]].attributes.get("value") if ref is not None else None
        if not isinstance(value, Tensor) or value.dtype not in ("int32", "int64"):
            return None
        if not value.values:
            return () if value.shape and not all(value.shape) else None
        form = np.dtype(value.dtype).newbyteorder("<")
        return tuple(int(n) for n in np.frombuffer(value.values, form))


def _inside(prefix: str, name: str) -> str:
    head, slash, _ = name.rpartition("/")
    return prefix + head + slash


def _output(known: dict[str, list[Ref | None]], name: str) -> Ref | None:
    """What an input names: ``node``, ``node:1``, ``node:output:1``."""
    head, *rest = name.split(":")
    outputs = known.get(head)
    if not outputs:
        return None
    number = int(rest[-1]) if rest and rest[-1].isdecimal() and len(rest[-1]) < 6 else 0
    if number < len(outputs):
        return outputs[number]
    first = outputs[0]
    return None if first is None or len(outputs) != 1 else (first[0], number)
