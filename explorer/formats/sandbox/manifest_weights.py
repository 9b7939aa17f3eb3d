"""Weights of a manifest: where their bytes lie, and how codes become numbers, as JSON and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import prod
from typing import Any

from explorer.formats.sandbox.manifest_checks import (
    MOST_DIMENSIONS,
    a_factor,
    a_list,
    a_number,
    a_text,
    known_shape,
    need,
)
from explorer.network import (
    ByteRange,
    Chunks,
    FileStamp,
    Inline,
    Lanes,
    Packing,
    Pieces,
    TableAxis,
    Weight,
    Where,
)
from explorer.plain_text import LONGEST_NAME, clean
from explorer.weights.codecs import problem

LONGEST_INLINE = 1 << 20
"""Characters of a tensor that is told in the manifest itself."""
_FILTERS = ("shuffle", "deflate")
_DEEPEST = 4  # tables of scales that have scales themselves
_LONGEST = 1000  # characters of a name
_RANGE = 30  # characters of a range, about


class WeightWriter:
    """Weights as JSON; files by number, 0 for the model file itself.

    Parameters
    ----------
    files : mapping of str to int
        Numbers of the further files, by path.
    """

    def __init__(self, files: Mapping[str, int]) -> None:
        self._files = files
        self._names: dict[str, str] = {}

    def weight(self, weight: Weight | None) -> Any:
        """A row of the manifest."""
        if weight is None:
            return None
        where, packing = self._where(weight.where), self._packing(weight.packing)
        name, role = self._fit(weight.name), clean(weight.role, _LONGEST)
        return [name, role, weight.shape, weight.dtype, where, packing, weight.axes]

    def _fit(self, name: str) -> str:
        """A name from a stranger, fit to be shown: itself, or its like with a number of its own."""
        if len(name) <= _LONGEST and name.isprintable():
            return name
        made = f"{clean(name, LONGEST_NAME)}~{len(self._names) + 1}"
        return self._names.setdefault(name, made)

    def _packing(self, packing: Packing | None) -> Any:
        if packing is None:
            return None
        lanes = packing.lanes
        return {
            "scale": self.weight(packing.scale),
            "zero": self.weight(packing.zero),
            "divide": packing.divide,
            "axes": [[a.length, a.block, a.step, self.weight(a.index)] for a in packing.axes],
            "lanes": lanes
            and [lanes.word, lanes.order, lanes.bits, lanes.length, lanes.inner, lanes.shift],
            "levels": self.weight(packing.levels),
            "last": [packing.gain, packing.offset, packing.turned, packing.told],
        }

    def _where(self, where: Where | None) -> Any:
        if isinstance(where, Chunks):
            pieces = [[start, *self._range(place)] for start, place in where.pieces]
            return {"shape": where.shape, "pieces": pieces, "filters": where.filters}
        if isinstance(where, Pieces):
            return {"parts": [self._range(part) for part in where.parts]}
        if isinstance(where, Inline):
            return base64.b64encode(where.data).decode()
        return None if where is None else self._range(where)

    def _range(self, place: ByteRange) -> list[int]:
        file = self._files.get(place.file, 0)
        return [place.offset, place.nbytes, file] if file else [place.offset, place.nbytes]


class WeightParser:
    """Weights from their rows, every range checked against the size of its file.

    Parameters
    ----------
    stamps : list of FileStamp
        The files, by number.
    """

    def __init__(self, stamps: list[FileStamp]) -> None:
        self._stamps = stamps
        self._known: dict[str, Weight] = {}

    def weight(self, row: Any, depth: int = 0) -> Weight:
        """The weight of a row, or of a table of scales at a depth."""
        need(depth < _DEEPEST, "scales")
        name, role, lengths, dtype, place, packing, axes = a_list(row, 7)
        shape = known_shape(lengths)
        need(prod(shape) < 2**62, "a shape")
        weight = Weight(
            a_text(name), a_text(role), shape, a_text(dtype, 40), self._where(place, shape),
            self._packing(packing, depth), a_text(axes, MOST_DIMENSIONS),
        )  # fmt: skip
        wrong = problem(weight)
        need(not wrong, f"a weight with {wrong}")
        known = self._known.setdefault(weight.name, weight)
        same = (known.where, known.shape, known.dtype, known.packing)
        need(same == (weight.where, shape, weight.dtype, weight.packing), "a weight")
        return weight

    def _packing(self, value: Any, depth: int) -> Packing | None:
        if value is None:
            return None

        def table(row: Any) -> Weight | None:
            return None if row is None else self.weight(row, depth + 1)

        axes = [
            TableAxis(a_number(length), a_number(block), a_number(step), table(index))
            for length, block, step, index in map(a_list, a_list(value["axes"], MOST_DIMENSIONS))
        ]
        lanes = None
        if value["lanes"] is not None:
            word, order, *counts = a_list(value["lanes"], 6)
            bits, length, inner, shift = map(a_number, counts)
            lanes = Lanes(a_text(word, 40), bits, length, inner, known_shape(order), shift)
        gain, offset, turned, told = a_list(value["last"], 4)
        return Packing(
            table(value["scale"]), table(value["zero"]), value["divide"] is True, tuple(axes),
            lanes, table(value["levels"]), a_factor(gain), a_factor(offset), turned is True,
            a_text(told, 40),
        )  # fmt: skip

    def _where(self, value: Any, shape: tuple[int, ...]) -> Where | None:
        if value is None:
            return None
        if isinstance(value, list):
            return self._range(*a_list(value, 3))
        if isinstance(value, str):
            return Inline(base64.b64decode(a_text(value, LONGEST_INLINE), validate=True))
        if "parts" in value:
            return Pieces(tuple(self._range(*a_list(p, 3)) for p in a_list(value["parts"])))
        chunk = known_shape(value["shape"])
        need(len(chunk) == len(shape) and all(chunk), "a chunk")
        pieces = []
        for start, *place in a_list(value["pieces"]):
            first = known_shape(start)
            need(len(first) == len(shape), "a chunk")
            inside = [i < n and not i % c for i, n, c in zip(first, shape, chunk, strict=True)]
            need(all(inside), "a chunk")
            pieces.append((first, self._range(*a_list(place, 3))))
        need(len({first for first, _ in pieces}) == len(pieces), "a chunk")
        expected = prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        need(len(pieces) == expected, "all chunks")
        filters = tuple(a_list(value["filters"], 4))
        need(all(f in _FILTERS for f in filters), "a filter")
        return Chunks(chunk, tuple(pieces), filters)

    def _range(self, offset: Any, nbytes: Any, file: Any = 0) -> ByteRange:
        offset, nbytes = a_number(offset), a_number(nbytes)
        stamp = self._stamps[a_number(file, len(self._stamps))]
        need(offset + nbytes <= stamp.size, "bytes inside the file")
        return ByteRange(stamp.path, offset, nbytes)


def extent(weight: Weight) -> int:
    """Characters that a weight takes in a manifest, about, beside its name."""
    where, packing = weight.where, weight.packing
    size = _RANGE
    if isinstance(where, Chunks):
        size += _RANGE * len(where.pieces)
    elif isinstance(where, Pieces):
        size += _RANGE * len(where.parts)
    elif isinstance(where, Inline):
        size += len(where.data)
    if packing is not None:
        indices = (axis.index for axis in packing.axes)
        tables = [packing.scale, packing.zero, packing.levels, *indices]
        size += sum(extent(table) for table in tables if table is not None)
    return size
