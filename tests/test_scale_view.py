"""The colour scale as a part of the view: session, undo, JSON, command line, Python, tours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.bundled import scenes_folder
from explorer.drawing import build
from explorer.drawing.themes import THEMES
from explorer.errors import ModelError, NeuronautError
from explorer.films import film
from explorer.films.tour import load_tour
from explorer.open_model import OpenModel
from explorer.overlays import get_overlay
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState

DIGITS = scenes_folder() / "digits.keras"


@pytest.fixture(scope="module")
def model():
    with OpenModel.open(str(DIGITS)) as opened:
        yield opened


@pytest.fixture
def session(model):
    made = Session(model)
    made.wait()
    yield made
    made.close_session()


@pytest.mark.parametrize("kind", ["linear", "log", "rank"])
def test_edges_have_the_colours_of_their_numbers(session, kind):
    session.open("hidden")
    session.set_scale(kind)
    session.set_range((0.02, 0.4))
    session.wait()
    edges = session.draw_list.edges
    read = ~np.isnan(edges.magnitude)
    m = np.clip(edges.magnitude[read], 0.02, 0.4)
    if kind == "linear":
        at = (m - 0.02) / 0.38
    elif kind == "log":
        at = np.log(m / 0.02) / np.log(20)
    else:
        all_of_them = edges.magnitude[read]
        inside = all_of_them[(all_of_them >= 0.02) & (all_of_them <= 0.4)]
        less = (inside[None] < all_of_them[:, None]).sum(axis=1)
        upto = (inside[None] <= all_of_them[:, None]).sum(axis=1)
        at = np.clip((less + upto - 1) / 2 / (len(inside) - 1), 0, 1)
    ramp = THEMES["dark"].sequential
    assert (edges.colors[read, :3] == ramp[np.rint(at * 255).astype(int)]).all()
    assert (edges.colors[~read, :3] == THEMES["dark"].flow).all()  # neutral stays neutral
    legend = session.draw_list.legend
    assert {"linear": "linear", "log": "log", "rank": "by rank"}[kind] in legend.title
    below, above = (edges.magnitude[read] < 0.02).sum(), (edges.magnitude[read] > 0.4).sum()
    told = "range set by hand: 0.0200 to 0.400; of what is drawn"
    assert legend.lines[0] == f"{told} {below} lie below, {above} above"


def test_other_colours_place_and_query_nothing(session, monkeypatch):
    session.set_focus("hidden")
    session.select("hidden")
    before = session.draw_list

    def never(*_: object, **__: object) -> None:
        raise AssertionError("placed or queried again")

    monkeypatch.setattr(build, "place", never)
    monkeypatch.setattr(session._finder, "crossing", never)
    session.set_scale("rank")
    session.set_range((0.01, 0.2))
    after = session.draw_list
    np.testing.assert_array_equal(after.edges.points, before.edges.points)
    np.testing.assert_array_equal(after.edges.source, before.edges.source)
    assert (after.edges.colors != before.edges.colors).any()
    assert after.selected == before.selected >= 0
    monkeypatch.undo()
    # It is the picture that is made when all is made anew.
    fresh = Session(session.model, session.state)
    fresh.wait()
    again = fresh.draw_list
    fresh.close_session()
    for name, values in vars(again.edges).items():
        np.testing.assert_array_equal(getattr(after.edges, name), values)
    np.testing.assert_array_equal(after.solids.colors, again.solids.colors)
    assert after.legend.ticks == again.legend.ticks
    assert (after.legend.title, after.legend.lines) == (again.legend.title, again.legend.lines)


def test_another_aspect_is_placed_anew_even_with_other_colours(session, monkeypatch):
    place, aspects = build.place, []
    monkeypatch.setattr(build, "place", lambda *a: aspects.append(a[2]) or place(*a))
    session.set_scale("linear")
    assert aspects == []
    session.aspect = 0.5
    session.set_scale("rank")
    assert aspects == [0.5]


def test_a_drag_is_taken_back_as_one(session):
    session.set_scale("linear")
    for drag, ends in enumerate([((0.1, 0.5), (0.12, 0.5), (0.2, 0.5)), ((0.2, 0.4), (0.2, 0.3))]):
        for pair in ends:
            session.set_range(pair, gesture=drag)
    seen = [session.state.range]
    while session.undo():
        seen.append((session.state.scale, session.state.range)[session.state.range is not None])
    assert seen == [(0.2, 0.3), (0.2, 0.5), "linear", "automatic"]
    while session.redo():
        pass
    assert (session.state.scale, session.state.range) == ("linear", (0.2, 0.3))


def test_an_undo_ends_a_drag(session):
    session.set_range((0.1, 0.5), gesture=7)
    session.undo()
    session.set_range((0.1, 0.6), gesture=7)
    assert session.can_undo


def test_another_overlay_begins_without_a_range_but_keeps_the_scale(session):
    session.set_scale("log")
    session.set_range((0.01, 0.2))
    session.set_overlay("magnitude")
    assert session.state.range == (0.01, 0.2)
    session.set_overlay("signed")
    assert (session.state.range, session.state.scale) == (None, "log")
    assert "log scale" in session.draw_list.legend.title
    assert get_overlay("signed").diverging


def test_a_signed_scale_with_a_range_is_symmetric(session):
    session.set_overlay("signed")
    session.set_range((0.0, 0.05))
    session.wait()
    texts = [text for _, text in session.draw_list.legend.ticks]
    assert texts == ["≤ -0.0500", "0", "≥ 0.0500"]


BAD = [(0.2, 0.2), (0.3, 0.2), (-0.1, 0.2), (float("nan"), 1.0), (0.0, float("inf")), (0.1,), 3,
       "x", (True, 2), ("0", "1"), (0.0, 1e300), (0, 10**400), (0.0, 1e-300)]  # fmt: skip


@pytest.mark.parametrize("ends", BAD)
def test_what_is_no_range_is_refused_in_one_line(session, ends):
    before = session.state
    with pytest.raises(NeuronautError, match="a range is two numbers") as told:
        session.set_range(ends)
    assert "\n" not in str(told.value)
    assert session.state == before
    with pytest.raises(NeuronautError, match="range is two numbers"):
        replace(before, range=ends)
    with pytest.raises(NeuronautError, match="saved view: a range is two numbers"):
        ViewState.from_json({"range": list(ends) if isinstance(ends, tuple) else ends})


def test_scales_survive_json_and_old_views_are_read():
    state = ViewState(scale="rank", range=(0.001, 0.2))
    assert ViewState.from_json(json.loads(json.dumps(state.to_json()))) == state
    old = {"opened": [], "overlay": "signed", "theme": "light", "edge_budget": 100}
    assert ViewState.from_json(old).scale == "automatic"
    assert ViewState.from_json(old).range is None
    for wrong in ("cubic", 3, None, ["log"]):
        with pytest.raises(NeuronautError, match="saved view: scale must be one of"):
            ViewState.from_json({"scale": wrong})


def test_python_sets_it_and_a_scene_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "n.keras").write_bytes(DIGITS.read_bytes())
    with explorer.open_network(tmp_path / "n.keras") as view:
        view.set(scale="log").set_range(0.001, 0.2).save_scene(tmp_path / "s.json")
        with pytest.raises(NeuronautError, match="no scale called 'cubic'"):
            view.set(scale="cubic")
        with pytest.raises(NeuronautError, match="range is two numbers"):
            view.set_range(0.1)
    with explorer.open_network(tmp_path / "s.json") as view:
        assert (view.state.scale, view.state.range) == ("log", (0.001, 0.2))
        assert view.set_range(None).state.range is None


def tour(folder: Path, text: str) -> Path:
    path = folder / "tour.toml"
    path.write_text(f'network = "{DIGITS}"\nsize = [64, 48]\nfps = 2\n' + text)
    return path


def test_a_tour_changes_scale_and_range(tmp_path: Path) -> None:
    path = tour(
        tmp_path,
        'scale = "linear"\nrange = [0, 0.5]\n[[step]]\nseconds = 1\nscale = "rank"\n'
        '[[step]]\nseconds = 1\nrange = [0.01, 0.3]\n[[step]]\nseconds = 1\nrange = ""\n'
        "[[step]]\nseconds = 1\nrange = [0.1, 0.2]\n"
        '[[step]]\nseconds = 1\noverlay = "signed"\nscale = "log"\n',
    )
    read = load_tour(path)
    with film._session(read, None) as session:
        seen = [(session.state.scale, session.state.range)]
        for step in read.steps:
            session.update(film._changed(session, step))
            seen.append((session.state.scale, session.state.range))
    assert seen == [
        ("linear", (0.0, 0.5)), ("rank", (0.0, 0.5)), ("rank", (0.01, 0.3)), ("rank", None),
        ("rank", (0.1, 0.2)), ("log", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('scale = "cubic"', "cubic"),
        ("range = [0.3, 0.1]", "a range is two numbers"),
        ('range = "all"', "a range is two numbers"),
        ("range = true", "a range is two numbers"),
    ],
)
def test_a_tour_with_a_wrong_scale_is_refused(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load_tour(tour(tmp_path, f"[[step]]\nseconds = 1\n{line}\n"))
