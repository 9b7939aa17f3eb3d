"""Subclassed Keras models: only the tree of their variables is recorded.

``config.json`` then holds a class name and nothing about layers, so the hierarchy is that of the
groups in the weights file: attributes of the model, and of its layers, that hold variables. How
they are wired is not recorded, and no links are made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import PurePath
from typing import Any

from explorer.formats.containers.hdf5 import Node as Group
from explorer.formats.containers.source import Source
from explorer.formats.keras_model.config import snake_case
from explorer.formats.keras_model.network import UNDECODED, weight_of
from explorer.formats.keras_model.quantised import packed, stored_roles
from explorer.formats.keras_model.shapes import first_shape
from explorer.formats.keras_model.variables import parts
from explorer.formats.naming.text import Names, clean_tree, natural
from explorer.formats.record import UnreadableError
from explorer.network import Layer, Network, Scope, Weight
from explorer.plain_text import clean

NOT_RECORDED = "links are not recorded in this file"
GUESSED = "the kinds of the layers are guessed from names and shapes in the file"
_NOT_LAYERS = {"optimizer", "vars", "metrics", "_metrics", "compile_metrics", "_compile_metrics"}
_DEEPEST = 60
#: What the layer of a group's own variables is called when the group has layers too.
_OWN = "variables"
_PARTS = ("query_dense", "_query_dense", "cell", "forward_layer")
_ORDER = ("forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense")

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


def guessed_kind(name: str) -> str:
    """The kind of a layer that Keras named after its class; empty where the name tells none."""
    return _by_snake().get(_unnumbered(name), "")


def read_tree(source: Source, root: Group, entry: Mapping[str, Any], version: object,
              written: bool = False) -> Network:  # fmt: skip
    """The network of a model whose configuration lists no layers.

    Parameters
    ----------
    source : Source
    root : Group
        The root of the weights file.
    entry : mapping
        ``config.json``.
    version : object
        Of Keras, as the file tells it.
    written : bool
        Whether layers of a list come in the order in which the file was written, which is that of
        the model, and not by name.
    """
    walk = _Walk(version, written)
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
        clean(name or PurePath(source.name).stem),
        "keras",
        tuple(walk.layers),
        tuple(walk.scopes),
        links_known=False,
        notes=tuple(notes),
    )


class _Walk:
    """Collects layers and scopes from the groups of a weights file."""

    def __init__(self, version: object, written: bool) -> None:
        self.version, self._written = version, written
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
            self._layer(group, path, _OWN)
        listed = own is None  # a list of layers: its keys are class names
        for key in self._ordered(group, listed):
            below = group.child(key)
            if key in _NOT_LAYERS or "seed_generator" in key or below is None or below.is_dataset:
                continue
            if key == "layers" and not listed:
                self.model(below, path, depth + 1)
                continue
            self._child(below, path, key, listed, depth)
        self._above.discard(group.address)

    def _ordered(self, group: Group, listed: bool) -> list[str]:
        if not (listed and self._written):
            return sorted(group.links, key=lambda k: (k != "layers", natural(k)))
        return sorted(group.links, key=lambda k: (_place(group.child(k)), natural(k)))

    def _child(self, group: Group, path: str, key: str, listed: bool, depth: int) -> None:
        own = group.child("vars")
        recorded = (own.text("name") if own is not None else None) or ""
        if recorded.startswith("seed_generator"):
            return
        if _is_layer(group):
            self._layer(group, path, _shown(recorded, key, listed), key if listed else "")
            return
        if not any(True for _ in _variables(group, 0)):
            return
        name = _shown(recorded, key, listed)
        scope = self._names.unique(f"{path}/" if path else "", name)
        kind = _by_snake().get(_unnumbered(key), "") if listed else ""
        if not kind:
            kind = "".join(w.title() for w in _unnumbered(key).split("_")) if listed else "Block"
        self.scopes.append(Scope(scope, clean(kind if own is not None else "List")))
        self.model(group, scope, depth + 1)

    def _layer(self, group: Group, path: str, name: str, key: str = "") -> None:
        full = self._names.unique(f"{path}/" if path else "", name)
        own = group.child("vars")
        recorded = (own.text("name") if own is not None else None) or ""
        datasets = _own(group) if name == _OWN else _variables(group, 0)
        pairs = [(d, w) for d in datasets if (w := weight_of(d, "", self.notes)) is not None]
        weights = [w for _, w in pairs]
        kind, roles, config = _known_structure(group, weights)
        if not kind:
            kind, roles = _guess([_unnumbered(key), _unnumbered(recorded)], weights)
        if not roles:
            start = len(group.name) + 1 if group.name else 0
            roles = [d.name[start:].replace("vars/", "") for d, _ in pairs]
        for at, role in enumerate(roles):
            weights[at] = replace(weights[at], role=clean(role))
        named, unknown = packed(kind, config, (), weights, self.version)
        if unknown:
            self.notes.append(UNDECODED.format(full))
        if recorded:
            config = {"name": recorded, **config}
        self.layers.append(Layer(full, kind, clean_tree(config), weights=tuple(named)))


def _is_layer(group: Group) -> bool:
    """Variables of its own and none below, or one of Keras' own layers with parts."""
    own = len(_own(group))
    if own:
        return len(_variables(group, 0)) == own
    return any(part in group for part in _PARTS)


