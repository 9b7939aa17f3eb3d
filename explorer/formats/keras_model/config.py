"""Keras' configuration of a model -> a tree of layers and the tensors that flow between them.

One reading for what Keras 2 and Keras 3 write, in ``.keras`` and ``.h5`` files: ``Sequential``,
``Functional`` (branches, layers that are called several times, several inputs and outputs) and
models nested in models. Class names are looked at, never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from explorer.formats.keras_model.shapes import first_shape, output_shapes, read_shape
from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import Names
from explorer.formats.record import UnreadableError
from explorer.network import Shape, Weight

#: Positions of tensors given by name, as in the call's signature.
SIGNATURES: dict[str, tuple[str, ...]] = {
    "MultiHeadAttention": ("query", "value", "key"),
    "GroupedQueryAttention": ("query", "value", "key"),
    "GroupQueryAttention": ("query", "value", "key"),
}


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor that goes into a call: output `output` of call `call` of layer `layer`."""

    layer: str
    call: int
    output: int
    position: int
    shape: Shape | None = None


@dataclass(slots=True)
class Node:
    """A layer or a model of the configuration.

    Attributes
    ----------
    name, kind : str
        As recorded.
    path : str
        Cleaned and unique.
    calls : list of list of TensorRef
        Inputs of each call.
    children : list of Node or None
        For a model, in the order of the file.
    inputs, outputs : list of (str, int)
        For a Functional model: its input and output tensors as (name of a child, output index).
    wrapped : bool
        The children belong to a model that this layer wraps (``TimeDistributed(model)``).
    shapes : dict
        Output shapes by (call, output).
    weights : list of Weight
        Filled in by the reader of the file.
    """

    name: str
    kind: str
    config: dict[str, Any]
    path: str
    build_config: dict[str, Any] = field(default_factory=dict)
    calls: list[list[TensorRef]] = field(default_factory=list)
    children: list[Node] | None = None
    inputs: list[tuple[str, int]] = field(default_factory=list)
    outputs: list[tuple[str, int]] = field(default_factory=list)
    sequential: bool = False
    wrapped: bool = False
    input_shapes: list[Shape | None] = field(default_factory=list)
    shapes: dict[tuple[int, int], Shape | None] = field(default_factory=dict)
    weights: list[Weight] = field(default_factory=list)

    @property
    def by_name(self) -> dict[str, Node]:
        """Children by recorded name."""
        return {child.name: child for child in self.children or ()}

    def leaves(self) -> Iterator[Node]:
        """All layers inside, outer order first; itself when it is a layer."""
        if self.children is None:
            yield self
        else:
            for child in self.children:
                yield from child.leaves()


def is_model(config: object) -> bool:
    """Whether a configuration is that of a model whose layers are recorded."""
    return isinstance(config, Mapping) and isinstance(config.get("layers"), list)


def snake_case(name: str) -> str:
    """Keras' own conversion of a class name, as in ``keras.src.utils.naming``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def read_model(entry: Mapping[str, Any]) -> Node:
    """The tree of a serialised model.

    Parameters
    ----------
    entry : mapping
        ``{"class_name": …, "config": …}`` as ``config.json`` or ``model_config`` holds it.

    Raises
    ------
    UnreadableError
        When it is no configuration of a model, or contradicts itself.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise UnreadableError("the configuration does not describe a Keras model")
    config = entry.get("config")
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(config, Mapping) or not is_model(config):
        raise UnreadableError("the configuration lists no layers")
    root = Node("", entry["class_name"], dict(config), "", _mapping(entry.get("build_config")))
    _fill(root, config, Names())
    _propagate(root, None)
    return root


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _fill(model: Node, config: Mapping[str, Any], names: Names) -> None:
    """Read the layers of a model into `model.children`, and what goes in and out."""
    model.children = []
    model.sequential = "input_layers" not in config
    prefix = f"{model.path}/" if model.path else ""
    seen: set[str] = set()
    for entry in config["layers"]:
        child = _child(entry, prefix, names)
        if child.name in seen:
            raise UnreadableError(f"the configuration holds two layers called {child.path!r}")
        seen.add(child.name)
        model.children.append(child)
    if model.sequential:
        _chain(model, config, names, prefix)
        return
    for child, entry in zip(model.children, config["layers"], strict=True):
        nodes = entry.get("inbound_nodes") or []
        if not isinstance(nodes, list):
            raise UnreadableError(f"the inputs of {child.path!r} are not a list")
        child.calls = [_call(node, child.kind, seen) for node in nodes]
        if child.kind == "InputLayer":
            child.calls = []
    model.inputs = _ends(config.get("input_layers"), seen)
    model.outputs = _ends(config.get("output_layers"), seen)


