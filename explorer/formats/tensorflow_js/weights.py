"""Weights of TensorFlow.js: groups, each the bytes of its files joined, tensors one after another.

The form is that of ``tfjs-core/src/io/types.ts`` and of ``write_weights.py`` of its converter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Inline, Packing, Pieces, TableAxis, Weight
from explorer.plain_text import clean

_DTYPES = {"float32": 4, "int32": 4, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2}
_MOST_AXES = 32
_MOST_GROUPS = 10_000


def weights_of(source: Source, manifest: Any, notes: list[str]) -> dict[str, Weight]:
    """All tensors by name.

    Parameters
    ----------
    source : Source
        The model file; the files of weights lie beside it.
    manifest : object
        ``weightsManifest`` of the model file.
    notes : list of str

    Raises
    ------
    UnreadableError
        If the manifest is none, or its files do not hold what it tells.
    """
    if not isinstance(manifest, list) or len(manifest) > _MOST_GROUPS:
        raise UnreadableError("its weightsManifest is no list of groups")
    found: dict[str, Weight] = {}
    for group in manifest:
        paths = group.get("paths") if isinstance(group, Mapping) else None
        entries = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(paths, list) or not isinstance(entries, list):
            raise UnreadableError("a group of its weightsManifest tells no paths or no weights")
        for weight in _Group(source, paths).weights(entries, notes):
            if weight.name in found:
                raise UnreadableError(f"{clean(weight.name)!r} is listed twice")
            found[weight.name] = weight
    return found


class _Group:
    """The files of a group, as if they were one.

    Parameters
    ----------
    source : Source
    paths : list
        Their names; anything but a name beside the model file is refused.
    """

    def __init__(self, source: Source, paths: list[Any]) -> None:
        self._parts: list[tuple[Source, int]] = []
        self.size = 0
        for path in paths:
            if not isinstance(path, str) or "/" in path:
                raise UnreadableError(f"it names a part {clean(path, 80)!r} outside its own folder")
            part = source.part(path)
            self._parts.append((part, self.size))
            self.size += part.size

    def weights(self, entries: list[Any], notes: list[str]) -> Iterator[Weight]:
        """The tensors of the group."""
        at = 0
        for entry in entries:
            name, shape, dtype = _entry(entry)
            if dtype == "string":
                notes.append(f"{clean(name)}: text is not shown, nor what follows it in its file")
                return
            scaled = entry.get("quantization")
            stored = scaled.get("dtype") if isinstance(scaled, Mapping) else dtype
            if stored not in _DTYPES:
                raise UnreadableError(f"{clean(name)!r} is of a type that is not known")
            nbytes = prod(shape) * _DTYPES[stored]
            if at + nbytes > self.size:
                told = f"{at + nbytes:,} bytes are expected and {self.size:,} are there"
                raise UnreadableError(
                    f"the files of {clean(name)!r} are not complete: at least "
                    f"{told.replace(',', ' ')} (a partial download?)"
                )
            packing = _packing(name, scaled, stored, shape)
            yield Weight(name, "", shape, stored, self._where(at, nbytes), packing)
            at += nbytes

    def _where(self, start: int, nbytes: int) -> ByteRange | Pieces:
        """Where a run of the joined files lies."""
        runs = []
        for part, first in self._parts:
            low, high = max(start, first), min(start + nbytes, first + part.size)
            if low < high:
                runs.append(ByteRange(part.path, low - first, high - low))
        if len(runs) == 1:
            return runs[0]
        return Pieces(tuple(runs)) if runs else ByteRange(self._parts[0][0].path, 0, 0)


def _entry(entry: Any) -> tuple[str, tuple[int, ...], str]:
    """Name, shape and type of a tensor of the manifest."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise UnreadableError("its weightsManifest lists a tensor without a name")
    name, dtype = clean(entry["name"], 1000), entry.get("dtype")
    shape: Any = entry.get("shape")
    sound = isinstance(shape, list) and len(shape) <= _MOST_AXES and isinstance(dtype, str)
    if not sound or any(type(n) is not int or n < 0 for n in shape) or prod(shape) >= 1 << 60:
        raise UnreadableError(f"{clean(name)!r} has an impossible shape or no type")
    return name, tuple(shape), str(dtype)


def _packing(name: str, scaled: Any, stored: str, shape: tuple[int, ...]) -> Packing | None:
    """How codes become numbers: ``code * scale + min``, told as a scale and a zero point."""
    if not isinstance(scaled, Mapping) or stored not in ("uint8", "uint16") or not prod(shape):
        return None
    scale, least = scaled.get("scale"), scaled.get("min")
    numbers = [n for n in (scale, least) if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(numbers) != 2 or not all(abs(n) < 1e38 for n in numbers) or not numbers[0]:
        raise UnreadableError(f"{name!r} has an impossible scale")
    zero = -float(numbers[1]) / float(numbers[0])
    if not math.isfinite(zero) or abs(zero) > float(np.finfo(np.float32).max):
        raise UnreadableError(f"{name!r} has an impossible scale")
    tables = [
        Weight(f"{name} {role}", role, (1,), "float32", Inline(struct.pack("<f", value)))
        for role, value in (("scale", float(numbers[0])), ("zero", zero))
    ]
    axes = tuple(TableAxis(n) for n in shape) or (TableAxis(1),)
    return Packing(tables[0], tables[1], False, axes)
