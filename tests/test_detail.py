"""Automatic detail: it comes to rest, comes back, keeps what is looked at, and obeys a hand."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.drawing.placement import place
from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.renderer.projection import Projection
from explorer.session.detail import FILLS, MARGIN, Detail, Opened, decide, follow
from explorer.session.session import Session
from explorer.tree import lod
from explorer.viewing.on_screen import Screen
from explorer.viewing.orbit import approach, shift, turn
from explorer.viewing.view_state import Camera, ViewState, frame

SIZE = (1600, 820)
ROOT = Path(__file__).resolve().parents[1]


@cache
def graphs():
    spec = importlib.util.spec_from_file_location("layer_graphs", ROOT / "scripts/layer_graphs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        "scopes": OpenModel(module.decoder(300, "scoped")),
        "flat names": OpenModel(module.decoder(120, "flat")),
        "skips": OpenModel(module.chain(80, 30)),
        "wide": OpenModel(module.parallel(60)),
    }


class Person:
    """Someone who looks at a network while automatic detail works."""

    def __init__(self, name: str, layout: str = "serpentine") -> None:
        self.model = graphs()[name]
        first = lod.first_cut(self.model.hierarchy)
        self.state = ViewState(opened=first, layout=layout)
        self.placed = place(self.model, self.state)
        self.detail = Detail()
        self.room = 1500
        boxes, leaf = self.placed.boxes, self.placed.cut.leaf
        self.camera = frame(boxes.centers[leaf], boxes.sizes[leaf], SIZE[0] / SIZE[1])
        self.history: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def screen(self) -> Screen:
        return Screen(self.camera, SIZE)

    def step(self) -> bool:
        step = decide(self.model, self.placed, self.screen(), self.detail, self.room)
        self.detail = step.detail
        if not step:
            return False
        self.history.append((step.open, step.close))
        for row in np.flatnonzero(~self.placed.cut.leaf)[1:]:
            around = self.placed.cut.paths[self.placed.cut.parent[row]]
            if around in step.close:
                assert self.placed.cut.paths[row] in step.close, "closed around an open node"
        self.state = replace(self.state, opened=step.apply(self.state.opened))
        after = place(self.model, self.state)
        move, self.detail = follow(self.placed, after, self.screen(), step)
        assert {*step.open, *step.close} <= self.detail.turned
        self.camera, self.placed = move.move(self.camera), after
        return True

    def settle(self) -> int:
        steps = 0
        while self.step():
            steps += 1
            assert steps <= 60, f"does not come to rest: {self.history[-8:]}"
        return steps

    def by_hand(self, opened: frozenset[str]) -> None:
        self.detail = self.detail.by_hand(self.state.opened, opened)
        self.state = replace(self.state, opened=opened)
        self.placed = place(self.model, self.state)

    def row(self, path: str) -> int:
        return self.placed.cut.paths.index(path)

    def aim(self, path: str) -> None:
        """Look straight at a node."""
        by = self.placed.boxes.centers[self.row(path)] - np.array(self.camera.focal_point)
        moved = (np.array(p) + by for p in (self.camera.position, self.camera.focal_point))
        position, focal = (tuple(p.tolist()) for p in moved)
        self.camera = replace(self.camera, position=position, focal_point=focal)

    def share(self, path: str) -> float:
        boxes, row = self.placed.boxes, self.row(path)
        rectangle = self.screen().rectangles(boxes.centers[[row]], boxes.sizes[[row]])
        return float(self.screen().shares(rectangle)[0])

    def openable(self) -> list[str]:
        cut, nodes = self.placed.cut, self.model.hierarchy.nodes
        rows = np.flatnonzero(cut.leaf).tolist()
        return [cut.paths[r] for r in rows if len(nodes[int(cut.node[r])].children) > 1]


cameras = st.tuples(st.floats(-1.5, 1.5), st.floats(-0.6, 0.6), st.floats(0.3, 60.0))
names = st.sampled_from(["scopes", "flat names", "skips", "wide"])


# --- the projection -------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_rectangles_are_those_of_the_renderer_s_projection(seed):
    rng = np.random.default_rng(seed)
    focal = rng.normal(size=3)
    camera = Camera(tuple(focal + 9 * rng.normal(size=3)), tuple(focal), view_angle=40.0)
    centers, sizes = rng.normal(0, 6, (30, 3)), rng.uniform(0.05, 5, (30, 3))
    distance = math.dist(camera.position, camera.focal_point)
    projection = Projection.of(camera, SIZE, 1e-3 * distance)
    found = Screen(camera, SIZE).rectangles(centers, sizes)
    steps = np.linspace(-0.5, 0.5, 21)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    for center, size, (left, top, right, bottom) in zip(centers, sizes, found, strict=True):
        pixels = projection.pixels(projection.view(center + grid * size))
        pixels = np.clip(pixels[np.isfinite(pixels).all(axis=1)], -1e7, 1e7)
        if len(pixels) == 0:
            continue
        slack = 1e-6 * np.abs(pixels).max()
        assert (np.array((left, top)) <= pixels.min(axis=0) + slack).all()
        assert (np.array((right, bottom)) >= pixels.max(axis=0) - slack).all()
        if len(pixels) == len(grid):  # wholly in front: the corners are among the samples
            want = (*pixels.min(axis=0), *pixels.max(axis=0))
            np.testing.assert_allclose((left, top, right, bottom), want, rtol=1e-9, atol=1e-6)


def test_what_is_behind_the_viewer_is_nowhere():
    screen = Screen(Camera((0, 0, 10), (0, 0, 0)), SIZE)
    rectangles = screen.rectangles(np.array([[0, 0, 20.0]]), np.ones((1, 3)))
    assert screen.shares(rectangles)[0] == 0
    assert not screen.in_sight(rectangles, 10.0)[0]
    around_the_viewer = screen.rectangles(np.array([[0, 0, 10.0]]), np.full((1, 3), 4.0))
    assert screen.shares(around_the_viewer)[0] > 1
    assert screen.in_sight(around_the_viewer)[0]


# --- it comes to rest -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(names, cameras, st.integers(0, 10**6), st.sampled_from(["serpentine", "layered"]))
def test_a_camera_held_still_comes_to_rest_and_stays_there(name, view, which, layout):
    person = Person(name, layout)
    paths = [p for r, p in enumerate(person.placed.cut.paths) if person.placed.cut.leaf[r]]
    person.aim(paths[which % len(paths)])
    person.camera = approach(turn(person.camera, view[0], view[1]), view[2])
    person.settle()
    changed = [path for step in person.history for part in step for path in part]
    assert len(changed) == len(set(changed)), "a node was turned back"
    opened = person.state.opened
    at_rest = person.camera
    for back_and_forth in (1.01, 0.99, 1.01, 0.99):
        person.camera = approach(at_rest, back_and_forth)
        assert not person.step()
    for dx, dy in ((0.01, 0.0), (0.0, -0.01), (-0.01, 0.01)):
        person.camera = shift(at_rest, dx, dy)
        assert not person.step()
    assert person.state.opened == opened


@settings(max_examples=25)
@given(names, st.integers(0, 10**6), st.floats(1.1, 1.6))
def test_going_in_and_out_again_comes_back_to_the_start(name, which, notch):
    person = Person(name)
    before = person.state.opened
    paths = [p for r, p in enumerate(person.placed.cut.paths) if person.placed.cut.leaf[r]]
    person.aim(paths[which % len(paths)])
    person.camera = approach(person.camera, 0.5)
    person.settle()
    assert person.state.opened == before
    notches = math.ceil(math.log(60) / math.log(notch))
    for _ in range(notches):
        person.camera = approach(person.camera, notch)
        person.settle()
    for _ in range(2 * notches):
        person.camera = approach(person.camera, 1 / notch)
        person.settle()
    assert person.state.opened == before
    assert not person.detail.opened


def near_block() -> tuple[Person, str]:
    """Someone who has come so near to a node that it opened."""
    person = Person("scopes")
    path = person.openable()[2]
    person.aim(path)
    while path not in person.state.opened:
        person.camera = approach(person.camera, 1.1)
        person.settle()
    return person, path


def test_between_the_size_that_opens_and_the_one_that_closes_nothing_changes():
    person, path = near_block()
    opened = person.state.opened
    start = person.camera
    for factor in (0.95, 0.85, 0.75):
        person.camera = approach(start, factor)
        assert not person.step()
    person.camera = approach(start, 1 / 1.9)
    person.settle()
    assert person.state.opened == opened - {path}
    person.camera = approach(person.camera, 1.2)
    assert not person.step()


def test_what_was_just_changed_is_not_turned_back():
    person = Person("scopes")
    path = person.openable()[2]
    person.aim(path)
    person.camera = approach(person.camera, 0.7 / person.share(path))
    step = decide(person.model, person.placed, person.screen(), Detail())
    assert step.open == (path,)
    just = Detail(turned=frozenset({path}), since=person.camera)
    assert path not in decide(person.model, person.placed, person.screen(), just).open
    elsewhere = replace(just, since=approach(person.camera, 1.1))
    assert decide(person.model, person.placed, person.screen(), elsewhere).open == (path,)


def test_a_frame_with_an_open_node_in_it_is_not_closed_for_its_size():
    person, path = near_block()
    inner = next(
        p
        for r, p in enumerate(person.placed.cut.paths)
        if person.placed.cut.parent[r] == person.row(path)
    )
    person.detail = replace(person.detail, opened={path: Opened(1e6, 1.0)})
    kept = person.detail.by_hand(person.state.opened, person.state.opened | {inner})
    state = replace(person.state, opened=person.state.opened | {inner})
    for detail, opened, closes in ((person.detail, person.state, True), (kept, state, False)):
        placed = place(person.model, opened)
        fresh = replace(detail, turned=frozenset(), at_rest=False)
        step = decide(person.model, placed, person.screen(), fresh)
        assert (path in step.close) == closes


def test_coming_near_opens_what_is_looked_at_and_keeps_its_size():
    person = Person("scopes")
    path = person.openable()[2]
    person.aim(path)
    assert person.share(path) < 0.3
    while not person.history:
        person.camera = approach(person.camera, 1.05)
        before = person.share(path)
        person.step()
    assert person.history == [((path,), ())]
    # The frame fills the picture better than the box did, but does not leave it.
    assert before <= person.share(path) <= FILLS + 0.02
    assert person.detail.opened[path].gain == pytest.approx(person.share(path) / before)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.0, 1.0))
@settings(max_examples=20)
def test_what_is_under_the_pointer_stays_under_it_unless_it_would_leave_the_picture(x, y, part):
    person = Person("scopes")
    path = person.openable()[2]
    person.aim(path)
    person.camera = approach(person.camera, 0.6 / person.share(path))
    box = person.placed.boxes
    place_in_box = np.array((x, y, 0.0))
    spot = box.centers[person.row(path)] + place_in_box * box.sizes[person.row(path)]
    pixel = Projection.of(person.camera, SIZE)
    at = pixel.pixels(pixel.view(spot))
    screen = Screen(person.camera, SIZE, (float(at[0]), float(at[1])))
    step = decide(person.model, person.placed, screen, Detail())
    if step.about is None:
        return
    after = place(person.model, replace(person.state, opened=step.apply(person.state.opened)))
    move, _ = follow(person.placed, after, screen, step)
    moved = Projection.of(move.move(person.camera), SIZE)
    by = moved.pixels(moved.view(move.end)) - at
    frame_now = after.cut.paths.index(path)
    rectangle = Screen(move.move(person.camera), SIZE).rectangles(
        after.boxes.centers[[frame_now]], after.boxes.sizes[[frame_now]]
    )[0]
    rim = 0.03 * SIZE[1]
    for axis, room in enumerate(SIZE):
        low, high = rectangle[axis], rectangle[axis + 2]
        assert low >= rim - 8
        assert high <= room - rim + 8
        # It leaves the pointer only to come into the picture, and no farther than that.
        assert abs(by[axis]) < 0.5 or low <= rim + 8 or high >= room - rim - 8
    # In two parts, with the person's own move between them, as in one.
    half = move.move(person.camera, 0.0, part)
    whole = move.move(half, part, 1.0)
    np.testing.assert_allclose(whole.position, move.move(person.camera).position, atol=1e-6)


# --- what leaves the screen, and what a hand did --------------------------------------------------


def test_what_leaves_the_screen_closes():
    person, path = near_block()
    assert path in person.detail.opened
    person.camera = shift(person.camera, 4.0, 0.0)
    boxes, row = person.placed.boxes, person.row(path)
    rectangle = person.screen().rectangles(boxes.centers[[row]], boxes.sizes[[row]])
    assert not person.screen().in_sight(rectangle, MARGIN)[0]
    person.settle()
    assert path not in person.state.opened
    assert path not in person.detail.opened


def test_what_a_person_closed_stays_closed_until_it_was_out_of_sight():
    person, path = near_block()
    person.by_hand(person.state.opened - {path})
    person.aim(path)
    person.camera = approach(person.camera, 0.7 / person.share(path))
    for factor in (1.0, 1.2, 1.2, 0.9):
        person.camera = approach(person.camera, factor)
        person.settle()
        assert path not in person.state.opened
    person.camera = shift(person.camera, 3.0, 0.0)
    person.settle()
    assert path not in person.detail.refused
    person.aim(path)
    person.camera = approach(person.camera, 0.7 / person.share(path))
    person.settle()
    assert path in person.state.opened


def test_what_a_person_opened_stays_open_however_small():
    person = Person("scopes")
    path = person.openable()[1]
    person.by_hand(person.state.opened | {path})
    for factor in (0.5, 0.5, 0.5):
        person.camera = approach(person.camera, factor)
        person.settle()
    assert path in person.state.opened
    person.camera = shift(person.camera, 5.0, 0.0)
    person.settle()
    assert path in person.state.opened, "there is room for it"
    person.room = 3
    person.camera = shift(person.camera, 0.2, 0.0)
    person.settle()
    assert path not in person.state.opened


def test_nothing_opens_beyond_the_room():
    for room in (0, 20, 100, 400):
        person = Person("scopes")
        person.room = room
        start = int(person.placed.cut.leaf.sum())
        person.aim(person.openable()[2])
        for _ in range(20):
            person.camera = approach(person.camera, 1.3)
            person.settle()
            assert int(person.placed.cut.leaf.sum()) <= max(room, start)
        assert any(opened for opened, _ in person.history) == (room >= 100)


def test_layers_open_into_units_when_near_enough():
    person = Person("skips")
    paths = person.placed.cut.paths
    person.aim(paths[int(np.flatnonzero(person.placed.cut.leaf)[3])])
    for _ in range(40):
        person.camera = approach(person.camera, 1.2)
        person.settle()
    assert any(u is not None for u in person.placed.cut.units)


def test_the_switch_is_part_of_a_saved_view_and_old_ones_read():
    automatic = ViewState(detail="automatic")
    assert ViewState.from_json(automatic.to_json()) == automatic
    old = ViewState().to_json()
    del old["detail"]
    assert ViewState.from_json(old).detail == "manual"
    for wrong in ("often", 3, None, ["automatic"]):
        with pytest.raises(NeuronautError, match="manual"):
            ViewState.from_json({**old, "detail": wrong})


def test_a_session_steps_only_while_it_is_switched_on_and_undo_leaves_the_switch():
    model = graphs()["scopes"]
    session = Session(model)
    first = session.state.opened
    camera = session.camera_for(None, SIZE[0] / SIZE[1])
    target = int(np.flatnonzero(session.placed.cut.leaf)[2])
    by = session.placed.boxes.centers[target] - np.array(camera.focal_point)
    position, focal = (
        tuple((np.array(p) + by).tolist()) for p in (camera.position, camera.focal_point)
    )
    near = approach(replace(camera, position=position, focal_point=focal), 8.0)
    assert session.adjust(Screen(near, SIZE)) is None
    session.set_theme("light")
    session.set_detail("automatic")
    assert session.adjust(Screen(near, SIZE)) is not None
    assert session.state.opened > first
    session.undo()
    assert (session.state.theme, session.state.detail) == ("dark", "automatic")
    assert session.state.opened == first
    session.close_session()
