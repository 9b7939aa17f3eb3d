"""The window under a virtual X server: it opens, clicks open clusters, keys do what help says."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue

import h5py
import numpy as np
import pytest
from PIL import Image

from explorer.desktop.texts import HELP, save_unique
from explorer.errors import NeuronautError
from explorer.renderer import Renderer
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen as Picture

DIGITS = Path(__file__).parent.parent / "scenes" / "digits.keras"
SIZE = (900, 600)

# Runs the window as `neuronaut open` does, and tells on stdout what a person did to the session.
PROGRAM = """
import json, sys, threading
from explorer.desktop import desktop
from explorer.open_model import OpenModel
from explorer.session.session import Session

session = Session(OpenModel.open(sys.argv[1]), aspect={width} / {height})
seen = desktop.Desktop._tick
told = [None]

def tick(self):
    seen(self)
    state = self.session.state
    moving = self.motion.under_way
    camera, details = self.renderer.camera, self.panel.details
    told_of = details and dict(
        path=details.panel["path"], weight=details.weight, reading=details.reading,
        units=[row["unit"] for row in details.incoming],
        numbers=details.statistics and [details.statistics["summary"].low,
            details.statistics["summary"].high, details.statistics["summary"].mean,
            details.statistics["summary"].std])
    view, shown = self.panel.viewport, self.panel.shown
    figure = view and dict(seen=[view.top, view.left, view.height, view.width],
                           place=self.panel.figure_place, told=self.panel.told,
                           final=bool(shown and shown.final and shown.viewport == view))
    now = dict(figure=figure, opened=sorted(state.opened),
               selected=state.selected, theme=state.theme,
               overlay=state.overlay, layout=state.layout, moving=moving, focus=state.focus,
               units=state.units, threshold=state.threshold,
               pending=self._drawn.pending, scale=state.scale, range=state.range,
               area=self.renderer.strip.area and vars(self.renderer.strip.area),
               undo=session.can_undo,
               camera=list(camera.position), focal_point=list(camera.focal_point),
               panel=told_of, free=self.renderer.free_width, size=list(self.renderer.size),
               note=list(self.renderer._note[0]))
    if now != told[0]:
        told[0] = now
        print(json.dumps(now), flush=True)

desktop.Desktop._tick = tick
desktop.run(session, ({width}, {height}))
session.close_session()
print(json.dumps("closed"), flush=True)
"""


class Screen:
    """A virtual X server and the pointer and keyboard of whoever sits before it."""

    def __init__(self) -> None:
        read, write = os.pipe()
        with open(__file__) as lock:  # two that look for a free number at once could find the same
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-noreset"],
                pass_fds=[write], stderr=subprocess.DEVNULL,
            )  # fmt: skip
            os.close(write)
            with os.fdopen(read) as pipe:
                number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        self.display = f":{number}"

    def do(self, *words: object) -> None:
        """Run an xdotool command."""
        subprocess.run(
            ["xdotool", *map(str, words)], env={**os.environ, "DISPLAY": self.display}, check=True,
            timeout=20, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(10)


class App:
    """The window's process and what it tells of itself."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self.screen = screen
        code = PROGRAM.format(width=SIZE[0], height=SIZE[1])
        root = str(DIGITS.parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(DIGITS)], cwd=folder, text=True,
            env={**os.environ, "DISPLAY": screen.display, "PYTHONPATH": root},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._lines: Queue[str | None] = Queue()
        self.state: dict = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait(self, condition, what: str):
        """Read on until the condition holds for what the window tells; at most 40 seconds."""
        end = time.monotonic() + 40
        while not (self.state and condition(self.state)):
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0.01))
            except Empty:
                pytest.fail(f"waited in vain: {what}; last: {self.state}")
            if line is None:
                pytest.fail(f"the window died: {what}; {self.process.stderr.read()[-2000:]}")
            self.state = json.loads(line)
        return self.state

    def still(self, condition, what: str):
        """As `wait`, for the time when nothing moves any more."""
        return self.wait(lambda s: not s["moving"] and condition(s), what)

    def click(self, x: float, y: float) -> None:
        self.screen.do("mousemove", round(x), round(y), "click", 1)

    def key(self, name: str) -> None:
        self.screen.do("key", name)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="module")
