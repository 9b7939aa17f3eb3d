"""What the operators of ONNX compute, in the words of the layers that `explorer.weights` knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from explorer.formats.onnx_model.quantised import gather_block, matmul_nbits, scaled
from explorer.network import Shape, Weight

_SAME = {
    "Relu": "ReLU", "LeakyRelu": "LeakyReLU", "Elu": "ELU", "PRelu": "PReLU", "Sigmoid": "Sigmoid",
    "Tanh": "Tanh", "Softplus": "Softplus", "Softsign": "Softsign", "Gelu": "Gelu", "Selu": "Selu",
    "HardSigmoid": "HardSigmoid", "HardSwish": "HardSwish", "Mish": "Mish", "Celu": "Celu",
    "Clip": "Clip", "Dropout": "Dropout", "Identity": "Identity", "Cast": "Cast", "Erf": "Identity",
    "Sqrt": "Sqrt", "Exp": "Exp", "Log": "Log", "Abs": "Abs", "Neg": "Negative", "Floor": "Floor",
    "Ceil": "Ceil", "Round": "Round", "Sign": "Sign", "Reciprocal": "Reciprocal", "Sin": "Sin",
    "Cos": "Cos", "Pow": "Power", "Add": "Add", "Sub": "Subtract", "Mul": "Multiply",
    "Div": "Divide", "Max": "Maximum", "Min": "Minimum", "Mean": "Average", "Sum": "Add",
    "Where": "Where", "Mod": "Mod", "ThresholdedRelu": "ThresholdedReLU", "Swish": "Swish",
    "QuantizeLinear": "Identity", "DequantizeLinear": "Identity", "DynamicQuantizeLinear": "",
    "LayerNormalization": "LayerNormalization", "RMSNormalization": "RMSNormalization",
    "SimplifiedLayerNormalization": "RMSNormalization", "Softmax": "Softmax",
    "LogSoftmax": "LogSoftmax", "FastGelu": "Gelu", "QuickGelu": "Gelu", "BiasGelu": "Gelu",
}  # fmt: skip
_FIRST = {"data_format": "channels_first"}
_REDUCE = {f"Reduce{name}": name for name in ("Mean", "Sum", "Max", "Min", "Prod")}
_CELLS = {
    "LSTM": ("LSTM", ["input gate", "output gate", "forget gate", "cell"]),
    "GRU": ("GRU", ["update gate", "reset gate", "candidate"]),
    "RNN": ("SimpleRNN", None),
}
# Where operators of quantised graphs have codes, scales, zero points and a bias, by position.
_CODED = {
    "QLinearConv": (3, 4, 5, 8), "QLinearMatMul": (3, 4, 5, -1), "QGemm": (3, 4, 5, 6),
    "DynamicQuantizeMatMul": (1, 2, 3, 4), "MatMulIntegerToFloat": (1, 3, 5, 6),
}  # fmt: skip


class Node(NamedTuple):
    """An operator as the graph calls it.

    Attributes
    ----------
    kind : str
        Its type.
    attributes : mapping
        Plain values.
    weights : mapping of int to Weight
        Its inputs that are tensors of the file, by position.
    constants : mapping of int to tuple
        Values of its small inputs of whole numbers, by position.
    shapes : sequence of (Shape or None)
        Of its inputs.
    output : Shape or None
        Of its first output.
    turned : frozenset of int
        Positions of matrices that the file holds transposed.
    inputs : sequence of str
        Their names.
    shown : mapping
        `attributes` as clean JSON values.
    """

    kind: str
    attributes: Mapping[str, Any]
    weights: Mapping[int, Weight]
    constants: Mapping[int, tuple[int, ...]]
    shapes: Sequence[Shape | None]
    output: Shape | None
    turned: frozenset[int] = frozenset()
    inputs: Sequence[str] = ()
    shown: Mapping[str, Any] = MappingProxyType({})


class Meaning(NamedTuple):
    """What a node computes.

    Attributes
    ----------
    operation : str
        Name of a Keras layer; empty where none computes the same.
    config : mapping
    weights : tuple of Weight
        With their roles.
    """

    operation: str = ""
    config: Mapping[str, Any] = MappingProxyType({})
    weights: tuple[Weight, ...] = ()


def _role(w: Weight, role: str, axes: str = "") -> Weight:
    return Weight(w.name, role, w.shape, w.dtype, w.where, w.packing, axes)


def _rest(node: Node, named: Mapping[int, str]) -> tuple[Weight, ...]:
    """Weights under roles by position; what has none keeps its number."""
    return tuple(_role(w, named.get(at, f"input_{at}")) for at, w in sorted(node.weights.items()))


def _conv(node: Node) -> Meaning:
    kernel = node.weights.get(1)
    if kernel is None or len(kernel.shape) < 3:
        return Meaning(weights=_rest(node, {}))
    rank = len(kernel.shape) - 2
    turned = node.kind == "ConvTranspose"
    axes = ("io" if turned else "oi") + "k" * rank
    groups = node.attributes.get("group", 1)
    config = {**_FIRST, "groups": groups, "kernel_size": list(kernel.shape[2:]),
              "strides": node.attributes.get("strides", []),
              "dilations": node.attributes.get("dilations", [])}  # fmt: skip
    weights = (_role(kernel, "kernel", axes), *(_role(w, "bias") for at, w in node.weights.items()
                                                if at > 1))  # fmt: skip
    return Meaning(f"Conv{rank}D{'Transpose' if turned else ''}", config, weights)


def _gemm(node: Node) -> Meaning:
    kernel = node.weights.get(1)
    if kernel is None or len(kernel.shape) != 2 or node.attributes.get("transA", 0):
        return Meaning(weights=_rest(node, {}))
    axes = "oi" if bool(node.attributes.get("transB", 0)) != (1 in node.turned) else "io"
    config = {"units": kernel.shape[axes.index("o")]}
    bias = tuple(_role(w, "bias") for at, w in node.weights.items() if at > 1)
    return Meaning("Dense", config, (_role(kernel, "kernel", axes), *bias))


def _matmul(node: Node) -> Meaning:
    kernel = node.weights.get(1)
    if kernel is None or len(kernel.shape) != 2:
        return Meaning(weights=_rest(node, {}))
    axes = "oi" if 1 in node.turned else "io"
    bias = tuple(_role(w, "bias") for at, w in node.weights.items() if at > 1)
    units = kernel.shape[axes.index("o")]
    return Meaning("Dense", {"units": units}, (_role(kernel, "kernel", axes), *bias))


def _batch_norm(node: Node) -> Meaning:
    roles = {1: "gamma", 2: "beta", 3: "moving_mean", 4: "moving_variance"}
    return Meaning("BatchNormalization", {}, _rest(node, roles))


def _instance_norm(node: Node) -> Meaning:
    return Meaning("GroupNormalization", {}, _rest(node, {1: "gamma", 2: "beta"}))


def _matmul_nbits(node: Node) -> Meaning:
    kernel = matmul_nbits(node.weights, node.attributes)
    if kernel is None:
        return Meaning(weights=_rest(node, {}))
    bias = tuple(_role(w, "bias") for at, w in node.weights.items() if at == 5)
    return Meaning("Dense", {"units": kernel.shape[0]}, (_role(kernel, "kernel", "oi"), *bias))


def _gather_block(node: Node) -> Meaning:
    table = gather_block(node.weights, node.attributes)
    if table is None or node.attributes.get("gather_axis", 0) != 0:
        return Meaning(weights=_rest(node, {}))
    return _gather(node._replace(weights={0: table}, attributes={}))


def _coded(node: Node) -> Meaning:
    """Operators that take codes and their scales beside each other."""
    codes, scale, zero, bias = _CODED[node.kind]
    given = node.weights
    rule, axis = _gemm, 1
    if node.kind == "QLinearConv":
        rule, axis = _conv, 0
    elif node.attributes.get("transB", 0):
        axis = 0
    kernel = scaled(given.get(codes), given.get(scale), given.get(zero), {"axis": axis})
    if kernel is None:
        return Meaning(weights=_rest(node, {}))
    weights = {1: kernel, **({2: given[bias]} if bias in given else {})}
    return rule(node._replace(weights=weights, turned=frozenset()))


def _gather(node: Node) -> Meaning:
    table = node.weights.get(0)
    fits = table is not None and len(table.shape) == 2 and 0 not in node.turned
    if fits and table is not None and node.attributes.get("axis", 0) == 0:
        config = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
        return Meaning("Embedding", config, (_role(table, "embeddings", "io"),))
    return Meaning(weights=_rest(node, {}))


def _pool(node: Node) -> Meaning:
    shape = node.shapes[0] if node.shapes else None
    rank = len(shape) - 2 if shape is not None else 2
    what = "Max" if "Max" in node.kind else "Average"
    if not 1 <= rank <= 3:
        return Meaning()
    if node.kind.startswith("Global"):
        return Meaning(f"Global{what}Pooling{rank}D", {**_FIRST, "keepdims": True})
    config = {**_FIRST, "pool_size": node.attributes.get("kernel_shape", []),
              "strides": node.attributes.get("strides", [])}  # fmt: skip
    return Meaning(f"{what}Pooling{rank}D", config)


def _flatten(node: Node) -> Meaning:
    return Meaning("Flatten" if node.attributes.get("axis", 1) == 1 else "", {})


def _concat(node: Node) -> Meaning:
    return Meaning("Concatenate", {"axis": node.attributes.get("axis", 1)}, _rest(node, {}))


def _split(node: Node) -> Meaning:
    sizes = node.attributes.get("split") or node.constants.get(1)
    axis = node.attributes.get("axis", 0)
    if sizes:
        cuts = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        return Meaning("Split", {"axis": axis, "indices_or_sections": cuts})
    parts = node.attributes.get("num_outputs")
    return Meaning(
        "Split", {"axis": axis, "indices_or_sections": parts} if parts else {"axis": axis}
    )


def _transpose(node: Node) -> Meaning:
    order = node.attributes.get("perm")
    return Meaning("Transpose", {"axes": list(order)} if order else {})


def _reduce(node: Node) -> Meaning:
    axes = node.attributes.get("axes") or node.constants.get(1)
    shape = node.shapes[0] if node.shapes else None
    spatial = shape is not None and axes and len(shape) in (3, 4, 5)
    if spatial and node.kind == "ReduceMean" and shape is not None:
        wanted = set(range(2, len(shape)))
        if {a % len(shape) for a in axes or ()} == wanted:
            keep = bool(node.attributes.get("keepdims", 1))
            return Meaning(f"GlobalAveragePooling{len(shape) - 2}D", {**_FIRST, "keepdims": keep})
    return Meaning(_REDUCE[node.kind], {"axis": list(axes) if axes else None})


def _slice(node: Node) -> Meaning:
    starts, stops = node.constants.get(1), node.constants.get(2)
    shape = node.shapes[0] if node.shapes else None
    if starts is None or stops is None or shape is None:
        return Meaning()
    axes = node.constants.get(3, tuple(range(len(starts))))
    steps = node.constants.get(4, (1,) * len(starts))
    if not len(starts) == len(stops) == len(axes) == len(steps):
        return Meaning()
    whole: dict[str, Any] = {"start": None, "stop": None, "step": None}
    keys: list[dict[str, Any]] = [{"class_name": "__slice__", "config": dict(whole)} for _ in shape]
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        if not -len(shape) <= axis < len(shape) or step < 1:
            return Meaning()
        last = None if stop > 1 << 30 else stop
        keys[axis % len(shape)]["config"] = {"start": start, "stop": last, "step": step}
    return Meaning("GetItem", {"key": keys})


def _squeeze(node: Node) -> Meaning:
    return Meaning("Squeeze" if node.kind == "Squeeze" else "ExpandDims", {})


def _reshape(node: Node) -> Meaning:
    return Meaning("Reshape", {"target_shape": list(node.constants.get(1, ()))})


def _space(_: Node) -> Meaning:
    return Meaning("Resizing", dict(_FIRST))


def _pad(node: Node) -> Meaning:
    return Meaning("Pad", {"pads": list(node.constants.get(1, node.attributes.get("pads", ())))})


def _skip_norm(node: Node) -> Meaning:
    """A sum and its norm in one: units stay what they are."""
    beta = "beta" if node.kind == "SkipLayerNormalization" else "bias"
    return Meaning("Add", {}, _rest(node, {2: "gamma", 3: beta, 4: "bias"}))


def _norm(node: Node) -> Meaning:
    return Meaning(_SAME[node.kind], {}, _rest(node, {1: "gamma", 2: "beta"}))


def _same(node: Node) -> Meaning:
    if not node.weights:
        return _WITHOUT_WEIGHTS[node.kind]
    roles = {1: "bias"} if node.kind == "Add" else {1: "scale"} if node.kind == "Mul" else {}
    if len(node.weights) == 1 and node.kind in ("Add", "Mul"):
        roles = dict.fromkeys(node.weights, next(iter(roles.values())))
    return Meaning(_SAME[node.kind], {}, _rest(node, roles))


_WITHOUT_WEIGHTS = {kind: Meaning(operation) for kind, operation in _SAME.items()}
_RULES: dict[str, Callable[[Node], Meaning]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
                    _norm),
    **dict.fromkeys(_REDUCE, _reduce),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"), _pool),
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    **dict.fromkeys(("Resize", "Upsample"), _space),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), _squeeze),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _instance_norm),
    "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _batch_norm, "Gather": _gather,
    "Flatten": _flatten, "Concat": _concat, "Split": _split, "Transpose": _transpose,
    "Slice": _slice, "Reshape": _reshape, "Pad": _pad, "MatMulNBits": _matmul_nbits,
    "GatherBlockQuantized": _gather_block, "FusedConv": _conv,
    **dict.fromkeys(("FusedGemm", "FusedMatMul"), _gemm),
    **dict.fromkeys(_CODED, _coded),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_norm),
}  # fmt: skip


def meaning(node: Node) -> Meaning:
    """What a node computes; nothing known, and its tensors by number, for other operators."""
    rule = _RULES.get(node.kind)
    if rule is None:
        return Meaning(weights=_rest(node, {}))
    found = rule(node)
    if 0 in node.weights and not found.weights:  # a tensor of the file that is cut or turned
        found = found._replace(weights=(_role(node.weights[0], "input_0"),))
    return found


_STATES = {5: "initial_state", 6: "initial_cell", 7: "peephole"}


def directions(node: Node) -> list[tuple[str, Meaning]]:
    """The directions of a recurrent node, each a layer: its name, and what it computes."""
    operation, gates = _CELLS[node.kind]
    kernel, again = node.weights.get(1), node.weights.get(2)
    if kernel is None or again is None or len(kernel.shape) != 3 or len(again.shape) != 3:
        return [("", Meaning(weights=_rest(node, {})))]
    found = []
    names = ("forward", "backward") if kernel.shape[0] == 2 else ("",)
    for number, name in enumerate(names):
        weights = [_role(part_of(kernel, number), "kernel", "oi"),
                   _role(part_of(again, number), "recurrent_kernel", "oi")]  # fmt: skip
        bias = node.weights.get(3)
        if bias is not None and len(bias.shape) == 2:
            weights.append(_role(part_of(bias, number), "bias"))
        for at, role in _STATES.items():
            state = node.weights.get(at)
            if state is not None and state.shape[:1] == kernel.shape[:1]:
                weights.append(_role(part_of(state, number), role))
        config = {"units": again.shape[2], **({"gates": gates} if gates else {})}
        found.append((name, Meaning(operation, config, tuple(weights))))
    return found


def part_of(weight: Weight, number: int) -> Weight:
    """One entry along the first axis, as a tensor of its own."""
    from explorer.network import ByteRange, Inline

    count, where = weight.shape[0], weight.where
    name = weight.name if count == 1 else f"{weight.name}[{number}]"
    if isinstance(where, ByteRange):
        each = where.nbytes // count
        where = replace(where, offset=where.offset + number * each, nbytes=each)
    elif isinstance(where, Inline):
        each = where.nbytes // count
        where = Inline(where.data[number * each : (number + 1) * each])
    else:
        where = None
    return replace(weight, name=name, shape=weight.shape[1:], where=where)
