"""What the layouts make of chains, branches, grids, rails and parts."""

from __future__ import annotations

import numpy as np
import pytest
from layout_trees import (
    EPS,
    WIDE,
    chain,
    check_contract,
    every_layout,
    make,
    opened,
    reading_order,
)

from layouts import Boxes, place
from layouts.geometry import bounds, return_gutter


@pytest.mark.parametrize("node", [1, 7, 30])
@pytest.mark.parametrize("count", [4, 64])
def test_serpentine_keeps_reading_order_when_a_node_opens(node: int, count: int) -> None:
    for tree in (chain(40), opened(chain(40), node, count, grid=count == 64)):
        boxes = place(tree, "serpentine")
        assert reading_order(boxes, 40) == list(range(1, 41))


@pytest.mark.parametrize("thickness", [0.1, 0.3, 1.0])
def test_a_long_chain_fills_the_picture(thickness: float) -> None:
    for n in [*range(12, 60), 100, 200, 333, 500]:
        low, high = bounds(place(chain(n, (thickness, 2.0, 2.0)), "serpentine"))
        width, height, _ = high - low
        assert 1 / 1.6 < width / height / WIDE < 1.6, n


@every_layout
def test_a_short_chain_stays_one_straight_row(name: str) -> None:
    boxes = place(chain(8), name)
    assert np.ptp(boxes.centers[1:, 1:], axis=0).max() < EPS
    assert (np.diff(boxes.centers[1:, 0]) > 0).all()


def test_serpentine_wraps_an_inner_strip_but_not_a_short_one() -> None:
    for n, wrapped in ((30, True), (8, False)):
        chain_inside = [(i, i + 1) for i in range(3, n + 2)]
        links = [(1, 3), *chain_inside, (n + 2, n + 3)]
        tree = make([-1, 0, 0] + [2] * n + [0], links)
        size = place(tree, "serpentine").sizes[2]
        assert (size[0] / size[1] < 4) == wrapped
        size = place(tree, "layered").sizes[2]
        assert size[0] / size[1] > 4


@pytest.mark.parametrize("blocks", [8, 20])
def test_serpentine_cuts_rows_between_blocks_where_one_line_crosses(blocks: int) -> None:
    # each block: two branches of two layers, and a join
    links, last = [], 1
    for _ in range(blocks):
        a, b, c, d, join = range(last + 1, last + 6)
        links += [(last, a), (a, b), (last, c), (c, d), (b, join), (d, join)]
        last = join
    tree = make([-1] + [0] * last, links)
    free = return_gutter(tree, place(tree, "serpentine"))
    wrapping = tree.links[np.isfinite(free), 0]
    assert len(wrapping) >= 2
    assert (wrapping % 5 == 1).all()  # only joins (and the first node) feed the next row


@pytest.mark.parametrize("rail", [False, True])
def test_a_line_back_to_the_left_runs_free_in_its_gutter(rail: bool) -> None:
    tree = chain(40)
    if rail:
        mask = [(41, i) for i in range(3, 41)]
        tree = make([-1] + [0] * 41, tree.links.tolist() + mask)
    boxes = place(tree, "serpentine")
    low, high = (boxes.centers - boxes.sizes / 2)[1:], (boxes.centers + boxes.sizes / 2)[1:]
    free = return_gutter(tree, boxes)
    step = boxes.centers[tree.links[:, 1]] - boxes.centers[tree.links[:, 0]]
    back = step[:39, 0] < 0
    assert back.sum() > 1
    assert np.array_equal(np.isfinite(free[:39]), back)
    for y in np.unique(free[np.isfinite(free)]):
        assert ((high[:, 1] < y - 0.2) | (low[:, 1] > y + 0.2)).all()