def screen():
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed: apt-get install xvfb xdotool")
    made = Screen()
    yield made
    made.close()


@pytest.fixture
def app(screen, tmp_path):
    made = App(screen, tmp_path)
    try:
        screen.do("mousemove", 5, 5)
        # Before all weights are read, pictures and the height of the legend may still change.
        made.still(lambda s: s["size"] == list(SIZE) and not s["pending"], "the window opens")
        yield made
    finally:
        made.end()


@pytest.fixture
def twin():
    """The same session drawn off screen: tells where things are."""
    from explorer.open_model import OpenModel

    session = Session(OpenModel.open(str(DIGITS)), aspect=SIZE[0] / SIZE[1])
    with Renderer(SIZE) as renderer:
        yield session, renderer
    session.close_session()
    session.model.close()


def spot(twin, path: str, title: bool = False) -> tuple[float, float]:
    """A pixel that picks this node."""
    session, renderer = twin
    renderer.draw(session.draw_list)
    renderer.camera = session.state.camera or session.camera_for(None, renderer.scene_aspect)
    renderer.image()
    node = session.draw_list.nodes.index(path)
    if title:
        (label,) = (p for p in renderer.placed_labels() if p.label.node == node and p.label.title)
        return (label.left + label.right) / 2, (label.top + label.bottom) / 2
    found = [
        (x, y)
        for y in range(8, SIZE[1], 20)
        for x in range(8, SIZE[0], 20)
        if renderer.pick(x, y).node == node
    ]
    return tuple(np.median(np.array(found), axis=0)) if found else pytest.fail(f"{path} not seen")


def as_seen(twin, state: dict) -> None:
    """Put the twin's camera where the window's is, and a panel as wide as the window's."""
    session, renderer = twin
    usual = session.camera_for(None)
    camera = replace(
        usual, position=tuple(state["camera"]), focal_point=tuple(state["focal_point"])
    )
    session.state = replace(session.state, camera=camera)
    width = SIZE[0] - state["free"]
    renderer.set_panel(np.zeros((SIZE[1], width, 4), np.uint8) if width else None)


def stored(group: str) -> list[np.ndarray]:
    """Kernel and bias of a layer of the bundled network, read by h5py."""
    with zipfile.ZipFile(DIGITS) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data) as file:
        return [np.asarray(file[f"layers/{group}/vars/{i}"], np.float64) for i in range(2)]


def numbers(weight: np.ndarray) -> list[float]:
    return [weight.min(), weight.max(), weight.mean(), weight.std()]


def closed_cluster(session: Session) -> str:
    """A closed node of the first picture that can be opened."""
    solids = session.draw_list.solids.node.tolist()
    return next(p for p in map(session.draw_list.nodes.__getitem__, solids) if session.can_open(p))


@pytest.mark.window
def test_click_opens_a_cluster_and_a_click_on_its_title_closes_it(app, twin) -> None:
    session, _ = twin
    path = closed_cluster(session)
    app.click(*spot(twin, path))
    state = app.still(lambda s: path in s["opened"], f"{path} opens")
    assert state["selected"] == path
    session.click(path)
    as_seen(twin, state)
    app.click(*spot(twin, path, title=True))
    app.still(lambda s: path not in s["opened"], f"{path} closes")


