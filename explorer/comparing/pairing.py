"""Which layers of two networks are the same layer: by path, else by order within the parent.

Names that a framework numbers (``dense_4``) depend on what was built before; two files of one
architecture may therefore differ in them. Such layers are paired by their order and kind, and the
pair says so. What has no partner was added or removed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Literal

from explorer.network import Layer, Network, Weight
from explorer.weights.codecs import is_number, number_dtype, problem

By = Literal["path", "order"]
_MOST_ALIGNED = 1 << 20  # products of lengths up to which two lists are aligned, not just counted
_NUMBER = re.compile(r"_\d+$")
_AIDS = ("_scale", "_zero", "_scales", "_amax_history")
_AID_NAMES = frozenset(("awq_scales", "g_idx", "inputs_scale", "outputs_grad_scale",
                        "reverse_embeddings_scale", "reverse_embeddings_zero"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightPair:
    """A weight in the older file and the same one in the newer.

    Attributes
    ----------
    before, after : Weight
        Of equal shape.
    """

    before: Weight
    after: Weight

    @property
    def dtype(self) -> str:
        """Of the difference: single precision unless a side is double or whole numbers."""
        small = all(
            is_number(w) and number_dtype(w).itemsize <= 4 for w in (self.before, self.after)
        )
        return "float32" if small else "float64"


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A layer in the older file and the same one in the newer.

    Attributes
    ----------
    before, after : Layer
    by : {"path", "order"}
        Whether both have the same path, or stand at the same place.
    weights : tuple of WeightPair
        Weights of one role and shape.
    differs : tuple of str
        What is not the same, for people: ``"kernel 3×3×8×16 before, 3×3×8×32 now"``.
    """

    before: Layer
    after: Layer
    by: By
    weights: tuple[WeightPair, ...]
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Pairing:
    """How the layers of two networks belong together.

    Attributes
    ----------
    pairs : tuple of LayerPair
        In the order of the newer network.
    added, removed : tuple of Layer
        Only in the newer, only in the older.
    path_now : dict of str to str
        Path in the newer network of each paired layer and scope of the older.
    """

    pairs: tuple[LayerPair, ...]
    added: tuple[Layer, ...]
    removed: tuple[Layer, ...]
    path_now: dict[str, str]

    @property
    def weights(self) -> int:
        """Number of elements that are compared."""
        return sum({w.after.name: w.after.size for p in self.pairs for w in p.weights}.values())


def pair_networks(before: Network, after: Network) -> Pairing:
    """Pair the layers of two networks.

    Layers of equal path are the same. What is left is paired, within parents that are paired
    themselves: first in order, those of one name but for its number, of one kind and equal shapes
    of weights; then whatever shapes they have; then what stands in a gap between the same
    neighbours and is, one by one, of the same kinds and shapes. Where a parent's children are
    altogether the same but for the numbers of their names, only their order counts.

    Parameters
    ----------
    before, after : Network
        With clean names, see `explorer.weights.tidy.tidy`.

    Returns
    -------
    Pairing
    """
    old, new = _Tree(before), _Tree(after)
    now: dict[str, str] = {}
    by: dict[str, By] = {}
    stack = [("", "")]
    while stack:
        a, b = stack.pop()
        for one, other in _children(old, new, old.children.get(a, []), new.children.get(b, [])):
            now[one] = other
            same = one.rpartition("/")[2] == other.rpartition("/")[2]
            by[one] = "path" if same and by.get(a, "path") == "path" else "order"
            stack.append((one, other))
    then = {b: a for a, b in now.items()}
    pairs = []
    for layer in after.layers:
        partner = before.layer_by_path.get(then.get(layer.path, ""))
        if partner is not None:
            pairs.append(_layer_pair(partner, layer, by[partner.path]))
    added = tuple(la for la in after.layers if then.get(la.path) not in before.layer_by_path)
    removed = tuple(la for la in before.layers if now.get(la.path) not in after.layer_by_path)
    return Pairing(tuple(pairs), added, removed, now)


# -- layers ------------------------------------------------------------------------------------


class _Tree:
    """Layers and scopes of a network by their parent, in order of flow."""

    def __init__(self, network: Network) -> None:
        self.layers = network.layer_by_path
        self._scopes = {scope.path: scope.kind for scope in network.scopes}
        ordered: dict[str, dict[str, None]] = {}
        for layer in network.layers:
            path = layer.path
            while path:
                parent = path.rpartition("/")[0]
                if path in ordered.setdefault(parent, {}):
                    break
                ordered[parent][path] = None
                path = parent
        self.children = {parent: list(paths) for parent, paths in ordered.items()}
        self._signs: dict[str, Hashable] = {}

    def kind(self, path: str) -> tuple[bool, str]:
        """Whether it is a layer, and its kind."""
        layer = self.layers.get(path)
        return (True, layer.kind) if layer is not None else (False, self._scopes.get(path, ""))

    def sign(self, path: str) -> Hashable:
        """Equal for what has the same kinds and shapes inside, whatever its names."""
        todo = [path]
        while todo:
            here = todo[-1]
            missing = [c for c in self.children.get(here, ()) if c not in self._signs]
            if missing and here not in self._signs:
                todo += missing
                continue
            todo.pop()
            if here not in self._signs:
                inner = tuple(self._signs[c] for c in self.children.get(here, ()))
                layer = self.layers.get(here)
                own = () if layer is None else _shapes(layer)
                self._signs[here] = hash((self.kind(here), own, inner))
        return self._signs[path]


