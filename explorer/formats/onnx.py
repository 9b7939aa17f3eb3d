"""ONNX: a graph of operators; initialisers read in place, inside the file or in files beside it.

The bytes of large tensors are found by walking the file and are left out of what the ``onnx``
package parses, so that a model of many gigabytes is opened by its structure alone.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from explorer.formats.containers.protobuf import BYTES, VARINT, fields
from explorer.formats.containers.source import Source
from explorer.formats.onnx_model.functions import inlined
from explorer.formats.onnx_model.graph import Graph
from explorer.formats.onnx_model.tensors import Tensors, stripped
from explorer.formats.record import Format, UnreadableError
from explorer.network import Network
from explorer.plain_text import clean

_MODEL_FIELDS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26))
_VERSION, _GRAPH = 1, 7
_HEAD = 16  # bytes of a graph by which it is known


def matches(source: Source) -> bool:
    """Top-level fields as a ModelProto has them: a version, and a graph."""
    if source.is_folder or not source.size:
        return False
    seen: dict[int, int] = {}
    end = 0
    try:
        for field in fields(source, 0, source.size):
            if field.number not in _MODEL_FIELDS or len(seen) > 12:
                return False
            seen.setdefault(field.number, field.wire)
            end = field.stop
            if field.number == _GRAPH:
                break
    except UnreadableError:  # a graph that is cut off is told when it is read
        if source.pread(end, 1) != bytes([_GRAPH << 3 | BYTES]) or source.size - end < _HEAD:
            return False
        seen[_GRAPH] = BYTES
    return seen.get(_VERSION) == VARINT and seen.get(_GRAPH) == BYTES


def read(source: Source) -> Network:
    """The network of a file and of the files it names."""
    import onnx

    tensors = Tensors(source)
    data = stripped(source, tensors)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        raise UnreadableError("it is no sound ONNX model (a partial download?)") from None
    del data
    notes: list[str] = []
    model = _shaped(onnx, inlined(model, notes))
    graph = Graph(tensors, model, notes)
    graph.build()
    title = clean(model.graph.name) if model.graph.name else PurePath(source.name).stem
    if title.lower() in ("main_graph", "torch_jit", "torch-jit-export", "graph", "main"):
        title = PurePath(source.name).stem
    return graph.network(title, tensors.notes)


def _shaped(onnx: Any, model: Any) -> Any:
    """The model with the shapes of its tensors inferred, where the package can."""
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model, data_prop=len(model.graph.node) < 5000)
    except Exception:  # shapes are welcome, not needed
        return model


FORMAT = Format("onnx", matches, read)
