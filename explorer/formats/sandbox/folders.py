"""A folder with one model file in it, opened as that file."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.formats.containers.source import Source
from explorer.formats.foreign import told_file, told_folder
from explorer.formats.record import Format, UnreadableError
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
    everything = source.names()
    names = [name for name in everything if not name.startswith(".") and source.has(name)]
    for name in names:
        file = source.part(name)
        chosen = next((f for f in formats if f.matches(file)), None)
        source.drop(name)
        if chosen is not None:
            found.append((chosen, name))
    if len(found) == 1:
        return found[0][0], source.part(found[0][1])
    if found:
        listed = _listed([n for _, n in found])
        raise UnreadableError(f"a folder with several models: {listed}; open one of them")
    raise UnreadableError(_why_not(source, everything, names, formats))


def _why_not(
    source: Source, everything: list[str], names: list[str], formats: Sequence[Format]
) -> str:
    """Why there is no model in a folder: what is in it, and what was looked for."""
    what = told_folder(everything)
    if what:
        return what
    for name in names[:_SHOWN]:
        told = told_file(source.part(name))
        if "not read" in told or "git lfs pull" in told:
            return f"a folder without a model in it: {clean(name, 60)} is {told}"
    below = [n for n in everything if n not in names and not n.startswith(".")]
    kinds = f"none is of a kind that is read ({', '.join(f.name for f in formats)})"
    found = f"of {_listed(names)} {kinds}" if names else ""
    if below:
        found += (
            f"{'; ' if found else ''}if one lies in a folder below, open that: {_listed(below)}"
        )
    return f"a folder without a model in it: {found}" if found else "a folder without a file in it"


def _listed(names: list[str]) -> str:
    shown = ", ".join(clean(name, 60) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more files"
