"""TensorFlow checkpoints: ``x.index`` with ``x.data-00000-of-00001``, or a folder with them.

A checkpoint holds variables and no graph; layers follow from the names of variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from explorer.formats.record import Format, UnreadableError
from explorer.formats.source import Source
from explorer.formats.text import Names
from explorer.formats.tf_index import is_table
from explorer.formats.tf_variables import read_variables
from explorer.network import Layer, Network, Weight
from explorer.plain_text import clean

_DATA = re.compile(r"^(.+)\.data-\d{5}-of-\d{5}$")
_LATEST = re.compile(r'^model_checkpoint_path: "([^"]{1,500})"', re.MULTILINE)
_ROLES = {"weights": "kernel", "w": "kernel", "biases": "bias", "b": "bias",
          "depthwise_weights": "depthwise_kernel", "_kernel": "kernel",
          "_embeddings": "embeddings", "embedding_table": "embeddings"}  # fmt: skip
_NORM = {"gamma", "beta", "moving_mean", "moving_variance", "scale"}
_PROJECTIONS = ("query", "key", "value", "attention_output")
_CELLS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}


def matches(source: Source) -> bool:
    """An index by its last bytes, a data file with its index beside it, or a folder with one."""
    if source.is_folder:
        names = source.names()
        return "saved_model.pb" not in names and bool(_prefixes(names))
    return is_table(source) or _index_beside(source) is not None


def _index_beside(source: Source) -> str | None:
    found = _DATA.match(source.name)
    return found[1] if found and source.has(f"{found[1]}.index") else None


def _prefixes(names: list[str]) -> list[str]:
    """Checkpoints of which a folder has the index and some of the data."""
    data = {found[1] for name in names if (found := _DATA.match(name))}
    return [prefix for prefix in sorted(data) if f"{prefix}.index" in names]


def read(source: Source) -> Network:
    """The network of a checkpoint."""
    if source.is_folder:
        prefix = _chosen(source)
        index, title = source.part(f"{prefix}.index"), source.name
    elif is_table(source):
        prefix = source.name.removesuffix(".index")
        index, title = source, PurePath(prefix).name
    else:
        prefix = _index_beside(source) or ""
        index, title = source.part(f"{prefix}.index"), PurePath(prefix).name
    found = read_variables(source, index, prefix)
    if not found.weights:
        raise UnreadableError("a checkpoint without a variable of a model in it")
    notes = (*found.notes, "links are not recorded in this format")
    layers = layers_of(found.weights)
    return Network(clean(title), "tf_checkpoint", layers, links_known=False, notes=notes)


def _chosen(source: Source) -> str:
    """The checkpoint of a folder: the only one, or the one its ``checkpoint`` file calls latest."""
    found = _prefixes(source.names())
    if len(found) > 1 and source.has("checkpoint"):
        told = _LATEST.search(
            source.part("checkpoint").pread(0, 1 << 16).decode("utf-8", "replace")
        )
        if told and told[1] in found:
            return told[1]
    if len(found) != 1:
        named = ", ".join(clean(name, 60) for name in found[:4])
        raise UnreadableError(f"a folder with several checkpoints: {named}; open one .index file")
    return found[0]


def layers_of(weights: list[Weight]) -> tuple[Layer, ...]:
    """Layers by the scopes of names, in the order of the bytes."""
    scopes: dict[str, dict[str, Weight]] = {}
    for weight in weights:
        scope, _, leaf = weight.name.rpartition("/")
        scopes.setdefault(scope, {})[leaf] = weight
    scopes = _joined(scopes)
    names = Names()
    found = []
    for scope, own in scopes.items():
        named = [replace(w, role=_ROLES.get(leaf, clean(leaf))) for leaf, w in own.items()]
        kind, config = kind_of({w.role: w for w in named})
        parts = [clean(part) for part in scope.split("/") if part] or ["variables"]
        if any(other.startswith(f"{scope}/") for other in scopes if scope):
            parts.append("variables")
        path = names.unique("".join(f"{p}/" for p in parts[:-1]), parts[-1])
        found.append(Layer(path, kind, config, weights=tuple(named)))
    return tuple(found)


def _joined(scopes: dict[str, dict[str, Weight]]) -> dict[str, dict[str, Weight]]:
    """The parts of an attention of Keras made one layer, by their names and three axes each."""

    def is_part(scope: str) -> bool:
        kernel = scopes.get(scope, {}).get("kernel")
        return kernel is not None and len(kernel.shape) == 3

    heads = {scope.removesuffix("/query") for scope in scopes if scope.endswith("/query")}
    heads = {head for head in heads if all(is_part(f"{head}/{name}") for name in _PROJECTIONS)}
    found: dict[str, dict[str, Weight]] = {}
    for scope, own in scopes.items():
        head, _, part = scope.rpartition("/")
        if head in heads and part in _PROJECTIONS:
            found.setdefault(head, {}).update({f"{part}/{leaf}": w for leaf, w in own.items()})
        else:
            found.setdefault(scope, {}).update(own)
    return found


def kind_of(own: Mapping[str, Weight]) -> tuple[str, dict[str, Any]]:
    """Kind and configuration of the layer that has variables of these roles."""
    if "query/kernel" in own and "attention_output/kernel" in own:
        return "MultiHeadAttention", {}
    kernel, again = own.get("kernel"), own.get("recurrent_kernel")
    rank = len(kernel.shape) if kernel is not None else 0
    if again is not None and len(again.shape) == 2 and again.shape[0]:
        cell = _CELLS.get(again.shape[1] // again.shape[0], "")
        return cell or "Module", {"units": again.shape[0]} if cell else {}
    if "depthwise_kernel" in own:
        return ("SeparableConv2D" if "pointwise_kernel" in own else "DepthwiseConv2D"), {}
    if kernel is not None and rank == 2:
        return "Dense", {"units": kernel.shape[1]}
    if kernel is not None and rank in (4, 5):
        return _conv(kernel, own.get("bias"))
    if "embeddings" in own:
        return "Embedding", {}
    if "moving_mean" in own:
        return "BatchNormalization", {}
    if "gamma" in own and set(own) <= _NORM:
        return "LayerNormalization", {}
    return "Module", {}


def _conv(kernel: Weight, bias: Weight | None) -> tuple[str, dict[str, Any]]:
    """Which convolution it is, by the length of the bias: one per out channel."""
    rank, out = len(kernel.shape) - 2, kernel.shape[-1]
    inside = kernel.shape[-2]
    length = bias.size if bias is not None else out
    if length == inside != out:
        return f"Conv{rank}DTranspose", {"filters": inside}
    if rank == 2 and length == inside * out != out:
        return "DepthwiseConv2D", {"depth_multiplier": out}
    return f"Conv{rank}D", {"filters": out}


FORMAT = Format("tf_checkpoint", matches, read)
