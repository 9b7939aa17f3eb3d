"""The scene as a real Chromium draws it, with WebGL on the processor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from web_helpers import AREA, DIGITS, TOP, Page, Twin, serving

from explorer.viewing import orbit
from explorer.viewing.dolly import dolly, kept
from explorer.viewing.on_screen import Screen
from explorer.web.drawn import camera_row

pytestmark = pytest.mark.browser
playwright_api = pytest.importorskip("playwright.sync_api")
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
DRAWN = "document.querySelector('[data-testid=drawn]')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *SOFTWARE]
        )
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


def rest(page: Page) -> None:
    """Wait until the browser's own picture has come to rest."""
    page.page.wait_for_function(
        f"() => {DRAWN}.dataset.still === 'true' && {DRAWN}.dataset.number"
        " === String(window.trame.state.get('scene'))",
        timeout=60_000,
    )


def switch(page: Page) -> None:
    """The page draws the scene from now on."""
    page.still()
    page.page.keyboard.press("g")
    page.page.wait_for_function("() => window.trame.state.get('drawn_by') === 'browser'")
    rest(page)


def back(page: Page) -> None:
    """The server draws the scene again, and its picture is what is seen."""
    page.page.keyboard.press("g")
    page.page.wait_for_function(f"() => !{DRAWN}.childElementCount", timeout=60_000)
    page.still()


def drag(page: Page, across: int, down: int) -> None:
    mouse = page.page.mouse
    mouse.move(600, 420)
    mouse.down()
    mouse.move(600 + across, 420 + down, steps=5)
    mouse.up()
    page.page.wait_for_function(f"() => {DRAWN}.dataset.still === 'false'")
    rest(page)


@contextmanager
def next_scene(page: Page) -> Iterator[None]:
    """From one scene of the server's to the next one at rest."""
    before = page.page.evaluate("() => window.trame.state.get('scene')")
    yield
    page.page.wait_for_function(f"() => window.trame.state.get('scene') > {before}", timeout=60_000)
    rest(page)


