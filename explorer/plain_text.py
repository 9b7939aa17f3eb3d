"""Names from a stranger, made fit to be shown and to be part of a path."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 120
"""Longest part of a path; names that are longer are cut and kept apart by a number."""


def clean(text: object, limit: int = LONGEST_NAME) -> str:
    """Text that is safe to show: no control, bidirectional or invisible characters, not too long.

    Parameters
    ----------
    text : object
        Anything; what is not text is converted.
    limit : int
        Characters to keep; one more is an ellipsis.
    """
    text = text if isinstance(text, str) else str(text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else " " if c.isspace() else ""
        for c in text
    )


def plain_name(name: str) -> str:
    """A name with brackets at its end made round: ``a[0]`` is how unit 0 of ``a`` is written."""
    return re.sub(r"\[([^\[\]]*)\]\Z", r"(\1)", name) if name.endswith("]") else name


def path_part(name: object) -> str:
    """A name as one part of a path: clean, not empty, and not like that of a unit."""
    return plain_name(clean(name).strip()) or "unnamed"
