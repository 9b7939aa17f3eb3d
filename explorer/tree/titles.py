"""Paths and titles of the groups that are made."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer
from explorer.tree.forest import SCOPE, SERIES, STAGE, Forest, Meta
from explorer.tree.names import Paths, is_default, layer_title

I8 = NDArray[np.int64]
FAN = "~fan"
"""What the path of a series ends in whose members stand side by side, not one after another."""
_LONGEST = 60  # characters of each end of a title
_LETTER = re.compile(r"[^\W\d_]")
_COUNTED = re.compile(r"[^\W_]*[_.-]\d+")


class Titles:
    """Names the groups of one forest.

    Parameters
    ----------
    forest : Forest
    layers : sequence of Layer
        In the forest's order.
    taken : Paths
        Those of new groups are added.
    """

    def __init__(self, forest: Forest, layers: Sequence[Layer], taken: Paths) -> None:
        self.forest = forest
        self.layers = layers
        self.taken = taken
        self._blocks: dict[int, int] = {}

    def title(self, vertex: int, prefix: str | None = None) -> str:
        """What is written on a vertex, in a group with this prefix or in its own."""
        n = self.forest.layers
        if vertex >= n:
            return self.forest.meta.title[vertex - n]
        if prefix is None:
            prefix = self.prefix(vertex)
        return layer_title(self.layers[vertex].path, prefix)

    def path(self, vertex: int) -> str:
        """The path of a vertex."""
        n = self.forest.layers
        return self.layers[vertex].path if vertex < n else self.forest.meta.path[vertex - n]

    def prefix(self, vertex: int) -> str:
        """What the titles inside the vertex's parent go without."""
        return self.forest.meta.prefix[int(self.forest.parent[vertex]) - self.forest.layers]

    def stages(self, leads: I8) -> Meta:
        """Stages, named after the layers that lead them."""
        meta = Meta()
        for lead in leads.tolist():
            layer, prefix = self.layers[lead], self.prefix(lead)
            title = layer_title(layer.path, prefix)
            self._add(meta, f"{layer.path}~stage", title, STAGE, layer.kind, prefix)
        return meta

    def regions(self, joins: I8, members: I8, group: I8) -> Meta:
        """Regions, named after the joins that end them, or the only scope inside.

        A join that is itself a recorded scope keeps its name to itself: the region around it is
        named after its first member and the join.
        """
        n, meta = self.forest.layers, Meta()
        inner = members >= n
        inner &= self.forest.kinds[members] == SCOPE
        one = np.bincount(group[inner], minlength=len(joins)) == 1
        scope = np.zeros(len(joins), np.int64)
        scope[group[inner]] = members[inner]
        # The first member, where the join is a recorded scope that is not alone; else -1.
        recorded = self.forest.kinds == SCOPE
        recorded[n:] &= ~np.array(self.forest.meta.inferred, bool)
        first = members[np.unique(group, return_index=True)[1]]
        first = np.where(recorded[joins] & (first != joins), first, -1)
        columns = (joins, scope, one, first)
        for join, within, single, start in zip(*(c.tolist() for c in columns), strict=True):
            title, path = self.title(join), self.path(join)
            above = int(self.forest.parent[join]) - n
            if start >= 0:
                title = span(self.title(start), title)
            elif not self._telling(join):
                title = self.title(within) if single else f"{title} block"
            elif title == self.forest.meta.title[above]:
                title = f"{title} block"
            self._add(meta, f"{path}~block", title, SCOPE, "", self.prefix(join))
        return meta

    def branches(self, firsts: I8) -> Meta:
        """Branches that run side by side, named after what they begin with."""
        meta = Meta()
        for first in firsts.tolist():
            title, path = self.title(first), self.path(first)
            self._add(meta, f"{path}~branch", f"{title} branch", SCOPE, "", self.prefix(first))
        return meta

    def blocks(self, firsts: I8) -> Meta:
        """Blocks that repeat, counted inside their parent."""
        meta = Meta()
        for first in firsts.tolist():
            above = int(self.forest.parent[first])
            count = self._blocks[above] = self._blocks.get(above, 0) + 1
            path = f"{self.path(first)}~repeat"
            self._add(meta, path, f"block {count}", SCOPE, "", self.prefix(first))
        return meta

    def series(self, firsts: I8, lasts: I8, members: I8, group: I8) -> Meta:
        """Series, named after their first and last member.

        The numbered words that these begin with are left to the series, ``stage_0 · block_0 …
        block_2``: groups among the members go without them.
        """
        meta, n, heads = Meta(), self.forest.layers, {}
        for row, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
            title = span(self.title(first), self.title(last))
            if first >= n and (head := shared(self.title(first), self.title(last))):
                heads[row] = head
            path = f"{self.path(first)}~series"
            self._add(meta, path, title, SERIES, "", self.prefix(first))
        if heads:
            own = self.forest.meta.title
            for vertex, row in zip(members.tolist(), group.tolist(), strict=True):
                if row in heads and vertex >= n:
                    own[vertex - n] = own[vertex - n].removeprefix(heads[row])
        return meta

    def fans(self, firsts: I8, lasts: I8) -> Meta:
        """Series of what stands side by side, named after its first and last member."""
        meta = Meta()
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            title, path = span(self.title(first), self.title(last)), f"{self.path(first)}{FAN}"
            self._add(meta, path, title, SERIES, "", self.prefix(first))
        return meta

    def segments(self, firsts: I8, lasts: I8, kinds: I8, pieces: I8) -> Meta:
        """Pieces of a group that is too wide."""
        meta, n = Meta(), self.forest.layers
        rows = zip(firsts.tolist(), lasts.tolist(), kinds.tolist(), pieces.tolist(), strict=True)
        for first, last, kind, piece in rows:
            above = int(self.forest.parent[first])
            base = self.forest.meta.path[above - n] or self.forest.meta.title[0]
            title = span(self.title(first), self.title(last))
            self._add(meta, f"{base}~part{piece + 1}", title, kind, "", self.prefix(first))
        meta.piece = (kinds == SERIES).tolist()
        return meta

    def _telling(self, vertex: int) -> bool:
        """Whether a name says more than the kind of layer it was made from."""
        n = self.forest.layers
        kind = self.layers[vertex].kind if vertex < n else self.forest.meta.type[vertex - n]
        name = self.layers[vertex].name if vertex < n else self.forest.meta.title[vertex - n]
        return not (is_default(kind, name.rstrip("0123456789")) or _COUNTED.fullmatch(name))

    def _add(self, meta: Meta, path: str, title: str, kind: int, type_: str,
             prefix: str) -> None:  # fmt: skip
        meta.path.append(self.taken.unique(path))
        meta.title.append(title)
        meta.kind.append(kind)
        meta.type.append(type_)
        meta.inferred.append(True)
        meta.composite.append(False)
        meta.prefix.append(prefix)
        meta.piece.append(False)


