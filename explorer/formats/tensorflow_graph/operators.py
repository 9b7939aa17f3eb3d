"""What the operators of TensorFlow compute, in the words of the layers of Keras."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import prod
from typing import Any

from explorer.formats.tensorflow_graph.flow import Flow, Op
from explorer.formats.tensorflow_graph.words import ELEMENTWISE
from explorer.network import Shape, Weight

#: Operators that read a kernel, and which input it is.
KERNELS = {
    "Conv2D": 1, "Conv3D": 1, "DepthwiseConv2dNative": 1, "Conv2DBackpropInput": 1,
    "Conv3DBackpropInputV2": 1, "MatMul": 1, "BatchMatMul": 1, "BatchMatMulV2": 1,
    "Einsum": 1, "ResourceGather": 0, "GatherV2": 0, "Gather": 0, "_FusedConv2D": 1,
    "_FusedMatMul": 1,
    "FusedDepthwiseConv2dNative": 1,
}  # fmt: skip
#: What may stand beside a kernel in one layer.
BESIDE = frozenset(ELEMENTWISE) | {
    "Reshape", "Squeeze", "ExpandDims", "SpaceToBatchND", "BatchToSpaceND", "Transpose", "Pad",
    "Less",
}  # fmt: skip
_PLACES = {
    "FusedBatchNormV3": {1: "gamma", 2: "beta", 3: "moving_mean", 4: "moving_variance"},
    "BiasAdd": {1: "bias"}, "Add": {0: "bias", 1: "bias"}, "AddV2": {0: "bias", 1: "bias"},
    "Mul": {0: "scale", 1: "scale"},
}  # fmt: skip
_PLACES["FusedBatchNorm"] = _PLACES["FusedBatchNormV2"] = _PLACES["FusedBatchNormV3"]
_ACTIVATIONS = ("Relu", "Relu6", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign",
                "Softmax", "LogSoftmax", "LeakyRelu", "Exp")  # fmt: skip
_REDUCE = ("Mean", "Sum", "Max", "Min", "Prod")

_EINSUM = re.compile(r"([A-Za-z]{3,8}),([A-Za-z]{3,8})->([A-Za-z]{3,8})")

Meaning = tuple[str, dict[str, Any]]
"""Name of a Keras layer, empty where none computes the same, and its configuration."""


def roles_by_place(flow: Flow, op: Op) -> tuple[Weight, ...]:
    """The tensors of the file that an operator reads, with roles by their places."""
    places = _PLACES.get(op.kind, {})
    if op.kind in KERNELS:
        role = "embeddings" if "Gather" in op.kind else "kernel"
        places = {KERNELS[op.kind]: "depthwise_kernel" if "Depthwise" in op.kind else role}
        if "Fused" in op.kind:
            places[2] = "bias"
    found: dict[str, Weight] = {}
    for at, ref in enumerate(op.inputs):
        weight = flow.weight_at(ref)
        if weight is not None:
            found[weight.name] = _with_role(weight, places.get(at) or f"input_{at}")
    rest = [w for w in op.weights if w.name not in found]
    return (*found.values(), *(_with_role(w, f"weight_{i}") for i, w in enumerate(rest)))


def _with_role(w: Weight, role: str) -> Weight:
    return Weight(w.name, role, w.shape, w.dtype, w.where, w.packing, w.axes)


def _format(op: Op) -> dict[str, Any]:
    first = str(op.attributes.get("data_format", "")).startswith("NC")
    return {"data_format": "channels_first"} if first else {}


def _spatial(op: Op, key: str) -> list[int]:
    """Entries of a list along the spatial axes."""
    told = op.attributes.get(key)
    if not isinstance(told, list) or len(told) < 3:
        return []
    return told[2:] if _format(op) else told[1:-1]


def kernel_meaning(flow: Flow, op: Op, kernel: Weight, shape: Shape | None) -> Meaning:
    """What an operator with a kernel computes.

    Parameters
    ----------
    flow : Flow
    op : Op
    kernel : Weight
    shape : Shape or None
        Of what flows in.
    """
    if op.kind in ("MatMul", "_FusedMatMul", "BatchMatMul", "BatchMatMulV2"):
        if len(kernel.shape) == 2:
            return _matmul(op, kernel)
        return _einsum(kernel, shape) if shape else _flat_einsum(flow, op, kernel)
    if "Gather" in op.kind:
        fits = len(kernel.shape) == 2
        return ("Embedding", {"input_dim": kernel.shape[0], "output_dim": kernel.shape[1]}) \
            if fits else ("", {})  # fmt: skip
    if op.kind == "Einsum":
        equation = str(op.attributes.get("equation", ""))
        return "EinsumDense", {"equation": equation}
    rank = len(kernel.shape) - 2
    if not 1 <= rank <= 3:
        return "", {}
    config = {**_format(op), "kernel_size": list(kernel.shape[:rank]),
              "strides": _spatial(op, "strides")[-rank:],
              "dilation_rate": _spatial(op, "dilations")[-rank:],
              "padding": str(op.attributes.get("padding", "")).lower()}  # fmt: skip
    if op.kind.endswith("DepthwiseConv2dNative"):
        return f"DepthwiseConv{rank}D", {**config, "depth_multiplier": kernel.shape[-1]}
    if "Backprop" in op.kind:
        return f"Conv{rank}DTranspose", {**config, "filters": kernel.shape[-2]}
    channels = shape[1 if _format(op) else -1] if shape else None
    groups = channels // kernel.shape[-2] if channels and kernel.shape[-2] else 1
    return f"Conv{rank}D", {**config, "filters": kernel.shape[-1], "groups": max(groups, 1)}


def _matmul(op: Op, kernel: Weight) -> Meaning:
    if len(kernel.shape) != 2 or op.attributes.get("transpose_a") or op.attributes.get("adj_x"):
        return "", {}
    return "Dense", {"units": kernel.shape[0 if kernel_axes(op) == "oi" else 1]}


def _einsum(kernel: Weight, shape: Shape | None) -> Meaning:
    """A product over several axes that Keras computes as one of matrices."""
    rank = len(kernel.shape)
    for count in range(1, rank) if shape is not None and 2 < rank < 6 else ():
        if shape is not None and len(shape) > count and shape[-count:] == kernel.shape[:count]:
            outer = "ABCDEFGH"[: len(shape) - count]
            inner, out = "abcdefgh"[:count], "abcdefgh"[count:rank]
            if len(outer) == len(shape) - count:
                return "EinsumDense", {"equation": f"{outer}{inner},{inner}{out}->{outer}{out}"}
    return "", {}


def _flat_einsum(flow: Flow, op: Op, kernel: Weight) -> Meaning:
    """The same where no shapes are recorded: by the matrix that the kernel is made into."""
    told = flow.reshaped_at(op.inputs[1])
    rank = len(kernel.shape)
    if told is None or len(told) != 2 or kernel_axes(op) or not 2 < rank < 6:
        return "", {}
    for count in range(1, rank):
        sides = prod(kernel.shape[:count]), prod(kernel.shape[count:])
        if all(n in (-1, side) for n, side in zip(told, sides, strict=True)):
            inner, out = "abcdefgh"[:count], "abcdefgh"[count:rank]
            return "EinsumDense", {"equation": f"...{inner},{inner}{out}->...{out}"}
    return "", {}


def activation_of(kinds: Collection[str]) -> str:
    """The function of Keras that elementwise operators behind a kernel compute; empty if none."""
    if "Erf" in kinds or "Erfc" in kinds:
        return "gelu"
    if "Sigmoid" in kinds and "Mul" in kinds:
        return "silu"
    return next((kind.lower() for kind in kinds if kind in _ACTIVATIONS), "")


def kernel_axes(op: Op) -> str:
    """Letters of a kernel's axes; empty where they are as Keras has them."""
    return "oi" if op.attributes.get("transpose_b") or op.attributes.get("adj_y") else ""


