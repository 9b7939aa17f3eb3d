"""The nodes of a TensorFlow graph and of the functions beside it, read without a schema.

Field numbers are those of ``tensorflow/core/framework/{graph,function,node_def,attr_value,tensor,
op_def}.proto``. The bytes of tensors are not read: a tensor says where in the file they lie.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

from explorer.formats.containers.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    Readable,
    Window,
    fields,
)
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.messages import (
    DTYPES,
    UNREAD,
    numbers,
    raw,
    shape,
    signed,
    text,
    whole,
)
from explorer.network import ByteRange, Inline, Shape, Where
from explorer.plain_text import clean

_MOST_NODES = 400_000
_MOST_LISTED = 256
_LONGEST_NAME = 2000
_SMALL = 4096  # bytes of a tensor whose numbers may steer
_MOST_INLINE = 1 << 16
_SHORT = 128  # bytes of an attribute that is known again
_IN_MEMORY = 1 << 16  # bytes of a node that are read at once
# Fields of numbers that are written one by one: field -> how one is packed.
_TYPED = {5: "<f", 6: "<d", 7: "<i", 10: "<q", 11: "<?", 16: "<I", 17: "<Q", 13: "<H"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A TensorProto.

    Attributes
    ----------
    dtype : str
        As in `Weight`; empty for texts and the like.
    shape : tuple of int
    where : Where or None
    values : bytes
        Of a small tensor.
    """

    dtype: str
    shape: tuple[int, ...]
    where: Where | None
    values: bytes = b""


@dataclass(frozen=True, slots=True)
class Function:
    """The name of a function, as the value of an attribute."""

    name: str


@dataclass(slots=True)
class NodeDef:
    """A NodeDef: `inputs` as written, attributes as plain values, `Tensor` or `Function`."""

    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FunctionDef:
    """A FunctionDef: its arguments and outputs in order, and where the latter come from."""

    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    returned: dict[str, str] = field(default_factory=dict)
    nodes: list[NodeDef] = field(default_factory=list)


