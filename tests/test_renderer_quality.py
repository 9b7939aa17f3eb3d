"""A reduced picture: what is left out, and that all of it comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explorer.drawing.draw_list import BoxArrays, DrawList, EdgeArrays, Label, Legend
from explorer.renderer import Renderer
from explorer.session.pace import FULL, LEVELS, Quality, quality_of
from explorer.viewing.view_state import Camera

SIZE = (400, 300)
CAMERA = Camera((0.0, 0.0, 20.0), (0.0, 0.0, 0.0))


def lines(rows: list[tuple[float, float]], labels: int = 0) -> DrawList:
    """Level lines at heights y, weakest first, of given widths; each has nine points."""
    count = len(rows)
    points = np.zeros((count, 9, 3), np.float32)
    points[..., 0] = np.linspace(-3, 3, 9)
    points[..., 1] = np.array([y for y, _ in rows], np.float32)[:, None]
    points[:, 1:-1:2, 1] += 0.05  # points that every second one leaves out
    nothing = BoxArrays(
        np.zeros((0, 3), np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((0, 4), np.uint8),
        np.zeros(0, np.int32),
    )
    ends = np.zeros(count, np.int32)
    edges = EdgeArrays(
        points,
        np.full((count, 4), 255, np.uint8),
        np.array([w for _, w in rows], np.float32),
        ends,
        ends,
        np.ones(count),
        np.ones(count),
        np.ones(count, np.int64),
        np.zeros(count, bool),
        np.zeros((count, 3), np.int64),
    )
    texts = tuple(Label(f"label {i}", (0.0, -2.0 + i, 0.0), float(i)) for i in range(labels))
    legend = Legend("", np.zeros((0, 3), np.uint8), (), (), ())
    return DrawList(nothing, nothing, edges, texts, legend, nodes=("",))


def heights(picture: np.ndarray) -> set[int]:
    """Which of the lines, by their height in world units, are in the picture."""
    bright = picture[:, 180:220].max(axis=(1, 2)) > 120
    scale = SIZE[1] / 2 / (20 * np.tan(np.radians(9)))
    rows = np.flatnonzero(bright)
    return {round((SIZE[1] / 2 - row) / scale) for row in rows.tolist()}


@pytest.fixture(scope="module")
def renderer():
    with Renderer(SIZE, legend=False, multi_samples=0) as made:
        made.camera = CAMERA
        yield made


def test_the_weakest_edges_go_first_whatever_their_width(renderer):
    rows = [(-2, 1.0), (-1, 4.5), (0, 1.0), (1, 2.2)]
    renderer.draw(lines(rows))
    for share, left in ((1.0, {-2, -1, 0, 1}), (0.75, {-1, 0, 1}), (0.5, {0, 1}), (0.25, {1})):
        renderer.quality = Quality(edges=share)
        assert heights(renderer.image()) == left
    renderer.quality = Quality(edges=0.0)
    assert heights(renderer.image()) == set()
    renderer.quality = FULL
    assert heights(renderer.image()) == {-2, -1, 0, 1}


def test_what_is_drawn_anew_has_the_quality_that_was_set(renderer):
    renderer.quality = Quality(edges=0.0)
    renderer.draw(lines([(-1, 1.0), (1, 1.0), (2, 3.2)]))
    assert heights(renderer.image()) == set()
    renderer.quality = FULL
    assert heights(renderer.image()) == {-1, 1, 2}


def test_curves_of_fewer_points_keep_their_ends(renderer):
    drawn = lines([(0, 1.0)])
    renderer.quality = FULL
    renderer.draw(drawn)
    full = renderer.image()
    for every in (2, 4, 100):
        renderer.quality = Quality(every=every)
        fewer = renderer.image()
        assert (fewer != full).any()
        columns = [np.flatnonzero(p.max(axis=(0, 2)) > 120) for p in (full, fewer)]
        assert columns[0][0] == columns[1][0]
        assert columns[0][-1] == columns[1][-1]


def test_the_most_important_labels_stay(renderer):
    renderer.quality = FULL
    drawn = lines([(0, 1.0)], labels=4)
    renderer.draw(drawn)
    renderer.render()
    assert len(renderer.placed_labels()) == 4
    renderer.quality = Quality(labels=2)
    renderer.render()
    assert {p.label.text for p in renderer.placed_labels()} == {"label 2", "label 3"}
    renderer.quality = FULL
    renderer.render()
    assert len(renderer.placed_labels()) == 4


def test_after_moving_at_any_quality_the_still_picture_is_the_same(renderer):
    drawn = lines([(y / 4, w) for y in range(-8, 8) for w in (1.0, 3.2)], labels=3)
    renderer.quality = FULL
    renderer.draw(drawn)
    complete = renderer.image()
    for level in range(LEVELS):
        renderer.quality = quality_of(level)
        renderer.image()
        renderer.draw(replace(drawn))
        renderer.quality = FULL
        np.testing.assert_array_equal(renderer.image(), complete)


def test_the_times_of_a_picture_are_told(renderer):
    renderer.quality = FULL
    drawn = lines([(0, 1.0)], labels=4)
    renderer.render()
    still = renderer.times.whole
    assert 0 < renderer.times.drawing < still < 60
    for _ in range(200):
        renderer.draw(replace(drawn))
    renderer.render()
    assert renderer.times.whole > renderer.times.drawing + still, "taking draw lists counts"
