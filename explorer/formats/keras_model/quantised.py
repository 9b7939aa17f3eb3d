"""Quantised Keras layers: which variables a file then holds, and how their codes become numbers.

As Keras writes them since 3.14 (``variable_serialization_spec`` of Dense, EinsumDense, Embedding
and ReversibleEmbedding):

- ``int8``: codes of the kernel's own shape, one scale per output channel; number = code / scale.
- ``int4``: two codes to a byte along the last axis, of a kernel made a matrix of contracted × other
  axes. Without groups as above; with groups ``g_idx`` names the group of every row, and
  number = (code - zero) * scale.
- ``float8``: the kernel is stored as it was; scales are those of the last training step.
- ``gptq`` and ``awq`` are left packed, and so is all that does not fit the shapes above.

A quantised attention does not say in its configuration that it is: its variables tell. Before
3.14 ``int4`` kernels were packed along another axis, and their shapes could be those of ``int8``:
of such files, only what names its mode ``int8``, and embeddings, are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from explorer.network import Lanes, Packing, Shape, TableAxis, Weight
from explorer.weights.codecs import problem
from explorer.weights.units import einsum_letters, whole

Config = Mapping[str, Any]

_FLOAT8 = (
    "inputs_scale", "inputs_amax_history", "kernel_scale", "kernel_amax_history",
    "outputs_grad_scale", "outputs_grad_amax_history",
)  # fmt: skip
_ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
_PACKED = ("kernel", "embeddings", "reverse_embeddings")


def _innermost(kind: str, config: Config) -> tuple[str, Config]:
    """The layer inside wrappers such as ``TimeDistributed``."""
    for _ in range(8):
        inner = config.get("layer")
        if not isinstance(inner, Mapping) or not isinstance(inner.get("config"), Mapping):
            break
        kind, config = str(inner.get("class_name")), inner["config"]
    return kind, config


def _mode(config: Config) -> str:
    """``"int8"``, ``"int4/128"``, ``"float8"``, ``"gptq/4/128"`` …, or nothing."""
    policy = config.get("dtype")
    inner = policy.get("config") if isinstance(policy, Mapping) else None
    return str(inner.get("mode") or "") if isinstance(inner, Mapping) else ""


def stored_roles(
    kind: str, config: Config, roles: tuple[str, ...], dtypes: Sequence[str]
) -> tuple[str, ...]:
    """Roles of the variables of one group of a file, in the file's order.

    Parameters
    ----------
    kind : str
        Class of the layer.
    config : mapping
    roles : tuple of str
        As they are without quantisation.
    dtypes : sequence of str
        Of the variables that the file holds.

    Returns
    -------
    tuple of str
        `roles` themselves where nothing is quantised.
    """
    extra = len(dtypes) - len(roles)
    if not roles or extra < 1:
        return roles
    mode = _mode(_innermost(kind, config)[1])
    main, rest = roles[0], roles[1:]
    prefix = main[: main.rfind("/") + 1]
    if mode.startswith(("gptq", "awq")):
        tail = ["kernel_scale", "kernel_zero", "awq_scales", "g_idx"]
        tail = tail if mode.startswith("awq") else [t for t in tail if t != "awq_scales"]
        return (*rest, f"{prefix}packed_kernel", *(prefix + t for t in tail))
    if dtypes[0] != "int8":
        return (*roles, *(prefix + t for t in _FLOAT8)) if extra == len(_FLOAT8) else roles
    more = [f"{main}_scale"]
    if rest and rest[0] == "reverse_embeddings":
        if extra > 2:
            more += [f"{main}_zero", "g_idx"]
        return (main, *more, *rest, "reverse_embeddings_scale", "reverse_embeddings_zero")
    if extra > 1:
        more += [f"{main}_zero", f"{prefix}g_idx"]
    return (*roles, *more)


@dataclass(frozen=True)
class _Tables:
    """What a file holds beside the codes."""

    scale: Weight
    zero: Weight | None
    groups: Weight | None


@dataclass(frozen=True)
class _Layer:
    """What is known of the layer that the codes belong to."""

    kind: str
    config: Config
    inputs: Sequence[Shape | None]
    known_layout: bool


def known_layout(version: object) -> bool:
    """Whether a file of this Keras version packs ``int4`` as it is read here."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})\.", version) if isinstance(version, str) else None
    return found is not None and (int(found[1]), int(found[2])) >= (3, 14)


