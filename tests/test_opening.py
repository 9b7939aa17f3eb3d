"""Opening many nodes at once: the right ones, never more than the budget, and said so."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError, UnknownNameError
from explorer.network import Layer, Network
from explorer.open_model import OpenModel
from explorer.session import opening
from explorer.session.session import Session
from explorer.tree import lod

SCRIPT = Path(__file__).parents[1] / "scripts" / "layer_graphs.py"


def graphs():
    spec = importlib.util.spec_from_file_location("layer_graphs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def decoder():
    with OpenModel(graphs().decoder(2000)) as model:
        yield model


@pytest.fixture(scope="module")
def digits():
    with OpenModel.open(str(scenes_folder() / "digits.keras")) as model:
        yield model


@pytest.fixture
def session(digits):
    made = Session(digits)
    yield made
    made.close_session()


def visible(model, opened):
    """Visible nodes, counted by walking the tree anew."""
    cut = lod.make_cut(model.hierarchy, model.units_of, opened)
    return int(np.count_nonzero(cut.leaf))


def is_open(model, path, opened):
    outer = lod.opening(model.hierarchy, model.units_of, path)
    return {*outer, path} <= opened


def test_all_dense_layers_open_wherever_they_are(session):
    session.open_to(0)
    found = session.open_all("dense")
    assert (found.done, found.wanted) == (2, 2)
    names = session.draw_list.nodes.shown
    assert "hidden[31]" in names
    assert "digit[9]" in names
    assert "conv_1[0]" not in names


def test_of_a_stage_and_its_layer_the_stage_opens(session):
    session.close_all()
    found = session.open_all("Conv2D")
    assert "conv_2~stage" in found.opened
    assert "conv_2" not in found.opened
    assert "conv_1" in found.opened


@pytest.mark.parametrize("kind", ["stage", "STAGE", "conv", "Conv2D"])
def test_kinds_families_and_sorts_of_nodes_are_known(session, kind):
    assert "conv_2~stage" in session.open_all(kind).opened


@pytest.mark.parametrize("kind", ["Conv3D", "", " ", "layer"])
def test_an_unknown_kind_is_told_and_changes_nothing(session, kind):
    before = session.state
    with pytest.raises(UnknownNameError, match="no kind of node"):
        session.open_all(kind)
    assert session.state == before


def test_all_like_a_member_of_a_series_are_its_members():
    decoder = OpenModel(graphs().decoder(200, "flat"))
    series = next(n for n in decoder.hierarchy.nodes if n.kind == "series")
    members = [decoder.hierarchy.nodes[i].path for i in series.children]
    found = opening.open_like(decoder.hierarchy, decoder.units_of, frozenset(), members[2])
    assert found.wanted == len(members)
    assert all(is_open(decoder, path, found.opened) for path in members)
    others = found.opened - set(members)
    assert others <= {p for m in members for p in lod.opening(
        decoder.hierarchy, decoder.units_of, m)}  # fmt: skip
    decoder.close()


def test_all_like_a_layer_are_those_of_its_kind(session):
    found = session.open_like("hidden")
    assert found.opened >= {"hidden", "digit"}
    assert "conv_1" not in found.opened


def test_all_like_a_range_are_the_ranges_beside_it():

    layers = (
        Layer("in", "InputLayer", {}, (), (None, 8)),
        Layer("wide", "Dense", {}, (), (None, 4096)),
    )
    with OpenModel(Network("wide", "test", layers, (), (), ())) as model:
        found = opening.open_like(
            model.hierarchy, model.units_of, frozenset({"wide"}), "wide[64:128]", 1000
        )
        assert found.wanted == 64
        assert found.done == (1000 - 65) // 63
        assert visible(model, found.opened) <= 1000


@pytest.mark.parametrize("depth", range(5))
def test_a_depth_opens_all_groups_above_it_and_nothing_else(decoder, depth):
    hierarchy = decoder.hierarchy
    found = opening.open_to_depth(hierarchy, depth, budget=10**6)
    for i, node in enumerate(hierarchy.nodes[1:], 1):
        above = len(hierarchy.ancestors(i))
        assert (node.path in found.opened) == (bool(node.children) and above < depth)
    assert found.done == found.wanted == len(found.opened)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_the_budget_holds_whatever_is_open(decoder, data):
    hierarchy, units_of = decoder.hierarchy, decoder.units_of
    paths = [n.path for n in hierarchy.nodes[1:]]
    before = frozenset(data.draw(st.sets(st.sampled_from(paths), max_size=12)))
    budget = data.draw(st.integers(1, 900))
    what = data.draw(st.sampled_from(["kind", "like", "depth"]))
    if what == "kind":
        kind = data.draw(st.sampled_from(opening.known_kinds(hierarchy)))
        found = opening.open_all(hierarchy, units_of, before, kind, budget)
    elif what == "like":
        path = data.draw(st.sampled_from(paths))
        found = opening.open_like(hierarchy, units_of, before, path, budget)
    else:
        found = opening.open_to_depth(hierarchy, data.draw(st.integers(0, 6)), budget)
        before = frozenset()
    assert visible(decoder, found.opened) <= max(budget, visible(decoder, before))
    assert found.opened >= before
    assert 0 <= found.done <= found.wanted
    if found.done < found.wanted:
        assert f"{found.done} of {found.wanted:,}".replace(",", "\u202f") in found.message


def test_with_room_enough_all_are_opened(decoder):
    found = opening.open_all(decoder.hierarchy, decoder.units_of, frozenset(), "Dense", 10**7)
    dense = [n for n in decoder.hierarchy.nodes if n.type == "Dense"]
    outer = [n for n in dense if decoder.hierarchy.nodes[n.parent].type != "Dense"]
    assert found.done == found.wanted == len(outer)
    assert all(is_open(decoder, n.path, found.opened) for n in outer)
    assert "of" not in found.message


@pytest.mark.parametrize("kind", ["conv", "Dense", "stage"])
def test_a_budget_that_is_just_enough_is_enough_and_one_less_is_not(digits, kind):
    before = digits.hierarchy, digits.units_of, frozenset()
    everything = opening.open_all(*before, kind, 10**7)
    shown = visible(digits, everything.opened)
    assert opening.open_all(*before, kind, shown) == replace(everything, budget=shown)
    assert opening.open_all(*before, kind, shown - 1).done < everything.done


def test_the_largest_open_first(decoder):
    hierarchy = decoder.hierarchy
    found = opening.open_to_depth(hierarchy, 3, budget=60)
    assert found.done < found.wanted
    assert visible(decoder, found.opened) <= 60


def test_very_many_operations_never_show_too_many(tmp_path):
    with OpenModel(graphs().chain(20_000)) as model:
        deep = opening.open_to_depth(model.hierarchy, 20)
        assert visible(model, deep.opened) <= opening.BUDGET
        assert deep.done < deep.wanted
        dense = opening.open_all(model.hierarchy, model.units_of, frozenset(), "Dense")
        assert visible(model, dense.opened) <= opening.BUDGET
        assert dense.done < dense.wanted


@pytest.mark.parametrize("depth", [-1, 65, 10**9])
def test_an_impossible_depth_is_told(session, depth):
    with pytest.raises(NeuronautError, match="depth"):
        session.open_to(depth)


def test_closing_all_and_going_back_gives_the_same_picture(session):
    session.wait()
    before = session.draw_list
    session.close_all()
    assert not session.state.opened
    assert len(session.draw_list.frames.node) == 0
    session.undo()
    after = session.draw_list
    assert before.nodes == after.nodes
    assert np.array_equal(before.solids.centers, after.solids.centers)
    assert before.labels == after.labels


def test_starting_over_can_be_taken_back(session):
    session.click("hidden")
    session.set_focus("hidden")
    before = session.state
    session.reset()
    assert session.state.opened == session.first_opened
    assert session.state.focus is None
    session.undo()
    assert session.state == before