def coarse(image: Any) -> NDArray[np.float64]:
    """The picture in squares of 4 pixels."""
    rows, columns = (n // 4 * 4 for n in image.shape[:2])
    squares = image[:rows, :columns].reshape(rows // 4, 4, columns // 4, 4, 3)
    return np.asarray(squares.astype(float).mean(axis=(1, 3)))


def apart(a: Any, b: Any) -> float:
    return float(np.abs(coarse(a) - coarse(b)).mean())


def labels(page: Page) -> list[tuple[str, float, float, float, float]]:
    found = page.page.evaluate(
        f"""() => [...{DRAWN}.querySelectorAll('.nd-label')].filter(e => !e.hidden).map(e => {{
          const r = e.getBoundingClientRect();
          return [e.textContent, r.left, r.top, r.right, r.bottom]; }})"""
    )
    return [tuple(row) for row in found]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_both_draw_the_same_picture_and_keep_the_camera(page: Page, theme: str) -> None:
    if theme == "light":
        with page.change():
            page.page.keyboard.press("t")
            page.page.wait_for_function("() => document.querySelector('.nn-light') !== null")
    page.still()
    server = page.pixels()
    switch(page)
    drawn = page.pixels()
    assert coarse(drawn).std() > 10
    assert apart(drawn, server) < 2.5
    drag(page, 90, 40)
    turned = page.pixels()
    assert apart(turned, drawn) > 3
    back(page)
    assert apart(page.pixels(), turned) < 2.5


def test_labels_never_overlap_and_stay_in_the_picture(page: Page) -> None:
    switch(page)
    seen = set()
    for across, down, wheel in ((0, 6, 0), (120, 40, -300), (-260, 90, -200), (40, -200, 500)):
        drag(page, across, down)
        page.page.mouse.wheel(0, wheel)
        page.page.wait_for_timeout(30)
        for moving in (True, False):
            if not moving:
                rest(page)
            found = labels(page)
            seen |= {row[0] for row in found}
            for i, (_, left, top, right, bottom) in enumerate(found):
                assert left >= -0.5
                assert right <= AREA[0] + 0.5
                assert top >= TOP - 0.5
                assert bottom <= TOP + AREA[1] + 0.5
                for name, *other in found[i + 1 :]:
                    shared = min(right, other[2]) - max(left, other[0])
                    high = min(bottom, other[3]) - max(top, other[1])
                    assert shared <= 1e-6 or high <= 1e-6, (found[i][0], name)
        assert found
    assert {"conv_1", "hidden"} <= seen


def test_labels_are_those_of_the_server(page: Page, twin: Twin) -> None:
    switch(page)
    wanted = {p.label.text: (p.left, p.top) for p in twin.renderer.placed_labels()}
    found = {row[0]: (row[1], row[2] - TOP) for row in labels(page)}
    assert len(set(wanted) & set(found)) >= 0.8 * len(wanted)
    far = [n for n in wanted if n in found and np.abs(np.subtract(wanted[n], found[n])).max() > 40]
    assert len(far) <= 0.2 * len(wanted), far


def test_click_opens_a_node_and_its_title_closes_it(page: Page, twin: Twin) -> None:
    switch(page)
    before = page.nodes()
    with next_scene(page):
        page.click_at(twin.node("conv_1"))
    assert page.nodes() == before + 7
    crumbs = [c.get_attribute("data-path") for c in page.element("crumb").all()]
    assert "conv_1" in crumbs
    (title,) = [row for row in labels(page) if row[0].startswith("conv_1")][:1]
    with next_scene(page):
        page.page.mouse.click((title[1] + title[3]) / 2, (title[2] + title[4]) / 2)
    assert page.nodes() == before


def test_hover_tells_the_exact_value(page: Page, twin: Twin) -> None:
    switch(page)
    edge, (x, y) = _an_edge(twin)
    page.page.mouse.move(x, y + TOP)
    page.element("tip").wait_for()
    told = page.element("tip").inner_text().split("\n")
    assert told == twin.session.describe_edge(edge).split(" · ")
    values = twin.session.draw_list.edges
    assert any(f"{values.signed_mean[edge]:.9g}" in t or "RMS" in t for t in told)


def _an_edge(twin: Twin) -> tuple[int, tuple[int, int]]:
    """An edge that stands for weights, and a pixel where nothing else is within reach."""
    drawn = twin.session.draw_list
    for y in range(20, AREA[1], 3):
        for x in range(20, AREA[0], 3):
            pick = twin.renderer.pick(x, y)
            if pick.node is not None or pick.edge is None or not drawn.edges.weights[pick.edge]:
                continue
            around = [twin.renderer.pick(x + i, y + j) for i in (-1, 1) for j in (-1, 1)]
            if all(p.edge == pick.edge and p.node is None for p in around):
                return pick.edge, (x, y)
    raise AssertionError("no edge stands alone")


def test_lost_graphics_lead_back_to_the_servers_pictures(page: Page) -> None:
    switch(page)
    page.page.evaluate(
        f"{DRAWN}.querySelector('canvas').getContext('webgl2')"
        ".getExtension('WEBGL_lose_context').loseContext()"
    )
    page.element("message").wait_for()
    assert "WebGL" in page.element("message").inner_text()
    page.page.wait_for_function("() => window.trame.state.get('drawn_by') === 'server'")
    with page.change():
        page.page.mouse.move(600, 420)
        page.page.mouse.wheel(0, -100)
    assert coarse(page.pixels()).std() > 10


class Blind:
    """A browser without WebGL 2."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def new_page(self, **options: Any) -> Any:
        made = self._browser.new_page(**options)
        made.add_init_script(
            "const real = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            " return kind === 'webgl2' ? null : real.call(this, kind, ...rest); };"
        )
        return made


def test_without_webgl_the_server_goes_on(browser: Any, url: str) -> None:
    page = Page(Blind(browser), url)
    page.still()
    page.page.keyboard.press("g")
    page.element("message").wait_for()
    assert "WebGL" in page.element("message").inner_text()
    page.page.wait_for_function("() => window.trame.state.get('drawn_by') === 'server'")
    with page.change():
        page.page.mouse.move(600, 420)
        page.page.mouse.wheel(0, -100)
    page.page.close()
    assert page.errors == []


def test_names_are_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    found = page.page.evaluate(
        """async (name) => {
          const { Labels } = await import(new URL('page/drawn_labels.js', document.baseURI));
          const host = document.createElement('div');
          const none = { count: 0, centers: [], sizes: [], colors: [], node: [] };
          const labels = new Labels(host);
          labels.load({ solids: none, frames: none, labels: { count: 1, texts: [name],
            anchors: new Float32Array(3), priorities: [1], node: [-1], flags: [0] } },
            { px: { label: 15, title: 18 }, ink: { text: [0, 0, 0], title: [0, 0, 0],
              faded: [0, 0, 0], halo: [0, 0, 0] } }, 1);
          const [label] = labels.labels;
          Object.assign(label, { shown: { x: 0, y: 0 }, place: { variant: 0, w: 9, h: 9 } });
          labels.show();
          const element = host.querySelector('.nd-label');
          return [element.textContent, element.childElementCount]; }""",
        name,
    )
    assert found == [name, 0]


def test_the_camera_comes_along_on_a_reload_and_who_draws_is_remembered(page: Page) -> None:
    switch(page)
    drag(page, 70, 30)
    before = page.pixels()
    page.page.reload()
    page.settled()
    page.page.wait_for_function("() => window.trame.state.get('drawn_by') === 'browser'")
    rest(page)
    assert apart(page.pixels(), before) < 1.5
    # The door's own answer to an address without the key shows in the console.
    page.errors[:] = [e for e in page.errors if "403" not in e]


def test_the_wheel_leads_where_it_leads_in_a_servers_picture(page: Page, twin: Twin) -> None:
    solids = twin.session.draw_list.solids
    home = twin.session.camera_for(None, AREA[0] / AREA[1])
    cases, wanted = [], []
    for pixel in [(400.0, 300.0), (640.0, 380.0), (20.0, 20.0), (1200.0, 700.0)]:
        camera = home
        for factor in [1.4] * 30 + [0.5] * 40:
            screen = Screen(camera, AREA, pixel)
            cases.append([camera_row(camera), factor, pixel])
            camera = dolly(screen, solids.centers, solids.sizes, factor)
            wanted.append(camera_row(camera))
    for across in (0.3, -3.0):
        moved = orbit.shift(home, across, 0.1)
        cases.append([camera_row(home), camera_row(moved), None])
        kept_there = kept(Screen(home, AREA), moved, solids.centers, solids.sizes)
        wanted.append(camera_row(kept_there))
        assert (kept_there == home) == (across == -3.0)
    found = page.page.evaluate(
        """async ([centers, sizes, area, cases]) => {
          const url = (name) => new URL(`page/${name}.js`, document.baseURI);
          const { dolly, kept } = await import(url('drawn_dolly'));
          const { cameraOf, rowOf } = await import(url('drawn_space'));
          const solids = { count: centers.length / 3,
            centers: Float32Array.from(centers), sizes: Float32Array.from(sizes) };
          return cases.map(([row, by, at]) => rowOf(at
            ? dolly(cameraOf(row), solids, area, by, at)
            : kept(cameraOf(row), cameraOf(by), solids, area))); }""",
        [solids.centers.ravel().tolist(), solids.sizes.ravel().tolist(), list(AREA), cases],
    )
    assert np.abs(np.subtract(found, wanted)).max() < 1e-6
    assert len({tuple(row) for row in wanted}) > 40


@pytest.mark.parametrize("who", ["server", "browser"])
def test_a_first_picture_fits_a_page_of_another_size_until_it_is_moved(
    page: Page, twin: Twin, who: str
) -> None:
    page.still()
    if who == "browser":
        switch(page)
    before = int(page.data("picture"))
    page.page.set_viewport_size({"width": 1000, "height": 900})
    if who == "server":
        page.still(before)
        switch(page)
    width, height = page.page.evaluate(f"() => [{DRAWN}.clientWidth, {DRAWN}.clientHeight]")
    assert width / height < 0.9 * AREA[0] / AREA[1]
    page.page.wait_for_function(
        f"""(row) => {DRAWN}.dataset.still === 'true' && {DRAWN}.dataset.camera.split(' ')
          .every((v, i) => Math.abs(v - row[i]) < 1e-6)""",
        arg=camera_row(twin.session.camera_for(None, width / height)),
        timeout=60_000,
    )
    drag(page, 60, 30)
    moved = page.page.evaluate(f"() => {DRAWN}.dataset.camera")
    pictures = int(page.page.evaluate(f"() => {DRAWN}.dataset.pictures"))
    page.page.set_viewport_size({"width": 1600, "height": 900})
    page.page.wait_for_function(f"() => +{DRAWN}.dataset.pictures > {pictures}")
    rest(page)
    assert page.page.evaluate(f"() => {DRAWN}.dataset.camera") == moved


def test_nothing_is_still_before_what_is_new_has_come(page: Page) -> None:
    switch(page)
    drag(page, 200, 40)
    page.page.evaluate(
        f"""() => {{
          window.told = [];
          const host = {DRAWN}, scene = () => window.trame.state.get('scene'), from = scene();
          const look = () => {{
            const {{ still, number }} = host.dataset;
            if (still === 'true' && scene() > from) window.told.push(+number === scene());
            if (!window.told.length) requestAnimationFrame(look);
          }};
          look();
        }}"""
    )
    with next_scene(page):
        page.page.keyboard.press("r")
    page.page.wait_for_function("() => window.told.length")
    assert page.page.evaluate("() => window.told") == [True]


def test_a_drag_at_the_scale_sends_colours_alone(page: Page) -> None:
    switch(page)
    page.page.evaluate(
        """() => { const real = window.trame.trigger; window.sent = [];
          window.trame.trigger = async (name, ...rest) => {
            const found = await real.call(window.trame, name, ...rest);
            if (name === 'scene') window.sent.push(found.byteLength);
            return found; }; }"""
    )
    before = page.pixels()
    low, high = page.page.evaluate(
        "() => { const b = window.trame.state.get('legend').bar; return [b.low, b.high]; }"
    )
    with next_scene(page):
        page.page.evaluate(
            f"() => window.trame.trigger('act', ['range', {low}, {low + (high - low) / 8}, 77])"
        )
    changed = page.pixels()
    assert apart(changed, before) > 0.1
    colors = page.page.evaluate("() => window.sent")
    assert colors
    back(page)
    switch(page)  # now all of it is sent, once or more
    assert max(colors) < max(page.page.evaluate("() => window.sent")) / 5
    assert apart(page.pixels(), changed) < apart(changed, before) / 4
