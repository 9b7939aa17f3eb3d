"""Focus: a node and its neighbours stay as they are, all else fades, nothing is hidden."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError, UnknownNameError
from explorer.network import Layer, Link, Network
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState


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


def layer_of(path):
    return path.split("[")[0]


def looks(drawn):
    """Colour of each solid by path, opacity of each frame, edges as (source, target, alpha)."""
    solids = {drawn.nodes[n]: tuple(c) for n, c in zip(drawn.solids.node.tolist(),
              drawn.solids.colors.tolist(), strict=True)}  # fmt: skip
    frames = {drawn.nodes[n]: c[3] for n, c in zip(drawn.frames.node.tolist(),
              drawn.frames.colors.tolist(), strict=True)}  # fmt: skip
    e = drawn.edges
    edges = [(drawn.nodes[s], drawn.nodes[t], int(c[3]))
             for s, t, c in zip(e.source, e.target, e.colors, strict=True)]  # fmt: skip
    return solids, frames, edges


def changed(before, after):
    return {path for path in before if before[path] != after[path]}


def test_a_closed_node_keeps_itself_and_its_neighbours(session):
    solids, frames, edges = looks(session.draw_list)
    session.set_focus("hidden")
    session.wait()
    after = looks(session.draw_list)
    # The network is known: … pool -> flatten -> hidden -> digit.
    stay = {"hidden", "digit", "flatten"}
    assert changed(solids, after[0]) == set(solids) - stay
    assert {path for path in solids if solids[path][3] != after[0][path][3]} == set()  # opaque
    assert not changed(frames, after[1])  # flatten stands in the only one
    assert sorted(e[:2] for e in after[2]) == sorted(e[:2] for e in edges)  # none is hidden
    full = sorted(e for e in after[2] if "hidden" in (layer_of(e[0]), layer_of(e[1])))
    assert full == sorted(e for e in edges if "hidden" in (layer_of(e[0]), layer_of(e[1])))
    others = [e[2] for e in after[2] if "hidden" not in (layer_of(e[0]), layer_of(e[1]))]
    assert others
    assert max(others) < 0.2 * max(e[2] for e in edges)
    # What is faded is drawn first.
    touch = ["hidden" in (layer_of(e[0]), layer_of(e[1])) for e in after[2]]
    assert touch == sorted(touch)
    assert session.draw_list.legend.lines[0].startswith(
        "focus on hidden: 2 neighbours, 1 in, 1 out"
    )


def test_labels_fade_with_their_nodes(session):
    before = session.draw_list.labels
    session.set_focus("digit")
    labels = session.draw_list.labels
    assert len(labels) == len(before)
    faded = {session.draw_list.nodes[la.node] for la in labels if la.faded}
    assert "conv_1" in faded
    assert not faded & {"digit", "hidden"}


def test_all_inside_an_open_node_counts(session):
    session.open("conv_1")
    session.wait()
    before = looks(session.draw_list)
    session.set_focus("conv_1")
    session.wait()
    after = looks(session.draw_list)
    gone = changed(before[0], after[0])
    assert not any(path.startswith("conv_1[") for path in gone)
    assert "hidden" in gone
    assert "conv_2" not in gone
    for (source, target, alpha), old in zip(sorted(after[2]), sorted(before[2]), strict=True):
        if "conv_1" in (layer_of(source), layer_of(target)):
            assert alpha == old[2]


def test_one_unit_keeps_the_units_that_it_is_joined_to(session):
    session.open("hidden")
    session.open("digit")
    session.wait()
    before = looks(session.draw_list)
    session.set_focus("digit[3]")
    session.wait()
    after = looks(session.draw_list)
    kept = set(before[0]) - changed(before[0], after[0])
    joined = {s for s, t, _ in before[2] if t == "digit[3]"}
    assert kept == joined | {"digit[3]"}
    assert {layer_of(p) for p in joined} == {"hidden"}


def test_all_units_of_an_open_neighbour_stay_where_the_link_ends_at_its_frame():
    layers = (
        Layer("in", "InputLayer", output_shape=(None, 4)),
        Layer("wide", "Dense", output_shape=(None, 6)),
        Layer("odd", "Unheard", output_shape=(None, 7)),
        Layer("last", "Dense", output_shape=(None, 3)),
    )
    links = tuple(Link(a.path, b.path) for a, b in itertools.pairwise(layers))
    session = Session(Network("odd", "test", layers, links=links))
    try:
        session.open("wide")
        before = looks(session.draw_list)
        assert ("wide", "odd") in {e[:2] for e in before[2]}
        session.set_focus("odd")
        faded = changed(before[0], looks(session.draw_list)[0])
        assert faded == {"in"}
    finally:
        session.close_session()


def test_the_focus_of_a_hidden_node_is_what_hides_it(session):
    session.set_focus("conv_2")
    before = looks(session.draw_list)
    session.close("conv_2~stage")
    session.wait()
    after = looks(session.draw_list)
    assert "conv_2~stage" in after[0]
    assert session.draw_list.legend.lines[0].startswith("focus on conv_2")
    session.set_focus(None)
    assert looks(session.draw_list)[0]["conv_2~stage"] == after[0]["conv_2~stage"]
    assert before[0]["hidden"] != looks(session.draw_list)[0]["hidden"]


def test_ending_it_gives_the_same_picture(session):
    before = session.draw_list
    session.set_focus("hidden")
    session.set_focus(None)
    after = session.draw_list
    assert looks(before) == looks(after)
    assert before.legend.lines == after.legend.lines
    assert before.labels == after.labels


def test_a_name_that_does_not_exist_is_told_and_a_saved_one_does_nothing(session):
    with pytest.raises(UnknownNameError, match="did you mean hidden"):
        session.set_focus("hiden")
    before = looks(session.draw_list)
    session.update(ViewState.from_json({**session.state.to_json(), "focus": "gone/away"}))
    assert looks(session.draw_list) == before


def test_it_is_saved_and_read_and_old_views_have_none(session):
    session.set_focus("hidden")
    data = json.loads(json.dumps(session.state.to_json()))
    assert ViewState.from_json(data) == session.state
    del data["focus"]
    assert ViewState.from_json(data).focus is None
    with pytest.raises(NeuronautError, match="focus must be a text"):
        ViewState.from_json({**data, "focus": 7})


def test_every_array_keeps_its_length_and_kind(session):
    before = session.draw_list
    for path in ("conv_1", "digit", "conv_2~stage", "flatten"):
        session.set_focus(path)
        after = session.draw_list
        for kind in ("solids", "frames", "edges"):
            for name, array in vars(getattr(before, kind)).items():
                other = getattr(getattr(after, kind), name)
                assert (array.shape, array.dtype) == (other.shape, other.dtype)
        order = np.argsort(after.edges.magnitude)
        assert np.array_equal(np.sort(before.edges.magnitude), after.edges.magnitude[order], True)
