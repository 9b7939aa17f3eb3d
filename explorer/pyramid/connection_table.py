"""All connections of a model by number, with the sums of those whose weights have been read."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network
from explorer.pyramid.blocks import Totals
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import Connection
from explorer.weights.wires import Wires

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


class ConnectionTable:
    """Connections by number; sums over many are sums over arrays.

    Parameters
    ----------
    network : Network
        Expanded.
    wires : Wires
        Of the same network.
    weighted : iterable of str
        Paths of the layers that have connections, in the order of the network.
    pyramid : Pyramid
        Where weights that have been read are summed.

    Attributes
    ----------
    connections : tuple of Connection
    layer : int32 array, shape (n,)
        Index of each connection's target in ``network.layers``.
    spans : int32 array, shape (layers, 2)
        First and last + 1 number of the connections of each layer.
    ready : bool array, shape (n,)
        Which have been read; `refresh` brings it up to date.
    sums : float64 array, shape (n, 4)
        Σw², Σw, Σ|w| and max|w| over all finite weights of a connection that is ready.
    counts : int64 array, shape (n, 2)
        Finite weights and others, of a connection that is ready.
    partly : bool array, shape (n,)
        Which are not ready, but read in part: `sums` then holds what all of it would come to if
        the rest were like that part, an estimate (max|w| as it was found).
    """

    def __init__(
        self, network: Network, wires: Wires, weighted: Iterable[str], pyramid: Pyramid
    ) -> None:
        found: list[Connection] = []
        layer: list[int] = []
        for path in weighted:
            found += wires.connections(path)
            layer += [network.position[path]] * (len(found) - len(layer))
        self.connections = tuple(found)
        self.layer: I4 = np.array(layer, np.int32)
        bounds = np.searchsorted(self.layer, np.arange(len(network.layers) + 1))
        self._bounds: list[int] = bounds.tolist()
        self.spans: I4 = np.stack((bounds[:-1], bounds[1:]), axis=1).astype(np.int32)
        self.ready = np.zeros(len(found), bool)
        self.sums: F8 = np.zeros((len(found), 4))
        self.counts: I8 = np.zeros((len(found), 2), np.int64)
        self.partly = np.zeros(len(found), bool)
        self._pyramid = pyramid
        self._seen = 0
        self._told: dict[int, Totals] = {}  # estimates that were taken over
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.connections)

    def of_layer(self, layer: int) -> range:
        """Numbers of a layer's connections; empty where its links are neutral."""
        return range(self._bounds[layer], self._bounds[layer + 1])

    def number(self, connection: Connection) -> int:
        """Number of a connection of this model."""
        return self._number[connection.key]

    @cached_property
    def _number(self) -> dict[tuple[str, str], int]:
        return {c.key: i for i, c in enumerate(self.connections)}

    @cached_property
    def weights(self) -> I8:
        """Number of weights of each connection."""
        return np.array([c.weights for c in self.connections], np.int64)

    @cached_property
    def joined(self) -> I8:
        """Number of joined pairs of units of each connection."""
        return np.array([c.joined for c in self.connections], np.int64)

    @cached_property
    def nbytes(self) -> I8:
        """Bytes to read for each connection."""
        needed = self._pyramid.bytes_needed
        return np.array([needed(c) for c in self.connections], np.int64)

    def guess(self, numbers: NDArray[np.integer], weights: int) -> tuple[F8, I8]:
        """What so many weights of some connections come to, if they are like the rest of them.

        Parameters
        ----------
        numbers : int array
            Connections that are ready or read in part.
        weights : int

        Returns
        -------
        float64 array, shape (4,), and int64 array, shape (2,)
            As rows of `sums` and `counts`.
        """
        sums = np.append(self.sums[numbers, :3].sum(axis=0), self.sums[numbers, 3].max(initial=0.0))
        sums[:3] *= weights / max(int(self.weights[numbers].sum()), 1)
        return sums, np.array([weights, 0], np.int64)

    def refresh(self) -> None:
        """Take over the sums of connections that have been read since the last call."""
        with self._lock:
            self._pyramid.take_over(self.connections)
            for key in self._pyramid.built_since(self._seen):
                self._seen += 1
                number = self._number.get(key)
                if number is not None:
                    self._sum(number)
            for key, totals in self._pyramid.estimates().items():
                number = self._number.get(key)
                known = number is None or self.ready[number] or self._told.get(number) is totals
                if number is not None and not known:
                    self._told[number] = totals
                    self._estimate(number, totals)

    def _sum(self, number: int) -> None:
        totals = self._pyramid.totals(self.connections[number]).row()
        self.sums[number], self.counts[number] = totals[:4], totals[4:]
        self.ready[number], self.partly[number] = True, False

    def _estimate(self, number: int, totals: Totals) -> None:
        read = totals.finite + totals.non_finite
        share = self.weights[number] / max(read, 1)
        self.sums[number, :3] = np.array(totals.row()[:3]) * share
        self.sums[number, 3] = totals.max_abs
        self.partly[number] = not self.ready[number] and totals.finite > 0
