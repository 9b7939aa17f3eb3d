"""The contract that every layout keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_trees import (
    WRAPS,
    chain,
    check_contract,
    check_forward,
    every_layout,
    make,
    opened,
    trees,
)

from layouts import Layout, Tree, layouts, place
from layouts._links import family, lift_links
from layouts.geometry import bounds


@every_layout
@settings(max_examples=150, deadline=None)
@given(tree=trees(), aspect=st.floats(0.2, 5.0))
def test_any_tree_is_placed_by_the_contract_and_alike_each_time(
    name: str, tree: Tree, aspect: float
) -> None:
    boxes = place(tree, name, aspect)
    check_contract(name, tree, boxes)
    again = place(tree, name, aspect)
    assert np.array_equal(boxes.centers, again.centers)
    assert np.array_equal(boxes.sizes, again.sizes)


@every_layout
@settings(max_examples=150, deadline=None)
@given(tree=trees(grids=False))
def test_flow_runs_forward(name: str, tree: Tree) -> None:
    boxes = place(tree, name)
    links = lift_links(tree, family(tree.parent).depth)
    check_forward(layouts()[name], boxes, links[links[:, 0] < links[:, 1]])


@every_layout
def test_nothing_and_one(name: str) -> None:
    nothing = place(make([]), name)
    assert nothing.centers.shape == nothing.sizes.shape == (0, 3)
    assert np.array_equal(np.stack(bounds(nothing)), np.zeros((2, 3)))
    one = place(make([-1], size=(1.0, 2.0, 3.0)), name)
    assert np.array_equal(one.centers, [[0, 0, 0]])
    assert np.array_equal(one.sizes, [[1, 2, 3]])


@every_layout
def test_a_hundred_thousand_siblings_and_a_very_deep_tree(name: str) -> None:
    n = 100_000
    ends = np.sort(np.random.default_rng(1).integers(1, n + 1, (n, 2)), axis=1)
    plain = chain(n)
    links = np.concatenate([plain.links, ends]).astype(np.int32)
    tree = Tree(plain.parent, plain.size, links, plain.grid)
    boxes = place(tree, name)
    assert np.isfinite(boxes.centers).all()
    deep = place(make(list(range(-1, 3000))), name)
    assert (np.diff(deep.sizes, axis=0) < 0).any(axis=1).all()


@every_layout
@pytest.mark.parametrize("grid", [False, True])
@settings(max_examples=40, deadline=None)
@given(data=st.data(), branches=st.integers(2, 9), count=st.integers(1, 30))
def test_opening_a_node_keeps_the_order_of_the_others(
    name: str, grid: bool, data: st.DataObject, branches: int, count: int
) -> None:
    middle = range(2, 2 + branches)
    join = 2 + branches
    links = [(1, b) for b in middle] + [(b, join) for b in middle] + [(join, join + 1)]
    extent = st.floats(0.2, 4.0)
    size = [data.draw(st.tuples(extent, extent, extent)) for _ in range(join + 2)]
    closed = make([-1] + [0] * (join + 1), links, size)
    node = data.draw(st.integers(1, join + 1))
    before = place(closed, name).centers[1:]
    after = place(opened(closed, node, count, grid), name).centers[1 : join + 2]
    for k in (0, 1, 2):
        if k == 0 and name in WRAPS:
            continue  # what is left of what changes with the rows; reading order has its own test
        was = np.sign(np.round(before[:, None, k] - before[None, :, k], 9))
        now = np.sign(np.round(after[:, None, k] - after[None, :, k], 9))
        rank_mates = np.zeros_like(was, bool)
        rank_mates[1 : 1 + branches, 1 : 1 + branches] = True
        pairs = rank_mates if k else ~rank_mates
        swapped = (was * now == -1) & pairs
        assert not swapped.any(), (k, np.argwhere(swapped))


@settings(max_examples=200, deadline=None)
@given(tree=trees())
def test_lifted_links_are_the_children_of_the_lowest_common_ancestor(tree: Tree) -> None:
    def path(node: int) -> list[int]:
        return [*path(int(tree.parent[node])), node] if node else [0]

    expected = set()
    for a, b in tree.links.tolist():
        up, down = path(a), path(b)
        k = next((i for i, (p, q) in enumerate(zip(up, down, strict=False)) if p != q), None)
        if k is not None:
            expected.add((up[k], down[k]))
    lifted = lift_links(tree, family(tree.parent).depth)
    assert [tuple(pair) for pair in lifted.tolist()] == sorted(expected)


def test_the_registry_finds_layouts_and_names_them_when_asked_for_another() -> None:
    assert {"layered", "serpentine"} <= set(layouts())
    assert all(isinstance(v, Layout) and v.name == k and v.summary for k, v in layouts().items())
    with pytest.raises(LookupError, match=r"'spiral'.*layered.*serpentine"):
        place(chain(3), "spiral")


BROKEN = {
    "parent after child": (make([-1, 2, 0]), "precede"),
    "two roots": (make([-1, -1]), "one root"),
    "no root": (make([0, 0]), "node 0"),
    "negative size": (make([-1, 0], size=(1.0, -1.0, 1.0)), "positive"),
    "size not a number": (make([-1, 0], size=(1.0, np.nan, 1.0)), "positive"),
    "link out of range": (make([-1, 0, 0], [(1, 3)]), "link"),
    "too few flags": (replace(make([-1, 0, 0]), abreast=np.zeros(2, bool)), "flags"),
    "link below zero": (make([-1, 0, 0], [(-1, 2)]), "link"),
}


@every_layout
@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_tree_is_refused_in_one_line(name: str, case: str) -> None:
    tree, reason = BROKEN[case]
    with pytest.raises(ValueError, match=rf"\A[^\n]*{reason}[^\n]*\Z"):
        place(tree, name)


@every_layout
@pytest.mark.parametrize("aspect", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_aspect_is_refused(name: str, aspect: float) -> None:
    with pytest.raises(ValueError, match="aspect"):
        place(chain(3), name, aspect)
