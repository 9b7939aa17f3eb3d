"""HDF5 files read without libhdf5: groups, attributes, and where each dataset's bytes lie.

`pyfive` (pure Python, BSD) decodes the structures; this file decides what is allowed. Links that
lead out of the tree, datasets whose bytes lie in another file, and sizes that the file cannot hold
are refused or left without bytes, for each of them has been a way to read other people's files or
to exhaust memory (CVE-2026-1669, CVE-2026-0897). See "HDF5 File Format Specification Version 3.0".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any

from explorer.formats.containers.hdf5_header import CONTINUATION, header_class
from explorer.formats.containers.source import View
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Chunks
from explorer.plain_text import clean

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 2**64 - 1
MOST_OBJECTS = 400_000
MOST_CHUNKS = 200_000
_DATASPACE, _DATATYPE, _EXTERNAL_FILES, _LAYOUT = 0x01, 0x03, 0x07, 0x08
_FILTERS = {1: "deflate", 2: "shuffle"}


def find_signature(view: View) -> int | None:
    """Where the superblock begins: at 0, 512, 1024, 2048, …, or ``None``."""
    at = 0
    while at + 8 <= view.length:
        view.seek(at)
        if view.read(8) == SIGNATURE:
            return at
        at = at * 2 or 512
    return None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dataset: its shape, element type and place.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        Numpy name, ``"bfloat16"``, or ``""`` for elements that are not numbers.
    where : ByteRange or Chunks or None
    problem : str
        Why `where` is ``None``; empty otherwise.
    """

    shape: tuple[int, ...]
    dtype: str
    where: ByteRange | Chunks | None
    problem: str = ""


class Hdf5:
    """An HDF5 file inside a view.

    Parameters
    ----------
    view : View
        From the start of the HDF5 file (it may lie inside an archive).

    Raises
    ------
    UnreadableError
        When there is no HDF5 file of a known version in the view.
    """

    def __init__(self, view: View) -> None:
        from pyfive.misc_low_level import SuperBlock

        start = find_signature(view)
        if start is None:
            raise UnreadableError("not an HDF5 file")
        self.view = view
        block = SuperBlock(view, start)
        base = int(block._contents["base_address"])
        if base:
            if base != start:
                raise UnreadableError("the HDF5 file is damaged (base address)")
            self.view = View(view.source, view.start + base, view.length - base)
            block = SuperBlock(self.view, 0)
        end, there = int(block._contents["end_of_file_address"]), self.view.length
        if end > there:
            told = f"{end:,} bytes are expected and {there:,} are there".replace(",", " ")
            raise UnreadableError(f"the HDF5 file is truncated: {told} (a partial download?)")
        self._objects = 0
        self._heaps: dict[int, Any] = {}
        self._header = header_class()
        self.elements: dict[bytes, tuple[str, int, str]] = {}
        self.root = self.object_at(int(block.offset_to_dataobjects), "")

    def object_at(self, address: int, name: str) -> Node:
        """The group or dataset whose header begins at `address`."""
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise UnreadableError("the HDF5 file holds too many objects")
        try:
            header = self._header(self.view, address, global_heaps=self._heaps)
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:
            raise damaged(name, error) from None
        return Node(self, name, address, header)

    def absolute(self, address: int, nbytes: int) -> ByteRange | None:
        """The run of bytes at an HDF5 address, or ``None`` where it leaves the file."""
        if nbytes < 0 or address < 0 or address + nbytes > self.view.length:
            return None
        return ByteRange(self.view.source.path, self.view.start + address, nbytes)


def damaged(name: str, error: BaseException) -> UnreadableError:
    """The error for a structure that cannot be decoded."""
    what = f"{type(error).__name__}: {clean(error, 80)}" if str(error) else type(error).__name__
    return UnreadableError(
        f"the HDF5 file is truncated or damaged at {clean(name or '/')!r} ({what})"
    )


