"""The figure of a weight in the window's panel, under the mouse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_desktop import app, saved, screen, spot, stored, told, twin

__all__ = ["app", "screen", "twin"]
pytestmark = pytest.mark.window


def _final(state: dict) -> bool:
    return bool(state["figure"] and state["figure"]["final"])


def test_wheel_and_drag_zoom_the_weights_and_leave_the_scene_alone(app, twin, tmp_path) -> None:
    app.click(*spot(twin, "hidden"))
    state = app.still(lambda s: told("hidden")(s) and _final(s), "the figure is there")
    kernel = stored("dense")[0]
    rows, columns = kernel.shape[::-1]
    assert state["figure"]["seen"] == [0, 0, rows, columns]
    before = state
    left, top, width, height = state["figure"]["place"]
    x, y = round(left + 0.3 * width), round(top + 0.6 * height)
    app.screen.do("mousemove", x, y)
    for _ in range(4):
        app.screen.do("click", "--repeat", 10, "--delay", 5, 4)
    # As near as it goes: further notches change nothing.
    state = app.wait(lambda s: _final(s) and width / s["figure"]["seen"][3] > 43.9, "the nearest")
    seen = state["figure"]["seen"]
    assert seen[0] <= 0.6 * rows <= seen[0] + seen[2]
    assert seen[1] <= 0.3 * columns <= seen[1] + seen[3]
    app.screen.do("mousemove", x + 1, y)
    state = app.wait(lambda s: s["figure"] and len(s["figure"]["told"]) == 4, "what is there")
    row = int(seen[0] + (y - top) / height * seen[2])
    column = int(seen[1] + (x + 1 - left) / width * seen[3])
    assert state["figure"]["told"] == [
        f"{kernel[column, row]:.7g}", f"out unit {row}", f"in unit {column}",
        f"kernel[{column}, {row}]",
    ]  # fmt: skip
    picture = saved(app, tmp_path, "neuronaut")
    assert len(np.unique(picture[top : top + height, left : left + width].reshape(-1, 3))) > 5
    app.key("e")
    app.wait(lambda s: s["note"] == ["saved neuronaut.npy"], "the numbers are saved")
    app.key("E")
    app.wait(lambda s: s["note"] == ["saved neuronaut.csv"], "and as text")
    values = np.load(tmp_path / "neuronaut.npy")
    r0, c0 = int(seen[0]), int(seen[1])
    part = kernel.T[r0 : r0 + len(values), c0 : c0 + values.shape[1]]
    np.testing.assert_array_equal(values, part)
    text = (tmp_path / "neuronaut.csv").read_text().splitlines()
    assert text[0].split(",")[1] == str(c0)
    assert [np.float32(v) for v in text[1].split(",")[1:]] == part[0].tolist()
    app.screen.do("mousemove", x, y, "mousedown", 1, "mousemove", x - 40, y - 20, "mouseup", 1)
    moved = app.wait(lambda s: _final(s) and s["figure"]["seen"][1] > seen[1], "a drag moves")
    assert moved["figure"]["seen"][0] > seen[0]
    app.screen.do("mousemove", x, y, "click", "--repeat", 2, "--delay", 60, 1)
    state = app.wait(lambda s: _final(s) and s["figure"]["seen"] == before["figure"]["seen"], "all")
    for name in ("selected", "opened", "camera", "focal_point", "panel"):
        assert state[name] == before[name], name


def test_a_key_shows_the_kernels_as_images(app, twin, tmp_path: Path) -> None:
    app.click(*spot(twin, "conv_1"))
    app.still(_final, "the kernels are there")
    first = saved(app, tmp_path, "neuronaut")
    app.key("v")
    app.still(lambda s: _final(s) and s["note"] == ["kernels in order"], "in order")
    app.key("v")
    state = app.still(lambda s: _final(s) and s["note"] == ["matrix"], "the matrix")
    second = saved(app, tmp_path, "neuronaut-1")
    free = state["free"]
    assert not np.array_equal(first[:, free:], second[:, free:])
