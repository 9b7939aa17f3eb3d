"""TensorFlow.js: a ``model.json`` with layers of Keras or a graph, and files of weights beside it.

Names of variables are those that the converter takes over from Keras' HDF5 files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from explorer.formats.containers.source import Source
from explorer.formats.keras_model.config import Node, read_model
from explorer.formats.keras_model.network import network_of
from explorer.formats.keras_model.variables import role_from_name
from explorer.formats.naming.text import parse_json
from explorer.formats.record import Format, UnreadableError
from explorer.formats.tensorflow_js.graph import graph_network
from explorer.formats.tensorflow_js.weights import weights_of
from explorer.network import Network, Weight

_LARGEST = 64 << 20
_HEAD = 4096
_FIRST = (b'"modelTopology"', b'"weightsManifest"', b'"format"', b'"generatedBy"')


def matches(source: Source) -> bool:
    """A JSON text with a topology and a manifest of weights."""
    if source.is_folder or source.size > _LARGEST:
        return False
    head = source.pread(0, _HEAD)
    if head.lstrip()[:1] != b"{" or not any(key in head for key in _FIRST):
        return False
    data = source.pread(0, _LARGEST)
    return b'"modelTopology"' in data and b'"weightsManifest"' in data


def read(source: Source) -> Network:
    """The network of a model file and of the files it names."""
    data = parse_json(source.pread(0, _LARGEST), source.name)
    topology = data.get("modelTopology") if isinstance(data, Mapping) else None
    if not isinstance(topology, Mapping):
        raise UnreadableError("its modelTopology describes no model")
    notes: list[str] = []
    weights = weights_of(source, data.get("weightsManifest"), notes)
    if isinstance(topology.get("node"), list):
        return graph_network(source, topology, weights, notes)
    entry = topology.get("model_config", topology)
    root = read_model(entry if isinstance(entry, Mapping) else topology)
    _assign(root, weights, notes)
    return network_of(source, root, "tfjs", notes)


def _assign(root: Node, weights: Mapping[str, Weight], notes: list[str]) -> None:
    """Give each layer the variables that carry its name."""
    named: dict[str, list[Node]] = {}
    for leaf in root.leaves():
        named.setdefault(leaf.name, []).append(leaf)
    lost = 0
    for name, weight in weights.items():
        owner = _owner(name.split("/"), named)
        if owner is None:
            lost += 1
            continue
        role = role_from_name(owner.kind, name)
        if any(w.role == role for w in owner.weights):
            role = name.rpartition(f"{owner.name}/")[2]
        owner.weights.append(replace(weight, role=role))
    if lost:
        notes.append(f"{lost} weights belong to no layer that is recorded")


def _owner(steps: list[str], named: Mapping[str, list[Node]]) -> Node | None:
    """The layer whose name is one of the steps of a variable's name; of several, the innermost."""
    for step in reversed(steps[:-1]):
        found = named.get(step, [])
        if len(found) > 1:  # the same name in several nested models, which the variable names too
            above = set(steps)
            found = [leaf for leaf in found if above >= set(leaf.path.split("/"))]
        if len(found) == 1:
            return found[0]
    return None


FORMAT = Format("tfjs", matches, read)
