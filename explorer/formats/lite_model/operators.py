"""What the operators of TFLite compute, in the words of the layers that `explorer.weights` knows.

Layouts of kernels and order of inputs are those of the kernels in the TensorFlow sources,
``lite/kernels`` and ``lite/schema/schema.fbs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from explorer.formats.containers.flatbuffer import Table
from explorer.formats.lite_model.tensors import Tensor
from explorer.formats.tensorflow_graph.words import ELEMENTWISE_LITE
from explorer.network import ByteRange, Packing, Pieces, Shape, TableAxis, Weight

_ACTIVATIONS = ("", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")
_FUSED = {"ADD": 0, "SUB": 0, "MUL": 0, "DIV": 0, "CONCATENATION": 1}
_REDUCE = {"MEAN": "Mean", "SUM": "Sum", "REDUCE_MAX": "Max", "REDUCE_MIN": "Min",
           "REDUCE_PROD": "Prod", "REDUCE_ANY": "Any", "REDUCE_ALL": "All"}  # fmt: skip
_POOLS = {"MAX_POOL_2D": "MaxPooling2D", "AVERAGE_POOL_2D": "AveragePooling2D"}
_GATES = ("input", "forget", "cell", "output")


@dataclass(frozen=True)
class Node:
    """An operator as the graph calls it.

    Attributes
    ----------
    kind : str
        Its name.
    options : Table or None
    inputs : sequence of (Tensor or None)
    output : Shape or None
        Of its first output.
    """

    kind: str
    options: Table | None
    inputs: Sequence[Tensor | None]
    output: Shape | None

    def option(self, number: int, form: str = "<i", default: int = 0) -> int:
        """A number of its options."""
        return self.options.number(number, form, default) if self.options is not None else default

    def tensor(self, at: int) -> Tensor | None:
        """One of its inputs."""
        return self.inputs[at] if at < len(self.inputs) else None

    def weight(self, at: int) -> Weight | None:
        """One of its inputs, where it is a tensor of the file."""
        tensor = self.tensor(at)
        return tensor.weight if tensor is not None else None

    def values(self, at: int) -> tuple[int, ...] | None:
        """The whole numbers of one of its inputs."""
        tensor = self.tensor(at)
        return tensor.values if tensor is not None else None

    def shape(self, at: int) -> Shape:
        """Of one of its inputs; empty where it is not known."""
        tensor = self.tensor(at)
        return tensor.shape if tensor is not None else ()


@dataclass(frozen=True)
class Meaning:
    """What an operator computes.

    Attributes
    ----------
    operation : str
        Name of a Keras layer; empty where none computes the same.
    config : mapping
    weights : tuple of Weight
        With their roles.
    data : int
        Which input holds the data, where others tell shapes; the first of the links.
    """

    operation: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()
    data: int = 0


def _rest(node: Node, named: Mapping[int, str]) -> tuple[Weight, ...]:
    """Weights under roles by position; what has none keeps its number."""
    return tuple(
        replace(tensor.weight, role=named.get(at, f"input_{at}"))
        for at, tensor in enumerate(node.inputs)
        if tensor is not None and tensor.weight is not None and tensor.values is None
    )


def _activation(node: Node, number: int) -> dict[str, Any]:
    """The activation that is computed along with it."""
    code = node.option(number, "<b")
    return {"activation": _ACTIVATIONS[code]} if 0 < code < len(_ACTIVATIONS) else {}


def _padding(node: Node) -> str:
    return "same" if node.option(0, "<b") == 0 else "valid"


def _kernel(node: Node, rank: int, axes: str) -> tuple[Weight, ...]:
    """Kernel and bias, or nothing where there is no kernel of that rank."""
    kernel, bias = node.weight(1), node.weight(2)
    if kernel is None or len(kernel.shape) != rank or not all(kernel.shape):
        return ()
    made = (replace(kernel, role="kernel", axes=axes),)
    return made if bias is None else (*made, replace(bias, role="bias"))


def _conv(node: Node) -> Meaning:
    weights = _kernel(node, 4, "okki")
    if not weights:
        return Meaning(weights=_rest(node, {}))
    out, height, width, inside = weights[0].shape
    shape = node.shape(0)
    channels = (shape[-1] if shape else None) or inside
    if channels % inside:
        return Meaning(weights=weights)
    config = {
        "filters": out, "kernel_size": [height, width], "groups": channels // inside,
        "strides": [node.option(2), node.option(1)], "padding": _padding(node),
        "dilation_rate": [node.option(5, default=1), node.option(4, default=1)],
        **_activation(node, 3),
    }  # fmt: skip
    return Meaning("Conv2D", config, weights)


def _depthwise(node: Node) -> Meaning:
    """A convolution of as many groups as channels go in: the kernel is (1, taps, in * each)."""
    weights = _kernel(node, 4, "ikko")
    if not weights:
        return Meaning(weights=_rest(node, {}))
    one, height, width, out = weights[0].shape
    shape = node.shape(0)
    channels = (shape[-1] if shape else None) or out // max(node.option(3), 1)
    if one != 1 or not channels or out % channels:
        return Meaning(weights=weights)
    config = {
        "filters": out, "kernel_size": [height, width], "groups": channels,
        "strides": [node.option(2), node.option(1)], "padding": _padding(node),
        "dilation_rate": [node.option(6, default=1), node.option(5, default=1)],
        **_activation(node, 4),
    }  # fmt: skip
    return Meaning("Conv2D", config, weights)


def _transpose_conv(node: Node) -> Meaning:
    kernel, bias = node.weight(1), node.weight(3)
    if kernel is None or len(kernel.shape) != 4:
        return Meaning(weights=_rest(node, {}), data=2)
    weights = [replace(kernel, role="kernel", axes="okki")]
    weights += [] if bias is None else [replace(bias, role="bias")]
    config = {
        "filters": kernel.shape[0], "kernel_size": list(kernel.shape[1:3]),
        "strides": [node.option(2), node.option(1)], "padding": _padding(node),
        **_activation(node, 3),
    }  # fmt: skip
    return Meaning("Conv2DTranspose", config, tuple(weights), 2)


def _conv_3d(node: Node) -> Meaning:
    """Kernels of three dimensions lie as those of Keras do."""
    turned = node.kind == "CONV_3D_TRANSPOSE"
    kernel, bias = node.weight(1), node.weight(3 if turned else 2)
    if kernel is None or len(kernel.shape) != 5:
        return Meaning(weights=_rest(node, {}), data=2 if turned else 0)
    weights = [replace(kernel, role="kernel")]
    weights += [] if bias is None else [replace(bias, role="bias")]
    config = {"kernel_size": list(kernel.shape[:3]), "padding": _padding(node),
              "strides": [node.option(1), node.option(3), node.option(2)],
              **_activation(node, 4)}  # fmt: skip
    if turned:
        return Meaning("Conv3DTranspose", config, tuple(weights), 2)
    shape = node.shape(0)
    inside = kernel.shape[3]
    groups = ((shape[-1] if shape else None) or inside) // inside if inside else 1
    return Meaning("Conv3D", {**config, "groups": groups}, tuple(weights))


def _dense(node: Node) -> Meaning:
    weights = _kernel(node, 2, "oi")
    if not weights or node.option(1, "<b"):  # shuffled kernels
        return Meaning(weights=_rest(node, {}))
    config = {"units": weights[0].shape[0], **_activation(node, 0)}
    return Meaning("Dense", config, weights)


def _matmul(node: Node) -> Meaning:
    kernel = node.weight(1)
    if kernel is None or len(kernel.shape) != 2 or node.option(0, "<?"):
        return Meaning(weights=_rest(node, {}))
    axes = "oi" if node.option(1, "<?") else "io"
    config = {"units": kernel.shape[axes.index("o")]}
    return Meaning("Dense", config, (replace(kernel, role="kernel", axes=axes),))


def _lookup(node: Node) -> Meaning:
    """Rows of a table: GATHER has the table first, EMBEDDING_LOOKUP second."""
    at = 0 if node.kind == "GATHER" else 1
    table = node.weight(at)
    plain = at == 1 or (node.option(0) == 0 and node.option(1) == 0)
    if table is None or len(table.shape) != 2 or not plain:
        return Meaning(weights=_rest(node, {}))
    config = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
    return Meaning("Embedding", config, (replace(table, role="embeddings", axes="io"),), 1 - at)


def _pool(node: Node) -> Meaning:
    config = {"pool_size": [node.option(4), node.option(3)], "padding": _padding(node),
              "strides": [node.option(2), node.option(1)], **_activation(node, 5)}  # fmt: skip
    return Meaning(_POOLS[node.kind], config)


def _reduce(node: Node) -> Meaning:
    axes, rank = node.values(1), len(node.shape(0))
    keep = bool(node.option(0, "<?"))
    if axes is None or any(not -rank <= a < rank for a in axes):
        return Meaning()
    spatial = {a % rank for a in axes} == set(range(1, rank - 1)) and 3 <= rank <= 5
    if spatial and node.kind in ("MEAN", "REDUCE_MAX"):
        what = "Average" if node.kind == "MEAN" else "Max"
        return Meaning(f"Global{what}Pooling{rank - 2}D", {"keepdims": keep})
    return Meaning(_REDUCE[node.kind], {"axis": list(axes), "keepdims": keep})


def _concat(node: Node) -> Meaning:
    return Meaning("Concatenate", {"axis": node.option(0), **_activation(node, 1)}, _rest(node, {}))


def _split(node: Node) -> Meaning:
    """SPLIT has the axis first; SPLIT_V the data, the sizes, the axis."""
    if node.kind == "SPLIT":
        axis = node.values(0)
        parts = node.option(0)
        if not axis or parts < 1:
            return Meaning(data=1)
        return Meaning("Split", {"axis": axis[0], "indices_or_sections": parts}, data=1)
    sizes, axis = node.values(1), node.values(2)
    if not sizes or not axis or min(sizes) < 0:
        return Meaning()
    cuts = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return Meaning("Split", {"axis": axis[0], "indices_or_sections": cuts})


def _strided_slice(node: Node) -> Meaning:
    begin, end, step = (node.values(at) for at in (1, 2, 3))
    rank = len(node.shape(0))
    if begin is None or end is None or step is None or min(step, default=0) < 1:
        return Meaning()
    if not len(begin) == len(end) == len(step) == rank or any(node.option(n) for n in (2, 3, 4)):
        return Meaning()
    keys = [
        {"class_name": "__slice__", "config": {
            "start": None if node.option(0) >> at & 1 else begin[at],
            "stop": None if node.option(1) >> at & 1 else end[at], "step": step[at]}}
        for at in range(rank)
    ]  # fmt: skip
    return Meaning("GetItem", {"key": keys})


def _transpose(node: Node) -> Meaning:
    order = node.values(1)
    return Meaning("Transpose", {"axes": list(order)} if order else {})


def _reshape(node: Node) -> Meaning:
    return Meaning("Reshape", {"target_shape": list(node.values(1) or ())})


def _pad(node: Node) -> Meaning:
    return Meaning("Pad", {"pads": list(node.values(1) or ())})


def _lstm(node: Node) -> Meaning:
    """Four kernels, one of each gate, in the order in which Keras stores them as one."""
    roles = {9: "peephole_i", 10: "peephole_f", 11: "peephole_o", 16: "projection",
             17: "projection_bias"}  # fmt: skip
    groups = [
        _joined([node.weight(first + at) for at in range(4)], role)
        for first, role in ((1, "kernel"), (5, "recurrent_kernel"), (12, "bias"))
    ]
    if node.weight(16) is not None or groups[0] is None or groups[1] is None:
        names = {
            first + at: f"{gate}_{role}"
            for at, gate in enumerate(_GATES)
            for first, role in ((1, "kernel"), (5, "recurrent_kernel"), (12, "bias"))
        }
        return Meaning(weights=_rest(node, {**names, **roles}))  # fmt: skip
    used = {*range(1, 9), *(range(12, 16) if groups[2] is not None else ())}
    others = tuple(
        replace(w, role=roles.get(at, f"input_{at}"))
        for at in range(len(node.inputs)) if at not in used and (w := node.weight(at)) is not None
    )  # fmt: skip
    made = tuple(w for w in groups if w is not None)
    config = {"units": groups[1].shape[1], "return_sequences": True}
    return Meaning("LSTM", config, made + others)


def _joined(gates: list[Weight | None], role: str) -> Weight | None:
    """The tensors of four gates as one, each with its own scale."""
    found = [w for w in gates if w is not None and isinstance(w.where, ByteRange)]
    if len(found) < 4 or len({(w.shape, w.dtype) for w in found}) > 1 or not found[0].shape:
        return None
    first = found[0]
    where = Pieces(tuple(w.where for w in found if isinstance(w.where, ByteRange)))
    packing = None
    packings = [w.packing for w in found if w.packing is not None]
    if packings:
        packing = _joined_scales(packings, first)
        if packing is None:
            return None
    shape = (4 * first.shape[0], *first.shape[1:])
    name = f"{first.name} and those of the other gates"
    return Weight(name, role, shape, first.dtype, where, packing, "oi" if len(shape) == 2 else "")


def _joined_scales(packings: list[Packing], first: Weight) -> Packing | None:
    """A scale of each gate; ``None`` where they have more, or zero points."""
    scales = [p.scale for p in packings if p.zero is None and p.lanes is None]
    places = [s.where for s in scales if s is not None and s.size == 1]
    runs = [w for w in places if isinstance(w, ByteRange)]
    if len(runs) < 4 or packings[0].scale is None:
        return None
    scale = replace(packings[0].scale, shape=(4,), where=Pieces(tuple(runs)))
    rows = TableAxis(4 * first.shape[0], first.shape[0], 1)
    inner = (TableAxis(prod(first.shape[1:])),) if first.shape[1:] else ()
    return Packing(scale, None, False, (rows, *inner))


def _same(node: Node) -> Meaning:
    roles = {"ADD": "bias", "SUB": "bias", "MUL": "scale", "PRELU": "alpha"}
    role = roles.get(node.kind)
    weights = _rest(node, dict.fromkeys(range(len(node.inputs)), role) if role else {})
    if len(weights) > 1:
        weights = _rest(node, {})
    fused = _FUSED.get(node.kind)
    return Meaning(
        ELEMENTWISE_LITE[node.kind], {} if fused is None else _activation(node, fused), weights
    )


def _only(operation: str) -> Callable[[Node], Meaning]:
    return lambda node: Meaning(operation)


_RULES: dict[str, Callable[[Node], Meaning]] = {
    **dict.fromkeys(ELEMENTWISE_LITE, _same),
    **dict.fromkeys(_REDUCE, _reduce),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _only("Resizing")),
    **dict.fromkeys(("GATHER", "EMBEDDING_LOOKUP"), _lookup),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys(("CONV_3D", "CONV_3D_TRANSPOSE"), _conv_3d),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), _lstm),
    "CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _dense, "BATCH_MATMUL": _matmul, "CONCATENATION": _concat,
    "STRIDED_SLICE": _strided_slice, "TRANSPOSE": _transpose, "RESHAPE": _reshape,
    "SQUEEZE": _only("Squeeze"), "EXPAND_DIMS": _only("ExpandDims"),
}  # fmt: skip
_SHAPED = frozenset((*_REDUCE, "RESHAPE", "TRANSPOSE", "STRIDED_SLICE", "PAD", "PADV2",
                     "MIRROR_PAD", "SQUEEZE", "EXPAND_DIMS", "SPLIT", "SPLIT_V", "RESIZE_BILINEAR",
                     "RESIZE_NEAREST_NEIGHBOR"))  # fmt: skip


def meaning(node: Node) -> Meaning:
    """What an operator computes; its tensors by number for one that is not known.

    Where inputs beside the first only tell a shape, axes or places, the configuration says so
    under ``"steering"``: no unit passes through them.
    """
    rule = _RULES.get(node.kind)
    found = rule(node) if rule is not None else Meaning(weights=_rest(node, {}))
    if node.kind in _SHAPED and found.operation and len(node.inputs) > 1:
        steering = list(range(1, len(node.inputs)))
        return replace(found, config={**found.config, "steering": steering})
    return found
