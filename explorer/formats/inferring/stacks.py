"""Stacks of blocks in a list of tensors, and what stands before and behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from explorer.formats.inferring.blocks import Roles, block
from explorer.formats.inferring.roles import role_of
from explorer.formats.inferring.wiring import Wiring
from explorer.network import Layer

_INNER = ("q", "qkv", "up", "gate_up", "ssm_in")
_PARTS = ("text", "vision", "encoder", "decoder", "audio")


@dataclass(eq=False)
class Stack:
    """Numbered blocks one after the other.

    Attributes
    ----------
    prefix : str
        Path of what holds them: ``"model/layers"``.
    blocks : dict of int to Roles
        Roles of each block.
    """

    prefix: str
    blocks: dict[int, Roles] = field(default_factory=dict)

    @property
    def crosses(self) -> bool:
        """Whether its blocks read a second sequence."""
        return any("cross_q" in roles for roles in self.blocks.values())

    @property
    def home(self) -> str:
        """The part of the model that it is: ``"encoder"`` of ``"encoder/block"``; may be empty."""
        return self.prefix.rpartition("/")[0]


def stacks_of(layers: Sequence[Layer], config: Mapping[str, Any]) -> list[Stack]:
    """Stacks whose blocks hold an attention, a feed-forward branch or a state space.

    PyTorch's own blocks are left out unless the configuration tells where their norms stand.
    """
    found: dict[str, Stack] = {}
    for layer in layers:
        parts = layer.path.split("/")
        at = next((i for i, part in enumerate(parts) if part.isdecimal() and len(part) < 6), 0)
        if not at:
            continue
        stack = found.setdefault("/".join(parts[:at]), Stack("/".join(parts[:at])))
        roles = stack.blocks.setdefault(int(parts[at]), {})
        role = role_of("/".join(parts[at + 1 :]))
        if role:
            roles.setdefault(role, layer.path)
    paths, first = {layer.path for layer in layers}, config.get("norm_first")
    stacks = [
        s for s in found.values()
        if any(r.split("@")[0] in _INNER for roles in s.blocks.values() for r in roles)
    ]  # fmt: skip
    return [s for s in stacks if not _of_pytorch(s, paths) or _placed(s, paths, first)]


def _of_pytorch(stack: Stack, paths: set[str]) -> bool:
    """Whether a block is PyTorch's own layer of a transformer.

    Its norms stand before its branches or behind their sums, as its ``norm_first`` told, and names
    are the same either way.
    """
    own = ("self_attn/out_proj", "linear1", "linear2", "norm1", "norm2")
    return any(all(f"{stack.prefix}/{i}/{n}" in paths for n in own) for i in stack.blocks)


def _placed(stack: Stack, paths: set[str], first: object) -> bool:
    """Give the norms of PyTorch's blocks their roles, if it is known where they stand."""
    if not isinstance(first, bool):
        return False
    for number, roles in stack.blocks.items():
        branches = ["attention", "mlp"] if "cross_q" not in roles else ["attention", "cross", "mlp"]
        for role in [r for r in roles if r.startswith(("before_", "after_"))]:
            del roles[role]
        for at, branch in enumerate(branches, 1):
            path = f"{stack.prefix}/{number}/norm{at}"
            if path in paths:
                roles[f"{'before' if first else 'after'}_{branch}"] = path
    return True


def wire_stacks(wiring: Wiring, stacks: Sequence[Stack], config: Mapping[str, Any]) -> None:
    """Wire embeddings, stacks and heads.

    A stack is fed by the embedding of its own part of the model; one that reads a second sequence
    gets that of the stack that does not.
    """
    last: dict[str, str] = {}
    stacks = sorted(stacks, key=lambda s: s.crosses)
    for stack in stacks:
        own = {**config, **_config_of(config, stack.prefix)}
        stream = _entrance(wiring, stack, alone=len(stacks) == 1)
        if not stream and isinstance(config.get("norm_first"), bool):
            stream = _given(wiring, stack)
        if not stream:
            continue
        others = [end for prefix, end in last.items() if prefix != stack.prefix]
        context = others[-1] if stack.crosses and others else ""
        for number in sorted(stack.blocks):
            prefix = f"{stack.prefix}/{number}"
            stream = block(wiring, prefix, stack.blocks[number], stream, context, own)
        last[stack.prefix] = _exit(wiring, stack, stream, len(stacks) == 1)
    _heads(wiring, [last[s.prefix] for s in stacks if s.prefix in last], config)


