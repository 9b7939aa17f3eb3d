"""Exact statistics of one weight, or of all weights in a node, out of core."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from explorer.errors import NeuronautError, UnknownNameError
from explorer.network import Weight
from explorer.open_model import OpenModel
from explorer.panel.compared import weight_rows
from explorer.panel.weight_summary import WeightSummary, summarize
from explorer.tree import lod
from explorer.weights.codecs import is_number, stored_bits

Told = Callable[[WeightSummary], None]
UNASKED = 256 << 20
"""Bytes of weights in a node that are read without being asked for."""
_MOST_KEPT = 64
_kept: WeakKeyDictionary[OpenModel, OrderedDict[str, WeightSummary]] = WeakKeyDictionary()


def _never() -> bool:
    return False


def weight_statistics(
    model: OpenModel,
    path: str,
    name: str,
    stop: Callable[[], bool] = _never,
    told: Told = lambda _: None,
) -> dict[str, Any]:
    """Exact statistics of one weight of a layer; reads the whole weight, in blocks.

    Parameters
    ----------
    model : OpenModel
    path : str
        Of the layer.
    name : str
        The weight's name in the file.
    stop : callable () -> bool
        Asked between blocks; `explorer.panel.weight_summary.Stopped` is raised when it says so.
    told : callable (WeightSummary)
        Called now and then with an estimate.

    Returns
    -------
    dict
        ``shape``, ``dtype``, ``size``, ``codes`` (True for packed integers that are not weights);
        ``summary``: a `WeightSummary`; ``compared``: rows of (name, text) on both files where two
        are compared, all else is then about newer - older.

    Raises
    ------
    NeuronautError
        If there is no such weight, its bytes are not in the file or are no numbers, or the file
        was changed.
    """
    index, _ = lod.locate(model.hierarchy, path)
    layer = model.hierarchy.layer(index)
    weights = {w.name: w for w in layer.weights} if layer is not None else {}
    if layer is None or name not in weights:
        raise UnknownNameError("weight", name, weights)
    weight = weights[name]
    comparison = model.comparison
    if comparison is not None and not comparison.changes.compares(name):
        raise NeuronautError(f"{name}: not in both files in this shape, so there is no difference")
    if weight.where is None:
        raise NeuronautError(f"{name}: the file does not hold its values")
    if not weight.size:
        raise NeuronautError(f"{name}: holds no numbers, its shape is {weight.shape}")
    return {
        "shape": weight.shape,
        "dtype": weight.kind_of_element,
        "size": weight.size,
        "codes": _is_code(weight),
        "summary": _summary(model, name, (weight,), stop, told),
        "compared": () if comparison is None else weight_rows(comparison, name, stop),
    }


def node_weights(model: OpenModel, path: str) -> tuple[list[Weight], int]:
    """Weights of all layers in a node that hold numbers, each once, and their bytes.

    Parameters
    ----------
    model : OpenModel
    path : str
        Of a node of the hierarchy.

    Raises
    ------
    UnknownNameError
        If there is no such node.
    """
    index, _ = lod.locate(model.hierarchy, path)
    found = {w.name: w for layer in model.hierarchy.layers_in(index) for w in layer.weights}
    changes = None if model.comparison is None else model.comparison.changes
    kept = [
        weight
        for name, weight in found.items()
        if weight.where is not None and weight.size and is_number(weight) and not _is_code(weight)
        if changes is None or changes.compares(name)
    ]
    return kept, int(sum(w.size * stored_bits(w) / 8 for w in kept))


def node_statistics(
    model: OpenModel,
    path: str,
    stop: Callable[[], bool] = _never,
    told: Told = lambda _: None,
) -> dict[str, Any]:
    """Exact statistics of all weights in a node, as `weight_statistics` gives them.

    Raises
    ------
    NeuronautError
        If there is no such node, nothing in it holds numbers, or the file was changed.
    """
    weights, _ = node_weights(model, path)
    if not weights:
        raise NeuronautError(f"{path or 'the network'}: holds no weights that can be read")
    return {
        "shape": (),
        "dtype": ", ".join(sorted({w.kind_of_element for w in weights})),
        "size": sum(w.size for w in weights),
        "codes": False,
        "summary": _summary(model, f"node {path}", weights, stop, told),
        "compared": (),
    }


def _summary(
    model: OpenModel, key: str, weights: Sequence[Weight], stop: Callable[[], bool], told: Told
) -> WeightSummary:
    """Read now, or kept from before."""
    kept = _kept.setdefault(model, OrderedDict())
    found = kept.get(key)
    if found is None:
        found = kept[key] = summarize(model.reader, weights, stop, told)
        while len(kept) > _MOST_KEPT:
            kept.popitem(last=False)
    return found


def _is_code(weight: Weight) -> bool:
    return weight.role.rpartition("/")[2].startswith("packed_")
