"""Shapes of what Keras layers put out, for where a file does not record them.

Follows ``compute_output_shape`` of Keras 3 for the layers people use. A shape is a tuple with the
batch axis first and ``None`` for an unknown length; where nothing is known the shape is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from explorer.network import Shape

Shapes = list[Shape | None]
Config = Mapping[str, Any]

_RNN = {"SimpleRNN", "LSTM", "GRU"}
_MERGES = {
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Minimum",
    "Divide",
    "TrueDivide",
    "Pow",
}
_SAME = {
    "Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "ELU",
    "GaussianDropout", "GaussianNoise", "GroupNormalization", "LayerNormalization", "LeakyReLU",
    "Masking", "Normalization", "PReLU", "RMSNormalization", "ReLU", "Rescaling", "Softmax",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "SpectralNormalization",
    "ThresholdedReLU", "UnitNormalization", "Identity", "RandomBrightness", "RandomContrast",
    "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom",
}  # fmt: skip


def read_shape(value: Any) -> Shape | None:
    """A recorded shape, or ``None`` where the value is none."""
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        value = value.get("items")
    if not isinstance(value, (list, tuple)) or len(value) > 32:
        return None
    for n in value:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 2**62):
            return None
    return tuple(value)


def first_shape(build_config: Config) -> Shape | None:
    """The input shape in a layer's build configuration: its only one, or the first of several."""
    value = build_config.get("input_shape", build_config.get("shapes_dict"))
    if isinstance(value, Mapping):
        value = next(iter(value.values()), None)
    shape = read_shape(value)
    if shape is None and isinstance(value, list) and value:
        shape = read_shape(value[0])
    return shape


def output_shapes(kind: str, config: Config, inputs: Shapes, build_config: Config) -> Shapes:
    """Output shapes of a layer.

    Parameters
    ----------
    kind : str
        Class name.
    config, build_config : mapping
        As recorded.
    inputs : list of Shape or None
        Shapes of the tensors that go in; where there are none, the build configuration is asked.

    Returns
    -------
    list of Shape or None
        One per output tensor that is known; empty when nothing is.
    """
    known = [s for s in inputs if s is not None] if all(s is not None for s in inputs) else []
    if not known:
        shape = first_shape(build_config)
        known = [shape] if shape is not None else []
    if not known:
        return []
    try:
        found = _infer(kind, config, known)
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError):
        return []
    return [s if s is None else read_shape(s) for s in found]


def _infer(kind: str, config: Config, inputs: list[Shape]) -> Shapes:
    x = inputs[0]
    if kind in _SAME:
        return [x]
    if kind in _MERGES:
        return [_broadcast(inputs)]
    if kind in _RNN or kind in ("RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        return _recurrent(kind, config, x)
    if kind == "Bidirectional":
        return _bidirectional(config, inputs)
    if kind == "TimeDistributed":
        inner = config["layer"]
        found = _infer(inner["class_name"], inner["config"], [(x[0], *x[2:])])
        return [None if s is None else (s[0], x[1], *s[1:]) for s in found]
    rule = _RULES.get(kind)
    if rule is not None:
        return [rule(config, inputs)]
    for ending, family in _FAMILIES:
        if kind.endswith(ending):
            return [family(kind, config, x)]
    return []


def _broadcast(inputs: list[Shape]) -> Shape:
    rank = max(len(s) for s in inputs)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in inputs]
    result = []
    for lengths in zip(*padded, strict=True):
        wide = [n for n in lengths if n != 1]
        result.append(next((n for n in wide if n is not None), None) if wide else 1)
    return tuple(result)


def _recurrent(kind: str, config: Config, x: Shape) -> Shapes:
    if kind.startswith("ConvLSTM"):
        frame = (x[0], *x[2:])
        tail = _convolved({**config, "groups": 1}, frame, config["filters"])[1:]
    elif kind == "RNN":
        cell = config["cell"]
        cells = cell["config"].get("cells", [cell])
        tail = (cells[-1]["config"]["units"],)
    else:
        tail = (config["units"],)
    whole = (x[0], x[1], *tail) if config.get("return_sequences") else (x[0], *tail)
    if not config.get("return_state"):
        return [whole]
    states = 1 if kind in ("SimpleRNN", "GRU") else 2
    return [whole, *[(x[0], *tail)] * states]


