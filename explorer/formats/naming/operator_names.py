"""Names for the operators of a graph, in the scopes that converters leave in them."""

from __future__ import annotations

from collections import Counter

from explorer.plain_text import clean

_DEEPEST = 12


def scoped(names: list[str]) -> list[str]:
    """Names of operators made short, in the same order.

    A scope with a single operator is named like a layer: it gives its name to that operator. A
    scope around everything is left out. None of the names is the folder of another.

    Parameters
    ----------
    names : list of str
        Parts joined by ``/``.
    """
    names = [
        "/".join(clean(part).strip() or "_" for part in name.split("/")[:_DEEPEST])
        for name in names
    ]
    for _ in range(_DEEPEST):
        inner = [name for name in names if "/" in name]
        outer = {name.split("/")[0] for name in inner}
        if len(outer) != 1 or len(inner) < 2 or outer & set(names):
            break
        names = [name.partition("/")[2] or name for name in names]
    taken = set(names)
    names = [_beside(name, taken) for name in names]
    held = Counter(folder for name in names for folder in _folders(name))
    short = []
    for name in names:
        while "/" in name and held[name.rpartition("/")[0]] == 1:
            name = name.rpartition("/")[0]
        short.append(name)
    return _apart(short)


def _folders(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _beside(name: str, taken: set[str]) -> str:
    """A name that would lie inside that of another operator, written beside it."""
    for folder in _folders(name):
        if folder in taken:
            return f"{folder}.{name[len(folder) + 1 :].replace('/', '.')}"
    return name


def _apart(names: list[str]) -> list[str]:
    """Names of which none is the folder of another."""
    folders = {folder for name in names for folder in _folders(name)}
    return [f"{name}/{name.rpartition('/')[2]}" if name in folders else name for name in names]