def _child(entry: Any, prefix: str, names: Names) -> Node:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise UnreadableError("the configuration holds a layer without a class")
    config = entry.get("config")
    kind = entry["class_name"]
    if isinstance(config, list):
        config = {"layers": config}
    config = _mapping(config)
    name = entry.get("name") or config.get("name") or snake_case(kind)
    if not isinstance(name, str):
        raise UnreadableError("the configuration holds a layer whose name is not text")
    node = Node(name, kind, config, names.unique(prefix, name), _mapping(entry.get("build_config")))
    if is_model(config):
        _fill(node, config, names)
        return node
    inner = config.get("layer")
    if isinstance(inner, Mapping) and is_model(inner.get("config")):
        node.wrapped = True
        _fill(node, inner["config"], names)
    return node


def _chain(model: Node, config: Mapping[str, Any], names: Names, prefix: str) -> None:
    """Wire a Sequential model; give it an InputLayer where the file knows the input's shape."""
    children = model.children or []
    if children and children[0].kind != "InputLayer":
        first = children[0]
        shape = next(
            (
                found
                for found in (
                    read_shape(first.config.get("batch_input_shape")),
                    read_shape(first.config.get("batch_shape")),
                    read_shape(config.get("build_input_shape")),
                    first_shape(model.build_config),
                    first_shape(first.build_config),
                )
                if found is not None
            ),
            None,
        )
        if shape is not None and not model.wrapped:
            made = {"batch_shape": list(shape), "name": "input"}
            path = names.unique(prefix, "input")
            children.insert(0, Node(path, "InputLayer", made, path))
    for before, after in pairwise(children):
        after.calls = [[TensorRef(before.name, 0, 0, 0)]]
    if children:
        model.inputs, model.outputs = [(children[0].name, 0)], [(children[-1].name, 0)]


