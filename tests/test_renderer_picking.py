"""Picking finds what the picture shows; VTK's own hardware selection is the judge."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import renderer_scenes
from renderer_scenes import EMPTY_LEGEND, cube, curves, edge_arrays, line, no_edges, scene, whole
from vtkmodules.vtkCommonDataModel import vtkDataObject
from vtkmodules.vtkRenderingCore import vtkHardwareSelector

from explorer.drawing.draw_list import EdgeArrays, Label
from explorer.renderer import Pick, Renderer
from explorer.renderer.projection import Projection
from explorer.viewing.view_state import Camera

SIZE = (320, 200)
FRONT = Camera((0, 0, 10), (0, 0, 0), (0, 1, 0), 30.0)


@pytest.fixture(scope="module")
def shared():
    with Renderer(SIZE, multi_samples=0) as renderer:
        yield renderer


@pytest.fixture
def renderer(shared):
    shared.resize(*SIZE)
    shared.camera = FRONT
    return shared


def hardware_pick(renderer, x, y):
    """What VTK itself draws there: row of the solid, by its cell, or None."""
    selector = vtkHardwareSelector()
    selector.SetRenderer(renderer.render_window.GetRenderers().GetFirstRenderer())
    selector.SetFieldAssociation(vtkDataObject.FIELD_ASSOCIATION_CELLS)
    selector.SetArea(x, SIZE[1] - 1 - y, x, SIZE[1] - 1 - y)
    selection = selector.Select()
    if selection.GetNumberOfNodes() == 0:
        return None
    return int(selection.GetNode(0).GetSelectionList().GetValue(0)) // 12


@pytest.mark.parametrize("eye", [(-14, 9, 20), (1.0, 0.4, 1.5), (25, -6, 3)])
def test_pick_of_solids_agrees_with_hardware_selection(renderer, eye) -> None:
    rng = np.random.default_rng(3)
    solids = [
        (rng.uniform(-5, 5, 3), rng.uniform(0.2, 1.6, 3), (90, 90, 90, 255), i) for i in range(150)
    ]
    draw_list = replace(scene(solids), nodes=tuple(map(str, range(150))))
    renderer.draw(draw_list)
    renderer.camera = Camera(eye, (0, 0, 0))
    renderer.image()
    for actor in renderer._scene.actors[1:]:
        actor.SetVisibility(False)  # the selector shall see the solids alone
    same = hits = 0
    for x, y in rng.integers((0, 0), SIZE, (120, 2)).tolist():
        truth, pick = hardware_pick(renderer, x, y), renderer.pick(x + 0.5, y + 0.5).node
        same += truth == pick
        hits += truth is not None
    assert hits > 25
    assert same >= 119  # one pixel on a rim may fall to the other side


def test_pick_of_units_in_a_grid_agrees_with_hardware_selection(renderer) -> None:
    draw_list = replace(renderer_scenes.units(), edges=no_edges(), labels=(), legend=EMPTY_LEGEND)
    renderer.draw(draw_list)
    renderer.camera = whole(draw_list, SIZE)
    renderer.image()
    for actor in renderer._scene.actors[1:]:
        actor.SetVisibility(False)
    rng = np.random.default_rng(1)
    wrong = 0
    for x, y in rng.integers((60, 20), (260, 180), (100, 2)).tolist():
        row = hardware_pick(renderer, x, y)
        truth = None if row is None else int(draw_list.solids.node[row])
        wrong += renderer.pick(x + 0.5, y + 0.5).node != truth
    assert wrong <= 2


def test_pick_of_an_edge_in_reach_only(renderer) -> None:
    renderer.draw(scene(edges=line((-3, 0, 0), (3, 0, 0))))
    renderer.image()
    assert renderer.pick(160, 102).edge == 0
    assert renderer.pick(160, 110).edge is None
    assert renderer.pick(10, 100).edge is None


def test_edge_behind_a_solid_is_not_picked_but_the_one_in_front_is(renderer) -> None:
    renderer.draw(scene([cube(node=3)], edges=line((-3, 0, -2), (3, 0, -2))))
    assert renderer.pick(160, 100) == Pick(3, None, False)
    assert renderer.pick(100, 100).edge == 0
    renderer.draw(scene([cube(node=3)], edges=line((-3, 0, 2), (3, 0, 2))))
    assert renderer.pick(160, 100).edge == 0
    assert renderer.pick(160, 100).node == 3


def test_edge_that_dives_into_a_wall_is_hidden_from_there_on(renderer) -> None:
    # It begins near the viewer and ends far away: a depth that changed evenly along the screen
    # would reach the wall much too early.
    begin, end = np.array((-1.0, 0, 8)), np.array((8.0, 0, -60))
    wall = ((0, 0, -20), (60, 60, 1), (90, 90, 90, 255), 2)
    renderer.draw(scene([wall], edges=line(begin, end)))
    projection = Projection.of(FRONT, SIZE)
    found = []
    for x in range(20, 203, 3):
        # The place on the edge that is seen at this x: x = 160 + scale * X / depth along it.
        share = (x - SIZE[0] / 2) * projection.slope / (SIZE[1] / 2)
        t = (share * 2 + 1) / (9 - 68 * share)
        depth = 10 - (begin + t * (end - begin))[2]
        if 0 <= t <= 1 and abs(depth - 29.5) > 1:
            found.append(depth < 29.5)
            assert renderer.pick(x, 100).edge == (0 if found[-1] else None)
    assert 3 <= sum(found) < len(found)


def test_solid_around_the_viewer_is_not_in_the_way(renderer) -> None:
    renderer.draw(scene([cube((0, 0, 10), side=6.0, node=4), cube(node=5)]))
    image = renderer.image()
    assert image[100, 160, 0] > 100  # the box in front of the viewer is what is drawn
    assert renderer.pick(160, 100).node == 5
    assert renderer.pick(20, 20).node is None


def test_edge_that_begins_behind_the_viewer_is_picked_where_it_is_seen(renderer) -> None:
    edge = line((0, -3, 30), (0, 0, 0), (255, 0, 0, 255), 2.0)
    renderer.draw(scene(edges=edge))
    image = renderer.image()
    rows = np.flatnonzero(image[:, 160, 0] > 150)
    assert len(rows) > 50
    for y in rows[::15]:
        assert renderer.pick(160, y).edge == 0
    assert renderer.pick(160, 50).edge is None


def test_of_edges_that_cross_the_one_on_top_is_picked(renderer) -> None:
    both = [line((-3, -1, 0), (3, 1, 0)), line((-3, 1, 0), (3, -1, 0))]
    edges = EdgeArrays(*(np.concatenate([getattr(e, k) for e in both]) for k in vars(both[0])))
    renderer.draw(scene(edges=edges))
    assert renderer.pick(160, 100).edge == 1
    projection = Projection.of(FRONT, SIZE)
    x, y = projection.pixels(projection.view(np.array([1.5, 0.5, 0])))
    assert renderer.pick(float(x), float(y)).edge == 0


def test_pick_of_texts(renderer) -> None:
    labels = [Label("a title", (0, 2, 0), 2, 4, title=True), Label("a node", (0, -1, 0), 1, 5)]
    renderer.draw(scene([cube(side=4.0)], labels=labels))
    renderer.image()
    for placed in renderer.placed_labels():
        pick = renderer.pick((placed.left + placed.right) / 2, (placed.top + placed.bottom) / 2)
        assert pick.node == placed.label.node
        assert pick.frame_title == placed.label.title


def test_pick_is_fast_enough_for_hover(renderer) -> None:
    rng = np.random.default_rng(0)
    draw_list = renderer_scenes.units(side=45)
    a, b = rng.uniform(-4, 4, (6000, 3)), rng.uniform(-4, 4, (6000, 3))
    a[:, 0], b[:, 0] = 0.2, 5.8
    none = np.zeros(6000, np.int32)
    edges = edge_arrays(curves(a, b), rng, none, none)
    draw_list = replace(draw_list, edges=edges)
    assert len(draw_list.solids.node) > 4000
    renderer.resize(1600, 900)
    renderer.draw(draw_list)
    renderer.camera = whole(draw_list, (1600, 900))
    renderer.image()
    times = []
    for x in range(500, 900, 40):
        start = time.thread_time()
        renderer.pick(x, 450)
        times.append(time.thread_time() - start)
    assert np.median(times) < 0.020  # of this thread, whatever else the machine does
