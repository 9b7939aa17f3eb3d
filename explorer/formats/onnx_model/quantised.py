"""Quantised weights of ONNX: codes that a node decodes, or that it takes as they are packed.

Sources: the operators DequantizeLinear and QLinearConv of the ONNX specification; MatMulNBits and
GatherBlockQuantized of ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from explorer.network import ByteRange, Inline, Lanes, Packing, Pieces, TableAxis, Weight, Where
from explorer.weights.codecs import problem

_WIDTHS = (2, 4, 8)
_MOST_ROWS = 200_000  # runs of bytes of one tensor


def scaled(codes: Weight | None, scale: Weight | None, zero: Weight | None,
           told: Mapping[str, Any]) -> Weight | None:  # fmt: skip
    """Codes with the tables that make numbers of them; ``None`` where these do not fit.

    Parameters
    ----------
    codes, scale : Weight or None
    zero : Weight or None
        Zero points, of which there may be none.
    told : mapping
        ``axis`` and ``block_size`` as in DequantizeLinear.
    """
    if codes is None or scale is None or _is_scaled(codes) or _is_scaled(scale):
        return None
    axes = _axes(codes, scale, told)
    if axes is None:
        return None
    return _packed(codes, scale, zero, axes)


def _is_scaled(weight: Weight) -> bool:
    return weight.packing is not None and weight.packing.scale is not None


def _packed(codes: Weight, scale: Weight, zero: Weight | None,
            axes: tuple[TableAxis, ...]) -> Weight | None:  # fmt: skip
    lanes = codes.packing.lanes if codes.packing is not None else None
    zero = None if zero is None else replace(zero, role="zero")
    made = replace(codes, packing=Packing(replace(scale, role="scale"), zero, False, axes, lanes))
    return None if problem(made) else made


def _axes(codes: Weight, scale: Weight, told: Mapping[str, Any]) -> tuple[TableAxis, ...] | None:
    """How the entries of a table of scales belong to codes: per tensor, per axis, per block."""
    if scale.size == 1:
        return tuple(TableAxis(n) for n in codes.shape)
    axis = told.get("axis", 1)
    if not isinstance(axis, int) or not -len(codes.shape) <= axis < len(codes.shape):
        return None
    axis %= len(codes.shape)
    block = told.get("block_size", 0)
    if not block:
        if scale.shape != (codes.shape[axis],):
            return None
        return tuple(TableAxis(n, 1, int(i == axis)) for i, n in enumerate(codes.shape))
    if not isinstance(block, int) or block < 1:
        return None
    blocks = tuple(-(-n // block) if i == axis else n for i, n in enumerate(codes.shape))
    if scale.shape != blocks:
        return None
    steps = [prod(scale.shape[i + 1 :]) for i in range(len(codes.shape))]
    return tuple(
        TableAxis(n, block if i == axis else 1, steps[i]) for i, n in enumerate(codes.shape)
    )


def of_bits(weight: Weight, shape: tuple[int, ...], bits: int, signed: bool = False) -> Weight:
    """Codes of few bits that a tensor of bytes holds, each line of the last axis for itself.

    Parameters
    ----------
    weight : Weight
        Of type uint8.
    shape : tuple of int
        Of the codes.
    bits : {2, 4, 8}
    signed : bool
        Whether half of the range stands for zero, as where there are no zero points.
    """
    shift = 1 << (bits - 1) if signed else 0
    lanes = Lanes("uint8", bits, shape[-1], shift=shift) if shift or bits < 8 else None
    packing = None if lanes is None else Packing(lanes=lanes)
    dtype = f"{'' if signed else 'u'}int{bits}"
    return Weight(weight.name, weight.role, shape, dtype, weight.where, packing)


def _points(zero: Weight | None, shape: tuple[int, ...], bits: int) -> Weight | None:
    """Zero points for each block of a line, packed as the codes are, or as plain numbers."""
    return of_bits(zero, shape, bits) if zero is not None and zero.dtype == "uint8" else zero


def matmul_nbits(weights: Mapping[int, Weight], told: Mapping[str, Any]) -> Weight | None:
    """The kernel of a MatMulNBits, shape (N, K); ``None`` where it is packed in another way.

    Parameters
    ----------
    weights : mapping of int to Weight
        Inputs by position: codes (N, blocks, bytes of a block), scales, zero points, groups.
    told : mapping
        Attributes ``K``, ``N``, ``bits``, ``block_size``.
    """
    codes, scale = weights.get(1), weights.get(2)
    rows, columns, bits, block = (told.get(k, d) for k, d in (("N", 0), ("K", 0), ("bits", 4),
                                                              ("block_size", 0)))  # fmt: skip
    if codes is None or scale is None or codes.dtype != "uint8" or bits not in _WIDTHS:
        return None
    if not all(isinstance(n, int) and n > 0 for n in (rows, columns, block)):
        return None
    blocks = -(-columns // block)
    nbytes = -(-block * bits // 8)
    if codes.size != rows * blocks * nbytes or scale.size != rows * blocks:
        return None
    where = _rows(codes.where, rows, blocks * nbytes, -(-columns * bits // 8))
    kernel = of_bits(replace(codes, where=where), (rows, columns), bits, 3 not in weights)
    along = TableAxis(columns, block, 1)
    if 4 in weights:  # the group of each column
        along = TableAxis(columns, 1, 1, replace(weights[4], role="group index"))
    axes = (TableAxis(rows, 1, blocks), along)
    return _packed(kernel, scale, _points(weights.get(3), (rows, blocks), bits), axes)


def _rows(where: Where | None, rows: int, stride: int, nbytes: int) -> Where | None:
    """The first bytes of each row, where rows end in bytes that fill up a block."""
    if stride == nbytes:
        return where
    if isinstance(where, Inline):
        return Inline(b"".join(where.data[at * stride :][:nbytes] for at in range(rows)))
    if isinstance(where, ByteRange) and rows <= _MOST_ROWS:
        return Pieces(
            tuple(ByteRange(where.file, where.offset + at * stride, nbytes) for at in range(rows))
        )
    return None


def gather_block(weights: Mapping[int, Weight], told: Mapping[str, Any]) -> Weight | None:
    """The table of a GatherBlockQuantized; ``None`` where it is packed in another way.

    Parameters
    ----------
    weights : mapping of int to Weight
        Inputs by position: codes, (indices), scales, zero points.
    told : mapping
        Attributes ``bits``, ``block_size``, ``quantize_axis``.
    """
    codes, scale, zero = weights.get(0), weights.get(2), weights.get(3)
    bits = told.get("bits", 4)
    if codes is None or scale is None or bits not in _WIDTHS or not codes.shape:
        return None
    if codes.dtype == "uint8":  # bytes, each of several codes along the last axis
        shape = (*codes.shape[:-1], codes.shape[-1] * (8 // bits))
        codes = of_bits(codes, shape, bits, zero is None)
        zero = _points(zero, scale.shape, bits)
    blocks = {"axis": told.get("quantize_axis", 1), "block_size": told.get("block_size", 128)}
    return scaled(codes, scale, zero, blocks)
