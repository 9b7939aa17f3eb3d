"""The variables of a TensorFlow checkpoint: names, and bytes in its data files.

Object-based checkpoints (TensorFlow 2) name variables by the way to them through the program's
objects; the names that people know are in the object graph, which is stored among the variables
(``tensorflow/core/protobuf/trackable_object_graph.proto``).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from math import prod

from explorer.formats.containers.protobuf import BYTES, Field, fields, varint
from explorer.formats.containers.source import LARGEST_READ, Source
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.index import Entry, Extent, read_index, slice_key
from explorer.formats.tensorflow_graph.messages import DTYPES, STRING, UNREAD, text, whole
from explorer.network import ByteRange, Pieces, Weight, Where
from explorer.plain_text import clean

_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_AGAIN = "_all_variables/"
# An optimizer also lists the model's own variables, and short ways are taken to name them.
_TRAINING = re.compile(
    r"(^|/)_?optimizer/(?!_trainable_variables/)|/\.OPTIMIZER_SLOT/|^save_counter$|^global_step$"
    r"|(^|/)(Adam|AdamW|Momentum|RMSProp|Adagrad|Ftrl)(_\d+)?$|(^|/)adam_[mv]$"
    r"|^beta[12]_power$|/keras_api/|^keras_api/"
)
_STATE = re.compile(r"(^|/)(total|count|iteration|iterations|learning_rate)(_\d+)?$")


@dataclass
class Variables:
    """What a checkpoint holds.

    Attributes
    ----------
    weights : list of Weight
        Named as people know them; without roles.
    by_node : dict of int to str
        Names of the variables by their number in the object graph.
    notes : list of str
    """

    weights: list[Weight] = field(default_factory=list)
    by_node: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_variables(source: Source, index: Source, prefix: str) -> Variables:
    """The variables of a checkpoint.

    Parameters
    ----------
    source : Source
        What was opened.
    index : Source
        The file that ends in ``.index``.
    prefix : str
        Name of the checkpoint, relative to the folder of the model: that of `index` without its
        end.
    """
    shards, entries = read_index(index)
    found = Variables()
    files = _Files(source, prefix, shards)
    graph = entries.get(_GRAPH)
    objects = _object_graph(files, graph) if graph is not None else {}
    names = _names(entries, objects)
    skipped = 0
    for key, entry in entries.items():
        name = names.get(key)
        if name is None:
            continue
        if _TRAINING.search(_plain(key)) or (objects and _STATE.search(name)):
            skipped += 1
            continue
        found.weights.append(_weight(files, name, key, entry, entries, found.notes))
    found.weights.sort(key=lambda w: _first(w.where))
    found.by_node = {node: names[key] for node, (_, key) in objects.items() if key in names}
    _copies(objects, names, found.by_node)
    if skipped:
        found.notes.append(f"{skipped} values of the optimizer and of counters are left out")
    return found


class _Files:
    """The data files of a checkpoint, opened when something lies in them."""

    def __init__(self, source: Source, prefix: str, count: int) -> None:
        self._source, self._prefix, self._count = source, prefix, count

    def part(self, entry: Entry) -> Source:
        if not 0 <= entry.shard < self._count:
            raise UnreadableError("its index names a data file that does not exist")
        name = f"{self._prefix}.data-{entry.shard:05d}-of-{self._count:05d}"
        if not self._source.is_folder and self._source.name == name:
            file = self._source
        else:
            file = self._source.part(name)
        if entry.offset < 0 or entry.nbytes < 0:
            raise UnreadableError("its index names bytes that cannot be")
        end = entry.offset + entry.nbytes
        if end > file.size:
            told = f"{end:,} bytes are expected and {file.size:,} are there".replace(",", " ")
            raise UnreadableError(
                f"{clean(name)} is not complete: at least {told} (a partial download?)"
            )
        return file


def _first(where: Where | None) -> tuple[str, int]:
    """Sorts variables as they lie in the files."""
    if isinstance(where, Pieces):
        where = where.parts[0]
    return (where.file, where.offset) if isinstance(where, ByteRange) else ("", -1)


def _plain(key: bytes) -> str:
    return key.decode("utf-8", "replace").removesuffix(_VALUE)


def _names(entries: dict[bytes, Entry], objects: dict[int, tuple[str, bytes]]) -> dict[bytes, str]:
    """A name for each variable that is shown: the one people know where it is the only such one.

    Keras' ``export`` stores every variable a second time below ``_all_variables``.
    """
    keys = [
        key for key, entry in entries.items()
        if entry.dtype in DTYPES and not key.startswith(b"\0")
    ]  # fmt: skip
    known = {key: name for name, key in objects.values() if name}
    first = {known[k] for k in keys if k in known and not k.startswith(_AGAIN.encode())}
    kept = [
        k for k in keys if not (k.startswith(_AGAIN.encode()) and known.get(k, "") in first)
    ]  # fmt: skip
    taken: dict[str, int] = {}
    for key in kept:
        name = known.get(key, "")
        taken[name] = taken.get(name, 0) + 1
    return {
        k: known[k] if taken.get(known.get(k, ""), 2) == 1 and k in known else _plain(k)
        for k in kept
    }


def _copies(objects: dict[int, tuple[str, bytes]], names: dict[bytes, str],
            by_node: dict[int, str]) -> None:  # fmt: skip
    """Variables that are stored twice are one, whichever of the two a function reads."""
    shown = set(names.values())
    for node, (name, _) in objects.items():
        if node not in by_node and name in shown:
            by_node[node] = name


def _weight(files: _Files, name: str, key: bytes, entry: Entry, entries: dict[bytes, Entry],
            notes: list[str]) -> Weight:  # fmt: skip
    dtype, size = DTYPES[entry.dtype]
    shape = whole(entry.shape, clean(name))
    where: Where | None = None
    if entry.slices:
        where = _joined(files, key, entry, shape, entries)
        if where is None:
            notes.append(f"{clean(name)} is cut along several axes, its numbers are not shown")
    elif entry.nbytes != prod(shape) * size:
        raise UnreadableError(
            f"{clean(name)!r} has {entry.nbytes} bytes where {prod(shape) * size} are needed"
        )
    else:
        where = ByteRange(files.part(entry).path, entry.offset, entry.nbytes)
    return Weight(name, "", shape, dtype, None if dtype in UNREAD else where)


def _joined(files: _Files, key: bytes, entry: Entry, shape: tuple[int, ...],
            entries: dict[bytes, Entry]) -> Where | None:  # fmt: skip
    """The parts of a partitioned variable, one after the other where only rows were parted."""
    rows = prod(shape[1:]) * DTYPES[entry.dtype][1]
    parts: list[ByteRange] = []
    at = 0
    for extents in sorted(entry.slices):
        if len(extents) != len(shape) or not shape:
            raise UnreadableError(f"a part of {clean(_plain(key))!r} has an impossible shape")
        if not all(_all(e, n) for e, n in zip(extents[1:], shape[1:], strict=True)):
            return None
        start, length = extents[0] if extents[0][1] >= 0 else (0, shape[0])
        own = entries.get(slice_key(key, extents))
        if own is None or start != at or own.nbytes != length * rows or length > shape[0] - at:
            raise UnreadableError(f"a part of {clean(_plain(key))!r} is missing")
        parts.append(ByteRange(files.part(own).path, own.offset, own.nbytes))
        at += length
    if at != shape[0]:
        raise UnreadableError(f"a part of {clean(_plain(key))!r} is missing")
    return Pieces(tuple(parts))


def _all(extent: Extent, length: int) -> bool:
    return extent[1] < 0 or extent == (0, length)


def _object_graph(files: _Files, entry: Entry) -> dict[int, tuple[str, bytes]]:
    """Full name and key of each variable, by its number in the object graph."""
    if entry.dtype != STRING or entry.slices or entry.nbytes > LARGEST_READ:
        raise UnreadableError("its object graph is damaged")
    data = files.part(entry).pread(entry.offset, entry.nbytes)
    size, at = varint(data, 0)
    start = at + 4  # a checksum of the length
    if start + size > len(data):
        raise UnreadableError("its object graph is damaged")
    view = io.BytesIO(data)
    found = {}
    nodes = (f for f in fields(view, start, start + size) if f.number == 1 and f.wire == BYTES)
    for number, node in enumerate(nodes):
        named = _attribute(view, node)
        if named is not None:
            found[number] = named
    return found


def _attribute(view: io.BytesIO, node: Field) -> tuple[str, bytes] | None:
    """Full name and key of the value of a node of the object graph."""
    for inner in fields(view, node.start, node.stop):
        if inner.number == 2 and inner.wire == BYTES:
            told = {
                f.number: text(view, f)
                for f in fields(view, inner.start, inner.stop)
                if f.wire == BYTES
            }
            if told.get(1) == "VARIABLE_VALUE" and told.get(3):
                return told.get(2, "").removesuffix(":0"), told[3].encode()
    return None
