"""Layers that pass every unit on to the unit of the same number, found for a whole network at once.

Nearly all weightless layers are such; what this does not recognise is looked at one by one where it
is met.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network
from explorer.pyramid.connection_table import ConnectionTable
from explorer.tree.likeness import classes
from explorer.weights.units import ELEMENTWISE, GLOBAL, SPATIAL, unusual_layers

I4 = NDArray[np.int32]
SAME = ELEMENTWISE | SPATIAL | GLOBAL
"""Kinds that hand a channel on to the channel of the same index where there are as many."""
_PLAIN = frozenset(("Dense", "Conv1D", "Conv2D", "Conv3D"))  # their kernels tell their channels


def link_sizes(network: Network, table: ConnectionTable) -> I4:
    """Channels of the tensor that flows along each link, where that is seen at a glance.

    Returns
    -------
    int32 array, shape (links,)
        0 where it takes a closer look (`explorer.weights.wires.Wires.flow`).
    """
    # Of each layer: channels told by its kernel, -1 where its links' shapes tell, 0 for a closer
    # look.
    number = np.diff(table.spans, axis=1)[:, 0]
    units = np.where(number == 0, -1, 0)
    like = classes(network)
    plain = like.each(lambda la: la.op in _PLAIN)
    kernel = np.flatnonzero((number == 1) & plain)
    out_units = (table.connections[k].out_units for k in table.spans[kernel, 0].tolist())
    units[kernel] = np.fromiter(out_units, np.int64, len(kernel))
    units[like.each(lambda la: "heads" in la.config)] = 0
    units[[network.position[path] for path in unusual_layers(network)]] = 0
    source = units[network.link_ends[:, 0]]
    sizes = np.where(source > 0, source, 0)
    shaped = (source < 0) | ((source > 0) & (network.link_ports[:, 0] > 0))
    sizes[shaped] = 0
    lasts = np.flatnonzero(shaped & (source < 0))
    shapes = [network.links[k].shape for k in lasts.tolist()]
    sizes[lasts] = [max(s[-1] or 0, 0) if s and len(s) > 1 else 0 for s in shapes]
    return sizes.astype(np.int32)


def clear_layers(network: Network, sizes: I4) -> NDArray[np.bool_]:
    """Which layers are seen at a glance to pass every unit on unchanged.

    Parameters
    ----------
    network : Network
    sizes : int32 array, shape (links,)
        As `link_sizes` finds them.

    Returns
    -------
    bool array, shape (layers,)
        True for a layer of such a kind, with one output, as many channels as all its inputs.
    """
    count = len(network.layers)
    low = np.full(count, np.iinfo(np.int32).max, np.int32)
    high = np.zeros(count, np.int32)
    for end in (0, 1):
        layer = network.link_ends[:, end]
        np.minimum.at(low, layer, sizes)
        np.maximum.at(high, layer, sizes)
    several = network.link_ports[:, 0] > 0
    same = classes(network).each(lambda la: la.op in SAME)
    same[network.link_ends[several, 0]] = False
    return np.asarray(same & (low == high) & (low > 0))
