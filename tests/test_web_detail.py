"""Automatic detail in the page: the wheel alone opens and closes, whoever draws the picture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from web_helpers import AREA, DIGITS, TOP, Page, Twin, serving

pytestmark = pytest.mark.browser
playwright_api = pytest.importorskip("playwright.sync_api")
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
DRAWN = "document.querySelector('[data-testid=drawn]')"
MOST_TURNS = 16


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *SOFTWARE]
        )
        yield made
        made.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    with serving(DIGITS) as url:
        made = Page(browser, url)
        yield made
        made.page.close()
        assert made.errors == []


@pytest.fixture
def twin() -> Iterator[Twin]:
    made = Twin(DIGITS)
    yield made
    made.close()


def middle(twin: Twin, path: str) -> tuple[float, float]:
    """The pixel in the middle of those where a node is picked."""
    node = twin.session.draw_list.nodes.index(path)
    every = ((x, y) for y in range(4, AREA[1], 12) for x in range(4, AREA[0], 12))
    found = [at for at in every if twin.renderer.pick(*at).node == node]
    return tuple(np.median(np.array(found), axis=0).tolist())


def turn(page: Page, notches: int) -> int:
    """Turn the wheel (positive: away); how many nodes there are when all has come to rest."""
    with page.change():
        page.page.mouse.wheel(0, 100 * notches)
    rest(page)
    return page.nodes()


def rest(page: Page) -> None:
    """Wait until no more pictures come; each change ends with a picture of its own."""
    while True:
        page.still()
        before = page.data("picture")
        # What is due begins within a few looks; a look is asked for and answered each time.
        for _ in range(8):
            page.page.evaluate("() => new Promise(done => setTimeout(done, 100))")
        if page.data("picture") == before and page.data("still") == "true":
            return


@pytest.mark.parametrize("who", ["server", "browser"])
def test_the_wheel_opens_what_it_comes_near_to_and_closes_it_again(
    page: Page, twin: Twin, who: str
) -> None:
    page.still()
    if who == "browser":
        page.element("draw-by").click()
        page.page.wait_for_function("() => window.trame.state.get('drawn_by') === 'browser'")
        page.page.wait_for_function(f"() => {DRAWN}.dataset.still === 'true'")
    first = page.nodes()
    x, y = middle(twin, "hidden")
    page.page.mouse.move(x, y + TOP)
    assert turn(page, -1) == first, "not yet switched on"
    page.page.keyboard.press("d")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=detail]').ariaPressed === 'true'"
    )
    opened = next((n for _ in range(MOST_TURNS) if (n := turn(page, -1)) != first), first)
    assert opened > first, "nothing opened by itself"
    assert page.page.evaluate("() => window.trame.state.get('crumbs')") == [], "selected"
    picture, pixels = page.data("picture"), page.pixels()
    rest(page)
    assert page.data("picture") == picture, "a picture at rest changes"
    assert (page.pixels() == pixels).all()
    closed = next((n for _ in range(MOST_TURNS) if (n := turn(page, 1)) == first), 0)
    assert closed == first, "what opened does not close"
    assert page.page.evaluate("() => window.trame.state.get('can_undo')") is False


def test_seeing_everything_brings_the_first_picture_back(page: Page, twin: Twin) -> None:
    page.still()
    first = page.nodes()
    x, y = middle(twin, "hidden")
    page.element("detail").click()
    page.page.mouse.move(x, y + TOP)
    assert next((n for _ in range(MOST_TURNS) if (n := turn(page, -1)) != first), 0) > first
    with page.change():
        page.page.keyboard.press("r")
    rest(page)
    assert page.nodes() == first
