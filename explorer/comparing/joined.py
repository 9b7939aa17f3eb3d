"""One network of two files: the newer one's, and in it what only the older one has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from explorer.comparing.pairing import LayerPair, Pairing, WeightPair, is_aid
from explorer.network import Layer, Link, Network, Scope, Weight

Mark = Literal["added", "removed", "differs"]
BESIDE = 1 << 20
"""Added to the number of an input that only the older file has. Input 1 of a concatenation is what
it is in the newer file; how units pass through it must not change by what is shown besides."""


@dataclass(frozen=True)
class Joined:
    """What is shown of two files.

    Attributes
    ----------
    network : Network
        Weights that can be compared are there under the type of their difference; those of one
        file only have no bytes, so that nothing is coloured by them.
    weights : dict of str to WeightPair
        By the name of the weight in `network`.
    marks : dict of str to {"added", "removed", "differs"}
        Of layers, by their path in `network`; a layer that is the same in both has none.
    alone : dict of str to Layer
        Added and removed layers as their own file has them, by their path in `network`.
    """

    network: Network
    weights: dict[str, WeightPair]
    marks: dict[str, Mark]
    alone: dict[str, Layer]


def join(before: Network, after: Network, pairing: Pairing) -> Joined:
    """The newer network, and in it what was removed at the place where it stood.

    Parameters
    ----------
    before, after : Network
        With clean names, see `explorer.weights.tidy.tidy`.
    pairing : Pairing
        Of these two.
    """
    names = _Names()
    marks: dict[str, Mark] = {la.path: "added" for la in pairing.added}
    pairs = {p.after.path: p for p in pairing.pairs}
    layers = []
    for layer in after.layers:
        pair = pairs.get(layer.path)
        if pair is None:
            layers.append(replace(layer, weights=tuple(map(names.alone, layer.weights))))
        else:
            layers.append(_paired(pair, names))
            if pair.differs:
                marks[layer.path] = "differs"
    path_now = _removed_paths(before, after, pairing)
    old = before.position
    gone = [
        (old[la.path], replace(la, path=path_now[la.path],
                               weights=tuple(map(names.alone, la.weights))))
        for la in pairing.removed
    ]  # fmt: skip
    marks |= {la.path: "removed" for _, la in gone}
    known = {s.path for s in after.scopes}
    lost = {path.rpartition("/")[0] for path in (la.path for _, la in gone)}
    scopes = [replace(s, path=path_now.get(s.path, s.path)) for s in before.scopes]
    scopes = [s for s in scopes if s.path not in known and _holds(s, lost)]
    placed, links = _in_order(before, after, (layers, gone), path_now)
    network = replace(
        after,
        layers=tuple(placed),
        links=(*after.links, *links),
        scopes=_outer_first((*after.scopes, *scopes)),
        links_known=after.links_known or before.links_known,
    )
    alone = {la.path: la for la in pairing.added}
    alone |= {path_now[la.path]: la for la in pairing.removed}
    return Joined(network, names.pairs, marks, alone)


class _Names:
    """Gives every weight of the joined network a name of its own."""

    def __init__(self) -> None:
        self.pairs: dict[str, WeightPair] = {}
        self._taken: dict[str, object] = {}

    def paired(self, pair: WeightPair) -> Weight:
        """A weight of both files: the newer one's, in the type of the difference."""
        after = pair.after
        name = self._free(after.name, (pair.before.name, after.name))
        self.pairs[name] = pair
        return Weight(name, after.role, after.shape, pair.dtype, after.where)

    def alone(self, weight: Weight) -> Weight:
        """A weight of one file: its shape and type only."""
        name = self._free(weight.name, object())
        return Weight(name, weight.role, weight.shape, weight.dtype, None)

    def _free(self, name: str, meaning: object) -> str:
        free, number = name, 1
        while self._taken.setdefault(free, meaning) != meaning:
            number += 1
            free = f"{name} ~{number}"
        return free


def _paired(pair: LayerPair, names: _Names) -> Layer:
    """The newer layer; what only helps to read a weight is left out with it."""
    compared = {w.after.role: w for w in pair.weights}
    weights = []
    for weight in pair.after.weights:
        if weight.role in compared:
            weights.append(names.paired(compared[weight.role]))
        elif not is_aid(pair.after, weight):
            weights.append(names.alone(weight))
    return replace(pair.after, weights=tuple(weights))


def _removed_paths(before: Network, after: Network, pairing: Pairing) -> dict[str, str]:
    """Path in the joined network of everything in the older one."""
    found = dict(pairing.path_now)
    taken = {la.path for la in after.layers} | {s.path for s in after.scopes}
    for layer in pairing.removed:
        path = ""
        parts = layer.path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            if here not in found:
                number, free = 1, f"{path}/{parts[depth - 1]}".lstrip("/")
                wish = free
                while free in taken:
                    number += 1
                    free = f"{wish}~{number}"
                found[here] = free
                taken.add(free)
            path = found[here]
    return found


def _holds(scope: Scope, parents: Iterable[str]) -> bool:
    return any(p == scope.path or p.startswith(scope.path + "/") for p in parents)


def _outer_first(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Scopes of the newer file as they stood, then each other after those around it."""
    return tuple({s.path: s for s in scopes}.values())


def _in_order(
    before: Network,
    after: Network,
    layers: tuple[list[Layer], list[tuple[int, Layer]]],
    path_now: dict[str, str],
) -> tuple[list[Layer], list[Link]]:
    """All layers in an order of flow, and the links that only the older file has.

    A removed layer stands behind the last of what fed it. Where the older file's links would then
    run backward, because the newer one calls the same layers in another order, they are left out.
    """
    kept, gone = layers
    place: dict[str, tuple[int, int]] = {la.path: (i, 0) for i, la in enumerate(kept)}
    removed = {la.path for _, la in gone}
    feeds: dict[str, list[str]] = {path: [] for path in removed}
    own = []
    for link in before.links:
        source, target = path_now.get(link.source), path_now.get(link.target)
        if source is None or target is None or not removed & {source, target}:
            continue
        own.append(replace(link, source=source, target=target))
        if target in removed:
            feeds[target].append(source)
    last = (-1, 0)
    follows: dict[str, tuple[int, int]] = {}
    position = {path_now[la.path]: i for i, la in enumerate(before.layers) if la.path in path_now}
    earlier = sorted(position, key=position.__getitem__)
    for path in earlier:  # behind what stood before it, where no link tells
        if path in removed:
            follows[path] = last
        else:
            last = max(last, place.get(path, last))
    for number, (_, layer) in enumerate(gone, start=1):
        known = [place[f] for f in feeds[layer.path] if f in place]
        at = max(known)[0] if known else follows[layer.path][0]
        place[layer.path] = (at, number)
    ordered = sorted([*kept, *(la for _, la in gone)], key=lambda la: place[la.path])
    links = [
        replace(k, target_input=k.target_input + (0 if k.target in removed else BESIDE),
                call=k.call + (0 if k.target in removed else BESIDE))
        for k in own
        if place[k.source] < place[k.target]
    ]  # fmt: skip
    return ordered, links
