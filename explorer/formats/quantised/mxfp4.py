"""MXFP4 as gpt-oss stores its experts: floats of four bits, 32 to a power of two.

``…_blocks`` (experts, out, in / 32, 16) holds two numbers to a byte, the first in its low bits;
``…_scales`` (experts, out, in / 32) an exponent per block, biased by 127. OCP Microscaling v1.0.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from explorer.formats.quantised.group import Group, UndecodableError, slices, told, viewed
from explorer.network import Lanes, Packing, TableAxis, Weight

_BLOCK = 32


def stems(leaves: list[str]) -> list[str]:
    """What of a module lies as blocks and scales: ``"gate_up_proj"``."""
    found = (leaf.removesuffix("_blocks") for leaf in leaves if leaf.endswith("_blocks"))
    return [stem for stem in found if f"{stem}_scales" in leaves]


def used(group: Group) -> list[str]:
    """Tensors of the module that `experts` makes something else of."""
    return [f"{stem}_{part}" for stem in stems(list(group.own))
            for part in ("blocks", "scales", "bias")]  # fmt: skip


def experts(group: Group) -> list[Weight]:
    """One matrix and one bias per expert; one in all where codes have no axis of experts.

    Raises
    ------
    UndecodableError
    """
    made: list[Weight] = []
    for stem in stems(list(group.own)):
        codes, scales = group.table(f"{stem}_blocks"), group.table(f"{stem}_scales")
        shape = codes.shape
        if len(shape) not in (3, 4) or shape[-1] * 2 != _BLOCK or shape[:-1] != scales.shape:
            raise UndecodableError(f"blocks that are {told(shape)}, scales {told(scales.shape)}")
        if codes.dtype != "uint8" or scales.dtype not in ("uint8", "float8_e8m0fnu"):
            raise UndecodableError(f"blocks of type {codes.dtype}, scales of {scales.dtype}")
        bias = group.own.get(f"{stem}_bias")
        if len(shape) == 3:
            table = viewed(scales, "float8_e8m0fnu", scales.size)
            made.append(_matrix(codes, shape, table, group.named(f"{stem}.weight")))
            made += [replace(bias, role=group.named(f"{stem}.bias"))] if bias else []
            continue
        biases = slices(bias, bias.shape[1:]) if bias else []
        if biases and len(biases) != shape[0]:
            raise UndecodableError(f"{len(biases)} biases for {shape[0]} experts")
        tables = slices(scales, (shape[1] * shape[2],), "float8_e8m0fnu")
        each = zip_longest(slices(codes, shape[1:]), tables, biases)
        for number, (own, table, own_bias) in enumerate(each):
            place = group.named(f"{number}.{stem}")
            made.append(_matrix(own, shape[1:], table, f"{place}.weight"))
            made += [replace(own_bias, role=f"{place}.bias")] if own_bias else []
    return made


def _matrix(codes: Weight, shape: tuple[int, ...], table: Weight, role: str) -> Weight:
    rows, columns = shape[0], shape[1] * _BLOCK
    packing = Packing(table, axes=(TableAxis(rows * columns, _BLOCK, 1),),
                      lanes=Lanes("uint8", 4, columns), told="fp4 (MXFP4)")  # fmt: skip
    return Weight(codes.name, role, (rows, columns), "float4_e2m1fn", codes.where, packing)
