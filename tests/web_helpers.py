"""A server of its own for each test, a browser for all, and where things are in the picture."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explorer.open_model import OpenModel
from explorer.renderer import Renderer
from explorer.session.flight import Held, held
from explorer.session.session import Session
from explorer.viewing.on_screen import Screen

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "scenes" / "digits.keras"
WINDOW = {"width": 1600, "height": 900}
#: What is left for the picture beside the panel, under the bar, above the legend.
AREA = (1260, 764)
TOP = 48


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The command in a process of its own; yields the page's address. Ctrl-C must end it well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "explorer", "serve", str(path), "--port", "0", "--no-browser"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Neuronaut is at http://127.0.0.1:"), line
        yield line.split(" at ")[1].strip()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, 130), (process.returncode, errors)
    assert "Traceback" not in errors, errors


def launch(playwright: Any) -> Any:
    """A headless Chromium: the system's, else the one that the test package brought."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )


class Page:
    """The page as a person sees it, with what tests ask of it."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page(viewport=WINDOW)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.goto(url)
        self.settled()

    def element(self, name: str) -> Any:
        """The element with this test id."""
        return self.page.locator(f"[data-testid={name}]")

    def data(self, name: str) -> str:
        """A data attribute of the page's root."""
        return str(self.element("page").get_attribute(f"data-{name}"))

    def nodes(self) -> int:
        """Number of closed nodes in the picture."""
        return int(self.data("nodes"))

    def settled(self) -> None:
        """Wait for a picture with all weights read."""
        self.page.wait_for_function(
            "() => { const p = document.querySelector('[data-testid=page]');"
            " return p && +p.dataset.picture > 0 && p.dataset.pending === 'false'; }",
            timeout=60_000,
        )

    def wait_nodes(self, test: str) -> None:
        """Wait until the number of nodes passes a JavaScript test on ``n``."""
        self.page.wait_for_function(
            "() => { const n = +document.querySelector('[data-testid=page]').dataset.nodes;"
            f" return {test}; }}",
            timeout=30_000,
        )

    def still(self, after: int = 0) -> None:
        """Wait until the picture has come to rest, at one that is newer than this number."""
        self.page.wait_for_function(
            "() => { const p = document.querySelector('[data-testid=page]').dataset;"
            f" return p.still === 'true' && +p.picture > {after}; }}",
            timeout=60_000,
        )

    @contextmanager
    def change(self) -> Iterator[None]:
        """From one picture at rest to the next."""
        self.still()
        before = int(self.data("picture"))
        yield
        self.still(before)

    def pixels(self) -> Any:
        """The picture's area on the screen: uint8, shape (height, width, 3)."""
        import io

        import numpy as np
        from PIL import Image

        clip = {"x": 0, "y": TOP, "width": AREA[0], "height": AREA[1]}
        shot = self.page.screenshot(clip=clip)
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def click_at(self, place: tuple[float, float]) -> None:
        """Click at a place of the picture, pixels from its top left."""
        self.page.mouse.click(place[0], place[1] + TOP)


class Twin:
    """The same view as the page's, computed here, to know where things are in the picture."""

    def __init__(self, path: Path) -> None:
        self.session = Session(OpenModel.open(str(path)), None, AREA[0] / AREA[1])
        self.renderer = Renderer(AREA, legend=False)
        self.look(None)

    def look(self, path: str | None) -> None:
        """Draw the session's picture as the page shows it after flying to a node."""
        self.session.wait()
        self.renderer.draw(self.session.draw_list)
        self.renderer.camera = self.session.camera_for(path, AREA[0] / AREA[1])
        self.renderer.render()

    def click(self, path: str, pixel: tuple[float, float] | None = None) -> None:
        """Draw what the page shows after a click on a node, or at a pixel of its title."""
        before, camera = self.session.draw_list, self.renderer.camera
        self.session.click(path)
        self.session.wait()
        after = self.session.draw_list
        way = held(Screen(camera, AREA), AREA[0], before, after, Held(path, pixel))
        self.renderer.draw(after)
        self.renderer.camera = way(1.0) if way is not None else camera
        self.renderer.render()

    def node(self, path: str) -> tuple[float, float]:
        """A pixel where a click means this closed node."""
        drawn = self.session.draw_list
        for y in range(4, AREA[1], 12):
            for x in range(4, AREA[0], 12):
                pick = self.renderer.pick(x, y)
                if pick.node is not None and drawn.nodes[pick.node] == path:
                    corners = ((x + dx, y + dy) for dx in (-3, 3) for dy in (-3, 3))
                    around = [self.renderer.pick(*corner) for corner in corners]
                    if all(p.node == pick.node and not p.frame_title for p in around):
                        return float(x), float(y)
        raise AssertionError(f"{path} is nowhere in the picture")

    def title(self, path: str) -> tuple[float, float]:
        """A pixel on the title of an open node."""
        drawn = self.session.draw_list
        for placed in self.renderer.placed_labels():
            label = placed.label
            if label.title and drawn.nodes[label.node] == path:
                return (placed.left + placed.right) / 2, (placed.top + placed.bottom) / 2
        raise AssertionError(f"{path} has no title in the picture")

    def close(self) -> None:
        """Give everything back."""
        self.renderer.close()
        self.session.close_session()
        self.session.model.close()
