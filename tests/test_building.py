"""The whole pyramid, built by several hands, is the one that a single hand builds."""

from __future__ import annotations

import random
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from test_pyramid import ArrayReader, weight

from explorer.errors import ModelError
from explorer.network import Layer
from explorer.pyramid.blocks import to_bytes
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.workers.building import build_all, here
from explorer.weights.connections import connections_of


def many():
    """Layers of several kinds and sizes, and a reader of their weights."""
    rng = np.random.default_rng(3)
    shapes = {"a": (3000, 1300), "b": (64, 7), "c": (9, 256, 200), "d": (700, 300), "e": (5, 90, 3)}
    kinds = {"a": "Dense", "b": "Dense", "c": "Conv1D", "d": "LSTM", "e": "DepthwiseConv1D"}
    arrays, found = {}, []
    for name, shape in shapes.items():
        made = {"kernel": rng.normal(size=shape).astype(np.float32)}
        if kinds[name] == "LSTM":
            made = {r: rng.normal(size=(n, 1200)).astype(np.float32)
                    for r, n in (("kernel", 700), ("recurrent_kernel", 300))}  # fmt: skip
        arrays |= {f"{name}/{role}": array for role, array in made.items()}
        weights = tuple(weight(f"{name}/{r}", r, a) for r, a in made.items())
        found += connections_of(Layer(name, kinds[name], {}, weights=weights))
    return found, ArrayReader(arrays)


class Scattered(Executor):
    """Does what it is given, but the latest first or in any order, and never at once."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._waiting: list[tuple[Future, object, tuple]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self._waiting.append((future, fn, args))
        if len(self._waiting) >= 3:
            self._one()
        return future

    def _one(self) -> None:
        future, fn, args = self._waiting.pop(self._random.randrange(len(self._waiting)))
        if future.set_running_or_notify_cancel():
            future.set_result(fn(*args))

    def drain(self) -> None:
        while self._waiting:
            self._one()


def sections(pyramid, connections):
    """Everything that was measured, as bytes."""
    return [(pyramid.totals(c), to_bytes(pyramid.matrices(c))) for c in connections]


def test_every_hand_comes_to_the_same_bytes():
    connections, reader = many()
    alone = Pyramid(reader)
    for connection in connections:
        alone.build(connection)
    want = sections(alone, connections)
    with ThreadPoolExecutor(3) as pool:
        threads = Pyramid(reader)
        assert build_all(threads, connections, (pool, 3), here(threads.level0))
    assert sections(threads, connections) == want
    for seed in range(3):
        scattered, hands = Pyramid(reader), Scattered(seed)
        told = []

        def progress(done, total, hands=hands, told=told):
            told.append((done, total))

        # A single worker's queue is short, so the rest is done as it is waited for.
        assert build_all(scattered, connections[::-1], (hands, 1), here(scattered.level0), progress,
                         lambda hands=hands: hands.drain())  # fmt: skip
        assert sections(scattered, connections) == want
        assert told[-1][0] == told[-1][1] == sum(map(scattered.bytes_needed, connections))
        assert [d for d, _ in told] == sorted(d for d, _ in told)


def test_cancelling_keeps_what_is_whole(monkeypatch):
    monkeypatch.setattr("explorer.pyramid.workers.building._JOB_BYTES", 1 << 20)
    monkeypatch.setattr("explorer.pyramid.workers.building._AHEAD", 1)
    connections, reader = many()
    pyramid = Pyramid(reader)
    asked = []
    with ThreadPoolExecutor(1) as pool:
        hands = (pool, 1)

        def stop():
            return len(asked) >= 2 or asked.append(1)

        assert not build_all(pyramid, connections, hands, here(pyramid.level0), cancelled=stop)
        finished = [c for c in connections if pyramid.ready(c)]
        assert len(finished) < len(connections)
        before = reader.elements
        assert build_all(pyramid, connections, hands, here(pyramid.level0))
    left = [c for c in connections if c not in finished]
    assert reader.elements - before <= sum(c.weights for c in left)


def test_a_failing_read_is_told_and_loses_nothing_else():
    connections, reader = many()
    pyramid = Pyramid(reader)
    plain = reader.read_flat

    def failing(weight, start, stop):
        if weight.name.startswith("d/"):
            raise ModelError("file", "cannot be read")
        return plain(weight, start, stop)

    reader.read_flat = failing
    with ThreadPoolExecutor(1) as pool, pytest.raises(ModelError, match="cannot be read"):
        build_all(pyramid, connections, (pool, 1), here(pyramid.level0))
    reader.read_flat = plain
    for connection in connections:
        if pyramid.ready(connection):
            totals = pyramid.totals(connection)
            array = reader.arrays[connection.matrices[0].weight.name].astype(np.float64)
            np.testing.assert_allclose(totals.sum_sq, np.square(array).sum(), rtol=1e-6)
