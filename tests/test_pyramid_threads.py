"""One connection is read once, however many threads ask for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_pyramid import ArrayReader, weight

from explorer.errors import ModelError
from explorer.network import Layer
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.connections import connections_of


class SlowReader(ArrayReader):
    """Holds the first read until it is let go."""

    def __init__(self, arrays):
        super().__init__(arrays)
        self.reading = threading.Event()
        self.go = threading.Event()
        self.fail_first = False

    def read_flat(self, weight, start, stop):
        first = not self.reading.is_set()
        self.reading.set()
        assert self.go.wait(30)
        if first and self.fail_first:
            raise ModelError("file", "cannot be read")
        return super().read_flat(weight, start, stop)


def slow(rows=64):
    """A pyramid over one connection of so many rows of 64, its reader held."""
    arrays = {"kernel": np.ones((rows, 64), np.float32)}
    layer = Layer("d", "Dense", weights=(weight("kernel", "kernel", arrays["kernel"]),))
    reader = SlowReader(arrays)
    (connection,) = connections_of(layer)
    return Pyramid(reader, cache_bytes=0), connection, reader


def test_two_threads_read_a_connection_once():
    pyramid, connection, reader = slow()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pyramid.build, connection)
        assert reader.reading.wait(30)
        waits = threading.Event()

        def asked() -> bool:  # the second caller asks this only while it waits
            waits.set()
            return False

        second = pool.submit(pyramid.build, connection, asked)
        assert waits.wait(30)
        reader.go.set()
        assert first.result(30)
        assert second.result(30)
    assert reader.elements == 64 * 64


@pytest.mark.parametrize("why", ["cancelled", "failed"])
def test_the_second_caller_takes_over(why):
    pyramid, connection, reader = slow(100_000)  # several bands: it is asked between them
    reader.fail_first = why == "failed"
    waits = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        asked = []

        def stop() -> bool:  # not before the first read
            asked.append(1)
            return why == "cancelled" and len(asked) > 1

        # Several blocks, so that it is asked again after the first read.
        first = pool.submit(pyramid.build, connection, stop)
        assert reader.reading.wait(30)
        second = pool.submit(pyramid.build, connection, lambda: waits.set() or False)
        assert waits.wait(30)
        reader.go.set()
        if why == "failed":
            with pytest.raises(ModelError):
                first.result(30)
        else:
            assert not first.result(30)
        assert second.result(30)
    assert pyramid.ready(connection)


def test_who_waits_can_be_cancelled():
    pyramid, connection, reader = slow()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pyramid.build, connection)
        assert reader.reading.wait(30)
        assert not pool.submit(pyramid.build, connection, lambda: True).result(30)
        reader.go.set()
        assert first.result(30)


@pytest.mark.parametrize("large", [1e155, 1e200, -1e300])
def test_a_weight_that_cannot_be_squared_counts_as_not_finite(large):
    kernel = np.arange(1.0, 13.0).reshape(3, 4)
    kernel[1, 2] = large
    layer = Layer("d", "Dense", weights=(weight("kernel", "kernel", kernel),))
    (connection,) = connections_of(layer)
    pyramid = Pyramid(ArrayReader({"kernel": kernel}))
    for out in (np.zeros(4, np.int32), np.arange(4, dtype=np.int32)):
        stats = pyramid.stats(connection, out, np.zeros(3, np.int32), int(out.max()) + 1, 1)
        kept = kernel[np.abs(kernel) < 1e140]
        assert stats.sum_sq.sum() == pytest.approx(np.square(kept).sum())
        assert stats.non_finite.sum() == 1
        assert stats.count.sum() == 11


def test_many_weights_just_small_enough_do_not_overflow():
    kernel = np.full((70, 70), 1e140)
    layer = Layer("d", "Dense", weights=(weight("kernel", "kernel", kernel),))
    (connection,) = connections_of(layer)
    zeros = np.zeros(70, np.int32)
    stats = Pyramid(ArrayReader({"kernel": kernel})).stats(connection, zeros, zeros, 1, 1)
    assert stats.rms[0, 0] == pytest.approx(1e140)
