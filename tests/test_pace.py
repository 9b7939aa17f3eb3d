"""The pace of moving pictures: comes to rest at any speed, and never swings."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.session.pace import FAST_AIM, FULL, LEVELS, SLOW_AIM, Pace, quality_of


def cost(fixed: float, edges: float, labels: float, level: int) -> float:
    """Seconds of a frame of a simulated renderer that draws at a constant speed."""
    quality = quality_of(level)
    curve = {1: 1.0, 2: 0.7, 4: 0.5}[quality.every]
    named = 240 if quality.labels is None else quality.labels
    return fixed + edges * quality.edges * curve + labels * named / 240


parts = st.floats(0.0, 2.0)


def test_more_is_left_out_from_level_to_level():
    levels = [quality_of(n) for n in range(LEVELS)]
    assert levels[0] == FULL
    for above, below in itertools.pairwise(levels):
        assert below.edges / below.every <= above.edges / above.every
        assert below.every >= above.every
        assert below.labels < (above.labels or math.inf)
        assert below.scale <= above.scale
    assert levels[-1].edges < 0.25


@given(parts, parts, parts)
def test_at_any_constant_speed_it_comes_to_rest(fixed, edges, labels):
    pace = Pace()
    seen = []
    for _ in range(200):
        seen.append(pace.level)
        pace.feed(cost(fixed, edges, labels, pace.level))
    settled = seen[60:]
    assert len(set(settled)) == 1, settled
    level, spent = settled[0], cost(fixed, edges, labels, settled[0])
    assert spent <= 1.15 * SLOW_AIM or level == LEVELS - 1
    # And it draws what it can: one level more would come out of the band, or nearly.
    if level > 0:
        assert spent >= 0.6 * SLOW_AIM


@given(parts, parts, parts, st.integers(0, 2**31 - 1))
def test_uneven_frames_move_it_by_one_level_at_most(fixed, edges, labels, seed):
    import random

    rng = random.Random(seed)
    pace, seen = Pace(), []
    for _ in range(300):
        seen.append(pace.level)
        pace.feed(cost(fixed, edges, labels, pace.level) * rng.uniform(0.93, 1.07))
    settled = seen[100:]
    assert max(settled) - min(settled) <= 1


@given(parts, parts, parts)
def test_it_slows_down_within_a_few_frames(fixed, edges, labels):
    pace = Pace()
    for _ in range(8):
        pace.feed(cost(fixed, edges, labels, pace.level))
    spent = cost(fixed, edges, labels, pace.level)
    assert spent <= 1.15 * SLOW_AIM or pace.level == LEVELS - 1


@given(parts, parts)
def test_a_scene_that_becomes_light_is_drawn_in_full_again(fixed, edges):
    pace = Pace()
    for _ in range(50):
        pace.feed(cost(fixed, edges, 1.0, pace.level))
    for _ in range(LEVELS * 3):
        pace.feed(0.5 * SLOW_AIM)
    assert pace.quality == FULL


def test_a_graphics_card_is_known_by_its_speed():
    software, card = Pace(), Pace()
    for _ in range(30):
        software.feed(0.05, drawing=0.03)
        card.feed(0.05, drawing=0.002)
    assert software.aim == SLOW_AIM
    assert software.quality == FULL
    assert card.aim == FAST_AIM
    assert card.quality != FULL, "the labels are what takes long"


def test_where_the_least_is_too_slow_fewer_nodes_open():
    pace = Pace()
    before = pace.room
    for _ in range(100):
        pace.feed(1.0)
    assert 0 < pace.room < before
    low = pace.room
    for _ in range(200):
        pace.feed(0.01)
    assert pace.room > low


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf])
def test_times_that_are_none_change_nothing(nonsense):
    pace = Pace()
    pace.feed(nonsense, nonsense)
    assert (pace.level, pace.aim) == (0, SLOW_AIM)