@pytest.mark.window
def test_key_saves_a_picture_and_never_overwrites_one(app, tmp_path) -> None:
    (tmp_path / "neuronaut-1.png").write_bytes(b"mine")
    app.key("s")
    app.wait(lambda s: s["note"] == ["saved neuronaut.png"], "a picture is saved")
    app.key("s")
    app.wait(lambda s: s["note"] == ["saved neuronaut-2.png"], "another one is saved")
    picture = np.asarray(Image.open(tmp_path / "neuronaut.png"))
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000
    assert (tmp_path / "neuronaut-1.png").read_bytes() == b"mine"
    assert np.array_equal(picture, np.asarray(Image.open(tmp_path / "neuronaut-2.png")))


@pytest.mark.window
def test_drag_turns_and_opens_nothing(app, twin) -> None:
    app.key("r")
    app.key("t")
    before = app.still(lambda s: s["theme"] == "light", "all is seen")
    x, y = spot(twin, closed_cluster(twin[0]))
    app.screen.do("mousemove", round(x), round(y), "mousedown", 1)
    app.screen.do("mousemove", round(x) + 60, round(y) + 10)
    app.screen.do("mousemove", round(x) + 120, round(y) + 20, "mouseup", 1)
    app.wait(lambda s: s["camera"] != before["camera"], "the camera turns")
    app.key("r")
    state = app.still(
        lambda s: np.allclose(s["camera"], before["camera"], rtol=1e-3), "the view is reset"
    )
    assert state["opened"] == before["opened"]


@pytest.mark.window
def test_wheel_zooms_in(app) -> None:
    before = np.array(app.state["camera"])
    app.screen.do("mousemove", 450, 300, "click", 4, "click", 4)
    state = app.wait(lambda s: s["camera"] != before.tolist(), "the camera comes nearer")
    assert np.linalg.norm(state["camera"]) < np.linalg.norm(before)


@pytest.mark.window
def test_hover_tells_name_kind_and_shape(app, twin) -> None:
    session, _ = twin
    path = closed_cluster(session)
    x, y = spot(twin, path)
    app.screen.do("mousemove", round(x), round(y))
    state = app.wait(lambda s: s["note"], "a tip appears")
    assert " · ".join(state["note"]) == session.describe(path)
    app.screen.do("mousemove", 5, 5)
    app.wait(lambda s: not s["note"], "the tip goes")


@pytest.mark.window
def test_keys_change_theme_overlay_and_layout_show_help_and_quit(app) -> None:
    first = app.state
    app.key("t")
    app.still(lambda s: s["theme"] == "light", "the theme changes")
    app.key("o")
    app.still(lambda s: s["overlay"] != first["overlay"], "the overlay changes")
    app.key("l")
    app.still(lambda s: s["layout"] != first["layout"], "the layout changes")
    app.key("question")
    app.wait(lambda s: s["note"] == list(HELP), "help shows")
    app.key("Escape")
    app.wait(lambda s: not s["note"], "help goes")
    app.key("f")
    app.wait(lambda s: s["note"] and "nothing is selected" in s["note"][0], "a reason is given")
    app.key("q")
    app.wait(lambda s: s == "closed", "the window closes")
    assert app.process.wait(20) == 0
    assert app.process.stderr.read() == ""


@pytest.mark.window
def test_keys_change_the_overlay_of_boxes_and_the_threshold(app) -> None:
    first = app.state
    assert first["units"] == "kind"
    app.key("n")
    app.still(lambda s: s["units"] not in ("kind", ""), "boxes take another colour")
    app.key("period")
    app.still(lambda s: s["threshold"] > first["threshold"], "the threshold rises")
    app.key("comma")
    app.key("comma")
    app.still(lambda s: s["threshold"] < first["threshold"], "the threshold falls")
    assert app.state["note"] == ["threshold of sparsity: |w| ≤ 0.005"]


