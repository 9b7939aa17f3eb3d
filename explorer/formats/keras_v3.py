"""Keras 3 archives (``.keras``): a zip with a configuration and an HDF5 file of weights.

Keras stores the members without compression, so the weights are read in place: the offset of a
tensor is that of the member's data plus that of the dataset. Nothing is extracted.
See ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from explorer.formats.containers.archive import Archive, is_zip, of_pytorch
from explorer.formats.containers.hdf5 import Node as Group
from explorer.formats.containers.source import Source, View
from explorer.formats.foreign import told_archive
from explorer.formats.keras_model.config import Node, is_model, read_model
from explorer.formats.keras_model.groups import root_of, sharded_root
from explorer.formats.keras_model.network import decode_codes, network_of, weight_of
from explorer.formats.keras_model.quantised import stored_roles
from explorer.formats.keras_model.tree import read_tree
from explorer.formats.keras_model.variables import numbered, parts
from explorer.formats.naming.text import natural, parse_json
from explorer.formats.record import Format, UnreadableError
from explorer.network import Network
from explorer.plain_text import clean

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_INDEX, _PICKLES = "model.weights.json", "model.weights.npz"
PICKLED = (
    f"the weights are stored as pickled objects of NumPy ({_PICKLES}), which Keras itself does not "
    "load; save the model again in the usual way"
)


def matches(source: Source) -> bool:
    """A zip archive that is not PyTorch's; what is wrong with it is told when it is read."""
    return is_zip(source) and not of_pytorch(source)


def read(source: Source) -> Network:
    """The network in a ``.keras`` file."""
    archive = Archive(source)
    if CONFIG not in archive.members:
        what = told_archive(archive.members)
        raise UnreadableError(
            f"a zip archive, but not a Keras model (it holds no {CONFIG}){what and '; '}{what}"
        )
    told = archive.text(METADATA) if METADATA in archive.members else b""
    return described(source, archive.text(CONFIG), told, _weights(source, archive))


def described(source: Source, config: bytes, metadata: bytes, weights: Group) -> Network:
    """The network that a configuration and the groups of a file of weights describe.

    Parameters
    ----------
    source : Source
    config, metadata : bytes
        Texts of ``config.json`` and ``metadata.json``; the second may be empty.
    weights : Node
        Root of the file of weights.

    Raises
    ------
    UnreadableError
        If the configuration is not that of a Keras model.
    """
    entry = parse_json(config, CONFIG)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise UnreadableError(f"{CONFIG} does not describe a Keras model")
    version = _version(metadata)
    if not is_model(entry.get("config")):
        return read_tree(source, weights, entry, version)
    root = read_model(entry)
    notes: list[str] = []
    _assign(root, weights, notes)
    decode_codes(root, version, notes)
    return network_of(source, root, "keras", notes)


def _weights(source: Source, archive: Archive) -> Group:
    """The root of the file of weights in an archive, or of its shards."""

    def opened(name: str) -> View:
        return source.view(*archive.stored(name))

    if WEIGHTS not in archive.members and _INDEX in archive.members:
        return sharded_root(archive.text(_INDEX), _INDEX, opened)
    if WEIGHTS not in archive.members and _PICKLES in archive.members:
        raise UnreadableError(PICKLED)
    return root_of(opened(WEIGHTS), WEIGHTS)


def _version(metadata: bytes) -> object:
    """The version of Keras, as the file tells it; ``None`` where it does not."""
    try:
        told = parse_json(metadata, METADATA)
    except UnreadableError:  # nothing else depends on it
        return None
    return told.get("keras_version") if isinstance(told, Mapping) else None


def _assign(model: Node, group: Group, notes: list[str]) -> None:
    """Give every layer of a model its variables from the model's group in the file."""
    if model.wrapped:
        inner = group.child("layer")
        if inner is None:
            return
        group = inner
    container = group.child("layers") or group.child("_layer_checkpoint_dependencies")
    if container is None:
        return
    for child, key in zip(model.children or (), _keys(model, container), strict=True):
        below = container.child(key) if key else None
        if below is None:
            continue
        if child.children is not None:
            _assign(child, below, notes)
        else:
            _assign_layer(child, below, notes)


def _keys(model: Node, container: Group) -> list[str]:
    """The group of each layer: by counting, as Keras does, else by the names recorded there.

    Keras calls a group after the class of its layer and a number (``dense``, ``dense_1``, …) and
    loads by that alone: a layer that was renamed in the configuration keeps its weights. Counting
    goes wrong where the configuration lists what Keras does not count, operations that are no
    layers; the names that Keras records since 3.6 tell.
    """
    children = model.children or []
    used: dict[str, int] = {}
    skip = {"InputLayer"} if model.sequential else set()
    counted = ["" if c.kind in skip else numbered(c.kind, used) for c in children]
    if set(counted) - {""} == set(container.links):
        return counted
    recorded: dict[str, str] = {}
    for key in container.links:
        variables = container.child(f"{key}/vars")
        name = variables.text("name") if variables is not None else None
        if name is None or name in recorded:
            return counted
        recorded[name] = key
    if set(recorded) <= {child.name for child in children}:
        return [recorded.get(child.name, "") for child in children]
    return counted


def _assign_layer(layer: Node, group: Group, notes: list[str]) -> None:
    known = parts(layer.kind, layer.config)
    done: set[str] = set()
    for path, roles in known or ():
        below = _find(group, path)
        if below is None:
            continue
        done.add(below.name)
        _take(layer, below, roles, "", notes)
    for below in _walk(group):
        if below.name not in done:
            _take(layer, below, (), below.name[len(group.name) :].strip("/"), notes)


def _find(group: Group, path: str) -> Group | None:
    """A group below, also where the attribute's name begins with an underscore."""
    return group if not path else group.child(path) or group.child(f"_{path}")


def _walk(group: Group, depth: int = 0) -> list[Group]:
    """A layer's own group and those of its parts; not those of random seeds."""
    result = [group]
    for name in sorted(group.links, key=natural):
        if name == "vars" or "seed_generator" in name or depth > 30:
            continue
        below = group.child(name)
        if below is not None and not below.is_dataset:
            result += _walk(below, depth + 1)
    return result


def _take(layer: Node, group: Group, roles: tuple[str, ...], prefix: str, notes: list[str]) -> None:
    """Add the variables directly in a group."""
    variables = group.child("vars")
    if variables is None or not variables.links:
        return
    # What has variables of its own is none; the attribute of all others need not be read.
    if not roles and (variables.text("name") or "").startswith("seed_generator"):
        return
    nodes = [variables.child(name) for name in sorted(variables.links, key=natural)]
    found = [node for node in nodes if node is not None and node.is_dataset]
    weights = [weight_of(node, "", notes) for node in found]
    dtypes = [w.dtype if w is not None else "" for w in weights]
    roles = stored_roles(layer.kind, layer.config, roles, dtypes)
    head = f"{prefix}/" if prefix else ""
    rest = [head + node.name.rsplit("/", 1)[-1] for node in found[len(roles) :]]
    for weight, role in zip(weights, (*roles, *rest), strict=False):
        if weight is not None:
            layer.weights.append(replace(weight, role=clean(role)))


FORMAT = Format("keras", matches, read)
