"""What a page may ask for: every argument is checked, nothing unheard-of is done."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.session.background import Progress
from explorer.session.flight import Held
from explorer.session.reading_line import ReadingLine
from explorer.session.session import Session
from explorer.web.actions import ACTIONS, LONGEST_TEXT
from explorer.web.coloring import Coloring


class Tab:
    """Does to a session what an action asks, and notes where the camera is sent."""

    def __init__(self, session):
        self.session, self.aspect = session, 1.5
        self.state = SimpleNamespace(weight="", overlays=[], layouts=[], panel=None)
        self.panel_of, self.sent, self.flushed = "", [], {}
        self.reading = ReadingLine()
        self.pointing = SimpleNamespace(hide_tip=lambda: None)
        self.matrix = SimpleNamespace(hide=lambda: None)

    async def change(self, work, fly_to=None):
        work()
        self.sent.append(fly_to() if callable(fly_to) else fly_to)

    def move(self, target, to):
        self.sent.append(to)

    def flush(self, **entries):
        self.flushed.update(entries)


@pytest.fixture
def tab():
    with OpenModel.open(str(scenes_folder() / "digits.keras")) as model:
        session = Session(model)
        yield Tab(session)
        session.close_session()


def run(tab, name, *arguments):
    assert ACTIONS[name].accepts(arguments)
    asyncio.run(ACTIONS[name].run(tab, *arguments))


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize(
    "arguments", [(1,), (["a"],), ({},), ("a" * (LONGEST_TEXT + 1),), ("a", "b"), (b"a",)]
)
def test_wrong_arguments_are_refused(name, arguments):
    assert not ACTIONS[name].accepts(arguments)


@pytest.mark.parametrize(
    "wish",
    ["", "depth", "depth ", "depth -1", "depth 1.5", "depth 999", "depth ²", "kind", "close all",
     "depth 1; kind Dense", "__class__ x"],
)  # fmt: skip
def test_a_wish_that_is_none_changes_nothing(tab, wish):
    before = tab.session.state
    with contextlib.suppress(NeuronautError):  # told in one line
        run(tab, "opening", wish)
    assert tab.session.state == before


def test_wishes_are_done(tab):
    run(tab, "opening", "depth 0")
    assert not tab.session.state.opened
    run(tab, "opening", "kind Dense")
    assert tab.session.state.opened == {"hidden", "digit"}
    run(tab, "undo")
    run(tab, "undo")
    assert tab.session.state.opened == tab.session.first_opened
    run(tab, "redo")
    assert not tab.session.state.opened


def test_a_click_holds_and_a_click_on_a_title_brings_the_node_to_the_pointer(tab):
    asyncio.run(ACTIONS["press"].run(tab, "hidden", None))
    asyncio.run(ACTIONS["press"].run(tab, "hidden", (20.0, 30.0)))
    assert tab.sent == [Held("hidden"), Held("hidden", (20.0, 30.0))]


def test_focus_of_what_does_not_exist_is_told(tab):
    with pytest.raises(NeuronautError, match="did you mean hidden"):
        run(tab, "focus", "hiden")
    run(tab, "focus", "hidden")
    assert tab.session.state.focus == "hidden"
    run(tab, "key", "Escape")
    assert tab.session.state.focus is None


@pytest.mark.parametrize("key", ["", "zz", "é", "F5", "Enter", "x" * 100, "٣"])
def test_unknown_keys_do_nothing(tab, key):
    before = tab.session.state
    run(tab, "key", key)
    assert tab.session.state == before


def test_starting_over_and_seeing_all_are_two_things(tab):
    run(tab, "press", "hidden")
    opened = tab.session.state.opened
    run(tab, "see_all")
    assert tab.session.state.opened == opened
    run(tab, "start_over")
    assert tab.session.state.opened == tab.session.first_opened
    run(tab, "undo")
    assert tab.session.state.opened == opened


def test_reading_is_paused_and_goes_on_only_where_the_page_tells_of_it(tab):
    run(tab, "pause")  # nothing is told: a key pressed by chance must not stop anything
    assert tab.session.reading.state != "paused"
    tab.reading.update(Progress(1, 1 << 30, "reading"), 0.0)
    tab.reading.update(Progress(1, 1 << 30, "reading"), 1.0)
    run(tab, "key", "p")
    assert tab.session.reading.state == "paused"
    tab.reading.update(Progress(1, 1 << 30, "paused"), 2.0)
    run(tab, "pause")
    assert tab.session.reading.state != "paused"


@pytest.mark.parametrize("arguments", [(0.1,), ("0.1", 0.2, 1), (0.1, 0.2, "x"), (0.1, 0.2, 1.5)])
def test_odd_steps_of_a_drag_are_refused(arguments):
    assert not ACTIONS["range"].accepts(arguments)
    assert ACTIONS["range"].accepts((0, 0.2, 3))


def test_steps_that_come_while_one_is_at_work_are_one():
    steps = []

    async def drag():
        slow, tasks = asyncio.Event(), []

        async def recolor(work, quick):
            assert quick
            await slow.wait()
            work()

        async def guarded(work):
            await work

        def spawn(work):
            tasks.append(asyncio.ensure_future(work))
            return tasks[-1]

        def set_range(ends, gesture):
            steps.append((ends, gesture))

        session = SimpleNamespace(set_range=set_range)
        tab = SimpleNamespace(session=session, recolor=recolor, guarded=guarded, spawn=spawn)
        coloring = Coloring(tab)
        for i in range(1, 6):
            coloring.drag(i / 10, 1.0, 7)
            await asyncio.sleep(0)
        slow.set()
        await asyncio.gather(*tasks)
        coloring.drag(0.9, 1.0, 8)
        await asyncio.gather(*tasks)

    asyncio.run(drag())
    assert steps == [((0.1, 1.0), 7), ((0.5, 1.0), 7), ((0.9, 1.0), 8)]
