"""Bands make the same statistics in whatever order they come, and little of them is held."""

from __future__ import annotations

import random

import numpy as np
import pytest
from test_pyramid import ArrayReader, clear_plans, weight

from explorer.network import Layer
from explorer.pyramid.blocks import to_bytes
from explorer.pyramid.gathering import Gathered
from explorer.pyramid.level0 import Level0
from explorer.pyramid.plan import measured, plan_of
from explorer.weights.connections import connections_of


@pytest.fixture
def bands(monkeypatch):
    """A plan of two parts and its bands."""
    monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1 << 16)
    monkeypatch.setattr("explorer.pyramid.grid._LINE_SHARE", 1e9)
    clear_plans()
    array = np.random.default_rng(4).normal(size=(1400, 500)).astype(np.float32)
    layer = Layer("d", "Dense", weights=(weight("kernel", "kernel", array),))
    (connection,) = connections_of(layer)
    plan = plan_of(connection, 100)
    level0 = Level0(ArrayReader({"kernel": array}))
    made = measured([(plan.parts[t.part], t.band) for t in plan.tasks], level0)
    yield plan, made, array
    clear_plans()


def test_any_order_makes_the_same(bands):
    plan, made, array = bands
    assert len(plan.parts) == 2
    assert len(made) > 6
    found = []
    for seed in range(5):
        order = list(range(len(made)))
        random.Random(seed).shuffle(order)
        gathered = Gathered(plan)
        for at in order:
            assert not gathered.whole
            assert at not in gathered
            gathered.add(at, made[at])
        assert gathered.whole
        stats, totals = gathered.assembled()
        found.append((to_bytes(stats), totals))
        np.testing.assert_allclose(stats[0].over_columns[1], array.sum(axis=0), atol=1e-3)
        np.testing.assert_allclose(totals.sum_sq, np.square(array.astype(float)).sum(), rtol=1e-6)
        np.testing.assert_allclose(gathered.estimate().sum_sq, totals.sum_sq, rtol=1e-12)
    assert all(one == found[0] for one in found)


def test_progress_goes_on_while_weights_are_read_again(bands):
    plan, _, array = bands
    each = [plan.told(at) for at in range(len(plan.tasks))]
    assert sum(each) == array.nbytes
    for part in range(2):
        mine = [n for n, task in zip(each, plan.tasks, strict=True) if task.part == part]
        assert sum(mine) == array.nbytes / 2
        assert min(mine) > 0


def test_sums_over_columns_are_not_piled_up(bands):
    plan, made, _ = bands
    gathered = Gathered(plan)
    for at in range(len(made)):
        gathered.add(at, made[at])
        held = [b for b in gathered._bands.values() if b.over_columns is not None]
        assert not held