def shared(first: str, last: str) -> str:
    """What two titles both begin with up to the word that tells them apart, if it has a number.

    ``stage_0_`` of ``stage_0_block_0`` and ``stage_0_block_2``; nothing of ``block_0`` and
    ``block_2``, where the number itself is the difference.
    """
    if first == last or "…" in first or "…" in last:
        return ""
    pairs = enumerate(zip(first, last, strict=False))
    head = first[: next((k for k, (a, b) in pairs if a != b), len(first))]
    while head and not (head[-1] in "_./-" and _LETTER.match(first[len(head) :] or "0")
                        and _LETTER.match(last[len(head) :] or "0")):  # fmt: skip
        head = head[:-1]
    return head if any(c.isdigit() for c in head) else ""


def span(first: str, last: str) -> str:
    """A title for a row of things: ``first … last``, without repeating what a span begins with."""
    first, last = first.split(" … ")[0], last.split(" … ")[-1]
    head = shared(first, last)
    first, last = _clipped(first[len(head) :]), _clipped(last[len(head) :])
    ends = first if first == last else f"{first} … {last}"
    return f"{_clipped(head.rstrip('_./-'))} · {ends}" if head else ends


def _clipped(title: str) -> str:
    return title if len(title) <= _LONGEST else title[: _LONGEST - 1] + "…"