def _bidirectional(config: Config, inputs: list[Shape]) -> Shapes:
    inner = config["layer"]
    found = _infer(inner["class_name"], inner["config"], inputs)
    whole, states = found[0], found[1:]
    if whole is None:
        return []
    mode = config.get("merge_mode", "concat")
    if mode == "concat":
        return [(*whole[:-1], whole[-1] * 2), *states, *states]  # type: ignore[operator]
    return [whole, whole, *states, *states] if mode is None else [whole, *states, *states]


def _spatial(config: Config, x: Shape) -> tuple[Shape, int | None]:
    """Lengths along the spatial axes, and the number of channels."""
    if config.get("data_format") == "channels_first":
        return x[2:], x[1]
    return x[1:-1], x[-1]


def _arranged(config: Config, batch: int | None, spatial: Shape, channels: int | None) -> Shape:
    if config.get("data_format") == "channels_first":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


def _windowed(n: int | None, size: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    if n is None:
        return None
    reach = (size - 1) * dilation + 1
    if padding in ("same", "causal"):
        return -(-n // stride)
    return max((n - reach) // stride + 1, 0)


def _convolved(config: Config, x: Shape, channels: int | None) -> Shape:
    spatial, _ = _spatial(config, x)
    count = len(spatial)
    windows = zip(
        spatial,
        _each(config["kernel_size"], count),
        _each(config.get("strides", 1), count),
        _each(config.get("dilation_rate", 1), count),
        strict=True,
    )
    padding = config.get("padding", "valid")
    out = tuple(_windowed(n, k, s, padding, d) for n, k, s, d in windows)
    return _arranged(config, x[0], out, channels)


def _conv(kind: str, config: Config, x: Shape) -> Shape:
    if "Depthwise" in kind:
        channels = _spatial(config, x)[1]
        wide = None if channels is None else channels * config.get("depth_multiplier", 1)
        return _convolved(config, x, wide)
    return _convolved(config, x, config["filters"])


def _conv_transpose(kind: str, config: Config, x: Shape) -> Shape:
    spatial, _ = _spatial(config, x)
    count = len(spatial)
    extra = config.get("output_padding")
    out: list[int | None] = []
    for n, size, stride, dilation, more in zip(
        spatial,
        _each(config["kernel_size"], count),
        _each(config.get("strides", 1), count),
        _each(config.get("dilation_rate", 1), count),
        _each(extra, count),
        strict=True,
    ):
        reach = (size - 1) * dilation + 1
        same = config.get("padding", "valid") == "same"
        if n is None:
            out.append(None)
        elif more is None:
            out.append(n * stride if same else n * stride + max(reach - stride, 0))
        else:
            pad = reach // 2 if same else 0
            out.append((n - 1) * stride + reach - 2 * pad + more)
    return _arranged(config, x[0], tuple(out), config["filters"])


def _pool(kind: str, config: Config, x: Shape) -> Shape:
    spatial, channels = _spatial(config, x)
    if kind.startswith("Global"):
        ones = (1,) * len(spatial) if config.get("keepdims") else ()
        return _arranged(config, x[0], ones, channels)
    size = config["pool_size"]
    strides = size if config.get("strides") is None else config["strides"]
    return _convolved({**config, "kernel_size": size, "strides": strides}, x, channels)


def _pairs(value: Any, count: int) -> list[tuple[int, int]]:
    if isinstance(value, int):
        return [(value, value)] * count
    if count == 1 and len(value) == 2 and all(isinstance(v, int) for v in value):
        return [(value[0], value[1])]
    return [(v, v) if isinstance(v, int) else (v[0], v[1]) for v in value]


def _padded(kind: str, config: Config, x: Shape) -> Shape:
    sign = 1 if kind.startswith("Zero") else -1
    spatial, channels = _spatial(config, x)
    pairs = _pairs(config["padding" if sign > 0 else "cropping"], len(spatial))
    out = tuple(
        None if n is None else n + sign * (a + b) for n, (a, b) in zip(spatial, pairs, strict=True)
    )
    return _arranged(config, x[0], out, channels)


def _upsampled(kind: str, config: Config, x: Shape) -> Shape:
    spatial, channels = _spatial(config, x)
    sizes = _each(config["size"], len(spatial))
    out = tuple(None if n is None else n * s for n, s in zip(spatial, sizes, strict=True))
    return _arranged(config, x[0], out, channels)


def _product(lengths: Shape) -> int | None:
    return None if any(n is None for n in lengths) else prod(n for n in lengths if n is not None)


def _reshape(config: Config, inputs: list[Shape]) -> Shape:
    target = config["target_shape"]
    total = _product(inputs[0][1:])
    known = prod(n for n in target if n is not None and n != -1)
    free = None if total is None or not known else total // known
    return (inputs[0][0], *(free if n in (-1, None) else n for n in target))


def _concatenate(config: Config, inputs: list[Shape]) -> Shape:
    rank = len(inputs[0])
    axis = config.get("axis", -1) % rank
    lengths = [s[axis] for s in inputs]
    total = None if None in lengths else sum(n for n in lengths if n is not None)
    return (*inputs[0][:axis], total, *inputs[0][axis + 1 :])


def _attention(config: Config, inputs: list[Shape]) -> Shape:
    output = config.get("output_shape")
    query = inputs[0]
    if output is None:
        return query
    return (*query[:-1], *_each(output, 1))


def _einsum(config: Config, inputs: list[Shape]) -> Shape:
    left, output = config["equation"].replace(" ", "").split("->")
    source = left.split(",")[0].replace("...", "0")
    lengths = dict(zip(reversed(source), reversed(inputs[0]), strict=False))
    lengths.update(zip(source, inputs[0], strict=False) if "0" not in source else ())
    axes = output.replace("...", "0")
    given = _each(config["output_shape"], 1)
    batch = len(axes) - len(given)
    if "0" in axes or batch < 0:
        return (inputs[0][0], *given)
    shape: list[int | None] = [lengths.get(a) for a in axes[:batch]]
    for axis, n in zip(axes[batch:], given, strict=True):
        shape.append(lengths.get(axis) if n is None else n)
    return tuple(shape)


def _dot(config: Config, inputs: list[Shape]) -> Shape:
    axes = _each(config["axes"], 2)
    a, b = inputs
    i, j = axes[0] % len(a), axes[1] % len(b)
    rest = (*a[:i], *a[i + 1 :], *b[1:j], *b[j + 1 :])
    return rest if len(rest) > 1 else (rest[0], 1)


_RULES: dict[str, Callable[[Config, list[Shape]], Shape]] = {
    "InputLayer": lambda c, i: i[0],
    "Dense": lambda c, i: (*i[0][:-1], c["units"]),
    "Embedding": lambda c, i: (*i[0], c["output_dim"]),
    "Flatten": lambda c, i: (i[0][0], _product(i[0][1:])),
    "Reshape": _reshape,
    "Permute": lambda c, i: (i[0][0], *(i[0][d] for d in c["dims"])),
    "RepeatVector": lambda c, i: (i[0][0], c["n"], i[0][1]),
    "Concatenate": _concatenate,
    "MultiHeadAttention": _attention,
    "GroupedQueryAttention": _attention,
    "GroupQueryAttention": _attention,
    "Attention": lambda c, i: (*i[0][:-1], i[1][-1]),
    "AdditiveAttention": lambda c, i: (*i[0][:-1], i[1][-1]),
    "EinsumDense": _einsum,
    "Dot": _dot,
    "Resizing": lambda c, i: _arranged(c, i[0][0], (c["height"], c["width"]), _spatial(c, i[0])[1]),
}

_FAMILIES: tuple[tuple[str, Callable[[str, Config, Shape], Shape]], ...] = tuple(
    (f"{stem}{n}D", family)
    for stem, family in (
        ("Conv", _conv),
        ("Pooling", _pool),
        ("ZeroPadding", _padded),
        ("Cropping", _padded),
        ("UpSampling", _upsampled),
    )
    for n in (1, 2, 3)
) + tuple((f"Conv{n}DTranspose", _conv_transpose) for n in (1, 2, 3))
