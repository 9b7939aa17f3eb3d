"""Overlays of lines and of boxes in the page, driven in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from web_helpers import DIGITS, Page, launch, serving

pytestmark = pytest.mark.browser
playwright_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with playwright_api.sync_playwright() as playwright, serving(DIGITS) as address:
        browser: Any = launch(playwright)
        made = Page(browser, address)
        yield made
        assert made.errors == []
        browser.close()


def _legend_says(page: Page, text: str) -> None:
    page.element("legend").get_by_text(text, exact=False).first.wait_for()


def test_a_threshold_is_typed_and_stepped(page: Page) -> None:
    assert page.element("threshold").count() == 0
    page.element("overlay").select_option("sparsity")
    _legend_says(page, "|w| ≤ 0.01")
    field = page.element("threshold")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=threshold]')?.value === '0.01'"
    )
    field.fill("0,05")
    field.press("Enter")
    _legend_says(page, "|w| ≤ 0.05")
    field.fill("much")
    field.press("Enter")
    page.element("message").get_by_text("'much' is no number").wait_for()
    field.blur()
    page.page.keyboard.press(".")
    _legend_says(page, "|w| ≤ 0.1")
    assert page.element("tick").first.inner_text() == "0 %"


def test_boxes_are_coloured_by_their_units(page: Page) -> None:
    assert page.element("boxes").count() == 0
    page.element("units").select_option("incoming")
    page.element("boxes").get_by_text("norm of a unit's incoming weights").wait_for()
    assert page.element("kind").count() == 0
    page.element("units").evaluate("e => e.blur()")
    page.page.keyboard.press("n")
    page.element("boxes").get_by_text("outgoing").wait_for()
    page.element("units").select_option("kind")
    page.element("kind").first.wait_for()
    assert page.element("boxes").count() == 0
