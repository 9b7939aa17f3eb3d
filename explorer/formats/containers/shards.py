"""Models of Hugging Face in several files: the index that tells where each tensor lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from explorer.formats.containers.source import Source
from explorer.formats.naming.text import parse_json
from explorer.formats.record import UnreadableError
from explorer.network import Weight
from explorer.plain_text import clean

_LARGEST_INDEX = 64 << 20
_ENDS = 1 << 20


def is_index(source: Source, suffix: bytes) -> bool:
    """Whether a file is an index of files with this suffix."""
    ends = source.pread(0, 4096) + source.pread(max(source.size - _ENDS, 0), _ENDS)
    return ends[:1] == b"{" and b'"weight_map"' in ends and suffix + b'"' in ends


def index_in(
    source: Source, pattern: re.Pattern[str], is_one: Callable[[Source], bool]
) -> Source | None:
    """The index of a model: the file itself, or the one in a folder; ``None`` where none is."""
    if not source.is_folder:
        return source if is_one(source) else None
    found = [name for name in source.names() if pattern.search(name)]
    if len(found) > 1:
        usual = [n for n in found if n.startswith(("model.", "pytorch_model."))]
        if len(usual) != 1:
            raise UnreadableError(f"a folder with several models: {', '.join(sorted(found)[:4])}")
        found = usual
    return source.part(found[0]) if found else None


def sharded(source: Source, index: Source, suffix: str,
            read: Callable[[Source], list[Weight]]) -> list[Weight]:  # fmt: skip
    """The tensors of all files of an index, which must agree with it both ways.

    Parameters
    ----------
    source : Source
        What was opened.
    index : Source
    suffix : str
        Of the files it may name.
    read : callable (Source) -> list of Weight
        Reads one of them.

    Raises
    ------
    UnreadableError
        If it names anything but such a file beside it, or they differ.
    """
    data = parse_json(index.pread(0, _LARGEST_INDEX), index.name)
    named = data.get("weight_map") if isinstance(data, Mapping) else None
    if not isinstance(named, Mapping) or not all(isinstance(v, str) for v in named.values()):
        raise UnreadableError(f"{index.name} tells no weight_map")
    tensors: dict[str, Weight] = {}
    for name in sorted(set(named.values())):
        if "/" in name or not name.endswith(suffix):
            raise UnreadableError(f"{index.name} names a part {name[:80]!r} outside its own folder")
        part = source if not source.is_folder and name == source.name else source.part(name)
        for weight in read(part):
            if named.get(weight.name) != name or weight.name in tensors:
                raise UnreadableError(
                    f"{name} holds {clean(weight.name)!r}, which {index.name} puts elsewhere"
                )
            tensors[weight.name] = weight
    missing = next((key for key in named if key not in tensors), None)
    if missing is not None:
        raise UnreadableError(f"{named[missing]} does not hold {clean(missing)!r}")
    return [tensors[key] for key in named]


def config_beside(source: Source, notes: list[str]) -> Mapping[str, Any]:
    """What the ``config.json`` of a model tells; nothing where there is none.

    Parameters
    ----------
    source : Source
    notes : list of str
        Told when there is one that cannot be used.
    """
    if not source.has("config.json"):
        return {}
    part = source.part("config.json")
    try:
        found = parse_json(part.pread(0, 1 << 20), "config.json")
    except UnreadableError as error:
        notes.append(f"config.json is not used: {error}")
        return {}
    return found if isinstance(found, Mapping) else {}