class Node:
    """A group or a dataset.

    Attributes
    ----------
    name : str
        Path from the root of the HDF5 file, without a leading ``/``.
    address : int
    is_dataset : bool
    """

    def __init__(self, file: Hdf5, name: str, address: int, header: Any) -> None:
        self.file, self.name, self.address = file, name, address
        self._header = header
        self.is_dataset = any(message["type"] == _DATASPACE for message in header.msgs)
        self._links: dict[str, int] | None = None
        self._children: dict[str, Node] = {}
        self._attributes: dict[str, Any] | None = None

    @property
    def links(self) -> dict[str, int]:
        """Names and addresses of what the group holds; empty for a dataset."""
        if self._links is None:
            self._links = {}
            if not self.is_dataset:
                try:
                    found = list(self._header.iter_links())
                except (UnreadableError, MemoryError):
                    raise
                except Exception as error:
                    raise damaged(self.name, error) from None
                for name, target in found:
                    if not isinstance(target, int):
                        raise UnreadableError(
                            f"{clean(name)!r} is an HDF5 soft link, which is not followed"
                        )
                    if name in self._links:
                        raise UnreadableError(
                            f"the HDF5 file names {clean(name)!r} twice in one group"
                        )
                    self._links[name] = target
        return self._links

    def __contains__(self, name: str) -> bool:
        return name in self.links

    def child(self, name: str) -> Node | None:
        """What the group holds under a name or a path of names, or ``None``."""
        head, _, rest = name.partition("/")
        if head not in self.links:
            return None
        if head not in self._children:
            path = f"{self.name}/{head}" if self.name else head
            self._children[head] = self.file.object_at(self.links[head], path)
        node = self._children[head]
        return node.child(rest) if rest else node

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes as numpy values or bytes."""
        if self._attributes is None:
            try:
                self._attributes = dict(self._header.get_attributes())
            except (UnreadableError, MemoryError):
                raise
            except Exception as error:
                raise damaged(self.name, error) from None
        return self._attributes

    def text(self, name: str) -> str | None:
        """A text attribute, or ``None``."""
        value = self.attributes.get(name)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> list[str] | None:
        """A list of texts, also where it is split over ``name0``, ``name1``, …; or ``None``."""
        if name in self.attributes:
            return _texts(self.attributes[name])
        if f"{name}0" not in self.attributes:
            return None
        result: list[str] = []
        part = 0
        while f"{name}{part}" in self.attributes:
            result += _texts(self.attributes[f"{name}{part}"])
            part += 1
        return result

    def tensor(self) -> Tensor:
        """Shape, type and place of a dataset.

        Raises
        ------
        UnreadableError
            When its bytes lie in another file, or its header cannot be decoded.
        """
        try:
            return self._tensor()
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:
            raise damaged(self.name, error) from None

    def _tensor(self) -> Tensor:
        header = self._header
        if header.find_msg_type(_EXTERNAL_FILES):
            raise UnreadableError(
                f"{clean(self.name)!r} keeps its data in another file, which is not read"
            )
        _, layout, at = header.get_id_storage_params()
        if layout == 3:
            raise UnreadableError(f"{clean(self.name)!r} is a virtual dataset, which is not read")
        shape = header.shape
        if shape is None or len(shape) > 32 or prod(shape) >= 2**62:
            raise UnreadableError(f"{clean(self.name)!r} has an impossible shape")
        shape = tuple(int(n) for n in shape)
        dtype, size, problem = self._element()
        if not dtype:
            return Tensor(shape, "", None, problem)
        nbytes = prod(shape) * size
        where: ByteRange | Chunks | None = None
        if layout == 0:
            where = self._compact(at, nbytes)
        elif layout == 1:
            (address,) = struct.unpack_from("<Q", header.msg_data, at)
            if address == UNDEFINED and nbytes:
                raise UnreadableError(
                    f"{clean(self.name)!r} is said to have shape {shape}, but no data"
                )
            where = self.file.absolute(0 if not nbytes else address, nbytes)
        else:
            where, problem = self._chunked(shape, size)
            if problem:
                return Tensor(shape, dtype, None, problem)
        if where is None:
            raise UnreadableError(
                f"{clean(self.name)!r} of shape {shape} reaches past the end of the file "
                "(truncated or damaged)"
            )
        return Tensor(shape, dtype, where)

    def _element(self) -> tuple[str, int, str]:
        """Name and size in bytes of the element type, or the reason why it is not numbers."""
        message = self._header.find_msg_type(_DATATYPE)[0]
        at = message["offset_to_message"]
        key = bytes(self._header.msg_data[at : at + message["size"]])
        found = self.file.elements.get(key)
        if found is None:
            found = self._new_element()
            if found[0] not in ("", "bfloat16"):  # an attribute tells these apart
                self.file.elements[key] = found
        return found

    def _new_element(self) -> tuple[str, int, str]:
        try:
            dtype = self._header.ptype.dtype
        except NotImplementedError:
            return "", 0, "elements of a kind that is not read"
        if dtype.kind == "V" and dtype.itemsize == 2 and self.text("dtype") == "bfloat16":
            return "bfloat16", 2, ""
        if dtype.kind not in "fiub" or dtype.names:
            return "", 0, "elements that are not numbers"
        if dtype.byteorder == ">":
            return "", 0, "elements in big-endian order"
        return str(dtype.newbyteorder("=").name), int(dtype.itemsize), ""

    def _compact(self, at: int, nbytes: int) -> ByteRange | None:
        """Bytes kept inside the object header, found again in the file block by block."""
        header = self._header
        start = at + 2
        if struct.unpack_from("<H", header.msg_data, at)[0] < nbytes:
            return None
        wanted = header.msg_data[start : start + nbytes]
        for logical, address, length in self._header_blocks():
            if logical <= start and start + nbytes <= logical + length:
                self.file.view.seek(address + start - logical)
                if self.file.view.read(nbytes) == wanted:
                    return self.file.absolute(address + start - logical, nbytes)
        return None

    def _header_blocks(self) -> list[tuple[int, int, int]]:
        """(position in the joined messages, HDF5 address, length) of each block of the header."""
        header = self._header
        if "signature" in header._header:
            flags, extra = header._header["flags"], 4
            head = 6 + (16 if flags & 32 else 0) + (1 << (flags & 3))
            first = int(header._header["size_of_chunk_0"])
        else:
            head, extra, first = 16, 0, int(header._header["object_header_size"])
        blocks = [(0, self.address + head, first)]
        done = first
        for message in header.msgs:
            if message["type"] == CONTINUATION:
                at = message["offset_to_message"]
                address, length = struct.unpack_from("<QQ", header.msg_data, at)
                blocks.append((done, address + extra, length - extra))
                done += length - extra
        return blocks

    def _chunked(self, shape: tuple[int, ...], size: int) -> tuple[Chunks | None, str]:
        from pyfive.h5d import DatasetID

        header = self._header
        if header.msg_data[header.find_msg_type(_LAYOUT)[0]["offset_to_message"]] > 3:
            return None, "a chunk index of a newer kind, which is not read"
        pipeline = header.filter_pipeline or []
        ids = [int(step["filter_id"]) for step in pipeline]
        unknown = [i for i in ids if i not in _FILTERS]
        if unknown:
            return None, f"compressed with HDF5 filter {unknown[0]}, which is not read"
        chunk = tuple(int(n) for n in header.chunks)
        if len(chunk) != len(shape) or min(chunk, default=1) < 1 or prod(chunk) * size > 2**31:
            return None, "chunks of an impossible size"
        expected = prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        if expected > MOST_CHUNKS:
            return None, "too many chunks"
        index = DatasetID(header, noindex=False).index if expected else {}
        pieces = []
        for start, info in sorted(index.items()):
            where = self.file.absolute(int(info.byte_offset), int(info.size))
            if where is None:
                return None, "a chunk that reaches past the end of the file"
            if info.filter_mask:
                return None, "chunks that are filtered one by one"
            pieces.append((tuple(int(n) for n in start), where))
        if len(pieces) != expected:
            return None, "chunks that the file does not hold"
        return Chunks(chunk, tuple(pieces), tuple(_FILTERS[i] for i in ids)), ""


def _texts(value: Any) -> list[str]:
    items = list(value.ravel()) if hasattr(value, "ravel") else [value]
    return [
        item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items
    ]
