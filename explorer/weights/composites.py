"""Layers that a file counts as one but that consist of parts: attention, bidirectional, separable.

`expand` turns each into a composite scope with its parts as layers, so that every part has its own
units and its own weights, and everything above sees plain layers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from explorer.network import Layer, Link, Network, Scope, Shape, Weight
from explorer.weights.tidy import tidy
from explorer.weights.units import whole

_LETTERS = "abcdefghijklmnopqrstuvw"
Places = tuple[tuple[str, int], ...]
Ends = dict[int, Places]
"""Per tensor of the composite: the parts and their tensors that stand for it."""


@dataclass(frozen=True)
class Parts:
    """What a composite layer becomes.

    Attributes
    ----------
    layers : tuple of Layer
        In order of flow.
    links : tuple of Link
        Between the parts.
    inputs : dict
        Input tensor of the composite → (part, its input) pairs that read it.
    outputs : dict
        Output tensor of the composite → (part, its output) pairs that make it.
    """

    layers: tuple[Layer, ...]
    links: tuple[Link, ...]
    inputs: Ends
    outputs: Ends


def stripped(layer: Layer, prefix: str) -> tuple[Weight, ...]:
    """Weights whose role begins with ``prefix/``, under the role without it."""
    cut = len(prefix) + 1
    return tuple(
        replace(w, role=w.role[cut:]) for w in layer.weights if w.role.startswith(prefix + "/")
    )


def _shape_of(layer: Layer, index: int) -> Shape | None:
    return layer.input_shapes[index] if index < len(layer.input_shapes) else None


def _with_last(shape: Shape | None, *last: int | None) -> Shape | None:
    return None if shape is None else (*shape[:-1], *last)


def _projection(path: str, kernel: tuple[int, ...], weights: tuple[Weight, ...],
                shape: Shape | None) -> Layer:  # fmt: skip
    """The layer that makes queries, keys, values or gates: units are heads × components."""
    heads, dim = kernel[1:]
    free = _LETTERS[: len(shape) - 1 if shape else 2]
    config = {
        "equation": f"{free}x,xyz->{free}yz",
        "heads": heads,
        "head_dim": dim,
        "num_heads": heads,
        "key_dim": dim,
    }
    into = () if shape is None else (shape,)
    return Layer(path, "EinsumDense", config, into, _with_last(shape, heads, dim), weights)


def _attention_parts(layer: Layer, links: tuple[Link, ...]) -> Parts | None:
    """Query, key, value, mixing and output of a (grouped-query) multi-head attention."""
    shapes = {i: _shape_of(layer, i) for i in range(3)}
    shapes |= {k.target_input: k.shape for k in links if k.call == 0 and k.shape is not None}
    names = ("query", "key", "value", "gate", "attention_output")
    weights = {n: stripped(layer, n) for n in names}
    kernels = {
        n: next((w.shape for w in ws if w.role == "kernel"), ()) for n, ws in weights.items()
    }
    if any(len(kernel) != 3 for n, kernel in kernels.items() if n != "gate" or weights[n]):
        return None
    given = {k.target_input for k in links}
    key = 2 if 2 in given and _is_key(shapes.get(2), shapes.get(1), kernels["key"]) else 1
    reads = {"query": 0, "key": key, "value": 1, "gate": 0}
    path, made = layer.path, {}
    for name, source in reads.items():
        if weights[name]:
            shape = shapes.get(source) or shapes[0]
            made[name] = _projection(f"{path}/{name}", kernels[name], weights[name], shape)
    rest = tuple(w for w in layer.weights if w.role.split("/")[0] not in names)
    inner = _mixing(layer, made, kernels, rest)
    made["attention_output"] = _attention_output(layer, made, weights["attention_output"])
    last = made["gated" if "gated" in made else "attention"]
    inner.append(Link(last.path, f"{path}/attention_output", shape=last.output_shape))
    into: dict[int, list[tuple[str, int]]] = {}
    for name, source in reads.items():
        if name in made:
            into.setdefault(source, []).append((made[name].path, 0))
    for index in given - set(into):
        into[index] = [(f"{path}/attention", index + 1)]
    out: Ends = {0: ((f"{path}/attention_output", 0),), 1: ((f"{path}/attention", 1),)}
    ends: Ends = {index: tuple(places) for index, places in into.items()}
    return Parts(tuple(made.values()), tuple(inner), ends, out)


def _mixing(layer: Layer, made: dict[str, Layer], kernels: Mapping[str, tuple[int, ...]],
            rest: tuple[Weight, ...]) -> list[Link]:  # fmt: skip
    """Add the mixing over time, and the gate behind it if there is one; links into them."""
    heads, dim = kernels["attention_output"][:2]
    shape = _with_last(made["query"].input_shapes[0] if made["query"].input_shapes else None,
                       heads, dim)  # fmt: skip
    config = {
        "heads": heads,
        "head_dim": dim,
        "num_heads": heads,
        "key_dim": kernels["query"][2],
        "value_heads": kernels["value"][1],
        "inputs": ["query", "key", "value"],
    }
    parts = [made[n] for n in ("query", "key", "value")]
    shapes = tuple(p.output_shape for p in parts if p.output_shape is not None)
    mix = Layer(f"{layer.path}/attention", "Attention", config,
                shapes if len(shapes) == 3 else (), shape, rest)  # fmt: skip
    made["attention"] = mix
    links = [Link(p.path, mix.path, 0, i, 0, p.output_shape) for i, p in enumerate(parts)]
    if "gate" in made:
        both = () if shape is None else (shape, shape)
        gated = Layer(f"{layer.path}/gated", "Multiply", {"heads": heads, "head_dim": dim},
                      both, shape)  # fmt: skip
        made["gated"] = gated
        links += [Link(mix.path, gated.path, 0, 0, 0, shape),
                  Link(made["gate"].path, gated.path, 0, 1, 0, shape)]  # fmt: skip
    return links


def _attention_output(layer: Layer, made: Mapping[str, Layer],
                      weights: tuple[Weight, ...]) -> Layer:  # fmt: skip
    """The layer that joins the heads."""
    shape = made["attention"].output_shape
    free = _LETTERS[: len(shape) - 2 if shape else 2]
    width = next(w.shape[2] for w in weights if w.role == "kernel")
    out = layer.output_shape or (None if shape is None else (*shape[:-2], width))
    return Layer(
        f"{layer.path}/attention_output",
        "EinsumDense",
        {"equation": f"{free}xy,xyz->{free}z"},
        () if shape is None else (shape,),
        out,
        weights,
    )


def _is_key(shape: Shape | None, value: Shape | None, kernel: tuple[int, ...]) -> bool:
    """Whether the third tensor of an attention call is the key rather than a mask."""
    if shape is None:
        return True
    if not shape or whole(shape[-1]) != kernel[0]:
        return False
    return value is None or (len(shape) == len(value) and shape[1:-1] == value[1:-1])


_MERGES = {"concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average"}


def _inner(config: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]] | None:
    """Class name and configuration of a wrapped layer."""
    entry = config.get(name)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        return None
    inner = entry.get("config")
    return entry["class_name"], dict(inner) if isinstance(inner, Mapping) else {}


def _bidirectional_parts(layer: Layer, links: tuple[Link, ...]) -> Parts | None:
    """A forward and a backward pass, and what joins them."""
    forward = _inner(layer.config, "layer")
    if forward is None:
        return None
    backward = _inner(layer.config, "backward_layer") or forward
    mode = layer.config.get("merge_mode", "concat")
    shape = _shape_of(layer, 0)
    width = whole(forward[1].get("units")) or whole(forward[1].get("filters")) or None
    whole_shape = layer.output_shape
    if whole_shape is None and shape is not None and len(shape) == 3:
        steps = (shape[1],) if forward[1].get("return_sequences") else ()
        whole_shape = (shape[0], *steps, (2 * width if mode == "concat" and width else width))
    half = _with_last(whole_shape, width)
    ends = [
        Layer(f"{layer.path}/{name}", kind, config, layer.input_shapes[:1], half,
              stripped(layer, name))
        for name, (kind, config) in (("forward", forward), ("backward", backward))
    ]  # fmt: skip
    f, b = (e.path for e in ends)
    states = sorted({k.target_input for k in links} - {0})
    into: Ends = {0: ((f, 0), (b, 0))}
    for n, index in enumerate(states):
        side = n < len(states) / 2
        into[index] = ((f, n + 1),) if side else ((b, n + 1 - len(states) // 2),)
    kept = 2 if forward[0].endswith("LSTM") or forward[0].startswith("ConvLSTM") else 1
    first = 1 if mode in _MERGES else 2
    out: Ends = {first + j: ((f, j + 1),) if j < kept else ((b, j + 1 - kept),)
                 for j in range(2 * kept)}  # fmt: skip
    if mode not in _MERGES:
        return Parts(tuple(ends), (), into, out | {0: ((f, 0),), 1: ((b, 0),)})
    merge = Layer(f"{layer.path}/merge", _MERGES[mode], {"axis": -1} if mode == "concat" else {},
                  () if half is None else (half, half), whole_shape)  # fmt: skip
    inner = tuple(Link(e.path, merge.path, 0, i, 0, half) for i, e in enumerate(ends))
    return Parts((*ends, merge), inner, into, out | {0: ((merge.path, 0),)})


def _separable_parts(layer: Layer, links: tuple[Link, ...]) -> Parts | None:
    """A depthwise and a pointwise convolution."""
    kernel, point = layer.weight("depthwise_kernel"), layer.weight("pointwise_kernel")
    if kernel is None or point is None or len(kernel.shape) not in (3, 4):
        return None
    rank = len(kernel.shape) - 2
    space = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier",
             "data_format")  # fmt: skip
    first = {key: layer.config[key] for key in space if key in layer.config}
    second = {key: v for key, v in layer.config.items() if key not in space}
    second |= {"kernel_size": [1] * rank, "data_format": layer.config.get("data_format")}
    out, width = layer.output_shape, kernel.shape[-2] * kernel.shape[-1]
    last = layer.config.get("data_format") != "channels_first"
    between = _with_last(out, width) if last else out and (out[0], width, *out[2:])
    depth = Layer(f"{layer.path}/depthwise", f"DepthwiseConv{rank}D", first,
                  layer.input_shapes[:1], between, (kernel,))  # fmt: skip
    rest = tuple(replace(w, role="kernel") if w is point else w
                 for w in layer.weights if w is not kernel)  # fmt: skip
    mix = Layer(f"{layer.path}/pointwise", f"Conv{rank}D", second,
                () if between is None else (between,), out, rest)  # fmt: skip
    return Parts((depth, mix), (Link(depth.path, mix.path, 0, 0, 0, between),),
                 {0: ((depth.path, 0),)}, {0: ((mix.path, 0),)})  # fmt: skip


_Split = Callable[[Layer, tuple[Link, ...]], Parts | None]
_SPLITS: dict[str, _Split] = {
    "MultiHeadAttention": _attention_parts,
    "GroupQueryAttention": _attention_parts,
    "GroupedQueryAttention": _attention_parts,
    "Bidirectional": _bidirectional_parts,
    "SeparableConv1D": _separable_parts,
    "SeparableConv2D": _separable_parts,
    "SeparableConvolution1D": _separable_parts,
    "SeparableConvolution2D": _separable_parts,
}
_WRAPPERS = frozenset(("TimeDistributed", "SpectralNormalization", "RNN"))
_CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}


def unwrapped(layer: Layer) -> Layer:
    """A layer under the kind of what it wraps: ``TimeDistributed(X)``, ``RNN(LSTMCell)``.

    ``SpectralNormalization(X)`` stores the weights already divided by their norm.
    """
    for _ in range(8):
        if layer.op in ("TimeDistributed", "SpectralNormalization"):
            inner = _inner(layer.config, "layer")
            if inner is None:
                return layer
            over = {"time_distributed": True} if layer.op == "TimeDistributed" else {}
            layer = replace(layer, kind=inner[0], operation="", config={**inner[1], **over})
            continue
        cell = _inner(layer.config, "cell") if layer.op == "RNN" else None
        if cell is None or cell[0] not in _CELLS:
            return layer
        outer = {k: v for k, v in layer.config.items() if k != "cell"}
        layer = replace(layer, kind=_CELLS[cell[0]], operation="", config={**cell[1], **outer})
    return layer


def _rerouted(link: Link, parts: Mapping[str, Parts]) -> list[Link]:
    """A link with its composite ends replaced by the parts that stand for them."""
    source, target = parts.get(link.source), parts.get(link.target)
    starts: Places = ((link.source, link.source_output),)
    if source is not None:
        starts = source.outputs.get(link.source_output) or source.outputs[0]
    ends: Places = ((link.target, link.target_input),)
    if target is not None:
        ends = target.inputs.get(link.target_input) or target.inputs[0]
    return [
        replace(link, source=s, source_output=o, target=t, target_input=i)
        for s, o in starts
        for t, i in ends
    ]


def expand(network: Network) -> Network:
    """The same network with every composite layer turned into a scope and its parts.

    Parameters
    ----------
    network : Network
        As a format read it.

    Returns
    -------
    Network
        Parts stand where their composite stood; weights keep their names and lose the prefix of
        their role; links lead into every part that reads the tensor and out of the part that makes
        it. A composite whose weights do not have the expected shapes stays as it is. Names are
        clean, see `explorer.weights.tidy.tidy`.

    Raises
    ------
    ModelError
        If two layers have the same path, or a link has an end that is no layer.
    """
    network = tidy(network)
    layers, scopes, links = network.layers, network.scopes, network.links
    changed = True
    while changed:  # a bidirectional layer may itself be wrapped in another composite
        kinds = set(map(attrgetter("op"), layers))
        if not kinds.isdisjoint(_WRAPPERS):
            layers = tuple(unwrapped(layer) for layer in layers)
            kinds = set(map(attrgetter("op"), layers))
        if kinds.isdisjoint(_SPLITS):
            break
        into: dict[str, list[Link]] = {la.path: [] for la in layers if la.op in _SPLITS}
        for link in links:
            if link.target in into:
                into[link.target].append(link)
        parts: dict[str, Parts] = {}
        for layer in layers:
            split = _SPLITS.get(layer.op)
            made = split(layer, tuple(into[layer.path])) if split else None
            if made is not None:
                parts[layer.path] = made
        changed = bool(parts)
        if not changed:
            break
        scopes += tuple(
            Scope(la.path, la.kind, la.config, composite=True) for la in layers if la.path in parts
        )
        inner = [link for p in parts.values() for link in p.links]
        links = tuple(new for link in links for new in _rerouted(link, parts)) + tuple(inner)
        layers = tuple(
            part for la in layers for part in (parts[la.path].layers if la.path in parts else [la])
        )
    return replace(network, layers=layers, scopes=scopes, links=links)
