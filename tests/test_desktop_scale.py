"""The colour scale in the window: its histogram in the legend, and its ends under the mouse."""

from __future__ import annotations

import pytest
from test_desktop import app, screen

__all__ = ["app", "screen"]  # fixtures


def shown(app) -> dict:
    """The window's state after the key that shows the histogram."""
    app.key("m")
    return app.wait(lambda s: s["area"] and s["area"]["bounds"], "the histogram is there")


def middle(area: dict) -> int:
    return round(area["top"] + area["height"] / 2)


def magnitude(area: dict, x: int) -> float:
    low, high = area["bounds"]
    return low * (high / low) ** ((x - area["left"]) / area["width"])


def drag(app, area: dict, *columns: int) -> None:
    y = middle(area)
    app.screen.do("mousemove", columns[0], y, "mousedown", 1)
    for x in columns[1:]:
        app.screen.do("mousemove", x, y)
    app.screen.do("mouseup", 1)


@pytest.mark.window
def test_the_ends_are_dragged_and_a_drag_is_undone_as_one(app) -> None:
    first = shown(app)
    area, right = first["area"], round(first["area"]["left"] + first["area"]["width"])
    third = round(area["left"] + area["width"] / 3)
    drag(app, area, round(area["left"]), third - 20, third - 7, third)
    state = app.wait(
        lambda s: s["range"] and s["range"][0] == pytest.approx(magnitude(area, third)),
        "the low end comes along",
    )
    high = state["range"][1]
    drag(app, area, right, right - 10, right - 30)
    state = app.wait(
        lambda s: s["range"][1] == pytest.approx(magnitude(area, right - 30)), "the high end comes"
    )
    assert state["range"][0] == pytest.approx(magnitude(area, third))
    assert state["range"][1] < high
    assert state["camera"] == first["camera"]  # a drag on the scale turns nothing
    assert (state["opened"], state["selected"]) == (first["opened"], first["selected"])
    app.key("z")
    app.still(lambda s: s["range"] and s["range"][1] == high, "the second drag is taken back")
    app.key("z")
    state = app.still(lambda s: s["range"] is None, "the first is taken back, all steps of it")
    assert not state["undo"]


@pytest.mark.window
def test_ends_never_cross_and_a_double_click_fits_the_scale_again(app) -> None:
    area = shown(app)["area"]
    left, y = round(area["left"]), middle(area)
    right = round(area["left"] + area["width"])
    drag(app, area, left, right - 60, right + 40)
    state = app.wait(lambda s: s["range"] and s["range"][0] > area["bounds"][0] * 2, "it is low")
    app.wait(lambda s: s["range"][1] / s["range"][0] == pytest.approx(1.001), "it stays below")
    app.screen.do("mousemove", right - 80, y, "click", "--repeat", 2, "--delay", 40, 1)
    state = app.wait(lambda s: s["range"] is None, "it fits what is drawn")
    assert state["undo"]


@pytest.mark.window
def test_a_click_shows_the_histogram_and_keys_change_the_kind(app) -> None:
    area = app.state["area"]
    assert area["bounds"] is None
    x, y = round(area["left"] + area["width"] / 2), middle(area)
    app.screen.do("mousemove", x, y)
    app.wait(lambda s: any("histogram" in line for line in s["note"]), "a tip tells of it")
    app.screen.do("click", 1)
    state = app.wait(lambda s: s["area"]["bounds"], "the histogram is there")
    assert state["range"] is None
    for kind in ("linear", "log", "rank", "automatic"):
        app.key("k")
        app.still(lambda s, kind=kind: s["scale"] == kind, f"the scale is {kind}")
    app.key("m")
    app.wait(lambda s: s["area"]["bounds"] is None, "the histogram is gone")
