"""Labels stay apart, inside the picture, and near what they name."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.label_placement import Surroundings, place_labels
from explorer.screen_cover import Cover


def rectangles(positions, sizes):
    return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(positions.tolist(), sizes, strict=True)]


def flat(box) -> np.ndarray:
    """Corners on the screen of a box seen from the front."""
    left, top, right, bottom = box
    return np.array([[x, y] for x in (left, right) for y in (bottom, top) for _ in (0, 1)], float)


def surroundings(
    things, own, upon=False, depths=None, viewport=(400, 400), **titles
) -> Surroundings:
    corners = np.array([flat(t) for t in things]).reshape(-1, 8, 2)
    depths = np.zeros(len(things)) if depths is None else np.array(depths, float)
    own = np.asarray(own)
    cover = Cover(corners, depths, viewport)
    return Surroundings(cover, own, np.full(len(own), upon), **titles)


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_lone_label_stands_centred_just_above_its_anchor() -> None:
    found = place_labels([[400, 300]], [[100, 20]], [1], (800, 600))
    positions, visible = found.positions, found.visible
    assert np.isnan(found.leaders).all()
    assert visible.tolist() == [True]
    x, y = positions[0].tolist()
    assert x + 50 == 400
    assert 0 < 300 - (y + 20) <= 6


def test_hanging_label_stands_just_below_its_anchor() -> None:
    positions = place_labels([[400, 300]], [[100, 20]], [1], (800, 600), below=[True]).positions
    assert 0 < positions[0, 1] - 300 <= 6


def test_more_important_label_takes_the_best_place() -> None:
    anchors, sizes = [[400, 300], [405, 302]], [[100, 20], [100, 20]]
    first = place_labels(anchors, sizes, [1, 2], (800, 600)).positions
    alone = place_labels(anchors[1:], sizes[1:], [2], (800, 600)).positions
    assert first[1].tolist() == alone[0].tolist()
    assert not overlap(*rectangles(first, sizes))


def test_what_does_not_fit_is_dropped_least_important_first() -> None:
    visible = place_labels([[50, 20]] * 40, [[90, 18]] * 40, np.arange(40), (100, 60)).visible
    assert 0 < visible.sum() < 40
    assert visible[39]
    assert not visible[0]


def test_behind_the_viewer_or_outside_is_dropped() -> None:
    anchors = [[np.nan, 5], [-1, 50], [50, 101], [np.inf, 3], [50, 50]]
    visible = place_labels(anchors, [[10, 10]] * 5, [1] * 5, (100, 100)).visible
    assert visible.tolist() == [False, False, False, False, True]


def test_nothing_to_place() -> None:
    found = place_labels([], [], [], (100, 100))
    assert found.positions.shape == (0, 2)
    assert found.visible.shape == (0,)


@settings(deadline=None)
@given(
    anchors=hnp.arrays(float, (30, 2), elements=st.floats(-50, 450)),
    sizes=hnp.arrays(int, (30, 2), elements=st.integers(1, 120)),
    thing=st.tuples(*[st.integers(0, 400)] * 4),
)
def test_never_overlapping_never_outside_never_on_another_thing(anchors, sizes, thing) -> None:
    left, right = sorted(thing[:2])
    top, bottom = sorted(thing[2:])
    box = (left, top, right + 9, bottom + 9)
    around = surroundings([box], np.full(30, -1))
    found = place_labels(anchors, sizes, np.arange(30), (400, 400), around=around)
    together = zip(rectangles(found.positions, sizes.tolist()), found.visible, strict=True)
    shown = [r for r, v in together if v]
    for i, a in enumerate(shown):
        assert a[0] >= 0
        assert a[1] >= 0
        assert a[2] <= 400
        assert a[3] <= 400
        inner = (box[0] + 8, box[1] + 8, box[2] - 8, box[3] - 8)  # of whole cells
        width, height = (min(a[k + 2], inner[k + 2]) - max(a[k], inner[k]) for k in (0, 1))
        area = (a[2] - a[0]) * (a[3] - a[1])
        assert max(width, 0) * max(height, 0) <= 0.1 * area
        assert not any(overlap(a, b) for b in shown[i + 1 :])


def test_label_that_would_lie_on_the_neighbour_goes_to_its_own_side() -> None:
    mine, other = (100, 100, 200, 200), (100, 204, 320, 300)
    around = surroundings([mine, other], [0])
    found = place_labels([[150, 200]], [[60, 20]], [1], (400, 400), [True], around)
    assert found.visible[0]
    assert not overlap(rectangles(found.positions, [[60, 20]])[0], other)
    free = place_labels([[150, 200]], [[60, 20]], [1], (400, 400), [True])
    assert overlap(rectangles(free.positions, [[60, 20]])[0], other)


def test_label_far_from_its_thing_gets_a_leader_that_ends_on_it() -> None:
    mine = (190, 190, 210, 210)
    ring = [(100, 100, 188, 300), (212, 100, 300, 300), (188, 150, 212, 189)]
    around = surroundings([mine, *ring], [0])
    found = place_labels([[200, 210]], [[22, 20]], [1], (400, 400), [True], around)
    assert found.visible[0]
    narrow = place_labels([[200, 210]], [[80, 20]], [1], (400, 400), [True], around)
    assert not narrow.visible[0]  # nowhere near without lying on another thing
    shorter = place_labels([[200, 210]], [[[80, 20], [22, 20]]], [1], (400, 400), [True], around)
    assert shorter.visible[0]
    assert shorter.variant[0] == 1
    ring = [(100, 100, 189, 215), (211, 100, 300, 215)]  # open below the thing, not beside it
    around = surroundings([mine, *ring], [0])
    found = place_labels([[200, 200]], [[80, 20]], [1], (400, 400), [True], around)
    assert found.visible[0]
    text = rectangles(found.positions, [[80, 20]])[0]
    assert not any(overlap(text, (r[0] + 4, r[1] + 4, r[2] - 4, r[3] - 4)) for r in ring)
    x0, y0, x1, y1 = found.leaders[0]
    assert text[0] <= x0 <= text[2]
    assert text[1] <= y0 <= text[3]
    assert mine[0] - 4 <= x1 <= mine[2] + 4
    assert mine[1] - 4 <= y1 <= mine[3] + 4


def test_label_of_a_hidden_thing_is_dropped() -> None:
    things = [(150, 150, 200, 200), (100, 100, 250, 198)]
    for depths, shown in (([1, 2], True), ([2, 1], False)):
        around = surroundings(things, [0], depths=depths)
        found = place_labels([[175, 200]], [[30, 12]], [1], (400, 400), [True], around)
        assert found.visible[0] == shown


def test_number_of_a_unit_stands_on_its_cube_or_nowhere() -> None:
    things = [(100, 100, 140, 140), (144, 100, 184, 140), (188, 100, 194, 140)]
    around = surroundings(things, [0, 1, 2], upon=True)
    anchors = [[140, 120], [184, 120], [194, 120]]
    found = place_labels(anchors, [[24, 24]] * 3, [3, 2, 1], (400, 400), around=around)
    assert found.visible.tolist() == [True, True, False]
    for (x, y), (left, top, right, bottom) in zip(found.positions, things[:2], strict=False):
        assert left <= x
        assert x + 24 <= right + 4
        assert top <= y
        assert y + 24 <= bottom + 4


def test_title_stands_on_its_frame_and_no_wider() -> None:
    frame, other = (100, 100, 220, 200), (120, 70, 200, 98)
    inner = np.array([False])
    for things, above in (([], True), ([other], False)):
        around = surroundings(
            things, [-1], outline={0: flat(frame)}, inner={0: inner[: len(things)]}
        )
        texts = [[[180, 24], [100, 24]]]
        found = place_labels([[160, 100]], texts, [1], (400, 400), around=around)
        assert found.visible[0]
        assert found.variant[0] == 1
        (text,) = rectangles(found.positions, [[100, 24]])
        assert frame[0] <= text[0]
        assert text[2] <= frame[2]
        assert (text[3] <= frame[1] and text[3] > frame[1] - 4) == above
        assert not any(overlap(text, thing) for thing in things)


def test_title_over_a_slanted_edge_keeps_clear_of_it() -> None:
    corners = flat((100, 100, 300, 300))
    corners[:, 1] += (corners[:, 0] - 100) * 0.5  # the upper edge falls to the right
    around = surroundings([], [-1], outline={0: corners})
    found = place_labels([[200, 150]], [[80, 20]], [1], (400, 400), around=around)
    x, y = found.positions[0].tolist()
    assert x == 160
    assert y + 20 == 100 + (160 - 100) * 0.5


def test_cover_is_what_points_in_the_boxes_hit() -> None:
    rng = np.random.default_rng(3)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    middles, halves = rng.uniform(-3, 3, (12, 1, 3)), rng.uniform(0.1, 0.8, (12, 1, 3))
    points = (middles + halves * signs) @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + (0, 0, 12)
    corners = points[..., :2] / points[..., 2:] * 500 + (200, 150)  # turned boxes in perspective
    depths = points[..., 2].mean(axis=1)
    corners[3, 2] = np.nan
    cover = Cover(corners, depths, (400, 300))
    wrong = 0
    for row in range(75):
        for column in range(100):
            at = np.array([column + 0.5, row + 0.5]) * 4
            hit = [i for i in range(12) if i != 3 and in_hull(corners[i], at)]
            truth = min(hit, key=lambda i: depths[i]) if hit else -1
            wrong += cover.grid[row, column] != truth
    assert wrong < 0.08 * 7500  # cells on the rims
    assert cover.seen(3) == 0.0


def test_parts_of_one_thing_count_as_one() -> None:
    boxes = np.array([flat((0, 0, 100, 100)), flat((100, 0, 140, 100)), flat((0, 0, 40, 100))])
    cover = Cover(boxes, np.array([2.0, 2.0, 1.0]), (400, 400), np.array([0, 0, 2]))
    assert cover.bounds(0) == (0, 0, 140, 100)
    assert cover.seen(0) == pytest.approx(100 / 140)
    assert cover.center(0) == (90, 50)
    assert set(np.unique(cover.grid).tolist()) == {-1, 0, 2}


def in_hull(points, at) -> bool:
    """Whether a point lies among others: not all of them within a half-plane seen from it."""
    angles = np.sort(np.arctan2(*(points - at).T))
    return bool(np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() < np.pi)


def test_sixty_labels_take_less_than_five_milliseconds() -> None:
    rng = np.random.default_rng(0)
    cell = np.stack(np.meshgrid(np.arange(10), np.arange(6)), 2).reshape(60, 2) * (158, 145)
    corner = cell + rng.uniform(0, 60, (60, 2))
    things = np.hstack([corner, corner + rng.uniform(20, 140, (60, 2))])
    sizes = [[[w, 25], [min(w, 90), 25]] for w in rng.integers(30, 180, 60).tolist()]
    anchors = np.stack([things[:, [0, 2]].mean(axis=1), np.minimum(things[:, 3], 899)], 1)

    around = surroundings(things, np.arange(60), viewport=(1600, 900))

    def once() -> float:
        start = time.thread_time()
        place_labels(anchors, sizes, np.arange(60), (1600, 900), np.ones(60, bool), around)
        return time.thread_time() - start

    fastest = min(once() for _ in range(40))
    assert fastest < 0.005
