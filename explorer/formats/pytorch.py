"""PyTorch's ``.pt``, ``.pth`` and ``.bin``: state dicts, whole modules and TorchScript, as tensors.

Since 1.6 a file is a zip archive with a pickle that tells the tensors and one member per storage;
before, it was five pickles and the storages one after the other. Nothing that a pickle names is
run: see `explorer.formats.containers.pickles`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from math import prod
from pathlib import PurePath
from typing import Any, BinaryIO, cast

from explorer.formats.containers.archive import Archive, is_zip, of_pytorch
from explorer.formats.containers.pickles import Storage, Tensor, tensors_in, unpickle
from explorer.formats.containers.shards import config_beside, index_in, is_index, sharded
from explorer.formats.containers.source import LARGEST_READ, Source
from explorer.formats.inferring import network_of_tensors
from explorer.formats.quantised import unpacked
from explorer.formats.record import Format, UnreadableError
from explorer.network import ByteRange, Network, Weight
from explorer.plain_text import clean
from explorer.weights.codecs.kinds import PLAIN

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_INDEX = re.compile(r"\.bin\.index\.json$")
_BITS = {"bool": 8, "bfloat16": 16, "complex64": 64}

Place = Callable[[Storage], tuple[int, int]]
"""Where the bytes of a storage begin in the file, and how many there are."""


def matches(source: Source) -> bool:
    """An archive or a pickle of PyTorch, an index of such files, or a folder with one."""
    if source.is_folder:
        names = source.names()
        found = any(_INDEX.search(n) for n in names) or "pytorch_model.bin" in names
        return found and not any(n.endswith(".safetensors") for n in names)
    if is_zip(source):
        return of_pytorch(source) and not _exported(source)
    return source.pread(0, len(_LEGACY)) == _LEGACY or is_index(source, b".bin")


def _exported(source: Source) -> bool:
    """Whether an archive is one of ``torch.export``, which holds a graph too."""
    try:
        marks = ("/archive_format", "serialized_exported_program.json")
        return any(name.endswith(marks) for name in Archive(source).members)
    except UnreadableError:
        return False


def read(source: Source) -> Network:
    """The network of a file, an index or a folder."""
    notes: list[str] = []
    index = index_in(source, _INDEX, lambda s: is_index(s, b".bin"))
    if index is not None:
        tensors = sharded(source, index, ".bin", lambda part: _tensors(part, notes))
    else:
        file = source.part("pytorch_model.bin") if source.is_folder else source
        tensors = _tensors(file, notes)
    title = source.name if source.is_folder else PurePath(source.name).stem
    config = config_beside(source, notes)
    tensors = unpacked(source, tensors, config, notes)
    return network_of_tensors(title, "pytorch", tensors, config, notes)


def _tensors(source: Source, notes: list[str]) -> list[Weight]:
    """The tensors of one file."""
    if is_zip(source):
        found, place = _of_archive(source)
    elif source.pread(0, len(_LEGACY)) == _LEGACY:
        found, place = _of_legacy(source)
    else:
        raise UnreadableError(f"{source.name} is not a file of PyTorch")
    tensors = tensors_in(found)
    if not tensors:
        raise UnreadableError(f"{source.name} holds no tensors")
    unread = [name for name, tensor in tensors.items() if not _plain(tensor)]
    if unread:
        notes.append(f"{len(unread)} tensors are quantised, turned or of a type that is not read: "
                     f"{clean(unread[0])}{', …' if len(unread) > 1 else ''}")  # fmt: skip
    return [_weight(source, name, tensor, place) for name, tensor in tensors.items()]


def _plain(tensor: Tensor) -> bool:
    """Whether a tensor lies in the file as numbers in C order."""
    step = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if length > 1 and stride != step:
            return False
        step *= length
    return not tensor.packed and tensor.dtype != "complex64"


def _size(dtype: str) -> int:
    if dtype in PLAIN:
        digits = re.sub(r"\D", "", dtype)
        return int(digits) // 8 if digits else 1
    return 2 if dtype == "bfloat16" else 8 if dtype == "complex64" else 1


def _weight(source: Source, name: str, tensor: Tensor, place: Place) -> Weight:
    start, room = place(tensor.storage)
    each, count = _size(tensor.dtype), prod(tensor.shape)
    extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if count and (tensor.offset + extent) * each > room:
        raise UnreadableError(f"{source.name}: {clean(name)!r} reaches beyond its storage")
    where = ByteRange(source.path, start + tensor.offset * each, count * each)
    return Weight(name, "", tensor.shape, tensor.dtype, where if _plain(tensor) else None)


def _of_archive(source: Source) -> tuple[Any, Place]:
    archive = Archive(source)
    pickles = sorted((n for n in archive.members if n.endswith("/data.pkl")), key=len)
    if not pickles:
        raise UnreadableError(f"{source.name} is a zip archive, but not one of PyTorch")
    root = pickles[0].removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in archive.members and archive.text(order).strip() == b"big":
        raise UnreadableError(f"{source.name} was written on a big-endian machine")

    def place(storage: Storage) -> tuple[int, int]:
        name = f"{root}data/{storage.key}"
        if name not in archive.members:
            raise UnreadableError(f"{source.name} holds no {clean(name)}")
        start, length = archive.stored(name)
        if storage.size * _size(storage.dtype) > length:
            raise UnreadableError(f"{source.name}: {clean(name)} is shorter than its tensors")
        return start, length

    return unpickle(cast(BinaryIO, io.BytesIO(archive.text(pickles[0])))), place


def _of_legacy(source: Source) -> tuple[Any, Place]:
    """Magic number, version, facts of the machine, the object, keys of storages; the storages."""
    file = io.BytesIO(source.pread(0, min(source.size, LARGEST_READ)))
    unpickle(file)
    unpickle(file)
    machine = unpickle(file)
    if isinstance(machine, Mapping) and machine.get("little_endian") is False:
        raise UnreadableError(f"{source.name} was written on a big-endian machine")
    found, keys = unpickle(file), unpickle(file)
    sizes: dict[str, int] = {}
    for tensor in tensors_in(found).values():
        sizes[tensor.storage.key] = _size(tensor.storage.dtype)
    places: dict[str, tuple[int, int]] = {}
    at = file.tell()
    for key in keys if isinstance(keys, list) else ():
        count = int.from_bytes(source.pread(at, 8), "little")
        length = count * sizes.get(str(key), 0)
        if str(key) not in sizes or at + 8 + length > source.size:
            break  # storages of what is no model, an optimiser, may follow
        places[str(key)] = (at + 8, length)
        at += 8 + length

    def place(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            raise UnreadableError(
                f"{source.name} is cut off within its tensors (a partial download?)"
            )
        return places[storage.key]

    return found, place


FORMAT = Format("pytorch", matches, read)
