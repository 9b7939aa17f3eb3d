"""How a layer's weights join its units to the units it reads: an (out × in) matrix per link.

A matrix is never copied: it is a set of rectangular pieces of a weight in the file, each described
by an offset and strides. Where a weight does not tell its axes they are those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from explorer.network import Layer, Weight
from explorer.weights.codecs import is_number
from explorer.weights.edge_lists import KEY, EdgeList
from explorer.weights.kernels import Kernel, kernel_of
from explorer.weights.units import einsum_letters, gates_of, whole

MOST_PIECES = 4096
"""Pieces per connection above which a layer falls back to neutral links."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A rectangular piece of a weight.

    Element ``[tap, row, column]`` lies at ``offset + tap * tap_stride + row * major_stride +
    column * minor_stride`` in the flat weight. All taps of a (row, column) belong to the same pair
    of units.

    Attributes
    ----------
    weight : Weight
    offset, taps, tap_stride, major, major_stride, minor : int
        In elements; `major` rows, `minor` columns.
    transposed : bool
        False: rows are in units, columns are out units. True: the other way round.
    out_start, in_start, out_step, in_step : int
        The i-th out row or column is out unit ``out_start + i * out_step``; likewise in.
    diagonal : bool
        Depthwise: row r is in unit ``in_start + r``, and its column c is out unit
        ``out_start + r * minor + c``. Never transposed.
    minor_stride : int
        1 where columns lie side by side; else the taps of a column do, `taps` of them, and
        `tap_stride` is 1.
    """

    weight: Weight
    offset: int
    taps: int
    tap_stride: int
    major: int
    major_stride: int
    minor: int
    transposed: bool = False
    out_start: int = 0
    in_start: int = 0
    diagonal: bool = False
    out_step: int = 1
    in_step: int = 1
    minor_stride: int = 1

    @property
    def pairs(self) -> int:
        """Number of (out, in) pairs."""
        return self.major * self.minor

    @property
    def last(self) -> int:
        """Offset of the last element in the flat weight."""
        return (
            self.offset
            + (self.taps - 1) * self.tap_stride
            + (self.major - 1) * self.major_stride
            + (self.minor - 1) * self.minor_stride
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """A link into a layer whose weights act linearly on it.

    Attributes
    ----------
    target : str
        Path of the layer.
    input : int
        Which input tensor; ``-1`` for a recurrent connection, whose source is the target itself.
    name : str
        ``"kernel"`` or ``"recurrent_kernel"``.
    out_units, in_units : int
        Size of the matrix. Out units are the layer's units (gate cells one by one), in units the
        channels of what it reads.
    matrices : tuple of Matrix
    """

    target: str
    input: int
    name: str
    out_units: int
    in_units: int
    matrices: tuple[Matrix, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the connection within its network."""
        return (self.target, self.name)

    @property
    def joined(self) -> int:
        """Number of (out, in) pairs that are joined."""
        return sum(m.pairs for m in self.matrices)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(m.pairs * m.taps for m in self.matrices)


def _weight(layer: Layer, role: str = "kernel") -> Weight | None:
    """A weight that holds numbers, or codes that can be decoded, and whose bytes are there."""
    weight = layer.weight(role)
    if weight is None or weight.where is None or not is_number(weight) or not all(weight.shape):
        return None
    return weight if len(weight.shape) >= 2 and max(weight.shape) < 1 << 31 else None


def _agrees(layer: Layer, key: str, value: int) -> bool:
    """Whether the configuration, if it says anything, says the same as the shape."""
    return whole(layer.config.get(key)) in (0, value)


def _blocks(kernel: Kernel, blocks: int = 1) -> tuple[Matrix, ...]:
    """The whole kernel, the out axis cut into equal blocks (gates)."""
    width = kernel.out // blocks
    return tuple(
        Matrix(**kernel.rectangle((b * width, (b + 1) * width)), out_start=b * width)
        for b in range(blocks)
    )


def _one(layer: Layer, size: tuple[int, int], pieces: tuple[Matrix, ...],
         name: str = "kernel", port: int = 0) -> tuple[Connection, ...]:  # fmt: skip
    return (Connection(layer.path, port, name, *size, pieces),)


def _matrix(layer: Layer, key: str, role: str = "kernel") -> tuple[Connection, ...]:
    """A kernel with one axis of in and one of out units."""
    weight = _weight(layer, role)
    kernel = None if weight is None or len(weight.shape) != 2 else kernel_of(weight, "io")
    if kernel is None or not _agrees(layer, key, kernel.out):
        return ()
    return _one(layer, (kernel.out, kernel.inside), _blocks(kernel), role)


