"""Pickles of PyTorch, read without running anything they name.

A pickle is a program that may call whatever it can name. Here it can name nothing: the few
functions that make tensors and plain containers are stood in for, every other name is an inert
object that remembers what was done to it. The pure Python unpickler is used because the compiled
one allocates as much memory as a file's memo index says.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

LARGEST = 64 << 20
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "UntypedStorage": "uint8", "Float8_e4m3fnStorage": "float8_e4m3fn",
    "Float8_e5m2Storage": "float8_e5m2", "QInt8Storage": "int8", "QUInt8Storage": "uint8",
    "QInt32Storage": "int32", "ComplexFloatStorage": "complex64",
}  # fmt: skip
_DTYPES = frozenset(_STORAGES.values()) | {
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "uint16", "uint32", "uint64",
}  # fmt: skip
# Names of PyTorch's types that are not numpy's.
_PLAIN = {"double": "float64", "float": "float32", "half": "float16", "long": "int64",
          "int": "int32", "short": "int16"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that tensors share.

    Attributes
    ----------
    key : str
        Under which the file holds them.
    dtype : str
        Of the elements, unless a tensor says otherwise.
    size : int
        Elements of that type.
    """

    key: str
    dtype: str
    size: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the pickle tells it.

    Attributes
    ----------
    storage : Storage
    offset : int
        Of its first element in the storage, in elements.
    shape, strides : tuple of int
        In elements.
    dtype : str
    packed : bool
        Whether its elements are codes of a quantised tensor whose scales are not read.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    packed: bool = False


class Inert:
    """Whatever a pickle names that is not known: it can be called and filled, and does nothing.

    Attributes
    ----------
    called : str
        The name in the pickle.
    state : object
        What it was filled with.
    """

    called = ""

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Whatever it is called with is left aside."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        self.state: Any = None
        self.items: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """For what a pickle takes for a list."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """For what a pickle takes for a list."""
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))


def _inert(name: str) -> type[Inert]:
    return type("Inert", (Inert,), {"called": name})


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
    return _tensor(storage, offset, shape, strides, getattr(storage, "dtype", ""))


def _rebuilt_typed(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    dtype = rest[2] if len(rest) > 2 and isinstance(rest[2], str) else ""
    return _tensor(storage, offset, shape, strides, dtype)


def _rebuilt_quantised(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
    return _tensor(storage, offset, shape, strides, getattr(storage, "dtype", ""), True)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str,
            packed: bool = False) -> Any:  # fmt: skip
    lists = isinstance(shape, (tuple, list)) and isinstance(strides, (tuple, list))
    if not isinstance(storage, Storage) or not lists or len(shape) != len(strides):
        return _inert("tensor")()
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides)):
        return _inert("tensor")()
    return Tensor(storage, offset, tuple(shape), tuple(strides), dtype, packed)


def _first(*args: Any) -> Any:
    """A parameter is the tensor in it."""
    return args[0] if args else None


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuilt_typed,
    ("torch._utils", "_rebuild_qtensor"): _rebuilt_quantised,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda *a: a[0](*a[2]) if len(a) > 2 else None,
    ("torch", "Size"): tuple,
    ("torch.jit._pickle", "build_intlist"): list,
    ("torch.jit._pickle", "build_tensorlist"): list,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}


class _Unpickler(pickle._Unpickler):
    """Names lead to stand-ins alone; storages are told, not loaded."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module.startswith("torch") and name in _STORAGES:
            return Storage("", _STORAGES[name], 0)
        if module == "torch" and _PLAIN.get(name, name) in _DTYPES:
            return _PLAIN.get(name, name)
        return _inert(f"{module}.{name}"[:200])

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            return _inert("persistent")()
        kind, key, _, size = pid[1:5]
        if not isinstance(kind, Storage) or type(size) is not int or not 0 <= size < 1 << 62:
            raise UnreadableError("its pickle names an impossible storage")
        return Storage(str(key), kind.dtype, size)


def unpickle(file: BinaryIO) -> Any:
    """What a pickle holds, with stand-ins for everything that is not plain data or a tensor.

    Raises
    ------
    UnreadableError
        If it is no sound pickle.
    """
    try:
        return _Unpickler(file, encoding="utf-8").load()
    except (UnreadableError, MemoryError, RecursionError):
        raise
    except Exception as error:
        if isinstance(error, EOFError) or "truncated" in str(error):
            raise UnreadableError("its pickle is cut off (a partial download?)") from None
        told = f"{type(error).__name__}: {clean(error, 80)}"
        raise UnreadableError(f"its pickle is damaged ({told})") from None


def tensors_in(found: Any, most: int = 1_000_000) -> dict[str, Tensor]:
    """Tensors by the names under which a pickle holds them, joined by dots.

    Of a checkpoint with more than the model in it, an optimiser or averages, the model alone: the
    part with a usual name, else the one with the most tensors.

    Parameters
    ----------
    found : object
        As from `unpickle`: a dict of tensors, one of such dicts, or a module.
    most : int
    """
    parts: dict[str, dict[str, Tensor]] = {"": {}}
    inner = _inside(found)
    direct = any(isinstance(value, Tensor) for value in inner.values())
    if not direct and isinstance(found, dict):
        for key, value in inner.items():
            flat = _flat(value, most)
            if flat:
                parts[key] = flat
        usual = [k for k in ("state_dict", "model_state_dict", "model", "module", "net", "params")
                 if k in parts]  # fmt: skip
        key = usual[0] if usual else max(parts, key=lambda k: len(parts[k]))
        known = usual or len([p for p in parts.values() if p]) == 1
        return parts[key] if known or _like_state(parts[key]) else _flat(found, most)
    return _flat(found, most)


def _like_state(flat: dict[str, Tensor]) -> bool:
    return any(name.rsplit(".", 1)[-1] in ("weight", "bias") for name in flat)


def _inside(found: Any) -> dict[str, Any]:
    """Named things directly in an object."""
    if isinstance(found, dict):
        return {str(k): v for k, v in found.items() if isinstance(k, (str, int))}
    if isinstance(found, Inert) and isinstance(found.state, dict):
        state = {str(k): v for k, v in found.state.items()}
        inner: dict[str, Any] = {}
        for group in ("_parameters", "_buffers", "_modules"):  # of a module
            if isinstance(state.get(group), dict):
                inner.update({str(k): v for k, v in state[group].items()})
        return inner or state
    if isinstance(found, Inert) and found.items:
        pairs = [i for i in found.items if isinstance(i, tuple) and len(i) == 2]
        return {str(k): v for k, v in pairs}
    if isinstance(found, (list, tuple)):
        return {str(i): v for i, v in enumerate(found)}
    return {}


def _flat(found: Any, most: int) -> dict[str, Tensor]:
    """All tensors inside, however deep, by their path; an object that occurs twice counts once."""
    flat: dict[str, Tensor] = {}
    if isinstance(found, Tensor):
        return {"tensor": found}
    work = [("", found)]
    seen: set[int] = set()
    while work:
        name, value = work.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        later = []
        for key, inner in _inside(value).items():
            path = f"{name}.{key}" if name else key
            if isinstance(inner, Tensor):
                flat[path] = inner
            elif isinstance(inner, (dict, list, tuple, Inert)) and len(path) < 2000:
                later.append((path, inner))
        work += reversed(later)
        if len(flat) > most or len(seen) > 4 * most:
            raise UnreadableError("its pickle holds too many things")
    return flat
