"""The colour scale in the page: its histogram, its ends under the pointer and the arrow keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from web_helpers import DIGITS, Page, launch, serving

playwright_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        made = launch(playwright)
        yield made
        made.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(DIGITS) as address:
        yield address


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    made = Page(browser, url)
    made.page.keyboard.press("m")
    made.element("scale").wait_for()
    yield made
    made.page.close()
    assert made.errors == []


def axis(page: Page) -> tuple[dict[str, float], list[float]]:
    """Where the axis lies on the screen, and the magnitudes at its ends."""
    box = page.element("scale-axis")
    text = str(box.get_attribute("data-axis"))
    return box.bounding_box(), [float(word) for word in text.split()]


def ends(page: Page) -> list[float]:
    box = page.element("scale-axis")
    return [float(str(box.get_attribute(f"data-{end}"))) for end in ("low", "high")]


def wait_end(page: Page, end: str, value: float) -> None:
    page.page.wait_for_function(
        "([end, value]) => Math.abs(+document.querySelector('[data-testid=scale-axis]')"
        ".dataset[end] - value) <= 1e-6 * value",
        arg=[end, value],
    )


def drag(page: Page, start: float, *stops: float) -> float:
    """Drag on the axis between shares of its width; the magnitude at the last."""
    box, (low, high) = axis(page)
    y = box["y"] + 30
    page.page.mouse.move(box["x"] + start * box["width"], y)
    page.page.mouse.down()
    for stop in stops:
        page.page.mouse.move(box["x"] + stop * box["width"], y)
    page.page.mouse.up()
    return float(low * (high / low) ** stops[-1])


@pytest.mark.browser
def test_a_drag_sets_the_range_in_steps_and_is_undone_as_one(page: Page) -> None:
    page.page.wait_for_function("() => document.querySelector('[data-testid=scale-fit]').disabled")
    first = ends(page)
    page.still()
    before, box = page.pixels().astype(float), axis(page)[0]
    wanted = drag(page, 0.02, *np.linspace(0.1, 0.6, 9))
    wait_end(page, "low", wanted)
    assert ends(page)[1] == first[1]
    assert page.element("scale-low-number").input_value() == f"{wanted:.3g}"
    assert "range set by hand" in page.element("legend").inner_text()
    assert "≤ " in page.element("tick").first.inner_text()
    page.still()
    seen = page.pixels().astype(float)
    assert np.abs(seen - before)[: int(box["y"]) - 100].max() > 40  # the edges have other colours
    handle = page.element("scale-low").bounding_box()
    assert handle["x"] + handle["width"] / 2 == pytest.approx(box["x"] + 0.6 * box["width"], abs=2)
    high = drag(page, 0.98, 0.95, 0.8)
    wait_end(page, "high", high)
    page.element("undo").click()
    wait_end(page, "high", first[1])
    wait_end(page, "low", wanted)
    page.element("undo").click()
    wait_end(page, "low", first[0])
    assert page.element("undo").is_disabled()


@pytest.mark.browser
def test_arrow_keys_and_numbers_set_the_ends(page: Page) -> None:
    _, (low, high) = axis(page)
    handle = page.element("scale-high")
    assert handle.get_attribute("role") == "slider"
    handle.focus()
    page.page.keyboard.press("ArrowLeft")
    wait_end(page, "high", low * (high / low) ** 0.99)
    page.page.keyboard.press("PageDown")
    wait_end(page, "high", low * (high / low) ** 0.89)
    page.page.keyboard.press("End")
    wait_end(page, "high", high)
    assert float(str(handle.get_attribute("aria-valuenow"))) == pytest.approx(high)
    field = page.element("scale-low-number")
    field.fill("0.05")
    field.press("Enter")
    wait_end(page, "low", 0.05)
    field.fill("900")  # above the high end
    field.press("Enter")
    page.element("message").wait_for()
    assert "a range is two numbers" in page.element("message").inner_text()
    assert field.input_value() == "0.0500"
    field.fill("nonsense")
    field.press("Enter")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=scale-low-number]').value === '0.0500'"
    )
    page.element("scale-axis").dblclick(position={"x": 150, "y": 20})
    page.page.wait_for_function("() => document.querySelector('[data-testid=scale-fit]').disabled")


@pytest.mark.browser
def test_the_kind_is_chosen_and_every_kind_tells_itself(page: Page) -> None:
    heading = page.element("legend").locator("h2")
    for name, told in (("rank", "by rank"), ("linear", "linear"), ("log", "log")):
        page.element("scale-kind").select_option(name)
        page.page.wait_for_function(
            "(told) => document.querySelector('[data-testid=legend] h2')?.innerText.includes(told)",
            arg=told,
        )
        assert told in heading.inner_text()
    page.element("scale-kind").evaluate("(e) => e.blur()")
    page.page.keyboard.press("k")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=scale-kind]').value === 'rank'"
    )
    page.page.keyboard.press("m")
    page.element("scale").wait_for(state="detached")
    page.element("ramp").click()
    page.element("scale").wait_for()


@pytest.mark.browser
def test_a_browser_that_draws_shows_the_colours_too(page: Page) -> None:
    page.still()
    page.element("draw-by").click()
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=draw-by]')?.innerText.includes('browser')"
    )
    page.page.wait_for_selector("#nn-drawn canvas")
    page.still()
    before, box = page.pixels().astype(float), axis(page)[0]
    wanted = drag(page, 0.02, 0.2, 0.4, 0.7)
    wait_end(page, "low", wanted)
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=page]').dataset.still === 'true'"
    )
    for _ in range(100):
        seen = page.pixels().astype(float)
        if np.abs(seen - before)[: int(box["y"]) - 100].max() > 40:
            break
    else:
        pytest.fail("the edges kept their colours")
