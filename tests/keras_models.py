"""Keras models for tests of the formats, and what Keras itself says about them."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from explorer.formats import open_network
from explorer.network import Network
from explorer.weights.weight_reader import WeightReader

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


class Saved:
    """Builds networks once; ``saved(name, suffix)`` gives the Keras model and its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, Any] = {}

    def __call__(self, name: str, suffix: str) -> tuple[Any, Path]:
        if name not in self.models:
            self.models[name] = script().build(name)
        path = self.folder / f"{name}.{suffix}"
        if not path.exists():
            script().save(self.models[name], path)
        return self.models[name], path


def save(model: Any, path: Path) -> Network:
    """Save a model made in a test, by the same way for both formats, and open it."""
    script().save(model, path)
    return open_network(path)


def fill(model: Any) -> Any:
    """Give every weight its own random numbers, so that a mixed-up one is seen."""
    rng = np.random.default_rng(7)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape).astype(variable.dtype))
    return model


def assert_same_weights(network: Network, model: Any) -> None:
    """Every layer has Keras' own weights in Keras' own order, byte for byte."""
    expected = dict(leaves(model))
    with WeightReader(network) as reader:
        for path, layer in expected.items():
            ours = network.layer_by_path[path]
            theirs = layer.get_weights()
            assert len(ours.weights) == len(theirs), path
            for weight, array in zip(ours.weights, theirs, strict=True):
                read = reader.read(weight)
                assert read.dtype == array.dtype
                assert read.shape == array.shape, (path, weight.role)
                assert read.tobytes() == array.tobytes(), (path, weight.role)
    extra = {p for p in network.layer_by_path if p not in expected}
    assert not any(network.layer_by_path[p].weights for p in extra)  # inputs and operators
    assert network.parameters == model.count_params()


def assert_same_links(network: Network, model: Any) -> None:
    """The links are those of Keras' own nodes, no more and no fewer."""
    ours = Counter((a.source, a.target, a.source_output, a.call) for a in network.links)
    assert ours == Counter(links(functional(model)))


def assert_same_shapes(network: Network, model: Any) -> None:
    """Each layer's first output has the shape that Keras gives it."""
    for path, layer in leaves(model):
        output = layer._inbound_nodes[0].output_tensors[0]
        assert network.layer_by_path[path].output_shape == tuple(output.shape), path
