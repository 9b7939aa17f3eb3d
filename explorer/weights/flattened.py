"""Which connections read a flattened tensor: their in units repeat its channels again and again."""

from __future__ import annotations

from collections.abc import Iterable

from explorer.network import Layer, Network
from explorer.weights.units import channel_axis
from explorer.weights.wires import Wires

_STEPS = 16  # weightless layers looked back through
_FLATTENS = frozenset(("Flatten", "Reshape"))


def flattened_channels(
    network: Network, wires: Wires, weighted: Iterable[str]
) -> dict[tuple[str, str], int]:
    """Channels of the tensor that was flattened into the in units of a connection.

    Parameters
    ----------
    network : Network
        Expanded.
    wires : Wires
        Of the same network.
    weighted : iterable of str
        Paths of the layers that have connections.

    Returns
    -------
    dict of (str, str) to int
        By ``Connection.key``, where in unit i carries channel ``i % channels``. A connection that
        is left out is only slower to ask about: the statistics are the same.
    """
    found = {}
    for path in weighted:
        for connection in wires.connections(path):
            if connection.input != 0:
                continue
            channels = _behind(network, wires, path)
            if 1 < channels < connection.in_units and connection.in_units % channels == 0:
                found[connection.key] = channels
    return found


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
        if layer.kind in _FLATTENS:
            return _last_axis(layer, network)
    return 0


def _last_axis(layer: Layer, network: Network) -> int:
    shape = layer.input_shapes[0] if layer.input_shapes else ()
    if len(shape) < 3 or channel_axis(layer, network) not in (-1, len(shape) - 1):
        return 0
    return shape[-1] or 0