def test_layered_needs_no_way_back_and_lines_into_frames_find_theirs() -> None:
    assert np.isnan(return_gutter(chain(40), place(chain(40), "layered"))).all()
    tree = opened(chain(40), 20, 3, grid=False)
    boxes = place(tree, "serpentine")
    ends = boxes.centers[tree.links]
    assert np.array_equal(
        np.isfinite(return_gutter(tree, boxes)), ends[:, 0, 1] - ends[:, 1, 1] > 1
    )


def test_layered_keeps_a_chain_straight_through_frames() -> None:
    parent = [-1, 0, 0, 0, 2, 2, 2]
    size = np.array([(0.3, h, h) for h in (1, 2, 1, 4, 3, 1, 2)])
    boxes = place(make(parent, [(1, 4), (4, 5), (5, 6), (6, 3)], size), "layered")
    leaves = [1, 4, 5, 6, 3]
    assert np.ptp(boxes.centers[leaves, 1]) < EPS
    assert (np.diff(boxes.centers[leaves, 0]) > 0).all()


@every_layout
def test_gaps_leave_room_for_edges(name: str) -> None:
    tree = chain(6, [(0.3, h, h) for h in (1, 4, 4, 3, 3, 2, 2)])
    boxes = place(tree, name)
    right, left = boxes.centers + boxes.sizes / 2, boxes.centers - boxes.sizes / 2
    gap = left[2:, 0] - right[1:-1, 0]
    face = (tree.size[2:, 1] + tree.size[1:-1, 1]) / 2
    assert ((gap >= 0.6 * face - EPS) & (gap <= face + EPS)).all()
    thick = place(chain(3, (2.0, 0.1, 0.1)), name)
    step = np.diff(thick.centers[1:, 0])
    assert (step - 2.0 >= 3.0 - EPS).all()


@every_layout
@pytest.mark.parametrize(("rows", "cols", "count"), [(8, 8, 64), (3, 5, 13), (1, 7, 7), (9, 1, 9)])
def test_a_grid_has_the_rows_and_columns_asked_for(
    name: str, rows: int, cols: int, count: int
) -> None:
    parent = [-1, 0, 0] + [1] * count
    tree = make(parent, [(3, 2), (4, 2)], (0.1, 0.5, 0.4), {1: (rows, cols)})
    boxes = place(tree, name)
    check_contract(name, tree, boxes)
    x, y, z = boxes.centers[3:].T
    if name == "flat":  # the grid faces the reader
        x, z = z, x
    assert np.ptp(x) < EPS
    row, col = np.divmod(np.arange(count), cols)
    for axis, index, sign in ((y, row, -1), (z, col, 1)):
        places = np.unique(np.round(axis, 9))[::sign]
        assert np.allclose(axis, places[index])
        assert np.ptp(np.diff(places)) < 1e-6 if len(places) > 2 else True
    assert boxes.centers[2, 0] > boxes.centers[3:, 0].max()


@every_layout
def test_parallel_branches_are_spread_and_joined_on_the_axis(name: str) -> None:
    # input -> 4 branches of 1, 2, 3 and 1 layers -> join
    links = [(1, 2), (1, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8)]
    links += [(2, 9), (4, 9), (7, 9), (8, 9)]
    centers = place(make([-1] + [0] * 9, links), name).centers
    assert abs(centers[1, 1] - centers[9, 1]) < EPS
    y, z = centers[:, 1], centers[:, 2]
    if name == "radial":  # top, right, bottom, left of who looks along the flow
        assert y[2] > y[3] > y[5]
        assert z[3] > EPS
        assert z[8] < -EPS
    else:
        assert y[2] > y[3] > y[5] > y[8]
    for branch in ([3, 4], [5, 6, 7]):
        assert np.ptp(centers[branch, 1:], axis=0).max() < EPS


