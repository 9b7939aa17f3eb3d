"""What stays as it is when nodes open and close, and what is not placed again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layouts import Boxes, Tree, _parts, forget, layouts, place
from layouts._links import family, lift_links
from layouts._memo import Memory, digest
from layouts._ranks import rank_nodes

NAMES = sorted(layouts())
STRICT = sorted(set(NAMES) - {"helix"})


def make(parent: list[int], links: list[tuple[int, int]], size: list[tuple[float, ...]]) -> Tree:
    return Tree(
        np.array(parent, np.int32),
        np.array(size, np.float64),
        np.array(links, np.int32).reshape(-1, 2),
        np.zeros((len(parent), 2), np.int32),
    )


def open_node(
    tree: Tree, node: int, count: int, grid: bool, child: tuple[float, ...] = (0.3, 1.5, 1.5)
) -> Tree:
    """The tree after a leaf has opened into so many children; its own size is that of before."""
    new = list(range(len(tree), len(tree) + count))
    links = tree.links.copy()
    links[:, 0][links[:, 0] == node] = new[-1]
    links[:, 1][links[:, 1] == node] = new[0]
    inner = np.array([] if grid else list(pairwise(new)), np.int32).reshape(-1, 2)
    grids = np.concatenate([tree.grid, np.zeros((count, 2), np.int32)])
    if grid:
        cols = int(np.ceil(np.sqrt(count)))
        grids[node] = (-(-count // cols), cols)
    return Tree(
        np.concatenate([tree.parent, np.full(count, node, np.int32)]),
        np.concatenate([tree.size, np.tile(child, (count, 1))]),
        np.concatenate([links, inner]),
        grids,
    )


@st.composite
def dags(draw: st.DrawFn) -> Tree:
    """A tree of a few scopes, forward links between random leaves, most of them short."""
    n = draw(st.integers(2, 45))
    scopes = draw(st.integers(0, 3))
    parent = [-1] + [draw(st.integers(0, min(i - 1, scopes))) for i in range(1, n)]
    leaves = sorted(set(range(n)) - set(parent))
    links = [
        (a, b)
        for a, b in pairwise(leaves)
        if draw(st.integers(0, 9))  # mostly a chain
    ]
    for a, step in draw(
        st.lists(st.tuples(st.sampled_from(leaves), st.integers(1, 6)), max_size=30)
    ):
        later = [b for b in leaves if b > a][:step]
        links += [(a, later[-1])] if later else []
    extent, thin = st.floats(0.2, 5.0), st.floats(0.1, 0.4)
    walls = [draw(st.tuples(thin, extent, extent)) for _ in range(n)]
    return make(parent, links, [(x * (y * z) ** 0.5, y, z) for x, y, z in walls])


def leaf_of(draw: st.DataObject, tree: Tree) -> int:
    leaves = sorted(set(range(len(tree))) - set(tree.parent.tolist()))
    return draw.draw(st.sampled_from(leaves))


def ranked_siblings(tree: Tree) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The children of each scope, their ranks, and whether two hang together."""
    links = lift_links(tree, family(tree.parent).depth)
    for scope in np.unique(tree.parent[1:]):
        group = np.flatnonzero(tree.parent == scope)
        place_of = {int(node): i for i, node in enumerate(group)}
        inner = [
            (place_of[a], place_of[b])
            for a, b in links.tolist()
            if tree.parent[a] == scope and a < b
        ]
        together = np.eye(len(group), dtype=bool)
        for a, b in inner:
            together[a, b] = together[b, a] = True
        for _ in range(len(group)):
            together = together @ together
        yield group, rank_nodes(len(group), np.array(inner, np.int64).reshape(-1, 2)), together


def sign(values: np.ndarray) -> np.ndarray:
    """-1, 0, 1 of the difference of each pair of values; 0 up to rounding."""
    return np.sign(np.round(values[:, None] - values[None, :], 6))


