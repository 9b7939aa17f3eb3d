"""What a person does to a view: open, close, select, colour, find, save."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import layouts
from explorer import formats
from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError, UnknownNameError
from explorer.network import Layer, Link, Network
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import Camera, ViewState, frame, interpolate


@pytest.fixture(scope="module")
def model():
    with OpenModel.open(str(scenes_folder() / "digits.keras")) as opened:
        yield opened


@pytest.fixture
def session(model):
    made = Session(model)
    yield made
    made.close_session()


def same(a, b) -> bool:
    """Whether two draw lists show the same."""
    return (
        a.nodes == b.nodes
        and np.array_equal(a.solids.centers, b.solids.centers)
        and np.array_equal(a.edges.points, b.edges.points)
        and np.array_equal(a.edges.colors, b.edges.colors)
        and a.labels == b.labels
    )


def test_opening_then_closing_gives_the_same_picture(session):
    session.wait()
    before = session.draw_list
    session.click("hidden")
    session.wait()
    assert "hidden[3]" in session.draw_list.nodes[: len(session.placed.cut)]
    session.click("hidden")
    session.select(None)
    session.wait()
    assert same(before, session.draw_list)


def test_opening_a_deep_node_opens_what_is_around_it(session):
    path = session.open("flatten")
    assert path == "flatten"
    assert "conv_2~stage" in session.state.opened
    assert session.row_of("flatten[17]") is not None


def test_a_click_on_a_unit_selects_it(session):
    session.open("hidden")
    session.click("hidden[4]")
    assert session.state.selected == "hidden[4]"
    assert session.draw_list.selected == session.row_of("hidden[4]")
    assert session.state.opened >= {"hidden"}


def test_unknown_names_offer_the_nearest_and_change_nothing(session):
    before = session.state
    with pytest.raises(UnknownNameError, match="did you mean hidden"):
        session.open("hiden")
    with pytest.raises(UnknownNameError, match="did you mean serpentine"):
        session.set_layout("serpentin")
    with pytest.raises(UnknownNameError, match="did you mean magnitude"):
        session.set_overlay("magnitud")
    with pytest.raises(UnknownNameError, match="unit"):
        session.open("hidden[99]")
    with pytest.raises(NeuronautError, match="dark and light"):
        session.set_theme("blue")
    assert session.state == before
    assert len(session.draw_list.nodes) > 1


def test_describe_tells_name_kind_shape_and_value(session):
    session.open("hidden")
    session.open("digit")
    session.wait()
    assert session.describe("hidden").startswith(
        "hidden · Dense · 32 · 8 224 parameters".replace(" 224", "\u202f224")
    )
    edges = session.draw_list.edges
    index = int(np.argmax(np.where(edges.weights == 1, np.nan_to_num(edges.magnitude), -1)))
    text = session.describe_edge(index)
    assert f"w = {edges.signed_mean[index]:.9g}" in text


def test_every_overlay_and_layout_draws(session):
    from explorer.overlays import overlays
    from layouts import layouts

    for name in overlays():
        session.set_overlay(name)
        session.wait()
        assert session.draw_list.legend.ticks or overlays()[name].grey
        assert not session.draw_list.pending
    for name in layouts():
        session.set_layout(name)
        assert np.isfinite(session.draw_list.edges.points).all()


def test_find_looks_in_paths_and_titles(session):
    assert "hidden" in session.find("HID")
    assert session.find("   ") == []


def test_poll_tells_when_weights_came_in(model, tmp_path):
    with OpenModel(model.network) as fresh:
        session = Session(fresh)
        session.wait()
        assert not session.draw_list.pending
        session.close_session()


def test_two_sessions_of_one_model_do_not_touch_each_other(model):
    a, b = Session(model), Session(model)
    a.open("hidden")
    assert b.row_of("hidden[0]") is None
    a.close_session()
    b.close_session()
    assert model.reader.read(model.network.layers[-1].weights[0]).size == 320


def test_view_state_survives_json():
    state = ViewState(
        opened=frozenset({"a", "b[3:9]"}),
        selected="a",
        overlay="signed",
        theme="light",
        camera=Camera((1.0, 2.0, 3.0), (0.0, 0.0, 0.0)),
    )
    assert ViewState.from_json(json.loads(json.dumps(state.to_json()))) == state


@pytest.mark.parametrize(
    "data",
    [
        {"opened": "conv"},
        {"opened": [1]},
        {"theme": "blue"},
        {"edge_budget": -1},
        {"edge_budget": True},
        {"camera": 5},
        {"camera": {"position": [0, 0]}},
        {"camera": {"position": [0, 0, 0], "focal_point": [0, 0, 0]}},
        {"nonsense": 1},
        {"layout": 7},
        {"selected": []},
        {"camera": {"position": [float("nan"), 0, 0], "focal_point": [0, 0, 0]}},
    ],
)
def test_a_damaged_view_is_refused_in_one_line(data):
    with pytest.raises(NeuronautError) as error:
        ViewState.from_json(data)
    assert "\n" not in str(error.value)


def test_frame_sees_every_corner():
    rng = np.random.default_rng(3)
    for aspect in (0.5, 1.0, 16 / 9):
        centers, sizes = rng.normal(size=(30, 3)) * 9, rng.uniform(0.1, 3, (30, 3))
        camera = frame(centers, sizes, aspect)
        eye, focal = np.array(camera.position), np.array(camera.focal_point)
        back = (eye - focal) / np.linalg.norm(eye - focal)
        right = np.cross(camera.up, back)
        right /= np.linalg.norm(right)
        up = np.cross(back, right)
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        corners = (centers[:, None] + signs * sizes[:, None] / 2).reshape(-1, 3) - eye
        depth = -(corners @ back)
        slope = np.tan(np.radians(camera.view_angle / 2))
        x = corners @ right / (depth * slope * aspect)
        y = corners @ up / (depth * slope)
        assert (depth > 0).all()
        assert max(abs(x).max(), abs(y).max()) <= 1.0
        assert max(abs(x).max(), abs(y).max()) > 0.9  # and the picture is filled


def test_interpolate_ends_where_it_should_and_never_jumps():
    a = Camera((10.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    b = Camera((0.0, 0.0, 2.0), (1.0, 0.0, 0.0))
    assert interpolate(a, b, 0.0) == a
    assert interpolate(a, b, 1.0) == b
    way = np.array([interpolate(a, b, t).position for t in np.linspace(0, 1, 101)])
    assert np.linalg.norm(np.diff(way, axis=0), axis=1).max() < 0.4


def test_a_file_rewritten_while_open_gives_a_message(tmp_path):
    path = tmp_path / "digits.keras"
    data = (scenes_folder() / "digits.keras").read_bytes()
    path.write_bytes(data)
    with OpenModel(formats.open_network(str(path))) as opened:
        path.write_bytes(data[:-1] + b"x" + b"y")
        session = Session(opened)
        with pytest.raises(NeuronautError, match="changed"):
            session.wait()
        session.close_session()


@pytest.mark.parametrize(
    ("source", "target", "index"),
    [
        ("hidden[5]", "digit[2]", "kernel[5, 2]"),
        ("conv_1[3]", "conv_2[7]", "kernel[:, :, 3, 7]"),
        ("flatten[40]", "hidden[1]", "kernel[40, 1]"),
        ("pool[6]", "hidden[1]", "kernel[6…246, 1]"),
    ],
)
def test_an_edge_tells_its_place_in_the_file(session, source, target, index):
    from explorer.crossing.element_index import elements, index_text
    from explorer.tree.lod import split_unit_path

    (a, i), (b, j) = (split_unit_path(p) for p in (source, target))
    ((weight, places),) = elements(session.model, (a, i.start), (b, j.start))
    assert index_text(weight, places) == index
    kernel = session.reader.read(weight)
    if a == "pool":
        np.testing.assert_array_equal(np.unravel_index(places, weight.shape)[0] % 16, 6)
        assert len(places) == 16
    else:
        expected = kernel[40, 1] if a == "flatten" else kernel[..., i.start, j.start]
        np.testing.assert_array_equal(kernel.ravel()[places], np.ravel(expected))


def test_a_camera_for_all_sees_the_lines_too():
    names = [f"n{i}" for i in range(20)]
    layers = tuple(Layer(n, "Conv2D", {}, (), (None, 32, 32, 16)) for n in names)
    ends = [*itertools.pairwise(names), *zip(names, names[6:], strict=False)]
    session = Session(Network("skips", "test", layers, (), tuple(Link(a, b) for a, b in ends)))
    for name in layouts.layouts():
        session.set_layout(name)
        camera = session.camera_for(None, 16 / 9)
        back = np.subtract(camera.position, camera.focal_point)
        distance = np.linalg.norm(back)
        right = np.cross(camera.up, back / distance)
        points = session.draw_list.edges.points.reshape(-1, 3) - np.array(camera.position)
        depth = -points @ (back / distance)
        slope = np.tan(np.radians(camera.view_angle) / 2)
        assert (depth > 0).all()
        assert (np.abs(points @ np.array(camera.up)) <= depth * slope).all()
        assert (np.abs(points @ right) <= depth * slope * 16 / 9).all()
    session.close_session()


def test_each_layout_is_seen_from_where_it_is_made_for(session):
    for name, layout in layouts.layouts().items():
        session.set_layout(name)
        camera = session.camera_for()
        back = np.subtract(camera.position, camera.focal_point)
        assert np.allclose(back / np.linalg.norm(back), layout.view / np.linalg.norm(layout.view))
    session.set_layout("flat")
    towards = np.subtract(session.camera_for().position, session.camera_for().focal_point)
    assert np.allclose(towards[:2], 0.0, atol=1e-6 * towards[2])
