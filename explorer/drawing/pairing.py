"""What is the same in two pictures: nodes by their paths, boxes and edges by their nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.draw_list import NodePaths

Index = NDArray[np.intp]


def merged_nodes(a: Sequence[str], b: Sequence[str]) -> tuple[Sequence[str], Index, Index]:
    """All paths of both, and where each path of `a` and of `b` went.

    Parameters
    ----------
    a, b : sequence of str
        Without repetition.

    Returns
    -------
    merged : sequence of str
        Those of `b` that are shown come first.
    rows_a, rows_b : index array, shapes (len(a),) and (len(b),)
    """
    if isinstance(a, NodePaths) and isinstance(b, NodePaths) and a.layers is b.layers:
        return _merged_paths(a, b)
    place = {path: i for i, path in enumerate(b)}
    for path in a:
        place.setdefault(path, len(place))
    return tuple(place), np.array([place[p] for p in a], np.intp), np.arange(len(b))


def _merged_paths(a: NodePaths, b: NodePaths) -> tuple[NodePaths, Index, Index]:
    """As `merged_nodes`, without a name for each of thousands of hidden units."""
    place = {path: i for i, path in enumerate(b.shown)}
    for path in a.shown:
        place.setdefault(path, len(place))
    opened = {path.rpartition("[")[0] for path in place if path.endswith("]")}
    keys, rows = [], []
    for nodes in (a, b):
        key = nodes.layer << 32 | nodes.unit
        row = np.full(len(key), -1, np.intp)
        # A unit that is hidden here may be drawn there, where its layer is open.
        for layer in np.unique(nodes.layer).tolist():
            if nodes.layers[layer] in opened:
                for i in np.flatnonzero(nodes.layer == layer).tolist():
                    row[i] = place.get(nodes[len(nodes.shown) + i], -1)
        keys.append(key)
        rows.append(row)
    hidden = np.unique(np.concatenate([k[r < 0] for k, r in zip(keys, rows, strict=True)]))
    found = []
    for nodes, key, row in zip((a, b), keys, rows, strict=True):
        row[row < 0] = len(place) + np.searchsorted(hidden, key[row < 0])
        found.append(np.concatenate(([place[p] for p in nodes.shown], row)).astype(np.intp))
    merged = NodePaths(tuple(place), a.layers, hidden >> 32, hidden & 0xFFFFFFFF)
    return merged, found[0], found[1]


def paired(keys_a: Index, keys_b: Index) -> tuple[Index, Index, Index, Index]:
    """Positions of the keys in both (two arrays), in the first only, in the second only.

    The n-th occurrence of a key pairs with the n-th occurrence on the other side.

    Parameters
    ----------
    keys_a, keys_b : int array, shapes (n,) and (m,)
        Not negative; times the longer length they must fit 64 bits.

    Returns
    -------
    in_a, in_b : index array, shape (k,)
        In the order of `keys_b`.
    only_a, only_b : index array
        Ascending.
    """
    most = max(len(keys_a), len(keys_b), 1)
    a, b = (keys * most + _occurrence(keys) for keys in (keys_a, keys_b))
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    order = np.argsort(in_b)
    in_a, in_b = in_a[order], in_b[order]
    only_a, only_b = (np.ones(len(keys), bool) for keys in (a, b))
    only_a[in_a], only_b[in_b] = False, False
    return in_a, in_b, np.flatnonzero(only_a), np.flatnonzero(only_b)


def _occurrence(keys: Index) -> Index:
    """For each key how many equal ones stand before it."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])) if len(keys) else order
    before = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))
    found = np.empty(len(keys), np.intp)
    found[order] = before
    return found
