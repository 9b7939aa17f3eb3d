"""Labels stay apart, inside the picture, and near what they name."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.label_placement import place_labels


def rectangles(positions, sizes):
    return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(positions.tolist(), sizes, strict=True)]


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_lone_label_stands_centred_just_above_its_anchor() -> None:
    positions, visible = place_labels([[400, 300]], [[100, 20]], [1], (800, 600))
    assert visible.tolist() == [True]
    x, y = positions[0].tolist()
    assert x + 50 == 400
    assert 0 < 300 - (y + 20) <= 6


def test_hanging_label_stands_just_below_its_anchor() -> None:
    positions, _ = place_labels([[400, 300]], [[100, 20]], [1], (800, 600), below=[True])
    assert 0 < positions[0, 1] - 300 <= 6


def test_more_important_label_takes_the_best_place() -> None:
    anchors, sizes = [[400, 300], [405, 302]], [[100, 20], [100, 20]]
    first, _ = place_labels(anchors, sizes, [1, 2], (800, 600))
    alone, _ = place_labels(anchors[1:], sizes[1:], [2], (800, 600))
    assert first[1].tolist() == alone[0].tolist()
    assert not overlap(*rectangles(first, sizes))


def test_what_does_not_fit_is_dropped_least_important_first() -> None:
    _, visible = place_labels([[50, 20]] * 40, [[90, 18]] * 40, np.arange(40), (100, 60))
    assert 0 < visible.sum() < 40
    assert visible[39]
    assert not visible[0]


def test_behind_the_viewer_or_outside_is_dropped() -> None:
    anchors = [[np.nan, 5], [-1, 50], [50, 101], [np.inf, 3], [50, 50]]
    _, visible = place_labels(anchors, [[10, 10]] * 5, [1] * 5, (100, 100))
    assert visible.tolist() == [False, False, False, False, True]


def test_nothing_to_place() -> None:
    positions, visible = place_labels([], [], [], (100, 100))
    assert positions.shape == (0, 2)
    assert visible.shape == (0,)


@settings(deadline=None)
@given(
    anchors=hnp.arrays(float, (30, 2), elements=st.floats(-50, 450)),
    sizes=hnp.arrays(int, (30, 2), elements=st.integers(1, 120)),
    obstacle=st.tuples(*[st.integers(0, 400)] * 4),
)
def test_never_overlapping_never_outside_never_on_an_obstacle(anchors, sizes, obstacle) -> None:
    left, right = sorted(obstacle[:2])
    top, bottom = sorted(obstacle[2:])
    box = (left, top, right + 1, bottom + 1)
    positions, visible = place_labels(anchors, sizes, np.arange(30), (400, 400), [box])
    shown = [r for r, v in zip(rectangles(positions, sizes.tolist()), visible, strict=True) if v]
    for i, a in enumerate(shown):
        assert a[0] >= 0
        assert a[1] >= 0
        assert a[2] <= 400
        assert a[3] <= 400
        assert not overlap(a, box)
        assert not any(overlap(a, b) for b in shown[i + 1 :])


def test_sixty_labels_take_less_than_five_milliseconds() -> None:
    rng = np.random.default_rng(0)
    anchors, sizes = rng.uniform(0, 900, (60, 2)), rng.integers(15, 140, (60, 2))

    def once() -> float:
        start = time.thread_time()
        place_labels(anchors, sizes, np.arange(60), (1600, 900))
        return time.thread_time() - start

    assert min(once() for _ in range(20)) < 0.005
