"""The page, driven in a real Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from web_helpers import AREA, DIGITS, Page, Twin, launch, serving

pytestmark = pytest.mark.browser
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
    yield made
    made.page.close()
    assert made.errors == []


@pytest.fixture
def twin() -> Iterator[Twin]:
    made = Twin(DIGITS)
    yield made
    made.close()


def test_it_loads_a_picture_that_is_not_empty(page: Page, twin: Twin) -> None:
    assert "key" not in page.page.url
    assert page.element("network-name").inner_text() == "digits"
    assert page.nodes() == len(twin.session.draw_list.solids.node)
    page.still()
    seen = page.pixels().astype(float)
    wanted = twin.renderer.image().astype(float)
    assert seen.std() > 20
    # The same picture as drawn here, but for the compression and the hint.
    assert np.abs(seen - wanted).mean() < 4


def test_the_legend_tells_the_scale_and_how_many_of_how_many(page: Page) -> None:
    numbers = [t.inner_text() for t in page.element("tick").all()]
    assert len(numbers) >= 2
    assert float(numbers[-1]) > float(numbers[0]) >= 0
    gradient = page.element("ramp").evaluate("e => getComputedStyle(e).backgroundImage")
    assert gradient.startswith("linear-gradient(")
    lines = " ".join(e.inner_text() for e in page.element("legend-line").all())
    assert re.search(r"\d+ of \d[\d\u202f]* connections", lines)
    assert {"conv", "dense"} <= {k.inner_text().strip() for k in page.element("kind").all()}
    assert page.element("reading").count() == 0


def test_click_opens_and_the_title_closes(page: Page, twin: Twin) -> None:
    before = page.nodes()
    with page.change():
        page.click_at(twin.node("conv_1"))
    crumbs = [c.get_attribute("data-path") for c in page.element("crumb").all()]
    assert "conv_1" in crumbs
    twin.click("conv_1")
    assert page.nodes() == len(twin.session.draw_list.solids.node) == before - 1 + 8

    # On to a single filter: its strongest incoming weights are the file's.
    page.click_at(twin.node("conv_1[3]"))
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=panel-path]')?.innerText === 'conv_1[3]'"
    )
    page.element("incoming").wait_for()
    kernel = _weights("conv_1")
    rms = np.sqrt(np.square(kernel[:, :, 0, 3].astype(float)).mean())
    assert page.element("incoming").inner_text().split()[-1] == f"{rms:.6g}"

    page.click_at(twin.title("conv_1"))
    page.wait_nodes(f"n === {before}")


def test_what_is_clicked_stays_where_it_is_and_undo_takes_it_back(page: Page, twin: Twin) -> None:
    page.still()
    before, nodes = page.pixels().astype(float), page.nodes()
    assert page.element("undo").is_disabled()
    place = twin.node("digit")
    with page.change():
        page.click_at(place)
    assert page.nodes() == nodes - 1 + 10
    # The page shows it where the camera, carried along with the node, sees it.
    twin.click("digit")
    wanted = twin.renderer.image().astype(float)
    assert np.abs(page.pixels() - wanted).mean() < 4
    assert np.abs(page.pixels() - before).mean() > 4

    with page.change():
        page.element("undo").click()
    assert page.nodes() == nodes
    assert np.abs(page.pixels() - before).mean() < 3  # the camera came back, too
    assert page.element("undo").is_disabled()
    with page.change():
        page.page.keyboard.press("Control+y")
    assert np.abs(page.pixels() - wanted).mean() < 4
    with page.change():
        page.page.keyboard.press("Control+z")
    assert page.nodes() == nodes


def test_a_title_that_is_clicked_becomes_the_node_at_the_pointer(page: Page, twin: Twin) -> None:
    page.click_at(twin.node("conv_1"))
    twin.click("conv_1")
    page.wait_nodes(f"n === {len(twin.session.draw_list.solids.node)}")
    page.still()
    place = twin.title("conv_1")
    with page.change():
        page.click_at(place)
    page.click_at(place)  # it is there: the same place opens it again
    page.wait_nodes(f"n === {len(twin.session.draw_list.solids.node)}")


def test_focus_fades_the_rest_and_escape_ends_it(page: Page) -> None:
    lines = page.element("legend-line")
    page.element("search").fill("hidden")
    page.element("hit").first.click()
    page.element("focus").wait_for()
    with page.change():
        page.page.keyboard.press("r")
    before = page.pixels().astype(float)
    with page.change():
        page.element("focus").click()
    assert lines.first.inner_text().startswith("focus on hidden: 2 neighbours")
    assert page.element("focus").inner_text() == "End focus"
    assert np.abs(page.pixels() - before).mean() > 1
    with page.change():
        page.page.keyboard.press("Escape")
    assert not lines.first.inner_text().startswith("focus")
    assert np.abs(page.pixels() - before).mean() < 1
    assert page.element("panel-path").inner_text() == "hidden"  # still selected


def test_many_open_at_once_all_close_and_the_first_picture_comes_back(page: Page) -> None:
    first = page.nodes()
    page.element("opening").select_option("kind Dense")
    page.wait_nodes(f"n > {first}")
    many = page.nodes()
    page.still()
    page.page.keyboard.press("0")
    page.wait_nodes(f"n < {first}")
    page.still()
    page.element("start-over").click()
    page.wait_nodes(f"n === {first}")
    for _ in range(2):
        page.page.keyboard.press("z")
    page.wait_nodes(f"n === {many}")
    page.page.keyboard.press("?")
    page.element("keys").wait_for()
    page.page.keyboard.press("Escape")
    page.element("keys").wait_for(state="detached")


def test_selecting_shows_configuration_histogram_and_heat_map(page: Page) -> None:
    page.element("search").fill("hidden")
    page.element("hit").first.click()
    page.element("histogram").first.wait_for()
    assert page.element("panel-title").inner_text() == "hidden"
    kernel = _weights("hidden")
    stats = page.element("stats").inner_text()
    assert "256 × 32" in stats
    assert f"{kernel.astype(float).std():.6g}" in stats
    assert f"{float(kernel.min()):.6g}" in stats
    assert "32" in page.element("facts").first.inner_text()
    assert "units" in page.element("config").inner_text()
    page.page.wait_for_selector("[data-testid=matrix-canvas][data-final=true]")
    assert "32 out units × 256 in units" in page.element("matrix-caption").inner_text()
    page.element("weight-tab").nth(1).click()
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=stats]')?.innerText.includes('shape\\t32')"
    )


def test_hover_tells_name_kind_and_shape(page: Page, twin: Twin) -> None:
    x, y = twin.node("conv_1")
    page.page.mouse.move(x, y + 48)
    page.element("tip").wait_for()
    text = page.element("tip").inner_text()
    assert text.startswith("conv_1")
    assert "Conv2D" in text
    assert "8 × 8 × 8" in text


def test_drag_turns_and_is_no_click(page: Page, twin: Twin) -> None:
    page.still()
    before, nodes = page.pixels().astype(float), page.nodes()
    x, y = twin.node("conv_1")
    with page.change():
        page.page.mouse.move(x, y + 48)
        page.page.mouse.down()
        page.page.mouse.move(x + 60, y + 78, steps=5)
        page.page.mouse.up()
    turned = page.pixels().astype(float)
    assert np.abs(turned - before).mean() > 3
    assert page.nodes() == nodes
    with page.change():
        page.element("see-all").click()
    assert np.abs(page.pixels().astype(float) - before).mean() < 3


def test_overlay_layout_theme_and_keys(page: Page) -> None:
    title = page.element("legend").locator("h2")
    first = title.inner_text()
    page.element("overlay").select_option("signed")
    page.page.wait_for_function(
        f"() => document.querySelector('[data-testid=legend] h2')?.innerText !== {first!r}"
    )
    assert any("-" in t.inner_text() or "−" in t.inner_text() for t in page.element("tick").all())
    page.still()
    dark = page.pixels().mean()
    with page.change():
        page.page.keyboard.press("t")
        page.page.wait_for_function("() => document.querySelector('.nn-light') !== null")
    assert page.pixels().mean() > dark + 80
    page.element("layout").select_option("layered")
    page.page.wait_for_function(
        "() => document.querySelector('[data-testid=layout]').value === 'layered'"
    )


@pytest.mark.parametrize("width", [1000, 1081, 1181, 1341, 1501, 1600])
def test_all_tools_and_the_path_are_seen_and_can_be_hit(page: Page, twin: Twin, width: int) -> None:
    with page.change():
        page.click_at(twin.node("conv_1"))
    page.page.set_viewport_size({"width": width, "height": 700})
    page.settled()
    names = "overlay layout opening see-all start-over theme detail draw-by save toggle-panel help"
    hidden = page.page.evaluate(
        """(names) => [...names.split(" "), "search", "crumb-close"].filter((name) => {
            const found = [...document.querySelectorAll(`[data-testid=${name}]`)];
            return !found.length || found.some((element) => {
                const box = element.getBoundingClientRect();
                return [box.left + 1, box.right - 1].some((x) => {
                    const top = document.elementFromPoint(x, (box.top + box.bottom) / 2);
                    return top === null || !element.contains(top);
                });
            });
        })""",
        names,
    )
    assert hidden == []
    page.element("crumb-close").last.click()
    page.page.wait_for_function(
        "() => !document.querySelector('[data-testid=crumb][data-path=conv_1]')"
    )


def test_the_picture_can_be_saved(page: Page) -> None:
    with page.page.expect_download() as download:
        page.element("save").click()
    data = Path(download.value.path()).read_bytes()
    image = Image.open(io.BytesIO(data))
    assert download.value.suggested_filename == "digits.png"
    assert (image.format, image.size) == ("PNG", AREA)
    assert np.asarray(image.convert("RGB")).std() > 20


def test_two_tabs_are_apart(page: Page, browser: Any, url: str, twin: Twin) -> None:
    other = Page(browser, url)
    try:
        before = other.nodes()
        page.click_at(twin.node("conv_1"))
        page.wait_nodes(f"n > {before}")
        page.page.keyboard.press("t")
        page.page.wait_for_function("() => document.querySelector('.nn-light') !== null")
        # The other one answers, and is as it was.
        with other.change():
            other.page.mouse.move(600, 400)
            other.page.mouse.wheel(0, -100)
        assert other.nodes() == before
        assert other.page.locator(".nn-dark").count() == 1
    finally:
        other.page.close()


def test_a_reload_comes_back_to_the_same_view(page: Page, twin: Twin) -> None:
    before = page.nodes()
    page.click_at(twin.node("conv_1"))
    page.wait_nodes(f"n > {before}")
    opened = page.nodes()
    page.page.reload()
    page.settled()
    assert page.nodes() == opened
    # The door's own answer to an address without the key shows in the console.
    page.errors[:] = [e for e in page.errors if "403" not in e]


def test_without_the_key_there_is_no_page(browser: Any, url: str) -> None:
    made = browser.new_page()
    answer = made.goto(url.split("?")[0] + "?key=wslink-secret")
    assert answer.status == 403
    assert "its key included" in made.inner_text("body")
    made.close()


def _weights(layer: str) -> Any:
    """A kernel of the bundled network as Keras' own file format stores it, read by h5py."""
    import json
    import zipfile

    import h5py

    with zipfile.ZipFile(DIGITS) as archive:
        config = json.loads(archive.read("config.json"))
        data = io.BytesIO(archive.read("model.weights.h5"))
    names: dict[str, str] = {}
    for entry in config["config"]["layers"]:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", entry["class_name"]).lower()
        same = sum(1 for v in names.values() if v.rsplit("#")[0] == kind)
        names[entry["config"]["name"]] = f"{kind}#{same}"
    kind, number = names[layer].split("#")
    group = kind.replace("conv2_d", "conv2d") + (f"_{number}" if number != "0" else "")
    with h5py.File(data) as file:
        return np.asarray(file[f"layers/{group}/vars/0"])
