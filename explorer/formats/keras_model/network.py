"""The last step common to all Keras files: a tree of layers with weights -> Network."""

from __future__ import annotations

from pathlib import PurePath

from explorer.formats.containers.hdf5 import Node as Group
from explorer.formats.containers.source import Source
from explorer.formats.keras_model.config import Node
from explorer.formats.keras_model.quantised import packed
from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import clean_tree
from explorer.network import Layer, Link, Network, Scope, Weight
from explorer.plain_text import clean

UNDECODED = "{}: quantised in a way that is not decoded, shown as packed codes"


def weight_of(dataset: Group, role: str, notes: list[str]) -> Weight | None:
    """A dataset as a weight; ``None``, with a note, where it holds no numbers."""
    tensor = dataset.tensor()
    name = clean(dataset.name, 1000)
    if tensor.problem:
        notes.append(f"{name}: {tensor.problem}")
    if not tensor.dtype:
        return None
    return Weight(name, clean(role), tensor.shape, tensor.dtype, tensor.where)


def decode_codes(root: Node, version: object, notes: list[str]) -> None:
    """Tell how quantised weights become numbers; a note of each layer for which it is not known.

    Parameters
    ----------
    root : Node
        Its leaves have their weights.
    version : object
        Of Keras, as the file tells it.
    notes : list of str
    """
    for leaf in root.leaves():
        leaf.weights, unknown = packed(
            leaf.kind, leaf.config, leaf.input_shapes, leaf.weights, version
        )
        if unknown:
            notes.append(UNDECODED.format(leaf.path))


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
        clean(root.config.get("name") or PurePath(source.name).stem),
        name,
        tuple(layer_of(leaves[i]) for i in order),
        tuple(scopes_of(root)),
        tuple(links),
        notes=tuple(dict.fromkeys(notes)),
    )


def scopes_of(root: Node) -> list[Scope]:
    """Nested models, outer before inner."""
    result = []
    for child in root.children or ():
        if child.children is not None:
            kept = {k: v for k, v in child.config.items() if k not in ("layers", "layer")}
            result.append(Scope(child.path, child.kind, clean_tree(kept)))
            result += scopes_of(child)
    return result


def links_of(root: Node) -> list[Link]:
    """Links between layers: into a nested model at its input layer, out of it at its output."""
    result = []
    children = root.by_name
    for child in root.children or ():
        for number, call in enumerate(child.calls):
            for ref in call:
                source = _leaf_out(children[ref.layer], ref.output)
                target = _leaf_in(child, ref.position)
                if source is None or target is None:
                    continue
                shape = ref.shape or children[ref.layer].shapes.get((ref.call, ref.output))
                result.append(
                    Link(source[0], target[0], source[1], target[1], number, shape, "recorded")
                )
        result += links_of(child)
    return result


def _leaf_out(node: Node, output: int) -> tuple[str, int] | None:
    if node.children is None:
        return node.path, output
    if output >= len(node.outputs):
        return None
    name, inner = node.outputs[output]
    return _leaf_out(node.by_name[name], inner)


def _leaf_in(node: Node, position: int) -> tuple[str, int] | None:
    if node.children is None:
        return node.path, position
    if position >= len(node.inputs):
        return None
    return _leaf_in(node.by_name[node.inputs[position][0]], 0)
