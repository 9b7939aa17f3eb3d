"""How many units a layer has and which axis of its output they lie along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np

from explorer.network import Layer, Link, Network, Shape
from explorer.weights.kernels import axes_of

GATES: dict[str, tuple[str, ...]] = {
    "LSTM": ("input gate", "forget gate", "cell", "output gate"),
    "ConvLSTM": ("input gate", "forget gate", "cell", "output gate"),
    "GRU": ("update gate", "reset gate", "candidate"),
}
"""Gate names in the order in which Keras stores them: i, f, c, o and z, r, h."""

# Layers that hand a channel on to the channel of the same index, whatever they do in space.
_ELEMENTWISE = """
    Identity Activation ReLU LeakyReLU PReLU ELU Softmax ThresholdedReLU Dropout SpatialDropout1D
    SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise
    ActivityRegularization BatchNormalization SyncBatchNormalization LayerNormalization
    GroupNormalization UnitNormalization RMSNormalization Normalization Rescaling Masking
    Add Subtract Multiply Average Maximum Minimum Abs Absolute Negative Square Sqrt Rsqrt Exp Log
    Log1p Expm1 Sin Cos Tan Power Divide TrueDivide FloorDivide Mod Clip Cast Sign Round Floor Ceil
    Reciprocal Where IsNan StopGradient Relu Relu6 Sigmoid Tanh Silu Swish Gelu Selu Elu Celu
    LeakyRelu HardSigmoid HardSilu HardSwish HardTanh Softplus Softsign LogSoftmax LogSigmoid
    SoftShrink HardShrink TanhShrink Squareplus Threshold Mish SparsePlus BatchNorm
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
SPATIAL = frozenset(
    [f"{kind}{d}D" for kind in ("MaxPooling", "AveragePooling", "MaxPool", "AvgPool",
                                "AdaptiveMaxPooling", "AdaptiveAveragePooling", "ZeroPadding",
                                "Cropping", "UpSampling") for d in (1, 2, 3)]
    + ["Resizing", "CenterCrop", "RandomCrop", "RandomFlip", "RandomRotation", "RandomZoom",
       "RandomTranslation", "RandomContrast", "RandomBrightness", "Pad"]
)  # fmt: skip
GLOBAL = frozenset(
    f"Global{kind}{d}D" for kind in ("MaxPooling", "AveragePooling", "MaxPool", "AvgPool")
    for d in (1, 2, 3)
)  # fmt: skip
# What may stand between an input of token numbers and the embedding that reads it.
_INDEX_KINDS = frozenset(
    ("InputLayer", "Identity", "Cast", "Reshape", "Flatten", "Dropout", "Masking", "GetItem",
     "Squeeze", "ExpandDims", "Slice", "Maximum", "Minimum", "Clip")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a layer.

    Attributes
    ----------
    count : int
        Units that can be drawn; 0 when unknown. The gate cells of a recurrent layer count one by
        one: unit ``gate * channels + c``.
    channels : int
        Output channels that flow on; ``unit % channels`` is a unit's channel.
    blocks : tuple of str
        Names of the gates in the order of the file; empty for other layers.
    heads : (int, int) or None
        Heads and components per head of an attention layer; a unit is ``head * dim + component``.
    """

    count: int
    channels: int
    blocks: tuple[str, ...] = ()
    heads: tuple[int, int] | None = None


def gates_of(kind: str) -> tuple[str, ...]:
    """Names of a recurrent kind's gates in the order of the file; empty for other kinds."""
    if kind.startswith("ConvLSTM"):
        return GATES["ConvLSTM"]
    return GATES.get(kind.removeprefix("CuDNN"), ())


def named_gates(layer: Layer) -> tuple[str, ...]:
    """Names of a layer's gates in the order of the file, which its configuration may tell."""
    known, told = gates_of(layer.op), layer.config.get("gates")
    if isinstance(told, (list, tuple)) and sorted(map(str, told)) == sorted(known):
        return tuple(map(str, told))
    return known


def whole(value: object) -> int:
    """A non-negative int, or 0 for anything else (``None``, text, a float, a bool)."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def einsum_letters(equation: object) -> tuple[str, str, str] | None:
    """Letters of the input, the kernel and the output of ``"abc,cd->abd"``; ``...`` is dropped.

    Returns
    -------
    tuple of three str, or None
        ``None`` when the equation is not of that form.
    """
    if not isinstance(equation, str) or equation.count("->") != 1 or len(equation) > 200:
        return None
    left, out = equation.replace(" ", "").replace("...", "").split("->")
    if left.count(",") != 1:
        return None
    first, kernel = left.split(",")
    parts = (first, kernel, out)
    if any(len(set(p)) != len(p) or not all(c.isalpha() for c in p) for p in parts):
        return None
    return parts if set(kernel) <= set(first) | set(out) else None


def _kernel_channels(layer: Layer) -> int:
    """Output channels of a layer with weights, from its kernel's shape; 0 when it has none."""
    kind = layer.op
    kernel = layer.weight("depthwise_kernel")
    if kind.startswith("Depthwise") and (kernel := kernel or layer.weight("kernel")):
        return prod(kernel.shape[-2:]) if len(kernel.shape) > 2 else 0
    if kind == "Embedding":
        table = layer.weight("embeddings")
        return table.shape[-1] if table and len(table.shape) == 2 else 0
    kernel = layer.weight("kernel") or layer.weight("pointwise_kernel")
    if kernel is None or len(kernel.shape) < 2:
        return 0
    if kind == "EinsumDense":
        parts = einsum_letters(layer.config.get("equation"))
        if parts is None or len(parts[1]) != len(kernel.shape):
            return 0
        size = dict(zip(parts[1], kernel.shape, strict=True))
        return prod(size[c] for c in parts[2] if c in size)
    if not kind.startswith(("Dense", "Conv", "SeparableConv", "LSTM", "GRU", "SimpleRNN")):
        return 0
    turned = kind.startswith("Conv") and "Transpose" in kind
    letters = axes_of(kernel, "koi" if turned else "kio")
    out = kernel.shape[letters.index("o")] if "o" in letters else 0
    if turned:
        return out * (whole(layer.config.get("groups")) or 1)
    return out // max(1, len(gates_of(kind)))


def _configured_channels(config: Mapping[str, Any], kind: str) -> int:
    """Output channels as the configuration tells them; 0 when it does not."""
    if kind == "Embedding":
        return whole(config.get("output_dim"))
    if kind.startswith(("Conv", "SeparableConv")):
        return whole(config.get("filters"))
    if kind in ("Dense", "LSTM", "GRU", "SimpleRNN"):
        return whole(config.get("units"))
    return 0


def heads_of(layer: Layer) -> tuple[int, int] | None:
    """Heads and components per head of an attention part, from its configuration."""
    heads, dim = whole(layer.config.get("heads")), whole(layer.config.get("head_dim"))
    return (heads, dim) if heads and dim else None


def axis_length(shape: Shape | None, axis: int) -> int:
    """Length of an axis of a shape with batch; 0 when unknown, 1 for a shape of batch only."""
    if not shape:
        return 0
    if len(shape) == 1:
        return 1
    inside = 1 <= axis < len(shape) or -len(shape) < axis < 0
    return whole(shape[axis]) if inside else 0


def _own_axis(layer: Layer) -> int | None:
    """Channel axis that the layer's own configuration fixes, batch counted; else ``None``."""
    if layer.op in ("Flatten", "Reshape", "Dense", "EinsumDense", "InputLayer"):
        return None
    form = layer.config.get("data_format")
    if form == "channels_first":
        if layer.op in GLOBAL and not layer.config.get("keepdims"):
            return -1
        return 2 if layer.config.get("time_distributed") else 1
    return -1 if form == "channels_last" else None


class LinkGroups:
    """Links by the layer at one of their ends, in the order of the network.

    Parameters
    ----------
    network : Network
    end : {"source", "target"}
    """

    def __init__(self, network: Network, end: str) -> None:
        self._links, self._position = network.links, network.position
        paths, at = map(attrgetter(end), network.links), network.position
        ends = np.fromiter((at.get(path, -1) for path in paths), np.int32, len(network.links))
        self._order = np.argsort(ends, kind="stable")
        self._starts = np.searchsorted(ends[self._order], np.arange(len(network.layers) + 1))
        self._ports: dict[str, dict[int, list[Link]]] = {}

    def of(self, path: str) -> tuple[Link, ...]:
        """The links of a layer; none where there is no such layer."""
        at = self._position.get(path)
        if at is None:
            return ()
        first, stop = self._starts[at : at + 2].tolist()
        return tuple(self._links[k] for k in self._order[first:stop].tolist())

    def into(self, path: str, port: int) -> list[Link]:
        """A layer's links to one of its inputs; looked up once for all inputs."""
        found = self._ports.get(path)
        if found is None:
            found = self._ports[path] = {}
            for link in self.of(path):
                found.setdefault(link.target_input, []).append(link)
        return found.get(port, [])

    def first_into(self, path: str, port: int) -> Link | None:
        """The first of a layer's links to one of its inputs."""
        return next(iter(self.into(path, port)), None)


def incoming(network: Network) -> LinkGroups:
    """Links by target; sorted once per network."""
    found: LinkGroups = memo(network, "_incoming", lambda: LinkGroups(network, "target"))
    return found


def outgoing(network: Network) -> LinkGroups:
    """Links by source; sorted once per network."""
    found: LinkGroups = memo(network, "_outgoing", lambda: LinkGroups(network, "source"))
    return found


def memo(network: Network, name: str, build: Any) -> Any:
    """Keep what follows from a network beside it, as ``functools.cached_property`` would."""
    store = network.__dict__
    if name not in store:
        store[name] = build()
    return store[name]


def keeps_second(out: Shape | None, given: Shape | None) -> bool:
    """Whether a reshape leaves batch and channels alone and changes what comes behind them."""
    if out is None or given is None or min(len(out), len(given)) < 3:
        return False
    return out[1] == given[1] and whole(out[1]) > 0 and out[0] == given[0]


def _before(layer: Layer, axis: int) -> int | None:
    """Which axis of its input a layer makes the channel axis of its output."""
    if layer.op not in ("Transpose", "Permute"):
        return axis
    order = layer.config.get("axes" if layer.op == "Transpose" else "dims")
    if not isinstance(order, (list, tuple)) or not all(isinstance(a, int) for a in order):
        return None
    order = [0, *order] if layer.op == "Permute" else list(order)
    if not -len(order) <= axis < len(order) or not -len(order) <= order[axis] < len(order):
        return None
    found = order[axis] % len(order)
    return -1 if found == len(order) - 1 else found


def _channel_axes(network: Network) -> dict[str, int]:
    """Channel axis of every layer that is not last, found from ``data_format`` and passed on."""
    layers = network.layer_by_path
    if not any(la.config.get("data_format") == "channels_first" for la in network.layers):
        return {}
    axes: dict[str, int] = {}
    passes = ELEMENTWISE | {"Concatenate"}
    into, out = incoming(network), outgoing(network)
    for layer in network.layers:
        own = _own_axis(layer)
        sources = [axes[k.source] for k in into.of(layer.path) if k.source in axes]
        if own is not None:
            axes[layer.path] = own
        elif layer.op in passes and sources:
            axes[layer.path] = sources[0]
        elif layer.op == "Reshape" and 1 in sources:
            given = next(k.shape or layers[k.source].output_shape for k in into.of(layer.path)
                         if axes.get(k.source) == 1)  # fmt: skip
            if keeps_second(layer.output_shape, given):
                axes[layer.path] = 1
    for layer in reversed(network.layers):  # an input takes the axis of what reads it
        if layer.path in axes or layer.op not in passes | {"InputLayer", "Transpose", "Permute"}:
            continue
        readers = [k.target for k in out.of(layer.path) if k.target in layers]
        wanted = [_before(layers[r], axes[r]) for r in readers if r in axes]
        if wanted and wanted[0] is not None:
            axes[layer.path] = wanted[0]
    return {path: axis for path, axis in axes.items() if axis != -1}


def channel_axis(layer: Layer, network: Network) -> int:
    """Axis of the output along which the channels lie, batch counted; ``-1`` for the last."""
    axes: dict[str, int] = memo(network, "_channel_axes", lambda: _channel_axes(network))
    axis = axes.get(layer.path, -1)
    shape = layer.output_shape
    return -1 if shape is not None and axis >= len(shape) - 1 else axis


def _vocabularies(network: Network) -> dict[str, int]:
    """Vocabulary size of every weightless layer whose output holds token numbers."""
    layers = network.layer_by_path
    found: dict[str, int] = {}
    embeddings = [layer for layer in network.layers if layer.op == "Embedding"]
    if not embeddings:
        return found
    into = incoming(network)
    for layer in embeddings:
        table = layer.weight("embeddings")
        size = table.shape[0] if table and table.shape else whole(layer.config.get("input_dim"))
        todo = [k.source for k in into.of(layer.path)]
        while todo:
            path = todo.pop()
            source = layers.get(path)
            if source is None or source.op not in _INDEX_KINDS or found.get(path, 0) >= size:
                continue
            found[path] = size
            todo.extend(k.source for k in into.of(path))
    return found


def vocabulary(layer: Layer, network: Network) -> int:
    """Number of token numbers that this layer's output can hold; 0 when it holds none."""
    found: dict[str, int] = memo(network, "_vocabularies", lambda: _vocabularies(network))
    return found.get(layer.path, 0)


def unusual_layers(network: Network) -> frozenset[str]:
    """Paths of the layers whose outputs hold token numbers, or channels not along the last axis."""
    axes: dict[str, int] = memo(network, "_channel_axes", lambda: _channel_axes(network))
    tokens: dict[str, int] = memo(network, "_vocabularies", lambda: _vocabularies(network))
    return frozenset(axes) | frozenset(tokens)


def units_of(layer: Layer, network: Network) -> Units:
    """Units of a layer.

    Parameters
    ----------
    layer : Layer
        Of an expanded network (`explorer.weights.composites.expand`).
    network : Network
        The network it belongs to.

    Returns
    -------
    Units
        From the kernel's shape where there is one, else from the configuration, else from the
        output's shape along the channel axis. An input of token numbers has one unit per token.
    """
    tokens = vocabulary(layer, network)
    if tokens:
        return Units(tokens, tokens)
    channels = _kernel_channels(layer) or _configured_channels(layer.config, layer.op)
    heads = heads_of(layer)
    if not channels and heads:
        channels = prod(heads)
    if not channels:
        channels = axis_length(layer.output_shape, channel_axis(layer, network))
    gates = named_gates(layer)
    if not channels and layer.op in ELEMENTWISE and layer.weights:
        shape = layer.weights[0].shape  # a norm in a file that records no shapes
        channels = shape[0] if len(shape) == 1 else 0
    if heads and prod(heads) != channels:
        heads = None
    return Units(channels * max(1, len(gates)), channels, gates, heads)
