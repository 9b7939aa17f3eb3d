"""What each type of element is: its bytes in the file, its codes, and whether it can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from explorer.network import ByteRange, Chunks, Inline, Packing, Pieces, TableAxis, Weight
from explorer.weights.codecs import ggml, small_floats

PLAIN = (
    "bool", "int8", "uint8", "int16", "uint16", "float16", "int32", "uint32", "float32", "int64",
    "uint64", "float64",
)  # fmt: skip
"""Types of numpy that a file holds as they are."""
FLOATS = ("float16", "float32", "float64", "bfloat16")
#: Integer codes of few bits: bits, and whether in two's complement.
SHORT = {
    f"{'' if signed else 'u'}int{bits}": (bits, signed) for bits in (2, 4) for signed in (0, 1)
}
_DEEPEST = 3  # tables of tables: a scale that is quantised itself
_MOST_AXES = 16


def is_block(weight: Weight) -> bool:
    """Whether the elements are stored in GGML blocks."""
    return weight.dtype in ggml.BLOCKS


def is_signed(weight: Weight) -> bool:
    """Whether codes of one byte or less are in two's complement."""
    return weight.dtype == "int8" or bool(SHORT.get(weight.dtype, (0, False))[1])


def item_dtype(weight: Weight) -> np.dtype[Any]:
    """The type of what lies in the file one after the other: elements, words or blocks."""
    if weight.packing is not None and weight.packing.lanes is not None:
        return np.dtype(weight.packing.lanes.word).newbyteorder("<")
    if weight.dtype in ggml.BLOCKS:
        return np.dtype(("V", ggml.BLOCKS[weight.dtype].nbytes))
    if weight.dtype in ("bfloat16", "float16"):
        return np.dtype("<u2")
    if weight.dtype in small_floats.TABLES:
        return np.dtype("u1")
    return np.dtype(weight.dtype).newbyteorder("<")


def items(weight: Weight) -> int:
    """How many elements, words or blocks the file holds of a weight."""
    size = weight.size
    if weight.packing is not None and weight.packing.lanes is not None:
        lanes = weight.packing.lanes
        line = lanes.length * lanes.inner
        return size // line * -(-lanes.length // lanes.codes) * lanes.inner if line else 0
    return size // ggml.BLOCKS[weight.dtype].elements if is_block(weight) else size


def stored_bits(weight: Weight) -> float:
    """Bits that an element takes in the file, without padding at the ends of lines."""
    if weight.packing is not None and weight.packing.lanes is not None:
        return float(weight.packing.lanes.bits)
    if weight.dtype in ggml.BLOCKS:
        return 8 * ggml.BLOCKS[weight.dtype].nbytes / ggml.BLOCKS[weight.dtype].elements
    return 8.0 * item_dtype(weight).itemsize


