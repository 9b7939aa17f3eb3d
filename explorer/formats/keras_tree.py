"""Subclassed Keras models: only the tree of their variables is recorded.

``config.json`` then holds a class name and nothing about layers, so the hierarchy is that of the
groups in the weights file: attributes of the model, and of its layers, that hold variables. How
they are wired is not recorded, and no links are made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from typing import Any

from explorer.formats.hdf5 import Node as Group
from explorer.formats.keras_config import snake_case
from explorer.formats.keras_network import weight_of
from explorer.formats.keras_shapes import first_shape
from explorer.formats.keras_variables import parts
from explorer.formats.record import UnreadableError
from explorer.formats.source import Source
from explorer.formats.text import Names, clean, clean_tree, natural
from explorer.network import Layer, Network, Scope, Weight

NOT_RECORDED = "links are not recorded in this file"
GUESSED = "the kinds of the layers are guessed from names and shapes in the file"
_NOT_LAYERS = {"optimizer", "vars", "metrics", "_metrics", "compile_metrics", "_compile_metrics"}
_DEEPEST = 60

_KINDS = (
    "Dense", "EinsumDense", "Embedding", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose",
    "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D",
    "SeparableConv2D", "BatchNormalization", "LayerNormalization", "GroupNormalization",
    "RMSNormalization", "LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell",
    "MultiHeadAttention", "PReLU", "Bidirectional", "TimeDistributed", "Functional", "Sequential",
)  # fmt: skip


@cache
def _by_snake() -> dict[str, str]:
    return {snake_case(kind): kind for kind in _KINDS}


def read_tree(source: Source, root: Group, entry: Mapping[str, Any]) -> Network:
    """The network of a model whose configuration lists no layers.

    Parameters
    ----------
    source : Source
    root : Group
        The root of the weights file.
    entry : mapping
        ``config.json``.
    """
    walk = _Walk()
    walk.model(root, "", 0)
    if not walk.layers:
        raise UnreadableError("the file records neither layers nor weights")
    config = entry.get("config")
    build = entry.get("build_config")
    variables = root.child("vars")
    name = (config.get("name") if isinstance(config, Mapping) else None) or (
        variables.text("name") if variables is not None else None
    )
    notes = [NOT_RECORDED, GUESSED, *dict.fromkeys(walk.notes)]
    shape = first_shape(build) if isinstance(build, Mapping) else None
    if shape is not None:
        notes.append(f"built for an input of shape {shape}")
    return Network(
        clean(name or PurePath(source.path).stem),
        "keras",
        tuple(walk.layers),
        tuple(walk.scopes),
        links_known=False,
        notes=tuple(notes),
    )


class _Walk:
    """Collects layers and scopes from the groups of a weights file."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.scopes: list[Scope] = []
        self.notes: list[str] = []
        self._names = Names()
        self._above: set[int] = set()

    def model(self, group: Group, path: str, depth: int) -> None:
        """What a group holds, in the order that a person counts."""
        if depth > _DEEPEST or group.address in self._above:
            raise UnreadableError(
                "the groups of the weights file are nested too deeply or in a circle"
            )
        self._above.add(group.address)
        own = group.child("vars")
        if own is not None and own.links:
            self._layer(group, path, "variables")
        listed = own is None  # a list of layers: its keys are class names
        for key in sorted(group.links, key=lambda k: (k != "layers", natural(k))):
            below = group.child(key)
            if key in _NOT_LAYERS or "seed_generator" in key or below is None or below.is_dataset:
                continue
            if key == "layers" and not listed:
                self.model(below, path, depth + 1)
                continue
            self._child(below, path, key, listed, depth)
        self._above.discard(group.address)

    def _child(self, group: Group, path: str, key: str, listed: bool, depth: int) -> None:
        own = group.child("vars")
        recorded = (own.text("name") if own is not None else None) or ""
        if recorded.startswith("seed_generator"):
            return
        if self._is_layer(group):
            self._layer(group, path, (recorded or key) if listed else key, key if listed else "")
            return
        if not any(True for _ in _variables(group, 0)):
            return
        name = (recorded or key) if listed else key
        scope = self._names.unique(f"{path}/" if path else "", name)
        kind = _by_snake().get(_unnumbered(key), "") if listed else ""
        if not kind:
            kind = "".join(w.title() for w in _unnumbered(key).split("_")) if listed else "Block"
        self.scopes.append(Scope(scope, clean(kind if own is not None else "List")))
        self.model(group, scope, depth + 1)

    def _is_layer(self, group: Group) -> bool:
        """Variables of its own and none below, or a recurrent layer or attention."""
        if _own(group):
            return len(_variables(group, 0)) == len(_own(group))
        return "cell" in group or "query_dense" in group or "forward_layer" in group

    def _layer(self, group: Group, path: str, name: str, key: str = "") -> None:
        full = self._names.unique(f"{path}/" if path else "", name)
        own = group.child("vars")
        recorded = (own.text("name") if own is not None else None) or ""
        datasets = list(_variables(group, 0)) if name != "variables" else _own(group)
        weights = [w for d in datasets if (w := weight_of(d, "", self.notes)) is not None]
        kind, roles = _guess([_unnumbered(key), _unnumbered(recorded)], weights)
        if not roles:
            start = len(group.name) + 1
            roles = [d.name[start:].replace("vars/", "") for d in datasets]
        named = tuple(
            Weight(w.name, clean(role), w.shape, w.dtype, w.where)
            for w, role in zip(weights, roles, strict=False)
        )
        config = {"name": recorded} if recorded else {}
        self.layers.append(Layer(full, kind, clean_tree(config), weights=named))


def _own(group: Group) -> list[Group]:
    variables = group.child("vars")
    if variables is None or (variables.text("name") or "").startswith("seed_generator"):
        return []
    found = [variables.child(key) for key in sorted(variables.links, key=natural)]
    return [node for node in found if node is not None and node.is_dataset]


def _variables(group: Group, depth: int) -> list[Group]:
    """Datasets of a group and of all below, its own first."""
    result = _own(group)
    order = ["forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense"]
    for key in sorted(group.links, key=lambda k: (k not in order, natural(k))):
        if key == "vars" or "seed_generator" in key or depth > _DEEPEST:
            continue
        below = group.child(key)
        if below is not None and not below.is_dataset:
            result += _variables(below, depth + 1)
    return result


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _guess(names: list[str], weights: list[Weight]) -> tuple[str, list[str]]:
    """Kind and roles of a layer, from its class name in snake case or the shapes it holds."""
    for name in names:
        kind = _by_snake().get(name)
        if kind is None:
            continue
        for config in ({}, {"use_bias": False}, {"bias_axes": "a"}, {"scale": False}):
            known = parts(kind, config)
            roles = [role for _, part in known or () for role in part]
            if roles and len(roles) == len(weights):
                return kind, roles
        return kind, []
    shapes = [w.shape for w in weights]
    if len(shapes) == 2 and len(shapes[0]) == 2 and shapes[1] == shapes[0][1:]:
        return "Dense", ["kernel", "bias"]
    return "Layer", []
