"""What ATen's operators compute, in the words of the layers that `explorer.weights` knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from explorer.formats.onnx_model.operators import Meaning
from explorer.network import Shape, Weight

_SAME = {
    "relu": "ReLU", "relu6": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "prelu": "PReLU",
    "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "gelu": "Gelu", "silu": "Silu",
    "selu": "Selu", "celu": "Celu", "mish": "Mish", "hardtanh": "HardTanh", "clamp": "Clip",
    "hardsigmoid": "HardSigmoid", "hardswish": "HardSwish", "log_sigmoid": "LogSigmoid",
    "dropout": "Dropout", "feature_dropout": "Dropout", "alpha_dropout": "Dropout",
    "softmax": "Softmax", "_softmax": "Softmax", "log_softmax": "LogSoftmax",
    "_log_softmax": "LogSoftmax", "contiguous": "Identity", "clone": "Identity",
    "alias": "Identity", "detach": "Identity", "lift_fresh_copy": "Identity", "to": "Cast",
    "_to_copy": "Cast", "type_as": "Cast", "add": "Add", "sub": "Subtract", "mul": "Multiply",
    "div": "Divide", "pow": "Power", "maximum": "Maximum", "minimum": "Minimum", "neg": "Negative",
    "abs": "Abs", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "rsqrt": "Rsqrt", "sin": "Sin",
    "cos": "Cos", "round": "Round", "floor": "Floor", "sign": "Sign", "reciprocal": "Reciprocal",
    "where": "Where", "threshold": "Threshold", "softshrink": "SoftShrink",
}  # fmt: skip
_FIRST = {"data_format": "channels_first"}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
         "running_var": "moving_variance"}  # fmt: skip
_NORMS = {
    "batch_norm": "BatchNormalization", "native_batch_norm": "BatchNormalization",
    "_native_batch_norm_legit": "BatchNormalization", "cudnn_batch_norm": "BatchNormalization",
    "_native_batch_norm_legit_no_training": "BatchNormalization",
    "layer_norm": "LayerNormalization", "native_layer_norm": "LayerNormalization",
    "rms_norm": "RMSNormalization", "_fused_rms_norm": "RMSNormalization",
    "group_norm": "GroupNormalization", "native_group_norm": "GroupNormalization",
    "instance_norm": "GroupNormalization",
}  # fmt: skip
CELLS: dict[str, tuple[str, list[str] | None]] = {
    "lstm": ("LSTM", None),  # the gates are in Keras' order
    "gru": ("GRU", ["reset gate", "update gate", "candidate"]),
    "rnn_tanh": ("SimpleRNN", None),
    "rnn_relu": ("SimpleRNN", None),
}
CONSTANT = frozenset(
    ("zeros", "ones", "full", "empty", "arange", "scalar_tensor", "eye", "linspace", "zeros_like",
     "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
     "rand", "randn", "tril_indices")
)  # fmt: skip
"""Operators that make a tensor out of nothing, whatever they are given."""


@dataclass(frozen=True)
class Node:
    """An operator as the graph calls it.

    Attributes
    ----------
    kind : str
        Its name, ``"conv2d"``.
    values : mapping of str to object
        Its plain arguments.
    weights : mapping of str to Weight
        Its arguments that are tensors of the file.
    turned : frozenset of str
        Those of them that the graph transposes on the way.
    shapes : sequence of (Shape or None)
        Of the tensors that flow into it.
    outputs : sequence of (Shape or None)
    """

    kind: str
    values: Mapping[str, Any]
    weights: Mapping[str, Weight]
    turned: frozenset[str]
    shapes: Sequence[Shape | None]
    outputs: Sequence[Shape | None]

    @property
    def rank(self) -> int:
        """Axes of the first tensor; 0 where it is not known."""
        shape = self.shapes[0] if self.shapes else None
        return 0 if shape is None else len(shape)


def _named(node: Node, roles: Mapping[str, str], axes: Mapping[str, str]) -> tuple[Weight, ...]:
    return tuple(
        replace(w, role=roles.get(name, name), axes=axes.get(name, ""))
        for name, w in node.weights.items()
    )


def _axis(node: Node, name: str, default: int = 0) -> int:
    value = node.values.get(name, default)
    return value if isinstance(value, int) else default


def _conv(node: Node) -> Meaning:
    kernel = node.weights.get("weight")
    if kernel is None or not 3 <= len(kernel.shape) <= 5 or "weight" in node.turned:
        return Meaning(weights=_named(node, {}, {}))
    turned = "transpose" in node.kind or node.values.get("transposed") is True
    rank = len(kernel.shape) - 2
    axes = ("io" if turned else "oi") + "k" * rank
    config = {**_FIRST, "groups": _axis(node, "groups", 1), "kernel_size": list(kernel.shape[2:])}
    weights = _named(node, {"weight": "kernel"}, {"weight": axes})
    return Meaning(f"Conv{rank}D{'Transpose' if turned else ''}", config, weights)


def _matrix(node: Node) -> Meaning:
    """`linear` multiplies with a transposed matrix, the others with what they are given."""
    name = next((n for n in ("weight", "mat2", "other") if n in node.weights), "")
    kernel = node.weights.get(name)
    # What stands on the left is no matrix of a layer, but data that happens to be stored.
    if kernel is None or len(kernel.shape) != 2 or len(node.shapes) != 1:
        return Meaning(weights=_named(node, {}, {}))
    axes = "oi" if (name == "weight") != (name in node.turned) else "io"
    roles = {name: "kernel", "bias": "bias", "self": "bias"}
    weights = _named(node, roles, {name: axes})
    return Meaning("Dense", {"units": kernel.shape[axes.index("o")]}, weights)


def _embedding(node: Node) -> Meaning:
    table = node.weights.get("weight")
    if table is None or len(table.shape) != 2 or node.turned:
        return Meaning(weights=_named(node, {}, {}))
    config = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
    weights = _named(node, {"weight": "embeddings"}, {"weight": "io"})
    return Meaning("Embedding", config, weights)


def _norm(node: Node) -> Meaning:
    first = _FIRST if "layer" not in node.kind and "rms" not in node.kind else {}
    return Meaning(_NORMS[node.kind], dict(first), _named(node, _NORM, {}))


def _same(node: Node) -> Meaning:
    role = {"add": "bias", "mul": "scale", "prelu": "alpha"}.get(node.kind)
    roles = dict.fromkeys(node.weights, role) if role and len(node.weights) == 1 else {}
    return Meaning(_SAME[node.kind], {}, _named(node, {k: v for k, v in roles.items() if v}, {}))


def _pool(node: Node) -> Meaning:
    rank = node.rank - 2
    what = "Max" if "max" in node.kind else "Average"
    if not 1 <= rank <= 3:
        return Meaning()
    out = node.values.get("output_size")
    if "adaptive" not in node.kind:
        sizes = {"pool_size": node.values.get("kernel_size"), "strides": node.values.get("stride")}
        return Meaning(f"{what}Pooling{rank}D", {**_FIRST, **sizes})
    if isinstance(out, list) and set(out) == {1}:
        return Meaning(f"Global{what}Pooling{rank}D", {**_FIRST, "keepdims": True})
    return Meaning(f"Adaptive{what}Pooling{rank}D", {**_FIRST, "output_size": out})


def _mean(node: Node) -> Meaning:
    axes, rank = node.values.get("dim"), node.rank
    if not isinstance(axes, list) or not rank:
        return Meaning("Mean", {"axis": axes})
    if 3 <= rank <= 5 and {a % rank for a in axes} == set(range(2, rank)):
        keep = node.values.get("keepdim") is True
        return Meaning(f"GlobalAveragePooling{rank - 2}D", {**_FIRST, "keepdims": keep})
    return Meaning("Mean", {"axis": [a % rank for a in axes]})


def _reduce(node: Node) -> Meaning:
    name = {"sum": "Sum", "amax": "Max", "amin": "Min", "prod": "Prod"}[node.kind]
    return Meaning(name, {"axis": node.values.get("dim")})


def _cat(node: Node) -> Meaning:
    return Meaning("Concatenate", {"axis": _axis(node, "dim")}, _named(node, {}, {}))


def _split(node: Node) -> Meaning:
    axis, cuts, at = _axis(node, "dim"), [], 0
    for shape in node.outputs:
        length = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
        if length is None:
            return Meaning("Split", {"axis": axis})
        at += length
        cuts.append(at)
    return Meaning("Split", {"axis": axis, "indices_or_sections": cuts[:-1]})


def _flatten(node: Node) -> Meaning:
    start, end = _axis(node, "start_dim"), _axis(node, "end_dim", -1)
    whole = start == 1 and end in (-1, node.rank - 1)
    return Meaning("Flatten" if whole else "Reshape", {})


def _reshape(_: Node) -> Meaning:
    return Meaning("Reshape", {})


def _transpose(node: Node) -> Meaning:
    order, rank = node.values.get("dims"), node.rank
    if node.kind != "permute":
        first, second = (0, 1) if node.kind == "t" else (_axis(node, "dim0"), _axis(node, "dim1"))
        if not rank:
            return Meaning()
        order = list(range(rank))
        order[first % rank], order[second % rank] = order[second % rank], order[first % rank]
    return Meaning("Transpose", {"axes": order})


def _slice(node: Node) -> Meaning:
    rank, axis = node.rank, _axis(node, "dim")
    if not -rank <= axis < rank:
        return Meaning()
    empty: dict[str, Any] = {"start": None, "stop": None, "step": None}
    keys: list[Any] = [{"class_name": "__slice__", "config": dict(empty)} for _ in range(rank)]
    if node.kind == "select":
        keys[axis % rank] = _axis(node, "index")
        return Meaning("GetItem", {"key": keys})
    stop, step = node.values.get("end"), _axis(node, "step", 1)
    if step < 1:
        return Meaning()
    last = stop if isinstance(stop, int) and stop < 1 << 40 else None
    keys[axis % rank]["config"] = {"start": _axis(node, "start"), "stop": last, "step": step}
    return Meaning("GetItem", {"key": keys})


def _squeeze(node: Node) -> Meaning:
    return Meaning("Squeeze" if node.kind == "squeeze" else "ExpandDims", {})


def _attention(node: Node) -> Meaning:
    return Meaning("Attention", {"inputs": ["query", "key", "value"]})


def _space(_: Node) -> Meaning:
    return Meaning("Resizing", dict(_FIRST))


_POOLS = [f"{p}{what}_pool{n}d" for p in ("", "adaptive_") for what in ("max", "avg")
          for n in (1, 2, 3)] + [f"max_pool{n}d_with_indices" for n in (2, 3)]  # fmt: skip
_CONVS = ["convolution", "_convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
          "conv1d", "conv2d", "conv3d"]  # fmt: skip
_RULES: dict[str, Callable[[Node], Meaning]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys([*_POOLS, "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"], _pool),
    **dict.fromkeys(_CONVS, _conv),
    **dict.fromkeys(("linear", "addmm", "mm", "matmul"), _matrix),
    **dict.fromkeys(("sum", "amax", "amin", "prod"), _reduce),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unsafe_split"), _split),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "unflatten"), _reshape),
    **dict.fromkeys(("permute", "transpose", "t"), _transpose),
    **dict.fromkeys(("slice", "select"), _slice),
    **dict.fromkeys(("squeeze", "unsqueeze"), _squeeze),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d"), _space),
    "embedding": _embedding, "mean": _mean, "flatten": _flatten,
    "scaled_dot_product_attention": _attention,
}  # fmt: skip


def meaning(node: Node) -> Meaning:
    """What a node computes; nothing known, and its tensors by argument, for other operators."""
    rule = _RULES.get(node.kind)
    return rule(node) if rule is not None else Meaning(weights=_named(node, {}, {}))


def cells(node: Node, params: Sequence[Weight]) -> list[list[Meaning]]:
    """The layers of a recurrent node, each with its one or two directions; empty if unknown.

    Parameters
    ----------
    node : Node
    params : sequence of Weight
        ``weight_ih``, ``weight_hh`` and, where there are biases, ``bias_ih`` and ``bias_hh`` of
        each layer and direction.
    """
    operation, gates = CELLS[node.kind]
    each = 4 if node.values.get("has_biases") is True else 2
    ways = 2 if node.values.get("bidirectional") is True else 1
    layers = _axis(node, "num_layers", 1)
    if not 1 <= layers <= 1000 or len(params) != each * ways * layers:
        return []  # a projection behind each cell has a matrix of its own
    roles = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    found: list[list[Meaning]] = [[] for _ in range(layers)]
    for number in range(layers * ways):
        own = params[number * each : (number + 1) * each]
        if any(len(w.shape) != 2 for w in own[:2]):
            return []
        config = {"units": own[1].shape[1], **({"gates": gates} if gates else {})}
        weights = tuple(
            replace(w, role=role, axes="oi" if at < 2 else "")
            for at, (w, role) in enumerate(zip(own, roles, strict=False))
        )
        found[number // ways].append(Meaning(operation, config, weights))
    return found
