"""Measure the time from the command to the first complete picture in a browser, per network.

A headless Chromium with an empty tab is running already, as a person's browser is; the clock
starts when the command is started, with all its imports; its modules are compiled, as those of an
installed package are. "first" is when a full picture is decoded in the page, "settled" when every
magnitude in it is exact. Memory is the largest sum of proportional set sizes of the command's
process tree.

    python scripts/bench_first_picture.py FILE… [--runs N] [--limit SECONDS]
"""

from __future__ import annotations

import argparse
import compileall
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHOWN = """() => {
  const page = document.querySelector('[data-testid=page]');
  const image = document.querySelector('[data-testid=view] img');
  return page && +page.dataset.picture > 0 && image && image.complete && image.naturalWidth > 16;
}"""
SETTLED = "() => document.querySelector('[data-testid=page]').dataset.pending === 'false'"


class MemoryWatch:
    """Samples the memory of a process and its children in a thread."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End the watch; the largest sum seen, bytes."""
        self._end.set()
        self._thread.join()
        return self.peak

    def _work(self) -> None:
        while not self._end.wait(0.05):
            self.peak = max(self.peak, sum(map(_memory, _tree(self._pid))))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


@contextmanager
def served(path: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """Start the command; yields the process, the page's address and the time of the start."""
    command = [sys.executable, "-m", "explorer", "serve", str(path), "--port", "0", "--no-browser"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if " at http" not in line:
            raise SystemExit(f"{path}: the command did not serve it")
        yield process, line.split(" at ")[1].strip(), started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def measure(browser: Any, path: Path, wait: float) -> dict[str, float]:
    """Times in seconds and memory in bytes of one run; infinite where the wait was too short."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    page = browser.new_page(viewport={"width": 1600, "height": 900})
    with served(path) as (process, url, started):
        watch = MemoryWatch(process.pid)
        address = time.perf_counter() - started
        page.goto(url, wait_until="commit")
        page.wait_for_function(SHOWN, timeout=wait * 1000)
        first = time.perf_counter() - started
        settled = math.inf
        with suppress(PlaywrightTimeoutError):  # a huge file is read for minutes
            page.wait_for_function(SETTLED, timeout=wait * 1000)
            settled = time.perf_counter() - started
        page.close()
        return {"url": address, "first": first, "settled": settled, "peak": watch.stop()}


def main() -> int:
    """Run the benchmark; exit code 1 when a first picture takes longer than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=3, help="the median is printed")
    parser.add_argument("--limit", type=float, default=3.0, help="for the first picture, seconds")
    parser.add_argument("--wait", type=float, default=120.0, help="longest wait, seconds")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    for folder in ("explorer", "layouts"):
        compileall.compile_dir(ROOT / folder, quiet=2)
    late = False
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, runs {options.runs}, median")
    print(f"{'network':24} {'MB':>6} {'url s':>7} {'first s':>8} {'/limit':>7} {'settled s':>10} "
          f"{'peak MB':>8}")  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        browser.new_page().close()
        for path in options.files:
            runs = [measure(browser, path.resolve(), options.wait) for _ in range(options.runs)]
            mid = {key: median(run[key] for run in runs) for key in runs[0]}
            late = late or mid["first"] > options.limit
            print(
                f"{path.name[:24]:24} {path.stat().st_size / 1e6:6.1f} {mid['url']:7.2f} "
                f"{mid['first']:8.2f} {mid['first'] / options.limit:6.2f}× "
                f"{mid['settled']:10.2f} {mid['peak'] / 1e6:8.0f}",
                flush=True,
            )
        browser.close()
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