def meaning(flow: Flow, op: Op) -> Meaning:
    """What an operator without a kernel computes."""
    kind = op.kind
    if kind in ELEMENTWISE:
        return ELEMENTWISE[kind], {}
    if kind.startswith("FusedBatchNorm"):
        return "BatchNormalization", {"axis": 1 if _format(op) else -1}
    if kind in ("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D", "MaxPoolV2"):
        size = _spatial(op, "ksize")
        name = f"{'Max' if kind.startswith('Max') else 'Average'}Pooling{len(size) or 2}D"
        return name, {**_format(op), "pool_size": size, "strides": _spatial(op, "strides")}
    if kind == "Pad" or kind in ("PadV2", "MirrorPad"):
        return "Pad", {}
    if kind in _REDUCE:
        return _reduce(flow, op)
    if kind.startswith("Resize"):
        return "Resizing", {}
    return _moves(flow, op)


def _moves(flow: Flow, op: Op) -> Meaning:
    """Operators that move numbers and change none."""
    kind = op.kind
    last = flow.numbers_at(op.inputs[-1]) if op.inputs else None
    if kind == "ConcatV2":
        return ("Concatenate", {"axis": last[0]}) if last else ("", {})
    if kind == "Split":
        axis, count = flow.numbers_at(op.inputs[0]), op.attributes.get("num_split")
        return ("Split", {"axis": axis[0], "indices_or_sections": count}) if axis else ("", {})
    if kind == "Transpose":
        return "Transpose", {"axes": list(last)} if last else {}
    if kind == "Reshape":
        shape = _shape(flow, op, 0)
        flat = op.shape is not None and len(op.shape) == 2 and shape is not None and len(shape) > 2
        if flat:
            return "Flatten", {}
        return "Reshape", {"target_shape": list(op.shape[1:])} if op.shape else {}
    if kind == "ReverseV2":
        return ("Flip", {"axis": list(last)}) if last else ("", {})
    if kind == "Einsum":
        return _mixing(flow, op)
    if kind == "Squeeze":
        return "Squeeze", {}
    if kind == "ExpandDims":
        return "ExpandDims", {"axis": last[0]} if last else {}
    return ("GetItem", _key(flow, op)) if kind == "StridedSlice" and _key(flow, op) else ("", {})