@pytest.mark.parametrize("name", STRICT)
@settings(max_examples=120, deadline=None)
@given(
    tree=dags(), data=st.data(), count=st.integers(4, 60), grid=st.booleans(), long=st.booleans()
)
def test_siblings_keep_rows_and_sides_when_a_node_opens(
    name: str, tree: Tree, data: st.DataObject, count: int, grid: bool, long: bool
) -> None:
    node = leaf_of(data, tree)
    if long:  # rows are planned as if some stood open, whatever does
        room = tree.size * (np.arange(len(tree)) % 3 == 0)[:, None] * (6.0, 2.0, 2.0)
        tree = replace(tree, room=room)
    # what opens gets no smaller: it holds some as large as it was
    more = open_node(tree, node, count, grid, tuple(tree.size[node]))
    if long:
        more = replace(more, room=np.concatenate([room, np.zeros((count, 3))]))
    before, after = place(tree, name), place(more, name)
    assert before.row is not None
    assert after.row is not None
    for group, rank, together in ranked_siblings(tree):
        row_was, row_is = sign(before.row[group]), sign(after.row[group])
        # rows keep their order and never merge
        assert (row_is[row_was != 0] == row_was[row_was != 0]).all()
        # a row breaks further only if it holds what opened
        holder = node
        while holder > 0 and holder not in group:
            holder = int(tree.parent[holder])
        for row in np.unique(before.row[group]):
            members = group[before.row[group] == row]
            assert holder in members or len(np.unique(after.row[members])) == 1
        # in a row, what stood further right still does
        same = (row_was == 0) & (row_is == 0) & together
        was, now = (sign(b.centers[group, 0]) for b in (before, after))
        other_rank = rank[:, None] != rank[None, :]
        assert (was * now >= 0)[same & other_rank].all()
        # in a rank, what stood above still does, and what stood before at the same height: in an
        # array of many what opens pushes on its own row alone
        mates, level = same & ~other_rank, sign(before.centers[group, 1]) == 0
        for axis, known in ((1, mates), (2, mates & level)):
            was, now = (sign(b.centers[group, axis]) for b in (before, after))
            assert (was * now >= 0)[known].all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(tree=dags(), data=st.data(), count=st.integers(1, 30))
def test_order_is_kept_and_closing_gives_the_same_boxes(
    name: str, tree: Tree, data: st.DataObject, count: int
) -> None:
    before = place(tree, name)
    more = open_node(tree, leaf_of(data, tree), count, grid=False)
    after = place(more, name)
    assert before.row is not None
    assert after.row is not None
    for group, rank, together in ranked_siblings(tree):
        later = (rank[:, None] < rank[None, :]) & together
        for rows in (before.row[group], after.row[group]):
            assert (rows[:, None] <= rows[None, :])[later].all()
    assert same_boxes(place(tree, name), before)
    forget()
    assert same_boxes(place(tree, name), before)
    assert same_boxes(place(more, name), after)


def same_boxes(a: Boxes, b: Boxes) -> bool:
    fields = ("centers", "sizes", "gutter", "row", "heading")
    return all(np.array_equal(getattr(a, f), getattr(b, f), equal_nan=True) for f in fields)


def two_levels(scopes: int, inside: int) -> Tree:
    """A chain of scopes, each with a chain of leaves."""
    parent = [-1] + [0] * scopes
    for scope in range(scopes):
        parent += [scope + 1] * inside
    leaves = list(range(scopes + 1, len(parent)))
    return make(parent, list(pairwise(leaves)), [(0.3, 2.0, 2.0)] * len(parent))


