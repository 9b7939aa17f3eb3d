"""Files that are hostile or that change while they are open: the page stays a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_helpers import DIGITS, ROOT, Page, launch, serving

pytestmark = pytest.mark.browser
playwright_api = pytest.importorskip("playwright.sync_api")

EVIL = "<img src=x onerror=window.hacked=1>{{constructor.constructor('window.hacked=2')()}}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        made = launch(playwright)
        yield made
        made.close()


def _renamed(target: Path, old: str, new: str) -> None:
    """A copy of the bundled network with another name for a layer."""
    with zipfile.ZipFile(DIGITS) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                text = json.dumps(json.loads(data))
                data = text.replace(json.dumps(old), json.dumps(new)).encode()
            copy.writestr(name, data)


def test_names_from_the_file_are_text(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "evil.keras"
    _renamed(path, "hidden", EVIL)
    with serving(path) as url:
        page = Page(browser, url)
        page.element("search").fill("onerror")
        page.element("hit").first.click()
        page.page.wait_for_function(
            "() => document.querySelector('[data-testid=panel-title]').innerText"
            ".includes('onerror')"
        )
        assert page.element("panel-title").inner_text().startswith("<img src=x onerror")
        assert "{{constructor" in page.element("config").inner_text()
        assert page.page.evaluate("() => window.hacked") is None
        assert page.page.locator("img[src=x]").count() == 0
        assert page.errors == []
        page.page.close()


def test_a_file_that_changes_while_it_is_open(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "digits.keras"
    shutil.copy(DIGITS, path)
    with serving(path) as url:
        page = Page(browser, url)
        os.truncate(path, 1000)
        page.element("search").fill("hidden")
        page.element("hit").first.click()
        page.element("stats-error").wait_for()
        error = page.element("stats-error").inner_text()
        assert str(path) in error
        assert "\n" not in error
        # The session lives on.
        with page.change():
            page.page.keyboard.press("t")
            page.page.wait_for_function("() => document.querySelector('.nn-light') !== null")
        page.page.close()


@pytest.mark.parametrize("name", ["missing.keras", "empty.keras", "folder.keras", "foreign.keras"])
def test_what_is_no_network_is_not_served(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty.keras":
        path.touch()
    elif name == "folder.keras":
        path.mkdir()
    elif name == "foreign.keras":
        path.write_bytes(b"%PDF-1.7 " * 100)
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "serve", str(path), "--port", "0", "--no-browser"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert name in done.stderr
