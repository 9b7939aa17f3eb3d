"""bitsandbytes: nf4 and fp4 in blocks of a flattened matrix, and int8 by rows.

Four-bit codes name one of the 16 numbers of ``quant_map``, times the ``absmax`` of their block;
the first of two is in the high bits of its byte. Where ``absmax`` is quantised too (nested), its
codes name one of 256 numbers, times their own block's ``nested_absmax``, plus one offset.
``quant_state``, JSON, tells the shape, the block sizes and the offset. Of int8, a row's codes times
its ``SCB`` times 1/127 are the numbers (``int8_vectorwise_dequant``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from explorer.formats.naming.text import parse_json
from explorer.formats.quantised.group import Group, UndecodableError, told
from explorer.formats.record import UnreadableError
from explorer.network import Lanes, Packing, TableAxis, Weight
from explorer.weights.codecs import is_number
from explorer.weights.units import whole

_STATE = "weight.quant_state.bitsandbytes__"
ROWS_USED = ("weight", "SCB", "weight_format", "CB")


def blocks(group: Group) -> list[Weight]:
    """Four-bit codes.

    Raises
    ------
    UndecodableError
    """
    state = _state(group)
    shape, size = state.get("shape"), whole(state.get("blocksize"))
    if not isinstance(shape, list) or not shape or not all(whole(n) for n in shape) or not size:
        raise UndecodableError("its quant_state tells no shape or block size")
    count = prod(shape)
    name = str(state.get("quant_type"))
    if name not in ("nf4", "fp4"):
        raise UndecodableError(f"codes of type {name[:20]!r}")
    levels = group.table("weight.quant_map", (16,))
    absmax = _absmax(group, state, -(-count // size))
    packing = Packing(absmax, axes=(TableAxis(count, size, 1),), levels=levels,
                      lanes=Lanes("uint8", 4, count, order=(1, 0)),
                      told=f"{name} (bitsandbytes)")  # fmt: skip
    return [replace(group.table("weight"), role=group.named("weight"), shape=tuple(shape),
                    dtype="uint4", packing=packing)]  # fmt: skip


def _state(group: Group) -> Mapping[str, Any]:
    found = next((w for leaf, w in group.own.items() if leaf.startswith(_STATE)), None)
    if found is None or found.dtype != "uint8":
        raise UndecodableError("there is no quant_state")
    try:
        state = parse_json(group.peek(found), "its quant_state")
    except UnreadableError as error:
        raise UndecodableError(str(error)) from None
    if not isinstance(state, Mapping):
        raise UndecodableError("its quant_state is no table")
    return state


def _absmax(group: Group, state: Mapping[str, Any], count: int) -> Weight:
    """The scales of all blocks, which may be quantised themselves."""
    absmax = group.table("weight.absmax", (count,))
    if "weight.nested_absmax" not in group.own:
        if not is_number(absmax):
            raise UndecodableError(f"scales of type {absmax.dtype}")
        return absmax
    size, offset = whole(state.get("nested_blocksize")), state.get("nested_offset", 0.0)
    number = isinstance(offset, (int, float)) and math.isfinite(offset) and abs(offset) < 1e30
    if not size or not number or absmax.dtype != "uint8":
        raise UndecodableError("its quant_state does not tell how its scales are stored")
    packing = Packing(group.table("weight.nested_absmax", (-(-count // size),)),
                      axes=(TableAxis(count, size, 1),), offset=float(offset),
                      levels=group.table("weight.nested_quant_map", (256,)))  # fmt: skip
    return replace(absmax, packing=packing)


def rows(group: Group) -> list[Weight]:
    """Codes of eight bits with a scale per row.

    Raises
    ------
    UndecodableError
    """
    codes = group.table("weight")
    if codes.dtype != "int8" or len(codes.shape) != 2:
        raise UndecodableError(f"codes of type {codes.dtype} that are {told(codes.shape)}")
    order = group.own.get("weight_format")
    if order is not None and any(group.peek(order)):
        raise UndecodableError("its codes are in the order of one kind of processor")
    scale = group.own.get("SCB")
    if scale is None or scale.size != codes.shape[0] or not is_number(scale):
        raise UndecodableError("its SCB does not fit its rows")
    axes = (TableAxis(codes.shape[0], 1, 1), TableAxis(codes.shape[1]))
    packing = Packing(replace(scale, role="table"), axes=axes, gain=1 / 127,
                      told="int8 (bitsandbytes)")  # fmt: skip
    return [replace(codes, role=group.named("weight"), packing=packing)]
