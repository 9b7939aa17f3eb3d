"""Small floats and int8 that lie as a matrix, with scales per tensor, row, group or block.

``weight_scale_inv`` as DeepSeek names it, in blocks of 128 × 128, and ``weight_scale`` of
compressed-tensors, FBGEMM and ModelOpt are all multiplied. Four-bit floats, two to a byte, have a
scale per 16 numbers that is a float8 with one scale for all (NVFP4), or per 32 that is a power of
two (MXFP4).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from explorer.formats.quantised.group import Group, UndecodableError, axis, told, viewed
from explorer.network import Lanes, Packing, TableAxis, Weight
from explorer.weights.codecs import is_number

SCALES = ("weight_scale_inv", "weight_scale", "qscale_weight")
USED = (
    *SCALES, "weight", "weight_packed", "weight_zero_point", "weight_scale_2",
    "weight_global_scale", "weight_g_idx", "weight_shape", "input_scale", "input_global_scale",
    "input_zero_point", "activation_scale", "qscale_act", "weight_scale_max",
)  # fmt: skip
"""Tensors that describe the codes of a module, or what it makes of its input."""


def scaled(group: Group) -> list[Weight]:
    """Codes of one byte, or two to a byte.

    Raises
    ------
    UndecodableError
    """
    codes = group.own.get("weight") or group.table("weight_packed")
    scale = group.table(next(name for name in SCALES if name in group.own))
    if codes.dtype in ("uint8", "float4_e2m1fn"):
        return [_float4(group, codes, scale)]
    if not codes.dtype.startswith("float8") and codes.dtype != "int8":
        raise UndecodableError(f"codes of type {codes.dtype}")
    if len(codes.shape) != 2:
        raise UndecodableError(f"codes that are {told(codes.shape)}")
    if scale.dtype == "uint8":  # powers of two: MXFP8
        scale = replace(scale, dtype="float8_e8m0fnu")
    axes = _axes(group, codes.shape, scale)
    zero = group.own.get("weight_zero_point")
    if zero is not None:
        if zero.size != scale.size:
            raise UndecodableError(f"{zero.size} zero points and {scale.size} scales")
        zero = replace(zero, role="table")
    name = f"{codes.dtype} (scaled)"
    return [replace(codes, role=group.named("weight"),
                    packing=Packing(scale, zero, axes=axes, told=name))]  # fmt: skip


def _axes(group: Group, shape: tuple[int, ...], scale: Weight) -> tuple[TableAxis, TableAxis]:
    """How far one goes in the table of scales along rows and columns."""
    if not is_number(scale):
        raise UndecodableError(f"scales of type {scale.dtype}")
    rows, columns = grid(scale.shape, shape[0])
    hints = _block_hints(group)
    index = group.own.get("weight_g_idx")
    if index is not None and not group.peek(index).startswith(b"\xff" * 4):  # -1: not in use
        across = TableAxis(shape[1], 1, 1, group.table("weight_g_idx", (shape[1],)))
    else:
        across = axis(shape[1], columns, 1, hints[1], even=False)
    return axis(shape[0], rows, columns, hints[0], even=False), across


def grid(shape: tuple[int, ...], rows: int) -> tuple[int, int]:
    """Rows and columns of a table of scales: of a single number, one per row, or blocks."""
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) > 2 or (shape and shape[0] not in (1, rows)):
        raise UndecodableError(f"scales that are {told(shape)}")
    return prod(shape), 1


def _block_hints(group: Group) -> tuple[int, int]:
    """Block sizes that the configuration tells, 0 for none."""
    size: Any = group.hints.get("weight_block_size")
    if isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size):
        return size[0], size[1]
    return 0, group.hint("group_size")


def _float4(group: Group, codes: Weight, scale: Weight) -> Weight:
    """Two floats of four bits to a byte, the first in its low bits."""
    if len(codes.shape) != 2 or len(scale.shape) != 2 or codes.shape[0] != scale.shape[0]:
        raise UndecodableError(f"codes that are {told(codes.shape)}")
    rows, columns = codes.shape
    columns *= 2 if codes.dtype == "uint8" else 1
    overall = next((n for n in ("weight_scale_2", "weight_global_scale") if n in group.own), "")
    if scale.dtype == "uint8" and not overall and scale.shape[1] * 32 == columns:
        scale, size, name = viewed(scale, "float8_e8m0fnu", scale.size), 32, "fp4 (MXFP4)"
    elif scale.dtype == "float8_e4m3fn" and overall and scale.shape[1] * 16 == columns:
        one = group.table(overall)
        if one.size != 1 or not is_number(one):
            raise UndecodableError(f"{overall} is {told(one.shape)}")
        divide = overall == "weight_global_scale"
        scale = replace(scale, packing=Packing(one, None, divide, (TableAxis(scale.size),)))
        size, name = 16, "fp4 (NVFP4)"
    else:
        raise UndecodableError(f"bytes with scales of type {scale.dtype}")
    packing = Packing(scale, axes=(TableAxis(rows * columns, size, 1),),
                      lanes=Lanes("uint8", 4, columns), told=name)  # fmt: skip
    return replace(codes, role=group.named("weight"), shape=(rows, columns),
                   dtype="float4_e2m1fn", packing=packing)  # fmt: skip
