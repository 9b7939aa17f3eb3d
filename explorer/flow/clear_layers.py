"""Layers that pass every unit on to the unit of the same number, found for a whole network at once.

Nearly all weightless layers are such; what this does not recognise is looked at one by one where it
is met.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network
from explorer.weights.connection_table import ConnectionTable
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
    unusual = unusual_layers(network)
    units: list[int] = []  # of each layer: channels told by its kernel, -1 for its link's shape
    for at, layer in enumerate(network.layers):
        numbers = table.of_layer(at)
        if layer.path in unusual or "heads" in layer.config:
            units.append(0)
        elif not numbers:
            units.append(-1)
        elif layer.kind in _PLAIN and len(numbers) == 1:
            units.append(table.connections[numbers[0]].out_units)
        else:
            units.append(0)
    sizes = []
    for link, source in zip(network.links, network.link_ends[:, 0].tolist(), strict=True):
        size, shape = units[source], link.shape
        if size < 0 or (size and link.source_output):
            last = shape[-1] if shape and len(shape) > 1 else 0
            size = last if size < 0 and last and last > 0 else 0
        sizes.append(size)
    return np.array(sizes, np.int32)


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
    several = np.array([link.source_output > 0 for link in network.links], bool)
    same = np.array([layer.kind in SAME for layer in network.layers], bool)
    same[network.link_ends[several, 0]] = False
    return np.asarray(same & (low == high) & (low > 0))
