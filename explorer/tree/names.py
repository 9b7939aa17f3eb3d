"""Groups that a file records, and those that its names tell.

All names form one trie of words: ``decoder/block_7/attention_query`` is ``decoder``, ``/block``,
``_7``, ``/attention``, ``_query``. A word that several layers share is a group, unless it only
counts (``block`` in ``block_1``, ``block_2``): then its numbered children take its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from explorer.network import Layer, Network
from explorer.tree.words import SEPARATORS, LastWords, Trie, last_words

ENDING = "\0"
_OTHERS = re.compile(r"[^a-z]+")
_FEWEST = 4  # members of a scope below which its names are not looked at


@dataclass
class Groups:
    """Wished groups: row 0 is the root, parents stand before children.

    Attributes
    ----------
    path, title, type : list of str
    parent : list of int
        -1 for the root.
    inferred : list of bool
        False where the file records the group.
    composite : list of bool
        One layer to the file: not grouped further.
    strong : list of bool
        Recorded, or a scope in names (``/`` and ``.``): where such a group is not convex it is
        split; a prefix of flat names is given up instead.
    prefix : list of str
        What the paths of all members begin with: their titles go without it. Behind `ENDING`
        may stand what the names of members end with.
    of_layer : list of int
        The innermost group of each layer.
    """

    path: list[str] = field(default_factory=list)
    title: list[str] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    inferred: list[bool] = field(default_factory=list)
    composite: list[bool] = field(default_factory=list)
    strong: list[bool] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    of_layer: list[int] = field(default_factory=list)

    def add(self, path: str, title: str, type_: str, parent: int, flags: tuple[bool, bool, bool],
            prefix: str) -> int:  # fmt: skip
        """Append a group with its flags (inferred, composite, strong); returns its row."""
        self.path.append(path)
        self.title.append(title)
        self.type.append(type_)
        self.parent.append(parent)
        self.inferred.append(flags[0])
        self.composite.append(flags[1])
        self.strong.append(flags[2])
        self.prefix.append(prefix)
        return len(self.path) - 1


class Paths:
    """The paths in use.

    Parameters
    ----------
    network : Network
        Its layers and scopes keep theirs.
    """

    def __init__(self, network: Network) -> None:
        self._taken = {layer.path for layer in network.layers}
        self._taken.update(scope.path for scope in network.scopes)
        self._taken.add("")
        self._count: dict[str, int] = {}

    def unique(self, path: str) -> str:
        """The path, or with ``~2``, ``~3``, … behind it where it is taken; it is then taken."""
        candidate = path
        if path in self._taken:
            count = self._count.get(path, 1)
            while candidate in self._taken:
                count += 1
                candidate = f"{path}~{count}"
            self._count[path] = count
        self._taken.add(candidate)
        return candidate


def short(name: str, prefix: str) -> str:
    """A name without the leading words that all its neighbours share.

    Parameters
    ----------
    name : str
    prefix : str
        Of the group around it; a path that the name need not begin with.
    """
    rest = name[len(prefix) :] if prefix and name.startswith(prefix) else name
    return rest.strip("_./-") or name.strip("_./-") or name


def layer_title(path: str, prefix: str) -> str:
    """What is written on a layer inside a group with this prefix."""
    if ENDING in prefix:
        prefix, _, ending = prefix.partition(ENDING)
        path = path.removesuffix(ending) or path
    name = path.rstrip("/").rsplit("/", 1)[-1] or path
    if prefix and path.startswith(prefix) and len(path) > len(prefix):
        title = short(path, prefix)
        return title if not title.isdigit() else short(name, "")  # a bare counter says too little
    return short(name, "")


@lru_cache(1024)
def _letters(kind: str) -> str:
    return re.sub(r"[^a-z]", "", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower())


def is_default(kind: str, stem: str) -> bool:
    """Whether a name without its counter is made from the kind of the layer, like ``dense``."""
    return _OTHERS.sub("", stem.lower()) == _letters(kind)


def _homes(trie: Trie, layers: Sequence[Layer]) -> tuple[list[int], set[int]]:
    """The row of the trie under which each layer stands; the rows where not all words count."""
    paths = [layer.path for layer in layers]
    words = last_words(paths)
    prefixes = _prefixes(trie, layers, paths, words)
    rows = {prefix: trie.add(prefix) for prefix in dict.fromkeys(prefixes)}
    homes = [rows[prefix] for prefix in prefixes]
    counted = words.counted.tolist()
    telling = {home for home, counts in zip(homes, counted, strict=True) if not counts}
    for i in np.flatnonzero(words.counted).tolist():
        word = paths[i][len(prefixes[i]) :]
        if homes[i] not in telling and not word.lstrip("_./-").isdigit():
            telling.add(homes[i])
    return homes, telling


def _prefixes(trie: Trie, layers: Sequence[Layer], paths: list[str],
              words: LastWords) -> list[str]:  # fmt: skip
    """What each path begins with: the path in the trie under which the layer stands."""
    cut = np.maximum(words.separator, 0).tolist()
    found = [path[:at] for path, at in zip(paths, cut, strict=True)]
    if trie.scopes:
        for i in np.flatnonzero(words.separator == words.slash).tolist():
            if found[i] and found[i] in trie.scopes:
                found[i] += "/"
    for i in np.flatnonzero(words.odd).tolist():
        found[i] = trie.beginning(paths[i])
    kinds = [layer.kind for layer in layers]
    initials = {kind: ord(kind[:1].lower()[:1] or "?") for kind in set(kinds)}
    own = np.fromiter(map(initials.__getitem__, kinds), np.int64, len(kinds))
    plain = (words.initial == own) | (words.initial == ord("?")) | (own == ord("?")) | (own > 127)
    known: dict[tuple[str, str], bool] = {}
    slashes, stems = words.slash.tolist(), words.stem.tolist()
    for i in np.flatnonzero(plain).tolist():
        path, slash = paths[i], slashes[i]
        kind, stem = key = kinds[i], path[slash + 1 : stems[i]]
        default = known.get(key)
        if default is None:
            alike = stem[:1].lower() == kind[:1].lower()
            default = known[key] = alike and is_default(kind, stem)
        if default:
            folder = path[: max(slash, 0)]
            found[i] = folder + "/" if folder in trie.scopes else folder.rstrip("_./-")
    return found


def named_groups(network: Network, taken: Paths) -> Groups:
    """The groups that a file records and those that its names tell.

    Parameters
    ----------
    network : Network
    taken : Paths
        Those of the groups are added.

    Returns
    -------
    Groups
        Whether they are convex is not looked at. Every group has at least two members, or is
        recorded.
    """
    trie = Trie(network)
    homes, telling = _homes(trie, network.layers)
    # A layer whose own name is the beginning of others belongs to them: conv1 to conv1_bn.
    for row, path in enumerate(trie.path):
        at = network.position.get(path)
        if at is None or trie.row[path] != row or trie.scope[row]:
            continue
        if "/" not in trie.behind[row]:
            homes[at] = row
            telling.add(row)
    kept = _kept(network, trie, homes, telling)
    return _made(network, trie, homes, kept, taken)


def _kept(network: Network, trie: Trie, homes: list[int], telling: set[int]) -> list[bool]:
    """Which rows of the trie become groups."""
    n = len(trie.path)
    layers = np.bincount(np.array(homes, np.int64), minlength=n).tolist()
    inside = list(layers)  # layers anywhere inside: a scope without any is dropped
    children = list(layers)
    all_count = [True] * n
    strong = [bool(s) or "." in b or "/" in b for s, b in zip(trie.scope, trie.behind, strict=True)]
    closed = [bool(s) and network.scopes[s - 1].composite for s in trie.scope]
    # Members of each recorded scope or scope in names, prefixes left out.
    members = list(layers)
    nearest = [0] * n
    for row in range(1, n):
        parent = trie.parent[row]
        if closed[parent]:
            closed[row] = True
        nearest[row] = row if strong[row] else nearest[parent]
        if strong[row]:
            members[nearest[parent]] += 1
        else:
            members[nearest[parent]] += layers[row]
    kept = [False] * n
    for row in range(n - 1, 0, -1):
        parent = trie.parent[row]
        inside[parent] += inside[row]
        recorded = bool(trie.scope[row])
        if recorded:
            kept[row] = inside[row] > 0
        else:
            counts = children[row] > 1 and all_count[row] and row not in telling
            few = not strong[row] and members[nearest[row]] < _FEWEST
            kept[row] = layers[row] >= 2 and not (counts or few or closed[row])
        if inside[row]:
            layers[parent] += 1 if kept[row] else layers[row]
            children[parent] += 1
            all_count[parent] &= trie.counter[row]
    for row in range(1, n):
        parent = trie.parent[row]
        if kept[row] and not strong[row] and inside[row] == inside[parent]:
            # a prefix of all in a scope is no group: the scope is, as somebody named it
            scope = strong[parent] and parent > 0
            kept[row], kept[parent] = not scope, kept[parent] or scope
    return kept


def _made(network: Network, trie: Trie, homes: list[int], kept: list[bool],
          taken: Paths) -> Groups:  # fmt: skip
    """The kept rows as groups, without a group that holds all its parent's members."""
    n = len(trie.path)
    around = [0] * n  # nearest kept row at or above each row
    for row in range(1, n):
        around[row] = row if kept[row] else around[trie.parent[row]]
    members = [0] * n
    for home in homes:
        members[around[home]] += 1
    only = [0] * n
    for row in range(1, n):
        if kept[row]:
            parent = around[trie.parent[row]]
            members[parent] += 1
            only[parent] = row
    groups = Groups()
    groups.add("", network.name, "", -1, (False, False, True), _own_name(network))
    place = [0] * n
    for row in range(1, n):
        above = place[trie.parent[row]]
        place[row] = above
        if not kept[row]:
            continue
        parent = around[trie.parent[row]]
        path = trie.path[row]
        if members[parent] == 1 and only[parent] == row and not trie.scope[row]:
            groups.prefix[above] = path  # all that is in the scope is in the group
            continue
        place[row] = _group(network, trie, row, groups, above, taken)
    groups.of_layer = [place[home] for home in homes]
    return groups


