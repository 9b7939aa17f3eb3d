"""Tensors gathered into the modules whose parameters they are, by the last part of their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.network import Weight


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
        Names are parts joined by ``.``, or by ``/`` where no name has a dot.
    """
    mark = "." if any("." in t.name for t in tensors) else "/"
    found: dict[tuple[str, ...], dict[str, Weight]] = {}
    for tensor in tensors:
        *path, leaf = tensor.name.split(mark)
        found.setdefault(tuple(path) or (leaf,), {})[leaf] = tensor
    around = {path[:n] for path in found for n in range(1, len(path))}
    return [
        Module((*path, "parameters") if path in around else path, own)
        for path, own in found.items()
    ]