def _dense(layer: Layer) -> tuple[Connection, ...]:
    return _matrix(layer, "units")


def _embedding(layer: Layer) -> tuple[Connection, ...]:
    return _matrix(layer, "output_dim", "embeddings")


def _taps(layer: Layer, default: str, role: str = "kernel") -> Kernel | None:
    """A convolution's kernel, if it has as many axes as ``ConvND`` says."""
    weight = _weight(layer, role)
    digits = [c for c in layer.op if c in "123"]
    if weight is None or (digits and len(weight.shape) != int(digits[0]) + 2):
        return None
    return kernel_of(weight, default)


def _conv(layer: Layer) -> tuple[Connection, ...]:
    kernel = _taps(layer, "kio")
    groups = whole(layer.config.get("groups")) or 1
    if kernel is None or (groups > MOST_PIECES and kernel.inside > 1):
        return ()
    if kernel.out % groups or not _agrees(layer, "filters", kernel.out):
        return ()
    width, size = kernel.out // groups, (kernel.out, kernel.inside * groups)
    if kernel.inside == 1 and groups > 1:  # one in unit per group: a diagonal band
        return _one(layer, size, (_band(kernel, groups, width, width * kernel.out_step),))
    pieces = tuple(
        Matrix(**kernel.rectangle((g * width, (g + 1) * width)),
               out_start=g * width, in_start=g * kernel.inside)
        for g in range(groups)
    )  # fmt: skip
    return _one(layer, size, pieces)


def _band(kernel: Kernel, rows: int, each: int, row_step: int) -> Matrix:
    """A depthwise kernel: each in unit and the `each` out units that it alone feeds."""
    return Matrix(
        kernel.weight, 0, kernel.taps, kernel.tap_step, rows, row_step, each, diagonal=True,
        minor_stride=kernel.out_step,
    )  # fmt: skip


def _conv_transpose(layer: Layer) -> tuple[Connection, ...]:
    kernel = _taps(layer, "koi")
    groups = whole(layer.config.get("groups")) or 1
    if kernel is None or kernel.inside % groups or groups > MOST_PIECES:
        return ()
    if not _agrees(layer, "filters", kernel.out * groups):
        return ()
    width = kernel.inside // groups
    pieces = tuple(
        Matrix(**kernel.rectangle(None, (g * width, (g + 1) * width)),
               out_start=g * kernel.out, in_start=g * width)
        for g in range(groups)
    )  # fmt: skip
    return _one(layer, (kernel.out * groups, kernel.inside), pieces)


def _depthwise(layer: Layer) -> tuple[Connection, ...]:
    """Of Keras, whose out axis counts the out units of one in unit."""
    role = "depthwise_kernel" if layer.weight("depthwise_kernel") else "kernel"
    kernel = _taps(layer, "kio", role)
    if kernel is None or not _agrees(layer, "depth_multiplier", kernel.out):
        return ()
    band = _band(kernel, kernel.inside, kernel.out, kernel.in_step)
    return _one(layer, (kernel.inside * kernel.out, kernel.inside), (band,), role)


def _recurrent(layer: Layer) -> tuple[Connection, ...]:
    """One piece per gate: the kernel, and the recurrent kernel from the layer to itself."""
    weights = _weight(layer), _weight(layer, "recurrent_kernel")
    kernel, again = (None if w is None else kernel_of(w, "kio") for w in weights)
    gates = max(1, len(gates_of(layer.op)))
    if kernel is None or again is None or len({len(w.shape) for w in weights if w}) > 1:
        return ()
    out, units = kernel.out, again.inside
    if out != gates * units or again.out != out:
        return ()
    if not _agrees(layer, "filters" if layer.op.startswith("Conv") else "units", units):
        return ()
    return _one(layer, (out, kernel.inside), _blocks(kernel, gates)) + _one(
        layer, (out, units), _blocks(again, gates), "recurrent_kernel", -1
    )


@dataclass(slots=True)
class _Axis:
    """An axis of an einsum kernel: length, and step in the kernel, the out and the in units."""

    size: int
    step: int
    out: int
    inside: int

    def absorbs(self, outer: _Axis) -> bool:
        """Whether `outer`, the axis before this one, runs on without a gap."""
        n = self.size
        return (outer.step, outer.out, outer.inside) == (
            n * self.step,
            n * self.out,
            n * self.inside,
        )


