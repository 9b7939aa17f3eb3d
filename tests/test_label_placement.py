"""Labels stay apart, inside the picture, and near what they name."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.drawing.label_placement import Surroundings, place_labels
from explorer.drawing.screen_cover import CELL, Cover, Ink


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
    assert x == 100, "it begins where the edge begins"
    assert y + 20 == 100


def test_a_title_has_a_line_down_to_the_corner_of_its_frame() -> None:
    corners = flat((100, 200, 300, 300))
    corners[:, 1] -= (corners[:, 0] - 100) * 0.5  # the upper edge rises to the right
    around = surroundings([], [-1], outline={0: corners})
    found = place_labels([[200, 150]], [[80, 20]], [1], (400, 400), around=around)
    assert found.positions[0].tolist() == [100, 200 - 40 - 20], "clear of the edge at its right end"
    assert found.leaders[0].tolist() == [101, 160, 101, 199.5]


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


def lines(*ends) -> np.ndarray:
    """Straight lines (x0, y0, x1, y1) as polylines of two points."""
    return np.array(ends, float).reshape(-1, 2, 2)


def nothing(viewport) -> Cover:
    return Cover(np.zeros((0, 8, 2)), np.zeros(0), viewport)


def test_ink_is_where_the_lines_run() -> None:
    rng = np.random.default_rng(3)
    ends = rng.uniform(-50, 450, (20, 4))
    ink = Ink(lines(*ends), (400, 300))
    rows, columns = ink.grid.shape
    share = np.linspace(0, 1, 4000)[:, None]
    points = np.concatenate([a + (b - a) * share for a, b in ends.reshape(-1, 2, 2)])
    cells = np.floor(points / CELL).astype(int)
    cells = cells[((cells >= 0) & (cells < (columns, rows))).all(axis=1)]
    crossed = np.zeros((rows, columns), bool)
    crossed[cells[:, 1], cells[:, 0]] = True
    assert not (ink.grid & ~crossed).any()
    assert ink.grid.sum() > 0.7 * crossed.sum()
    assert ink.share((40, 40, 200, 120)) == pytest.approx(ink.grid[10:30, 10:50].mean())


def test_ink_of_what_is_behind_the_viewer_or_far_outside() -> None:
    odd = [(np.nan, 0, 10, 10), (np.inf, 5, 5, 5), (1e30, 10, -1e30, 10), (900, 900, 990, 990)]
    ink = Ink(lines(*odd), (400, 300))
    assert ink.grid[:2].sum() == 0
    assert ink.share((350, 250, 900, 900)) == 0.0
    assert Ink(np.zeros((0, 24, 2)), (0, 0)).share((0, 0, 10, 10)) == 0.0


def test_title_keeps_clear_of_edges_where_there_is_room_elsewhere() -> None:
    size, box = (400, 300), np.array([(x, y) for x in (50, 350) for y in (100, 200)] * 2, float)
    own, upon = np.array([-1]), np.array([False])
    # A cable runs along the upper edge, from the middle to the right.
    cable = lines(*[(180, y, 400, y) for y in range(80, 100, 2)])
    around = Surroundings(nothing(size), own, upon, {0: box}, {}, Ink(cable, size))
    found = place_labels([(200, 100)], [(60, 20)], [1.0], size, None, around)
    (x, y), (w, h) = found.positions[0].tolist(), (60, 20)
    assert found.visible[0]
    assert around.ink.share((x, y, x + w, y + h)) < 0.15
    # Where the cable runs all along, the title stays at its frame.
    cable = lines(*[(0, y, 400, y) for y in range(60, 140, 2)])
    around = Surroundings(nothing(size), own, upon, {0: box}, {}, Ink(cable, size))
    found = place_labels([(200, 100)], [(60, 20)], [1.0], size, None, around)
    assert found.visible[0]
    assert abs(found.positions[0, 1] + 20 - 100) <= 25


def test_label_stands_beside_a_line_rather_than_on_it_but_not_far_away() -> None:
    size = (400, 300)
    own, upon = np.array([-1]), np.array([False])
    cable = lines(*[(100, y, 300, y) for y in range(152, 180, 2)])  # just under the anchor
    around = Surroundings(nothing(size), own, upon, {}, {}, Ink(cable, size))
    found = place_labels([(200, 150)], [(60, 20)], [1.0], size, [True], around)
    assert found.visible[0]
    assert found.positions[0, 1] + 20 <= 152
    assert np.isnan(found.leaders[0]).all()


@pytest.mark.parametrize("text", ["x", "🙂" * 40])
def test_thousands_of_labels_never_overlap(text) -> None:
    rng = np.random.default_rng(len(text))
    count, size = 3000, (1600, 900)
    anchors = rng.uniform((0, 0), size, (count, 2))
    sizes = np.stack((rng.integers(30, 200, count), np.full(count, 20)), 1)
    ends = rng.uniform(0, 900, (300, 4))
    around = Surroundings(
        nothing(size), np.full(count, -1), np.zeros(count, bool), {}, {}, Ink(lines(*ends), size)
    )
    found = place_labels(anchors, sizes, rng.random(count), size, None, around)
    taken = np.zeros(size, int)
    for i in np.flatnonzero(found.visible):
        (x, y), (w, h) = found.positions[i], sizes[i]
        assert x >= 0
        assert y >= 0
        assert x + w <= size[0]
        assert y + h <= size[1]
        taken[x : x + w, y : y + h] += 1
    assert taken.max() == 1
    assert found.visible.sum() > 100


def test_title_wider_than_its_frame_does_not_slide_down_its_side() -> None:
    # A narrow frame whose lower left corner is seen farther left than its upper left one.
    frame = np.array([(100, 500), (104, 500), (120, 100), (124, 100)] * 2, float)
    frame[4:, 0] += 60
    size = (800, 600)
    things = np.array([[(x, y) for x in (60, 240) for y in (40, 100)] * 2], float)
    cover = Cover(things, np.ones(1), size)  # what stands above the frame
    around = Surroundings(cover, np.array([-1]), np.array([False]), {0: frame}, {})
    found = place_labels([(150, 100)], [(90, 20)], [1.0], size, None, around)
    assert not found.visible[0] or found.positions[0, 1] < 140
