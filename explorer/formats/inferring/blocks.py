"""The inside of a block of a transformer or a state-space model, from the roles of its layers.

What flows where in such a block is the same in all of them: a stream runs through, each branch
reads it, through a norm, and is added to it. They differ in where the norms stand (before a
branch: Llama, GPT-2; behind the sum: BERT; on both sides of a branch: Gemma 2), whether both
branches read the same (Phi, Falcon), and in what a branch consists of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from explorer.formats.inferring.wiring import Wiring
from explorer.weights.units import whole

Roles = dict[str, str]
_PART = re.compile(r"(attn|ffn)_")
MOST_EXPERTS = 1 << 20


def block(wiring: Wiring, prefix: str, roles: Roles, stream: str, context: str,
          config: Mapping[str, Any]) -> str:  # fmt: skip
    """Wire one block.

    Parameters
    ----------
    wiring : Wiring
    prefix : str
        Path of the block.
    roles : dict of str to str
        Layers by role, see `explorer.formats.inferring.roles.role_of`.
    stream : str
        Layer whose output the block reads.
    context : str
        Layer whose output a second attention reads; empty where the file does not hold it.
    config : mapping
        Of the stack.

    Returns
    -------
    str
        The layer whose output leaves the block.
    """
    roles = _settled(roles)
    made = _Block(wiring, prefix, roles, config)
    both = "before_mlp" not in roles and "after_mlp" not in roles and "before_attention" in roles
    if both and made.has_attention("") and made.has_mlp:  # both branches read the same
        read = made.normed("before_attention", stream)
        return wiring.merge(f"{prefix}/add", stream, made.attention("", read, read),
                            made.mlp(read))  # fmt: skip
    if made.has_attention(""):
        read = made.normed("before_attention", stream)
        stream = made.added(stream, made.attention("", read, read), "attention")
    if "ssm_in" in roles:
        read = made.normed("before_attention", stream)
        stream = made.added(stream, made.state_space(read), "mixer")
    if made.has_attention("cross_"):
        read = made.normed("before_cross", stream)
        stream = made.added(stream, made.attention("cross_", read, context), "cross")
    if made.has_mlp:
        read = made.normed("before_mlp", stream)
        stream = made.added(stream, made.mlp(read), "mlp")
    return stream


def _settled(roles: Roles) -> Roles:
    """Roles of norms that only the other norms of a block tell."""
    roles = dict(roles)
    crossed = any(role.startswith("cross_") for role in roles)
    for number, role in enumerate(("before_attention", "before_cross" if crossed else "before_mlp",
                                   "before_mlp")):  # fmt: skip
        if f"norm_{number}" in roles:
            roles.setdefault(role, roles.pop(f"norm_{number}"))
    if "post_attention" in roles:  # before the other branch in Llama, behind its own in Gemma 2
        role = "after_attention" if "before_mlp" in roles else "before_mlp"
        roles.setdefault(role, roles.pop("post_attention"))
    return roles


def _beside(name: str, path: str) -> str:
    """What an added layer is called where the part of a block is told by the beginning of names.

    GGUF has ``attn_q`` and ``ffn_up`` in one scope: ``attn_mix`` and ``ffn_act`` belong to them.
    """
    part = _PART.match(path.rpartition("/")[2])
    return f"{part.group()}{name}" if part else name


def _every_second(first: int) -> dict[str, Any]:
    """The configuration of ``x[..., first::2]``."""
    cut = {"class_name": "__slice__", "config": {"start": first, "stop": None, "step": 2}}
    return {"key": [{"class_name": "__ellipsis__"}, cut]}


def heads_of(config: Mapping[str, Any], queries: int, values: int) -> dict[str, int]:
    """Heads and their width, where the configuration tells them and they fit.

    Parameters
    ----------
    config : mapping
    queries, values : int
        Widths of the projections; 0 where not known.
    """
    heads = next((n for key in ("num_attention_heads", "n_head", "num_heads", "n_heads")
                  if (n := whole(config.get(key)))), 0)  # fmt: skip
    if not heads or not queries or queries % heads:
        return {}
    dim = queries // heads
    told = {"heads": heads, "head_dim": dim}
    return told | ({"value_heads": values // dim} if values and not values % dim else {})


class _Block:
    def __init__(
        self, wiring: Wiring, prefix: str, roles: Roles, config: Mapping[str, Any]
    ) -> None:
        self.wiring, self.prefix, self.roles, self.config = wiring, prefix, roles, config

    def has_attention(self, kind: str) -> bool:
        """Whether there is an attention, ``""`` or ``"cross_"``."""
        own = self.roles
        return f"{kind}qkv" in own or (f"{kind}q" in own and f"{kind}v" in own)

    @property
    def has_mlp(self) -> bool:
        return any(role.split("@")[0] in ("up", "gate_up") for role in self.roles)

    def normed(self, role: str, stream: str) -> str:
        """The stream through a norm, if there is one."""
        return self.wiring.chain(stream, self.roles[role]) if role in self.roles else stream

    def added(self, stream: str, branch: str, what: str) -> str:
        """The sum of stream and branch; a norm behind the branch stands where its kind puts it."""
        after, before = self.roles.get(f"after_{what}"), f"before_{what}" in self.roles
        if after is not None and before:
            branch = self.wiring.chain(branch, after)
        place = branch.rpartition("/")[0]
        stream = self.wiring.merge(f"{self.prefix}/add_{what}" if place else f"add_{what}",
                                   stream, branch)  # fmt: skip
        return self.wiring.chain(stream, after) if after is not None and not before else stream

    def attention(self, kind: str, read: str, context: str) -> str:
        """Queries, keys and values, their mixing, and the projection behind it."""
        wiring, own = self.wiring, self.roles
        fused = own.get(f"{kind}qkv")
        place = (fused or own[f"{kind}q"]).rpartition("/")[0] or self.prefix
        if fused is not None:
            if not wiring.feed(read, fused):
                return read
            mixed = self._fused(place, fused, own.get(f"{kind}o"))
        else:
            mixed = self._separate(kind, place, read, context)
        return wiring.chain(mixed, own[f"{kind}o"]) if f"{kind}o" in own else mixed

    def _separate(self, kind: str, place: str, read: str, context: str) -> str:
        wiring, own = self.wiring, self.roles
        ends = []
        for part, source in (("q", read), ("v", context), ("k", context)):
            path = own.get(f"{kind}{part}")
            if path is not None and (not source or wiring.feed(source, path)):
                norm = own.get(f"{part}_norm") if not kind else None
                ends.append(wiring.chain(path, norm) if norm else path)
        width = wiring.width(own[f"{kind}q"])
        heads = heads_of(self.config, width, wiring.width(own[f"{kind}v"]))
        names = ["query", "value", "key"][: len(ends)]
        config = {"inputs": names, **heads}
        mix = _beside("mix", own[f"{kind}q"])
        return wiring.add(f"{place}/{mix}", "attention", "Attention", config, ends, width)

    def _fused(self, place: str, fused: str, out: str | None) -> str:
        """One projection for queries, keys and values, cut where its kind cuts it."""
        wiring = self.wiring
        total = wiring.width(fused)
        width = wiring.wanted(out) if out else 0
        mixed = f"{place}/{_beside('mix', fused)}"
        if not width or not width < total <= 3 * width or (total - width) % 2:
            return wiring.add(mixed, "attention", "", {}, [fused], width)
        rest = (total - width) // 2
        # Rows of all queries, then of all keys, then of all values: GPT-2, Phi-3, Qwen, ViT of
        # timm. Others lie head by head (GPT-NeoX, BLOOM, Falcon): their units are not told apart.
        model = str(self.config.get("model_type", "")).lower()
        if any(word in model for word in ("neox", "bloom", "falcon", "chatglm", "mpt")):
            return wiring.add(mixed, "attention", "", {}, [fused], width)
        cuts = [width, width + rest]
        split = wiring.add(f"{place}/{_beside('split', fused)}", "split", "Split",
                           {"axis": -1, "indices_or_sections": cuts}, [fused], total)  # fmt: skip
        config = {"inputs": ["query", "value", "key"], **heads_of(self.config, width, rest)}
        mix = wiring.add(mixed, "attention", "Attention", config, [], width)
        for output, size in ((0, width), (2, rest), (1, rest)):
            wiring.feed(split, mix, output, size)
        return mix

    def _steer(self, steps: str, scan: str) -> None:
        """Step sizes and the matrices B and C of a state space, all from one projection."""
        wiring, widen = self.wiring, self.roles.get("ssm_dt")
        rank = wiring.wanted(widen) if widen else 0
        state, odd = divmod(wiring.width(steps) - rank, 2)
        if widen is None or not rank or state < 1 or odd:
            wiring.feed(steps, scan)
            return
        config = {"axis": -1, "indices_or_sections": [rank, rank + state]}
        split = wiring.add(f"{steps}_split", "split", "Split", config, [steps])
        if wiring.feed(split, widen, 0, rank):
            wiring.feed(widen, scan)
        for output in (1, 2):
            wiring.feed(split, scan, output, state)

    def mlp(self, read: str) -> str:
        """The feed-forward branch: of the block, of each expert, and of one shared by all."""
        numbered = sorted({role.partition("@")[2] for role in self.roles if "@" in role},
                          key=lambda n: int(n) if n.isdigit() else MOST_EXPERTS)  # fmt: skip
        if not numbered:
            return self._feed_forward("", read)
        ends = [self._feed_forward(f"@{number}", read) for number in numbered]
        router = self.roles.get("router")
        place = self.roles.get("down@0", self.prefix).rsplit("/experts", 1)[0]
        if router is None or not self.wiring.feed(read, router):
            return self.wiring.merge(f"{place}/sum", *ends)
        # The router's numbers steer how much of each expert is taken; they are no stream.
        config = {"inputs": ["value"] * len(ends) + ["query"]}
        width = self.wiring.width(ends[0])
        return self.wiring.add(
            f"{place}/sum", "weighted sum", "Attention", config, [*ends, router], width
        )

    def _feed_forward(self, tail: str, read: str) -> str:
        wiring, own = self.wiring, self.roles
        act = next((str(a) for key in ("hidden_act", "hidden_activation", "activation_function",
                                       "feed_forward_proj", "activation")
                    if isinstance(a := self.config.get(key), str)), "activation")  # fmt: skip
        fused, gate, up = (own.get(f"{part}{tail}") for part in ("gate_up", "gate", "up"))
        place = (fused or up or self.prefix).rpartition("/")[0] or self.prefix
        if fused is not None and wiring.feed(read, fused):
            inner = self._gated(place, fused, act)
        elif up is None or not wiring.feed(read, up):
            return read
        elif gate is not None and wiring.feed(read, gate):
            active, both = (f"{place}/{_beside(name, up)}" for name in ("act", "multiply"))
            active = wiring.add(active, act, "Activation", {}, [gate])
            inner = wiring.add(both, "Multiply", "Multiply", {}, [active, up])
        else:
            inner = wiring.add(f"{place}/{_beside('act', up)}", act, "Activation", {}, [up])
        down = own.get(f"down{tail}")
        return wiring.chain(inner, down) if down is not None else inner

    def _gated(self, place: str, fused: str, act: str) -> str:
        """Gate and up of one projection: one after the other, or each unit of both in turn."""
        wiring = self.wiring
        half = wiring.width(fused) // 2
        if wiring.layers[fused].config.get("interleaved"):
            gate, up = (
                wiring.add(f"{place}/{name}_rows", "slice", "GetItem", _every_second(at), [fused],
                           half)
                for at, name in enumerate(("gate", "up"))
            )  # fmt: skip
            active = wiring.add(f"{place}/act", act, "Activation", {}, [gate], half)
            return wiring.add(f"{place}/multiply", "Multiply", "Multiply", {}, [active, up], half)
        split = wiring.add(f"{place}/split", "split", "Split",
                           {"axis": -1, "indices_or_sections": 2}, [fused])  # fmt: skip
        active = wiring.add(f"{place}/act", act, "Activation", {}, [], half)
        wiring.feed(split, active, 0, half)
        inner = wiring.add(f"{place}/multiply", "Multiply", "Multiply", {}, [active], half)
        wiring.feed(split, inner, 1, half)
        return inner

    def state_space(self, read: str) -> str:
        """The mixer of Mamba: a convolution along time, a recurrence, and a gate beside them."""
        wiring, own = self.wiring, self.roles
        first, out = own["ssm_in"], own.get("ssm_out")
        place = first.rpartition("/")[0] or self.prefix
        if not wiring.feed(read, first):
            return read
        width = wiring.wanted(out) if out else wiring.width(first) // 2
        if 2 * width != wiring.width(first):
            mixed = wiring.add(f"{place}/scan", "state space", "", {}, [first], width)
            return wiring.chain(mixed, out) if out else mixed
        split = wiring.add(f"{place}/split", "split", "Split",
                           {"axis": -1, "indices_or_sections": 2}, [first])  # fmt: skip
        inner = split
        if "ssm_conv" in own and wiring.feed(split, own["ssm_conv"], 0, width):
            inner = own["ssm_conv"]
        scan = wiring.add(f"{place}/scan", "state space", "Attention",
                          {"inputs": ["value", "query"]}, [inner], width)  # fmt: skip
        if "ssm_x" in own and wiring.feed(inner, own["ssm_x"]):
            self._steer(own["ssm_x"], scan)
        gate = wiring.add(f"{place}/gate", "Multiply", "Multiply", {}, [scan], width)
        wiring.feed(split, gate, 1, width)
        return wiring.chain(gate, out) if out else gate