def _children(old: _Tree, new: _Tree, a: list[str], b: list[str]) -> list[tuple[str, str]]:
    """Pairs of children of two parents that are the same."""
    if [_name(p) for p in a] != [_name(p) for p in b] and _alike(old, new, a, b, names=True):
        return list(zip(a, b, strict=True))
    there = {_name(p): p for p in b}
    pairs = [
        (p, there[_name(p)])
        for p in a
        if _name(p) in there and old.kind(p)[0] == new.kind(there[_name(p)])[0]
    ]

    def rest() -> tuple[list[str], list[str]]:
        known, partner = {p for p, _ in pairs}, {q for _, q in pairs}
        return [p for p in a if p not in known], [q for q in b if q not in partner]

    for strict in (True, False):
        left, right = rest()
        keys = [
            [(_base(p), tree.kind(p), tree.sign(p) if strict else None) for p in paths]
            for tree, paths in ((old, left), (new, right))
        ]
        pairs += [(left[i], right[j]) for i, j in _aligned(*keys)]
    known = dict(pairs)
    for left, right in _gaps(a, b, known):
        if _alike(old, new, left, right, names=False):
            pairs += zip(left, right, strict=True)
    return pairs


def _alike(old: _Tree, new: _Tree, a: list[str], b: list[str], names: bool) -> bool:
    """Whether two lists are, one by one, of the same kinds and shapes (and base names)."""
    if len(a) != len(b) or not a:
        return False
    return all(
        (not names or _base(p) == _base(q))
        and old.kind(p) == new.kind(q)
        and old.sign(p) == new.sign(q)
        for p, q in zip(a, b, strict=True)
    )


def _gaps(
    a: list[str], b: list[str], known: dict[str, str]
) -> Iterable[tuple[list[str], list[str]]]:
    """What has no partner, between neighbours that are partners of each other."""
    between: list[dict[tuple[str, str], list[str]]] = []
    then = {q: p for p, q in known.items()}
    for paths, partner, own in ((a, known, True), (b, then, False)):
        found: dict[tuple[str, str], list[str]] = {}
        last, gap = "", []
        for path in [*paths, ""]:
            if path and path not in partner:
                gap.append(path)
                continue
            here = path if own or not path else partner[path]
            if gap:
                found[last, here] = gap
            last, gap = here, []
        between.append(found)
    for key, left in between[0].items():
        if key in between[1]:
            yield left, between[1][key]


def _aligned(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Positions of equal entries in two lists, in order in both.

    A longest common run, then those on either side of it (Ratcliff and Metzener 1988); for very
    long lists the k-th of each sort with the k-th.
    """
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    found = [(i, i) for i in range(start)]
    a, b = a[start:], b[start:]
    if len(a) * len(b) <= _MOST_ALIGNED:
        blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
        return found + [
            (start + block.a + k, start + block.b + k)
            for block in blocks
            for k in range(block.size)
        ]
    places: dict[Hashable, list[int]] = {}
    for j in reversed(range(len(b))):
        places.setdefault(b[j], []).append(j)
    for i, key in enumerate(a):
        if places.get(key):
            found.append((start + i, start + places[key].pop()))
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _base(path: str) -> str:
    """A name without the number that a framework gave it."""
    return _NUMBER.sub("", _name(path))


def _shapes(layer: Layer) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((w.role, w.shape) for w in layer.weights if not is_aid(layer, w))


# -- weights -----------------------------------------------------------------------------------


def is_aid(layer: Layer, weight: Weight) -> bool:
    """Whether a tensor only helps to read another of the layer: its scale, its zero point."""
    role = weight.role
    return role.rpartition("/")[2] in _AID_NAMES or any(
        role.endswith(end) and layer.weight(role[: -len(end)]) is not None for end in _AIDS
    )


def _comparable(layer: Layer, weight: Weight) -> bool:
    """Whether a tensor holds numbers, and not codes that nobody can read as such."""
    if problem(weight):
        return False
    return is_number(weight) or layer.weight(f"{weight.role}_scale") is None


def _layer_pair(before: Layer, after: Layer, by: By) -> LayerPair:
    """A pair of layers with the weights that both have."""
    then = {w.role: w for w in before.weights if not is_aid(before, w)}
    now = {w.role: w for w in after.weights if not is_aid(after, w)}
    weights: list[WeightPair] = []
    differs = [f"{before.kind} before, {after.kind} now"] if before.kind != after.kind else []
    for role, w in now.items():
        old = then.get(role)
        if old is None:
            differs.append(f"{role} {shape_text(w.shape)} only now")
        elif old.shape != w.shape:
            differs.append(f"{role} {shape_text(old.shape)} before, {shape_text(w.shape)} now")
        elif not (_comparable(before, old) and _comparable(after, w)):
            differs.append(f"{role} holds packed codes that are not compared")
        elif old.where is None or w.where is None:
            which = "both files" if old.where is w.where else "one of the files"
            differs.append(f"{role} has no data in {which}")
        else:
            weights.append(WeightPair(old, w))
    differs += [f"{r} {shape_text(w.shape)} only before" for r, w in then.items() if r not in now]
    return LayerPair(before, after, by, tuple(weights), tuple(differs))


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it: ``3×3×64×128``."""
    return "×".join(map(str, shape)) or "single number"
