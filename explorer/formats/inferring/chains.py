"""What follows what in modules of PyTorch that run their parts one after the other.

Such are ``Sequential``, by its numbers, levels of recurrent layers, ResNet's blocks, VGG's features
and classifier, and inside an attention or a feed-forward branch whose place in the stream is not
known. A list of modules has numbers too, but its parts may stand side by side: a chain needs more
than widths that fit, a gap where layers without weights stand, layers of several kinds, or inputs
of several widths. Where one pair of a chain does not fit there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.formats.inferring.blocks import heads_of
from explorer.formats.inferring.wiring import Wiring

_CHAINED = frozenset(
    (
        "Dense",
        "BatchNormalization",
        "LayerNormalization",
        "RMSNormalization",
        *(f"Conv{n}D{turned}" for n in "123" for turned in ("", "Transpose")),
    )
)
_RECURRENT = frozenset(("LSTM", "GRU", "SimpleRNN"))
_LEVEL = re.compile(r"(.*)_l(\d{1,4})(_reverse)?")
_BASIC = ("conv1", "bn1", "conv2", "bn2")
_BLOCKS = tuple(
    (*main, *side) for main in (_BASIC, (*_BASIC, "conv3", "bn3")) for side in ((), ("downsample",))
)
_ATTENTION = ("query", "key", "value", "out_proj")
_MOST_DEEP = 40


@dataclass(eq=False)
class _Node:
    """A module: its layer, or its parts in the order of the file."""

    path: str
    layer: bool = False
    parts: dict[str, _Node] = field(default_factory=dict)

    def layers(self) -> Iterator[str]:
        """Paths of all layers inside."""
        if self.layer:
            yield self.path
        for part in self.parts.values():
            yield from part.layers()


@dataclass(frozen=True)
class _Residual:
    """Steps whose result is added to that of others, none of which is the input itself."""

    path: str
    main: Sequence[Step]
    side: Sequence[Step]


Step = str | _Residual
"""The path of a layer, or a block."""


def wire_chains(wiring: Wiring, config: Mapping[str, Any]) -> None:
    """Wire what runs one after the other, where nothing is wired yet.

    Parameters
    ----------
    wiring : Wiring
    config : mapping
        As for `explorer.formats.inferring.network_of_tensors`.
    """
    taken = {end for link in wiring.links for end in (link.source, link.target)}
    root = _Node("")
    for layer in list(wiring.layers.values()):
        parts = layer.path.split("/")
        if len(parts) > _MOST_DEEP or not layer.weights:
            continue
        node = root
        for part in parts:
            path = f"{node.path}/{part}" if node.path else part
            node = node.parts.setdefault(part, _Node(path))
        node.layer = True
    _levels(wiring)
    work = [root]
    while work:
        node = work.pop()
        if not node.parts or _whole(wiring, node, taken):
            continue
        _inside(wiring, node, config, taken)
        work.extend(reversed(node.parts.values()))


def _whole(wiring: Wiring, node: _Node, taken: set[str]) -> bool:
    """Wire a module that is one chain; whether it is."""
    steps = _steps(wiring, node)
    if steps is None or len(steps) < 2 or not taken.isdisjoint(node.layers()):
        return False
    if _after(wiring, steps, (0, False)) is None:
        return False
    _wire(wiring, steps, "")
    return True


# -- recurrent levels ----------------------------------------------------------------------------


def _levels(wiring: Wiring) -> None:
    """Levels and directions of recurrent modules, a level fed by both directions of that before."""
    found: dict[str, dict[int, list[str]]] = {}
    for layer in wiring.layers.values():
        name = _LEVEL.fullmatch(layer.path)
        if layer.op in _RECURRENT and name is not None:
            found.setdefault(name[1], {}).setdefault(int(name[2]), []).append(layer.path)
    for prefix, levels in found.items():
        last = ""
        for level in sorted(levels):
            ways = levels[level]
            if last and f"{level - 1}" == re.sub(r".*_l(\d+).*", r"\1", last):
                for path in ways:
                    wiring.feed(last, path)
            last = ways[0]
            if len(ways) == 2:
                width = sum(wiring.width(path) for path in ways)
                last = wiring.add(f"{prefix}_l{level}_concatenate", "concatenate", "Concatenate",
                                  {"axis": -1}, sorted(ways), width)  # fmt: skip


# -- chains --------------------------------------------------------------------------------------


def _steps(wiring: Wiring, node: _Node, residual: bool = False) -> list[Step] | None:
    """The steps of a module, if it is known that it runs its parts in order."""
    names = tuple(node.parts)
    if node.layer:
        return [node.path] if not names and wiring.layers[node.path].op in _CHAINED else None
    if residual and names in _BLOCKS:
        return _block(wiring, node)
    numbered = all(name.isdecimal() for name in names)
    if not numbered and names != ("features", "classifier"):
        if not _is_resnet(names) or not any("/downsample/" in path for path in node.layers()):
            return None
        residual = True
    if numbered:
        names = tuple(sorted(names, key=int))
    inner = []
    for name in names:
        steps = _steps(wiring, node.parts[name], residual)
        if steps is None:
            return None
        inner.append(steps)
    if numbered and not residual and not _in_order(wiring, names, inner):
        return None
    return [step for steps in inner for step in steps]


def _is_resnet(names: Sequence[str]) -> bool:
    """Stem, stages and perhaps a head, as torchvision calls them."""
    stages = [f"layer{i}" for i in range(1, len(names) - 1)]
    return any(
        list(names) == ["conv1", "bn1", *stages[: len(names) - 2 - len(head)], *head]
        and "layer2" in names
        for head in ((), ("fc",))
    )


def _block(wiring: Wiring, node: _Node) -> list[Step] | None:
    """A block of a ResNet, whose input goes round it, through a projection or not."""
    side: list[Step] | None = []
    if "downsample" in node.parts:
        side = _steps(wiring, node.parts["downsample"])
    if side is None or not all(p.layer for n, p in node.parts.items() if n != "downsample"):
        return None
    main: list[Step] = [p.path for n, p in node.parts.items() if n != "downsample"]
    return [_Residual(node.path, main, side)]


def _in_order(wiring: Wiring, names: Sequence[str], inner: Sequence[list[Step]]) -> bool:
    """Whether numbered parts are more than a list of alike that may stand side by side."""
    if len(names) == 1:
        return True
    firsts = [steps[0] for steps in inner if steps and isinstance(steps[0], str)]
    kinds = {wiring.layers[path].op for path in firsts}
    wanted = {wiring.wanted(path) for path in firsts}
    gaps = list(map(int, names)) != list(range(len(names)))
    return gaps or len(kinds) > 1 or len(wanted) > 1


_Stream = tuple[int, bool]
"""Channels, 0 where not known, and whether they may be planes."""


def _after(wiring: Wiring, steps: Sequence[Step], stream: _Stream) -> _Stream | None:
    """What comes out of steps, ``None`` where one does not take what the one before it gives."""
    for step in steps:
        if isinstance(step, _Residual):
            main = _after(wiring, step.main, stream)
            side = _after(wiring, step.side, stream)
            if main is None or side is None or (side[0] and side[0] != main[0]):
                return None
            stream = main
            continue
        given, planes = stream
        if given and not _fits(wiring, step, given, planes):
            return None
        layer = wiring.layers[step]
        planes = layer.op.startswith("Conv") or (planes and layer.op != "Dense")
        stream = wiring.width(step), planes
    return stream


def _fits(wiring: Wiring, path: str, given: int, planes: bool) -> bool:
    wanted, layer = wiring.wanted(path), wiring.layers[path]
    if given == wanted:
        return True
    if not wanted:
        return False
    if layer.op == "Dense":
        return planes and wanted % given == 0  # flattened
    groups = given // wanted
    return (layer.op.startswith("Conv") and given % wanted == 0 and "groups" not in layer.config
            and wiring.width(path) % groups == 0)  # fmt: skip


def _wire(wiring: Wiring, steps: Sequence[Step], stream: str) -> str:
    """Links of steps that fit; the layer whose output leaves them."""
    for step in steps:
        if isinstance(step, _Residual):
            main = _wire(wiring, step.main, stream)
            side = _wire(wiring, step.side, stream)
            stream = wiring.merge(f"{step.path}/add", main, side) if side else main
        else:
            stream = _joined(wiring, stream, step)
    return stream


def _joined(wiring: Wiring, stream: str, path: str) -> str:
    """A layer fed by another: through a flattening, or in groups, where widths tell so."""
    given, wanted = wiring.width(stream) if stream else 0, wiring.wanted(path)
    if not given or given == wanted:
        if stream:
            wiring.feed(stream, path)
        return path
    layer = wiring.layers[path]
    if layer.op == "Dense":
        flat = wiring.flatten(stream, path, wanted)
        wiring.feed(flat, path)
    else:
        told = {**layer.config, "groups": given // wanted}
        wiring.layers[path] = replace(layer, config=told)
        wiring.feed(stream, path)
    return path


# -- islands -------------------------------------------------------------------------------------


def _inside(wiring: Wiring, node: _Node, config: Mapping[str, Any], taken: set[str]) -> None:
    """What is certain inside an attention and a feed-forward branch of PyTorch."""
    own = {name: part.path for name, part in node.parts.items() if part.layer}
    if set(_ATTENTION) <= set(own) and taken.isdisjoint(own.values()):
        ends = [own[name] for name in ("query", "value", "key")]
        queries, values = wiring.width(own["query"]), wiring.width(own["value"])
        if queries == wiring.wanted(own["out_proj"]):
            told = {"inputs": ["query", "value", "key"], **heads_of(config, queries, values)}
            place = f"{node.path}/mix" if node.path else "mix"
            mixed = wiring.add(place, "attention", "Attention", told, ends, queries)
            wiring.feed(mixed, own["out_proj"])
    branch = [own[name] for name in ("linear1", "linear2") if name in own]
    if len(branch) < 2 or "self_attn" not in node.parts or not taken.isdisjoint(branch):
        return
    if wiring.width(branch[0]) == wiring.wanted(branch[1]):
        place = f"{node.path}/act" if node.path else "act"
        act = wiring.add(place, "activation", "Activation", {}, [branch[0]])
        wiring.feed(act, branch[1])
