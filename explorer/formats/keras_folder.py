"""Keras 3 models saved as a folder (``save(…, zipped=False)``): what a ``.keras`` archive holds."""

from __future__ import annotations

from explorer.formats.containers.source import Source
from explorer.formats.keras_model.groups import root_of, sharded_root
from explorer.formats.keras_v3 import CONFIG, METADATA, PICKLED, WEIGHTS, described
from explorer.formats.record import Format, UnreadableError
from explorer.network import Network

_INDEX, _PICKLES = ".weights.json", "model.weights.npz"
_LARGEST_TEXT = 64 << 20


def matches(source: Source) -> bool:
    """A folder with a configuration and Keras' files of weights."""
    if not source.is_folder or not source.has(CONFIG):
        return False
    return source.has(WEIGHTS) or source.has(_PICKLES) or _index(source) is not None


def read(source: Source) -> Network:
    """The network in a folder."""
    index = _index(source)
    if source.has(WEIGHTS):
        root = root_of(source.part(WEIGHTS).view(), WEIGHTS)
    elif index is not None:
        text = source.part(index).pread(0, _LARGEST_TEXT)
        root = sharded_root(text, index, lambda name: source.part(name).view())
    else:
        raise UnreadableError(PICKLED)
    config = source.part(CONFIG).pread(0, _LARGEST_TEXT)
    told = source.part(METADATA).pread(0, _LARGEST_TEXT) if source.has(METADATA) else b""
    return described(source, config, told, root)


def _index(source: Source) -> str | None:
    """The only index of shards in the folder."""
    found = [name for name in source.names() if name.endswith(_INDEX)]
    return found[0] if len(found) == 1 else None


FORMAT = Format("keras-folder", matches, read)
