"""The last step common to all Keras files: a tree of layers with weights -> Network."""

from __future__ import annotations

from pathlib import PurePath

from explorer.formats.hdf5 import Node as Group
from explorer.formats.keras_config import Node, links_of, scopes_of, topological
from explorer.formats.source import Source
from explorer.formats.text import clean, clean_tree
from explorer.network import Layer, Network, Weight


def weight_of(dataset: Group, role: str, notes: list[str]) -> Weight | None:
    """A dataset as a weight; ``None``, with a note, where it holds no numbers."""
    tensor = dataset.tensor()
    name = clean(dataset.name, 1000)
    if tensor.problem:
        notes.append(f"{name}: {tensor.problem}")
    if not tensor.dtype:
        return None
    return Weight(name, clean(role), tensor.shape, tensor.dtype, tensor.where)


def layer_of(node: Node) -> Layer:
    """A leaf of the tree as a layer."""
    inputs = tuple(s for s in node.input_shapes if s is not None)
    if len(inputs) != len(node.input_shapes):
        inputs = ()
    return Layer(
        node.path,
        clean(node.kind),
        clean_tree(node.config),
        inputs,
        node.shapes.get((0, 0)),
        tuple(node.weights),
    )


def network_of(source: Source, root: Node, name: str, notes: list[str]) -> Network:
    """The network of a tree whose links are recorded, layers in topological order."""
    leaves = list(root.leaves())
    links = links_of(root)
    position = {leaf.path: i for i, leaf in enumerate(leaves)}
    edges = {(position[a.source], position[a.target]) for a in links if a.source != a.target}
    order = topological(len(leaves), edges)
    return Network(
        clean(root.config.get("name") or PurePath(source.path).stem),
        name,
        tuple(layer_of(leaves[i]) for i in order),
        tuple(scopes_of(root)),
        tuple(links),
        notes=tuple(dict.fromkeys(notes)),
    )
