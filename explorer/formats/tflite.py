"""TFLite: a FlatBuffer of operators; tensors read in place, also beyond 2 GB."""

from __future__ import annotations

from pathlib import PurePath

from explorer.formats.containers.flatbuffer import Buffer
from explorer.formats.containers.source import Source
from explorer.formats.lite_model.graph import Reader
from explorer.formats.record import Format
from explorer.network import Network

_MARK = b"TFL3"


def matches(source: Source) -> bool:
    """The mark of the schema behind the place of the first table."""
    return not source.is_folder and source.pread(4, len(_MARK)) == _MARK


def read(source: Source) -> Network:
    """The network of a file."""
    return Reader(Buffer(source)).network(PurePath(source.name).stem)


FORMAT = Format("tflite", matches, read)