@every_layout
def test_many_parallel_nodes_stand_as_an_array_facing_the_flow(name: str) -> None:
    links = [(1, b) for b in range(2, 18)] + [(b, 18) for b in range(2, 18)]
    tree = make([-1] + [0] * 18, links, (0.5, 2.0, 2.0))
    boxes = place(tree, name)
    check_contract(name, tree, boxes)
    across = [0, 1] if name == "flat" else [1, 2]
    along = 3 - sum(across)
    centers = boxes.centers[2:18]
    assert np.ptp(centers[:, along]) < EPS
    lines = [len(np.unique(np.round(centers[:, axis], 6))) for axis in across]
    assert lines == ([6, 3] if name == "flat" else [4, 4])  # 6 thin ones are as wide as 3 high
    low, high = bounds(Boxes(centers, boxes.sizes[2:18]))
    middle = boxes.centers[[1, 18]][:, across]
    assert (low[across] < middle.min(axis=0)).all() or name == "flat"
    assert (high[across] > middle.max(axis=0)).all() or name == "flat"


@every_layout
def test_five_thousand_branches_stand_as_a_block_as_wide_as_high(name: str) -> None:
    branch = np.arange(2, 5002)
    links = np.concatenate(
        [
            np.column_stack([np.ones_like(branch), branch]),
            np.column_stack([branch, np.full_like(branch, 5002)]),
        ]
    )
    tree = make([-1] + [0] * 5002, links.tolist(), (0.5, 2.0, 2.0))
    boxes = place(tree, name)
    low, high = bounds(Boxes(boxes.centers[2:5002], boxes.sizes[2:5002]))
    across = (high - low)[[0, 1] if name == "flat" else [1, 2]]
    assert across.max() / across.min() < 1.1
    pitch = 2.64  # a face of 2 and the gaps beside it
    assert across[0] < 1.2 * pitch * 5000**0.5
    assert boxes.centers[1, 0] < low[0]
    assert high[0] < boxes.centers[5002, 0]
    flat_cells = np.round(boxes.centers[2:5002], 6)
    assert len(np.unique(flat_cells, axis=0)) == 5000


@pytest.mark.parametrize("name", ["layered", "serpentine"])
def test_an_open_cell_of_an_array_pushes_on_its_own_row_alone(name: str) -> None:
    links = [(1, b) for b in range(2, 18)] + [(b, 18) for b in range(2, 18)]
    tree = make([-1] + [0] * 18, links, (0.5, 2.0, 2.0))
    cell = 7  # the second of the second row of four
    centers = place(opened(tree, cell, 64, True), name).centers[2:18].reshape(4, 4, 3)
    assert np.ptp(centers[..., 1], axis=1).max() < EPS  # rows are level, one under another
    assert (np.diff(centers[:, 0, 1]) < 0).all()
    closed = np.diff(centers[[0, 2, 3], :, 2], axis=1)
    assert np.ptp(closed) < EPS
    assert np.ptp(centers[[0, 2, 3], 0, 2]) < EPS
    assert np.diff(centers[1, :, 2]).max() > 1.5 * closed.max()


@pytest.mark.parametrize("count", [7, 12, 20, 34])
def test_a_few_branches_around_the_axis_fill_the_picture(count: int) -> None:
    branches = range(2, 2 + count)
    links = [(1, b) for b in branches] + [(b, 2 + count) for b in branches]
    low, high = bounds(place(make([-1] + [0] * (count + 2), links), "radial"))
    width, height, _ = high - low
    assert 0.8 < width / height < WIDE


@pytest.mark.parametrize(("count", "turns"), [(2, 2), (3, 3), (7, 7), (12, 12)])
def test_radial_branches_are_equally_far_from_the_axis(count: int, turns: int) -> None:
    branch = range(2, 2 + count)
    links = [(1, b) for b in branch] + [(b, 2 + count) for b in branch]
    centers = place(make([-1] + [0] * (count + 2), links), "radial").centers
    around = centers[2 : 2 + count] - (centers[1] + centers[2 + count]) / 2
    assert np.ptp(around[:, 0]) < EPS
    angle = np.unwrap(np.arctan2(around[:, 2], around[:, 1]))
    assert np.allclose(np.diff(angle), 2 * np.pi / turns)
    assert np.ptp(np.hypot(around[:, 1], around[:, 2])) < EPS


