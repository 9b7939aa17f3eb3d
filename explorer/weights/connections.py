"""How a layer's weights join its units to the units it reads: an (out × in) matrix per link.

A matrix is never copied: it is a set of rectangular pieces of a weight in the file, each described
by an offset and strides. Layouts of kernels and the order of gates are those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from explorer.network import Layer, Weight
from explorer.weights.codecs import is_number
from explorer.weights.units import einsum_letters, gates_of, whole

MOST_PIECES = 4096
"""Pieces per connection above which a layer falls back to neutral links."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A rectangular piece of a weight.

    Element ``[tap, row, column]`` lies at ``offset + tap * tap_stride + row * major_stride +
    column`` in the flat weight. All taps of a (row, column) belong to the same pair of units.

    Attributes
    ----------
    weight : Weight
    offset, taps, tap_stride, major, major_stride, minor : int
        In elements; `major` rows, `minor` columns that lie side by side.
    transposed : bool
        False: rows are in units, columns are out units. True: the other way round.
    out_start, in_start, out_step, in_step : int
        The i-th out row or column is out unit ``out_start + i * out_step``; likewise in.
    diagonal : bool
        Depthwise: row r is in unit ``in_start + r``, and its column c is out unit
        ``out_start + r * minor + c``. Never transposed.
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
            + self.minor
            - 1
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


def _kernel(layer: Layer, role: str = "kernel") -> Weight | None:
    """A weight that holds numbers, or codes that can be decoded, and whose bytes are there."""
    weight = layer.weight(role)
    if weight is None or weight.where is None or not is_number(weight) or not all(weight.shape):
        return None
    return weight if len(weight.shape) >= 2 and max(weight.shape) < 1 << 31 else None


def _agrees(layer: Layer, key: str, value: int) -> bool:
    """Whether the configuration, if it says anything, says the same as the shape."""
    return whole(layer.config.get(key)) in (0, value)


def _grid(weight: Weight, blocks: int = 1) -> tuple[Matrix, ...]:
    """``(taps…, in, out)``, the out axis cut into equal blocks (gates)."""
    rows, columns = weight.shape[-2:]
    taps, width = prod(weight.shape[:-2]), columns // blocks
    return tuple(
        Matrix(weight, b * width, taps, rows * columns, rows, columns, width, out_start=b * width)
        for b in range(blocks)
    )


def _one(layer: Layer, size: tuple[int, int], pieces: tuple[Matrix, ...],
         name: str = "kernel", port: int = 0) -> tuple[Connection, ...]:  # fmt: skip
    return (Connection(layer.path, port, name, *size, pieces),)


def _dense(layer: Layer) -> tuple[Connection, ...]:
    kernel = _kernel(layer)
    if kernel is None or len(kernel.shape) != 2 or not _agrees(layer, "units", kernel.shape[1]):
        return ()
    return _one(layer, (kernel.shape[1], kernel.shape[0]), _grid(kernel))


def _embedding(layer: Layer) -> tuple[Connection, ...]:
    table = _kernel(layer, "embeddings")
    if table is None or len(table.shape) != 2 or not _agrees(layer, "output_dim", table.shape[1]):
        return ()
    return _one(layer, (table.shape[1], table.shape[0]), _grid(table), "embeddings")


def _rank(layer: Layer, kernel: Weight) -> bool:
    """Whether the kernel has as many axes as ``ConvND`` says."""
    digits = [c for c in layer.kind if c in "123"]
    return not digits or len(kernel.shape) == int(digits[0]) + 2


def _conv(layer: Layer) -> tuple[Connection, ...]:
    kernel = _kernel(layer)
    groups = whole(layer.config.get("groups")) or 1
    if kernel is None or not _rank(layer, kernel):
        return ()
    inside, out = kernel.shape[-2:]
    if out % groups or groups > MOST_PIECES or not _agrees(layer, "filters", out):
        return ()
    width, taps = out // groups, prod(kernel.shape[:-2])
    if inside == 1 and groups > 1:  # one in unit per group: a diagonal band
        band = Matrix(kernel, 0, taps, out, groups, width, width, diagonal=True)
        return _one(layer, (out, groups), (band,))
    pieces = tuple(
        Matrix(kernel, g * width, taps, inside * out, inside, out, width,
               out_start=g * width, in_start=g * inside)
        for g in range(groups)
    )  # fmt: skip
    return _one(layer, (out, inside * groups), pieces)


def _conv_transpose(layer: Layer) -> tuple[Connection, ...]:
    kernel = _kernel(layer)
    if kernel is None or not _rank(layer, kernel):
        return ()
    out, inside = kernel.shape[-2:]
    if (whole(layer.config.get("groups")) or 1) != 1 or not _agrees(layer, "filters", out):
        return ()
    piece = Matrix(kernel, 0, prod(kernel.shape[:-2]), out * inside, out, inside, inside, True)
    return _one(layer, (out, inside), (piece,))


def _depthwise(layer: Layer) -> tuple[Connection, ...]:
    role = "depthwise_kernel" if layer.weight("depthwise_kernel") else "kernel"
    kernel = _kernel(layer, role)
    if kernel is None or not _rank(layer, kernel):
        return ()
    inside, each = kernel.shape[-2:]
    if not _agrees(layer, "depth_multiplier", each):
        return ()
    taps, out = prod(kernel.shape[:-2]), inside * each
    band = Matrix(kernel, 0, taps, out, inside, each, each, diagonal=True)
    return _one(layer, (out, inside), (band,), role)


def _recurrent(layer: Layer) -> tuple[Connection, ...]:
    """One piece per gate: the kernel, and the recurrent kernel from the layer to itself."""
    kernel, again = _kernel(layer), _kernel(layer, "recurrent_kernel")
    gates = max(1, len(gates_of(layer.kind)))
    if kernel is None or again is None or len(kernel.shape) != len(again.shape):
        return ()
    out, units = kernel.shape[-1], again.shape[-2]
    if out != gates * units or again.shape[-1] != out:
        return ()
    if not _agrees(layer, "filters" if layer.kind.startswith("Conv") else "units", units):
        return ()
    return _one(layer, (out, kernel.shape[-2]), _grid(kernel, gates)) + _one(
        layer, (out, units), _grid(again, gates), "recurrent_kernel", -1
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
    kernel, letters = _kernel(layer), einsum_letters(layer.config.get("equation"))
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


_Rule = Callable[[Layer], tuple[Connection, ...]]
_RULES: dict[str, _Rule] = {
    "Dense": _dense,
    "EinsumDense": _einsum,
    "Embedding": _embedding,
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
    rule = _RULES.get(layer.kind)
    return rule(layer) if rule is not None else ()
