"""Automatic detail in the window: the wheel alone opens and closes, and at rest nothing stirs."""

from __future__ import annotations

import json

import pytest
from test_desktop import app, screen, spot, twin

__all__ = ["app", "screen", "twin"]  # fixtures

MOST_NOTCHES = 40
LAYER = "hidden"  # of 32 units, closed in the first picture


def notch(app, button: int) -> dict:
    """Turn the wheel by a notch (4: nearer, 5: away) and wait until the camera has gone along."""
    before = app.state["camera"]
    app.screen.do("click", button)
    return app.still(lambda s: s["camera"] != before, "the camera moves")


def answered(app, times: int) -> list[dict]:
    """What the window tells of itself while it answers keys: so long it had time for changes."""
    told = []
    for _ in range(times):
        for shown in (True, False):
            app.key("question")
            while bool(told[-1]["note"] if told else False) != shown:
                line = app._lines.get(timeout=40)
                assert line is not None, "the window died"
                told.append(json.loads(line))
    return told


@pytest.mark.window
def test_the_wheel_opens_what_it_comes_near_to_and_closes_it_again(app, twin) -> None:
    path = LAYER
    first = app.state["opened"]
    x, y = spot(twin, path)
    app.screen.do("mousemove", round(x), round(y))
    app.key("d")
    app.wait(lambda s: s["note"] and "automatic" in s["note"][0], "automatic detail is on")
    for _ in range(MOST_NOTCHES):
        if path in notch(app, 4)["opened"]:
            break
    state = app.still(lambda s: path in s["opened"], f"{path} opens by itself")
    assert state["selected"] is None
    answered(app, 3)  # what was still under way comes to its end
    settled = answered(app, 5)
    assert all(s["opened"] == settled[0]["opened"] for s in settled)
    assert all(s["camera"] == settled[0]["camera"] and not s["moving"] for s in settled)
    for _ in range(MOST_NOTCHES):
        if notch(app, 5)["opened"] == first:
            break
    app.still(lambda s: s["opened"] == first, "all is closed again")
    for _ in range(5):
        assert notch(app, 5)["opened"] == first


@pytest.mark.window
def test_without_it_the_wheel_opens_nothing(app, twin) -> None:
    first = app.state["opened"]
    x, y = spot(twin, LAYER)
    app.screen.do("mousemove", round(x), round(y))
    for _ in range(10):
        assert notch(app, 4)["opened"] == first
    for told in ("automatic", "by hand"):
        app.key("d")
        app.wait(lambda s, told=told: s["note"] and told in s["note"][0], f"detail: {told}")


@pytest.mark.window
def test_seeing_everything_closes_what_opened_by_itself(app, twin) -> None:
    first, camera = app.state["opened"], app.state["camera"]
    x, y = spot(twin, LAYER)
    app.screen.do("mousemove", round(x), round(y))
    app.key("d")
    app.wait(lambda s: s["note"] and "automatic" in s["note"][0], "automatic detail is on")
    for _ in range(MOST_NOTCHES):
        if notch(app, 4)["opened"] != first:
            break
    app.key("r")
    app.still(lambda s: s["opened"] == first, "the first picture is back")
    # The strip of the legend may have grown meanwhile: the scene has a little less room then.
    app.still(lambda s: s["camera"] == pytest.approx(camera, rel=0.05), "seen from afar")
    assert all(s["opened"] == first for s in answered(app, 3))
