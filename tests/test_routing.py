"""Routes of edges, judged by geometry alone: boxes, samples of curves, nothing of the router."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.routes import route_map
from explorer.routes.cables import Cables, Obstacles
from explorer.routes.curves import POINTS, curves
from explorer.routes.nets import apart
from explorer.routes.route_map import Grid, RouteMap
from explorer.routes.routing import follow, plan
from explorer.routes.tracks import assign_tracks

FINE = 600  # samples along a curve's polyline


class World:
    """Closed boxes, and links between them."""

    def __init__(self, centers, sizes, links) -> None:
        self.centers = np.array(centers, float).reshape(-1, 3)
        self.sizes = np.array(sizes, float).reshape(-1, 3)
        self.links = np.array(links, np.int64).reshape(-1, 2)
        self.back = np.zeros(len(self.centers), bool)

    def cables(self, gutter=np.nan, ahead=1) -> Cables:
        a, b = self.links.T
        start, end = self.centers[a].copy(), self.centers[b].copy()
        start[:, 0] += ahead * self.sizes[a, 0] / 2
        end[:, 0] -= ahead * self.sizes[b, 0] / 2
        n = len(a)
        inner = np.stack((start[:, 0], end[:, 0]), 1)
        wish = np.full(n, gutter)
        steps = np.full((n, 2), ahead)
        return Cables(a, b, start, end, np.zeros((n, 2)), wish, np.zeros(n, int), inner, steps)

    def obstacles(self) -> Obstacles:
        low, high = self.centers - self.sizes / 2, self.centers + self.sizes / 2
        return Obstacles(low, high, np.full(len(low), -1), self.back)

    def curves(self):
        cables = self.cables()
        routes = plan(cables, self.obstacles())
        ends = cables.start, cables.end
        return follow(routes, cables, ends, np.arange(len(self.links)))

    def hits(self, points, tolerance=0.01):
        """(link, box) wherever a curve runs inside a box that is not at its ends."""
        low = self.centers - self.sizes / 2 + tolerance
        high = self.centers + self.sizes / 2 - tolerance
        found = []
        for k, curve in enumerate(points):
            for box in np.flatnonzero(((curve.min(0) < high) & (curve.max(0) > low)).all(1)):
                inside = (fine(curve) > low[box]) & (fine(curve) < high[box])
                if box not in self.links[k] and inside.all(axis=1).any():
                    found.append((k, int(box)))
        return found


def fine(curve):
    """The polyline of a curve, sampled finely."""
    at = np.linspace(0, len(curve) - 1, FINE)
    low = np.minimum(at.astype(int), len(curve) - 2)
    share = (at - low)[:, None]
    return curve[low].astype(float) * (1 - share) + curve[low + 1] * share


def rows_of_boxes(seed) -> World:
    """A few rows, each with columns of one to three branches; links of any kind between them."""
    rng = np.random.default_rng(seed)
    centers, sizes = [], []
    for r in range(int(rng.integers(1, 4))):
        x = rng.uniform(0, 2)
        for _ in range(int(rng.integers(1, 8))):
            many = int(rng.integers(1, 4))
            extents = rng.uniform((0.2, 0.6, 0.6), (0.8, 1.4, 1.4), (many, 3))
            width = extents[:, 0].max()
            for k, extent in enumerate(extents):
                centers.append((x + width / 2, 1.9 * (k - (many - 1) / 2) - 7.0 * r, 0.0))
                sizes.append(extent)
            x += width + rng.uniform(0.6, 1.2)
    pairs = rng.integers(0, len(centers), (int(rng.integers(1, 26)), 2))
    return World(centers, sizes, np.unique(pairs, axis=0))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_curve_passes_through_a_box_that_is_not_its_own(seed) -> None:
    world = rows_of_boxes(seed)
    points = world.curves()
    assert points.shape == (len(world.links), POINTS, 3)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    cables = world.cables()
    np.testing.assert_array_equal(points[:, 0], cables.start.astype(np.float32))
    np.testing.assert_array_equal(points[:, -1], cables.end.astype(np.float32))
    assert world.hits(points) == []
    np.testing.assert_array_equal(points, world.curves())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_where_data_flows_to_the_left_nothing_is_passed_through_either(seed) -> None:
    world = rows_of_boxes(seed)
    world.centers[:, 0] *= -1
    world.back[:] = True
    cables = world.cables(ahead=-1)
    routes = plan(cables, world.obstacles())
    ends = cables.start, cables.end
    assert world.hits(follow(routes, cables, ends, np.arange(len(world.links)))) == []


def test_end_of_a_row_turns_round_into_the_next_one_behind_it() -> None:
    world = World([(0, 0, 0), (2, 0, 0), (2, -1, -3), (0, -1, -3)], [(0.5, 1, 1)] * 4, [(1, 2)])
    cables = world.cables()
    world.back[2:] = True
    cables.steps[:, 1] = -1
    cables.end[:, 0] = 2.25
    cables.inner[:, 1] = 2.25
    routes = plan(cables, world.obstacles())
    (curve,) = follow(routes, cables, (cables.start, cables.end), np.zeros(1, np.int64))
    assert (curve[:, 0] >= 2.25 - 1e-6).all()
    assert curve[:, 0].max() > 2.6
    assert curve[1, 0] > curve[0, 0]
    assert curve[-2, 0] > curve[-1, 0]


@pytest.mark.parametrize(("front", "back"), [(6.0, 2.0), (2.0, 6.0)])
def test_of_two_rows_the_shorter_runs_on_to_where_the_line_turns(front, back) -> None:
    centers = [(0, 0, 0), (front, 0, 0), (back, -1, -4), (0, -1, -4)]
    world = World(centers, [(0.5, 1, 1)] * 4, [(1, 2)])
    world.back[2:] = True
    cables = world.cables()
    cables.steps[:, 1] = -1
    cables.end[:, 0] = cables.inner[:, 1] = back + 0.25
    routes = plan(cables, world.obstacles())
    points = follow(routes, cables, (cables.start, cables.end), np.zeros(1, np.int64))
    line = fine(points[0])
    level = cables.end[0, 1:] if back < front else cables.start[0, 1:]
    before = line[line[:, 0] < 6.2, 1:]
    assert len(before) > 10
    np.testing.assert_allclose(before, np.broadcast_to(level, before.shape), atol=1e-5)
    assert 6.5 < line[:, 0].max() < 7.5
    assert world.hits(points) == []


@pytest.mark.parametrize("leaves", [True, False])
def test_a_line_climbs_outside_the_frame_that_holds_one_end_of_it(leaves) -> None:
    centers = [(0, 3, 0), (3, 1, 0), (0, 0, 0), (9, 2, 0)]
    world = World(centers, [(0.5, 1, 1)] * 4, [(2, 3)])
    cables = world.cables()
    cables.inner[0] = 5.0, 8.75
    if not leaves:  # the mirror image, with the ends exchanged
        world.centers[:, 0] *= -1
        world.links = world.links[:, ::-1]
        cables = world.cables()
        cables.inner[0] = -8.75, -5.0
    routes = plan(cables, world.obstacles())
    points = follow(routes, cables, (cables.start, cables.end), np.zeros(1, np.int64))
    line = fine(points[0])
    inside = line[np.abs(line[:, 0]) < 5.0]
    assert len(inside) > 10
    np.testing.assert_allclose(inside[:, 1], 0.0, atol=1e-5)
    assert world.hits(points) == []


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_line_climbs_beside_an_open_frame_that_holds_neither_end_of_it(mirrored) -> None:
    # Three rows; the middle one is an open frame, with a gap between its boxes under the source.
    centers = [(1, 4, 0), (-1, 0, 0), (4, 0, 0), (-1, -4, 0), (4, -4, 0)]
    world = World(centers, [(0.5, 1, 1)] * 5, [(0, 3)])
    low, high = np.array((-1.25, -1.5, -1.0)), np.array((6.0, 1.5, 1.0))
    if mirrored:  # upside down, with the ends exchanged and the flow turned
        world.centers *= (-1, -1, 1)
        low[0], high[0] = -high[0], -low[0]
        world.links = world.links[:, ::-1]
    boxes, cables = world.obstacles(), world.cables(gutter=2.7 if mirrored else -2.7)
    framed = Obstacles(
        np.vstack((boxes.low, low)),
        np.vstack((boxes.high, high)),
        np.append(boxes.depth, 1),
        np.append(boxes.back, False),
    )
    points = follow(plan(cables, framed), cables, (cables.start, cables.end), np.zeros(1, int))
    line = fine(points[0])
    assert ((line < low) | (line > high)).any(axis=1).all()
    assert world.hits(points) == []


def row(count, links, size=(0.5, 1.0, 1.0)):
    return World([(1.3 * k, 0.0, 0.0) for k in range(count)], [size] * count, links)


def test_neighbours_are_joined_by_the_straight_line() -> None:
    (curve,) = row(2, [(0, 1)]).curves()
    np.testing.assert_allclose(curve[:, 1:], 0.0, atol=1e-6)
    assert (np.diff(curve[:, 0]) > 0).all()


def test_skip_link_goes_over_what_it_passes_and_leaves_and_enters_level() -> None:
    world = row(5, [(0, 4)])
    (curve,) = world.curves()
    middle = fine(curve)[(fine(curve)[:, 0] > 1.0) & (fine(curve)[:, 0] < 4.2)]
    assert (middle[:, 1] > 0.5).all()
    assert (middle[:, 1] < 1.0).all()  # but no higher than it needs
    for piece in (curve[1] - curve[0], curve[-1] - curve[-2]):
        assert abs(piece[1]) < 0.2 * piece[0]


def test_shorter_links_run_nearer_to_the_row_and_none_on_another() -> None:
    spans = [(0, 3), (0, 6), (1, 8), (4, 7), (2, 9)]
    points = row(10, spans).curves()
    height = {s: float(c[POINTS // 2, 1]) for s, c in zip(spans, points, strict=True)}
    # Links of one source share a track; the others that run side by side have their own.
    apart = [(0, 6), (1, 8), (2, 9)]
    heights = [height[s] for s in apart]
    assert min(np.diff(sorted(heights))) > 0.05
    assert height[4, 7] < min(heights)
    assert heights[2] == max(heights) or heights[1] == max(heights)


def test_a_mask_for_every_block_is_a_rail_with_taps() -> None:
    count = 30
    world = row(count, [(0, k) for k in range(2, count)])
    points = world.curves()
    rail = {round(float(c[POINTS // 2, 1]), 4) for c in points}
    assert len(rail) == 1
    assert world.hits(points) == []
    # The common first piece is the same for all of them, the last one is each one's own.
    first = points[1:, : POINTS // 2 - 1]
    np.testing.assert_allclose(first, np.broadcast_to(first[:1], first.shape), atol=1e-5)


def test_a_loop_rises_above_its_own_box() -> None:
    world = row(3, [(1, 1)])
    (curve,) = world.curves()
    assert curve[:, 1].max() > 0.5
    inside = np.abs(fine(curve) - world.centers[1]) < world.sizes[1] / 2 - 1e-3
    assert not inside.all(axis=1).any()


def test_what_is_mirrored_in_depth_is_routed_alike() -> None:
    world = World([(0, 0, 1), (2, 0, 0), (4, 0, -1)], [(0.5, 1, 1)] * 3, [(0, 2)])
    (curve,) = world.curves()
    mirrored = World(world.centers * (1, 1, -1), world.sizes, world.links)
    np.testing.assert_allclose(mirrored.curves()[0] * (1, 1, -1), curve, atol=1e-6)


def test_line_back_runs_in_the_gutter() -> None:
    world = World(
        [(2 * k, y, 0) for y in (0.0, -3.0) for k in range(4)], [(0.5, 1, 1)] * 8, [(3, 4)]
    )
    cables = world.cables(gutter=-1.6)
    routes = plan(cables, world.obstacles())
    (curve,) = follow(routes, cables, (cables.start, cables.end), np.zeros(1, np.int64))
    between = (curve[:, 0] > 0.5) & (curve[:, 0] < 5.5)
    np.testing.assert_allclose(curve[between, 1], -1.6, atol=0.1)


def test_a_line_to_the_row_after_next_changes_its_track_beside_the_rows() -> None:
    centers = [(1.2 * k, y, 0) for y in (0.0, -2.0, -4.0) for k in range(8)]
    # The middle row has no gap wide enough.
    sizes = [(1.19 if y == -2.0 else 0.4, 1.0, 1.0) for _, y, _ in centers]
    world = World(centers, sizes, [(3, 20), (2, 22)])
    points = world.curves()
    assert world.hits(points) == []
    for curve in points:
        assert np.ptp(curve[:, 2]) == 0.0  # round it, not in front of it


def test_a_wall_is_passed_in_front() -> None:
    wall = [(2.0, y, 0.0) for y in np.arange(-30, 30, 1.05)]
    centers = [(0, 0, 0), (4, 0, 0), *wall]
    world = World(centers, [(0.5, 1, 1)] * len(centers), [(0, 1)])
    points = world.curves()
    assert world.hits(points) == []
    assert points[0, :, 2].max() > 0.5


def test_edges_of_one_bundle_stay_together_and_end_where_they_belong() -> None:
    world = row(4, [(0, 3)])
    cables = world.cables()
    y, z = np.meshgrid(np.linspace(-0.4, 0.4, 5), np.linspace(-0.4, 0.4, 5))
    start = cables.start + np.stack((0 * y, y, z), -1).reshape(-1, 3)
    end = cables.end + np.stack((0 * y, -y, z), -1).reshape(-1, 3)
    spread = np.full((1, 2), 0.4)
    cables = Cables(
        cables.source, cables.target, cables.start, cables.end, spread, cables.gutter,
        cables.depth, cables.inner, cables.steps,
    )  # fmt: skip
    routes = plan(cables, world.obstacles())
    points = follow(routes, cables, (start, end), np.zeros(25, np.int64))
    np.testing.assert_array_equal(points[:, 0], start.astype(np.float32))
    np.testing.assert_array_equal(points[:, -1], end.astype(np.float32))
    middle = points[:, POINTS // 2]
    assert np.ptp(middle[:, 1]) < 0.15
    assert np.ptp(middle[:, 2]) < 0.15
    assert len(np.unique(middle.round(4), axis=0)) == 25


@pytest.mark.parametrize("links", [[], [(0, 0)]])
def test_hardly_anything_to_route(links) -> None:
    world = World([(0, 0, 0)], [(1, 1, 1)], links)
    assert world.curves().shape == (len(links), POINTS, 3)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, route_map.FEW]))
def test_map_agrees_with_the_boxes(seed, boxes) -> None:
    rng = np.random.default_rng(seed)
    side = 10 * (boxes / 8) ** 0.5
    low = rng.uniform(0, side, (boxes, 2))
    high = low + rng.uniform(0.1, 2, (boxes, 2))
    grid = Grid.over(low, high, (0.3, 0.4), (1.0, 1.0))
    here = RouteMap(grid, low, high)
    x = grid.left + grid.width * np.arange(grid.columns + 1)
    touched = np.zeros((grid.columns, grid.rows), bool)
    hair = 1e-6 * (grid.borders[-1] - grid.borders[0])
    for (x0, y0), (x1, y1) in zip(low, high, strict=True):
        columns = (x[:-1] < x1 - 1e-6 * grid.width) & (x[1:] > x0 + 1e-6 * grid.width)
        rows = (grid.borders[:-1] < y1 - hair) & (grid.borders[1:] > y0 + hair)
        touched |= columns[:, None] & rows
    np.testing.assert_array_equal(here.taken, touched)
    a, b = np.sort(rng.integers(0, grid.columns + 1, 2))
    c, d = np.sort(rng.integers(0, grid.rows + 1, 2))
    one = [np.array([v]) for v in (a, b, c, d)]
    np.testing.assert_array_equal(here.free_rows(*one[:2])[0], ~touched[a:b].any(axis=0))
    np.testing.assert_array_equal(here.free_columns(*one[2:])[0], ~touched[:, c:d].any(axis=1))
    assert here.free_boxes(*one)[0] == (not touched[a:b, c:d].any())
    i, j = int(rng.integers(grid.columns)), int(rng.integers(grid.rows))
    over = [k for k in range(j, grid.rows) if touched[i, k]]
    left = [k for k in range(i + 1) if touched[k, j]]
    assert here.above[i, j] == (over[0] if over else grid.rows)
    assert here.left[i, j] == (left[-1] if left else -1)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_a_net_runs_only_where_all_its_members_may(seed, rows) -> None:
    rng = np.random.default_rng(seed)
    hub, wish = rng.integers(0, 3, 12), rng.integers(0, min(rows, 3), 12)
    first = rng.integers(0, 50, 12)
    allowed = rng.random((12, rows)) < 0.8
    found = apart(hub, wish, (first, first + 5), np.ones(12, np.int64), allowed)
    for h, w in set(zip(hub.tolist(), wish.tolist(), strict=True)):
        mine = np.flatnonzero((hub == h) & (wish == w))
        (row,) = set(found[mine].tolist())
        assert row == w or allowed[mine, row].all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=20))
def test_nets_on_one_track_do_not_overlap(stretches) -> None:
    spans = [(a, a + length) for a, length in stretches]
    count = len(spans)
    free = b"\x01" * 100
    rows = assign_tracks([50] * count, spans, [1] * count, [free] * count)
    for i in range(count):
        for j in range(i):
            overlap = spans[i][0] < spans[j][1] and spans[j][0] < spans[i][1]
            assert not (overlap and rows[i] == rows[j])


def test_a_turning_ramp_stays_within_its_bulge() -> None:
    first = np.array([[[0.0, 0.0, 0.0]]])
    last = np.array([[[0.0, -4.0, 0.0]]])
    (curve,) = curves(first, last, np.array([[0.5]]))
    assert curve[:, 0].min() >= -1e-6
    assert curve[:, 0].max() <= 0.5
    assert (np.diff(curve[:, 1]) <= 1e-6).all()
