"""TensorFlow checkpoints: ``x.index`` with ``x.data-00000-of-00001``, or a folder with them.

A checkpoint holds variables and no graph; layers follow from the names of variables.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from explorer.formats.containers.source import Source
from explorer.formats.record import Format, UnreadableError
from explorer.formats.tensorflow_graph.index import is_table
from explorer.formats.tensorflow_graph.named_layers import layers_of
from explorer.formats.tensorflow_graph.variables import read_variables
from explorer.network import Network
from explorer.plain_text import clean

_DATA = re.compile(r"^(.+)\.data-\d{5}-of-\d{5}$")
_LATEST = re.compile(r'^model_checkpoint_path: "([^"]{1,500})"', re.MULTILINE)


def matches(source: Source) -> bool:
    """An index by its last bytes, a data file with its index beside it, or a folder with one."""
    if source.is_folder:
        names = source.names()
        return "saved_model.pb" not in names and bool(_prefixes(names))
    return is_table(source) or _index_beside(source) is not None


def _index_beside(source: Source) -> str | None:
    found = _DATA.match(source.name)
    return found[1] if found and source.has(f"{found[1]}.index") else None


def _prefixes(names: list[str]) -> list[str]:
    """Checkpoints of which a folder has the index and some of the data."""
    data = {found[1] for name in names if (found := _DATA.match(name))}
    return [prefix for prefix in sorted(data) if f"{prefix}.index" in names]


def read(source: Source) -> Network:
    """The network of a checkpoint."""
    if source.is_folder:
        prefix = _chosen(source)
        index, title = source.part(f"{prefix}.index"), source.name
    elif is_table(source):
        prefix = source.name.removesuffix(".index")
        index, title = source, PurePath(prefix).name
    else:
        prefix = _index_beside(source) or ""
        index, title = source.part(f"{prefix}.index"), PurePath(prefix).name
    found = read_variables(source, index, prefix)
    if not found.weights:
        raise UnreadableError("a checkpoint without a variable of a model in it")
    notes = (*found.notes, "links are not recorded in this format")
    layers = layers_of(found.weights)
    return Network(clean(title), "tf_checkpoint", layers, links_known=False, notes=notes)


def _chosen(source: Source) -> str:
    """The checkpoint of a folder: the only one, or the one its ``checkpoint`` file calls latest."""
    found = _prefixes(source.names())
    if len(found) > 1 and source.has("checkpoint"):
        told = _LATEST.search(
            source.part("checkpoint").pread(0, 1 << 16).decode("utf-8", "replace")
        )
        if told and told[1] in found:
            return told[1]
    if len(found) != 1:
        named = ", ".join(clean(name, 60) for name in found[:4])
        raise UnreadableError(f"a folder with several checkpoints: {named}; open one .index file")
    return found[0]


FORMAT = Format("tf_checkpoint", matches, read)
