"""A `Network` as JSON, and back again with everything checked.

The child process that parses a file writes it; the parent trusts none of it: a parser that was
taken over by a hostile file can still only name byte ranges inside that file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, cast

from explorer.formats.record import UnreadableError
from explorer.network import (
    ByteRange,
    Chunks,
    FileStamp,
    Inline,
    Lanes,
    Layer,
    Link,
    Network,
    Packing,
    Pieces,
    Scope,
    Shape,
    TableAxis,
    Weight,
    Where,
)
from explorer.plain_text import LONGEST_NAME
from explorer.weights.codecs import problem

LONGEST_PATH = 40 * LONGEST_NAME
MOST = 1_000_000
MOST_DIMENSIONS = 32
MOST_NOTES = 50
MOST_PARTS = 4096
LONGEST_INLINE = 1 << 20
"""Characters of a tensor that is told in the manifest itself."""
_FILTERS = ("shuffle", "deflate")
_DEEPEST = 4  # tables of scales that have scales themselves


@dataclass(frozen=True)
class Part:
    """A further file of a model, as the child saw it.

    Attributes
    ----------
    name : str
        As the model names it.
    size, mtime_ns : int
    """

    name: str
    size: int
    mtime_ns: int


def encode(network: Network, parts: Mapping[str, Part] | None = None) -> bytes:
    """The manifest of a network.

    Parameters
    ----------
    network : Network
    parts : mapping of str to Part, optional
        Further files by their path in `ByteRange.file`; every other path is the file itself.
    """
    parts = parts or {}
    out = _Writer({path: at for at, path in enumerate(parts, 1)})
    data = {
        "parts": [[part.name, part.size, part.mtime_ns] for part in parts.values()],
        "name": network.name,
        "format": network.format,
        "layers": [out.layer(layer) for layer in network.layers],
        "scopes": [[s.path, s.kind, s.config, s.composite] for s in network.scopes],
        "links": [
            [a.source, a.target, a.source_output, a.target_input, a.call, a.shape, a.origin]
            for a in network.links
        ],
        "links_known": network.links_known,
        "notes": _few(network.notes),
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def _few(notes: tuple[str, ...]) -> list[str]:
    if len(notes) <= MOST_NOTES:
        return list(notes)
    return [*notes[: MOST_NOTES - 1], f"and {len(notes) - MOST_NOTES + 1} more"]


class _Writer:
    """Layers and weights as JSON; files by number, 0 for the model file itself."""

    def __init__(self, files: Mapping[str, int]) -> None:
        self._files = files

    def layer(self, layer: Layer) -> list[Any]:
        weights = [self.weight(w) for w in layer.weights]
        return [
            layer.path, layer.kind, layer.config, layer.input_shapes, layer.output_shape, weights,
            layer.operation,
        ]  # fmt: skip

    def weight(self, weight: Weight | None) -> Any:
        if weight is None:
            return None
        where, packing = self.where(weight.where), self.packing(weight.packing)
        return [weight.name, weight.role, weight.shape, weight.dtype, where, packing, weight.axes]

    def packing(self, packing: Packing | None) -> Any:
        if packing is None:
            return None
        lanes = packing.lanes
        return {
            "scale": self.weight(packing.scale),
            "zero": self.weight(packing.zero),
            "divide": packing.divide,
            "axes": [[a.length, a.block, a.step, self.weight(a.index)] for a in packing.axes],
            "lanes": lanes and [lanes.word, lanes.bits, lanes.length, lanes.inner],
        }

    def where(self, where: Where | None) -> Any:
        if isinstance(where, Chunks):
            pieces = [[start, *self.range(place)] for start, place in where.pieces]
            return {"shape": where.shape, "pieces": pieces, "filters": where.filters}
        if isinstance(where, Pieces):
            return {"parts": [self.range(part) for part in where.parts]}
        if isinstance(where, Inline):
            return base64.b64encode(where.data).decode()
        return None if where is None else self.range(where)

    def range(self, place: ByteRange) -> list[int]:
        file = self._files.get(place.file, 0)
        return [place.offset, place.nbytes, file] if file else [place.offset, place.nbytes]


class _WrongError(Exception):
    """The manifest is not what a sound parser writes."""


def decode(
    data: bytes, stamp: FileStamp, find: Callable[[Part], FileStamp] | None = None
) -> Network:
    """The network of a manifest.

    Parameters
    ----------
    data : bytes
    stamp : FileStamp
        The file, of size 0 for a folder; every byte range is checked against its size.
    find : callable (Part) -> FileStamp, optional
        Finds a further file, by its own rules; raises `UnreadableError` for one that is not there,
        not allowed, or not as the child saw it. Without it there are none.

    Raises
    ------
    UnreadableError
        When anything in it is impossible: a range outside the file, a shape that does not fit its
        bytes, a link to a layer that does not exist, a name that occurs twice.
    """
    try:
        return _Reader(stamp, find).network(json.loads(data, parse_constant=_refused))
    except (_WrongError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise UnreadableError(
            f"the file leads its reader to impossible results ({error})"
        ) from None


def _refused(name: str) -> None:
    raise _WrongError(name)


def _need(condition: object, what: str) -> None:
    if not condition:
        raise _WrongError(what)


def _text(value: Any, limit: int = LONGEST_PATH) -> str:
    _need(isinstance(value, str) and len(value) <= limit, "a text")
    return str(value)


def _count(value: Any, limit: int = 2**62) -> int:
    _need(type(value) is int and 0 <= value < limit, "a number")
    return int(value)


def _items(value: Any, limit: int = MOST) -> list[Any]:
    _need(isinstance(value, list) and len(value) <= limit, "a list")
    return list(value)


def _config(value: Any) -> Mapping[str, Any]:
    _need(isinstance(value, dict), "a configuration")
    return dict(value)


def _lengths(value: Any) -> tuple[int, ...]:
    lengths = _shape(value)
    _need(None not in lengths, "a number")
    return cast("tuple[int, ...]", lengths)


def _shape(value: Any) -> Shape:
    for n in _items(value, MOST_DIMENSIONS):  # called more often than anything else here
        if n is not None and (type(n) is not int or not 0 <= n < 1 << 62):
            raise _WrongError("a number")
    return tuple(value)


class _Reader:
    def __init__(self, stamp: FileStamp, find: Callable[[Part], FileStamp] | None) -> None:
        self.stamps, self.find = [stamp], find
        self.paths: set[str] = set()
        self.layers: set[str] = set()
        self.weights: dict[str, Weight] = {}

    def network(self, data: Any) -> Network:
        _need(isinstance(data, dict), "a manifest")
        for name, size, mtime_ns in (_items(row, 3) for row in _items(data["parts"], MOST_PARTS)):
            _need(self.find is not None, "a part")
            assert self.find is not None
            self.stamps.append(self.find(Part(_text(name), _count(size), _count(mtime_ns))))
        scopes = tuple(self.scope(row) for row in _items(data["scopes"]))
        layers = tuple(self.layer(row) for row in _items(data["layers"]))
        _need(layers, "layers")
        return Network(
            _text(data["name"]),
            _text(data["format"], 40),
            layers,
            scopes,
            tuple(self.link(row) for row in _items(data["links"])),
            data["links_known"] is True,
            tuple(stamp for stamp in self.stamps if stamp.size),
            tuple(_text(note) for note in _items(data["notes"], MOST_NOTES)),
            self.stamps[0].path,
        )

    def path(self, value: Any) -> str:
        path = _text(value)
        _need(path and path not in self.paths, "a path")
        self.paths.add(path)
        return path

    def scope(self, row: Any) -> Scope:
        path, kind, config, composite = _items(row, 4)
        return Scope(self.path(path), _text(kind), _config(config), composite is True)

    def layer(self, row: Any) -> Layer:
        path, kind, config, inputs, output, weights, operation = _items(row, 7)
        path = self.path(path)
        self.layers.add(path)
        return Layer(
            path,
            _text(kind),
            _config(config),
            tuple(_shape(s) for s in _items(inputs, 10_000)),
            None if output is None else _shape(output),
            tuple(self.weight(w) for w in _items(weights, 100_000)),
            _text(operation, 40),
        )

    def weight(self, row: Any, depth: int = 0) -> Weight:
        _need(depth < _DEEPEST, "scales")
        name, role, lengths, dtype, place, packing, axes = _items(row, 7)
        shape = _lengths(lengths)
        _need(prod(shape) < 2**62, "a shape")
        weight = Weight(
            _text(name), _text(role), shape, _text(dtype, 40), self.where(place, shape),
            self.packing(packing, depth), _text(axes, MOST_DIMENSIONS),
        )  # fmt: skip
        wrong = problem(weight)
        _need(not wrong, f"a weight with {wrong}")
        known = self.weights.setdefault(weight.name, weight)
        same = (known.where, known.shape, known.dtype, known.packing)
        _need(same == (weight.where, shape, weight.dtype, weight.packing), "a weight")
        return weight

    def packing(self, value: Any, depth: int) -> Packing | None:
        if value is None:
            return None

        def table(row: Any) -> Weight | None:
            return None if row is None else self.weight(row, depth + 1)

        axes = [
            TableAxis(_count(length), _count(block), _count(step), table(index))
            for length, block, step, index in map(_items, _items(value["axes"], MOST_DIMENSIONS))
        ]
        lanes = None
        if value["lanes"] is not None:
            word, *counts = _items(value["lanes"], 4)
            lanes = Lanes(_text(word, 40), *map(_count, counts))
        divide = value["divide"] is True
        return Packing(table(value["scale"]), table(value["zero"]), divide, tuple(axes), lanes)

    def where(self, value: Any, shape: tuple[int, ...]) -> Where | None:
        if value is None:
            return None
        if isinstance(value, list):
            return self.range(*_items(value, 3))
        if isinstance(value, str):
            return Inline(base64.b64decode(_text(value, LONGEST_INLINE), validate=True))
        if "parts" in value:
            return Pieces(tuple(self.range(*_items(p, 3)) for p in _items(value["parts"])))
        chunk = _lengths(value["shape"])
        _need(len(chunk) == len(shape) and all(chunk), "a chunk")
        pieces = []
        for start, *place in _items(value["pieces"]):
            first = _lengths(start)
            _need(len(first) == len(shape), "a chunk")
            inside = [i < n and not i % c for i, n, c in zip(first, shape, chunk, strict=True)]
            _need(all(inside), "a chunk")
            pieces.append((first, self.range(*_items(place, 3))))
        _need(len({first for first, _ in pieces}) == len(pieces), "a chunk")
        expected = prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        _need(len(pieces) == expected, "all chunks")
        filters = tuple(_items(value["filters"], 4))
        _need(all(f in _FILTERS for f in filters), "a filter")
        return Chunks(chunk, tuple(pieces), filters)

    def range(self, offset: Any, nbytes: Any, file: Any = 0) -> ByteRange:
        offset, nbytes = _count(offset), _count(nbytes)
        stamp = self.stamps[_count(file, len(self.stamps))]
        _need(offset + nbytes <= stamp.size, "bytes inside the file")
        return ByteRange(stamp.path, offset, nbytes)

    def link(self, row: Any) -> Link:
        source, target, output, number, call, shape, origin = _items(row, 7)
        _need(source in self.layers and target in self.layers, "a layer at each end of a link")
        _need(origin in ("recorded", "inferred"), "an origin")
        return Link(
            source,
            target,
            _count(output, MOST),
            _count(number, MOST),
            _count(call, MOST),
            None if shape is None else _shape(shape),
            origin,
        )
