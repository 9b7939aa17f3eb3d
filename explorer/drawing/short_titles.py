"""Titles without what the titles around them already tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

_LONG = 16  # characters; a shorter title is left as it is
_BETWEEN = "_./- "
_ROW = " … "


def short_titles(titles: Sequence[str], parents: Sequence[int]) -> list[str]:
    """The titles as they are written in a picture.

    A long title goes without the end that repeats the frame's title, and without the words at the
    end that all long titles of a frame have in common: of ``separable_conv_1_normal_left2`` and
    ``separable_conv_2_normal_left2`` in the frame ``left2``, ``separable_conv_1`` and
    ``separable_conv_2`` remain. A row of things tells its common words once: ``block2 … 6``.

    Parameters
    ----------
    titles : sequence of str
    parents : sequence of int
        Row of the frame around each; -1 for none.

    Returns
    -------
    list of str
        As different from each other, inside each frame, as the titles given.
    """
    found = list(titles)
    families: dict[int, list[int]] = defaultdict(list)
    for row, above in enumerate(parents):
        families[above].append(row)
    for above, rows in families.items():
        long = [row for row in rows if len(titles[row]) > _LONG and _ROW not in titles[row]]
        frame = titles[above] if above >= 0 else ""
        short = _without_common_end([_without_end(titles[row], frame) for row in long])
        tried = dict(zip(long, short, strict=True))
        before, after = ({by.get(r, titles[r]) for r in rows} for by in ({}, tried))
        if len(before) == len(after):
            for row, text in tried.items():
                found[row] = text
    return [_row_of_things(title) for title in found]


def _without_end(title: str, end: str) -> str:
    if not end or not title.endswith(end) or title[: -len(end)][-1:] not in tuple(_BETWEEN):
        return title
    return title[: -len(end)].rstrip(_BETWEEN) or title


def _without_common_end(titles: list[str]) -> list[str]:
    """Without the words at the end that two or more titles all share; a word of each remains."""
    if len(set(titles)) < 2:
        return titles
    end = _beginning([title[::-1] for title in titles])[::-1]
    while end and end[0] not in _BETWEEN:
        end = end[1:]
    if not any(c.isalpha() for c in end):
        return titles
    return [_without_end(title, end.lstrip(_BETWEEN)) for title in titles]


def _beginning(texts: Sequence[str]) -> str:
    """What all of some texts begin with."""
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in columns)


def _row_of_things(title: str) -> str:
    """``first … last`` without what the last one repeats of the first, but for its number."""
    first, between, last = title.partition(_ROW)
    if not between or _ROW in last:
        return title
    told = first.rpartition(" · ")[2]
    head = _beginning((told, last))
    while head and (head[-1].isdigit() or not last[len(head) : len(head) + 1].isdigit()):
        head = head[:-1]
    return f"{first}{between}{last[len(head) :]}" if head else title
