"""Where the tensors of an ONNX model lie: in the file, in a file beside it, or in typed fields."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from explorer.formats.containers.protobuf import BYTES, fields
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Inline, Lanes, Packing, Weight, Where
from explorer.plain_text import clean

_SMALL = 640  # bytes of a tensor that is parsed with the graph: shapes, axes, scales
_SMALL_FLOATS = 128  # … of one that holds no whole numbers
_LARGEST_GRAPH = 256 << 20
_MOST_INLINE = 8 << 20  # bytes in all of tensors that are told in the manifest
_LARGEST_INLINE = 768 << 10  # … and of one of them
_GRAPH, _NODE, _INITIALISER, _ATTRIBUTE, _TENSOR, _SUBGRAPH, _SUBGRAPHS = 7, 1, 5, 5, 5, 6, 11
_TENSORS, _DATA_TYPE, _RAW = 10, 2, 9
_DEEPEST = 16
# TensorProto.DataType: name here, bits.
DTYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64),
    12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16), 17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8), 20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1fn", 4), 24: ("float8_e8m0fnu", 8),
    25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip
MARK = "\0neuronaut"
"""Begins the name of a field that says where bytes lie that were left out of the parse."""


class Tensors:
    """The tensors of a model, by where their bytes lie.

    Parameters
    ----------
    source : Source
        The model file.

    Attributes
    ----------
    notes : list of str
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.notes: list[str] = []
        self.raw: list[tuple[int, int]] = []
        self._inline = 0

    def weight(self, tensor: Any, name: str) -> Weight | None:
        """A tensor of the parsed model as a weight; ``None`` for one of no known type."""
        dtype, bits = DTYPES.get(tensor.data_type, ("", 0))
        if not dtype:
            return None
        shape = tuple(int(n) for n in tensor.dims)
        size = prod(shape)
        if any(n < 0 for n in shape) or size >= 1 << 62:
            raise UnreadableError(f"{clean(name)!r} has an impossible shape")
        where = self._where(tensor, -(-size * bits // 8), name)
        if bits < 8:
            # The first code lies in the lowest bits of a byte.
            lanes = Lanes("uint8", bits, size)
            return Weight(name, "", shape, dtype, where, Packing(lanes=lanes))
        return Weight(name, "", shape, dtype, where)

    def _where(self, tensor: Any, nbytes: int, name: str) -> Where | None:
        if tensor.data_location == 1:
            return self._external(tensor, nbytes, name)
        raw = bytes(tensor.raw_data)
        if raw.startswith(MARK.encode()):
            start, length = self.raw[int(raw[len(MARK) :])]
            if length != nbytes:
                raise UnreadableError(
                    f"{clean(name)!r} has {length} bytes where {nbytes} are needed"
                )
            return ByteRange(self.source.path, start, length)
        data = raw or typed_bytes(tensor)
        if len(data) != nbytes:
            raise UnreadableError(
                f"{clean(name)!r} has {len(data)} bytes where {nbytes} are needed"
            )
        if len(data) > _LARGEST_INLINE or self._inline + len(data) > _MOST_INLINE:
            self.notes.append("tensors in typed fields are not all read")
            return None
        self._inline += len(data)
        return Inline(data)

    def _external(self, tensor: Any, nbytes: int, name: str) -> Where:
        told = {entry.key: entry.value for entry in tensor.external_data}
        place = told.get("location", "")
        offset, length = told.get("offset", "0") or "0", told.get("length", "") or str(nbytes)
        if not (offset.isdecimal() and length.isdecimal()) or len(offset + length) > 40:
            raise UnreadableError(f"{clean(name)!r} lies at an impossible place")
        part = self.source.part(place.removeprefix("./"))
        start, size = int(offset), int(length)
        if size != nbytes:
            raise UnreadableError(f"{clean(name)!r} has {size} bytes where {nbytes} are needed")
        if start + size > part.size:
            expected = f"{start + size:,} bytes are expected and {part.size:,} are there"
            raise UnreadableError(
                f"{clean(place)} is not complete: at least {expected.replace(',', ' ')}"
                " (a partial download?)"
            )
        return ByteRange(part.path, start, size)


class Distinct:
    """Gives weights names of which none stands for two things.

    Graphs inside nodes may use a name again, and one tensor may be read in two ways: as codes,
    and as the numbers that they are decoded to.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[Any, ...], str] = {}
        self._taken: dict[str, int] = {}

    def of(self, weight: Weight) -> Weight:
        """The weight, under another name where its own is taken."""
        packing = weight.packing
        if packing is not None and packing.scale is not None:
            zero = None if packing.zero is None else self.of(packing.zero)
            packing = replace(packing, scale=self.of(packing.scale), zero=zero)
            weight = replace(weight, packing=packing)
        key = (weight.name, weight.where, weight.shape, weight.dtype, packing)
        name = self._names.get(key)
        if name is None:
            name = weight.name
            while name in self._taken:
                self._taken[weight.name] += 1
                name = f"{weight.name}~{self._taken[weight.name]}"
            self._taken[name] = 1
            self._names[key] = name
        return weight if name == weight.name else replace(weight, name=name)


def constant(attribute: Any) -> Any:
    """The tensor of an attribute of a Constant node; ``None`` for text and for none."""
    from onnx import TensorProto

    if attribute.name == "value" and attribute.type == 4:
        return attribute.t
    if attribute.name == "value_float":
        return TensorProto(data_type=1, float_data=[attribute.f])
    if attribute.name == "value_floats":
        found = attribute.floats
        return TensorProto(data_type=1, dims=[len(found)], float_data=found)
    if attribute.name == "value_int":
        return TensorProto(data_type=7, int64_data=[attribute.i])
    if attribute.name == "value_ints":
        return TensorProto(data_type=7, dims=[len(attribute.ints)], int64_data=attribute.ints)
    return None


def whole(tensor: Any, most: int) -> tuple[int, ...] | None:
    """The values of a tensor of no more than `most` whole numbers; ``None`` for any other."""
    if tensor is None or tensor.data_type not in (6, 7) or prod(tensor.dims) > most:
        return None
    data = bytes(tensor.raw_data)
    if data.startswith(MARK.encode()) or tensor.data_location == 1:
        return None
    found = np.frombuffer(data or typed_bytes(tensor), DTYPES[tensor.data_type][0])
    return tuple(found.tolist())


def typed_bytes(tensor: Any) -> bytes:
    """Elements of the fields that hold one number each, as they would lie in the file."""
    dtype = DTYPES[tensor.data_type][0]
    if tensor.float_data:
        return np.array(tensor.float_data, "<f4").tobytes()
    if tensor.double_data:
        return np.array(tensor.double_data, "<f8").tobytes()
    if tensor.int64_data:
        return np.array(tensor.int64_data, "<i8").tobytes()
    if tensor.uint64_data:
        return np.array(tensor.uint64_data, "<u8").astype(f"<{np.dtype(dtype).str[1:]}").tobytes()
    if tensor.int32_data:
        found = np.array(tensor.int32_data, np.int64)
        if dtype in ("float16", "bfloat16"):
            return (found & 0xFFFF).astype("<u2").tobytes()
        if dtype.startswith("float8") or DTYPES[tensor.data_type][1] < 8:
            return (found & 0xFF).astype("u1").tobytes()
        return found.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return b""


def stripped(source: Source, tensors: Tensors) -> bytes:
    """The model without the bytes of its large tensors, each replaced by a mark.

    Parameters
    ----------
    source : Source
    tensors : Tensors
        Told where the bytes lie that are left out.
    """
    out = _copied(source, 0, source.size, tensors, _MODEL, 0)
    if len(out) > _LARGEST_GRAPH:
        raise UnreadableError("its graph is impossibly large")
    return out


# Which fields of a message lead to tensors: field number -> kind of the message inside.
_MODEL, _GRAPH_IN, _NODE_IN, _ATTRIBUTE_IN, _TENSOR_IN, _FUNCTION = range(6)
_INSIDE: dict[int, dict[int, int]] = {
    _MODEL: {_GRAPH: _GRAPH_IN, 25: _FUNCTION},
    _GRAPH_IN: {_NODE: _NODE_IN, _INITIALISER: _TENSOR_IN},
    _FUNCTION: {7: _NODE_IN},
    _NODE_IN: {_ATTRIBUTE: _ATTRIBUTE_IN},
    _ATTRIBUTE_IN: {_TENSOR: _TENSOR_IN, _TENSORS: _TENSOR_IN, _SUBGRAPH: _GRAPH_IN,
                    _SUBGRAPHS: _GRAPH_IN},
    _TENSOR_IN: {},
}  # fmt: skip


_IN_PLACE = {(4, 1), (10, 11)}  # fields that hold floats, or doubles, as raw bytes would
_WHOLE = (6, 7)  # types of whole numbers, whose small tensors are shapes and axes


def _copied(source: Source, start: int, stop: int, tensors: Tensors, kind: int,
            depth: int) -> bytes:  # fmt: skip
    """A message with the tensors inside it stripped; copied whole where nothing in it is large."""
    if depth > _DEEPEST:
        raise UnreadableError("it is nested too deeply")
    out: list[bytes] = []
    plain = start  # what has not been copied yet begins here
    inside, small, dtype = _INSIDE[kind], _SMALL, 0
    for number, wire, tag, begin, end, value in fields(source, start, stop):
        if wire != BYTES:
            if kind == _TENSOR_IN and number == _DATA_TYPE:
                small, dtype = _SMALL if value in _WHOLE else _SMALL_FLOATS, value
            continue
        if end - begin <= _SMALL_FLOATS:
            continue
        inner = inside.get(number)
        if inner is not None and (inner == _TENSOR_IN or end - begin > _SMALL):
            body = _copied(source, begin, end, tensors, inner, depth + 1)
        elif kind != _TENSOR_IN or end - begin <= small:
            continue
        elif number == _RAW or (number, dtype) in _IN_PLACE:
            tensors.raw.append((begin, end - begin))
            body, number = f"{MARK}{len(tensors.raw) - 1}".encode(), _RAW
        else:
            continue
        out += [_bytes(source, plain, tag), _length(number << 3 | wire), _length(len(body)), body]
        plain = end
    out.append(_bytes(source, plain, stop))
    return b"".join(out)


def _bytes(source: Source, start: int, stop: int) -> bytes:
    if stop - start > _LARGEST_GRAPH:
        raise UnreadableError("its graph is impossibly large")
    step = 32 << 20
    return b"".join(source.pread(at, min(step, stop - at)) for at in range(start, stop, step))


def _length(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
