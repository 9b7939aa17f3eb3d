"""Tensors gathered into the modules whose parameters they are, by the last part of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from explorer.network import ByteRange, Weight

_STACKED = "_exps"  # what llama.cpp calls the matrices of all experts in one tensor
_PROJECTIONS = {"q": "query", "k": "key", "v": "value"}
_MOST_EXPERTS = 1024
_OWN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_CELL = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?")


@dataclass(frozen=True, eq=False)
class Module:
    """What owns some tensors directly.

    Attributes
    ----------
    path : tuple of str
        Parts of its name: ``("model", "layers", "0", "mlp", "up_proj")``.
    tensors : dict of str to Weight
        By the last part of their names: ``"weight"``, ``"bias"``.
    """

    path: tuple[str, ...]
    tensors: dict[str, Weight]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path[-1] if self.path else ""


def modules_of(tensors: Sequence[Weight]) -> list[Module]:
    """Modules in the order in which their first tensors come.

    Parameters
    ----------
    tensors : sequence of Weight
        Names are parts joined by ``.``, or by ``/`` where no name has a dot. A role stands for
        the name of a tensor that belongs elsewhere than its name says.
    """
    mark = "." if any("." in t.name for t in tensors) else "/"
    found: dict[tuple[str, ...], dict[str, Weight]] = {}
    for tensor in tensors:
        *above, last = (tensor.role or tensor.name).split(mark)
        parts = _projections(above, last, tensor) or _experts(above, last, tensor)
        for path, leaf, own in parts:
            found.setdefault(tuple(path) or (_alone(leaf),), {})[leaf] = own
    around = {path[:n] for path in found for n in range(1, len(path))}
    return [
        Module((*path, "parameters") if path in around else path, own)
        for path, own in found.items()
    ]


def _alone(leaf: str) -> str:
    """What a module is called whose tensors have no names but their own."""
    return "rnn" if _CELL.fullmatch(leaf) else "layer" if leaf in _OWN else leaf


def _projections(path: list[str], leaf: str, tensor: Weight) -> list[tuple[list[str], str, Weight]]:
    """Query, key and value of PyTorch's ``MultiheadAttention``, told apart; empty for others."""
    if leaf.endswith("_proj_weight") and leaf[:1] in _PROJECTIONS and len(leaf) == 13:
        return [([*path, _PROJECTIONS[leaf[0]]], "weight", tensor)]
    rows = tensor.shape[0] // 3 if tensor.shape else 0
    whole = {"in_proj_weight": (3 * rows, rows), "in_proj_bias": (3 * rows,)}.get(leaf)
    if not rows or tensor.shape != whole or not isinstance(tensor.where, ByteRange):
        return []
    each = tensor.where.nbytes // 3
    found = []
    for number, name in enumerate(_PROJECTIONS.values()):
        where = replace(tensor.where, offset=tensor.where.offset + number * each, nbytes=each)
        own = replace(
            tensor, name=f"{tensor.name}[{number * rows}:{(number + 1) * rows}]",
            shape=(rows, *tensor.shape[1:]), where=where,
        )  # fmt: skip
        found.append(([*path, name], leaf.removeprefix("in_proj_"), own))
    return found


def _experts(path: list[str], leaf: str, tensor: Weight) -> Iterator[tuple[list[str], str, Weight]]:
    """Path, last part and tensor; a tensor that holds all experts' matrices as one per expert."""
    stacked = bool(path) and path[-1].endswith(_STACKED) and len(tensor.shape) in (2, 3)
    if not stacked or tensor.shape[0] > _MOST_EXPERTS or not isinstance(tensor.where, ByteRange):
        yield path, leaf, tensor
        return
    each = tensor.where.nbytes // tensor.shape[0]
    for number in range(tensor.shape[0]):
        where = replace(tensor.where, offset=tensor.where.offset + number * each, nbytes=each)
        own = replace(tensor, name=f"{tensor.name}[{number}]", shape=tensor.shape[1:], where=where)
        yield [*path[:-1], "experts", str(number), path[-1].removesuffix(_STACKED)], leaf, own
