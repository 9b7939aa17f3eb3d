"""The figure of a weight in the page, driven in a real Chromium."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from web_helpers import DIGITS, Page, launch, serving

from explorer.drawing.color_scale import fit_scale
from explorer.drawing.themes import THEMES

pytestmark = pytest.mark.browser
playwright_api = pytest.importorskip("playwright.sync_api")
keras = pytest.importorskip("keras")
LEFT = 36  # pixels of the canvas that the numbers of the rows take


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
    yield made
    made.page.close()
    assert made.errors == []


@pytest.fixture(scope="module")
def kernels() -> dict[str, NDArray[np.float32]]:
    loaded = keras.models.load_model(DIGITS, compile=False)
    return {la.name: np.asarray(la.get_weights()[0]) for la in loaded.layers if la.get_weights()}


def _show(page: Page, layer: str) -> None:
    page.element("search").fill(layer)
    page.element("hit").first.click()
    _final(page)


def _final(page: Page) -> None:
    page.page.wait_for_selector("[data-testid=matrix-canvas][data-final=true]")


def _picture(page: Page) -> dict[str, Any]:
    return dict(page.page.evaluate("() => window.trame.state.get('matrix_picture')"))


def _view(page: Page) -> list[float]:
    return [float(v) for v in page.element("matrix-canvas").get_attribute("data-view").split()]


def _at(page: Page, x: float, y: float) -> tuple[float, float]:
    """A pixel of the figure, on the screen."""
    box = page.element("matrix-canvas").bounding_box()
    return box["x"] + LEFT + x, box["y"] + y


def _whole(page: Page, rows: int, columns: int, condition: str = "") -> None:
    page.page.wait_for_function(
        f"() => {{ const p = window.trame.state.get('matrix_picture'); return p && p.final"
        f" && p.rows[1] - p.rows[0] {condition or '=='} {rows}"
        f" && p.columns[1] - p.columns[0] {condition or '=='} {columns}; }}"
    )


def test_the_picture_is_the_kernel_in_the_colours_of_its_scale(
    page: Page, kernels: dict[str, NDArray[np.float32]]
) -> None:
    _show(page, "hidden")
    picture = _picture(page)
    assert (picture["rows"], picture["columns"]) == ([0, 32, 1], [0, 256, 1])
    data = base64.b64decode(picture["url"].split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    size = np.abs(kernels["hidden"].T.astype(float))
    scale = fit_scale(size.ravel(), THEMES["dark"].sequential, False)
    wanted = scale.colors(size.ravel()).reshape(32, 256, 3)
    assert np.abs(pixels[..., :3].astype(int) - wanted).max() <= 1
    assert (pixels[..., 3] == 255).all()
    assert [t["text"] for t in picture["scale"]] == [text for _, text in scale.ticks()]


def test_the_wheel_zooms_to_single_weights_about_the_pointer(
    page: Page, kernels: dict[str, NDArray[np.float32]]
) -> None:
    _show(page, "hidden")
    before = _view(page)
    assert before == [0.0, 0.0, 32.0, 256.0]
    wide, high = page.page.evaluate("() => window.trame.state.get('matrix').figure")
    x, y = 0.37 * wide, 0.61 * high
    page.page.mouse.move(*_at(page, x, y))
    row, column = int(0.61 * 32), int(0.37 * 256)
    for _ in range(30):
        page.page.mouse.wheel(0, -100)
    _whole(page, 10, 10, "<")
    page.page.wait_for_function("() => window.trame.state.get('matrix_picture').numbers.length > 0")
    top, left, height, width = _view(page)
    assert top <= row < top + height
    assert left <= column < left + width
    picture = _picture(page)
    r0, c0 = picture["rows"][0], picture["columns"][0]
    shown = kernels["hidden"].T[r0 : picture["rows"][1], c0 : picture["columns"][1]]
    assert picture["numbers"] == [[f"{v:.2g}" for v in line] for line in shown.tolist()]
    page.page.mouse.move(*_at(page, x + 1, y))
    told = page.element("matrix-told")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=matrix-told]')?.innerText.includes('out unit')"
    )
    value = kernels["hidden"][column, row]
    text = told.inner_text()
    assert f"{value:.7g}" in text
    assert f"kernel[{column}, {row}]" in text
    page.page.mouse.dblclick(*_at(page, x, y))
    _whole(page, 32, 256)


def test_a_drag_moves_and_does_not_turn_the_network(page: Page) -> None:
    _show(page, "hidden")
    page.still()
    number = page.data("picture")
    page.page.mouse.move(*_at(page, 100, 40))
    for _ in range(8):
        page.page.mouse.wheel(0, -100)
    before = _view(page)
    page.page.mouse.down()
    page.page.mouse.move(*_at(page, 60, 30), steps=4)
    page.page.mouse.up()
    after = _view(page)
    assert after[1] > before[1]
    assert after[0] > before[0]
    assert after[2:] == before[2:]
    assert page.data("picture") == number


def test_a_convolution_shows_its_kernels_and_each_tap(
    page: Page, kernels: dict[str, NDArray[np.float32]]
) -> None:
    _show(page, "conv_1")
    kernel = kernels["conv_1"]
    assert f"{kernel.shape[-1]} filters, each 3 × 3" in page.element("matrix-caption").inner_text()
    page.element("matrix-order").select_option("index")
    _final(page)
    page.page.mouse.move(*_at(page, 2, 2))
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=matrix-told]')?.innerText.includes('filter 0')"
    )
    assert f"{kernel[0, 0, 0, 0]:.7g}" in page.element("matrix-told").inner_text()
    page.element("matrix-mode").select_option("matrix")
    page.element("matrix-tap").select_option("4")
    _whole(page, kernel.shape[-1], 1)
    page.page.mouse.move(*_at(page, 5, 5))
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=matrix-told]')"
        "?.innerText.includes('out unit 0')"
    )
    assert f"{kernel[1, 1, 0, 0]:.7g}" in page.element("matrix-told").inner_text()


def test_a_bias_is_a_strip(page: Page) -> None:
    _show(page, "hidden")
    page.element("weight-tab").nth(1).click()
    _whole(page, 1, 32)
    assert "32 units" in page.element("matrix-caption").inner_text()


def test_the_overlay_colours_it(page: Page) -> None:
    _show(page, "hidden")
    page.element("overlay").select_option("signed")
    page.page.wait_for_function(
        "() => window.trame.state.get('matrix_picture').title === 'mean w, with sign'"
    )
    low, high = (_picture(page)["scale"][i]["text"] for i in (0, -1))
    assert low == f"-{high}"


def _saved(page: Page, what: str) -> bytes:
    with page.page.expect_download() as download:
        page.page.locator(f"[data-export='{what}']").click()
    assert download.value.suggested_filename == what
    return Path(download.value.path()).read_bytes()


def test_what_is_seen_can_be_saved_as_numbers(
    page: Page, kernels: dict[str, NDArray[np.float32]]
) -> None:
    _show(page, "hidden")
    kernel = kernels["hidden"].T
    cells = np.load(io.BytesIO(_saved(page, "cells.npy")))
    np.testing.assert_array_equal(cells, kernel)
    lines = _saved(page, "weights.csv").decode().splitlines()
    assert lines[0] == "out unit \\ in unit," + ",".join(map(str, range(256)))
    assert [np.float32(v) for v in lines[4].split(",")[1:]] == kernel[3].tolist()
    page.element("histogram").first.wait_for()
    bars = np.load(io.BytesIO(_saved(page, "histogram.npy")))
    np.testing.assert_array_equal(bars[:, 2], np.histogram(kernel.astype(float), 64)[0])


def test_numbers_need_the_key_and_an_open_tab(page: Page, url: str) -> None:
    _show(page, "hidden")
    base, key = url.split("/?")
    tab = page.page.evaluate("() => window.trame.state.get('tab_name')")
    ask = page.page.request.get
    asked = f"{base}/shown?what=cells&kind=npy"
    assert ask(f"{asked}&tab={tab}").status == 403
    assert ask(f"{asked}&tab={tab}&key=nonsense").status == 403
    assert ask(f"{asked}&tab=other&{key}").status == 404
    assert ask(f"{base}/shown?what=../x&kind=npy&tab={tab}&{key}").status == 404
    found = ask(f"{asked}&tab={tab}&{key}")
    assert found.status == 200
    assert found.headers["content-disposition"] == 'attachment; filename="cells.npy"'
    assert found.headers["x-content-type-options"] == "nosniff"