def _config_of(config: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """The part of the configuration that is about a part of the model."""
    for word in _PARTS:
        found = config.get(f"{word}_config")
        if word in prefix and isinstance(found, Mapping):
            return found
    return {}


def _outside(wiring: Wiring, stack: Stack, alone: bool) -> list[Layer]:
    """Layers that are in no block and belong to the same part of the model."""
    home = f"{stack.home}/" if stack.home else ""
    top = home.split("/")[0] + "/" if home and not alone else home
    return [
        layer for layer in wiring.layers.values()
        if not layer.path.startswith(f"{stack.prefix}/") and layer.weights
        and (alone or layer.path.startswith(top) or "/" not in layer.path)
    ]  # fmt: skip


def _named(layers: Sequence[Layer], *words: str) -> list[Layer]:
    return [la for la in layers if any(w in la.path.lower().rsplit("/", 2)[-1] or
                                       w in la.name.lower() for w in words)]  # fmt: skip


def _entrance(wiring: Wiring, stack: Stack, alone: bool) -> str:
    """What feeds the first block: embeddings, added up and normed."""
    near = _outside(wiring, stack, alone)
    tables = [la for la in near if la.op == "Embedding"]
    tokens = _named(tables, "word", "tok", "wte", "embed_in", "shared", "embeddings") or tables
    tokens = [la for la in tokens if not _named([la], "position", "type", "wpe", "pos_")]
    patches = [la for la in near if la.op.startswith("Conv") and "patch" in la.path.lower()]
    own = [la for la in tokens if la.path.startswith(stack.home)] or tokens
    first = patches[0] if patches else own[0] if own else None
    if first is None:
        return ""
    where = first.path.rpartition("/")[0]
    place = f"{where}/" if where else ""
    given = "pixels" if patches else "tokens"
    if not any(link.target == first.path for link in wiring.links):
        start = wiring.add(f"{place}{given}", "InputLayer", "", {}, [])
        wiring.feed(start, first.path)
    others = [la.path for la in near if la is not first and la.op == "Embedding"
              and _named([la], "position", "type", "wpe", "pos_")
              and la.path.startswith(where)]  # fmt: skip
    stream = first.path
    if others:
        stream = wiring.merge(f"{place}add_embeddings", first.path, *others)
    around = bool(place) and not stack.prefix.startswith(place)  # a part of the embeddings alone
    norms = [
        la.path for la in near
        if _is_norm(la) and ((around and la.path.startswith(place)) or
                             (_holds(stack, la) and _named([la], "embed", "pre_layr", "pre_layer")))
    ]  # fmt: skip
    return wiring.chain(stream, *norms)


def _given(wiring: Wiring, stack: Stack) -> str:
    """An input that feeds the first block, where nothing else may read it."""
    if not all(map(_is_norm, _outside(wiring, stack, True))):
        return ""
    path = f"{stack.home}/input" if stack.home else "input"
    query = next((r["q"] for r in stack.blocks.values() if "q" in r), "")
    return wiring.add(path, "InputLayer", "", {}, [], wiring.wanted(query) if query else 0)


def _holds(stack: Stack, layer: Layer) -> bool:
    """Whether a layer stands in a part of the model that holds the stack."""
    where = layer.path.rpartition("/")[0]
    return not where or stack.prefix.startswith(f"{where}/")


def _is_norm(layer: Layer) -> bool:
    return layer.op in ("LayerNormalization", "RMSNormalization")


def _exit(wiring: Wiring, stack: Stack, stream: str, alone: bool) -> str:
    """The stream behind the last block, through the final norm."""
    used = {link.target for link in wiring.links}
    final = [
        la for la in _outside(wiring, stack, alone)
        if _is_norm(la) and la.path not in used and _holds(stack, la)
    ]  # fmt: skip
    named = _named(final, "final", "norm_f", "ln_f", "output_norm", "post_layernorm", "last")
    chosen = named or (final if len(final) == 1 else [])
    return wiring.chain(stream, chosen[0].path) if chosen else stream


def _heads(wiring: Wiring, ends: Sequence[str], config: Mapping[str, Any]) -> None:
    """What reads the last stream: the head, a pooler, projections; a tied head is put in."""
    if not ends:
        return
    used = {link.target for link in wiring.links}
    for layer in list(wiring.layers.values()):
        if layer.path in used or layer.op != "Dense" or any(p.isdecimal() for p in
                                                            layer.path.split("/")):  # fmt: skip
            continue
        near = [e for e in ends if e.split("/")[0] == layer.path.split("/")[0]]
        word = next((w for w in _PARTS if layer.path.lower().startswith(w[:4])), "")
        said = [e for e in ends if word and e.lower().startswith(word[:4])]
        wiring.feed((said or near or list(ends))[-1], layer.path)
    heads = [la for la in wiring.layers.values() if la.name in ("lm_head", "output", "embed_out")]
    if config.get("tie_word_embeddings", True) and not heads and _speaks(config):
        _tied_head(wiring, ends[-1])


def _speaks(config: Mapping[str, Any]) -> bool:
    """Whether the model ends in scores for the next token."""
    names = config.get("architectures")
    told = " ".join(map(str, names)) if isinstance(names, list) else ""
    return any(word in told for word in ("CausalLM", "LMHead", "ConditionalGeneration"))


def _tied_head(wiring: Wiring, end: str) -> None:
    """A head that has no tensor of its own because it is the table of the embedding."""
    from dataclasses import replace

    tables = [la for la in wiring.layers.values() if la.op == "Embedding"]
    table = next((la for la in tables if wiring.width(la.path) == wiring.width(end)
                  and not _named([la], "position", "type", "wpe")), None)  # fmt: skip
    weight = table.weight("embeddings") if table is not None else None
    if weight is None:
        return
    path = wiring.add("lm_head", "Linear", "Dense", {"units": weight.shape[0], "tied": True}, [])
    own = (replace(weight, role="kernel", axes="oi"),)
    wiring.layers[path] = replace(wiring.layers[path], weights=own)
    wiring.feed(end, path)
