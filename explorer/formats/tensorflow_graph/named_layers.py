"""Layers from the names of variables, where no graph tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from explorer.formats.naming.text import Names
from explorer.network import Layer, Weight
from explorer.plain_text import clean

_ROLES = {"weights": "kernel", "w": "kernel", "biases": "bias", "b": "bias",
          "depthwise_weights": "depthwise_kernel", "_kernel": "kernel",
          "_embeddings": "embeddings", "embedding_table": "embeddings"}  # fmt: skip
_NORM = {"gamma", "beta", "moving_mean", "moving_variance", "scale"}
_PROJECTIONS = ("query", "key", "value", "attention_output")
_CELLS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}


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
