"""How units pass through layers without weights: for each output unit, the input unit it carries.

The rules follow the definitions of the Keras layers; each is tested by perturbing one input unit
of the real layer and looking which output units move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Network, Shape
from explorer.weights.units import (
    ELEMENTWISE,
    GLOBAL,
    SPATIAL,
    axis_length,
    channel_axis,
    heads_of,
    incoming,
    keeps_second,
    units_of,
    vocabulary,
    whole,
)

I4 = NDArray[np.int32]
LARGEST_MAP = 1 << 26
"""Entries above which a map is not written down (256 MB): the edge stays neutral."""


@dataclass(frozen=True, eq=False)
class UnitMap:
    """For each of `size` units, the unit among `source` that it carries.

    Attributes
    ----------
    size, source : int
    index : int32 array, shape (size,), or None
        ``-1`` where a unit does not come from this source; ``None`` stands for the identity.
    """

    size: int
    source: int
    index: I4 | None = None

    def indices(self) -> I4:
        """The map written out: int32 array, shape (size,)."""
        return np.arange(self.size, dtype=np.int32) if self.index is None else self.index

    def then(self, back: UnitMap) -> UnitMap:
        """The map that first goes back along this one and then along `back`."""
        if back.index is None:
            return UnitMap(self.size, back.source, self.index)
        if self.index is None:
            return UnitMap(self.size, back.source, back.index)
        onward = back.index[np.maximum(self.index, 0)]
        return UnitMap(self.size, back.source, np.where(self.index < 0, np.int32(-1), onward))

    @property
    def key(self) -> tuple[int, bytes]:
        """Equal for equal maps."""
        return (self.size, b"" if self.index is None else self.index.tobytes())


@dataclass(frozen=True)
class _Pass:
    """One input of one weightless layer."""

    layer: Layer
    network: Network
    input_index: int
    output_index: int
    n_in: int
    n_out: int
    shape: Shape | None
    axis_in: int
    axis_out: int

    @property
    def config(self) -> Mapping[str, Any]:
        return self.layer.config

    def table(self, index: NDArray[Any]) -> UnitMap | None:
        """A map with this table, if it fits the units of both ends."""
        if len(index) != self.n_out or len(index) > LARGEST_MAP:
            return None
        index = index.astype(np.int32)
        if len(index) and (index.max() >= self.n_in or index.min() < -1):
            return None
        if self.n_in == self.n_out and np.array_equal(index, np.arange(self.n_out)):
            return UnitMap(self.n_out, self.n_in)
        return UnitMap(self.n_out, self.n_in, index)

    def inner_shape(self) -> tuple[int, ...] | None:
        """The input's shape without batch (and time, where distributed); ``None`` if unknown."""
        skip = 2 if self.config.get("time_distributed") else 1
        shape = () if self.shape is None else self.shape[skip:]
        known = tuple(whole(d) for d in shape)
        return known if self.shape is not None and all(known) else None


def _same(p: _Pass) -> UnitMap | None:
    if p.n_in == p.n_out or not p.n_out:
        return UnitMap(p.n_in, p.n_in) if p.n_in else None
    if not p.n_in:
        return UnitMap(p.n_out, p.n_out)
    return None


def _broadcast(p: _Pass) -> UnitMap | None:
    if p.n_in == 1 and 1 < p.n_out <= LARGEST_MAP:
        return UnitMap(p.n_out, 1, np.zeros(p.n_out, np.int32))
    return _same(p)