class GraphReader:
    """Reads graphs out of a file.

    Parameters
    ----------
    view : Readable
    path : str
        Of the file: what stands in `ByteRange.file`.
    """

    def __init__(self, view: Readable, path: str) -> None:
        self._view, self._path = view, path
        self._nodes = 0
        self._shapes: dict[bytes, Shape | None] = {}
        self._known: dict[bytes, tuple[str | None, Any]] = {}

    def graph(self, start: int, stop: int) -> tuple[list[NodeDef], dict[str, FunctionDef]]:
        """Nodes and functions of a GraphDef."""
        nodes, functions = [], {}
        for number, inner in self._inside(start, stop):
            if number == 1:
                nodes.append(self.node(inner))
            elif number == 2:
                for kind, own in self._inside(inner.start, inner.stop):
                    if kind == 1:
                        function = self._function(own)
                        functions[function.name] = function
        return nodes, functions

    def node(self, place: Field) -> NodeDef:
        """A NodeDef."""
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise UnreadableError("its graph is impossibly large")
        view, length = self._view, place.stop - place.start
        if length <= _IN_MEMORY and not isinstance(view, Window):
            view.seek(place.start)
            self._view = Window(view.read(length), place.start)
        try:
            return self._node(place)
        finally:
            self._view = view

    def _node(self, place: Field) -> NodeDef:
        node, view = NodeDef(), self._view
        for inner in fields(view, place.start, place.stop):
            number = inner.number
            if inner.wire != BYTES:
                continue
            if number == 3:
                node.inputs.append(text(view, inner))
            elif number == 5:
                key, value = self._attribute(inner)
                if key is not None:
                    node.attributes[key] = value
            elif number == 1:
                node.name = text(view, inner)
                if len(node.name) > _LONGEST_NAME:
                    raise UnreadableError("its graph has an impossibly long name")
            elif number == 2:
                node.op = text(view, inner)
        return node

    def _attribute(self, place: Field) -> tuple[str | None, Any]:
        """Name and plain value of an attribute; most are those of other nodes again."""
        data = raw(self._view, place) if place.stop - place.start <= _SHORT else b""
        if data in self._known:
            return self._known[data]
        key, value = self.pair(place)
        found = (None, None) if value is None else (key, self._value(value))
        if data and not isinstance(found[1], Tensor):  # which lies somewhere else each time
            self._known[data] = found
        return found

    def pair(self, place: Field) -> tuple[str, Field | None]:
        """Key and value of an entry of a map."""
        key, value = "", None
        for number, inner in self._inside(place.start, place.stop):
            if number == 1:
                key = text(self._view, inner)
            elif number == 2:
                value = inner
        return key, value

    def _inside(self, start: int, stop: int) -> Iterator[tuple[int, Field]]:
        """Fields of a message that are messages or texts themselves."""
        for inner in fields(self._view, start, stop):
            if inner.wire == BYTES:
                yield inner.number, inner

    def _function(self, place: Field) -> FunctionDef:
        function = FunctionDef()
        for number, inner in self._inside(place.start, place.stop):
            if number == 1:
                self._signature(function, inner)
            elif number == 3:
                function.nodes.append(self.node(inner))
            elif number == 4:
                key, value = self.pair(inner)
                if value is not None:
                    function.returned[key] = text(self._view, value)
        return function

    def _signature(self, function: FunctionDef, place: Field) -> None:
        for number, inner in self._inside(place.start, place.stop):
            if number == 1:
                function.name = text(self._view, inner)
            elif number in (2, 3):
                names = function.inputs if number == 2 else function.outputs
                told = (f for n, f in self._inside(inner.start, inner.stop) if n == 1)
                names.extend(text(self._view, f) for f in told)

    def _value(self, place: Field) -> Any:
        """An AttrValue as a plain value; ``None`` for what nobody asks for."""
        for inner in fields(self._view, place.start, place.stop):
            if inner.number == 1 and inner.wire == BYTES:
                return self._list(inner)
            value = self._plain(inner)
            if value is not None:
                return value
        return None

    def _plain(self, inner: Field) -> Any:
        number = inner.number
        if number in (2, 7, 8, 10) and inner.wire == BYTES:
            if number == 2:
                return text(self._view, inner)[:_SMALL]
            if number == 7:
                return shape(self._view, inner.start, inner.stop)
            if number == 8:
                return self.tensor(inner.start, inner.stop)
            return Function(
                next(
                    (
                        text(self._view, f)
                        for n, f in self._inside(inner.start, inner.stop)
                        if n == 1
                    ),
                    "",
                )
            )
        if number in (3, 6) and inner.wire == VARINT:
            return signed(inner.value)
        if number == 4 and inner.wire == FIXED32:
            self._view.seek(inner.start)
            return struct.unpack("<f", self._view.read(4))[0]
        return bool(inner.value) if number == 5 else None

    def _list(self, place: Field) -> list[Any]:
        found: list[Any] = []
        for inner in fields(self._view, place.start, place.stop):
            if len(found) > _MOST_LISTED:
                break
            if inner.number == 3:
                found += numbers(self._view, inner)
            elif inner.number == 7 and inner.wire == BYTES:
                found.append(shape(self._view, inner.start, inner.stop))
            elif inner.number == 2 and inner.wire == BYTES:
                found.append(text(self._view, inner)[:_SMALL])
        return found

    def _axes(self, place: Field) -> Shape | None:
        """A TensorShapeProto; most are those of other tensors again."""
        data = raw(self._view, place) if place.stop - place.start <= _SHORT else b""
        if data and data in self._shapes:
            return self._shapes[data]
        found = shape(self._view, place.start, place.stop)
        if data:
            self._shapes[data] = found
        return found

    def tensor(self, start: int, stop: int) -> Tensor:
        """A TensorProto; its bytes in place where they lie in one run."""
        code, axes, content, typed, told = 0, _no_shape(), None, b"", False
        for inner in fields(self._view, start, stop):
            told |= inner.number > 3
            if inner.number == 1:
                code = inner.value
            elif inner.number == 2 and inner.wire == BYTES:
                axes = self._axes(inner)
            elif inner.number == 4 and inner.wire == BYTES:
                content = inner
            elif inner.number in _TYPED and len(typed) <= _MOST_INLINE:
                typed += self._numbers(inner)
        dtype, size = DTYPES.get(code, ("", 0))
        if not dtype:
            return Tensor("", (), None)
        known = whole(axes, "a constant")
        total = prod(known) * size
        if content is None:  # nothing told stands for zeros
            return _filled(dtype, known, typed if told else bytes(size), size, total)
        if content.stop - content.start != total:
            raise UnreadableError("a constant in it has not as many bytes as its shape needs")
        where = ByteRange(self._path, content.start, total) if total else Inline(b"")
        values = raw(self._view, content) if total <= _SMALL else b""
        return Tensor(dtype, known, None if dtype in UNREAD else where, values)

    def _numbers(self, inner: Field) -> bytes:
        """Numbers of a typed field, as they would lie in the file."""
        form = _TYPED[inner.number]
        if inner.number in (5, 6):
            if inner.stop - inner.start > 2 * _MOST_INLINE:
                return bytes(_MOST_INLINE + 1)
            if inner.wire in (BYTES, FIXED32, FIXED64):
                return raw(self._view, inner)
            return b""
        if inner.stop - inner.start > _MOST_INLINE:
            return bytes(_MOST_INLINE + 1)
        mask = (1 << 8 * struct.calcsize(form)) - 1
        size = struct.calcsize(form)
        return b"".join((n & mask).to_bytes(size, "little") for n in numbers(self._view, inner))


def _no_shape() -> Shape | None:
    return ()


def _filled(dtype: str, known: tuple[int, ...], typed: bytes, size: int, total: int) -> Tensor:
    """A tensor of typed fields: the last number stands for all that follow."""
    if dtype in ("uint8", "int8", "int16", "uint16") and len(typed) % 4 == 0:
        typed = b"".join(typed[i : i + size] for i in range(0, len(typed), 4))
    if (
        total > _MOST_INLINE
        or not typed
        or dtype in UNREAD
        or len(typed) > total
        or len(typed) % size
    ):
        return Tensor(dtype, known, None)
    data = typed + typed[-size:] * ((total - len(typed)) // size)
    return Tensor(dtype, known, Inline(data), data)


def told_name(name: str) -> str:
    """A name of a node as it is shown."""
    return "/".join(clean(part) for part in name.split("/") if part)
