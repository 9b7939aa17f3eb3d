"""What makes two layers alike: kind, attributes, shapes and weights, whatever their names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Network
from explorer.weights.units import memo

_NAMES = ("name", "shared_object_id")
_END = object()  # of a mapping or a list


def alike(network: Network) -> NDArray[np.int64]:
    """`attribute_ids` of a network's layers, made once and kept beside it."""
    found: NDArray[np.int64] = memo(network, "_alike", lambda: attribute_ids(network.layers))
    return found


@dataclass(frozen=True, eq=False)
class Classes:
    """Layers that differ in nothing but their names, put together; get it from `classes`.

    Attributes
    ----------
    which : int64 array, shape (layers,)
        Class of each layer.
    ones : list of Layer
        One layer of each class.
    """

    which: NDArray[np.int64]
    ones: list[Layer]

    def each(self, holds: Callable[[Layer], bool]) -> NDArray[np.bool_]:
        """What holds for each layer of the network, looked up once per class; shape (layers,)."""
        return np.array([holds(layer) for layer in self.ones], bool)[self.which]


def classes(network: Network) -> Classes:
    """The classes of a network's layers, made once and kept beside it."""

    def make() -> Classes:
        _, first, which = np.unique(alike(network), return_index=True, return_inverse=True)
        return Classes(which.astype(np.int64), [network.layers[i] for i in first.tolist()])

    found: Classes = memo(network, "_classes", make)
    return found


def attribute_ids(layers: Sequence[Layer]) -> NDArray[np.int64]:
    """A number for each layer; equal for layers that differ in nothing but their names.

    Parameters
    ----------
    layers : sequence of Layer

    Returns
    -------
    int64 array, shape (len(layers),)
    """
    known: dict[Hashable, int] = {}
    cheap = [
        known.setdefault(
            (
                la.kind,
                la.operation,
                la.input_shapes,
                la.output_shape,
                tuple([(w.role, w.shape, w.dtype, w.axes, w.where is None) for w in la.weights])
                if la.weights
                else (),
            ),
            len(known),
        )
        for la in layers
    ]
    # Configurations cost more to compare: only what is alike so far is looked at.
    found = np.array(cheap, np.int64)
    often = (np.bincount(found)[found] > 1).tolist() if cheap else []
    ids: dict[tuple[int, str], int] = {}
    for at, (one, many) in enumerate(zip(cheap, often, strict=True)):
        if many:
            config = layers[at].config
            text = "" if len(config) == 1 and "name" in config else config_key(config)
            found[at] = ids.setdefault((one, text), len(known) + len(ids)) if text else one
    return found


def config_key(config: Mapping[str, object]) -> str:
    """The configuration without the names in it, as text to compare."""
    items = [(k, v) for k, v in config.items() if k not in _NAMES]
    if not items:
        return ""
    try:
        text = repr(items)
    except RecursionError:
        return nameless_text(config)
    if any(f"'{name}'" in text for name in _NAMES):
        return nameless_text(config)
    return text


def nameless_text(config: object) -> str:
    """The configuration without the names at any depth of it, however deep it is."""
    text: list[str] = []
    work: list[tuple[str, object]] = [("", config)]  # what to write, and what to look at next
    while work:
        written, value = work.pop()
        text.append(written)
        if isinstance(value, Mapping):
            text.append("{")
            work.append(("}", _END))
            keys = sorted((k for k in value if k not in _NAMES), key=str)
            work.extend((f"{k!r}:", value[k]) for k in reversed(keys))
        elif isinstance(value, list | tuple):
            text.append("[")
            work.append(("]", _END))
            work.extend((",", v) for v in reversed(value))
        elif value is not _END:
            text.append(repr(value))
    return "".join(text)