def _flatten(value: Any) -> Iterator[Any]:
    """Leaves of nested lists and mappings; mappings by sorted key, as Keras flattens them."""
    if isinstance(value, Mapping) and value.get("class_name") != "__keras_tensor__":
        for key in sorted(value, key=str):
            yield from _flatten(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flatten(item)
    else:
        yield value


def _is_reference(value: Any, names: set[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 3
        and isinstance(value[0], str)
        and value[0] in names
        and all(isinstance(n, int) and not isinstance(n, bool) for n in value[1:3])
    )


def _references(value: Any, names: set[str]) -> Iterator[list[Any]]:
    """Every ``[layer, call, output, …]`` in nested lists and mappings."""
    if _is_reference(value, names):
        yield value
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _references(value[key], names)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, names)


def _ends(value: Any, names: set[str]) -> list[tuple[str, int]]:
    """Input or output tensors of a Functional model, in Keras' order."""
    return [(ref[0], ref[2]) for ref in _references(value, names)]


def _call(node: Any, kind: str, names: set[str]) -> list[TensorRef]:
    """The tensors that go into one call, positional ones first."""
    if isinstance(node, Mapping):
        refs: list[TensorRef] = []
        for value in _flatten(node.get("args")):
            _append(refs, value, len(refs), names)
        named = _mapping(node.get("kwargs"))
        return _named(refs, [(k, list(_flatten(named[k]))) for k in named], kind, names)
    refs = []
    keywords: list[tuple[str, list[Any]]] = []
    for item in _references(node, names):
        _append(refs, item, len(refs), names)
        if len(item) > 3 and isinstance(item[3], Mapping) and not keywords:
            keywords = [(k, list(_references(v, names))) for k, v in item[3].items()]
    return _named(refs, keywords, kind, names)


def _named(
    refs: list[TensorRef], keywords: list[tuple[str, list[Any]]], kind: str, names: set[str]
) -> list[TensorRef]:
    """Add tensors given by name: where the signature says, else after the others by name."""
    signature = SIGNATURES.get(kind, ())
    for name, values in sorted(keywords):
        for value in values:
            position = max((ref.position for ref in refs), default=-1) + 1
            if name in signature:
                position = signature.index(name)
            elif signature:
                position = max(position, len(signature))
            _append(refs, value, position, names)
    return sorted(refs, key=lambda ref: ref.position)


def _append(refs: list[TensorRef], value: Any, position: int, names: set[str]) -> None:
    shape = None
    if isinstance(value, Mapping):
        inner = _mapping(value.get("config"))
        value, shape = inner.get("keras_history"), read_shape(inner.get("shape"))
        if not _is_reference(value, names):
            raise UnreadableError("the configuration names an input that is not one of its layers")
    if _is_reference(value, names):
        refs.append(TensorRef(value[0], value[1], value[2], position, shape))


def _propagate(model: Node, given: list[Shape | None] | None) -> None:
    """Fill in the shapes of a model's layers, recorded ones first, the others inferred."""
    children = model.by_name
    for child in children.values():  # what the file records
        for call in child.calls:
            for ref in call:
                if ref.shape is not None:
                    children[ref.layer].shapes[ref.call, ref.output] = ref.shape
    for index, (name, _) in enumerate(model.inputs):
        child = children[name]
        hint = given[index] if given and index < len(given) else None
        if child.kind == "InputLayer":
            value = child.config.get("batch_shape", child.config.get("batch_input_shape"))
            child.shapes.setdefault((0, 0), read_shape(value) or hint)
        elif hint is not None:
            child.input_shapes = [hint]
    for child in order_calls(model):
        for number in range(max(len(child.calls), 1)):
            _infer(child, number, children)


def _infer(child: Node, number: int, siblings: Mapping[str, Node]) -> None:
    """Shapes of one call of a layer or of a nested model."""
    call = child.calls[number] if number < len(child.calls) else []
    shapes = [ref.shape or siblings[ref.layer].shapes.get((ref.call, ref.output)) for ref in call]
    if number == 0 and shapes:
        child.input_shapes = shapes
    if child.kind == "InputLayer":
        return
    shapes = shapes or child.input_shapes
    if child.children is not None:
        if number == 0:
            _propagate(child, [_unwrap(s) for s in shapes] if child.wrapped else shapes)
        found = [_end_shape(child, end) for end in child.outputs]
        if child.wrapped:
            found = [_rewrap(s, shapes) for s in found]
        elif number and shapes != child.input_shapes:
            found = []
    else:
        found = output_shapes(child.kind, child.config, shapes, child.build_config)
    for index, shape in enumerate(found):
        if child.shapes.get((number, index)) is None:
            child.shapes[number, index] = shape


def _end_shape(model: Node, end: tuple[str, int]) -> Shape | None:
    return model.by_name[end[0]].shapes.get((0, end[1]))


def _unwrap(shape: Shape | None) -> Shape | None:
    return None if shape is None else (*shape[:1], *shape[2:])


def _rewrap(shape: Shape | None, inputs: list[Shape | None]) -> Shape | None:
    steps = inputs[0] if inputs else None
    if shape is None or steps is None or len(steps) < 2:
        return None
    return (*shape[:1], steps[1], *shape[1:])


def order_calls(model: Node) -> list[Node]:
    """Children so that inputs come first where there is no cycle; else in the file's order."""
    children = model.children or []
    position = {child.name: i for i, child in enumerate(children)}
    edges = {
        (position[ref.layer], position[child.name])
        for child in children
        for call in child.calls
        for ref in call
        if ref.layer != child.name
    }
    return [children[i] for i in topological(len(children), edges)]