@every_layout
def test_lines_to_far_branches_do_not_run_too_steeply(name: str) -> None:
    branches = range(2, 8)
    links = [(1, b) for b in branches] + [(b, 8) for b in branches]
    boxes = place(make([-1] + [0] * 8, links), name)
    right, left = boxes.centers + boxes.sizes / 2, boxes.centers - boxes.sizes / 2
    rise = np.abs(boxes.centers[2:8, 1] - boxes.centers[1, 1])
    assert (left[2:8, 0] - right[1, 0] >= 0.4 * rise).all()


@every_layout
def test_a_late_source_stands_right_before_what_it_feeds(name: str) -> None:
    links = [(i, i + 1) for i in range(2, 8)] + [(1, 7)]
    centers = place(make([-1] + [0] * 8, links), name).centers
    assert abs(centers[1, 0] - centers[6, 0]) < EPS
    assert centers[1, 1] < centers[6, 1]
    assert np.ptp(centers[2:, 1]) < EPS


@every_layout
def test_a_mask_fed_to_every_block_goes_to_the_side_rail(name: str) -> None:
    n = 30  # node 1: mask; 2..n: a chain that it feeds from 3 on
    links = [(i, i + 1) for i in range(2, n)] + [(1, i) for i in range(3, n + 1)]
    tree = make([-1] + [0] * n, links)
    boxes = place(tree, name)
    check_contract(name, tree, boxes)
    plain = place(make([-1] + [0] * n, links[: n - 2]), name)
    top = boxes.centers[1, 1] + boxes.sizes[1, 1] / 2
    assert top < boxes.centers[2, 1] - boxes.sizes[2, 1] / 2
    rows = np.unique(np.round(boxes.centers[2:, 1], 6))
    assert len(rows) == len(np.unique(np.round(plain.centers[2:, 1], 6)))


@every_layout
def test_the_branching_point_of_many_heads_stays_in_the_flow(name: str) -> None:
    links = [(1, 2)] + [(2, h) for h in range(3, 21)] + [(h, 21) for h in range(3, 21)]
    centers = place(make([-1] + [0] * 21, links), name).centers
    assert np.ptp(centers[[1, 2, 21], 1]) < EPS


@every_layout
def test_separate_parts_stand_one_under_another(name: str) -> None:
    boxes = place(make([-1] + [0] * 6, [(1, 2), (2, 3), (4, 5), (5, 6)]), name)
    low, high = boxes.centers - boxes.sizes / 2, boxes.centers + boxes.sizes / 2
    assert high[4:, 1].max() < low[1:4, 1].min()
    assert abs(low[1, 0] - low[4, 0]) < EPS


@every_layout
def test_many_separate_parts_fill_the_picture_in_columns(name: str) -> None:
    pairs = [(i, i + 1) for i in range(1, 60, 2)]
    tree = make([-1] + [0] * 60, pairs)
    boxes = place(tree, name)
    check_contract(name, tree, boxes)
    low, high = bounds(boxes)
    width, height, _ = high - low
    assert 1 / 1.8 < width / height / WIDE < 1.8


@every_layout
def test_thousands_of_parts_fill_the_picture_too(name: str) -> None:
    ends = np.arange(1, 10_000)
    links = np.column_stack([ends, ends + 1])[ends % 10 != 0]
    low, high = bounds(place(make([-1] + [0] * 10_000, links.tolist()), name))
    width, height, _ = high - low
    assert 1 / 1.3 < width / height / WIDE < 1.3


@every_layout
def test_unlinked_siblings_keep_their_order_and_fill_the_picture(name: str) -> None:
    boxes = place(make([-1] + [0] * 50), name)
    assert reading_order(boxes, 50) == list(range(1, 51))
    low, high = bounds(boxes)
    width, height, _ = high - low
    assert 1 / 1.8 < width / height / WIDE < 1.8