def _known_structure(group: Group, weights: list[Weight]) -> tuple[str, list[str], dict[str, Any]]:
    """Kind, roles and the part of the configuration that shapes tell, for layers with parts."""
    shapes = [w.shape for w in weights]
    if any(part in group for part in _PARTS[:2]) and len(weights) in (4, 8):
        heads, width = shapes[0][1:3] if len(shapes[0]) > 2 else (1, 0)
        names = ("query", "key", "value", "attention_output")
        roles = ("kernel", "bias")[: len(weights) // 4]
        config = {"num_heads": heads, "key_dim": width}
        return "MultiHeadAttention", [f"{n}/{r}" for n in names for r in roles], config
    two = "forward_layer" in group and "backward_layer" in group
    each = len(weights) // 2 if two else len(weights)
    if not (two or "cell" in group) or each not in (2, 3):
        return "", [], {}
    if any(len(s) != 2 for s in shapes[:2]) or not shapes[1][0]:
        return "", [], {}
    units, wide = shapes[1]
    kind = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}.get(wide // units if not wide % units else 0, "")
    roles = ("kernel", "recurrent_kernel", "bias")[:each]
    config = {"units": units, "use_bias": each == 3}
    if kind == "GRU":
        config["reset_after"] = each == 3 and len(shapes[2]) == 2
    if not kind or not two:
        return kind, list(roles) if kind else [], config if kind else {}
    inner = {"layer": {"class_name": kind, "config": config}}
    return "Bidirectional", [f"{s}/{r}" for s in ("forward", "backward") for r in roles], inner


def _shown(recorded: str, key: str, listed: bool) -> str:
    """The name to show: the layer's own, but the attribute's where Keras made the name up."""
    made_up = _unnumbered(recorded) in _by_snake()
    return key if not recorded or (made_up and not listed) else recorded


def _own(group: Group) -> list[Group]:
    variables = group.child("vars")
    if variables is None or (variables.text("name") or "").startswith("seed_generator"):
        return []
    found = [variables.child(key) for key in sorted(variables.links, key=natural)]
    return [node for node in found if node is not None and node.is_dataset]


def _variables(group: Group, depth: int) -> list[Group]:
    """Datasets of a group and of all below, its own first."""
    result = _own(group)

    def place(key: str) -> tuple[int, list[tuple[int, str]]]:
        name = key.lstrip("_")
        return _ORDER.index(name) if name in _ORDER else len(_ORDER), natural(key)

    for key in sorted(group.links, key=place):
        if key == "vars" or "seed_generator" in key or depth > _DEEPEST:
            continue
        below = group.child(key)
        if below is not None and not below.is_dataset:
            result += _variables(below, depth + 1)
    return result


def _place(group: Group | None) -> int:
    """Grows from layer to layer in the order in which Keras wrote them, nearly always.

    HDF5 puts a new header at the end of the file, but for those that fit into space that was given
    back; of all that belong to a layer the last is most likely at the end. It is a hint on where
    to show a layer and nothing else depends on it.
    """
    if group is None or group.is_dataset:
        return 0
    own = group.child("vars")
    headers = [group.address]
    if own is not None:
        headers += [own.address, *own.links.values()]
    return max(headers)


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _guess(names: list[str], weights: list[Weight]) -> tuple[str, list[str]]:
    """Kind and roles of a layer, from its class name in snake case or the shapes it holds."""
    dtypes = [w.dtype for w in weights]
    for name in names:
        kind = _by_snake().get(name)
        if kind is None:
            continue
        for config in ({}, {"use_bias": False}, {"bias_axes": "a"}, {"scale": False}):
            known = parts(kind, config)
            own = tuple(role for _, part in known or () for role in part)
            roles = list(stored_roles(kind, config, own, dtypes))
            plain = len(roles) == len(own)
            if roles and len(roles) == len(weights) and not (plain and dtypes[0] == "int8"):
                return kind, roles
        return kind, []
    shapes = [w.shape for w in weights]
    codes = dtypes[:1] == ["int8"]
    dense: tuple[str, ...] = ("kernel", "bias")
    dense = stored_roles("Dense", {}, dense, dtypes) if codes else dense
    if len(shapes) == len(dense) > codes + 1 and len(shapes[0]) == 2:
        # The bias has an element per column, which the bytes of packed codes do not show.
        columns = shapes[2][-1:] if codes else shapes[0][1:]
        if shapes[1] == columns:
            return "Dense", list(dense)
    return "Layer", []
