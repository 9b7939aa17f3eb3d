"""Attributes, shapes and names of an ONNX graph as plain values.

Graphs of many operators say the same things over and over: what was read once is known by its
bytes, and told with the same object again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

from explorer.formats.naming.text import LONGEST_VALUE
from explorer.network import Shape
from explorer.plain_text import clean

MOST_VALUES = 64
"""Whole numbers of an input that may be axes, a shape, sizes."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_FLOAT, _INT, _STRING, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 6, 7, 8
_PLAIN = frozenset((_FLOAT, _INT, _STRING, _FLOATS, _INTS, _STRINGS))
_LONGEST_KNOWN = 512  # bytes of attributes or of a type that are kept to know them again
Values = Mapping[str, Any]


class Attributes:
    """The attributes of nodes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], tuple[Values, Values]] = {}

    def of(self, node: Any) -> tuple[Values, Values, bool]:
        """Attributes that are plain values: as they are, and as clean JSON values.

        And whether there are others: tensors and graphs.
        """
        given = node.attribute
        if not given:
            return _NOTHING
        plain = [a for a in given if a.type in _PLAIN]
        key = tuple([a.SerializeToString() for a in plain])
        found = self._known.get(key)
        if found is None:
            told = {a.name: value(a) for a in plain}
            found = told, {_clean(name): _json(v) for name, v in told.items()}
            if sum(map(len, key)) <= _LONGEST_KNOWN:
                self._known[key] = found
        return *found, len(plain) < len(given)


_NOTHING: tuple[Values, Values, bool] = ({}, {}, False)


def value(attribute: Any) -> Any:
    """A plain value of an attribute; ``None`` for tensors and graphs."""
    kind = attribute.type
    if kind == _FLOAT:
        return float(attribute.f)
    if kind == _INT:
        return int(attribute.i)
    if kind == _STRING:
        return attribute.s.decode("utf-8", "replace")[:LONGEST_VALUE]
    if kind == _FLOATS:
        return [float(v) for v in attribute.floats[:MOST_VALUES]]
    if kind == _INTS:
        return [int(v) for v in attribute.ints[:MOST_VALUES]]
    if kind == _STRINGS:
        return [s.decode("utf-8", "replace")[:200] for s in attribute.strings[:MOST_VALUES]]
    return None


def _json(found: Any) -> Any:
    """A value as JSON has it: numbers that JSON does not know become text."""
    if isinstance(found, float) and not isfinite(found):
        return str(found)
    if isinstance(found, list):
        return [_json(v) for v in found]
    return clean(found, LONGEST_VALUE) if isinstance(found, str) else found


class Shapes(dict[str, Shape]):
    """The shapes of values, by name."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[bytes, Shape | None] = {}

    def add(self, told: Any) -> None:
        """Take the shape from what a graph tells of a value, if it does."""
        kind = told.type
        key = kind.SerializeToString()
        if key in self._known:
            shape = self._known[key]
        else:
            shape = _shape(kind)
            if len(key) <= _LONGEST_KNOWN:
                self._known[key] = shape
        if shape is not None:
            self[told.name] = shape


def _shape(kind: Any) -> Shape | None:
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    return tuple(
        [int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else None
         for d in tensor.shape.dim]
    )  # fmt: skip


def called(node: Any, counts: dict[str, int]) -> str:
    """A name for a node: its own, in the scopes that exporters write into it, else a number.

    Parameters
    ----------
    node : onnx.NodeProto
    counts : dict of str to int
        How many nodes of each type went without a name; counted on.
    """
    name = node.name
    if not name or name == "/":
        count = counts[node.op_type] = counts.get(node.op_type, 0) + 1
        name = f"{node.op_type}_{count - 1}"
    if "/" not in name:
        return (_scopes(node) if node.metadata_props else "") + _clean(name)
    folder, _, own = name.rstrip("/").rpartition("/")
    return _folder(folder) + _clean(own)


def folder_of(name: str) -> tuple[str, str]:
    """A name in two: the scopes around it, with the stroke behind them, and the last part."""
    head, slash, own = name.rpartition("/")
    return head + slash, own


@lru_cache(maxsize=8192)
def _folder(text: str) -> str:
    return "".join([f"{clean(part)}/" for part in text.split("/") if part])


def _scopes(node: Any) -> str:
    """Modules of PyTorch around a node, as its newer exporter writes them beside the name."""
    told = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
    return _modules(told[:20_000]) if told else ""


@lru_cache(maxsize=1024)
def _modules(told: str) -> str:
    # The last is the function itself.
    modules = [m for m in re.findall(r"'([^']{0,500})'", told)[:-1] if m]
    return "".join(f"{clean(part)}/" for part in modules[-1].split(".")) if modules else ""


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    return clean(text)
