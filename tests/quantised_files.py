"""Quantised matrices for tests, packed one code at a time by each scheme's public definition."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from explorer.formats.sandbox.child import parse
from explorer.formats.sandbox.manifest import decode
from explorer.network import FileStamp, Network

State = dict[str, np.ndarray]
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0], np.float32)  # fmt: skip
FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, -0.0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


class Case(NamedTuple):
    """Tensors of a module ``fc``, what the configuration says of them, and the true matrix."""

    state: State
    hints: dict[str, Any]
    matrix: np.ndarray
    told: str


def read(folder: Path, state: State, hints: dict[str, Any] | None = None,
         **config: Any) -> Network:  # fmt: skip
    """What is told of a model with these tensors, by the way of the manifest, in this process."""
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    if hints is not None:
        config["quantization_config"] = hints
    (folder / "config.json").write_text(json.dumps(config))
    return reread(path)


def reread(path: Path) -> Network:
    """The network of a file, without starting a child."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        told = parse(str(path), descriptor)
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    assert told[:1] == b"+", told
    stamp = FileStamp(str(path), status.st_size, status.st_mtime_ns)

    def find(part: Any) -> FileStamp:
        return FileStamp(str(path.parent / part.name), part.size, part.mtime_ns)

    return decode(told[1:], stamp, find)