def _mixing(flow: Flow, op: Op) -> Meaning:
    """Values of attention, mixed over time by shares: heads and components are kept as they are."""
    found = _EINSUM.fullmatch(str(op.attributes.get("equation", "")))
    shape = op.shape
    if found is None or shape is None or len(shape) < 3 or None in shape[-2:]:
        return "", {}
    for at in (0, 1):
        value, ref = found[at + 1], op.inputs[1 - at] if len(op.inputs) == 2 else None
        source = flow.ops[ref[0]] if ref is not None else None
        if source is not None and source.kind == "Softmax" and value[-2:] == found[3][-2:]:
            config = {"inputs": ["value", "shares"] if at == 0 else ["shares", "value"]}
            return "Attention", {**config, "heads": shape[-2], "head_dim": shape[-1]}
    return "", {}


def _shape(flow: Flow, op: Op, at: int) -> Shape | None:
    ref = op.inputs[at] if at < len(op.inputs) else None
    return flow.ops[ref[0]].shape if ref is not None and ref[1] == 0 else None


def _reduce(flow: Flow, op: Op) -> Meaning:
    axes = flow.numbers_at(op.inputs[1]) if len(op.inputs) > 1 else None
    shape = _shape(flow, op, 0)
    keep = bool(op.attributes.get("keep_dims"))
    if axes and shape is not None and len(shape) in (3, 4, 5) and op.kind in ("Mean", "Max"):
        taken, rank = {a % len(shape) for a in axes}, len(shape)
        for first, spatial in ((False, range(1, rank - 1)), (True, range(2, rank))):
            if taken == set(spatial):
                what = "Average" if op.kind == "Mean" else "Max"
                config = {"data_format": "channels_first"} if first else {}
                return f"Global{what}Pooling{rank - 2}D", {**config, "keepdims": keep}
    return op.kind, {"axis": list(axes) if axes else None, "keepdims": keep}


def _key(flow: Flow, op: Op) -> dict[str, Any]:
    """The key of a slice, where it has neither an ellipsis nor new axes."""
    told: Mapping[str, Any] = op.attributes
    ends = [flow.numbers_at(ref) for ref in op.inputs[1:4]]
    shape = _shape(flow, op, 0)
    if len(ends) != 3 or shape is None or told.get("ellipsis_mask") or told.get("new_axis_mask"):
        return {}
    starts, stops, steps = ends
    if starts is None or stops is None or steps is None:
        return {}
    if not len(starts) == len(stops) == len(steps) <= len(shape):
        return {}
    masks = [told.get(f"{key}_mask", 0) for key in ("begin", "end", "shrink_axis")]
    begin, end, shrink = (m if isinstance(m, int) else 0 for m in masks)
    key: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        if shrink >> i & 1:
            key.append(start)
            continue
        config = {"start": None if begin >> i & 1 else start,
                  "stop": None if end >> i & 1 else stop, "step": step}  # fmt: skip
        key.append({"class_name": "__slice__", "config": config})
    return {"key": key}
