"""Pieces of TensorFlow's messages that more than one of its files holds.

Field numbers are those of ``tensorflow/core/framework/{types,tensor_shape}.proto``.
"""

from __future__ import annotations

from math import prod

from explorer.formats.containers.protobuf import BYTES, VARINT, Field, Readable, fields, varint
from explorer.formats.record import UnreadableError
from explorer.network import Shape

#: DataType: name here, bytes of an element. Texts, resources and the like have no entry.
DTYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2),
    6: ("int8", 1), 8: ("complex64", 8), 9: ("int64", 8), 10: ("bool", 1), 11: ("int8", 1),
    12: ("uint8", 1), 13: ("int32", 4), 14: ("bfloat16", 2), 15: ("int16", 2), 16: ("uint16", 2),
    17: ("uint16", 2), 18: ("complex128", 16), 19: ("float16", 2), 22: ("uint32", 4),
    23: ("uint64", 8), 24: ("float8_e5m2", 1), 25: ("float8_e4m3fn", 1),
    26: ("float8_e4m3fnuz", 1), 28: ("float8_e5m2fnuz", 1),
}  # fmt: skip
UNREAD = ("complex64", "complex128")
STRING = 7
_MOST_AXES = 254  # as in TensorFlow
_LONGEST_TEXT = 1 << 20


def text(view: Readable, field: Field) -> str:
    """The content of a field as text."""
    return raw(view, field).decode("utf-8", "replace")


def raw(view: Readable, field: Field) -> bytes:
    """The bytes of a field of names or numbers."""
    if field.wire != BYTES or field.stop - field.start > _LONGEST_TEXT:
        raise UnreadableError("a message in it is damaged")
    view.seek(field.start)
    return view.read(field.stop - field.start)


def signed(value: int) -> int:
    """A varint as a number of 64 bits with a sign."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def numbers(view: Readable, field: Field) -> list[int]:
    """A repeated whole number: one of it, or many packed."""
    if field.wire == VARINT:
        return [signed(field.value)]
    data, at, found = raw(view, field), 0, []
    while at < len(data):
        value, length = varint(data, at)
        found.append(signed(value))
        at += length
    return found


def shape(view: Readable, start: int, stop: int) -> Shape | None:
    """A TensorShapeProto; ``None`` where not even the number of axes is known."""
    axes: list[int | None] = []
    for field in fields(view, start, stop):
        if field.number == 3 and field.value:
            return None
        if field.number == 2 and field.wire == BYTES:
            size = 0
            for inner in fields(view, field.start, field.stop):
                if inner.number == 1:
                    size = signed(inner.value)
            axes.append(size if size >= 0 else None)
        if len(axes) > _MOST_AXES:
            raise UnreadableError("a tensor in it has impossibly many axes")
    return tuple(axes)


def whole(found: Shape | None, name: str) -> tuple[int, ...]:
    """A shape without unknown lengths.

    Raises
    ------
    UnreadableError
        If it has some, or more elements than can be.
    """
    known = tuple(n for n in found or () if n is not None)
    if found is None or len(known) != len(found) or prod(known) >= 1 << 60:
        raise UnreadableError(f"{name!r} has an impossible shape")
    return known