def stored_nbytes(weight: Weight, elements: int) -> int:
    """Bytes in the file of some of a weight's elements, rounded up.

    Parameters
    ----------
    weight : Weight
    elements : int
        How many of them.

    Returns
    -------
    int
        Without those of tables of scales, which lie elsewhere.
    """
    if not weight.size:
        return 0
    return -(-items(weight) * item_dtype(weight).itemsize * elements // weight.size)


def is_number(weight: Weight) -> bool:
    """Whether the elements are real numbers, or codes that are decoded to such.

    Integers without a scale are none: they count, index, or are packed in an unknown way.
    """
    if weight.packing is not None and weight.packing.scale is not None:
        return True
    return weight.dtype in FLOATS or is_block(weight) or weight.dtype in small_floats.TABLES


def number_dtype(weight: Weight) -> np.dtype[Any]:
    """The type of arrays that are read: float32 for all codes and small floats."""
    if is_number(weight):
        return np.dtype("float64" if weight.dtype == "float64" else "float32")
    if weight.dtype in SHORT:
        return np.dtype("int8" if SHORT[weight.dtype][1] else "uint8")
    return np.dtype(weight.dtype)


def code_range(weight: Weight) -> tuple[int, ...]:
    """The codes that an element can have, ascending.

    Parameters
    ----------
    weight : Weight

    Returns
    -------
    tuple of int
        Empty where numbers have no code each: plain numbers of more than 8 bits, and block types
        that give several numbers one code together.
    """
    if weight.dtype in small_floats.TABLES:
        return tuple(range(1 << small_floats.TABLES[weight.dtype].bits))
    if weight.packing is None or weight.packing.scale is None:
        return ggml.codes_of(weight.dtype)
    bits, signed = SHORT.get(weight.dtype, (8, 0))[0], is_signed(weight)
    if weight.dtype not in SHORT and weight.dtype not in ("int8", "uint8"):
        return ()
    low = -(1 << (bits - 1)) if signed else 0
    return tuple(range(low, low + (1 << bits)))


def problem(weight: Weight, depth: int = 0) -> str:
    """Why the bytes of a weight cannot become its numbers, in a few words; empty when they can.

    Everything is checked that does not take reading the file: a description may come from a file
    that was made to do harm.
    """
    return next(_problems(weight, depth), "")


def _problems(weight: Weight, depth: int) -> Iterator[str]:
    if weight.where is None and weight.packing is None:
        return  # a name and a shape, whatever its elements are
    known = weight.dtype in (*PLAIN, "bfloat16", *SHORT)
    if not known and not is_block(weight) and weight.dtype not in small_floats.TABLES:
        yield "elements of an unknown type"
        return
    if weight.packing is not None:
        yield from _packing_problems(weight, weight.packing, depth)
    elif weight.dtype in SHORT:
        yield "codes of few bits without the words that hold them"
        return
    if is_block(weight) and weight.shape and weight.shape[-1] % ggml.BLOCKS[weight.dtype].elements:
        yield f"rows that are no whole blocks of {weight.dtype}"
    if isinstance(weight.where, ByteRange | Pieces | Inline):
        expected = items(weight) * item_dtype(weight).itemsize
        if weight.where.nbytes != expected:
            yield f"{weight.where.nbytes} bytes where {expected} are needed"
    elif isinstance(weight.where, Chunks) and items(weight) != weight.size:
        yield "codes that share bytes in separately filtered pieces"


def _packing_problems(weight: Weight, packing: Packing, depth: int) -> Iterator[str]:
    if depth >= _DEEPEST:
        yield "scales of scales of scales"
        return
    if is_block(weight):
        yield "scales beside those in its blocks"
        return
    yield from _lane_problems(weight, packing)
    if packing.turned and (len(weight.shape) != 2 or isinstance(weight.where, Chunks)):
        yield "columns one after the other, but not of a matrix"
    if packing.scale is None:
        if packing.zero is not None or packing.axes or packing.levels is not None:
            yield "zero points without scales"
        return
    yield from _level_problems(weight, packing.levels, depth)
    lengths = [axis.length for axis in packing.axes]
    if len(lengths) > _MOST_AXES or prod(lengths) != weight.size:
        yield "scales for another number of codes"
        return
    for axis in packing.axes:
        yield from _axis_problems(axis, depth)
    if any(a.length < 1 for a in packing.axes):
        return
    last = sum((a.length - 1) // a.block * a.step for a in packing.axes if a.index is None)
    if last >= packing.scale.size:
        yield f"{packing.scale.size} scales, but groups of codes up to number {last}"
    for table in (packing.scale, packing.zero):
        if table is None:
            continue
        if table.size != packing.scale.size:
            yield "another number of zero points than of scales"
        wrong = problem(table, depth + 1)
        if wrong:
            yield f"its scales have {wrong}"


def _level_problems(weight: Weight, levels: Weight | None, depth: int) -> Iterator[str]:
    if levels is None:
        return
    if weight.dtype not in ("uint2", "uint4", "uint8"):
        yield f"numbers for codes of type {weight.dtype}"
    elif levels.size != 1 << int(weight.dtype[4:]) or not is_number(levels):
        yield f"{levels.size} numbers for codes of type {weight.dtype}"
    wrong = problem(levels, depth + 1)
    if wrong:
        yield f"the numbers of its codes have {wrong}"


def _axis_problems(axis: TableAxis, depth: int) -> Iterator[str]:
    if axis.block < 1 or axis.step < 0:
        yield "scales in groups of an impossible size"
    if axis.index is None:
        return
    if axis.index.size != axis.length or axis.block != 1:
        yield "a group index for another number of codes"
    wrong = problem(axis.index, depth + 1)
    if wrong:
        yield f"its group index has {wrong}"


def _lane_problems(weight: Weight, packing: Packing) -> Iterator[str]:
    lanes = packing.lanes
    if lanes is None:
        if weight.dtype in SHORT:
            yield "codes of few bits without the words that hold them"
        return
    form = small_floats.TABLES.get(weight.dtype)
    whole = 8 if weight.dtype in ("int8", "uint8") else 0
    bits = SHORT[weight.dtype][0] if weight.dtype in SHORT else form.bits if form else whole
    if lanes.word not in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        yield "words of an unknown type"
    elif lanes.bits != bits or bits not in (2, 4, 8):
        yield f"{lanes.bits} bits for a code of type {weight.dtype}"
    elif lanes.order and sorted(lanes.order) != list(range(lanes.codes)):
        yield "codes of a word in an impossible order"
    elif not 0 <= lanes.shift < 1 << bits:
        yield "codes shifted by more than there are"
    line = lanes.length * lanes.inner
    if lanes.length < 0 or lanes.inner < 1 or (weight.size % line if line else weight.size):
        yield "codes that fill no whole lines of words"
