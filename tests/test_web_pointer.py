"""Gestures of the pointer and the camera moves that follow from them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.renderer.projection import Projection
from explorer.viewing import orbit
from explorer.viewing.view_state import Camera
from explorer.web.pointer import CLICK_SLACK, Gesture, Pointer

HOME = Camera((3.0, 4.0, 12.0), (1.0, 2.0, 0.5))
SIZE = (800, 500)


def _event(kind: str, x: float = 0.0, y_from_top: float = 0.0, **more: object) -> dict[str, object]:
    return {"type": kind, "x": x, "y": SIZE[1] - y_from_top, "w": SIZE[0], "h": SIZE[1], **more}


def test_a_press_and_release_in_place_is_a_click_there() -> None:
    pointer = Pointer()
    assert pointer.feed(_event("LeftButtonPress", 120, 80)) is None
    assert pointer.feed(_event("MouseMove", 121, 81)) is None
    assert pointer.feed(_event("LeftButtonRelease", 121, 81)) == Gesture("click", 121, 81)


def test_a_drag_is_no_click() -> None:
    pointer = Pointer()
    pointer.feed(_event("LeftButtonPress", 100, 100))
    far = 100 + CLICK_SLACK + 1
    turn = pointer.feed(_event("MouseMove", far, 100))
    assert turn is not None
    assert turn.kind == "turn"
    assert turn.dx == pytest.approx((CLICK_SLACK + 1) / SIZE[1])
    # Back at the start it is still a drag.
    assert pointer.feed(_event("MouseMove", 100, 100)).kind == "turn"  # type: ignore[union-attr]
    assert pointer.feed(_event("LeftButtonRelease", 100, 100)).kind == "end"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("press", "more", "kind"),
    [
        ("LeftButtonPress", {}, "turn"),
        ("LeftButtonPress", {"shiftKey": 1}, "shift"),
        ("MiddleButtonPress", {}, "shift"),
        ("RightButtonPress", {}, "shift"),
    ],
)
def test_which_button_does_what(press: str, more: dict[str, object], kind: str) -> None:
    pointer = Pointer()
    pointer.feed(_event(press, 0, 0, **more))
    moved = pointer.feed(_event("MouseMove", 50, 50))
    assert moved is not None
    assert moved.kind == kind


def test_a_right_click_is_no_click_and_a_stray_release_is_nothing() -> None:
    pointer = Pointer()
    assert pointer.feed(_event("LeftButtonRelease", 5, 5)) is None
    pointer.feed(_event("RightButtonPress", 5, 5))
    assert pointer.feed(_event("RightButtonRelease", 5, 5)) is None


def test_moving_without_a_button_hovers() -> None:
    assert Pointer().feed(_event("MouseMove", 7, 9)) == Gesture("hover", 7, 9)


def test_the_wheel_comes_nearer_and_goes_back() -> None:
    pointer = Pointer()
    near = pointer.feed(_event("MouseWheel", 1, 1, spinY=-1))
    back = pointer.feed(_event("MouseWheel", 1, 1, spinY=1))
    assert near is not None
    assert back is not None
    assert near.factor > 1 > back.factor
    assert near.factor * back.factor == pytest.approx(1)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["type", "x", "y", "w", "h", "spinY", "factor", "shiftKey", "z"]),
        st.one_of(
            st.none(), st.text(max_size=5), st.floats(), st.integers(), st.lists(st.integers()),
            st.sampled_from(["MouseMove", "LeftButtonPress", "LeftButtonRelease", "MouseWheel",
                             "StartPinch", "Pinch"]),
        ),
    )
)  # fmt: skip
def test_no_event_of_a_stranger_breaks_it(event: dict[str, object]) -> None:
    pointer = Pointer()
    pointer.feed(_event("LeftButtonPress", 1, 1))
    gesture = pointer.feed(event)
    if gesture is not None:
        numbers = (gesture.x, gesture.y, gesture.dx, gesture.dy, gesture.factor)
        assert all(map(math.isfinite, numbers))
        assert gesture.factor > 0


def test_turning_keeps_the_distance_and_the_focal_point() -> None:
    turned = orbit.turn(HOME, 0.13, -0.07)
    assert turned.focal_point == HOME.focal_point
    before = math.dist(HOME.position, HOME.focal_point)
    assert math.dist(turned.position, turned.focal_point) == pytest.approx(before)
    assert turned.position != HOME.position
    back = orbit.turn(turned, -0.13, 0.07)
    assert back.position == pytest.approx(HOME.position)


def test_turning_stops_before_the_pole() -> None:
    top = orbit.turn(HOME, 0.0, 5.0)
    x, y, z = np.subtract(top.position, top.focal_point)
    assert math.degrees(math.atan2(y, math.hypot(x, z))) == pytest.approx(88.0)


def test_shifting_moves_the_focal_point_with_the_pointer() -> None:
    shifted = orbit.shift(HOME, 0.2, -0.1)
    on_screen = _pixel(shifted, HOME.focal_point)
    assert on_screen == pytest.approx((400 + 0.2 * 500, 250 - 0.1 * 500), abs=0.01)


@pytest.mark.parametrize("factor", [1.7, 0.6])
def test_approaching_keeps_what_is_under_the_pointer(factor: float) -> None:
    at = (0.31, -0.22)
    # A point in the plane of the focal point under the pointer.
    pointed = orbit.shift(HOME, -at[0], at[1]).focal_point
    before = _pixel(HOME, pointed)
    nearer = orbit.approach(HOME, factor, at)
    assert _pixel(nearer, pointed) == pytest.approx(before, abs=0.01)
    distance = math.dist(nearer.position, nearer.focal_point)
    assert distance == pytest.approx(math.dist(HOME.position, HOME.focal_point) / factor)


def test_moves_keep_the_lens() -> None:
    wide = replace(HOME, view_angle=55.0)
    for moved in (orbit.turn(wide, 0.1, 0.1), orbit.shift(wide, 0.1, 0.1), orbit.approach(wide, 2)):
        assert moved.view_angle == 55.0


def _pixel(camera: Camera, point: tuple[float, float, float]) -> tuple[float, float]:
    projection = Projection.of(camera, SIZE)
    x, y = projection.pixels(projection.view(np.array([point])))[0][:2]
    return float(x), float(y)
