"""Programs of ``torch.export`` (``.pt2``): a graph of ATen's operators, and tensors in place.

A zip archive with ``archive_format``, a graph in ``models/NAME.json``, and one member per tensor,
which ``data/weights/NAME_weights_config.json`` tells. Nothing in it is run and no pickle is read.
See ``torch/export/pt2_archive`` and ``torch/_export/serde/schema.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import PurePath
from typing import Any

from explorer.formats.containers.archive import Archive, is_zip, of_pytorch
from explorer.formats.containers.source import Source
from explorer.formats.naming.text import parse_json
from explorer.formats.record import Format, UnreadableError
from explorer.formats.torch_program.graph import Graph
from explorer.network import ByteRange, Network, Weight
from explorer.plain_text import clean

_MARK, _OLD = "/archive_format", "serialized_exported_program.json"
_DTYPES = {
    1: ("uint8", 1), 2: ("int8", 1), 3: ("int16", 2), 4: ("int32", 4), 5: ("int64", 8),
    6: ("float16", 2), 7: ("float32", 4), 8: ("float64", 8), 10: ("complex64", 8),
    12: ("bool", 1), 13: ("bfloat16", 2), 28: ("uint16", 2), 29: ("float8_e4m3fn", 1),
    30: ("float8_e5m2", 1), 31: ("float8_e4m3fnuz", 1), 32: ("float8_e5m2fnuz", 1),
    33: ("float8_e8m0fnu", 1), 34: ("uint32", 4), 35: ("uint64", 8),
}  # fmt: skip


def matches(source: Source) -> bool:
    """An archive of ``torch.export``."""
    if not is_zip(source) or not of_pytorch(source):
        return False
    try:
        members = Archive(source).members
    except UnreadableError:
        return False
    return any(name.endswith(_MARK) or name == _OLD for name in members)


def read(source: Source) -> Network:
    """The network of a program."""
    archive = Archive(source)
    if _OLD in archive.members:
        raise UnreadableError(
            "a program of torch.export as PyTorch wrote it before 2.8, which is not read;"
            " load it and save it again with a newer one"
        )
    root = min((n for n in archive.members if n.endswith(_MARK)), key=len)[: -len(_MARK)] + "/"
    order = f"{root}byteorder"
    if order in archive.members and archive.text(order).strip() == b"big":
        raise UnreadableError(f"{source.name} was written on a big-endian machine")
    name = _model(archive, f"{root}models/")
    data = parse_json(archive.text(f"{root}models/{name}.json"), f"{name}.json")
    if not isinstance(data, Mapping) or not isinstance(data.get("graph_module"), Mapping):
        raise UnreadableError(f"{name}.json holds no graph")
    notes: list[str] = []
    weights: dict[str, Weight] = {}
    for kind in ("weights", "constants"):
        config = f"{root}data/{kind}/{name}_{kind}_config.json"
        if config in archive.members:
            weights |= _tensors(archive, config, weights, notes)
    try:
        graph = Graph(data["graph_module"], weights, notes)
        return graph.network(PurePath(source.name).stem)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UnreadableError(
            f"the graph in {name}.json is damaged ({type(error).__name__})"
        ) from None


def _model(archive: Archive, folder: str) -> str:
    """The name of the only model, or of the one that is called so."""
    found = [
        name[len(folder) : -len(".json")]
        for name in archive.members
        if name.startswith(folder) and name.endswith(".json")
    ]
    if len(found) > 1 and "model" in found:
        return "model"
    if len(found) != 1:
        shown = ", ".join(clean(n, 40) for n in sorted(found)[:4])
        raise UnreadableError(f"holds several models: {shown}" if found else "holds no model")
    return found[0]


def _tensors(
    archive: Archive, config: str, known: Mapping[str, Weight], notes: list[str]
) -> dict[str, Weight]:
    """Tensors by their names in the program; those that share their bytes share a `Weight`."""
    data = parse_json(archive.text(config), config)
    told = data.get("config") if isinstance(data, Mapping) else None
    if not isinstance(told, Mapping):
        raise UnreadableError(f"{config} tells no tensors")
    found: dict[str, Weight] = {}
    shared = {(w.where, w.shape, w.dtype): w for w in known.values() if w.where is not None}
    unread = []
    for name, entry in told.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("tensor_meta"), Mapping):
            continue  # an object of another kind
        weight = _tensor(archive, config.rpartition("/")[0], name, entry)
        if weight.where is None:
            unread.append(name)
            found[name] = weight
        else:
            found[name] = shared.setdefault((weight.where, weight.shape, weight.dtype), weight)
    if unread:
        notes.append(f"{len(unread)} tensors are pickled, turned or of a type that is not read: "
                     f"{clean(unread[0])}{', …' if len(unread) > 1 else ''}")  # fmt: skip
    return found


def _tensor(archive: Archive, folder: str, name: str, entry: Mapping[str, Any]) -> Weight:
    meta, member = entry["tensor_meta"], f"{folder}/{entry.get('path_name')}"
    try:
        shape, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
        start = int(meta["storage_offset"]["as_int"])
        dtype, each = _DTYPES[meta["dtype"]]
    except (KeyError, TypeError, ValueError):
        raise UnreadableError(f"{clean(name)!r} has a shape or type that is not known") from None
    if len(shape) != len(strides) or len(shape) > 32 or not _possible([start, *shape, *strides]):
        raise UnreadableError(f"{clean(name)!r} has an impossible shape")
    if member not in archive.members:
        raise UnreadableError(f"the archive holds no {clean(member)}")
    count, step, plain = prod(shape), 1, True
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        plain = plain and (length < 2 or stride == step)
        step *= length
    at, room = archive.stored(member)
    pickled = entry.get("use_pickle") is not False
    reach = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if count else 0
    if not pickled and (start + reach) * each > room:
        raise UnreadableError(f"{clean(name)!r} reaches beyond its bytes in the archive")
    if count >= 2**62:
        raise UnreadableError(f"{clean(name)!r} has an impossible shape")
    where = ByteRange(archive.source.path, at + start * each, count * each)
    readable = plain and not pickled and not dtype.startswith("complex")
    return Weight(clean(name, 1000), "", tuple(shape), dtype, where if readable else None)


def _possible(numbers: list[int]) -> bool:
    return all(0 <= n < 2**62 for n in numbers)


FORMAT = Format("pt2", matches, read)
