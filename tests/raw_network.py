"""A network in a file of bare numbers: quick to make, of several kinds of layers and many bands."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from explorer.network import ByteRange, FileStamp, Layer, Network, Weight
from explorer.pyramid.blocks import to_bytes
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import Connection, connections_of

SHAPES = {
    "wide": ("Dense", {"kernel": (2600, 1500)}),  # two bands
    "tall": ("Dense", {"kernel": (9000, 700)}),  # more
    "small": ("Dense", {"kernel": (64, 7)}),
    "taps": ("Conv1D", {"kernel": (9, 256, 200)}),
    "gates": ("LSTM", {"kernel": (700, 1200), "recurrent_kernel": (300, 1200)}),
    "depth": ("DepthwiseConv1D", {"kernel": (5, 90, 3)}),
}


def write(path: Path, seed: int = 3) -> tuple[Network, list[Connection]]:
    """Write the numbers, one not finite; the network they make, and its connections."""
    draw = np.random.default_rng(seed)
    layers: list[Layer] = []
    with path.open("wb") as file:
        for name, (kind, shapes) in SHAPES.items():
            weights = []
            for role, shape in shapes.items():
                array = draw.normal(size=shape).astype(np.float32)
                if name == "tall":
                    array[4321, 123] = np.nan
                place = ByteRange(str(path), file.tell(), array.nbytes)
                weights.append(Weight(f"{name}/{role}", role, shape, "float32", place))
                file.write(array.tobytes())
            layers.append(Layer(name, kind, {}, weights=tuple(weights)))
    network = Network("raw", "raw", tuple(layers), files=(stamp(path),))
    return network, [c for layer in layers for c in connections_of(layer)]


def stamp(path: Path) -> FileStamp:
    """The file as it is now."""
    status = os.stat(path)
    return FileStamp(str(path), status.st_size, status.st_mtime_ns)


def sections(pyramid: Pyramid, connections: list[Connection]) -> list[tuple[object, bytes]]:
    """All that was measured, as bytes."""
    return [(pyramid.totals(c), to_bytes(pyramid.matrices(c))) for c in connections]
