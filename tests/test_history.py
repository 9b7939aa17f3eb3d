"""Undo and redo: any sequence of changes can be taken back to its start, and made again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.bundled import scenes_folder
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.history import History
from explorer.viewing.view_state import Camera


@pytest.fixture(scope="module")
def model():
    with OpenModel.open(str(scenes_folder() / "digits.keras")) as opened:
        yield opened


@pytest.fixture
def session(model):
    made = Session(model)
    made.wait()
    yield made
    made.close_session()


def seen(state):
    """What of a view counts as a change."""
    return state.opened, state.focus, state.overlay, state.layout, state.theme


DEEDS = st.one_of(
    st.tuples(st.just("click"), st.sampled_from(["hidden", "conv_1", "conv_2~stage", "digit"])),
    st.tuples(st.just("select"), st.sampled_from(["hidden", None])),
    st.tuples(st.just("set_overlay"), st.sampled_from(["signed", "magnitude"])),
    st.tuples(st.just("set_layout"), st.sampled_from(["layered", "serpentine"])),
    st.tuples(st.just("set_theme"), st.sampled_from(["light", "dark"])),
    st.tuples(st.just("set_focus"), st.sampled_from(["hidden", "digit", None])),
    st.tuples(st.just("open_to"), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("open_all"), st.sampled_from(["Dense", "stage"])),
    st.tuples(st.just("reset")),
    st.tuples(st.just("look"), st.integers(1, 9)),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)


def do(session, deed, *arguments):
    if deed == "look":
        session.camera = Camera((float(arguments[0]), 2.0, 30.0), (0.0, 0.0, 0.0))
    else:
        getattr(session, deed)(*arguments)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(DEEDS, max_size=7))
def test_undo_all_is_the_start_and_redo_all_is_the_end(model, deeds):
    session = Session(model)
    try:
        start, past, future = seen(session.state), [], []
        for deed in deeds:
            before = session.state
            do(session, *deed)
            now = session.state
            # The rules in their plainest form: two stacks of whole views.
            if deed[0] == "undo":
                if past:
                    future.append(before)
                    assert now == past.pop()
                else:
                    assert now == before
            elif deed[0] == "redo":
                if future:
                    past.append(before)
                    assert now == future.pop()
                else:
                    assert now == before
            elif seen(now) != seen(before):
                past.append(before)
                future.clear()
            assert (session.can_undo, session.can_redo) == (bool(past), bool(future))
        end = session.state
        steps = 0
        while session.undo():
            steps += 1
        assert steps == len(past)
        assert seen(session.state) == start
        while session.redo():
            pass
        while future:
            future.pop()
            steps += 1
        if not steps or len(deeds) == 0 or not session.can_undo:
            assert seen(session.state) == seen(end)
        for _ in range(len(deeds)):
            session.undo()
        assert seen(session.state) == start
    finally:
        session.close_session()


def test_redo_comes_back_to_the_very_view_that_was_left(session):
    session.click("hidden")
    session.set_focus("hidden")
    session.camera = camera = Camera((1.0, 2.0, 9.0), (0.0, 0.0, 0.0))
    end = session.state
    assert session.undo()
    assert session.undo()
    assert not session.undo()
    assert session.redo()
    assert session.redo()
    assert not session.redo()
    assert session.state == end
    assert session.state.camera == camera


def test_the_camera_comes_back_with_the_view(session):
    first, second = (Camera((0.0, 0.0, z), (0.0, 0.0, 0.0)) for z in (9.0, 5.0))
    session.camera = first
    session.click("hidden")
    session.camera = second
    session.undo()
    assert session.state.camera == first
    session.redo()
    assert session.state.camera == second


def test_the_same_picture_comes_back(session):
    before = session.draw_list
    session.click("hidden")
    session.set_overlay("signed")
    assert session.draw_list.nodes != before.nodes
    session.undo()
    session.undo()
    after = session.draw_list
    assert after.nodes == before.nodes
    assert after.labels == before.labels
    for kind in ("solids", "frames", "edges"):
        for name, array in vars(getattr(before, kind)).items():
            np.testing.assert_array_equal(getattr(getattr(after, kind), name), array)


def test_a_new_change_drops_what_was_taken_back(session):
    session.set_theme("light")
    session.undo()
    session.set_overlay("signed")
    assert not session.can_redo
    assert not session.redo()
    assert session.state.theme == "dark"


def test_selecting_alone_is_no_step(session):
    session.select("hidden")
    session.camera = Camera((0.0, 0.0, 9.0), (0.0, 0.0, 0.0))
    assert not session.can_undo


def test_what_does_not_exist_is_no_step(session):
    with pytest.raises(Exception, match="layout"):
        session.set_layout("nonsense")
    assert not session.can_undo


def test_the_oldest_steps_are_forgotten():
    history: History[int] = History(most=3)
    for number in range(10):
        history.record(number)
    assert [history.undo(-1) for _ in range(4)] == [9, 8, 7, None]
