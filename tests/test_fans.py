"""Equal branches side by side: one series in the tree, a wall of tiles, lines that fan out."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tree_properties import check_flow, check_tree, members

from explorer.drawing.appearance import TILES, is_fan
from explorer.network import Layer, Link, Network
from explorer.session.session import Session
from explorer.tree.builder import build_hierarchy
from explorer.tree.lod import near_square
from layouts import layouts

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from layer_graphs import parallel


@st.composite
def wide(draw: st.DrawFn) -> Network:
    """Groups of layers, most of them equal, each fed by some hubs and read by some others."""
    hubs = draw(st.integers(2, 5))
    names = [f"hub_{i}" for i in range(hubs)]
    layers = [Layer(n, "InputLayer" if i == 0 else "Add") for i, n in enumerate(names)]
    links = [Link(a, b) for a, b in pairwise(names)]
    for k in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, hubs - 1))
        fed = draw(st.sets(st.integers(0, first), min_size=1))
        reads = draw(st.sets(st.integers(first + 1, hubs))) - {hubs}
        for i in range(draw(st.sampled_from([2, 7, 8, 40]))):
            name, width = f"side_{k}_{i}", draw(st.sampled_from([4, 4, 4, 4, 5]))
            layers.append(Layer(name, "Dense", {"units": width}, (), (None, width)))
            links += [Link(names[h], name) for h in sorted(fed)]
            links += [Link(name, names[h]) for h in sorted(reads)]
    return Network("wide", "test", tuple(draw(st.permutations(layers))), (), tuple(links))


@given(wide())
@settings(max_examples=60, deadline=None)
def test_members_of_a_fan_are_equal_and_have_the_same_neighbours(network) -> None:
    hierarchy = build_hierarchy(network, set())
    check_tree(hierarchy)
    check_flow(hierarchy)
    around: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for link in network.links:
        around[link.source]["to", link.target] += 1
        around[link.target]["from", link.source] += 1
    for index, node in enumerate(hierarchy.nodes):
        if not is_fan(hierarchy, index) or hierarchy.pieces[index]:
            continue
        inside = [hierarchy.nodes[m] for m in members(hierarchy, index)]
        assert len(inside) == hierarchy.copies[index] >= 8, node.path
        layers = [hierarchy.network.layers[hierarchy.order[m.layers[0]]] for m in inside]
        assert all(m.kind == "layer" for m in inside)
        assert all((la.kind, la.config) == (layers[0].kind, layers[0].config) for la in layers)
        assert all(around[la.path] == around[layers[0].path] for la in layers)


@pytest.mark.parametrize("count", [60, 5_000])
def test_parallel_branches_are_one_fan_between_input_and_sum(count) -> None:
    hierarchy = build_hierarchy(parallel(count), set())
    first, fan, last = hierarchy.nodes[0].children
    assert (hierarchy.paths[first], hierarchy.paths[last]) == ("input_1", "sum")
    assert is_fan(hierarchy, fan)
    assert hierarchy.copies[fan] == count


@pytest.fixture(scope="module")
def session():
    found = Session(parallel(5_000))
    yield found
    found.close_session()


@pytest.mark.parametrize("layout", sorted(layouts()))
def test_a_closed_fan_is_drawn_as_tiles_apart_on_its_face(session, layout) -> None:
    session.set_layout(layout)
    solids, boxes = session.draw_list.solids, session.placed.boxes
    cut = session.placed.cut
    fans = [r for r in np.flatnonzero(cut.leaf) if is_fan(session.model.hierarchy, cut.node[r])]
    assert len(fans) == 17
    for row in fans:
        tiles = solids.node == row
        low = (solids.centers - solids.sizes / 2)[tiles].astype(float)
        high = (solids.centers + solids.sizes / 2)[tiles].astype(float)
        assert len(low) == TILES
        half = boxes.sizes[row] / 2 + 1e-4
        assert (low >= boxes.centers[row] - half).all()
        assert (high <= boxes.centers[row] + half).all()
        apart = np.maximum(low[:, None] - high, low - high[:, None]).max(axis=2)
        assert (apart[~np.eye(TILES, dtype=bool)] > 0.01).all()
        rows, columns = near_square(TILES)
        wide = 0 if layout == "flat" else 2
        assert len(np.unique(low[:, 1].round(3))) == rows
        assert len(np.unique(low[:, wide].round(3))) == columns


def test_branches_of_an_open_fan_stand_in_one_rank_and_lines_fan_out(session) -> None:
    session.set_layout("serpentine")
    cut, boxes, edges = session.placed.cut, session.placed.boxes, session.draw_list.edges
    source = session.row_of("input_1")
    lines = np.flatnonzero(edges.source == source)
    targets = edges.target[lines]
    assert sorted(targets) == sorted(np.flatnonzero(cut.leaf)[1:-1])
    assert np.ptp(boxes.centers[targets, 0]) < 1e-9
    start = edges.points[lines, 0]
    face = boxes.sizes[source] / 2
    away = start - boxes.centers[source]
    np.testing.assert_allclose(away[:, 0], face[0], atol=1e-5)
    assert (np.abs(away[:, 1:]) < face[1:]).all()
    for axis in (1, 2):  # as the targets stand to each other, so do the lines
        order = np.argsort(boxes.centers[targets, axis], kind="stable")
        assert (np.diff(start[order, axis]) > -1e-5).all()
        assert np.ptp(start[:, axis]) > 0.5 * 2 * face[axis]
    ends = edges.points[lines, -1]
    np.testing.assert_allclose(ends[:, 1:], boxes.centers[targets, 1:], atol=1e-4)
