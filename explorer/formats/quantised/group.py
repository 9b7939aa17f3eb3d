"""What a scheme of quantisation is given: the tensors of one module, and a few of their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from explorer.network import ByteRange, TableAxis, Weight
from explorer.weights.units import whole

Peek = Callable[[Weight], bytes]
"""The first bytes of a small tensor."""
PEEKED = 1 << 16
"""How many bytes those are at most."""
_USUAL_BLOCKS = tuple(1 << n for n in range(1, 20))


class UndecodableError(Exception):
    """Codes that cannot be turned into numbers; the reason, in a few words."""


@dataclass(frozen=True, eq=False)
class Group:
    """The tensors of one module.

    Attributes
    ----------
    prefix : str
        Name of the module: ``"model.layers.0.self_attn.q_proj"``; may be empty.
    own : dict of str to Weight
        By what follows the prefix: ``"qweight"``, ``"weight.absmax"``.
    hints : mapping
        The ``quantization_config`` of the model, empty where there is none. Tensors decide;
        hints only choose between readings that fit them.
    peek : callable
        Reads a small tensor.
    """

    prefix: str
    own: Mapping[str, Weight]
    hints: Mapping[str, Any]
    peek: Peek

    def named(self, leaf: str) -> str:
        """The dotted name of something in the module."""
        return f"{self.prefix}.{leaf}" if self.prefix else leaf

    def hint(self, *keys: str) -> int:
        """A positive whole number of the hints, by the first of the keys that tells one; else 0."""
        return next((n for key in keys if (n := whole(self.hints.get(key)))), 0)

    def word(self, *keys: str) -> str:
        """A text of the hints in lower case, by the first of the keys that tells one."""
        found = (self.hints.get(key) for key in keys)
        return next((text.lower() for text in found if isinstance(text, str)), "")

    def table(self, leaf: str, shape: tuple[int, ...] | None = None) -> Weight:
        """A table of the module, of this shape where one is told.

        Raises
        ------
        UndecodableError
            If there is none of that shape.
        """
        found = self.own.get(leaf)
        if found is None:
            raise UndecodableError(f"there is no {leaf}")
        if shape is not None and found.shape != shape:
            raise UndecodableError(f"{leaf} is {told(found.shape)}, not {told(shape)}")
        return replace(found, role="table")


def told(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " × ".join(map(str, shape)) or "one number"


def block_of(length: int, blocks: int, hint: int = 0, even: bool = True) -> int:
    """How many neighbours share one of so many table entries.

    Parameters
    ----------
    length, blocks : int
        Positions and entries.
    hint : int
        What the configuration says, used where it fits; 0 for nothing.
    even : bool
        Whether equal parts are likelier than a power of two with a smaller last block.

    Raises
    ------
    UndecodableError
        If nothing fits.

    Notes
    -----
    Without a hint that fits it is the power of two that does, of which there is at most one, or
    equal parts.
    """
    if blocks == length:
        return 1
    if blocks == 1:
        return max(length, 1)
    equal = length // blocks if blocks and length % blocks == 0 else 0
    tried = (hint, equal, *_USUAL_BLOCKS) if even else (hint, *_USUAL_BLOCKS, equal)
    size = next((n for n in tried if n > 0 and -(-length // n) == blocks), 0)
    if not size:
        raise UndecodableError(f"{blocks} scales do not fit {length} positions")
    return size


def axis(length: int, blocks: int, step: int, hint: int = 0, even: bool = True) -> TableAxis:
    """An axis of codes along which a table has so many entries, `step` apart."""
    if blocks == 1:
        return TableAxis(length)
    return TableAxis(length, block_of(length, blocks, hint, even), step)


def viewed(table: Weight, dtype: str, size: int) -> Weight:
    """A table of bytes as elements of another type of one byte, flat."""
    return replace(table, dtype=dtype, shape=(size,))


def slices(tensor: Weight, shape: tuple[int, ...], dtype: str = "") -> list[Weight]:
    """The parts of a tensor along its first axis, each with its number in its name.

    Parameters
    ----------
    tensor : Weight
    shape : tuple of int
        Of each part.
    dtype : str
        What their elements are, of as many bytes as those of the tensor; as there where left out.

    Raises
    ------
    UndecodableError
        If they are very many, or do not lie in the file one after the other.
    """
    count, where = tensor.shape[0] if tensor.shape else 0, tensor.where
    if not 0 < count <= 1024 or not isinstance(where, ByteRange) or where.nbytes % count:
        raise UndecodableError(f"{tensor.name.rpartition('.')[2]} cannot be cut into experts")
    each, dtype = where.nbytes // count, dtype or tensor.dtype
    starts = (where.offset + i * each for i in range(count))
    return [
        Weight(f"{tensor.name}[{i}]", "table", shape, dtype, ByteRange(where.file, start, each))
        for i, start in enumerate(starts)
    ]
