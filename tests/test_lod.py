"""How layers open into units, and how a person's words become a node."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.drawing.appearance import unit_places
from explorer.errors import UnknownNameError
from explorer.network import Layer, Link, Network
from explorer.tree import lod
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Node
from explorer.tree.lod import UnitRange
from explorer.weights.units import Units


@given(st.integers(1, 300_000), st.data())
def test_opening_reaches_every_unit_in_few_steps(count, data):
    units = Units(count, count)
    target = data.draw(st.integers(0, count - 1))
    here, steps = None, 0
    while here is None or here.count > 1:
        ranges, (rows, columns) = lod.open_units(units, here)
        assert ranges[0].start == (here.start if here else 0)
        assert ranges[-1].stop == (here.stop if here else count)
        assert all(a.stop == b.start for a, b in itertools.pairwise(ranges))
        assert len(ranges) <= lod.MOST_UNITS
        assert rows * columns >= len(ranges)
        (here,) = [r for r in ranges if r.start <= target < r.stop]
        steps += 1
    assert steps <= 3
    assert lod.open_units(units, here) == ([], (0, 0))


@given(st.integers(257, 300_000))
def test_ranges_start_where_tiles_start(count):
    ranges, _ = lod.open_units(Units(count, count), None)
    assert all(r.start % lod.TILE == 0 for r in ranges)


def test_gates_and_heads_open_by_name():
    gates = Units(4 * 96, 96, ("input gate", "forget gate", "cell", "output gate"))
    ranges, grid = lod.open_units(gates, None)
    assert ranges == [UnitRange(k * 96, (k + 1) * 96) for k in range(4)]
    assert grid == (4, 1)
    heads = Units(8 * 64, 512, heads=(8, 64))
    ranges, _ = lod.open_units(heads, None)
    assert ranges == [UnitRange(k * 64, (k + 1) * 64) for k in range(8)]
    assert lod.open_units(Units(64, 64, heads=(4, 16)), None)[1] == (4, 16)


@pytest.mark.parametrize(
    "units",
    [
        Units(7, 7),
        Units(300, 300),
        Units(5000, 5000),
        Units(0, 0),
        Units(400, 100, ("a", "b", "c", "d")),
    ],
)
def test_places_stay_on_the_face_and_apart(units):
    places = unit_places(units)
    assert places.shape == (units.count, 2)
    assert (np.abs(places) <= 0.5).all()
    assert len(np.unique(np.round(places, 9), axis=0)) == units.count


def small():
    layers = (
        Layer("net/a", "InputLayer", {}, (), (None, 4)),
        Layer("net/b", "Dense", {"units": 300}, ((None, 4),), (None, 300)),
        Layer("other/b", "Dense", {"units": 2}, ((None, 300),), (None, 2)),
    )
    links = (Link("net/a", "net/b"), Link("net/b", "other/b"))
    network = Network("n", "test", layers, (), links)
    return build_hierarchy(network, set()), lambda la: Units(
        la.output_shape[-1], la.output_shape[-1]
    )


def test_names_resolve_as_people_mean_them():
    hierarchy, units_of = small()
    assert lod.resolve(hierarchy, units_of, "net/a") == "net/a"
    assert lod.resolve(hierarchy, units_of, "a") == "net/a"
    assert lod.resolve(hierarchy, units_of, "net/b[3]") == "net/b[3]"
    assert lod.resolve(hierarchy, units_of, "net/b[64:128]") == "net/b[64:128]"
    for wrong in ("b", "c", "net/b[300]", "net/b[5:5]", "net/b[x]", "", "[3]", "a" * 10_000):
        with pytest.raises(UnknownNameError) as error:
            lod.resolve(hierarchy, units_of, wrong)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("net/b[3:9]", "net/b[0:64]"),
        ("net/b[3:70]", "net/b"),
        ("net/b[0:300]", "net/b"),
        ("net/a[1:3]", "net/a"),
    ],
)
def test_a_range_that_nothing_opens_into_is_no_node(name, offered):
    hierarchy, units_of = small()
    with pytest.raises(UnknownNameError) as error:
        lod.resolve(hierarchy, units_of, name)
    assert str(error.value) == f"no range of units called {name!r}; did you mean {offered}?"
    assert lod.resolve(hierarchy, units_of, name, any_range=True) == name


def test_every_range_that_is_drawn_resolves():
    hierarchy, _ = small()

    def units_of(layer):
        return Units(20_000, 5_000, ("input gate", "forget gate", "cell", "output gate"))

    todo, seen = [None], 0
    while todo:
        ranges = lod.open_units(units_of(None), todo.pop())[0]
        for here in ranges[:3] + ranges[-3:]:
            path = lod.unit_path("net/b", here)
            assert lod.resolve(hierarchy, units_of, path) == path
            assert lod.opening(hierarchy, units_of, path)[0] == "net/b"
            todo.append(here)
            seen += 1
    assert seen > 20
    assert lod.resolve(hierarchy, units_of, "net/b[cell]") == "net/b[10000:15000]"


def test_opening_lists_what_must_be_open_around_a_unit():
    hierarchy, units_of = small()
    around = lod.opening(hierarchy, units_of, "net/b[70]")
    assert around[-2:] == ["net/b", "net/b[64:128]"]
    cut = lod.make_cut(hierarchy, units_of, frozenset(around))
    assert "net/b[70]" in cut.paths


def tree(spec):
    """Nodes from nested tuples (kind, children…); a number is that many layers."""
    nodes: list[Node] = []

    def add(kind, members, parent, first):
        me = len(nodes)
        nodes.append(Node("", "", kind, "", parent, (), (first, first), False))
        children, at = [], first
        for member in members:
            inner = [("layer",)] * member if isinstance(member, int) else [member]
            for child in inner:
                children.append(add(child[0], child[1:], me, at))
                at = nodes[children[-1]].layers[1]
        last = max(at, first + 1)
        path = f"n{me}" if me else ""
        nodes[me] = Node(path, path, kind, "", parent, tuple(children), (first, last), False)
        return me

    add("scope", spec, -1, 0)
    return SimpleNamespace(nodes=tuple(nodes))


def seen(hierarchy, opened):
    """Indices of the visible nodes."""
    nodes, found = hierarchy.nodes, []
    work = list(nodes[0].children)
    while work:
        i = work.pop()
        work.extend(nodes[i].children) if nodes[i].path in opened else found.append(i)
    return sorted(found)


def test_the_first_cut_opens_alike_what_is_alike():
    stage = ("scope", 3, ("series", ("scope", 10), ("scope", 10)))
    hierarchy = tree([1, ("scope", 2), stage, stage, stage, stage, 1])
    opened = lod.first_cut(hierarchy)
    root = hierarchy.nodes[0].children
    assert all(hierarchy.nodes[i].path in opened for i in root[2:6])
    assert hierarchy.nodes[root[1]].path not in opened
    assert 20 <= len(seen(hierarchy, opened)) <= 40


def test_the_first_cut_opens_nothing_beside_something_larger_that_stays_closed():
    large = [("scope", *[("scope", 7)] * n) for n in (6, 12, 30, 32)]
    small = ("scope", 4)
    hierarchy = tree([5, large[0], small, large[1], small, large[2], small, large[3], 4])
    assert lod.first_cut(hierarchy) == frozenset()


def test_the_first_cut_goes_on_where_little_is_visible():
    alone = tree([1, ("scope", *[("scope", ("scope", 9))] * 12), 1])
    assert len(seen(alone, lod.first_cut(alone))) == 14
    # 100 of them do not fit: what is smaller is opened.
    wide = tree([1, ("series", *[("scope", 10)] * 100), ("scope", 9), 1])
    assert len(seen(wide, lod.first_cut(wide))) == 12
    stages = tree([1, ("stage", 3), ("stage", 2), 1])
    assert len(seen(stages, lod.first_cut(stages))) == 7
    assert lod.first_cut(tree([])) == frozenset()


@st.composite
def specs(draw, depth=3):
    kind = draw(st.sampled_from(["scope", "series", "stage"]))
    if depth == 0 or kind == "stage":
        return (kind, draw(st.integers(1, 45)))
    return (kind, *draw(st.lists(st.one_of(st.integers(1, 9), specs(depth - 1)), max_size=8)), 1)


@given(st.lists(st.one_of(st.integers(1, 12), specs()), max_size=6))
def test_the_first_cut_keeps_to_its_bounds(spec):
    hierarchy = tree(spec)
    opened = lod.first_cut(hierarchy)
    count = len(seen(hierarchy, opened))
    assert count <= max(40, len(hierarchy.nodes[0].children))
    if count < 8:  # nothing that is visible and fits was left closed
        for i in seen(hierarchy, opened):
            inner = len(hierarchy.nodes[i].children)
            assert not inner or count - 1 + inner > 40