def packed(codes: np.ndarray, bits: int, axis: int, order: tuple[int, ...] = ()) -> np.ndarray:
    """Codes of a matrix in int32 words along an axis; `order` names the position in each lane."""
    n = 32 // bits
    order = order or tuple(range(n))
    lines = np.moveaxis(codes, axis, 0).astype(np.uint64)
    words = np.zeros((-(-len(lines) // n), *lines.shape[1:]), np.uint64)
    for word in range(len(words)):
        for lane, position in enumerate(order):
            if word * n + position < len(lines):
                words[word] |= lines[word * n + position] << np.uint64(bits * lane)
    return np.moveaxis(words, 0, axis).astype(np.uint32).view(np.int32)


def gptq(rng: np.random.Generator, shape: tuple[int, int], bits: int, group: int,
         act_order: bool, version: int = 1) -> Case:  # fmt: skip
    """GPTQ; without act order there is no ``g_idx`` either."""
    out, inside = shape
    groups = -(-inside // group)
    codes = rng.integers(0, 1 << bits, (inside, out))
    zeros = rng.integers(0, 1 << bits, (groups, out))
    scales = rng.normal(0, 0.1, (groups, out)).astype(np.float16)
    own = np.arange(inside) // group
    if act_order:
        own = rng.permutation(own)
    stored = (zeros - 1) % (1 << bits) if version == 1 else zeros
    state = {"fc.qweight": packed(codes, bits, 0), "fc.qzeros": packed(stored, bits, 1),
             "fc.scales": scales, "fc.bias": rng.normal(size=out).astype(np.float16)}  # fmt: skip
    if act_order:
        state["fc.g_idx"] = own.astype(np.int32)
    matrix = (codes - zeros[own]).astype(np.float32) * scales[own].astype(np.float32)
    form = "gptq" if version == 1 else "gptq_v2"
    hints = {"quant_method": "gptq", "bits": bits, "group_size": group, "checkpoint_format": form}
    return Case(state, hints, matrix.T, f"int{bits} (GPTQ)")


def awq(rng: np.random.Generator, shape: tuple[int, int], group: int) -> Case:
    """AutoAWQ's GEMM version."""
    out, inside = shape
    groups = -(-inside // group)
    codes, zeros = rng.integers(0, 16, (inside, out)), rng.integers(0, 16, (groups, out))
    scales = rng.normal(0, 0.1, (groups, out)).astype(np.float16)
    own = np.arange(inside) // group
    state = {"fc.qweight": packed(codes, 4, 1, AWQ_ORDER), "fc.scales": scales,
             "fc.qzeros": packed(zeros, 4, 1, AWQ_ORDER)}  # fmt: skip
    matrix = (codes - zeros[own]).astype(np.float32) * scales[own].astype(np.float32)
    hints = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm"}
    return Case(state, hints, matrix.T, "int4 (AWQ)")


def fp8(rng: np.random.Generator, shape: tuple[int, int], table: tuple[int, ...],
        block: tuple[int, int], name: str = "weight_scale_inv") -> Case:  # fmt: skip
    """float8 with a table of scales of a shape, each for a block."""
    codes = rng.normal(0, 1, shape).astype(ml_dtypes.float8_e4m3fn)
    scales = rng.normal(1, 0.3, table).astype(np.float32)
    grid = scales.reshape((*table, *(1,) * (2 - len(table))))
    matrix = np.empty(shape, np.float32)
    for row in range(shape[0]):
        for column in range(shape[1]):
            scale = grid[row // block[0], column // block[1]]
            matrix[row, column] = np.float32(codes[row, column]) * scale
    state = {"fc.weight": codes, f"fc.{name}": scales}
    return Case(state, {}, matrix, "float8_e4m3fn (scaled)")


def int8_rows(rng: np.random.Generator, shape: tuple[int, int]) -> Case:
    """Bitsandbytes' LLM.int8()."""
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    rows = rng.random(shape[0]).astype(np.float32) * 3
    state = {"fc.weight": codes, "fc.SCB": rows, "fc.weight_format": np.array(0, np.uint8)}
    matrix = codes.astype(np.float32) * rows[:, None] * np.float32(7.874015718698502e-3)
    return Case(state, {"load_in_8bit": True}, matrix, "int8 (bitsandbytes)")


def bnb4(rng: np.random.Generator, shape: tuple[int, int], block: int, kind: str,
         nested: bool) -> Case:  # fmt: skip
    """Bitsandbytes' four bits, its scales quantised again where nested."""
    count = shape[0] * shape[1]
    codes = rng.integers(0, 16, count)
    pairs = np.resize(np.append(codes, 0), (-(-count // 2), 2))
    levels = NF4 if kind == "nf4" else FP4 / np.float32(12)
    info: dict[str, Any] = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16",
                            "shape": list(shape)}  # fmt: skip
    blocks = -(-count // block)
    absmax = rng.random(blocks).astype(np.float32)
    state = {"fc.weight": (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8)[:, None],
             "fc.weight.quant_map": levels, "fc.weight.absmax": absmax}  # fmt: skip
    if nested:
        table = np.sort(rng.normal(size=256)).astype(np.float32)
        again = rng.integers(0, 256, blocks).astype(np.uint8)
        outer = rng.random(-(-blocks // 256)).astype(np.float32)
        offset = float(np.float32(rng.random()))
        info |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset}
        absmax = table[again] * outer[np.arange(blocks) // 256] + np.float32(offset)
        state |= {"fc.weight.absmax": again, "fc.weight.nested_absmax": outer,
                  "fc.weight.nested_quant_map": table}  # fmt: skip
    told = np.frombuffer(json.dumps(info).encode(), np.uint8)
    state[f"fc.weight.quant_state.bitsandbytes__{kind}"] = told
    matrix = levels[codes] * absmax[np.arange(count) // block]
    return Case(state, {"load_in_4bit": True}, matrix.reshape(shape), f"{kind} (bitsandbytes)")


def mxfp4(rng: np.random.Generator, experts: int, shape: tuple[int, int]) -> Case:
    """The experts of gpt-oss; the matrix has them as its first axis."""
    out, inside = shape
    codes = rng.integers(0, 16, (experts, out, inside // 32, 32))
    exponents = rng.integers(110, 140, (experts, out, inside // 32)).astype(np.uint8)
    state = {"experts.gate_up_proj_blocks": (codes[..., 0::2] | codes[..., 1::2] << 4).astype("u1"),
             "experts.gate_up_proj_scales": exponents,
             "experts.gate_up_proj_bias": rng.normal(size=(experts, out)).astype(np.float32),
             }  # fmt: skip
    matrix = np.ldexp(E2M1[codes], exponents[..., None].astype(int) - 127).astype(np.float32)
    return Case(state, {"quant_method": "mxfp4"}, matrix.reshape(experts, out, inside),
                "fp4 (MXFP4)")  # fmt: skip


def pack_quantised(rng: np.random.Generator, shape: tuple[int, int], bits: int, group: int,
                   zeros: bool) -> Case:  # fmt: skip
    """compressed-tensors, pack-quantized."""
    half, wide = 1 << (bits - 1), -(-shape[1] // group)
    codes = rng.integers(-half, half, shape)
    points = rng.integers(-half, half, (shape[0], wide)) * int(zeros)
    scales = rng.normal(0, 0.1, (shape[0], wide)).astype(np.float16)
    state = {"fc.weight_packed": packed(codes + half, bits, 1), "fc.weight_scale": scales,
             "fc.weight_shape": np.array(shape, np.int64)}  # fmt: skip
    if zeros:
        state["fc.weight_zero_point"] = packed(points + half, bits, 0)
    own = np.arange(shape[1]) // group
    matrix = (codes - points[:, own]).astype(np.float32) * scales[:, own].astype(np.float32)
    weights = {"num_bits": bits, "group_size": group, "type": "int"}
    hints = {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": weights}}}
    return Case(state, hints, matrix, f"int{bits} (compressed-tensors)")


def nvfp4(rng: np.random.Generator, shape: tuple[int, int], divide: bool) -> Case:
    """Two floats to a byte with a float8 per 16 and one scale for all."""
    codes = rng.integers(0, 16, shape)
    inner = rng.normal(1, 0.3, (shape[0], shape[1] // 16)).astype(ml_dtypes.float8_e4m3fn)
    one = np.array([1.7], np.float32)
    stored = (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)
    scales = inner.astype(np.float32) / one if divide else inner.astype(np.float32) * one
    matrix = E2M1[codes] * np.repeat(scales, 16, axis=1)
    names = ("weight_packed", "weight_global_scale") if divide else ("weight", "weight_scale_2")
    state = {f"fc.{names[0]}": stored, "fc.weight_scale": inner, f"fc.{names[1]}": one}
    return Case(state, {}, matrix, "fp4 (NVFP4)")


Make = Callable[[np.random.Generator], Case]
