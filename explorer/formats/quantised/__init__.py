"""Quantised checkpoints: the codes, scales and zero points of a module become its one weight.

What lies in a file of tensors as ``qweight``, ``qzeros``, ``scales`` or the like is one matrix of
one layer. Each scheme is a file here; its tensors' names, types and shapes tell it, and what the
configuration says only helps where they leave a choice. What does not fit its scheme is kept as
packed codes, under the scheme's name, and is never taken for numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from explorer.formats.containers.source import Source
from explorer.formats.naming.text import parse_json
from explorer.formats.quantised import bitsandbytes, integers, mxfp4, scaled
from explorer.formats.quantised.group import PEEKED, Group, UndecodableError
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Packing, Weight
from explorer.weights.codecs import problem

__all__ = ["unpacked"]

_CODES = {"bfloat16": "uint16", "float16": "uint16", "float32": "uint32", "float4_e2m1fn": "uint4"}
_BESIDE = ("quantize_config.json", "quant_config.json")


@dataclass(frozen=True)
class Scheme:
    """A way to store codes.

    Attributes
    ----------
    name : str
    fits : callable (mapping of str to Weight) -> bool
        Whether the tensors of a module, by their last names, look like it.
    made : callable (Group) -> list of Weight
        The module's weights; a role is the dotted name under which a weight is known.
    used : callable (Group) -> iterable of str
        The tensors that they are made of.
    """

    name: str
    fits: Callable[[Mapping[str, Weight]], bool]
    made: Callable[[Group], list[Weight]]
    used: Callable[[Group], Iterable[str]]


def _is_scaled(own: Mapping[str, Weight]) -> bool:
    weight = own.get("weight") or own.get("weight_packed")
    small = weight is not None and (
        weight.dtype.startswith("float8") or weight.dtype in ("int8", "uint8", "float4_e2m1fn")
    )
    return small and any(name in own for name in scaled.SCALES)


def _nothing(group: Group) -> list[Weight]:
    raise UndecodableError("its codes cannot be read")


_SCHEMES = (
    Scheme("GPTQ or AWQ", lambda own: "qweight" in own and "scales" in own,
           integers.gptq_or_awq, lambda group: integers.GPTQ_USED),
    Scheme("bitsandbytes", lambda own: "weight.absmax" in own, bitsandbytes.blocks,
           lambda group: [leaf for leaf in group.own if leaf.split(".")[0] == "weight"]),
    Scheme("bitsandbytes", lambda own: "weight" in own and "SCB" in own, bitsandbytes.rows,
           lambda group: bitsandbytes.ROWS_USED),
    Scheme("MXFP4", lambda own: bool(mxfp4.stems(list(own))), mxfp4.experts, mxfp4.used),
    Scheme("scaled codes", _is_scaled, scaled.scaled, lambda group: scaled.USED),
    Scheme("compressed-tensors", lambda own: "weight_packed" in own and "weight_scale" in own,
           integers.pack_quantised, lambda group: scaled.USED),
    Scheme("HQQ", lambda own: "W_q" in own, _nothing, lambda group: group.own),
    Scheme("AQLM", lambda own: "codes" in own and "codebooks" in own, _nothing,
           lambda group: group.own),
)  # fmt: skip


def unpacked(
    source: Source, tensors: Sequence[Weight], config: Mapping[str, Any], notes: list[str]
) -> list[Weight]:
    """The tensors of a model, those that hold one quantised matrix together made one weight.

    Parameters
    ----------
    source : Source
        What was opened; its parts hold the tensors.
    tensors : sequence of Weight
        As the files have them.
    config : mapping
        The model's ``config.json``, empty where there is none.
    notes : list of str
        Told what was decoded, and what could not be.

    Returns
    -------
    list of Weight
        In the same order. Where a weight has a role, that is the dotted name to place it by.
    """
    groups = _groups(tensors)
    chosen = {
        prefix: scheme
        for prefix, own in groups.items()
        if (scheme := next((s for s in _SCHEMES if s.fits(own)), None)) is not None
    }
    if not chosen:
        return list(tensors)
    files = {part.path: part for part in (source, *source.parts.values())}

    def peek(weight: Weight) -> bytes:
        where = weight.where
        part = files.get(where.file) if isinstance(where, ByteRange) else None
        if part is None or not isinstance(where, ByteRange):
            return b""
        return part.pread(where.offset, min(where.nbytes, PEEKED))

    hints = _hints(source, config)
    made = _Made()
    for prefix, scheme in chosen.items():
        made.add(Group(prefix, groups[prefix], hints, peek), scheme)
    notes += made.notes()
    return list(made.placed(tensors))


class _Made:
    """What became of the quantised modules."""

    def __init__(self) -> None:
        self._instead: dict[str, list[Weight]] = {}
        self._decoded: dict[str, int] = {}
        self._packed: dict[str, list[str]] = {}

    def add(self, group: Group, scheme: Scheme) -> None:
        """Decode a module, or keep its codes packed."""
        leaves = set(scheme.used(group))
        used = [weight for leaf, weight in group.own.items() if leaf in leaves]
        try:
            found = scheme.made(group)
            wrong = next((p for w in found if (p := problem(w))), "")
            if wrong:
                raise UndecodableError(wrong)
            for weight in found:
                if weight.packing is not None:
                    name = weight.kind_of_element
                    self._decoded[name] = self._decoded.get(name, 0) + 1
        except UndecodableError as error:
            reason = f"{group.prefix[:200] or 'the model'}: {error}"
            self._packed.setdefault(scheme.name, []).append(reason)
            found = [_kept_packed(group, leaf, scheme.name) for leaf in group.own if leaf in leaves]
        for weight in used:
            self._instead[weight.name] = []
        self._instead[used[0].name] = found

    def placed(self, tensors: Sequence[Weight]) -> Iterator[Weight]:
        """All tensors, in order, what was made in place of the first it was made of."""
        for tensor in tensors:
            yield from self._instead.get(tensor.name, [tensor])

    def notes(self) -> Iterator[str]:
        """What a person should know."""
        for name, count in self._decoded.items():
            yield f"{count} {'matrix is' if count == 1 else 'matrices are'} decoded from {name}"
        for name, reasons in self._packed.items():
            more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            yield f"packed codes of {name} are shown as such: {reasons[0]}{more}"


def _kept_packed(group: Group, leaf: str, name: str) -> Weight:
    """A tensor as it lies in the file: codes as integers, whatever they are called there."""
    tensor = group.own[leaf]
    if leaf != "weight" and not tensor.dtype.startswith(("int", "uint")):
        return replace(tensor, role=group.named(leaf.replace(".", "_")))
    role = group.named(f"packed_{leaf.replace('.', '_')}")
    dtype = "uint8" if tensor.dtype.startswith("float8") else _CODES.get(tensor.dtype, tensor.dtype)
    packing = replace(tensor.packing or Packing(), told=f"{tensor.dtype} (packed, {name})")
    return replace(tensor, role=role, dtype=dtype, packing=packing)


def _groups(tensors: Sequence[Weight]) -> dict[str, dict[str, Weight]]:
    """Tensors of each module by the rest of their names."""
    found: dict[str, dict[str, Weight]] = {}
    for tensor in tensors:
        head, mark, tail = tensor.name.partition("weight.")
        if mark and (not head or head.endswith(".")):
            prefix, leaf = head[:-1], f"weight.{tail}"
        else:
            prefix, _, leaf = tensor.name.rpartition(".")
        found.setdefault(prefix, {})[leaf] = tensor
    return found


def _hints(source: Source, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the model's files say of its quantisation."""
    inner = config.get("text_config")
    places = (config, inner if isinstance(inner, Mapping) else {})
    for place in places:
        for key in ("quantization_config", "compression_config"):
            found = place.get(key)
            if isinstance(found, Mapping):
                return _flat(found)
    for name in _BESIDE:
        if source.has(name):
            try:
                found = parse_json(source.part(name).pread(0, 1 << 20), name)
            except UnreadableError:
                continue
            if isinstance(found, Mapping):
                return _flat(found)
    return {}


def _flat(hints: Mapping[str, Any]) -> Mapping[str, Any]:
    """Hints with those of the first group of layers that compressed-tensors tells."""
    groups = hints.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    return {**hints, **weights} if isinstance(weights, Mapping) else hints
