"""Integers of few bits in words of 32: GPTQ, AWQ, and what compressed-tensors calls packed.

- GPTQ (as AutoGPTQ and GPTQModel write it): ``qweight`` (in · bits / 32, out) holds neighbouring
  in channels in a word, ``qzeros`` (groups, out · bits / 32) neighbouring out channels, ``scales``
  (groups, out); ``g_idx`` (in) names the group of each in channel. Number = (code - zero) · scale,
  where version 1 stores every zero point less one, modulo the codes there are.
- AWQ (AutoAWQ, version GEMM): ``qweight`` (in, out / 8) and ``qzeros`` (groups, out / 8) hold
  eight out channels in a word, first those of even number: 0, 2, 4, 6, 1, 3, 5, 7.
- compressed-tensors, pack-quantized: ``weight_packed`` (out, in · bits / 32), codes stored with
  half their range added; ``weight_zero_point`` likewise, packed along the out channels.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from explorer.formats.quantised.group import Group, UndecodableError, axis, told
from explorer.formats.quantised.scaled import grid
from explorer.network import Lanes, Packing, TableAxis, Weight
from explorer.weights.codecs import is_number

_WORD = 32
_BITS = (2, 4, 8)
_MIDDLES = (b"\x88" * 4, b"\x80" * 4, b"\xaa" * 4)
_AWQ_LANES = (0, 4, 1, 5, 2, 6, 3, 7)
GPTQ_USED = ("qweight", "qzeros", "scales", "g_idx")


def gptq_or_awq(group: Group) -> list[Weight]:
    """A ``qweight`` of either kind: shapes tell them apart.

    Raises
    ------
    UndecodableError
    """
    codes, scales = group.table("qweight"), group.table("scales")
    form = group.word("checkpoint_format", "version", "format")
    if form not in ("", "gptq", "gptq_v2", "gemm", "pack-quantized"):
        raise UndecodableError(f"its codes are in the order of {form}")
    for table in (codes, scales):
        if len(table.shape) != 2 or not table.size:
            raise UndecodableError(f"a table is {told(table.shape)}")
    if codes.dtype not in ("int32", "uint32") or not is_number(scales):
        raise UndecodableError(f"codes of type {codes.dtype}, scales of type {scales.dtype}")
    if codes.shape[1] == scales.shape[1]:
        return [_gptq(group, codes, scales, _less_one(group, form))]
    if codes.shape[1] * 8 == scales.shape[1]:
        return [_awq(group, codes, scales)]
    raise UndecodableError(f"its codes are {told(codes.shape)} and its scales {told(scales.shape)}")


def _less_one(group: Group, form: str) -> bool:
    """Whether zero points are stored less one: version 1, as all files were before 2024.

    Where nothing is told, zero points in the middle of the range, which symmetric codes have, are
    taken as they are.
    """
    if group.hints or form:
        return form != "gptq_v2"
    return group.peek(group.table("qzeros"))[:4] not in _MIDDLES


def _gptq(group: Group, codes: Weight, scales: Weight, less_one: bool) -> Weight:
    groups, out = scales.shape
    zeros, index = group.table("qzeros"), group.own.get("g_idx")
    if index is not None and index.size:
        bits = codes.shape[0] * _WORD // index.size
    else:
        bits = group.hint("bits") if zeros.size == 0 else zeros.shape[-1] * _WORD // out
    if bits not in _BITS:
        raise UndecodableError(f"codes of {bits} bits")
    n = _WORD // bits
    inside = codes.shape[0] * n
    zeros = group.table("qzeros", (groups, -(-out // n)))
    if index is not None and index.size:
        along = TableAxis(inside, 1, out, group.table("g_idx", (inside,)))
    else:
        along = axis(inside, groups, out, group.hint("group_size"))
    lanes = Lanes(zeros.dtype, bits, out, shift=int(less_one))
    zeros = replace(zeros, shape=scales.shape, dtype=f"uint{bits}", packing=Packing(lanes=lanes))
    packing = Packing(scales, zeros, axes=(along, TableAxis(out, 1, 1)), turned=True,
                      lanes=Lanes(codes.dtype, bits, inside, out),
                      told=f"int{bits} (GPTQ)")  # fmt: skip
    return replace(codes, role=group.named("weight"), shape=(out, inside), dtype=f"uint{bits}",
                   packing=packing)  # fmt: skip


def _awq(group: Group, codes: Weight, scales: Weight) -> Weight:
    (inside, words), (groups, out) = codes.shape, scales.shape
    zeros = group.table("qzeros", (groups, words))
    lanes = Lanes(zeros.dtype, 4, out, order=_AWQ_LANES)
    zeros = replace(zeros, shape=scales.shape, dtype="uint4", packing=Packing(lanes=lanes))
    along = axis(inside, groups, out, group.hint("group_size", "q_group_size"))
    packing = Packing(scales, zeros, axes=(along, TableAxis(out, 1, 1)), turned=True,
                      lanes=Lanes(codes.dtype, 4, out, order=_AWQ_LANES),
                      told="int4 (AWQ)")  # fmt: skip
    return replace(codes, role=group.named("weight"), shape=(out, inside), dtype="uint4",
                   packing=packing)  # fmt: skip


def pack_quantised(group: Group) -> list[Weight]:
    """A ``weight_packed`` of words of 32 bits, with its true shape beside it.

    Raises
    ------
    UndecodableError
    """
    codes, scales = group.table("weight_packed"), group.table("weight_scale")
    if codes.dtype not in ("int32", "uint32") or len(codes.shape) != 2 or not is_number(scales):
        raise UndecodableError(f"codes of type {codes.dtype} that are {told(codes.shape)}")
    rows, columns = _shape(group, codes)
    fits = [b for b in _BITS if -(-columns // (_WORD // b)) == codes.shape[1]]
    if not fits or rows != codes.shape[0]:
        raise UndecodableError(f"{told(codes.shape)} words for {told((rows, columns))} codes")
    bits = group.hint("num_bits", "bits")
    bits = bits if bits in fits else fits[-1]
    half = 1 << (bits - 1)
    high, wide = grid(scales.shape, rows)
    index = group.own.get("weight_g_idx")
    if index is not None and not group.peek(index).startswith(b"\xff" * 4):  # -1: not in use
        across = TableAxis(columns, 1, 1, group.table("weight_g_idx", (columns,)))
    else:
        across = axis(columns, wide, 1, group.hint("group_size"))
    zeros = None
    if "weight_zero_point" in group.own:
        zeros = group.table("weight_zero_point", (-(-high * bits // _WORD), wide))
        lanes = Lanes(zeros.dtype, bits, high, wide, shift=half)
        zeros = replace(zeros, shape=(high, wide), dtype=f"int{bits}", packing=Packing(lanes=lanes))
    packing = Packing(scales, zeros, axes=(axis(rows, high, wide), across),
                      lanes=Lanes(codes.dtype, bits, columns, shift=half),
                      told=f"int{bits} (compressed-tensors)")  # fmt: skip
    return [replace(codes, role=group.named("weight"), shape=(rows, columns), dtype=f"int{bits}",
                    packing=packing)]  # fmt: skip


def _shape(group: Group, codes: Weight) -> tuple[int, int]:
    """The shape that the codes had before they were packed."""
    told_shape = group.table("weight_shape", (2,))
    form = {"int64": "<2q", "int32": "<2i"}.get(told_shape.dtype)
    data = group.peek(told_shape)
    if form is None or len(data) != struct.calcsize(form):
        raise UndecodableError("its weight_shape cannot be read")
    rows, columns = struct.unpack(form, data)
    if not 0 < rows < 1 << 40 or not 0 < columns < 1 << 40:
        raise UndecodableError(f"its weight_shape is {rows} × {columns}")
    return rows, columns
