"""The picture shows what the draw list says, on this machine or with a clear word why not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import renderer_scenes
from renderer_scenes import boxes, cube, line, scene, whole

from explorer.drawing.draw_list import EdgeArrays, Label
from explorer.errors import NeuronautError
from explorer.renderer import Pick, Renderer
from explorer.renderer.geometry import box_corners
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
    shared.set_note()
    shared.resize(*SIZE)
    shared.draw(scene())
    shared.camera = FRONT
    return shared


# ---- pictures


def test_picture_has_the_asked_for_shape_and_a_gradient(renderer) -> None:
    image = renderer.image()
    assert image.shape == (200, 320, 3)
    assert image.dtype == np.uint8
    assert abs(image[0].astype(int) - (0x1A, 0x21, 0x30)).max() <= 2
    assert abs(image[-1].astype(int) - (0x0A, 0x0D, 0x13)).max() <= 2


def test_light_theme_is_light(renderer) -> None:
    renderer.draw(scene(theme="light"))
    assert renderer.image().min() > 220


def test_box_stands_where_the_projection_says_in_its_own_colour(renderer) -> None:
    renderer.draw(scene([cube((1, 0.5, 0))]))
    image = renderer.image().astype(int)
    projection = Projection.of(FRONT, SIZE)
    x, y = projection.pixels(projection.view(np.array([1, 0.5, 0.5])))
    red, green, blue = image[int(y), int(x)]
    assert 100 < red <= 200  # the face to the viewer, a little darker than given
    assert (green, blue) == pytest.approx((red * 40 / 200, red * 90 / 200), abs=2)
    drawn = np.argwhere(image[..., 0] > 60)
    corners = [(x, y, z) for x in (0.5, 1.5) for y in (0, 1) for z in (-0.5, 0.5)]
    reach = projection.pixels(projection.view(np.array(corners)))
    assert np.abs(drawn.min(0)[::-1] - reach.min(0)).max() <= 2
    assert np.abs(drawn.max(0)[::-1] - reach.max(0)).max() <= 2


def test_faces_of_a_box_differ_so_that_its_form_shows(renderer) -> None:
    renderer.draw(scene([cube(side=3.0, color=(120, 120, 120))]))
    renderer.camera = Camera((-6, 5, 8), (0, 0, 0))
    image = renderer.image()
    projection = Projection.of(renderer.camera, SIZE)
    faces = projection.pixels(projection.view(np.array([[-1.5, 0, 0], [0, 1.5, 0], [0, 0, 1.5]])))
    tones = sorted(int(image[int(y), int(x), 1]) for x, y in faces)
    assert min(np.diff(tones)) > 10


def test_nearer_box_hides_the_farther_one_and_the_edge_behind_it(renderer) -> None:
    behind = line((-5, 0, -1), (5, 0, -1), (0, 255, 0, 255))
    renderer.draw(scene([cube(node=0), cube((0, 0, -3), (10, 10, 250), 1)], edges=behind))
    image = renderer.image()
    assert image[100, 160, 0] > 100
    assert image[100, 160, 2] < 100
    assert image[99:102, 40, 1].max() > 200
    assert image[90:110, 160, 1].max() < 100


def test_edges_blend_and_the_last_is_on_top(renderer) -> None:
    both = [line((-5, 0, 0), (5, 0, 0), c, 4.0) for c in ((255, 0, 0, 255), (0, 0, 255, 128))]
    edges = EdgeArrays(*(np.concatenate([getattr(e, k) for e in both]) for k in vars(both[0])))
    renderer.draw(scene(edges=edges))
    red, _, blue = renderer.image()[100, 160].astype(int)
    assert (red, blue) == pytest.approx((127, 128), abs=6)


def test_frame_is_glass(renderer) -> None:
    plain = scene([cube()])
    renderer.draw(plain)
    before = renderer.image().astype(int)
    renderer.draw(replace(plain, frames=boxes([((0, 0, 0), (3, 3, 3), (255, 255, 255, 200), 1)])))
    after = renderer.image().astype(int)
    assert (
        np.abs(after[100, 160] - before[100, 160]).max() <= 1
    )  # what stands inside keeps its colour
    glass = (after - before)[75, 145]
    assert 2 <= glass.max() <= 40
    assert (after - before).max() > 80  # its outline is crisp


def test_selected_node_is_marked(renderer) -> None:
    plain = scene([cube(), cube((2, 0, 0), node=1)])
    renderer.draw(plain)
    before = renderer.image().astype(int)
    renderer.draw(replace(plain, selected=1))
    changed = np.argwhere(np.abs(renderer.image().astype(int) - before).max(axis=2) > 60)
    assert len(changed) > 30
    assert changed[:, 1].min() > 180


def test_same_picture_twice(renderer) -> None:
    renderer.draw(renderer_scenes.vgg())
    renderer.camera = whole(renderer_scenes.vgg(), SIZE)
    first = renderer.image()
    renderer.draw(renderer_scenes.vgg(seed=1))
    renderer.image()
    renderer.draw(renderer_scenes.vgg())
    assert np.array_equal(first, renderer.image())


def test_redrawing_the_same_shapes_reuses_the_arrays(renderer) -> None:
    renderer.draw(renderer_scenes.vgg())
    meshes = [a.GetMapper().GetInput() for a in renderer._scene.actors]
    arrays = [m.GetPointData().GetScalars() for m in meshes]
    renderer.draw(renderer_scenes.vgg())
    assert all(m.GetPointData().GetScalars() is a for m, a in zip(meshes, arrays, strict=True))


def test_samples_smooth_the_rims(renderer) -> None:
    renderer.draw(scene(edges=line((-4, -1, 0), (4, 1.3, 0))))
    rough, smooth = (len(np.unique(renderer.image(multi_samples=n)[..., 0])) for n in (0, 8))
    assert smooth > rough


def test_nothing_is_cut_off_close_to_a_small_thing_in_a_large_scene(renderer) -> None:
    renderer.draw(scene([cube(side=0.02), cube((0, 0, -2000), side=500.0, node=1)]))
    renderer.camera = Camera((0, 0, 0.2), (0, 0, 0))
    image = renderer.image()
    assert image[100, 160, 0] > 100
    assert renderer.pick(160, 100).node == 0
    assert image[60, 160, 0] > 100  # the far box fills the rest
    assert renderer.pick(160, 60).node == 1


def test_resize(renderer) -> None:
    renderer.draw(renderer_scenes.vgg())
    renderer.image()
    renderer.resize(500, 400)
    assert renderer.image().shape == (400, 500, 3)
    assert renderer.size == (500, 400)


@pytest.mark.parametrize("size", [(0, 100), (100, -1), (20000, 100)])
def test_impossible_size_is_told(renderer, size) -> None:
    with pytest.raises(NeuronautError, match="impossible size"):
        renderer.resize(*size)


def test_empty_draw_list(renderer) -> None:
    renderer.draw(scene())
    assert renderer.pick(10, 10).node is None
    assert renderer.pick(-5, 1e9).edge is None


def test_camera_comes_back_as_it_was_set(renderer) -> None:
    camera = Camera((3.0, 4.0, 5.0), (1.0, 0.0, 0.5), (0.0, 1.0, 0.0), 41.0)
    renderer.camera = camera
    renderer.image()
    assert renderer.camera == camera


# ---- text


def test_labels_stand_near_their_anchors_and_apart(renderer) -> None:
    draw_list = renderer_scenes.vgg()
    renderer.resize(1600, 900)
    renderer.draw(draw_list)
    renderer.camera = whole(draw_list, (1600, 900))
    renderer.image()
    placed = renderer.placed_labels()
    assert len(placed) >= 18
    assert sum(p.label.title for p in placed) == 5
    projection = Projection.of(renderer.camera, renderer.scene_size)
    for i, a in enumerate(placed):
        named = draw_list.frames if a.label.title else draw_list.solids
        (row,) = np.flatnonzero(named.node == a.label.node)
        corners = box_corners(named.centers[[row]], named.sizes[[row]])[0]
        seen = projection.pixels(projection.view(corners))
        (left, top), (right, bottom) = seen.min(axis=0), seen.max(axis=0)
        assert max(left - a.right, a.left - right) < 20
        assert max(top - a.bottom, a.top - bottom) < 100  # with a leader
        for b in placed[i + 1 :]:
            assert not (
                a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom
            )


def test_text_is_drawn_where_the_label_is_said_to_be(renderer) -> None:
    renderer.image()
    before = renderer.image().astype(int)
    renderer.draw(scene(labels=[Label("HHHH", (0, 0, 0), 1, 2)]))
    changed = np.argwhere((renderer.image().astype(int) - before).max(axis=2) > 100)
    (placed,) = renderer.placed_labels()
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert placed.top <= top < bottom < placed.bottom
    assert placed.left <= left < right < placed.right
    assert right - left > 0.6 * (placed.right - placed.left)
    assert abs((left + right) / 2 - 160) <= 3
    assert bottom < 100


def test_labels_follow_a_camera_that_somebody_else_moved(renderer) -> None:
    renderer.draw(scene([cube()], labels=[Label("x", (0, 0, 0), 1, 0)]))
    renderer.image()
    (before,) = renderer.placed_labels()
    camera = renderer.render_window.GetRenderers().GetFirstRenderer().GetActiveCamera()
    camera.SetPosition(2, 0, 10)
    camera.SetFocalPoint(2, 0, 0)
    renderer.render_window.Render()
    (after,) = renderer.placed_labels()
    assert after.left < before.left - 20


def test_legend_is_drawn_only_when_asked_for(renderer) -> None:
    legend = renderer_scenes.legend(900, 262144)
    renderer.resize(800, 600)
    renderer.draw(scene(legend=legend))
    with_legend = renderer.image()
    strip = renderer.size[1] - renderer.scene_size[1]
    assert 0.06 < strip / 600 < 0.13
    top = legend.ramp[-1]
    found = np.argwhere(np.abs(with_legend.astype(int) - top).max(axis=2) <= 3)
    assert len(found) > 10
    assert found[:, 0].min() >= 600 - strip
    renderer.draw(scene())
    assert renderer.scene_size == renderer.size
    without = renderer.image()
    with Renderer((800, 600), legend=False, multi_samples=0) as bare:
        bare.draw(scene(legend=legend))
        bare.camera = FRONT
        assert bare.scene_size == (800, 600)
        assert np.array_equal(bare.image(), without)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_of_the_scene_lies_under_the_strip(theme) -> None:
    legend = renderer_scenes.legend(900, 262144)
    wall = ((0, 0, 0), (60, 60, 0.1), (60, 200, 90, 255), 0)  # fills all the scene has
    labels = [Label("low", (0, -2.6, 1), 1, -1)]
    with Renderer((800, 600), multi_samples=0) as renderer:
        renderer.draw(scene(legend=legend, theme=theme))
        renderer.camera = FRONT
        empty = renderer.image()
        renderer.draw(scene([wall], legend=legend, theme=theme, labels=labels, selected=0))
        full = renderer.image()
        low = renderer.scene_size[1]
        assert np.array_equal(full[low:], empty[low:])
        assert (np.abs(full[:low].astype(int) - empty[:low]).max(axis=2) > 10).mean() > 0.99
        assert renderer.pick(400, low - 2).node == 0
        assert renderer.pick(400, low + 2) == Pick()
        assert all(p.bottom <= low for p in renderer.placed_labels())
        assert renderer.scene_aspect == pytest.approx(800 / low)


def test_box_above_the_strip_is_where_the_projection_of_the_scene_says() -> None:
    with Renderer((800, 600), multi_samples=0) as renderer:
        legend = renderer_scenes.legend(1, 2)
        renderer.draw(scene([cube((1, 0.5, 0))], legend=legend))
        renderer.camera = FRONT
        image = renderer.image().astype(int)[: renderer.scene_size[1]]
        projection = Projection.of(FRONT, renderer.scene_size)
        corners = [(x, y, z) for x in (0.5, 1.5) for y in (0, 1) for z in (-0.5, 0.5)]
        reach = projection.pixels(projection.view(np.array(corners)))
        drawn = np.argwhere((image[..., 0] > 60) & (image[..., 1] < 60))
        assert np.abs(drawn.min(0)[::-1] - reach.min(0)).max() <= 2
        assert np.abs(drawn.max(0)[::-1] - reach.max(0)).max() <= 2


def test_strip_that_does_not_grow_has_one_height() -> None:
    short, long = (
        replace(renderer_scenes.legend(1, 2), lines=("a statement of some length",) * n)
        for n in (0, 9)
    )
    heights = {}
    for grows in (True, False):
        with Renderer((900, 600), multi_samples=0, legend_grows=grows) as renderer:
            for legend in (renderer_scenes.EMPTY_LEGEND, short, long, short):
                renderer.draw(scene(legend=legend))
                image = renderer.image()
                heights.setdefault(grows, []).append(600 - renderer.scene_size[1])
                assert np.abs(image[-30:, :5].astype(int) - (0x0A, 0x0D, 0x13)).max() <= 2
    assert len(set(heights[False])) == 1
    assert 0.06 < heights[False][0] / 600 < 0.13
    assert heights[True][0] == 0
    assert heights[True][1] < heights[True][2] <= 150
    assert heights[True][3] == heights[True][2]  # the scene does not jump when a statement goes


def test_small_picture_has_no_strip(renderer) -> None:
    renderer.draw(scene(legend=renderer_scenes.legend(900, 262144)))
    assert renderer.scene_size == renderer.size == SIZE


def test_displaced_label_has_a_leader_to_its_own_node() -> None:
    def boxes_around(node: int) -> list[tuple]:
        return [cube((-1.5, 0, 0.2), node=1, side=2.0), cube((1.5, 0, 0.2), node=2, side=2.0)]

    own = ((0, 0, 0), (0.6, 0.6, 0.6), (240, 200, 40, 255), 0)
    label = Label("a long name of a node", (0, -0.3, 0), 1, 0, below=True)
    with Renderer((800, 600), multi_samples=0) as renderer:
        renderer.draw(scene([own, *boxes_around(0)], labels=[label]))
        renderer.camera = FRONT
        renderer.image()
        (placed,) = renderer.placed_labels()
        middle = (placed.left + placed.right) / 2, (placed.top + placed.bottom) / 2
        renderer.draw(scene([own, *boxes_around(0)]))
        for x in (placed.left + 4, middle[0], placed.right - 4):
            assert renderer.pick(x, middle[1]).node in (None, 0)


def test_pick_of_a_title_needs_no_picture_first(renderer) -> None:
    title = Label("a title", (0, 1, 0), 2, 4, title=True)
    renderer.draw(scene(labels=[title]))
    renderer.image()
    (placed,) = renderer.placed_labels()
    renderer.draw(scene(labels=[title]))
    pick = renderer.pick((placed.left + placed.right) / 2, (placed.top + placed.bottom) / 2)
    assert pick == Pick(4, None, True)


def test_note_is_shown_and_taken_away(renderer) -> None:
    before = renderer.image()
    renderer.set_note(("conv1", "Conv2D"), (50, 50))
    assert not np.array_equal(renderer.image()[40:120, 40:200], before[40:120, 40:200])
    renderer.set_note()
    assert np.array_equal(renderer.image(), before)


def test_of_very_many_labels_the_most_important_are_drawn(renderer) -> None:
    labels = [Label(f"unit {i}", (0, 0, 0), i, i) for i in range(5000)]
    renderer.draw(scene(labels=labels))
    renderer.image()
    assert {p.label.priority for p in renderer.placed_labels()} >= {4999}
    assert len(renderer._labels.sheet.sizes) < 1000


def test_hostile_label_text_is_one_line(renderer) -> None:
    renderer.draw(scene(labels=[Label("a\nb\x1b[31m" + "x" * 10**5, (0, 0, 0), 1, 0)]))
    renderer.image()  # neither an error nor a texture of a million pixels
    assert renderer._labels.sheet.sizes[0, 0] < 2500


# ---- the machine


def test_closing_frees_the_renderer() -> None:
    made = Renderer(SIZE)
    made.draw(renderer_scenes.vgg())
    made.image()
    gone = weakref.ref(made)
    made.close()
    del made
    gc.collect()
    assert gone() is None


def test_opening_and_closing_keeps_no_memory() -> None:
    def once() -> None:
        with Renderer(SIZE) as renderer:
            renderer.draw(renderer_scenes.vgg())
            renderer.image()

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    for _ in range(4):
        once()
    files, memory = len(os.listdir("/proc/self/fd")), resident()
    for _ in range(8):
        once()
    assert len(os.listdir("/proc/self/fd")) <= files + 1
    assert resident() - memory < 40e6


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**env, **environment}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


CAUGHT = """
from explorer.errors import NeuronautError
from explorer.renderer import Pick, Renderer
try:
    Renderer((64, 64){rest}).image()
except NeuronautError as error:
    print(error)
"""


@pytest.mark.parametrize("variable", ["__EGL_VENDOR_LIBRARY_DIRS", "LIBGL_DRIVERS_PATH"])
def test_machine_without_drivers_gets_a_line_with_the_packages(tmp_path, variable) -> None:
    done = run_python(CAUGHT.format(rest=""), **{variable: str(tmp_path)})
    assert done.returncode == 0, done.stderr
    if not done.stdout:
        pytest.skip("this machine finds its drivers in another way")
    assert "apt-get install libegl1 libgl1-mesa-dri" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_window_without_a_display_gets_a_line() -> None:
    done = run_python(CAUGHT.format(rest=", off_screen=False"))
    assert done.returncode == 0, done.stderr
    assert "no display" in done.stdout


def test_window_on_a_display_that_does_not_answer_gets_a_line() -> None:
    done = run_python(CAUGHT.format(rest=", off_screen=False"), DISPLAY=":7654")
    assert done.returncode == 0, done.stderr
    assert "':7654' does not answer" in done.stdout
