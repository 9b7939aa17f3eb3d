"""The held camera: what was clicked stays where it is on the screen during the whole move."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.bundled import scenes_folder
from explorer.drawing.animation import Blend
from explorer.open_model import OpenModel
from explorer.session.flight import Held, held
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import approach, shift, turn
from explorer.viewing.view_state import ease
from layouts import layouts

SIZE = (1260, 764)
SHARES = np.linspace(0.0, 1.0, 13).tolist()


@pytest.fixture(scope="module")
def model():
    with OpenModel.open(str(scenes_folder() / "digits.keras")) as opened:
        yield opened


@pytest.fixture
def session(model):
    made = Session(model, None, SIZE[0] / SIZE[1])
    made.wait()
    yield made
    made.close_session()


def project(camera, points, size=SIZE):
    """Pixels of world points, by the textbook: rotate, divide by the depth, scale."""
    eye, target = np.array(camera.position), np.array(camera.focal_point)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, camera.up)
    right /= np.linalg.norm(right)
    view = np.array([right, np.cross(right, forward), forward])
    x, y, depth = view @ (np.asarray(points, float).reshape(-1, 3) - eye).T
    scale = size[1] / 2 / math.tan(math.radians(camera.view_angle / 2)) / depth
    return np.stack((size[0] / 2 + x * scale, size[1] / 2 - y * scale), axis=1), depth


def hold(camera, before, after, what, free=SIZE[0]):
    return held(Screen(camera, SIZE), free, before, after, what)


def box(drawn, path):
    """Lowest and highest corner of all boxes of a node."""
    node = list(drawn.nodes).index(path)
    found = []
    for boxes in (drawn.solids, drawn.frames):
        rows = boxes.node == node
        found += [boxes.centers[rows] - boxes.sizes[rows] / 2]
        found += [boxes.centers[rows] + boxes.sizes[rows] / 2]
    corners = np.concatenate(found).astype(float)
    return corners.min(axis=0), corners.max(axis=0)


def center(drawn, path):
    return sum(box(drawn, path)) / 2


def corners(low, high):
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1])
                     for z in (low[2], high[2])])  # fmt: skip


def fly(session, camera, path, work, pixel=None):
    """Both draw lists and the way between them."""
    before = session.draw_list
    work()
    session.wait()
    after = session.draw_list
    return before, after, hold(camera, before, after, Held(path, pixel))


@pytest.mark.parametrize("path", ["conv_1", "hidden", "digit", "conv_2~stage"])
@pytest.mark.parametrize("layout", sorted(layouts()))
def test_an_opened_node_stays_within_a_pixel(session, path, layout):
    session.set_layout(layout)
    session.wait()
    camera = turn(session.camera_for(None), 0.1, 0.05)
    before, after, way = fly(session, camera, path, lambda: session.click(path))
    (start,), _ = project(camera, center(before, path))
    blend = Blend(before, after)
    way = way or (lambda share: camera)  # opened in the very middle: nothing moves
    for share in SHARES:
        (now,), _ = project(way(ease(share)), center(blend.at(ease(share)), path))
        assert np.linalg.norm(now - start) < 1.0


def test_without_the_hold_the_node_would_go(session):
    camera = session.camera_for("digit")
    before, after, way = fly(session, camera, "digit", lambda: session.click("digit"))
    (start,), _ = project(camera, center(before, "digit"))
    (gone,), _ = project(camera, center(after, "digit"))
    (stays,), _ = project(way(1.0), center(after, "digit"))
    assert np.linalg.norm(gone - start) > 20
    assert np.linalg.norm(stays - start) < 1.0


def test_the_camera_neither_turns_nor_jumps(session):
    camera = turn(session.camera_for(None), -0.2, 0.1)
    _, _, way = fly(session, camera, "hidden", lambda: session.click("hidden"))
    assert np.allclose(way(0.0).position, camera.position)
    ways = np.array([np.subtract(way(s).position, way(s).focal_point) for s in SHARES])
    directions = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    assert np.allclose(directions, directions[0], atol=1e-9)
    steps = np.linalg.norm(np.diff([way(s).position for s in SHARES], axis=0), axis=1)
    assert steps.max() < 1.6 * steps.mean()


@pytest.mark.parametrize("pixel", [(200.0, 100.0), (1000.0, 500.0)])
def test_what_a_frame_becomes_comes_to_the_pointer(session, pixel):
    session.click("conv_1")
    session.wait()
    camera = session.camera_for("conv_1")
    before, after, way = fly(session, camera, "conv_1", lambda: session.click("conv_1"), pixel)
    (end,), _ = project(way(1.0), center(after, "conv_1"))
    assert np.linalg.norm(end - pixel) < 1.0
    # On the way there it goes straight from the middle of the frame.
    (start,), _ = project(camera, center(before, "conv_1"))
    blend, goal = Blend(before, after), np.array(pixel)
    along = (goal - start) / np.linalg.norm(goal - start)
    for share in SHARES:
        (now,), _ = project(way(share), center(blend.at(share), "conv_1"))
        off = (now - start) - along * ((now - start) @ along)
        assert np.linalg.norm(off) < 1.0


def test_what_is_larger_than_the_picture_is_seen_and_stays_in_place(session):
    camera = approach(session.camera_for("conv_1"), 6.0)  # right before the closed node
    before, after, way = fly(session, camera, "conv_1", lambda: session.click("conv_1"))
    (start,), _ = project(camera, center(before, "conv_1"))
    blend = Blend(before, after)
    for share in SHARES:
        (now,), _ = project(way(share), center(blend.at(share), "conv_1"))
        assert np.linalg.norm(now - start) < 1.0
    seen, depth = project(way(1.0), corners(*box(after, "conv_1")))
    assert (depth > 0).all()
    extent = seen.max(axis=0) - seen.min(axis=0)
    assert (extent <= SIZE).all()
    assert (extent / SIZE).max() > 0.3  # and no farther than needed
    radius = [np.linalg.norm(np.subtract(c.position, c.focal_point)) for c in (camera, way(1.0))]
    assert radius[1] > radius[0]


def test_what_fits_is_not_made_smaller(session):
    camera = approach(session.camera_for(None), 0.5)
    _, _, way = fly(session, camera, "conv_1", lambda: session.click("conv_1"))
    radius = [np.linalg.norm(np.subtract(c.position, c.focal_point)) for c in (camera, way(1.0))]
    assert radius[1] == pytest.approx(radius[0], rel=1e-9)


def test_a_node_outside_of_the_picture_is_brought_in(session):
    session.click("conv_1")
    session.wait()
    camera = shift(session.camera_for("conv_1"), 3.0, 0.0)
    _, after, way = fly(session, camera, "conv_1", lambda: session.close("conv_1"))
    (end,), depth = project(way(1.0), center(after, "conv_1"))
    assert depth > 0
    assert (end > 0).all()
    assert (end < SIZE).all()


def test_a_viewer_inside_a_frame_sees_what_it_becomes(session):
    session.click("conv_1")
    session.wait()
    low, high = box(session.draw_list, "conv_1")
    camera = session.camera_for("conv_1")
    into = np.array(camera.focal_point) - camera.position
    inside = (low + high) / 2 + 0.5 * into / np.linalg.norm(into)
    camera = replace(camera, position=tuple(inside), focal_point=tuple(inside + 3 * into))
    _, after, way = fly(session, camera, "conv_1", lambda: session.close("conv_1"))
    (end,), depth = project(way(1.0), center(after, "conv_1"))
    assert depth > 0
    assert (end > 0).all()
    assert (end < SIZE).all()


def test_a_node_under_the_panel_comes_out_from_under_it(session):
    camera = session.camera_for(None)
    before = session.draw_list
    (start,), _ = project(camera, center(before, "digit"))
    session.click("digit")
    free = start[0] - 30
    way = hold(camera, before, session.draw_list, Held("digit"), free)
    (end,), _ = project(way(1.0), center(session.draw_list, "digit"))
    assert end[0] < free


def test_what_is_not_drawn_or_does_not_move_holds_nothing(session):
    drawn = session.draw_list
    camera = session.camera_for(None)
    assert hold(camera, drawn, drawn, Held("nowhere")) is None
    assert hold(camera, drawn, drawn, Held("conv_1")) is None
