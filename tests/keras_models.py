"""Keras models for tests of the formats, and what Keras itself says about them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_networks.py"


@cache
def script() -> Any:
    """The module scripts/make_networks.py, whose networks the tests share."""
    spec = importlib.util.spec_from_file_location("make_networks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_model(layer: Any) -> bool:
    return hasattr(layer, "layers")


def leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer that is not a model, with the path that the explorer gives it."""
    for layer in model.layers:
        if is_model(layer):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def links(model: Any, prefix: str = "") -> Iterator[tuple[str, str, int, int]]:
    """(source, target, output of the source, call of the target) by Keras' own nodes.

    Walks the operation nodes that belong to `model`; tensors that cross a nested model's wall
    are followed to the layers inside by Keras' own input and output tensors.
    """
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    for layer in model.operations:
        call = 0
        for node in layer._inbound_nodes:
            if id(node) not in own:
                continue
            for position, tensor in enumerate(node.input_tensors):
                history = tensor._keras_history
                source, output = outward(history.operation, history.tensor_index)
                target = inward(layer, position)
                yield prefix + source, prefix + target, output, call
            call += bool(node.input_tensors)
        if is_model(layer):
            functional = layer if hasattr(layer, "_nodes_by_depth") else layer._functional
            yield from links(functional, f"{prefix}{layer.name}/")


def functional(model: Any) -> Any:
    return model if hasattr(model, "_nodes_by_depth") else model._functional


def outward(layer: Any, output: int) -> tuple[str, int]:
    if not is_model(layer):
        return layer.name, output
    history = functional(layer).outputs[output]._keras_history
    inner, index = outward(history.operation, history.tensor_index)
    return f"{layer.name}/{inner}", index


def inward(layer: Any, position: int) -> str:
    if not is_model(layer):
        return str(layer.name)
    history = functional(layer).inputs[position]._keras_history
    return f"{layer.name}/{inward(history.operation, 0)}"
