"""Legacy Keras files (``.h5``): an HDF5 file with the configuration in an attribute.

Written by Keras 1 to 3; the variables have names. See
``keras/src/legacy/saving/legacy_h5_format.py``.
"""

from __future__ import annotations

from explorer.formats.containers.hdf5 import SIGNATURE, Hdf5, find_signature
from explorer.formats.containers.hdf5 import Node as Group
from explorer.formats.containers.source import Source
from explorer.formats.keras_model.config import Node, read_model
from explorer.formats.keras_model.network import decode_codes, network_of, weight_of
from explorer.formats.keras_model.variables import NON_TRAINABLE, OWN_NAMES, parts, role_from_name
from explorer.formats.keras_weights import alone
from explorer.formats.naming.text import parse_json
from explorer.formats.record import Format, UnreadableError
from explorer.network import Network
from explorer.plain_text import clean


def matches(source: Source) -> bool:
    """An HDF5 file."""
    return source.pread(0, 8) == SIGNATURE or find_signature(source.view()) is not None


def read(source: Source) -> Network:
    """The network in a legacy ``.h5`` file."""
    file = Hdf5(source.view())
    config = file.root.text("model_config")
    if config is None:
        return alone(source, file.root)
    root = read_model(parse_json(config, "model_config"))
    notes: list[str] = []
    weights = file.root.child("model_weights")
    if weights is None:
        raise UnreadableError("the file holds no model_weights")
    for child in root.children or ():
        group = weights.child(child.name)
        if group is not None and not group.is_dataset:
            _assign(child, group, notes)
    decode_codes(root, file.root.text("keras_version"), notes)
    return network_of(source, root, "keras-h5", notes)


def _assign(node: Node, group: Group, notes: list[str]) -> None:
    """Give a layer, or the layers of a nested model, the variables of one group of the file."""
    names = group.texts("weight_names")
    if names is None:
        raise UnreadableError(f"{clean(group.name)!r} does not say which weights it holds")
    if len(set(names)) != len(names):
        raise UnreadableError(f"{clean(group.name)!r} names a weight twice")
    leaves = list(node.leaves())
    if len(leaves) == 1 and node.children is None:
        owners = [(leaves[0], role) for role in _roles(leaves[0], names)]
    else:
        owners = _owners(leaves, names)
        if not owners and names:
            notes.append(f"{node.path}: the file does not say which layer owns its weights")
    for name, (leaf, role) in zip(names, owners, strict=False):
        dataset = group.child(name)
        if dataset is None or not dataset.is_dataset:
            raise UnreadableError(
                f"the weight {clean(name)!r} is not in the file (truncated or damaged)"
            )
        weight = weight_of(dataset, role, notes)
        if weight is not None:
            leaf.weights.append(weight)


def _expected(leaf: Node) -> list[str] | None:
    known = parts(leaf.kind, leaf.config)
    return None if known is None else [role for _, roles in known for role in roles]


def _fits(role: str, name: str) -> bool:
    """Whether a recorded name can be that of a role."""
    role, name = role.split("/")[-1], name.split(":")[0].split("/")[-1]
    return name in (role, OWN_NAMES.get(role))


def _roles(leaf: Node, names: list[str]) -> list[str]:
    """Roles of a layer's variables: from the table where it fits, else from their names."""
    expected = _expected(leaf)
    if expected is not None and len(expected) == len(names):
        fits = [_fits(role, name) for role, name in zip(expected, names, strict=True)]
        if all(fits):
            return expected
    roles = [role_from_name(leaf.kind, name) for name in names]
    return roles if len(set(roles)) == len(roles) else [str(i) for i in range(len(names))]


def _owners(leaves: list[Node], names: list[str]) -> list[tuple[Node, str]]:
    """The layer and role of each variable of a nested model.

    Keras lists those that are trained first, then the others, each in the order of the layers.
    Where that order does not fit the names, a layer's name must occur in a variable's name.
    """
    trained: list[tuple[Node, str]] = []
    fixed: list[tuple[Node, str]] = []
    for leaf in leaves:
        frozen = leaf.config.get("trainable") is False
        for role in _expected(leaf) or ():
            still = frozen or role.split("/")[-1] in NON_TRAINABLE
            (fixed if still else trained).append((leaf, role))
    order = trained + fixed
    if len(order) == len(names) and all(
        _fits(role, name) for (_, role), name in zip(order, names, strict=True)
    ):
        return order
    owners = []
    for name in names:
        steps = name.split("/")
        found = [leaf for leaf in leaves if leaf.name in steps]
        if len(found) != 1:
            return []
        owners.append((found[0], role_from_name(found[0].kind, name)))
    return owners


FORMAT = Format("keras-h5", matches, read)
