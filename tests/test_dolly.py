"""The wheel never loses the network, whatever way it is turned; what is pointed at stays put."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.viewing.dolly import CLOSEST, FARTHEST, dolly, kept
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import alike, shift, turn
from explorer.viewing.view_state import frame

SIZE = (1600, 900)
# A row of boxes with gaps that one can look through, and one far behind them.
CENTERS = np.array([[0, 0, 0], [4, 0, 0], [8, 1, 0], [12, -1, 0], [6, 0, -9]], float)
SIZES = np.array([[1, 2, 2], [1, 2, 2], [0.5, 1, 1], [1, 3, 3], [1, 1, 1]], float)


def drawn(points, camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels and depths of world points, by the pinhole camera's own formula."""
    eye, forward = np.array(camera.position), np.subtract(camera.focal_point, camera.position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, camera.up)
    right /= np.linalg.norm(right)
    x, y, depth = np.stack((right, np.cross(right, forward), forward)) @ (points - eye).T
    scale = SIZE[1] / 2 / math.tan(math.radians(camera.view_angle) / 2) / depth
    return SIZE[0] / 2 + scale * x, SIZE[1] / 2 - scale * y, depth


def seen(camera) -> bool:
    """Whether some point of a box, of a fine grid over all, is in the picture."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3), -1).reshape(-1, 3)
    x, y, depth = drawn((CENTERS[:, None] + grid * SIZES[:, None]).reshape(-1, 3), camera)
    return bool(((depth > 0) & (x >= 0) & (x <= SIZE[0]) & (y >= 0) & (y <= SIZE[1])).any())


def inside(camera) -> bool:
    return bool((np.abs(camera.position - CENTERS) < SIZES / 2).all(axis=1).any())


HOME = frame(CENTERS, SIZES, SIZE[0] / SIZE[1])
PIXELS = st.tuples(st.integers(0, SIZE[0]), st.integers(0, SIZE[1]))
FACTORS = st.sampled_from([0.3, 0.7, 0.9, 1.1, 1.2, 2.0, 5.0])


@given(st.lists(st.tuples(PIXELS, FACTORS), max_size=25), st.floats(-1, 1), st.floats(-0.5, 0.5))
def test_the_wheel_never_loses_the_network(turns, across, down) -> None:
    camera = turn(HOME, across, down)
    for pixel, factor in turns:
        camera = dolly(Screen(camera, SIZE, pixel), CENTERS, SIZES, factor)
        assert seen(camera)
        assert factor < 1 or not inside(camera)


@pytest.mark.parametrize("pixel", [(800, 450), (10, 10), (1590, 890), (700, 300)])
def test_it_comes_to_a_stop_before_a_thing_and_when_all_is_small(pixel) -> None:
    camera = HOME
    for _ in range(300):
        camera = dolly(Screen(camera, SIZE, pixel), CENTERS, SIZES, 1.2)
    assert dolly(Screen(camera, SIZE, pixel), CENTERS, SIZES, 1.2) == camera
    slope = 2 * math.tan(math.radians(camera.view_angle) / 2)
    assert min(np.linalg.norm(CENTERS - camera.position, axis=1)) >= 1.0 / CLOSEST / slope
    assert seen(camera)
    for _ in range(300):
        camera = dolly(Screen(camera, SIZE, pixel), CENTERS, SIZES, 1 / 1.2)
    low, high = (CENTERS - SIZES / 2).min(0), (CENTERS + SIZES / 2).max(0)
    away = math.dist(camera.position, (low + high) / 2) * slope / np.linalg.norm(high - low)
    assert FARTHEST / 1.2 <= away <= FARTHEST
    assert seen(camera)


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_what_is_pointed_at_keeps_its_place(factor) -> None:
    face = CENTERS[1] + (0, 0, 1.0)  # the middle of the face towards the viewer
    x, y, _ = drawn(face, HOME)
    camera = dolly(Screen(HOME, SIZE, (x, y)), CENTERS, SIZES, factor)
    assert drawn(face, camera)[:2] == pytest.approx((x, y), abs=1e-6)
    before, after = (math.dist(face, c.position) for c in (HOME, camera))
    assert before / after == pytest.approx(factor)


def test_a_shift_stops_where_the_network_would_be_lost() -> None:
    camera = HOME
    for _ in range(200):
        camera = kept(Screen(camera, SIZE), shift(camera, 0.05, 0.01), CENTERS, SIZES)
    assert seen(camera)
    assert not alike(camera, HOME)
    lost = replace(camera, focal_point=(0, 0, 9e3), position=(0, 0, 9e3 + 10))
    back = shift(lost, 0.1, 0.0)
    assert kept(Screen(lost, SIZE), back, CENTERS, SIZES) == back, "what is lost may be sought"


def test_without_boxes_it_moves_as_it_is_told() -> None:
    none = np.zeros((0, 3))
    camera = dolly(Screen(HOME, SIZE), none, none, 2.0)
    before, after = (math.dist(c.position, c.focal_point) for c in (HOME, camera))
    assert after == pytest.approx(before / 2)