def _einsum_axes(kernel: Weight, letters: tuple[str, str, str]) -> list[_Axis]:
    """Axes of the kernel, those that run on without a gap joined into one."""
    size = dict(zip(letters[1], kernel.shape, strict=True))
    axes: list[_Axis] = []
    for at, letter in enumerate(letters[1]):
        steps = [
            prod(size[c] for c in side[side.index(letter) + 1 :] if c in size)
            if letter in side else 0
            for side in (letters[2], letters[0])
        ]  # fmt: skip
        axis = _Axis(size[letter], prod(kernel.shape[at + 1 :]), steps[0], steps[1])
        if axis.size == 1:
            continue
        if axes and axis.absorbs(axes[-1]):
            axis.size *= axes.pop().size
        axes.append(axis)
    return axes


def _einsum(layer: Layer) -> tuple[Connection, ...]:
    """Kernel axes in the output only are out, contracted ones are in, in all three: batch."""
    kernel, letters = _weight(layer), einsum_letters(layer.config.get("equation"))
    if kernel is None or letters is None or len(letters[1]) != len(kernel.shape):
        return ()
    size = dict(zip(letters[1], kernel.shape, strict=True))
    joint = [[c for c in side if c in size] for side in (letters[2], letters[0])]
    for side, used in zip((letters[2], letters[0]), joint, strict=True):
        if not used or not side.endswith("".join(used)):
            return ()  # the weights act along time or space, not on the channels
    axes = _einsum_axes(kernel, letters)
    plain = [a for a in axes if not (a.out and a.inside)]
    minor = axes[-1] if axes and axes[-1] in plain and axes[-1].step == 1 else _Axis(1, 1, 0, 0)
    facing = [a for a in plain if a is not minor and (not minor.out or not a.out)
              and (not minor.inside or not a.inside)]  # fmt: skip
    major = max(facing, key=lambda a: a.size, default=_Axis(1, 1, 0, 0))
    pieces = [(0, 0, 0)]
    for axis in axes:
        if axis is minor or axis is major:
            continue
        if len(pieces) * axis.size > MOST_PIECES:
            return ()
        pieces = [(o + i * axis.step, u + i * axis.out, n + i * axis.inside)
                  for o, u, n in pieces for i in range(axis.size)]  # fmt: skip
    flipped = bool(minor.inside or major.out)
    made = tuple(
        Matrix(kernel, offset, 1, 0, major.size, major.step, minor.size, flipped, out, inside,
               out_step=(major if flipped else minor).out or 1,
               in_step=(minor if flipped else major).inside or 1)
        for offset, out, inside in pieces
    )  # fmt: skip
    out_units, in_units = (prod(size[c] for c in used) for used in joint)
    return _one(layer, (out_units, in_units), made)


def _edges(layer: Layer) -> tuple[Connection, ...]:
    """Edges of a graph: a connection per input, whose matrix leaves out what has no edge."""
    told, units = layer.config.get(KEY), (layer.output_shape or (0,))[-1] or 0
    if not isinstance(told, EdgeList):
        return ()
    if not told.sizes:
        (weight,) = layer.weights
        return tuple(
            Connection(layer.path, port, f"edges {port}", 1, 1, (Matrix(weight, i, 1, 0, 1, 1, 1),))
            for i, port in enumerate(told.ports)
        )
    made = []
    for weight, port, size, boxes in zip(
        layer.weights, told.ports, told.sizes, told.boxes, strict=True
    ):
        pieces, at = [], 0
        for out, rows, inside, columns in boxes:
            pieces.append(Matrix(weight, at, 1, 0, rows, columns, columns, True, out, inside))
            at += rows * columns
        made.append(Connection(layer.path, port, weight.role, units, size, tuple(pieces)))
    return tuple(made)


_Rule = Callable[[Layer], tuple[Connection, ...]]
_RULES: dict[str, _Rule] = {
    "Dense": _dense,
    "EinsumDense": _einsum,
    "Embedding": _embedding,
    "SparseDense": _edges,
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU"), _recurrent),
}
for _d in "123":
    _RULES[f"Conv{_d}D"] = _RULES[f"Convolution{_d}D"] = _conv
    _RULES[f"Conv{_d}DTranspose"] = _RULES[f"Convolution{_d}DTranspose"] = _conv_transpose
    _RULES[f"DepthwiseConv{_d}D"] = _depthwise
    _RULES[f"ConvLSTM{_d}D"] = _recurrent


def connections_of(layer: Layer) -> tuple[Connection, ...]:
    """Connections of a layer, from its kind, configuration and the shapes of its weights.

    Parameters
    ----------
    layer : Layer
        Of an expanded network (`explorer.weights.composites.expand`).

    Returns
    -------
    tuple of Connection
        Empty for a layer without weights, of an unknown kind, with codes that cannot be
        decoded, or whose shapes contradict its configuration: its links are drawn as neutral.
    """
    rule = _RULES.get(layer.op)
    return rule(layer) if rule is not None else ()
