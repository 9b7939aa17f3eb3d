"""Where the tensors of an ONNX model lie: in the file, in a file beside it, or in typed fields."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from explorer.formats.protobuf import fields
from explorer.formats.record import UnreadableError
from explorer.formats.source import Source
from explorer.network import ByteRange, Inline, Weight, Where
from explorer.plain_text import clean

_SMALL = 640  # bytes of a tensor that is parsed with the graph: shapes, axes, scales
_LARGEST_GRAPH = 256 << 20
_MOST_INLINE = 4 << 20  # bytes in all of tensors that are told in the manifest
_GRAPH, _NODE, _INITIALISER, _ATTRIBUTE, _TENSOR, _SUBGRAPH, _SUBGRAPHS = 7, 1, 5, 5, 5, 6, 11
_TENSORS, _NAME, _RAW = 10, 8, 9
_DEEPEST = 16
# TensorProto.DataType: name here, bits.
DTYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64),
    12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16), 17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8), 20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1fn", 4), 24: ("float8_e8m0fnu", 8),
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
            return _short(name, shape, dtype, where)
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
        self._inline += len(data)
        if self._inline > _MOST_INLINE:
            self.notes.append("tensors in typed fields are not all read")
            return None
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


def _short(name: str, shape: tuple[int, ...], dtype: str, where: Where | None) -> Weight:
    """Codes of four bits, two in a byte, the first in its lower half."""
    from explorer.network import Lanes, Packing

    if dtype.startswith("float"):
        return Weight(name, "", shape, dtype, None)
    return Weight(name, "", shape, dtype, where, Packing(lanes=Lanes("uint8", 4, prod(shape))))


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


def _copied(
    source: Source, start: int, stop: int, tensors: Tensors, kind: int, depth: int
) -> bytes:
    """A message with the tensors inside it stripped; copied whole where nothing in it is large."""
    if stop - start <= _SMALL and kind != _MODEL:
        return source.pread(start, stop - start)
    if depth > _DEEPEST:
        raise UnreadableError("it is nested too deeply")
    out: list[bytes] = []
    plain = start  # what has not been copied yet begins here
    for field in fields(source, start, stop):
        inner = _INSIDE[kind].get(field.number)
        large = field.stop - field.start > _SMALL
        if inner is not None and field.wire == 2 and large:
            body = _copied(source, field.start, field.stop, tensors, inner, depth + 1)
        elif kind == _TENSOR_IN and field.number == _RAW and field.wire == 2 and large:
            tensors.raw.append((field.start, field.stop - field.start))
            body = f"{MARK}{len(tensors.raw) - 1}".encode()
        else:
            continue
        out += [
            _bytes(source, plain, field.tag),
            _length(field.number << 3 | field.wire),
            _length(len(body)),
            body,
        ]
        plain = field.stop
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