def packed(kind: str, config: Config, inputs: Sequence[Shape | None],
           weights: Sequence[Weight], version: object) -> tuple[list[Weight], bool]:  # fmt: skip
    """The weights of a layer, those that are codes with the way to their numbers.

    Parameters
    ----------
    kind : str
    config : mapping
    inputs : sequence of Shape or None
        Shapes of the layer's inputs.
    weights : sequence of Weight
        As the file holds them, with their roles.
    version : object
        Of Keras, as the file tells it.

    Returns
    -------
    list of Weight
        In the same order. Codes that cannot be decoded have a role that begins with ``packed_``.
    bool
        Whether there are such.
    """
    by_role = {w.role: w for w in weights}
    layer = _Layer(*_innermost(kind, config), inputs, known_layout(version))
    result, failed = [], False
    for weight in weights:
        prefix, _, name = weight.role.rpartition("/")
        prefix = prefix and f"{prefix}/"
        codes = len(weight.shape) > 1 and not name.endswith(("_zero", "zero_point"))
        if weight.dtype in ("int8", "uint8") and codes and not name.startswith("packed_"):
            scale = by_role.get(f"{weight.role}_scale")
            made = None
            if scale is not None and name in _PACKED:
                zero = by_role.get(f"{weight.role}_zero")
                groups = by_role.get(f"{prefix}g_idx") if zero is not None else None
                made = _made(layer, weight, _Tables(scale, zero, groups))
            failed |= made is None
            weight = made or replace(weight, role=f"{prefix}packed_{name}")
        result.append(weight)
    return result, failed or any("packed_" in w.role for w in result)


def _made(layer: _Layer, weight: Weight, tables: _Tables) -> Weight | None:
    """Codes with their packing, or ``None`` where their shapes are not those that Keras writes."""
    mode = _mode(layer.config)
    attention = layer.kind in _ATTENTION
    if not layer.known_layout and not mode.startswith("int8") and "embeddings" not in weight.role:
        return None
    if not mode and not attention and tables.zero is None:
        mode = _mode_by_shape(weight, tables.scale)
    int8 = mode.startswith("int8") or (attention and len(weight.shape) == 3)
    if tables.zero is not None or mode.startswith("int4") or (attention and not int8):
        made = _int4(layer, weight, tables)
    elif int8:
        made = _int8(layer, weight, tables.scale)
    else:
        made = None
    return made if made is not None and not problem(made) else None


