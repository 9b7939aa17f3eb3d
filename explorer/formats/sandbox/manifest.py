"""A `Network` as JSON, and back again with everything checked.

The child process that parses a file writes it; the parent trusts none of it: a parser that was
taken over by a hostile file can still only name byte ranges inside that file.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from explorer.formats.record import UnreadableError
from explorer.formats.sandbox.manifest_checks import (
    MOST,
    WrongError,
    a_config,
    a_list,
    a_number,
    a_shape,
    a_text,
    bounded,
    column,
    need,
    picked,
)
from explorer.formats.sandbox.manifest_weights import WeightParser, WeightWriter, extent
from explorer.network import FileStamp, Layer, Link, Network, Scope, Shape, Weight
from explorer.plain_text import clean

MOST_NOTES = 50
MOST_PARTS = 4096
MOST_REPEATED = 100_000_000
"""Characters that what layers share would take in all, were it told for each of them."""
_Origin = Literal["recorded", "inferred"]
_ORIGINS: tuple[_Origin, ...] = ("recorded", "inferred")
_Value = TypeVar("_Value")


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

    What many layers have alike, their kinds, shapes, configurations and weights, is told once and
    then named by its number; layers and links are columns of such numbers. So a graph of many
    operators is small to send and quick to check.

    Parameters
    ----------
    network : Network
    parts : mapping of str to Part, optional
        Further files by their path in `ByteRange.file`; every other path is the file itself.
    """
    parts = parts or {}
    out, weights = _Writer(), WeightWriter({path: at for at, path in enumerate(parts, 1)})
    layers, links = out.layers(network.layers), out.links(network)
    data = {
        "parts": [[part.name, part.size, part.mtime_ns] for part in parts.values()],
        "name": clean(network.name) or "unnamed",
        "format": network.format,
        "texts": list(out.texts),
        "configs": list(out.configs.values()),
        "shapes": list(out.shapes),
        "inputs": list(out.inputs.values()),
        "weights": [weights.weight(w) for w in out.weights],
        "layers": layers,
        "scopes": [
            [s.path, clean(s.kind) or "unnamed", s.config, s.composite] for s in network.scopes
        ],
        "links": links,
        "links_known": network.links_known,
        "notes": _few(network.notes),
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def _few(notes: tuple[str, ...]) -> list[str]:
    if len(notes) <= MOST_NOTES:
        return list(notes)
    return [*notes[: MOST_NOTES - 1], f"and {len(notes) - MOST_NOTES + 1} more"]


def _numbered(values: Iterable[_Value], table: dict[_Value, int]) -> list[int]:
    """The numbers of values in a table, to which those are added that it does not have."""
    return [table.setdefault(value, len(table)) for value in values]


class _Writer:
    """Layers and links as columns, and the tables that these name entries of."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.configs: dict[int, Mapping[str, Any]] = {}
        self.shapes: dict[Shape | None, int] = {None: 0}
        self.inputs: dict[tuple[Shape, ...], list[int]] = {}
        self.weights: dict[Weight, int] = {}

    def layers(self, layers: tuple[Layer, ...]) -> list[list[Any]]:
        configs: dict[int, int] = {}  # by identity: a configuration has no hash
        for layer in layers:
            configs.setdefault(id(layer.config), len(configs))
            self.configs[id(layer.config)] = layer.config
        kinds = {kind: clean(kind) or "unnamed" for kind in {layer.kind for layer in layers}}
        inputs: dict[tuple[Shape, ...], int] = {}
        columns: list[list[Any]] = [
            [layer.path for layer in layers],
            _numbered([kinds[layer.kind] for layer in layers], self.texts),
            [configs[id(layer.config)] for layer in layers],
            _numbered([layer.input_shapes for layer in layers], inputs),
            _numbered([layer.output_shape for layer in layers], self.shapes),
            [_numbered(la.weights, self.weights) if la.weights else [] for la in layers],
            _numbered([layer.operation for layer in layers], self.texts),
        ]
        self.inputs = {shapes: _numbered(shapes, self.shapes) for shapes in inputs}
        return columns

    def links(self, network: Network) -> list[list[int]]:
        links, at = network.links, network.position
        return [
            [at[link.source] for link in links],
            [at[link.target] for link in links],
            [link.source_output for link in links],
            [link.target_input for link in links],
            [link.call for link in links],
            _numbered([link.shape for link in links], self.shapes),
            [_ORIGINS.index(link.origin) for link in links],
        ]


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
    collecting = gc.isenabled()
    gc.disable()  # all that is made here is kept, and nothing of it names itself
    try:
        return _Reader(stamp, find).network(json.loads(data, parse_constant=_refused))
    except (WrongError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise UnreadableError(
            f"the file leads its reader to impossible results ({error})"
        ) from None
    finally:
        if collecting:
            gc.enable()


def _refused(name: str) -> None:
    raise WrongError(name)


class _Reader:
    def __init__(self, stamp: FileStamp, find: Callable[[Part], FileStamp] | None) -> None:
        self.stamps, self.find = [stamp], find
        self.paths: set[str] = set()
        self.texts: list[str] = []
        self.shapes: list[Shape | None] = []

    def network(self, data: Any) -> Network:
        need(isinstance(data, dict), "a manifest")
        for name, size, mtime_ns in (a_list(row, 3) for row in a_list(data["parts"], MOST_PARTS)):
            need(self.find is not None, "a part")
            assert self.find is not None
            self.stamps.append(self.find(Part(a_text(name), a_number(size), a_number(mtime_ns))))
        self.texts = [a_text(text) for text in a_list(data["texts"])]
        self.shapes = [None if s is None else a_shape(s) for s in a_list(data["shapes"], 2 * MOST)]
        scopes = tuple(self.scope(row) for row in a_list(data["scopes"]))
        layers = self.layers(data)
        return Network(
            a_text(data["name"]),
            a_text(data["format"], 40),
            layers,
            scopes,
            self.links(data["links"], [layer.path for layer in layers]),
            data["links_known"] is True,
            tuple(stamp for stamp in self.stamps if stamp.size),
            tuple(a_text(note) for note in a_list(data["notes"], MOST_NOTES)),
            self.stamps[0].path,
        )

    def path(self, value: Any) -> str:
        path = a_text(value)
        need(path and path not in self.paths, "a path")
        self.paths.add(path)
        return path

    def scope(self, row: Any) -> Scope:
        path, kind, config, composite = a_list(row, 4)
        return Scope(self.path(path), a_text(kind), a_config(config), composite is True)

    def layers(self, data: Any) -> tuple[Layer, ...]:
        configs = [a_config(config) for config in a_list(data["configs"])]
        parser = WeightParser(self.stamps)
        weights = [parser.weight(row) for row in a_list(data["weights"])]
        paths, kinds, told, inputs, outputs, own, operations = a_list(data["layers"], 7)
        paths = [self.path(path) for path in a_list(paths)]
        count = len(paths)
        need(count, "layers")
        bounded(column(told, count), lambda n: len(json.dumps(configs[n])), MOST_REPEATED)
        shared = self.shape_lists(data["inputs"])
        bounded(column(inputs, count), lambda n: len(shared[n]), MOST)
        lists = a_list(own)
        flat = [number for numbers in lists for number in numbers]
        need(len(lists) == count and len(flat) <= MOST, "a list of weights")
        bounded(column(flat, len(flat)), lambda n: extent(weights[n]), MOST_REPEATED)
        names = picked(operations, count, self.texts)
        need(all(len(name) <= 40 for name in set(names)), "a text")
        return tuple(
            map(
                Layer,
                paths,
                picked(kinds, count, self.texts),
                picked(told, count, configs),
                picked(inputs, count, shared),
                picked(outputs, count, self.shapes),
                [tuple(picked(ns, len(ns), weights)) if ns else () for ns in lists],
                names,
            )
        )

    def shape_lists(self, value: Any) -> list[tuple[Shape, ...]]:
        found = []
        for numbers in a_list(value):
            shapes = picked(numbers, len(a_list(numbers, 10_000)), self.shapes)
            need(None not in shapes, "a shape")
            found.append(cast("tuple[Shape, ...]", tuple(shapes)))
        return found

    def links(self, columns: Any, paths: list[str]) -> tuple[Link, ...]:
        sources, targets, outputs, inputs, calls, shapes, origins = a_list(columns, 7)
        count = len(a_list(sources))
        return tuple(
            map(
                Link,
                picked(sources, count, paths),
                picked(targets, count, paths),
                column(outputs, count),
                column(inputs, count),
                column(calls, count),
                picked(shapes, count, self.shapes),
                picked(origins, count, _ORIGINS),
            )
        )
