"""Weights that Keras saved without the model: ``.weights.h5``, shards, and those of Keras 1 and 2.

Keras 3 writes a tree of groups, attributes of the model that hold variables; Keras 2 a list of
layers with the names of their variables. Neither says how the layers are wired, and no links are
made up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from explorer.formats.containers.hdf5 import Node
from explorer.formats.containers.source import Source
from explorer.formats.keras_model.groups import sharded_root
from explorer.formats.keras_model.network import weight_of
from explorer.formats.keras_model.tree import GUESSED, NOT_RECORDED, guessed_kind, read_tree
from explorer.formats.keras_model.variables import role_from_name
from explorer.formats.naming.text import Names
from explorer.formats.record import Format, UnreadableError
from explorer.network import Layer, Network, Scope, Weight
from explorer.plain_text import clean

_LARGEST_INDEX = 64 << 20
_ENDS = 1 << 16
_CONVOLUTIONS = {3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}
_CELLS = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}


def matches(source: Source) -> bool:
    """An index of shards, or a folder with one and no configuration."""
    if source.is_folder:
        found = [name for name in source.names() if name.endswith(".weights.json")]
        return len(found) == 1 and not source.has("config.json")
    ends = source.pread(0, _ENDS) + source.pread(max(source.size - _ENDS, 0), _ENDS)
    return ends.lstrip()[:1] == b"{" and b'"weight_map"' in ends and b'.weights.h5"' in ends


def read(source: Source) -> Network:
    """The layers of a sharded save."""
    file = source
    if source.is_folder:
        file = source.part(next(n for n in source.names() if n.endswith(".weights.json")))
    text = file.pread(0, _LARGEST_INDEX)
    return alone(source, sharded_root(text, file.name, lambda name: source.part(name).view()))


def alone(source: Source, root: Node) -> Network:
    """The layers of an HDF5 file without a configuration.

    Parameters
    ----------
    source : Source
    root : Node
        Of the file, or of the shards together.

    Raises
    ------
    UnreadableError
        If it is no file of Keras.
    """
    layers = root.texts("layer_names")
    if layers is not None:
        return _listed(source, root, layers)
    below = (root.child(name) for name in root.links)
    if {"vars", "layers"} & set(root.links) or any(n is not None and "vars" in n for n in below):
        return read_tree(source, root, {}, None, written=True)
    raise UnreadableError("an HDF5 file, but not a Keras model (it has no model_config)")


def _listed(source: Source, root: Node, names: Sequence[str]) -> Network:
    """Keras 1 and 2: layers in the model's order, each with the names of its variables."""
    paths, notes = Names(), [NOT_RECORDED, GUESSED]
    layers: list[Layer] = []
    scopes: list[Scope] = []
    for name in names:
        group = root.child(name)
        listed = None if group is None else group.texts("weight_names")
        if group is None or listed is None:
            raise UnreadableError(f"the file does not hold the layer {clean(name)!r}")
        owners: dict[str, list[str]] = {}
        for each in listed:
            owners.setdefault(each.rpartition("/")[0], []).append(each)
        path = paths.unique("", name)
        if len(owners) <= 1:
            layers.append(_layer(group, path, name, listed, notes))
            continue
        scopes.append(Scope(path, "Model"))
        for owner, own in owners.items():
            inner = owner.rpartition("/")[2] or name
            layers.append(_layer(group, paths.unique(f"{path}/", inner), inner, own, notes))
    title = clean(PurePath(source.name).stem)
    return Network(title, "keras-weights", tuple(layers), tuple(scopes), links_known=False,
                   notes=tuple(dict.fromkeys(notes)))  # fmt: skip


def _layer(group: Node, path: str, name: str, listed: Sequence[str], notes: list[str]) -> Layer:
    weights: list[Weight] = []
    for each in listed:
        dataset = group.child(each)
        if dataset is None or not dataset.is_dataset:
            raise UnreadableError(f"the weight {clean(each)!r} is not in the file")
        weight = weight_of(dataset, "", notes)
        if weight is not None:
            weights.append(replace(weight, role=clean(_role(guessed_kind(name), each))))
    if len({w.role for w in weights}) < len(weights):
        weights = [replace(w, role=str(i)) for i, w in enumerate(weights)]
    return Layer(path, _kind(name, weights), {"name": clean(name)}, weights=tuple(weights))


def _role(kind: str, name: str) -> str:
    """What a variable is called; Keras 1 wrote ``conv_W_1:0`` for a kernel, ``conv_b_1:0``."""
    role = role_from_name(kind, name)
    old = re.search(r"_([Wb])(_\d+)?$", role)
    return {"W": "kernel", "b": "bias"}[old[1]] if old else role


def _kind(name: str, weights: Sequence[Weight]) -> str:
    """The kind of a layer, from its name, else from what its variables are called."""
    shapes = {w.role: w.shape for w in weights}
    kernel, again = shapes.get("kernel", ()), shapes.get("recurrent_kernel", ())
    if len(again) == 2 and again[0] and not again[1] % again[0]:
        return _CELLS.get(again[1] // again[0], "Layer")
    if "moving_mean" in shapes:
        return "BatchNormalization"
    if "depthwise_kernel" in shapes:
        return "SeparableConv2D" if "pointwise_kernel" in shapes else "DepthwiseConv2D"
    if "embeddings" in shapes:
        return "Embedding"
    if set(shapes) == {"gamma", "beta"}:
        return "LayerNormalization"
    named = guessed_kind(name)
    if named or not kernel:
        return named or "Layer"
    return "Dense" if len(kernel) == 2 else _CONVOLUTIONS.get(len(kernel), "Layer")


FORMAT = Format("keras-weights", matches, read)
