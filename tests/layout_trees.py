"""Trees for the tests of the layouts, and the contract that every placement keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import strategies as st

from layouts import Boxes, Layout, Tree, layouts

NAMES = sorted(layouts())
EPS = 1e-9
WIDE = 16 / 9
WRAPS = {name for name, layout in layouts().items() if layout.forward != "right"}

every_layout = pytest.mark.parametrize("name", NAMES)


def make(
    parent: Sequence[int],
    links: Sequence[tuple[int, int]] = (),
    size: object = (0.3, 2.0, 2.0),
    grid: dict[int, tuple[int, int]] | None = None,
) -> Tree:
    """A tree from plain lists; one size for all, or one for each."""
    n = len(parent)
    sizes = np.broadcast_to(np.asarray(size, np.float64), (n, 3)).copy()
    grids = np.zeros((n, 2), np.int32)
    for node, shape in (grid or {}).items():
        grids[node] = shape
    pairs = np.array(links, np.int32).reshape(-1, 2)
    return Tree(np.array(parent, np.int32), sizes, pairs, grids)


def chain(n: int, size: object = (0.3, 2.0, 2.0)) -> Tree:
    """A root with n leaves one after another."""
    return make([-1] + [0] * n, [(i, i + 1) for i in range(1, n)], size)


def opened(tree: Tree, node: int, count: int, grid: bool) -> Tree:
    """The tree after a leaf has opened into so many children in a chain or on a grid."""
    n = len(tree)
    new = list(range(n, n + count))
    links = tree.links.copy()
    links[:, 0][links[:, 0] == node] = new[-1]
    links[:, 1][links[:, 1] == node] = new[0]
    inner = [] if grid else list(pairwise(new))
    grids = np.concatenate([tree.grid, np.zeros((count, 2), np.int32)])
    if grid:
        cols = int(np.ceil(np.sqrt(count)))
        grids[node] = (-(-count // cols), cols)
    return Tree(
        np.concatenate([tree.parent, np.full(count, node, np.int32)]),
        np.concatenate([tree.size, np.tile([0.2, 0.5, 0.5], (count, 1))]),
        np.concatenate([links, np.array(inner, np.int32).reshape(-1, 2)]),
        grids,
    )


@st.composite
def trees(draw: st.DrawFn, grids: bool = True) -> Tree:
    """Any tree of up to 40 nodes with any links between its leaves, cycles and repeats too."""
    n = draw(st.integers(1, 40))
    parent = [-1] + [draw(st.integers(max(0, i - 12), i - 1)) for i in range(1, n)]
    leaves = sorted(set(range(n)) - set(parent))
    ends = st.sampled_from(leaves)
    links = draw(st.lists(st.tuples(ends, ends), max_size=60))
    extent = st.floats(0.01, 20.0)
    size = [draw(st.tuples(extent, extent, extent)) for _ in range(n)]
    grid = {}
    for node in sorted(set(parent) - {-1}):
        if grids and draw(st.booleans()):
            cols = draw(st.integers(1, 5))
            grid[node] = (-(-parent.count(node) // cols), cols)
    tree = make(parent, links, size, grid)
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    return replace(tree, abreast=np.array(draw(flags), bool)) if draw(st.booleans()) else tree


def siblings(tree: Tree) -> list[np.ndarray]:
    """The children of each inner node, in order."""
    return [np.flatnonzero(tree.parent == p) for p in np.unique(tree.parent[1:])]


def check_contract(name: str, tree: Tree, boxes: Boxes) -> None:
    """What is true of every placement: finite, inside the parent, apart from siblings."""
    low, high = boxes.centers - boxes.sizes / 2, boxes.centers + boxes.sizes / 2
    assert boxes.centers.shape == boxes.sizes.shape == (len(tree), 3)
    assert np.isfinite(boxes.centers).all()
    assert (boxes.sizes > 0).all()
    assert np.abs(boxes.centers[0]).max() < EPS
    leaves = ~np.isin(np.arange(len(tree)), tree.parent)
    wished = tree.size.copy()
    if name == "flat":  # what stands on a grid turns to the reader
        on_grid = np.append(False, tree.grid[tree.parent[1:], 1] > 0)
        wished[on_grid] = wished[on_grid][:, ::-1]
        assert np.abs(boxes.centers[:, 2]).max() < EPS
    assert np.array_equal(boxes.sizes[leaves], wished[leaves])
    assert boxes.heading is not None
    assert np.allclose(np.linalg.norm(boxes.heading, axis=1), 1)
    inner, parent = np.arange(1, len(tree)), tree.parent[1:]
    assert (low[inner] > low[parent]).all()
    assert (high[inner] < high[parent]).all()
    for group in siblings(tree):
        gap = np.maximum(low[group][:, None] - high[group], low[group] - high[group][:, None])
        apart = gap.max(axis=2) + np.where(np.eye(len(group)), np.inf, 0.0)
        assert apart.min() > 1e-4


def check_forward(layout: Layout, boxes: Boxes, links: np.ndarray) -> None:
    """Data flows as the layout says, see `Layout.forward`."""
    source, target = links.T
    step = boxes.centers[target] - boxes.centers[source]
    if layout.forward == "right":
        assert (step[:, 0] > EPS).all()
    elif layout.forward == "reading":
        assert ((step[:, 0] > EPS) | (step[:, 1] < -EPS)).all()
    else:
        assert boxes.row is not None
        assert boxes.heading is not None
        rows = boxes.row[target] - boxes.row[source]
        onward = step[:, 0] * boxes.heading[source, 0] > EPS
        assert (rows >= 0).all()
        assert (onward | (rows > 0)).all()


def reading_order(boxes: Boxes, n: int) -> list[int]:
    """Nodes 1..n row by row: a row is what shares one height with its leftmost node."""
    low = (boxes.centers - boxes.sizes / 2)[1 : n + 1]
    high = (boxes.centers + boxes.sizes / 2)[1 : n + 1]
    left, order = set(range(n)), []
    while left:
        top = max(left, key=lambda i: float(high[i, 1]))
        row, grew = {top}, True
        while grew:
            floor, roof = min(low[i, 1] for i in row), max(high[i, 1] for i in row)
            more = {i for i in left if low[i, 1] < roof and high[i, 1] > floor}
            grew, row = more != row, more
        order += sorted(row, key=lambda i: float(low[i, 0]))
        left -= row
    return [i + 1 for i in order]
