"""safetensors: one file, several with an index, or a folder of Hugging Face with its config.json.

A header in JSON names each tensor's type, shape and bytes; the checks are those of the reference
implementation (github.com/huggingface/safetensors, ``Metadata::validate``): tensors lie one after
the other without holes, and the last ends where the file ends.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from itertools import pairwise
from math import prod
from pathlib import PurePath
from typing import Any

from explorer.formats.containers.shards import config_beside, index_in, is_index, sharded
from explorer.formats.containers.source import LARGEST_READ, Source
from explorer.formats.inferring import MOST_TENSORS, network_of_tensors
from explorer.formats.naming.text import parse_json
from explorer.formats.quantised import unpacked
from explorer.formats.record import Format, UnreadableError
from explorer.network import ByteRange, Lanes, Network, Packing, Weight
from explorer.plain_text import clean

# Bits per element and the name here; complex numbers are no weights.
_DTYPES: dict[str, tuple[int, str]] = {
    "BOOL": (8, "bool"), "U8": (8, "uint8"), "I8": (8, "int8"), "U16": (16, "uint16"),
    "I16": (16, "int16"), "U32": (32, "uint32"), "I32": (32, "int32"), "U64": (64, "uint64"),
    "I64": (64, "int64"), "F16": (16, "float16"), "BF16": (16, "bfloat16"), "F32": (32, "float32"),
    "F64": (64, "float64"), "F8_E4M3": (8, "float8_e4m3fn"), "F8_E5M2": (8, "float8_e5m2"),
    "F8_E8M0": (8, "float8_e8m0fnu"), "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"), "C64": (64, "complex64"), "F4": (4, "float4_e2m1fn"),
    "F6_E2M3": (6, "float6"), "F6_E3M2": (6, "float6"),
}  # fmt: skip
_UNREAD = ("complex64", "float6")
_INDEX = re.compile(r"\.safetensors\.index\.json$")
_SHARD = re.compile(r"^(.*)-\d{5}-of-(\d{5})\.safetensors$")
_LFS = b"version https://git-lfs.github.com/spec/"


def matches(source: Source) -> bool:
    """A header of plausible length that begins like JSON, an index, or a folder with either."""
    if source.is_folder:
        names = source.names()
        return any(_INDEX.search(n) for n in names) or _whole(names) is not None
    return _has_header(source) or is_index(source, b".safetensors")


def _has_header(source: Source) -> bool:
    head = source.pread(0, 9)
    length = int.from_bytes(head[:8], "little")
    return len(head) == 9 and head[8:] == b"{" and 2 <= length <= 1 << 27


def _whole(names: list[str]) -> str | None:
    """The one file of a folder that holds all tensors."""
    found = [n for n in names if n.endswith(".safetensors")]
    usual = [n for n in found if n in ("model.safetensors", "diffusion_pytorch_model.safetensors")]
    return usual[0] if usual else found[0] if len(found) == 1 else None


def read(source: Source) -> Network:
    """The network of a file, an index or a folder."""
    notes: list[str] = []
    index = _index_of(source, notes)
    if index is not None:
        tensors = sharded(source, index, ".safetensors", _tensors)
    else:
        name = _whole(source.names()) if source.is_folder else None
        tensors = _tensors(source if name is None else source.part(name))
    config = config_beside(source, notes)
    tensors = unpacked(source, tensors, config, notes)
    title = PurePath(source.name).stem if not source.is_folder else source.name
    return network_of_tensors(title, "safetensors", tensors, config, notes)


def _index_of(source: Source, notes: list[str]) -> Source | None:
    """The index that tells in which file each tensor lies; ``None`` for a model in one file."""
    shard = None if source.is_folder else _SHARD.match(source.name)
    if shard is None or not _has_header(source):
        return index_in(source, _INDEX, lambda file: not _has_header(file))
    name = f"{shard[1]}.safetensors.index.json"
    if source.has(name):
        return source.part(name)
    notes.append(f"one of {int(shard[2])} files; the index beside it is missing")
    return None


def _tensors(source: Source) -> list[Weight]:
    """The tensors of one file, in the order of their bytes."""
    head = source.pread(0, 64)
    if head.startswith(_LFS):
        raise UnreadableError(f"{source.name} is a Git LFS pointer, not the file; run git lfs pull")
    if len(head) < 10 or head[8:9] != b"{":
        raise UnreadableError(f"{source.name} is not a safetensors file")
    length = struct.unpack_from("<Q", head)[0]
    if length > LARGEST_READ:
        raise UnreadableError(f"{source.name}: its header is impossibly large")
    if 8 + length > source.size:
        raise UnreadableError(_partial(source, 8 + length, "at least "))
    entries = parse_json(source.pread(8, length), f"the header of {source.name}")
    if not isinstance(entries, dict):
        raise UnreadableError(f"{source.name}: its header lists no tensors")
    entries.pop("__metadata__", None)
    if len(entries) > MOST_TENSORS:
        raise UnreadableError(f"{source.name}: its header is impossibly large")
    found = sorted(
        (_entry(source, 8 + length, k, v) for k, v in entries.items()), key=lambda e: e[1]
    )
    bounds = [(8 + length, 8 + length), *((start, stop) for _, start, stop in found)]
    if any(before[1] != after[0] for before, after in pairwise(bounds)):
        raise UnreadableError(f"{source.name}: its tensors overlap or leave holes")
    if bounds[-1][1] > source.size:
        raise UnreadableError(_partial(source, bounds[-1][1]))
    if bounds[-1][1] < source.size:
        raise UnreadableError(f"{source.name}: bytes follow its last tensor")
    return [weight for weight, _, _ in found]


def _partial(source: Source, expected: int, least: str = "") -> str:
    told = f"{expected:,} bytes are expected and {source.size:,} are there".replace(",", " ")
    return f"{source.name} is not complete: {least}{told} (a partial download?)"


def _entry(source: Source, base: int, name: str, entry: Any) -> tuple[Weight, int, int]:
    """A tensor of the header, and where it begins and ends in the file; `base` is behind it."""
    wrong = UnreadableError(f"{source.name}: its header is wrong about {clean(name)!r}")
    if not isinstance(entry, Mapping):
        raise wrong
    code, shape, span = (entry.get(k) for k in ("dtype", "shape", "data_offsets"))
    if not isinstance(shape, list) or not isinstance(span, list) or len(span) != 2:
        raise wrong
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, *span)):
        raise wrong
    if code not in _DTYPES:
        raise UnreadableError(
            f"{source.name}: {clean(name)!r} has the unknown type {clean(code, 20)}"
        )
    bits, dtype = _DTYPES[code]
    if span[0] > span[1] or prod(shape) * bits != 8 * (span[1] - span[0]):
        raise wrong
    start, stop = base + span[0], base + span[1]
    where = None if dtype in _UNREAD else ByteRange(source.path, start, stop - start)
    # Two floats of four bits share a byte, the first in its low bits, as in PyTorch.
    packing = Packing(lanes=Lanes("uint8", 4, prod(shape))) if bits == 4 else None
    return Weight(name, "", tuple(shape), dtype, where, packing), start, stop


FORMAT = Format("safetensors", matches, read)