def _flat(p: _Pass, first: bool = False) -> UnitMap | None:
    """All features in C order; with `first`, channels_first data turned to channels_last before."""
    if not p.n_in or not p.n_out or p.n_out % p.n_in or p.n_out > LARGEST_MAP:
        return None
    shape = p.inner_shape()
    rank = len(p.shape) if p.shape is not None else 0
    axis = p.axis_in if p.axis_in >= 0 else rank + p.axis_in
    if rank and 0 < axis < rank - 1 and not (first and axis == 1):
        if shape is None or prod(shape) != p.n_out:
            return None
        skip = rank - len(shape)
        after = prod(shape[axis - skip + 1 :]) if axis >= skip else 0
        return p.table(np.arange(p.n_out) // after % p.n_in) if after else None
    if first and axis == rank - 1 and rank > 2:
        if shape is None or prod(shape) != p.n_out or shape[-1] != p.n_in:
            return None
        order = np.moveaxis(np.arange(p.n_out).reshape(shape), 0, -1).ravel()
        return p.table(order % p.n_in)
    if shape is not None and prod(shape) != p.n_out:
        return None
    return p.table(np.arange(p.n_out) % p.n_in)


def _flatten(p: _Pass) -> UnitMap | None:
    return _flat(p, first=p.config.get("data_format") == "channels_first")


def _reshape(p: _Pass) -> UnitMap | None:
    """Known where the last axis is kept, or made of the trailing axes of the input."""
    out, shape = p.layer.output_shape, p.shape
    if out is None or shape is None or not p.n_in or not p.n_out:
        return None
    if len(out) == 2 and len(shape) > 2:
        return _flat(p)
    if p.axis_in not in (-1, len(shape) - 1):
        kept = p.axis_in == p.axis_out == 1 and keeps_second(out, shape)
        return _same(p) if kept else None
    if p.n_in == p.n_out and whole(out[-1]) == whole(shape[-1]):
        return UnitMap(p.n_out, p.n_in)
    run = 1
    for length in reversed(shape[1:]):
        run *= whole(length)
        if run >= p.n_out or run == 0:
            break
    return p.table(np.arange(p.n_out) % p.n_in) if run == p.n_out <= LARGEST_MAP else None


def _permuted(p: _Pass, order: list[int]) -> UnitMap | None:
    """`order[j]` is the input axis that becomes output axis j, batch counted.

    Where the batch goes does not matter: PyTorch and ONNX run over time first.
    """
    rank = len(order)
    if sorted(order) != list(range(rank)) or not p.axis_in % rank:
        return None
    return _same(p) if order[p.axis_out % rank] == p.axis_in % rank else None


def _permute(p: _Pass) -> UnitMap | None:
    dims = p.config.get("dims")
    if not isinstance(dims, (list, tuple)) or not all(whole(d) for d in dims):
        return None
    return _permuted(p, [0, *dims])


def _transpose(p: _Pass) -> UnitMap | None:
    axes = p.config.get("axes")
    if axes is None and p.shape is not None:
        axes = list(range(len(p.shape)))[::-1]
    if not isinstance(axes, (list, tuple)) or not all(isinstance(a, int) for a in axes):
        return None
    return _permuted(p, [a % len(axes) for a in axes])


def _on_channels(p: _Pass, axis: object) -> bool | None:
    """Whether an axis of the configuration is the channel axis; ``None`` when it is no axis."""
    if not isinstance(axis, int) or isinstance(axis, bool):
        return None
    if axis == p.axis_in:
        return True
    rank = len(p.shape) if p.shape is not None else 0
    if (axis < 0) == (p.axis_in < 0) or not rank:
        return False if (axis < 0) == (p.axis_in < 0) else None
    return axis % rank == p.axis_in % rank


def _concatenate(p: _Pass) -> UnitMap | None:
    on_channels = _on_channels(p, p.config.get("axis", -1))
    if not on_channels:
        return None if on_channels is None else _same(p)
    layers = p.network.layer_by_path
    first: dict[int, int] = {}
    for link in incoming(p.network).of(p.layer.path):
        source = layers.get(link.source)
        if link.call == 0 and source is not None:
            first[link.target_input] = axis_length(link.shape, p.axis_in) or (
                units_of(source, p.network).channels
            )
    sizes = [first.get(i, 0) for i in range(len(first))]
    if not all(sizes) or sum(sizes) != p.n_out or not p.input_index < len(sizes):
        return None
    if sizes[p.input_index] != p.n_in or p.n_out > LARGEST_MAP:
        return None
    index = np.full(p.n_out, -1, np.int32)
    start = sum(sizes[: p.input_index])
    index[start : start + p.n_in] = np.arange(p.n_in)
    return p.table(index)


def _split(p: _Pass) -> UnitMap | None:
    on_channels = _on_channels(p, p.config.get("axis", 0))
    if not on_channels:
        return None if on_channels is None else _same(p)
    cuts = p.config.get("indices_or_sections")
    if isinstance(cuts, int) and cuts > 0 and p.n_in % cuts == 0:
        bounds = list(range(0, p.n_in + 1, p.n_in // cuts))
    elif isinstance(cuts, (list, tuple)) and all(isinstance(c, int) and c >= 0 for c in cuts):
        bounds = [0, *cuts, p.n_in]
    else:
        return None
    if not p.output_index < len(bounds) - 1 or p.n_in > LARGEST_MAP:
        return None
    carried = np.arange(bounds[p.output_index], bounds[p.output_index + 1])
    return _sized(p, carried)


def _sized(p: _Pass, carried: NDArray[Any]) -> UnitMap | None:
    """A map whose size is the table's own: outputs of one layer may differ in width."""
    if not len(carried) or carried.max() >= p.n_in or carried.min() < 0:
        return None
    return UnitMap(len(carried), p.n_in, carried.astype(np.int32))


def _get_item(p: _Pass) -> UnitMap | None:
    """``x[:, 0]``, ``x[..., 3:7]``: known where the configuration records the key."""
    keys = p.config.get("key")
    if keys is None or p.shape is None or not p.n_in or p.n_in > LARGEST_MAP:
        return None
    keys = keys if isinstance(keys, list) else [keys]
    names = [k.get("class_name") if isinstance(k, dict) else k for k in keys]
    if any(n is None or (isinstance(n, (list, str)) and n not in _KEYS) for n in names):
        return None
    if "__ellipsis__" in names:
        at = names.index("__ellipsis__")
        fill = [{"class_name": "__slice__", "config": {}}] * (len(p.shape) - len(keys) + 1)
        keys = keys[:at] + fill + keys[at + 1 :]
    axis = p.axis_in % len(p.shape)
    if axis >= len(keys):
        return _same(p)
    key = keys[axis]
    if not isinstance(key, dict):
        return None
    parts = [key.get("config", {}).get(n) for n in ("start", "stop", "step")]
    if not all(v is None or isinstance(v, int) for v in parts) or parts[2] == 0:
        return None
    return _sized(p, np.arange(p.n_in)[slice(*parts)])


_KEYS = ("__slice__", "__ellipsis__")


def _along(p: _Pass) -> UnitMap | None:
    """Known where it acts along axes that hold no channels."""
    axes = p.config.get("axis")
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    touched = [_on_channels(p, a) for a in axes]
    return None if any(t is None or t for t in touched) else _same(p)


def _squeeze(p: _Pass) -> UnitMap | None:
    out, shape = p.layer.output_shape, p.shape
    if out is None or shape is None or whole(out[-1]) != whole(shape[-1]):
        return None
    return _same(p) if p.axis_in in (-1, len(shape) - 1) else None


def _attention(p: _Pass) -> UnitMap | None:
    """Mixing over time: the channels of the value pass; query and key only steer."""
    names = p.config.get("inputs", ("query", "value", "key"))
    if not p.input_index < len(names) or names[p.input_index] != "value":
        return None
    heads, shared = heads_of(p.layer), whole(p.config.get("value_heads"))
    if heads and shared and shared != heads[0]:
        if heads[0] % shared or p.n_in != shared * heads[1]:
            return None
        head, part = np.divmod(np.arange(p.n_out), heads[1])
        return p.table(head // (heads[0] // shared) * heads[1] + part)
    return _same(p)


_Rule = Callable[[_Pass], UnitMap | None]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(ELEMENTWISE, _broadcast),
    **dict.fromkeys(SPATIAL | GLOBAL | {"RepeatVector"}, _same),
    **dict.fromkeys(
        ("Mean", "Sum", "Max", "Min", "Prod", "Var", "Std", "All", "Any", "Flip"), _along
    ),
    **dict.fromkeys(("Attention", "AdditiveAttention"), _attention),
    **dict.fromkeys(("Squeeze", "ExpandDims"), _squeeze),
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "Permute": _permute,
    "Reshape": _reshape,
    "Split": _split,
    "Transpose": _transpose,
    "GetItem": _get_item,
}


def passes(kind: str) -> bool:
    """Whether units may pass through weightless layers of a kind."""
    return kind in _RULES


def unit_map(
    layer: Layer,
    input_index: int,
    in_units: int,
    out_units: int,
    network: Network,
    output_index: int = 0,
) -> UnitMap | None:
    """For each output unit of a weightless layer, the unit of one input that it carries.

    Parameters
    ----------
    layer : Layer
        Of the expanded network.
    input_index, output_index : int
        Which input and which output tensor.
    in_units, out_units : int
        Channels at both ends; 0 when unknown.
    network : Network

    Returns
    -------
    UnitMap or None
        ``None`` when the map is not known; the edge is then a neutral flow link.
    """
    rule = _RULES.get(layer.op)
    steering = layer.config.get("steering")
    if rule is None or (isinstance(steering, (list, tuple)) and input_index in steering):
        return None  # an input that only tells a shape or axes carries no unit
    if in_units and in_units == out_units == vocabulary(layer, network):
        return UnitMap(out_units, in_units)
    link = incoming(network).first_into(layer.path, input_index)
    source = network.layer_by_path.get(link.source) if link is not None else None
    shape = layer.input_shapes[input_index] if input_index < len(layer.input_shapes) else None
    if link is not None and link.shape is not None:
        shape = link.shape
    if shape is None and source is not None:
        shape = source.output_shape
    axis_in = -1 if source is None else channel_axis(source, network)
    axis_out = channel_axis(layer, network)
    return rule(
        _Pass(layer, network, input_index, output_index, in_units, out_units, shape,
              axis_in, axis_out)
    )  # fmt: skip
