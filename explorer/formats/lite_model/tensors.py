"""Tensors of a TFLite graph: shapes, where their bytes lie, and their scales.

The fields are those of the schema in the TensorFlow sources, ``lite/schema/schema.fbs``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod

from explorer.formats.containers.flatbuffer import Buffer, Table
from explorer.formats.naming.text import Names
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Lanes, Packing, Shape, TableAxis, Weight
from explorer.plain_text import clean

_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTISATION, _SPARSITY, _SIGNATURE = 0, 1, 2, 3, 4, 6, 7
_SCALE, _ZERO, _DETAILS, _AXIS = 2, 3, 5, 6
_DATA, _OFFSET, _SIZE = 0, 1, 2
_MOST_AXES = 32
_MOST_VALUES = 64  # whole numbers that may be axes, a shape, sizes
# TensorType: name here, bits.
DTYPES: dict[int, tuple[str, int]] = {
    0: ("float32", 32), 1: ("float16", 16), 2: ("int32", 32), 3: ("uint8", 8), 4: ("int64", 64),
    6: ("bool", 8), 7: ("int16", 16), 9: ("int8", 8), 10: ("float64", 64), 12: ("uint64", 64),
    15: ("uint32", 32), 16: ("uint16", 16), 17: ("int4", 4), 18: ("bfloat16", 16),
    19: ("int2", 2), 20: ("uint4", 4),
}  # fmt: skip
_LETTERS = {"int32": "i", "int64": "q", "bool": "?", "uint8": "B", "int8": "b"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a graph.

    Attributes
    ----------
    name : str
        In the file, cleaned.
    shape : Shape
        Unknown lengths are ``None``.
    weight : Weight or None
        Where the file holds its numbers.
    values : tuple of int or None
        Of a few whole numbers without a scale: they steer, and are no weight.
    """

    name: str
    shape: Shape
    weight: Weight | None = None
    values: tuple[int, ...] | None = None


class Tensors:
    """The tensors of all graphs of a file.

    Parameters
    ----------
    buffer : Buffer
    stores : list of Table
        The buffers of the model.

    Attributes
    ----------
    notes : list of str
    """

    def __init__(self, buffer: Buffer, stores: list[Table]) -> None:
        self._buffer, self._stores = buffer, stores
        self._names = Names()
        self.notes: list[str] = []

    def read(self, table: Table) -> Tensor:
        """One tensor of a graph."""
        name = table.text(_NAME) or "tensor"
        lengths = table.numbers(_SHAPE)
        if len(lengths) > _MOST_AXES or any(n < 0 for n in lengths) or prod(lengths) >= 1 << 62:
            raise UnreadableError(f"{clean(name)!r} has an impossible shape")
        signature = table.numbers(_SIGNATURE)
        shape: Shape = lengths
        if len(signature) == len(lengths):
            shape = tuple(None if n < 0 else m for n, m in zip(signature, lengths, strict=True))
        where = self._where(table, name)
        if where is None:
            return Tensor(name, shape)
        return self._held(table, name, lengths, where)

    def _where(self, table: Table, name: str) -> ByteRange | None:
        """The bytes of a tensor; ``None`` of one that is computed."""
        number = table.number(_BUFFER, "<I")
        if number >= len(self._stores):
            raise UnreadableError(f"{clean(name)!r} lies in buffer {number}, which is not there")
        store = self._stores[number]
        start, size = store.number(_OFFSET, "<Q"), store.number(_SIZE, "<Q")
        if start <= 1:  # else beyond the tables, as where a file is larger than 2 GB
            start, size = store.vector(_DATA, 1) or (0, 0)
        if start + size > self._buffer.size:
            raise UnreadableError(f"{clean(name)!r} reaches past the end (a partial download?)")
        return ByteRange(self._buffer.source.path, start, size) if size else None

    def _held(self, table: Table, name: str, shape: tuple[int, ...], where: ByteRange) -> Tensor:
        """A tensor whose numbers the file holds."""
        dtype, bits = DTYPES.get(table.number(_TYPE, "<b"), ("", 0))
        if not dtype:  # text, resources
            return Tensor(name, shape)
        unique = self._names.unique("", name)
        if table.has(_SPARSITY):
            self._note("sparse tensors are shown, but not their numbers")
            return Tensor(name, shape, Weight(unique, "", shape, dtype, None))
        size = prod(shape)
        nbytes = -(-size * bits // 8)
        if where.nbytes != nbytes:
            raise UnreadableError(
                f"{clean(name)!r} has {where.nbytes} bytes where {nbytes} are needed"
            )
        packing = self._packing(table, name, unique, shape)
        scaled = packing is not None
        if bits < 8:
            lanes = Lanes("uint8", bits, size)
            packing = Packing(lanes=lanes) if packing is None else Packing(
                packing.scale, packing.zero, False, packing.axes, lanes)  # fmt: skip
        weight = Weight(unique, "", shape, dtype, where, packing)
        if scaled or size > _MOST_VALUES or dtype not in _LETTERS:
            return Tensor(name, shape, weight)
        data = self._buffer.read(where.offset, nbytes)
        return Tensor(name, shape, weight, struct.unpack(f"<{size}{_LETTERS[dtype]}", data))

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _packing(
        self, table: Table, name: str, unique: str, shape: tuple[int, ...]
    ) -> Packing | None:
        """Scales and zero points of a tensor, per tensor or per position of one axis."""
        told = table.table(_QUANTISATION)
        if told is None or not prod(shape):
            return None
        scales = told.vector(_SCALE, 4)
        if scales is None or not scales[1]:
            return None
        count = scales[1]
        axis = told.number(_AXIS)
        if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
            raise UnreadableError(f"{clean(name)!r} has {count} scales, which fit none of its axes")
        axes = tuple(
            TableAxis(n, 1, int(count > 1 and i == axis)) for i, n in enumerate(shape)
        ) or (TableAxis(1),)  # fmt: skip
        path = self._buffer.source.path
        scale = Weight(f"{unique} scale", "scale", (count,), "float32",
                       ByteRange(path, scales[0], 4 * count))  # fmt: skip
        zeros = told.vector(_ZERO, 8)
        zero = None
        if zeros is not None and zeros[1] == count and any(told.numbers(_ZERO, "q")):
            zero = Weight(f"{unique} zero", "zero", (count,), "int64",
                          ByteRange(path, zeros[0], 8 * count))  # fmt: skip
        elif zeros is not None and zeros[1] not in (0, count):
            raise UnreadableError(f"{clean(name)!r} has another number of zero points than scales")
        return Packing(scale, zero, False, axes)
