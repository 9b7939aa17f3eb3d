"""Groups that the ends of names tell: ``conv_1_left_4``, ``bn_1_left_4``, ``concat_4``.

Some networks count their cells behind the name. Grouping by first words then tears every cell
apart, and the groups are tangled; where that is so, and the last words make groups that follow one
another, those are taken instead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer
from explorer.tree.convex import renumbered
from explorer.tree.names import ENDING, Groups, Paths, is_default
from explorer.tree.order import knots

I8 = NDArray[np.int64]
FEWEST = 3
"""Members of a group by endings, and groups in a scope, from which they are looked at."""
_MEMBERS = 24  # of a scope below which its endings are not looked at
_EXPLAINED = 0.6  # share of the telling names that the groups must hold
_WINDOW = 2048  # members from which the first alone are looked at before the others
_REACH = 4  # lengths of a scope that all its groups together may stretch over
_SHARE = 1 / 3  # of those that end alike from which the word before belongs to the ending
_WORDS = re.compile(r"[_.-]+")


class _Scope:
    """The members of one scope: layers, and groups that stand as they are."""

    def __init__(self, row: int, vertices: list[int], names: list[str],
                 links: set[tuple[int, int]], count: int) -> None:  # fmt: skip
        self.row = row
        self.count = count  # of layers; vertices from there on are rows
        self.vertices = vertices
        self.names = names  # empty where a name says nothing
        self.after: list[list[int]] = [[] for _ in names]
        self.before: list[list[int]] = [[] for _ in names]
        for a, b in sorted(links):
            self.after[a].append(b)
            self.before[b].append(a)

    def adopt(self, home: dict[int, int], among: Sequence[int]) -> None:
        """Give members whose names say nothing to the group of all that read them, or feed them.

        This tangles nothing that was not tangled before.
        """
        inner = set(among)
        free = [m for m in among if m not in home and not self.names[m] and self.before[m]]
        for member in reversed(free):
            _join(home, member, self.after[member], inner)
        for member in free:
            if any(b in inner and b in home for b in self.after[member]):
                _join(home, member, self.before[member], inner)

    def tangled(self, home: dict[int, int], among: Sequence[int]) -> set[int]:
        """Groups that stand in a circle with others."""
        inner, count = set(among), len(self.names)
        of = {m: home[m] + count if m in home else m for m in among}
        pairs = {(of[a], of[b]) for a in among for b in self.after[a] if b in inner}
        circles = knots(sorted(set(of.values())), sorted(p for p in pairs if p[0] != p[1]))
        return {v - count for circle in circles for v in circle if v >= count}

    def explained(self, home: dict[int, int]) -> float:
        """Share of the telling names in groups that are not tangled."""
        tangled = self.tangled(home, range(len(self.names)))
        told = [home.get(m) for m, name in enumerate(self.names) if name]
        return sum(g is not None and g not in tangled for g in told) / max(len(told), 1)


def _join(home: dict[int, int], member: int, others: Sequence[int], inner: set[int]) -> None:
    homes = {home.get(other, -1) if other in inner else -1 for other in others}
    if member not in home and len(homes) == 1 and -1 not in homes:
        home[member] = homes.pop()


def group_by_endings(layers: Sequence[Layer], groups: Groups, of_layer: I8, links: I8,
                     taken: Paths) -> None:  # fmt: skip
    """Replace groups by first words that are tangled by groups by last words that are not.

    Parameters
    ----------
    layers : sequence of Layer
        In an order of flow.
    groups : Groups
        Changed in place.
    of_layer : int64 array, shape (n,)
        Innermost group of each layer; changed in place.
    links : int64 array, shape (E, 2)
        Pairs of layers, all pointing forward.
    taken : Paths
        Those of new groups are added.
    """
    strong = np.array(groups.strong, bool)
    strong[0] = True
    around = list(range(len(strong)))  # nearest strong row at or above
    for row in np.flatnonzero(~strong).tolist():
        around[row] = around[groups.parent[row]]
    own = np.array(around, np.int64)[of_layer]
    inner = np.flatnonzero(strong)[1:]
    outer = np.array([around[groups.parent[row]] for row in inner.tolist()], np.int64)
    above = dict(zip(inner.tolist(), outer.tolist(), strict=True))
    size = np.bincount(own, minlength=len(strong)) + np.bincount(outer, minlength=len(strong))
    size[np.array(groups.composite, bool)] = 0
    large = np.flatnonzero(size >= _MEMBERS)
    if not len(large):
        return
    n = len(layers)
    # Members of one scope side by side, in an order of flow; rows are numbered behind layers.
    vertex, scopes = np.concatenate((np.arange(n), inner + n)), np.concatenate((own, outer))
    at = np.concatenate((np.arange(n), _first_layers(groups, of_layer)[inner]))
    order = np.lexsort((at, scopes))
    vertex, start = vertex[order], np.searchsorted(scopes[order], np.arange(len(strong) + 1))
    dissolved: set[int] = set()
    for row in large.tolist():
        vertices = vertex[start[row] : start[row + 1]]
        if len(vertices) > _WINDOW and not _keys(_named(vertices[:_WINDOW], layers, groups)):
            continue  # what begins a long scope tells soon that endings say nothing
        named = _named(vertices, layers, groups)
        if keys := _keys(named):
            inside = _lifted(above, own, row, vertices, links)
            scope = _Scope(row, vertices.tolist(), named, inside, n)
            dissolved |= _regrouped(scope, keys, groups, of_layer, taken)
    if len(groups.path) > len(strong):
        renumbered(groups, of_layer, dissolved)


def _first_layers(groups: Groups, of_layer: I8) -> I8:
    """First layer inside each row."""
    first = np.full(len(groups.path), len(of_layer), np.int64)
    np.minimum.at(first, of_layer, np.arange(len(of_layer)))
    found = first.tolist()
    for row in range(len(found) - 1, 0, -1):
        above = groups.parent[row]
        found[above] = min(found[above], found[row])
    return np.array(found, np.int64)


def _named(vertices: I8, layers: Sequence[Layer], groups: Groups) -> list[str]:
    """Last part of each path; nothing where it is made from the kind of layer."""
    known: dict[tuple[str, str], bool] = {}
    found = []
    for vertex in vertices.tolist():
        row = vertex - len(layers)
        kind, path = (
            (layers[vertex].kind, layers[vertex].path)
            if row < 0
            else (groups.type[row], groups.path[row])
        )
        name = path.rpartition("/")[2]
        stem = name.rstrip("0123456789")
        plain = stem[:1].lower() == kind[:1].lower()
        if plain:
            told = known.get((kind, stem))
            plain = known[kind, stem] = is_default(kind, stem) if told is None else told
        found.append("" if plain else name)
    return found


def _split(name: str) -> tuple[str, str, str]:
    """A name without its last word, a separator, and that word."""
    return name.replace("-", "_").replace(".", "_").rpartition("_")


def _keys(names: list[str]) -> list[str]:
    """The ending that tells the group of each name, or nothing; empty if endings tell none."""
    last = [_split(name) for name in names]
    told = sum(map(bool, names))
    ends = Counter(word for head, _, word in last if head)
    covered = [k for k, (head, _, word) in enumerate(last) if head and ends[word] >= FEWEST]
    if told < _MEMBERS or len(covered) < _EXPLAINED * told:
        return []
    at: dict[str, list[int]] = {}
    for k in covered:
        at.setdefault(last[k][2], []).append(k)
    reach = sum(places[-1] - places[0] + 1 for places in at.values())
    if len(at) < FEWEST or reach > _REACH * len(names):
        return []
    keys = [""] * len(names)
    for word, places in at.items():
        before = Counter(last[k][0].rpartition("_")[2] for k in places)
        for k in places:
            previous = last[k][0].rpartition("_")[2]
            often = before[previous] >= max(FEWEST, _SHARE * len(places))
            inner = word.isdigit() and previous.isalpha() and often
            keys[k] = f"{previous}_{word}" if inner else word
    ends = Counter(keys)
    return [key if ends[key] >= FEWEST else "" for key in keys]


def _lifted(above: dict[int, int], own: I8, row: int, vertices: I8,
            links: I8) -> set[tuple[int, int]]:  # fmt: skip
    """Links between the members of a scope, as pairs of places in `vertices`.

    `above` is the strong row around each strong row, from the outside in, as all stood before any
    scope got new groups.
    """
    count = len(own)
    place = {vertex: k for k, vertex in enumerate(vertices.tolist())}
    # which member each strong row is in
    inside = np.full(max([0, *above]) + 1, -1, np.int64)
    for one, outer in above.items():
        within = inside[outer]
        inside[one] = place.get(one + count, within) if outer == row else within
    at = inside[own]
    layers = vertices[vertices < count]
    at[layers] = [place[v] for v in layers.tolist()]
    ends = at[links]
    ends = ends[(ends[:, 0] != ends[:, 1]) & (ends >= 0).all(axis=1)]
    return set(map(tuple, np.unique(ends, axis=0).tolist()))


def _regrouped(scope: _Scope, keys: list[str], groups: Groups, of_layer: I8,
               taken: Paths) -> set[int]:  # fmt: skip
    """Put the groups in, if they explain the scope better; returns the rows to dissolve."""
    number = {key: k for k, key in enumerate(dict.fromkeys(filter(None, keys)))}
    home = {m: number[key] for m, key in enumerate(keys) if key}
    scope.adopt(home, range(len(keys)))
    around = [_weak(scope, m, groups, of_layer) for m in range(len(keys))]
    by_prefix = {m: rows[-1] for m, rows in enumerate(around) if rows}
    explained = scope.explained(home)
    if explained < _EXPLAINED or explained <= scope.explained(by_prefix):
        return set()
    members: list[list[int]] = [[] for _ in number]
    for m in sorted(home):
        members[home[m]].append(m)
    for key, inside in zip(number, members, strict=True):
        told = [m for m in inside if scope.names[m]]
        title = _title(key, [scope.names[m] for m in told])
        row = _added(scope, groups, taken, title, told, scope.row)
        _move(scope, inside, row, groups, of_layer)
        _branches(scope, key, inside, row, groups, of_layer, taken)
    return {row for m in home for row in around[m]}


def _weak(scope: _Scope, member: int, groups: Groups, of_layer: I8) -> list[int]:
    """Rows between a member and its scope, inner first."""
    vertex = scope.vertices[member]
    at = int(of_layer[vertex]) if vertex < scope.count else groups.parent[vertex - scope.count]
    found = []
    while at != scope.row:
        found.append(at)
        at = groups.parent[at]
    return found


def _title(key: str, names: list[str]) -> str:
    """``normal 4``: a bare number takes the word that most of the names hold."""
    if not key.isdigit():
        return key.replace("_", " ")
    held: Counter[str] = Counter()
    for name in names:
        held.update({word for word in _WORDS.split(name) if word.isalpha()})
    word = max(held, key=lambda w: (held[w], w), default="")
    return f"{word if 2 * held[word] > len(names) else 'block'} {key}"


def _added(scope: _Scope, groups: Groups, taken: Paths, title: str, told: list[int],
           parent: int) -> int:  # fmt: skip
    names = [scope.names[m] for m in told]
    one, other = min(name[::-1] for name in names), max(name[::-1] for name in names)
    pairs = enumerate(zip(one, other, strict=False))
    ending = one[: next((k for k, (a, b) in pairs if a != b), len(one))][::-1]
    cut = _WORDS.search(ending)
    base = groups.path[parent]
    path = f"{base}/{title}" if base and parent == scope.row else title
    path = f"{base} {title}" if parent != scope.row else path
    prefix = groups.prefix[scope.row] + ENDING + (ending[cut.start() :] if cut else "")
    flags = (True, False, False)
    return groups.add(taken.unique(path.replace(" ", "_")), title, "", parent, flags, prefix)


def _move(scope: _Scope, members: list[int], row: int, groups: Groups,
          of_layer: I8) -> None:  # fmt: skip
    ending = groups.prefix[row].partition(ENDING)[2]
    for member in members:
        vertex = scope.vertices[member]
        if vertex < scope.count:
            of_layer[vertex] = row
        else:
            groups.parent[vertex - scope.count] = row
            title = groups.title[vertex - scope.count]
            groups.title[vertex - scope.count] = title.removesuffix(ending) or title


def _branches(scope: _Scope, key: str, members: list[int], above: int, groups: Groups, of_layer: I8,
              taken: Paths) -> None:  # fmt: skip
    """Groups by the word before the ending, inside one group."""
    words: dict[int, str] = {}
    for m in members:
        rest = scope.names[m][: -len(key) - 1]
        head, _, word = _split(rest)
        if head and word[:1].isalpha():
            words[m] = word
    often = Counter(words.values())
    number = {w: k for k, w in enumerate(often) if FEWEST <= often[w] <= _EXPLAINED * len(members)}
    home = {m: number[word] for m, word in words.items() if word in number}
    scope.adopt(home, members)
    tangled = scope.tangled(home, members)
    for word, k in number.items():
        inside = [m for m in members if home.get(m) == k]
        if k not in tangled:
            told = [m for m in inside if scope.names[m]]
            row = _added(scope, groups, taken, word, told, above)
            _move(scope, inside, row, groups, of_layer)
