"""What lies between two draw lists: ends are exact, nodes go straight, children leave parents."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.drawing.animation import Blend, blend
from explorer.drawing.draw_list import BoxArrays, DrawList, EdgeArrays, Label, Legend

LEGEND_A = Legend("a", np.zeros((0, 3), np.uint8), (), (), ())
LEGEND_B = Legend("b", np.zeros((0, 3), np.uint8), (), (), ())
Row = tuple[str, tuple[float, float, float], tuple[float, float, float]]
Edge = tuple[str, str, list[tuple[float, float, float]]]


def boxes(rows: list[Row], nodes: list[str], shade: int) -> BoxArrays:
    return BoxArrays(
        np.array([r[1] for r in rows], np.float32).reshape(-1, 3),
        np.array([r[2] for r in rows], np.float32).reshape(-1, 3),
        np.full((len(rows), 4), (shade, shade, shade, 255), np.uint8),
        np.array([nodes.index(r[0]) for r in rows], np.int32),
    )


def drawn(
    solids: list[Row],
    frames: list[Row] | None = None,
    edges: list[Edge] | None = None,
    extra: list[str] | None = None,
    labels: tuple[Label, ...] = (),
    shade: int = 0,
    points: int = 3,
) -> DrawList:
    frames, edges = frames or [], edges or []
    nodes = list(dict.fromkeys([r[0] for r in solids + frames] + (extra or [])))
    m = len(edges)
    arrays = EdgeArrays(
        np.array([e[2] for e in edges], np.float32).reshape(m, points, 3),
        np.full((m, 4), (shade, shade, shade, 200), np.uint8),
        np.full(m, 1.0 + shade / 100, np.float32),
        np.array([nodes.index(e[0]) for e in edges], np.int32),
        np.array([nodes.index(e[1]) for e in edges], np.int32),
        np.arange(m, dtype=np.float64),
        -np.arange(m, dtype=np.float64),
        np.full(m, 9, np.int64),
        np.zeros(m, bool),
        np.zeros((m, 3), np.int64),
    )
    return DrawList(
        boxes(solids, nodes, shade), boxes(frames, nodes, shade), arrays, labels,
        LEGEND_A if shade == 0 else LEGEND_B, tuple(nodes),
    )  # fmt: skip


def box_of(picture: DrawList, kind: str, path: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = getattr(picture, kind)
    (row,) = np.flatnonzero(arrays.node == picture.nodes.index(path))
    return arrays.centers[row], arrays.sizes[row]


def ends_of(picture: DrawList) -> list[tuple[str, str]]:
    rows = zip(picture.edges.source, picture.edges.target, strict=True)
    return [(picture.nodes[a], picture.nodes[b]) for a, b in rows]


CLOSED = drawn(
    [("p", (0, 0, 0), (2, 2, 2)), ("q", (5, 0, 0), (1, 1, 1))],
    edges=[("p", "q", [(1, 0, 0), (3, 0, 0), (4.5, 0, 0)])],
)
OPEN = drawn(
    [("p/x", (-2, 1, 0), (1, 1, 1)), ("p/y", (2, -1, 0), (1, 3, 1)), ("q", (9, 0, 0), (1, 2, 1))],
    [("p", (0, 0, 0), (8, 6, 2))],
    [
        ("p/x", "p/y", [(-1.5, 1, 0), (0, 0, 0), (1.5, -1, 0)]),
        ("p/y", "q", [(2.5, -1, 0), (5, 0, 0), (8.5, 0, 0)]),
    ],
    shade=100,
)


def test_the_ends_are_the_pictures_themselves() -> None:
    assert blend(CLOSED, OPEN, 0.0) is CLOSED
    assert blend(CLOSED, OPEN, -1.0) is CLOSED
    assert blend(CLOSED, OPEN, 1.0) is OPEN
    assert blend(CLOSED, OPEN, 2.0) is OPEN


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_a_node_in_both_moves_on_a_line_and_changes_size_and_colour(t: float) -> None:
    center, size = box_of(blend(CLOSED, OPEN, t), "solids", "q")
    np.testing.assert_allclose(center, (5 + 4 * t, 0, 0), rtol=1e-6)
    np.testing.assert_allclose(size, (1, 1 + t, 1), rtol=1e-6)
    between = blend(CLOSED, OPEN, t)
    row = between.solids.node.tolist().index(between.nodes.index("q"))
    assert between.solids.colors[row].tolist() == [round(100 * t)] * 3 + [255]


def test_an_opening_node_turns_into_its_frame_with_its_children_in_place() -> None:
    between = blend(CLOSED, OPEN, 1e-6)
    center, size = box_of(between, "frames", "p")
    np.testing.assert_allclose(center, (0, 0, 0), atol=1e-4)
    np.testing.assert_allclose(size, (2, 2, 2), atol=1e-4)
    assert "p" not in [between.nodes[i] for i in between.solids.node]
    # The frame (8, 6, 2) starts as the box (2, 2, 2): the children begin scaled by 1/4, 1/3, 1.
    center, size = box_of(between, "solids", "p/x")
    np.testing.assert_allclose(center, (-0.5, 1 / 3, 0), atol=1e-4)
    np.testing.assert_allclose(size, (0.25, 1 / 3, 1), atol=1e-4)


@pytest.mark.parametrize("t", [0.1, 0.4, 0.5, 0.8])
def test_closing_is_opening_played_backwards(t: float) -> None:
    there, back = blend(CLOSED, OPEN, t), blend(OPEN, CLOSED, 1 - t)
    for kind in ("solids", "frames"):
        paths = [[p.nodes[i] for i in getattr(p, kind).node] for p in (there, back)]
        assert sorted(paths[0]) == sorted(paths[1])
        for path in paths[0]:
            for x, y in zip(box_of(there, kind, path), box_of(back, kind, path), strict=True):
                np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize("t", [0.05, 0.3, 0.6, 0.95])
def test_children_stay_inside_their_frame(t: float) -> None:
    between = blend(CLOSED, OPEN, t)
    center, size = box_of(between, "frames", "p")
    for path in ("p/x", "p/y"):
        c, s = box_of(between, "solids", path)
        assert (np.abs(c - center) + s / 2 <= size / 2 + 1e-5).all()


def test_old_edges_fade_first_then_new_ones_appear_and_both_keep_to_their_nodes() -> None:
    early, late = blend(CLOSED, OPEN, 0.25), blend(CLOSED, OPEN, 0.75)
    assert ends_of(early) == [("p", "q")]
    assert early.edges.colors[0, 3] == 100
    np.testing.assert_allclose(early.edges.points[0, -1], (5.5, 0, 0), atol=1e-5)
    assert ends_of(late) == [("p/x", "p/y"), ("p/y", "q")]
    assert late.edges.colors[:, 3].tolist() == [100, 100]
    shift = box_of(late, "solids", "p/x")[0] - (-2, 1, 0)
    np.testing.assert_allclose(late.edges.points[0, 0], np.array((-1.5, 1, 0)) + shift, atol=1e-5)
    np.testing.assert_allclose(late.edges.points[1, -1], (7.5, 0, 0), atol=1e-5)
    assert late.edges.magnitude.tolist() == [0, 1]
    assert late.edges.weights.tolist() == [9, 9]


def test_an_edge_in_both_is_one_edge_whose_curve_moves() -> None:
    line = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 0.0)]
    ends: list[Row] = [("a", (0, 0, 0), (1, 1, 1)), ("b", (2, 0, 0), (1, 1, 1))]
    a = drawn(ends, edges=[("a", "b", line)])
    b = drawn(ends, edges=[("a", "b", [(x, 4.0, z) for x, _, z in line])], shade=100)
    between = blend(a, b, 0.25)
    np.testing.assert_allclose(between.edges.points[0], [(x, 1.0, z) for x, _, z in line])
    assert between.edges.colors[0].tolist() == [25, 25, 25, 200]
    assert between.edges.widths[0] == pytest.approx(1.25)


def test_edges_of_different_fineness_meet() -> None:
    ends: list[Row] = [("a", (0, 0, 0), (1, 1, 1)), ("b", (2, 0, 0), (1, 1, 1))]
    a = drawn(ends, edges=[("a", "b", [(0, 0, 0), (2, 0, 0)])], points=2)
    b = drawn(ends, edges=[("a", "b", [(k / 2, 0, 0) for k in range(5)])], points=5)
    np.testing.assert_allclose(blend(a, b, 0.5).edges.points, b.edges.points)
    assert blend(drawn(ends, points=2), b, 0.75).edges.points.shape == (1, 5, 3)


def test_parallel_edges_pair_one_by_one() -> None:
    ends: list[Row] = [("a", (0, 0, 0), (1, 1, 1)), ("b", (2, 0, 0), (1, 1, 1))]

    def lines(*heights: float) -> list[Edge]:
        return [("a", "b", [(0.0, y, 0.0), (1.0, y, 0.0), (2.0, y, 0.0)]) for y in heights]

    between = blend(drawn(ends, edges=lines(0, 1)), drawn(ends, edges=lines(2, 3, 9)), 0.5)
    assert sorted(between.edges.points[:, 0, 1].tolist()) == [1.0, 2.0, 9.0]


def test_edges_that_end_at_undrawn_units_go_along_with_what_holds_them() -> None:
    edge = [("a[3]", "b", [(0.5, 0.25, 0.0), (1.0, 0.0, 0.0), (1.5, 0.0, 0.0)])]
    extra = ["a[3]"]
    a = drawn([("a", (0, 0, 0), (1, 1, 1)), ("b", (2, 0, 0), (1, 1, 1))], edges=edge, extra=extra)
    b = drawn([("a", (0, 8, 0), (1, 1, 1)), ("b", (2, 0, 0), (1, 1, 1))], shade=100)
    between = blend(a, b, 0.25)
    np.testing.assert_allclose(between.edges.points[0, 0], (0.5, 2.25, 0), atol=1e-5)
    np.testing.assert_allclose(between.edges.points[0, -1], (1.5, 0, 0), atol=1e-5)


def test_the_slices_of_a_series_count_as_one_box() -> None:
    slices: list[Row] = [("s", (x, 0, 0), (1, 2, 2)) for x in (-2, 0, 2)]
    a = drawn(slices)
    b = drawn([("s/1", (0, 0, 0), (5, 5, 5))], [("s", (0, 0, 0), (10, 10, 10))], shade=100)
    between = blend(a, b, 1e-6)
    np.testing.assert_allclose(box_of(between, "frames", "s")[1], (5, 2, 2), atol=1e-4)
    np.testing.assert_allclose(box_of(between, "solids", "s/1")[1], (2.5, 1, 1), atol=1e-4)
    assert len(between.solids.node) == 1


def test_labels_of_nodes_in_both_are_carried_along_and_indices_fit() -> None:
    def labels(x: float, node: int) -> tuple[Label, ...]:
        return (Label("q", (x, 1.0, 0.0), 1.0, node), Label("note", (0.0, 0.0, 0.0), 1.0))

    a = drawn([("p", (0, 0, 0), (1, 1, 1)), ("q", (5, 0, 0), (1, 1, 1))], labels=labels(5, 1))
    rows: list[Row] = [("q", (9, 0, 0), (1, 1, 1)), ("r", (0, 0, 0), (1, 1, 1))]
    b = drawn(rows, labels=labels(9, 0), shade=1)
    for t, legend in ((0.25, LEGEND_A), (0.75, LEGEND_B)):
        between = blend(a, b, t)
        first, note = between.labels
        assert between.nodes[first.node] == "q"
        assert first.anchor == pytest.approx((5 + 4 * t, 1.0, 0.0))
        assert note.anchor == (0.0, 0.0, 0.0)
        assert between.legend is legend


def test_empty_pictures_and_total_change() -> None:
    nothing = drawn([])
    for a, b in ((nothing, OPEN), (OPEN, nothing), (nothing, nothing)):
        between = blend(a, b, 0.5)
        assert len(between.solids.node) == max(len(a.solids.node), len(b.solids.node))
    grown = blend(nothing, CLOSED, 0.5)
    np.testing.assert_allclose(box_of(grown, "solids", "q")[1], (0.5, 0.5, 0.5))


def test_inputs_are_left_as_they_are() -> None:
    arrays = [x for d in (CLOSED, OPEN) for x in (d.solids.centers, d.edges.colors)]
    copies = [np.copy(x) for x in arrays]
    way = Blend(CLOSED, OPEN)
    for t in np.linspace(0, 1, 7):
        way.at(float(t))
    for old, new in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(old, new)