@pytest.mark.window
def test_undo_redo_and_focus_by_keys(app, twin) -> None:
    session, renderer = twin
    first = app.state
    app.key("z")
    app.wait(lambda s: s["note"] == ["nothing to undo"], "there is nothing to undo")
    x, y = spot(twin, "conv_1")
    app.click(x, y)
    opened = app.still(lambda s: "conv_1" in s["opened"], "conv_1 opens")
    # The frame stands where the node was: its middle has the same pixel.
    start = pixel(twin, session.camera_for(None, renderer.scene_aspect), "conv_1")
    session.click("conv_1")
    as_seen(twin, opened)
    end = pixel(twin, session.state.camera, "conv_1")
    assert np.linalg.norm(np.subtract(end, start)) < 1.5
    app.key("ctrl+z")
    state = app.still(lambda s: "conv_1" not in s["opened"], "it is taken back")
    assert np.allclose(state["camera"], first["camera"])
    assert state["selected"] is None
    app.key("shift+z")
    state = app.still(lambda s: "conv_1" in s["opened"], "it is made again")
    assert np.allclose(state["camera"], opened["camera"])
    app.key("x")
    app.still(lambda s: s["focus"] == "conv_1", "the node is in focus")
    app.key("Escape")
    state = app.still(lambda s: s["focus"] is None, "the focus ends")
    assert state["selected"] == "conv_1"
    app.key("0")
    app.still(lambda s: s["opened"] == [], "everything closes")
    app.key("b")
    app.still(lambda s: s["opened"] == first["opened"], "the first picture comes back")


def pixel(twin, camera, path: str) -> list[float]:
    """Where the middle of a node, frame or solid, is in the picture that a camera sees."""
    drawn, renderer = twin[0].draw_list, twin[1]
    node = drawn.nodes.index(path)
    boxes = drawn.frames if node in drawn.frames.node else drawn.solids
    middle = boxes.centers[boxes.node == node].mean(axis=0)[None].astype(float)
    return Picture(camera, renderer.scene_size).rectangles(middle, 0 * middle)[0, :2].tolist()


@pytest.mark.window
def test_key_closes_what_is_selected_or_around_it(app, twin) -> None:
    session, _ = twin
    path = closed_cluster(session)
    app.click(*spot(twin, path))
    app.still(lambda s: path in s["opened"], f"{path} opens")
    app.key("u")
    app.still(lambda s: path not in s["opened"], f"{path} closes")


def told(path: str, weight: int = 0):
    return lambda s: (
        s["panel"] is not None and s["panel"]["path"] == path and s["panel"]["weight"] == weight
        and not s["panel"]["reading"]
    )  # fmt: skip


def saved(app, tmp_path, name: str) -> np.ndarray:
    """The picture that the window saves under this name."""
    app.key("s")
    app.wait(lambda s: s["note"] == [f"saved {name}.png"], f"{name} is saved")
    return np.asarray(Image.open(tmp_path / f"{name}.png"))


@pytest.mark.window
def test_the_selected_layers_panel_tells_the_files_numbers(app, twin, tmp_path) -> None:
    kernel, bias = stored("dense")  # the file names layers by their kind
    app.click(*spot(twin, "hidden"))
    state = app.still(told("hidden"), "the panel shows")
    free = state["free"]
    assert SIZE[0] - free == round(340 * 0.8)
    np.testing.assert_allclose(state["panel"]["numbers"], numbers(kernel), rtol=1e-9)
    pictures = [saved(app, tmp_path, "neuronaut")]
    app.key("w")
    state = app.still(told("hidden", 1), "the next weight")
    np.testing.assert_allclose(state["panel"]["numbers"], numbers(bias), rtol=1e-9)
    pictures.append(saved(app, tmp_path, "neuronaut-1"))
    app.key("bracketleft")
    app.still(told("hidden"), "the weight before")
    twin[0].click("hidden")
    as_seen(twin, app.state)
    app.click(*spot(twin, "hidden[5]"))
    state = app.still(told("hidden[5]"), "the panel of a unit")
    kernel = np.square(kernel[:, 5].reshape(-1, 16)).mean(axis=0)  # 4 x 4 places of 16 filters
    assert state["panel"]["units"] == np.argsort(-kernel)[:10].tolist()
    pictures.append(saved(app, tmp_path, "neuronaut-2"))
    app.key("i")
    app.still(lambda s: s["free"] == SIZE[0] and s["selected"] == "hidden[5]", "the panel goes")
    pictures.append(saved(app, tmp_path, "neuronaut-3"))
    parts = [picture[:, free:] for picture in pictures]
    for i, one in enumerate(parts):
        assert len(np.unique(one.reshape(-1, 3), axis=0)) > 50
        assert not any(np.array_equal(one, other) for other in parts[:i])
    app.key("i")
    app.still(told("hidden[5]"), "the panel comes back")
    app.key("Escape")
    app.still(lambda s: s["selected"] is None and s["free"] == SIZE[0], "nothing is selected")
    app.key("q")
    app.wait(lambda s: s == "closed", "the window closes")
    assert app.process.wait(20) == 0
    assert app.process.stderr.read() == ""


