"""What can be said of shapes where a graph does not record them: ranks and channels."""

from __future__ import annotations

from explorer.formats.tensorflow_graph.flow import Flow, Op
from explorer.formats.tensorflow_graph.operators import KERNELS
from explorer.formats.tensorflow_graph.words import ELEMENTWISE
from explorer.network import Shape

_KEPT = frozenset(ELEMENTWISE) | {
    "MaxPool", "AvgPool", "Pad", "PadV2", "MirrorPad", "SpaceToBatchND", "BatchToSpaceND",
    "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "ResizeBilinear",
    "ResizeNearestNeighbor",
}  # fmt: skip


def fill_shapes(flow: Flow) -> None:
    """Give operators without a shape one of unknown lengths but for the channels.

    Parameters
    ----------
    flow : Flow
        Settled. Shapes that are recorded stay as they are.
    """
    for op in flow.ops:
        if op.data and op.shape is None:
            op.shape = _shape(flow, op)


def _shape(flow: Flow, op: Op) -> Shape | None:
    if str(op.attributes.get("data_format", "")).startswith("NC"):
        return None
    flowing = [flow.ops[ref[0]] for ref in op.inputs if ref is not None and not ref[1]]
    shapes = [other.shape for other in flowing if other.data]
    if op.kind == "Reshape":
        told = flow.numbers_at(op.inputs[1]) if len(op.inputs) > 1 else None
        return tuple(None if n < 0 else n for n in told) if told else None
    if op.kind == "Einsum" and len(op.inputs) == len(shapes) == 2:
        return _einsum_shape(str(op.attributes.get("equation", "")), shapes)
    if op.kind in KERNELS and "Gather" not in op.kind:
        return _kernel_shape(flow, op, shapes[0] if shapes else None)
    if not shapes or any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape]
    if not known:
        return None
    widest = max(known, key=len)
    if op.kind in _KEPT:
        same = all(len(shape) < len(widest) or shape[-1] == widest[-1] for shape in known)
        spatial = op.kind in ELEMENTWISE
        lengths = widest[1:-1] if spatial else (None,) * (len(widest) - 2)
        return (widest[0], *lengths, widest[-1]) if same and len(widest) > 1 else None
    if op.kind == "ConcatV2":
        axis, parts = flow.numbers_at(op.inputs[-1]), [shape[-1] for shape in known]
        if axis and axis[0] in (-1, len(widest) - 1) and None not in parts:
            return (*widest[:-1], sum(n for n in parts if n is not None))
    return _reduced(flow, op, widest) if op.kind in ("Mean", "Max", "Sum") else None


def _einsum_shape(equation: str, shapes: list[Shape | None]) -> Shape | None:
    """Of a product of two things that flow, by the letters of its axes."""
    left, _, out = equation.partition("->")
    size: dict[str, int | None] = {}
    for letters, shape in zip(left.split(","), shapes, strict=False):
        if shape is None or len(letters) != len(shape):
            return None
        size |= {c: n for c, n in zip(letters, shape, strict=True) if size.get(c) is None}
    return tuple(size[c] for c in out) if out and set(out) <= set(size) else None


def _kernel_shape(flow: Flow, op: Op, source: Shape | None) -> Shape | None:
    kernel = flow.weight_at(op.inputs[KERNELS[op.kind]] if len(op.inputs) > 1 else None)
    if kernel is None or len(kernel.shape) < 2 or op.kind == "Einsum":
        return None
    if "MatMul" in op.kind:
        turned = op.attributes.get("transpose_b") or op.attributes.get("adj_y")
        return (None, kernel.shape[0 if turned else 1]) if len(kernel.shape) == 2 else None
    first = source[0] if source else None
    out = kernel.shape[-2] if "Backprop" in op.kind else kernel.shape[-1]
    if op.kind.endswith("DepthwiseConv2dNative"):
        out = kernel.shape[-2] * kernel.shape[-1]
    return (first, *(None,) * (len(kernel.shape) - 2), out)


def _reduced(flow: Flow, op: Op, shape: Shape) -> Shape | None:
    axes = flow.numbers_at(op.inputs[1]) if len(op.inputs) > 1 else None
    if not axes:
        return None
    taken = {axis % len(shape) for axis in axes}
    if op.attributes.get("keep_dims"):
        return tuple(1 if i in taken else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in taken)
