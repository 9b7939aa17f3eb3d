"""GGUF, versions 2 and 3, in one file or split over several: the models of llama.cpp.

The header is read here, within bounds: arrays of the vocabulary are skipped, not built. Facts from
the specification (github.com/ggml-org/ggml, ``docs/gguf.md``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from math import prod
from pathlib import PurePath
from typing import Any

from explorer.formats.containers.source import Source, View
from explorer.formats.inferring import MOST_TENSORS, network_of_tensors
from explorer.formats.record import Format, UnreadableError
from explorer.network import ByteRange, Network, Weight
from explorer.plain_text import clean
from explorer.weights.codecs.ggml import BLOCKS

MAGIC = b"GGUF"
MOST_KEYS, MOST_TEXTS = 100_000, 10_000_000
LONGEST_TEXT, LONGEST_NAME = 64 << 20, 1000
_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
_PLAIN = {"F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
          "F64": ("float64", 8), "I8": ("int8", 1), "I16": ("int16", 2), "I32": ("int32", 4),
          "I64": ("int64", 8)}  # fmt: skip
# Elements and bytes of a block of the types whose numbers are not decoded.
_PACKED = {"Q8_1": (32, 40), "Q8_K": (256, 292), "Q1_0": (128, 18)}
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_TEXT, _ARRAY = 8, 9
_SPLIT = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")
# Keys of the configuration in the words of config.json, which inference knows.
_KEYS = {"attention.head_count": "num_attention_heads", "block_count": "num_hidden_layers",
         "attention.head_count_kv": "num_key_value_heads", "embedding_length": "hidden_size",
         "expert_count": "num_local_experts"}  # fmt: skip


def matches(source: Source) -> bool:
    """The magic number; or a folder with the parts of one split model in it."""
    if source.is_folder:
        return len(_models(source.names())) == 1
    return source.pread(0, 4) == MAGIC


def _models(names: list[str]) -> set[tuple[str, str]]:
    """Name and number of parts of the split models among some files."""
    found = {(m[1], m[3]) for name in names if (m := _SPLIT.match(name))}
    whole = [n for n in names if n.endswith(".gguf") and not _SPLIT.match(n)]
    return found if not whole else set()


def read(source: Source) -> Network:
    """The network of a file, of a split model by any of its parts, or of a folder with one."""
    files, notes = _files(source)
    config: dict[str, Any] = {}
    tensors: dict[str, Weight] = {}
    for file in files:
        header = _Header(file)
        config = {**header.keys, **config}
        for weight in header.tensors:
            if tensors.setdefault(weight.name, weight) is not weight:
                raise UnreadableError(f"{file.name} holds {clean(weight.name)!r} a second time")
    name = config.get("general.name")
    kind = str(config.get("general.architecture", ""))
    told = {new: config[f"{kind}.{old}"] for old, new in _KEYS.items() if f"{kind}.{old}" in config}
    words: Mapping[str, Any] = {**told, "model_type": kind, "architectures": ["CausalLM"]}
    title = name if isinstance(name, str) and name.strip() else PurePath(source.name).stem
    return network_of_tensors(title, "gguf", list(tensors.values()), words, notes)


def _files(source: Source) -> tuple[list[Source], list[str]]:
    """All parts of a split model, in order; else the file alone."""
    if source.is_folder:
        ((stem, count),) = _models(source.names())
        names = [f"{stem}-{i + 1:05}-of-{count}.gguf" for i in range(int(count))]
        return [source.part(name) for name in names], []
    split = _SPLIT.match(source.name)
    if split is None or int(split[3]) < 2:
        return [source], []
    names = [f"{split[1]}-{i + 1:05}-of-{split[3]}.gguf" for i in range(int(split[3]))]
    missing = [name for name in names if name != source.name and not source.has(name)]
    if missing:
        return [source], [f"one of {int(split[3])} files; {missing[0]} beside it is missing"]
    return [source if name == source.name else source.part(name) for name in names], []


class _Header:
    """Keys and tensors of one file."""

    def __init__(self, source: Source) -> None:
        self._source, self._view = source, source.view()
        magic, version = self._unpack("4sI")
        if magic != MAGIC:
            raise UnreadableError(f"{source.name} is not a GGUF file")
        if version in (0x02000000, 0x03000000):
            raise UnreadableError(f"{source.name} is a GGUF file of a big-endian machine")
        if version not in (2, 3):
            raise UnreadableError(f"{source.name} is a GGUF file of version {version}: 2 and 3"
                                  " are read")  # fmt: skip
        tensors, keys = self._unpack("QQ")
        if tensors > MOST_TENSORS or keys > MOST_KEYS:
            raise UnreadableError(f"{source.name}: its header is impossibly large")
        self.keys = dict(self._key() for _ in range(keys))
        listed = [self._tensor() for _ in range(tensors)]
        align = self.keys.get("general.alignment", 32)
        if type(align) is not int or not 0 < align <= 1 << 20 or align & (align - 1):
            raise UnreadableError(f"{source.name}: its alignment is impossible")
        start = -(-self._view.tell() // align) * align
        self.tensors = [self._placed(entry, start) for entry in listed]
        self._check_places()

    def _unpack(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + form)
        data = self._view.read(size)
        if len(data) < size:
            raise UnreadableError(f"{self._source.name} is cut off within its header"
                                  " (a partial download?)")  # fmt: skip
        return struct.unpack("<" + form, data)

    def _text(self, longest: int = LONGEST_TEXT) -> str:
        (length,) = self._unpack("Q")
        if length > longest:
            raise UnreadableError(f"{self._source.name}: a text in its header is impossibly long")
        (data,) = self._unpack(f"{length}s")
        return bytes(data).decode("utf-8", "replace")

    def _key(self) -> tuple[str, Any]:
        name = self._text(LONGEST_NAME)
        (kind,) = self._unpack("I")
        if kind == _TEXT:
            return name, self._text()
        if kind in _NUMBERS:
            return name, self._unpack(_NUMBERS[kind])[0]
        if kind != _ARRAY:
            raise UnreadableError(f"{self._source.name}: {clean(name)!r} is of no known type")
        inner, count = self._unpack("IQ")
        self._skip(name, inner, count)
        return name, None

    def _skip(self, name: str, inner: int, count: int) -> None:
        """Pass over an array: what is in it is not needed here."""
        view, room = self._view, self._source.size - self._view.tell()
        if inner in _NUMBERS:
            size = count * struct.calcsize("<" + _NUMBERS[inner])
            if size <= room:
                view.seek(view.tell() + size)
                return
        elif inner == _TEXT and count <= min(MOST_TEXTS, room // 8):
            _skip_texts(view, count)
            return
        raise UnreadableError(f"{self._source.name}: the array {clean(name)!r} is impossible")

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text(LONGEST_NAME)
        (rank,) = self._unpack("I")
        if rank > 8:
            raise UnreadableError(f"{self._source.name}: {clean(name)!r} has {rank} axes")
        shape = self._unpack(f"{rank}Q")
        kind, offset = self._unpack("IQ")
        return name, tuple(reversed(shape)), kind, offset

    def _placed(self, entry: tuple[str, tuple[int, ...], int, int], start: int) -> Weight:
        name, shape, code, offset = entry
        kind = _TYPES.get(code)
        if kind is None:
            raise UnreadableError(
                f"{self._source.name}: {clean(name)!r} is of a type ({code}) that is not known"
            )
        dtype, nbytes = _PLAIN.get(kind, (kind, 0))
        elements = 1
        if kind not in _PLAIN:
            elements, nbytes = (
                _PACKED[kind] if kind in _PACKED else (BLOCKS[kind].elements, BLOCKS[kind].nbytes)
            )
        size = prod(shape)
        if size >= 1 << 62 or (shape and shape[-1] % elements):
            raise UnreadableError(f"{self._source.name}: {clean(name)!r} has an impossible shape")
        length, at = size // elements * nbytes, start + offset
        if at + length > self._source.size:
            told = f"{at + length:,} bytes are expected and {self._source.size:,} are there"
            raise UnreadableError(
                f"{self._source.name} is not complete: at least {told.replace(',', ' ')}"
                " (a partial download?)"
            )
        where = ByteRange(self._source.path, at, length)
        return Weight(name, "", shape, dtype, None if kind in _PACKED else where)

    def _check_places(self) -> None:
        spans = sorted((w.where.offset, w.where.offset + w.where.nbytes, w.name)
                       for w in self.tensors if isinstance(w.where, ByteRange))  # fmt: skip
        end = 0
        for first, stop, name in spans:
            if first < end:
                raise UnreadableError(f"{self._source.name}: {clean(name)!r} overlaps another")
            end = stop


def _skip_texts(view: View, count: int) -> None:
    """Pass over texts, each after its length."""
    unpack = struct.Struct("<Q").unpack
    for _ in range(count):
        data = view.read(8)
        if len(data) < 8:
            raise UnreadableError("the file is cut off within its header (a partial download?)")
        view.seek(view.tell() + unpack(data)[0])
        if view.tell() > view.length:
            raise UnreadableError("a text in the header reaches beyond the end of the file")


FORMAT = Format("gguf", matches, read)