@pytest.mark.window
def test_the_pointer_on_the_panel_does_not_reach_the_scene(app, twin) -> None:
    app.click(*spot(twin, "hidden"))
    before = app.still(told("hidden"), "the panel shows")
    x, y = SIZE[0] - 40, SIZE[1] // 2
    app.screen.do("mousemove", x, y, "click", 1, "click", 4)
    app.screen.do("mousemove", x, y, "mousedown", 1, "mousemove", x - 200, y, "mouseup", 1)
    app.key("t")
    state = app.still(lambda s: s["theme"] == "light", "all that came before is done")
    for name in ("selected", "opened", "camera", "focal_point", "panel", "note"):
        assert state[name] == before[name], name


@pytest.mark.window
def test_click_on_an_edge_tells_its_value_and_selects_nothing(app, twin) -> None:
    session, renderer = twin
    session.wait()  # the window, too, has read all by the time it is clicked
    spot(twin, "hidden")
    picks = ((x, y, renderer.pick(x, y)) for y in range(4, SIZE[1], 6) for x in range(4, 900, 6))
    x, y, pick = next(p for p in picks if p[2].edge is not None and p[2].node is None)
    app.click(x, y)
    state = app.wait(lambda s: s["note"], "the edge is told of")
    assert " ".join(state["note"]).replace(" · ", " ") == " ".join(
        session.describe_edge(pick.edge).split(" · ")
    )
    assert state["selected"] is None
    assert state["free"] == SIZE[0]


@pytest.mark.window
def test_interrupt_ends_the_window_at_once(app) -> None:
    app.process.send_signal(2)
    assert app.process.wait(20) != 0
    assert "KeyboardInterrupt" in app.process.stderr.read()


def test_save_in_a_folder_that_is_not_there_is_told(tmp_path) -> None:
    with pytest.raises(NeuronautError, match="cannot be written"):
        save_unique(Image.new("RGB", (4, 4)), tmp_path / "missing")


@pytest.mark.window
def test_an_untouched_picture_fits_a_window_of_another_size_until_it_is_moved(app, twin) -> None:
    session, renderer = twin

    def resized(width: int, height: int) -> dict:
        window = f"search --onlyvisible --name Neuronaut windowsize {width} {height}"
        app.screen.do(*window.split())
        return app.wait(lambda s: s["size"] == [width, height], "the window has another size")

    session.wait()  # the legend of what is still read is higher
    resized(700, 640)
    renderer.resize(700, 640)
    renderer.draw(session.draw_list)
    whole = session.camera_for(None, renderer.scene_aspect).position
    app.still(lambda s: np.allclose(s["camera"], whole, atol=1e-6), "all is in sight again")
    app.screen.do("mousemove", 300, 500, "mousedown", 1, "mousemove", 360, 540, "mouseup", 1)
    moved = app.still(lambda s: not np.allclose(s["camera"], whole, atol=1e-3), "a drag turns it")
    assert resized(*SIZE)["camera"] == moved["camera"]
