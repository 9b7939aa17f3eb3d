"""What a model file holds: scopes, layers, links and weights whose bytes are not yet read.

Everything here is plain, frozen data. A format produces one `Network`; nothing that comes later
changes it. Shapes carry the batch axis as their first entry; an unknown length is ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A run of bytes in a file: where a tensor lies, uncompressed, in C order, little endian.

    `file` is an absolute path; `offset` and `nbytes` are checked against its size by the reader of
    a format.
    """

    file: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Chunks:
    """A tensor stored as a regular grid of separately filtered pieces (chunked HDF5).

    Attributes
    ----------
    shape : tuple of int
        Elements per chunk; those at the upper edge are stored whole.
    pieces : tuple of (tuple of int, ByteRange)
        Index of a chunk's first element in the tensor, and its bytes as stored.
    filters : tuple of str
        What was applied when writing, in order: ``"shuffle"``, ``"deflate"``.
    """

    shape: tuple[int, ...]
    pieces: tuple[tuple[tuple[int, ...], ByteRange], ...]
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pieces:
    """A tensor whose bytes lie in several runs, one after the other.

    Joined they are what a `ByteRange` would hold; elements may begin in one and end in the next.
    """

    parts: tuple[ByteRange, ...]

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return sum(part.nbytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Inline:
    """A small tensor that the file does not hold as a `ByteRange` would; `data` is what would."""

    data: bytes

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return len(self.data)


Where = ByteRange | Chunks | Pieces | Inline


@dataclass(frozen=True, slots=True)
class Lanes:
    """Several codes in one stored word, the first in its lowest bits.

    Codes ``[outer, position, inner]`` lie in words ``[outer, position // n, inner]``, `n` codes in
    a word; the last word of a line is padded where `length` is no multiple of `n`.

    Attributes
    ----------
    word : str
        Numpy name of the integers in the file, for example ``"uint8"``.
    bits, length : int
        Per code, which divides those of a word; and codes along the packed axis.
    inner : int
        Codes from one position of that axis to the next: 1 where it is the last one.
    order : tuple of int
        Of each position of a word, which lane holds it, 0 the lowest bits; empty for 0, 1, 2, …
    shift : int
        Added to each code, modulo the codes there are, before its sign is looked at.
    """

    word: str
    bits: int
    length: int
    inner: int = 1
    order: tuple[int, ...] = ()
    shift: int = 0

    @property
    def codes(self) -> int:
        """Codes in a word."""
        return np.dtype(self.word).itemsize * 8 // self.bits


@dataclass(frozen=True, slots=True)
class TableAxis:
    """One axis of a tensor of codes, as the tables of scales and zero points see it.

    Attributes
    ----------
    length : int
        Positions along it.
    block : int
        Neighbouring positions that share an entry.
    step : int
        Entries of the table from one block to the next; 0 where the whole axis shares one.
    index : Weight or None
        The block of each position, where blocks are no runs (``g_idx``); then `block` is 1.
    """

    length: int
    block: int = 1
    step: int = 0
    index: Weight | None = None


@dataclass(frozen=True, slots=True)
class Packing:
    """How the codes in the file become numbers: ``(code - zero) * scale``, or ``/ scale``.

    That times `gain` plus `offset`, each rounded to float32, is the number.

    Attributes
    ----------
    scale, zero : Weight or None
        Tables, of numbers or of codes themselves; the entry of a code is the sum over `axes` of
        ``position // block * step``, counted in C order.
    divide : bool
    axes : tuple of TableAxis
        Lengths multiply to the number of codes, which lie in C order; they need not be those of
        the tensor's shape. Empty without a scale.
    lanes : Lanes or None
        Where several codes share a word of the file.
    levels : Weight or None
        The numbers that codes stand for, where not themselves; unsigned codes count from 0.
    gain, offset : float
    turned : bool
        Whether a matrix lies in the file column by column: its codes, and `axes`, have the last
        axis of the shape first.
    told : str
        What people call this kind of code: ``"int4 (GPTQ)"``.
    """

    scale: Weight | None = None
    zero: Weight | None = None
    divide: bool = False
    axes: tuple[TableAxis, ...] = ()
    lanes: Lanes | None = None
    levels: Weight | None = None
    gain: float = 1.0
    offset: float = 0.0
    turned: bool = False
    told: str = ""


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor in the file; its bytes are read only when something needs them.

    Attributes
    ----------
    name : str
        The name in the file, unique within the network.
    role : str
        What the tensor is to its layer, in the words of the layer: ``"kernel"``, ``"bias"``,
        ``"recurrent_kernel"``, ``"gamma"``, ``"query/kernel"``, ``"forward/kernel"``.
    shape : tuple of int
        Of the numbers, however they are stored.
    dtype : str
        What an element is in the file: a numpy dtype, ``"bfloat16"``, a small float such as
        ``"float8_e4m3fn"``, a code such as ``"int4"``, or a GGML block type such as ``"Q4_K"``.
    where : ByteRange or Chunks or Pieces or Inline or None
        ``None`` when the file does not hold the bytes.
    packing : Packing or None
        Where the type alone does not tell how codes become numbers.
    axes : str
        What each axis of a kernel counts, a letter each: ``"o"`` out channels (of recurrent
        layers gates × cells), ``"i"`` in channels (of one group, where there are groups), ``"k"``
        taps. Empty where it is as Keras stores the kernel of such a layer.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    where: Where | None
    packing: Packing | None = None
    axes: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def kind_of_element(self) -> str:
        """`dtype`, or what people call codes of this packing: to be shown."""
        return self.packing.told if self.packing is not None and self.packing.told else self.dtype


@dataclass(frozen=True, slots=True)
class Layer:
    """A leaf operation.

    Attributes
    ----------
    path : str
        Stable path, parts joined by ``/``: recorded scopes, then the layer's own name.
    kind : str
        Class name in the format's own words, to be shown only: ``"Conv2D"``.
    config : mapping
        Plain JSON values.
    input_shapes : tuple of Shape
        One per input tensor of the layer's first call; empty when not recorded.
    output_shape : Shape or None
        Of the first output of the first call.
    weights : tuple of Weight
    operation : str
        The Keras layer whose roles and configuration are used; empty where that is `kind` itself.
    """

    path: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    input_shapes: tuple[Shape, ...] = ()
    output_shape: Shape | None = None
    weights: tuple[Weight, ...] = ()
    operation: str = ""

    @property
    def op(self) -> str:
        """What the layer computes, as the name of a Keras layer where there is one."""
        return self.operation or self.kind

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def parameters(self) -> int:
        """Number of elements in all weights."""
        return sum(w.size for w in self.weights)

    def weight(self, role: str) -> Weight | None:
        """The weight with this role, or ``None``."""
        return next((w for w in self.weights if w.role == role), None)


@dataclass(frozen=True, slots=True)
class Scope:
    """An inner node of the recorded tree: a nested model, a block, a composite layer.

    Attributes
    ----------
    path : str
        Layers and scopes inside have paths that begin with ``path + "/"``.
    kind : str
        Class name, for example ``"Functional"``.
    config : mapping
    composite : bool
        Whether the file counts this as one layer (MultiHeadAttention), the inner ones as its parts.
    """

    path: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    composite: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A data-flow edge between two layers, named by their paths.

    Attributes
    ----------
    source, target : str
    source_output, target_input : int
        Which output of the source goes to which input of the target, from 0.
    call : int
        Which call of the target: a shared layer is called several times.
    shape : Shape or None
    origin : {"recorded", "inferred"}
        Whether the file says so, or names suggest it.
    """

    source: str
    target: str
    source_output: int = 0
    target_input: int = 0
    call: int = 0
    shape: Shape | None = None
    origin: Literal["recorded", "inferred"] = "recorded"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was when the network was read; a later difference means it was rewritten.

    `size` is in bytes, the time of the last change in nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Network:
    """What a model file holds, and the name of the format that read it.

    Attributes
    ----------
    name : str
        The model's own name, or the file's stem.
    format : str
    layers : tuple of Layer
        In topological order where links are recorded, else in the order of the file.
    scopes : tuple of Scope
        Outer before inner.
    links : tuple of Link
    links_known : bool
        False when the file records no links at all (a subclassed model): say so, draw none.
    files : tuple of FileStamp
    notes : tuple of str
        Lines that a person should see.
    path : str
        Absolute path of what was opened, a file or a folder; empty where nothing was.
    """

    name: str
    format: str
    layers: tuple[Layer, ...]
    scopes: tuple[Scope, ...] = ()
    links: tuple[Link, ...] = ()
    links_known: bool = True
    files: tuple[FileStamp, ...] = ()
    notes: tuple[str, ...] = ()
    path: str = ""

    @property
    def opened(self) -> str:
        """What a person opens to see this network: `path`, or the first of the files."""
        return self.path or (self.files[0].path if self.files else "")

    @property
    def parameters(self) -> int:
        """Number of elements in all weights; a weight that two layers share counts once."""
        return sum(w.size for w in {w.name: w for la in self.layers for w in la.weights}.values())

    @cached_property
    def layer_by_path(self) -> dict[str, Layer]:
        """Layers by path."""
        return {layer.path: layer for layer in self.layers}

    @cached_property
    def position(self) -> dict[str, int]:
        """Index into `layers` by path."""
        return dict(zip(map(attrgetter("path"), self.layers), range(len(self.layers)), strict=True))

    @cached_property
    def link_ends(self) -> NDArray[np.int32]:
        """Indices into `layers` of each link's source and target, shape (len(links), 2)."""
        at = self.position
        ends = np.empty((len(self.links), 2), np.int32)
        for side, end in enumerate(("source", "target")):
            places = map(at.__getitem__, map(attrgetter(end), self.links))
            ends[:, side] = np.fromiter(places, np.int32, len(self.links))
        return ends

    @cached_property
    def link_ports(self) -> NDArray[np.int32]:
        """Output of the source and input of the target of each link, shape (len(links), 2)."""
        ports = np.empty((len(self.links), 2), np.int32)
        for side, port in enumerate(("source_output", "target_input")):
            ports[:, side] = np.fromiter(map(attrgetter(port), self.links), np.int32)
        return ports