def _own_name(network: Network) -> str:
    """The network's name and a ``_``, where most names begin so; else nothing."""
    own = network.name + "_"
    found = sum([layer.path.startswith(own) for layer in network.layers])
    return own if network.name and 2 * found > len(network.layers) else ""


def _group(network: Network, trie: Trie, row: int, groups: Groups, above: int,
           taken: Paths) -> int:  # fmt: skip
    path = trie.path[row]
    scope = network.scopes[trie.scope[row] - 1] if trie.scope[row] else None
    prefix = groups.prefix[above]
    if scope is not None:
        path = scope.path
        title = path.rsplit("/", 1)[-1] or path.strip("/") or path
        # Only without the network's own name: a group around it may yet be given up.
        title = title.removeprefix(groups.prefix[0]) or title
        own = taken.unique(path) if path in network.position else path
        flags = (False, scope.composite, True)
        return groups.add(own, title, scope.kind, above, flags, path + "/")
    strong = "." in trie.behind[row] or "/" in trie.behind[row]
    name = path if prefix and path.startswith(prefix) else path.rsplit("/", 1)[-1]
    if name.isdigit():  # blk/0, not 0
        name = "/".join(path.rsplit("/", 2)[-2:])
    title = short(name, prefix)
    if len(title) == 1 and not title.isdigit():  # block2a, not a
        title = SEPARATORS.split(name.strip("_./-"))[-1] or title
    return groups.add(taken.unique(path), title, "", above, (True, False, strong), path)