@pytest.mark.parametrize("name", NAMES)
def test_opening_a_node_places_only_what_is_around_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    placed: list[int] = []
    real = _parts._placed

    def counting(*inputs: object) -> object:
        placed.append(len(inputs[0].reach))  # type: ignore[attr-defined]
        return real(*inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(_parts, "_placed", counting)
    tree = two_levels(30, 11)
    place(tree, name)
    assert sorted(placed) == [11, 30]  # equal scopes are placed once
    placed.clear()
    place(tree, name)
    assert placed == []
    place(open_node(tree, 31 + 5 * 11, 5, grid=False), name)
    assert sorted(placed) == [5, 11, 30]  # the node, its scope, and the scopes


def test_a_wide_row_breaks_at_what_is_open_and_nowhere_else() -> None:
    tree = make([-1] + [0] * 60, [(i, i + 1) for i in range(1, 60)], [(0.3, 2.0, 2.0)] * 61)
    before = place(tree, "serpentine").row
    opened = tree
    for node in (9, 10, 11):
        opened = open_node(opened, node, 40, grid=False)
    after = place(opened, "serpentine").row
    assert before is not None
    assert after is not None
    grown = before[9]
    others = np.flatnonzero(before[1:61] != grown) + 1
    counts = np.bincount(after[1:61])
    assert len(counts) > before[1:61].max() + 1
    for row in np.unique(before[others]):
        members = np.flatnonzero(before[:61] == row)
        assert len(np.unique(after[members[members > 0]])) == 1


def boxes_in_rows(room: float | None, opened: int = 0) -> tuple[Boxes, int]:
    """Twelve scopes in a chain, the first so many open, all reckoned with as so long."""
    tree = make([-1] + [0] * 12, [(i, i + 1) for i in range(1, 12)], [(1.0, 2.0, 2.0)] * 13)
    for node in range(1, opened + 1):
        tree = open_node(tree, node, 6, grid=False)
    if room is not None:
        rooms = np.zeros((len(tree), 3))
        rooms[1:13] = (room, 3.0, 3.0)
        tree = replace(tree, room=rooms)
    boxes = place(tree, "serpentine")
    assert boxes.row is not None
    return boxes, len(np.unique(boxes.row[1:13]))


def test_rows_are_planned_for_what_usually_stands_open() -> None:
    _, few = boxes_in_rows(None)
    planned, many = boxes_in_rows(8.0)
    assert many > few
    # the first row is broken where it is as long as the others when all are open
    opened, rows = boxes_in_rows(8.0, opened=12)
    assert rows == many
    assert np.array_equal(opened.row[:13], planned.row)  # type: ignore[index]
    wide, high = opened.sizes[0, :2]
    assert 0.6 < wide / high / (16 / 9) < 1.7


def test_a_room_that_is_none_or_nothing_changes_nothing() -> None:
    tree = two_levels(12, 10)
    for room in (np.zeros((len(tree), 3)), np.full((len(tree), 3), np.nan)):
        for name in NAMES:
            assert same_boxes(place(tree, name), place(replace(tree, room=room), name))
    with pytest.raises(ValueError, match="rooms"):
        place(replace(tree, room=np.zeros((3, 3))), "flat")


def test_a_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = Memory(20_000)
    made = []

    def ask(key: int) -> np.ndarray:
        def make_it() -> np.ndarray:
            made.append(key)
            return np.full(500, key, np.float64)

        return memory.recall(digest(key), make_it)

    for key in (1, 2, 3, 1, 4, 5, 1, 6):
        assert (ask(key) == key).all()
    assert made == [1, 2, 3, 4, 5, 6]
    assert len(memory) <= 4
    ask(1)
    assert made[-1] == 6
    ask(2)
    assert made[-1] == 2


def test_keys_tell_apart_what_differs_and_nothing_else() -> None:
    a = np.arange(6.0)
    assert digest(a, 1) == digest(a.copy(), 1)
    keys = [digest(a), digest(a, 1), digest(a, 2), digest(a.reshape(2, 3)), digest(a.astype("f4"))]
    keys += [digest(a[::-1]), digest(a[:3], a[3:]), digest(), digest("1"), digest(1)]
    assert len(set(keys)) == len(keys)


def test_threads_place_alike() -> None:
    trees = [two_levels(scopes, 9) for scopes in range(9, 15)]
    forget()
    expected = [place(tree, "helix") for tree in trees]
    forget()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda tree: place(tree, "helix"), trees * 5))
    assert all(same_boxes(a, b) for a, b in zip(found, expected * 5, strict=True))