def _mode_by_shape(weight: Weight, scale: Weight) -> str:
    """The mode of a layer whose configuration is not recorded, where a kernel's shapes tell it."""
    if len(weight.shape) != 2 or len(scale.shape) != 1 or not weight.role.endswith("kernel"):
        return ""
    columns, stored = scale.size, weight.shape[1]
    return "int8" if stored == columns else "int4" if stored == -(-columns // 2) else ""


def _int8(layer: _Layer, weight: Weight, scale: Weight) -> Weight | None:
    """One scale per entry of the axes that are kept."""
    kept = _kept_axes(layer, weight)
    if kept is None or scale.size != prod(weight.shape[a] for a in kept):
        return None
    steps, step = {}, 1
    for axis in reversed(kept):
        steps[axis] = step
        step *= weight.shape[axis]
    axes = tuple(TableAxis(n, 1, steps.get(a, 0)) for a, n in enumerate(weight.shape))
    return replace(weight, packing=Packing(scale, divide=True, axes=axes))


def _kept_axes(layer: _Layer, weight: Weight) -> list[int] | None:
    """Axes of the codes that have a scale of their own, in the order of the table."""
    name, rank = weight.role.rpartition("/")[2], len(weight.shape)
    if name != "kernel":
        return [0] if name == "embeddings" else [1] if rank == 2 else None
    if layer.kind in _ATTENTION:
        last = 1 if weight.role.startswith("attention_output") else 2
        return list(range(rank - last, rank)) if rank == 3 else None
    if layer.kind == "EinsumDense":
        letters = einsum_letters(layer.config.get("equation"))
        if letters is None or len(letters[1]) != rank:
            return None
        return [letters[1].index(c) for c in letters[2] if c in letters[1]]
    return [1] if rank == 2 else None


def _int4(layer: _Layer, weight: Weight, tables: _Tables) -> Weight | None:
    """Two codes to a byte, of a matrix of rows × columns."""
    if len(weight.shape) != 2 or not tables.scale.shape or len(tables.scale.shape) > 2:
        return None
    (rows, columns), name = weight.shape, weight.role.rpartition("/")[2]
    width = whole(layer.config.get("output_dim"))
    if not width and tables.groups is not None:
        width = tables.groups.size
    if name == "embeddings":
        columns = width
        lanes = Lanes(weight.dtype, 4, columns)
    elif name == "reverse_embeddings":
        rows = width
        lanes = Lanes(weight.dtype, 4, rows, columns)
    else:
        columns = tables.scale.shape[-1]
        lanes = Lanes(weight.dtype, 4, columns)
    shape: tuple[int, ...] = (rows, columns)
    if weight.shape != _packed_shape(shape, lanes):
        return None
    if name == "kernel":
        found = _kernel_shape(layer, weight.role, rows, columns)
        shape = found if found is not None and prod(found) == prod(shape) else shape
    axes = _int4_axes((rows, columns), int(name == "embeddings"), tables)
    if axes is None:
        return None
    packing = Packing(tables.scale, tables.zero, tables.zero is None, axes, lanes)
    return replace(weight, shape=shape, dtype="int4", packing=packing)


def _packed_shape(shape: tuple[int, ...], lanes: Lanes) -> tuple[int, ...]:
    """Shape of the bytes of a matrix of codes."""
    packed_axis = 1 if lanes.inner == 1 and lanes.length == shape[1] else 0
    return tuple(-(-n // 2) if a == packed_axis else n for a, n in enumerate(shape))


def _int4_axes(shape: tuple[int, ...], grouped: int,
               tables: _Tables) -> tuple[TableAxis, TableAxis] | None:  # fmt: skip
    """The table's view of a matrix: one entry per group along axis `grouped`, and per other."""
    other = 1 - grouped
    if tables.zero is None:
        if tables.scale.shape != (shape[other],):
            return None
        pair = {other: TableAxis(shape[other], 1, 1), grouped: TableAxis(shape[grouped])}
        return pair[0], pair[1]
    groups = tables.scale.shape[grouped] if len(tables.scale.shape) == 2 else 0
    expected = (groups, shape[other]) if grouped == 0 else (shape[other], groups)
    if tables.scale.shape != expected or tables.zero.shape != expected or tables.groups is None:
        return None
    step = (shape[other], 1) if grouped == 0 else (1, groups)
    pair = {
        grouped: TableAxis(shape[grouped], 1, step[0], tables.groups),
        other: TableAxis(shape[other], 1, step[1]),
    }
    return pair[0], pair[1]


def _kernel_shape(layer: _Layer, role: str, rows: int, columns: int) -> tuple[int, ...] | None:
    """The shape that a kernel had before it was made a matrix of rows × columns."""
    if layer.kind in _ATTENTION:
        part = role.partition("/")[0]
        own = "num_key_value_heads" if part in ("key", "value") else "num_query_heads"
        heads = whole(layer.config.get("num_heads")) or whole(layer.config.get(own))
        if not heads:
            return None
        if part == "attention_output":
            return heads, rows // heads, columns
        return rows, heads, columns // heads
    if layer.kind != "EinsumDense":
        return None
    letters = einsum_letters(layer.config.get("equation"))
    shapes = (layer.inputs[0] if layer.inputs else None, layer.config.get("output_shape"))
    if letters is None:
        return None
    size: dict[str, int] = {}
    for names, shape in zip((letters[0], letters[2]), shapes, strict=True):
        lengths = [shape] if isinstance(shape, int) else shape
        if isinstance(lengths, (list, tuple)):
            size.update(zip(reversed(names), map(whole, reversed(lengths)), strict=False))
    return tuple(size.get(c, 0) for c in letters[1])
