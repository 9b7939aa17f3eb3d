"""Functions that an ONNX model defines itself: put in where they are called, under a scope each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from explorer.plain_text import clean

_MOST_NODES = 1_000_000
_DEEPEST = 12
_NUMBERED = re.compile(r"(n|node|node_n|_)?\d*")  # names that a tool gave for want of one
Key = tuple[str, str, str]


def inlined(model: Any, notes: list[str]) -> Any:
    """The model with the bodies of its own functions in the place of their calls.

    Parameters
    ----------
    model : onnx.ModelProto
    notes : list of str
        Told where the functions are left as they are.
    """
    if not model.functions:
        return model
    from onnx import inliner

    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    reason = ""
    if _count(model.graph, functions, {}, 0) > _MOST_NODES:
        reason = "they would become too many"
    else:
        try:
            flat = inliner.inline_local_functions(model)
        except Exception as error:
            reason = clean(error, 60)
        else:
            return _named(model, flat, functions)
    notes.append(f"its own functions are shown as single layers ({reason})")
    model.ClearField("functions")  # or inferring shapes would walk through every call of them
    return model


def _called(node: Any, functions: dict[Key, Any]) -> Any:
    return functions.get((node.domain, node.op_type, node.overload))


def _count(body: Any, functions: dict[Key, Any], known: dict[Key, int], depth: int) -> int:
    """Nodes of a body with the functions put in; more than may be where they call themselves."""
    if depth > _DEEPEST:
        return _MOST_NODES + 1
    total = 0
    for node in body.node:
        function = _called(node, functions)
        if function is None:
            total += 1
        else:
            key = (node.domain, node.op_type, node.overload)
            if key not in known:
                known[key] = _count(function, functions, known, depth + 1)
            total += known[key]
        for attribute in node.attribute:
            if attribute.type == 5:
                total += _count(attribute.g, functions, known, depth + 1)
    return total


def _named(model: Any, flat: Any, functions: dict[Key, Any]) -> Any:
    """The flat model, its nodes named by the calls that they came from."""
    told = list(_names(model.graph, "", functions, {}))
    nodes = flat.graph.node
    if [kind for kind, _ in told] == [node.op_type for node in nodes]:
        for node, (_, name) in zip(nodes, told, strict=True):
            node.name = name
    return flat


def _names(body: Any, prefix: str, functions: dict[Key, Any],
           counts: dict[str, int]) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Types and scoped names of the nodes of a body, in the order in which they are put in."""
    for node in body.node:
        name, kind, function = node.name, node.op_type, _called(node, functions)
        if _NUMBERED.fullmatch(name):
            count = counts[prefix + kind] = counts.get(prefix + kind, 0) + 1
            name = kind if count == 1 else f"{kind}_{count}"
        if function is None:
            yield kind, f"{prefix}{name}"
        else:
            yield from _names(function, f"{prefix}{name}/", functions, counts)
