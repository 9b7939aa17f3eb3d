"""A folder with one model file in it, opened as that file."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.formats.record import Format, UnreadableError
from explorer.formats.source import Source
from explorer.plain_text import clean

_SHOWN = 4  # names that a message tells


def only_model(source: Source, formats: Sequence[Format]) -> tuple[Format, Source]:
    """The format and the file of the only model in a folder.

    Parameters
    ----------
    source : Source
        A folder that no format reads as a whole.
    formats : sequence of Format

    Raises
    ------
    UnreadableError
        If no file in it is a model, or several are; the files are named.
    """
    found: list[tuple[Format, str]] = []
    names = [name for name in source.names() if not name.startswith(".") and source.has(name)]
    for name in names:
        file = source.part(name)
        chosen = next((f for f in formats if f.matches(file)), None)
        source.drop(name)
        if chosen is not None:
            found.append((chosen, name))
    if len(found) == 1:
        return found[0][0], source.part(found[0][1])
    if found:
        raise UnreadableError(f"a folder with several models: {_listed([n for _, n in found])}")
    if not names:
        raise UnreadableError("a folder without a file in it")
    kinds = ", ".join(f.name for f in formats)
    raise UnreadableError(
        f"a folder without a model in it: of {_listed(names)} none is of a kind that is read"
        f" ({kinds})"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(clean(name, 60) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more files"
