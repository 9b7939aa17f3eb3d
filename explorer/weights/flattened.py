"""Which connections read a flattened tensor: their in units repeat its channels again and again."""

from __future__ import annotations

from explorer.network import Layer, Network
from explorer.weights.connections import Connection
from explorer.weights.units import channel_axis
from explorer.weights.wires import Wires

_STEPS = 16  # weightless layers looked back through
_FLATTENS = frozenset(("Flatten", "Reshape"))


def flattened_channels(network: Network, wires: Wires, connection: Connection) -> int:
    """Channels of the tensor that was flattened into the in units of a connection.

    Parameters
    ----------
    network : Network
        Expanded.
    wires : Wires
        Of the same network.
    connection : Connection

    Returns
    -------
    int
        In unit i carries channel ``i % channels``; 0 where that is not so, or not known: then
        asking is only slower, the statistics are the same.
    """
    if connection.input != 0:
        return 0
    channels = _behind(network, wires, connection.target)
    fits = 1 < channels < connection.in_units and connection.in_units % channels == 0
    return channels if fits else 0


def _behind(network: Network, wires: Wires, path: str) -> int:
    """Channels of what is flattened before a layer, its last axis; 0 where nothing is."""
    for _ in range(_STEPS):
        links = wires.incoming(path)
        if len({link.source for link in links}) != 1:
            return 0
        path = links[0].source
        layer = network.layer_by_path.get(path)
        if layer is None or wires.connections(path):
            return 0
        if layer.op in _FLATTENS:
            return _last_axis(layer, network)
    return 0


def _last_axis(layer: Layer, network: Network) -> int:
    shape = layer.input_shapes[0] if layer.input_shapes else ()
    if len(shape) < 3 or channel_axis(layer, network) not in (-1, len(shape) - 1):
        return 0
    return shape[-1] or 0
