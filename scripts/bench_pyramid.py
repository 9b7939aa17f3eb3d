"""Building the statistics of all weights, keeping them and asking them, beside what is possible.

For each model file: the rate of building from the disk, as a ratio to the disk's own rate measured
right before; the rate of building from the page cache, as a ratio to one plain numpy pass over the
same bytes; the size of what is kept, and the time to open it; the 1 000 strongest connections of
the largest matrix beside a full scan with numpy; memory through index and exploration, and the time
from a click to the new draw list and to a new frame.

    python scripts/bench_pyramid.py FILE… [--only cold warm …] [--clicks 200] [--most GB]

`make_checkpoint` makes files that this is meant for. Every build runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from disk_peers import (
    PEERS,
    Spent,
    Stretch,
    cached_share,
    disk_rate,
    drop_from_cache,
    time_to_pass,
)
from numpy.typing import NDArray

from explorer.network import ByteRange
from explorer.open_model import OpenModel
from explorer.pyramid.plan import PLAN
from explorer.pyramid.search.strongest import strongest
from explorer.pyramid.storage.store import Store
from explorer.pyramid.sums.compiled import available
from explorer.pyramid.workers.building import build_all
from explorer.pyramid.workers.processes import Standby, hands
from explorer.session.session import Session
from explorer.weights.connections import Connection

STEPS = ("cold", "warm", "reading", "strongest", "explore")
COLD, WARM = 0.8, 0.5  # least ratios
STRONGEST, CLICK, OPEN = 0.1, 0.1, 0.05  # limits, seconds
SIZE, MEMORY = 0.015, 1e9  # largest store, as a share of the model; most memory, bytes
TOP = 1000
Numbers = dict[str, Any]


def line(what: str, value: str, ratio: float = np.nan, limit: str = "") -> None:
    """Print a row."""
    shown = "" if np.isnan(ratio) else f"{ratio:8.2f}"
    print(f"  {what:46} {value:>22} {shown:>8}  {limit}", flush=True)


# -- in a process of its own ------------------------------------------------------------------


def in_child(work: Callable[..., Numbers], *arguments: Any) -> Numbers:
    """What a function returns when it runs in a fresh process, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def peak_memory() -> int:
    """The most memory that this process has had so far, and its workers together, bytes.

    As many workers are counted as there are cores, each as large as the largest.
    """
    own = 0
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("VmHWM:"):
            own = int(text.split()[1]) * 1024
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return own + (os.cpu_count() or 1) * largest_child


def build_whole(model: OpenModel, standby: Standby) -> None:
    """Measure every connection, as the command does."""
    needed = int(model.table.nbytes.sum())
    with hands(model.network, model.pyramid.level0, needed, standby) as (executor, work):
        build_all(model.pyramid, model.table.connections, executor, work)


def processor_time() -> float:
    """Of this process and of those that it started and that have ended, seconds."""
    return sum(os.times()[:4])


def build(path: str) -> Numbers:
    """Build everything in memory; workers start while the model is opened, as the command's do."""
    with Standby(os.stat(path).st_size) as standby, OpenModel.open(path) as model:
        needed = int(model.table.nbytes.sum())
        started, busy = time.perf_counter(), processor_time()
        build_whole(model, standby)
        return {"seconds": time.perf_counter() - started, "busy": processor_time() - busy,
                "bytes": needed, "peak": peak_memory()}  # fmt: skip


def index(path: str) -> Numbers:
    """Build everything and keep it."""
    with Standby(os.stat(path).st_size) as standby, OpenModel.open(path) as model:
        started = time.perf_counter()
        model.keeper.begin(always=True)
        build_whole(model, standby)
        whole = model.keeper.finish(model.table.connections)
        return {"seconds": time.perf_counter() - started, "kept": whole, "peak": peak_memory()}


def opened(path: str) -> OpenModel:
    """A model whose statistics come from the store."""
    model = OpenModel.open(path)
    if not model.keeper.whole:
        raise SystemExit("there is no store")
    return model


def opening(path: str) -> Numbers:
    """Open the store, the best of several."""
    times = []
    with OpenModel.open(path) as model:
        for _ in range(5):
            started = time.perf_counter()
            store = Store.open(model.network, PLAN)
            times.append(time.perf_counter() - started)
            if store is not None:
                store.close()
    return {"seconds": min(times), "first": times[0]}


def largest(model: OpenModel) -> Connection:
    """The connection with the most weights."""
    return max(model.table.connections, key=lambda c: c.weights)


def search(path: str) -> Numbers:
    """The strongest connections of the largest matrix, by the pyramid, and how it was found."""
    with opened(path) as model:
        connection = largest(model)
        labels = [np.arange(n, dtype=np.int32) for n in (connection.out_units, connection.in_units)]
        times = []
        for _ in range(5):
            started = time.perf_counter()
            found = strongest(model.pyramid, connection, labels[0], labels[1], TOP)
            times.append(time.perf_counter() - started)
        places = sorted(zip(found.out.tolist(), found.inside.tolist(), strict=True))
        return {"first": times[0], "seconds": min(times), "weights": connection.weights,
                "least": float(found.rms.min()), "places": places}  # fmt: skip


def scan(path: str) -> Numbers:
    """The same by one pass of numpy that keeps the best so far."""
    with OpenModel.open(path) as model:
        connection = largest(model)
        matrix = connection.matrices[0]
        if len(connection.matrices) > 1 or matrix.taps > 1:
            raise SystemExit("the largest matrix is not plain")
        weight, width = matrix.weight, matrix.minor
        step = max(1, (1 << 20) // width)
        best: NDArray[np.float32] = np.zeros(0, np.float32)
        where: NDArray[np.int64] = np.zeros(0, np.int64)
        started = time.perf_counter()
        for first in range(0, matrix.major, step):
            stop = min(matrix.major, first + step)
            size = np.abs(model.reader.read_flat(weight, first * width, stop * width))
            least = best.min() if len(best) == TOP else -np.inf
            at = np.flatnonzero(size >= least)
            best, where = np.append(best, size[at]), np.append(where, at + first * width)
            if len(best) > TOP:
                keep = np.argpartition(-best, TOP)[:TOP]
                best, where = best[keep], where[keep]
        seconds = time.perf_counter() - started
        row, column = np.divmod(where, width)
        out, inside = (row, column) if matrix.transposed else (column, row)
        places = sorted(zip(out.tolist(), inside.tolist(), strict=True))
        return {"seconds": seconds, "least": float(best.min()), "places": places}


def explore(path: str, clicks: int, seed: int, first: bool) -> Numbers:
    """Walk through a model at random and draw every step.

    The first time the walk begins at once, while the weights are being read; else all is indexed.
    """
    from explorer.renderer import Renderer

    choose = random.Random(seed)
    times, frames = [], []
    open_model = OpenModel.open if first else opened
    with open_model(path) as model, Renderer((1600, 900), off_screen=True) as renderer:
        session = Session(model)
        renderer.draw(session.draw_list)
        renderer.camera = session.camera_for(None, renderer.scene_aspect)
        renderer.render()
        for _ in range(clicks):
            cut = session.placed.cut
            leaves = [cut.paths[r] for r in np.flatnonzero(cut.leaf).tolist()]
            leaves = [p for p in leaves if session.can_open(p)]
            inner = [cut.paths[r] for r in np.flatnonzero(~cut.leaf)[1:].tolist()]
            close = inner and (not leaves or len(cut) > 1500 or choose.random() < 0.3)
            started = time.perf_counter()
            session.click(choose.choice(inner if close else leaves))
            drawn = session.draw_list
            times.append(time.perf_counter() - started)
            started = time.perf_counter()
            renderer.draw(drawn)
            renderer.render()
            frames.append(time.perf_counter() - started)
            if len(session.placed.cut) > 4000:
                session.reset()
        session.close_session()
    return {"clicks": times, "frames": frames, "peak": peak_memory()}


# -- the table --------------------------------------------------------------------------------


def stretches(path: str) -> dict[str, list[Stretch]]:
    """By element type: where the weights lie that are measured."""
    found: dict[str, dict[Stretch, None]] = {}
    with OpenModel.open(path) as model:
        for connection in model.table.connections:
            for matrix in connection.matrices:
                where = matrix.weight.where
                if isinstance(where, ByteRange):
                    of_type = found.setdefault(matrix.weight.dtype, {})
                    of_type[where.offset, where.nbytes] = None
    return {dtype: sorted(places) for dtype, places in found.items()}


def show_cold(path: Path, most: int) -> None:
    """Building from the disk."""
    rates = {
        (n, direct): disk_rate(path, most, n, direct) for direct in (False, True) for n in (1, 2)
    }
    for (n, direct), rate in rates.items():
        how = ", past the page cache" * direct
        line(f"disk, {n} thread{'s' * (n > 1)}{how}", f"{rate / 1e6:.0f} MB/s")
    share = drop_from_cache(path)
    made = in_child(build, str(path))
    rate = made["bytes"] / made["seconds"]
    ordinary = max(rates[n, False] for n in (1, 2))
    line(
        "building, cold", f"{rate / 1e6:.0f} MB/s", rate / ordinary, f">= {COLD} of the disk's best"
    )
    line("  of the disk with 1 thread", "", rate / rates[1, False])
    line("  of the disk's best past the page cache", "", rate / max(rates.values()))
    each = made["bytes"] / made["busy"]
    line("  per second of processor time", f"{each / 1e6:.0f} MB")
    if share > 0.01:
        line("  not cold: share of the file still cached", f"{share:.0%}")


def show_warm(path: Path) -> None:
    """Building from the page cache."""
    places = stretches(str(path))
    if path.stat().st_size > 0.5 * _memory():
        line("building from the page cache", "the file is too large")
        return
    made = min((in_child(build, str(path)) for _ in range(2)), key=lambda m: float(m["seconds"]))
    rate, each = made["bytes"] / made["seconds"], made["bytes"] / made["busy"]
    line("building, from the page cache", f"{rate / 1e6:.0f} MB/s")
    line("  per second of processor time", f"{each / 1e6:.0f} MB")
    firsts = {next(iter(PEERS[dtype])) for dtype in places if dtype in PEERS}
    for name in [name for dtype in places for name in PEERS.get(dtype, {})]:
        for threads in (1, 2):
            spent = min(_numpy(path, places, name, threads) for _ in range(2))
            read = sum(n for ranges in places.values() for _, n in ranges)
            ratio = f">= {WARM} of numpy" if threads == 1 and name in firsts else ""
            what = f"  numpy, {name}, {threads} thread{'s' * (threads > 1)}"
            line(what, f"{read / spent.wall / 1e6:.0f} MB/s", rate * spent.wall / read, ratio)
        # Holds on a busy machine too: what all cores do in the time that numpy needs on one.
        cores = os.cpu_count() or 1
        line("    by processor time, all cores against one", f"{read / spent.busy / 1e6:.0f} MB",
             cores * each * spent.busy / read)  # fmt: skip
    line("  share of the file in the page cache", f"{cached_share(path):.0%}")
    line("  peak memory", f"{made['peak'] / 1e6:.0f} MB", made["peak"] / MEMORY, "of 1 GB")


def _numpy(path: Path, places: dict[str, list[Stretch]], name: str, threads: int) -> Spent:
    """Time of one numpy pass over all element types."""
    wall = busy = 0.0
    for dtype, ranges in places.items():
        work = PEERS.get(dtype, {}).get(name) or next(iter(PEERS["float32"].values()))
        one = time_to_pass(path, ranges, work, threads)
        wall, busy = wall + one.wall, busy + one.busy
    return Spent(wall, busy)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def show_store(path: Path, folder: str) -> None:
    """What is kept."""
    made = in_child(index, str(path))
    if not made["kept"]:
        raise SystemExit("the store could not be written")
    nbytes = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    size = path.stat().st_size
    line("index, written", f"{made['seconds']:.1f} s")
    line("store", f"{nbytes / 1e6:.1f} MB", nbytes / size / SIZE, f"of {SIZE:.1%} of the model")
    took = in_child(opening, str(path))
    best = took["seconds"]
    line("opening the store, best", f"{best * 1000:.1f} ms", best / OPEN, "of 50 ms")
    line("  first", f"{took['first'] * 1000:.1f} ms", took["first"] / OPEN)
    line("  peak memory of the index", f"{made['peak'] / 1e6:.0f} MB", made["peak"] / MEMORY,
         "of 1 GB")  # fmt: skip


def show_strongest(path: Path) -> None:
    """The strongest connections of the largest matrix."""
    found, peer = in_child(search, str(path)), in_child(scan, str(path))
    limit = STRONGEST * max(1.0, found["weights"] / (1 << 30))
    line(f"{TOP} strongest of {found['weights']:.2e}, first", f"{found['first'] * 1000:.0f} ms",
         found["first"] / limit, f"of {limit * 1000:.0f} ms")  # fmt: skip
    line("  again, best", f"{found['seconds'] * 1000:.0f} ms", found["seconds"] / limit)
    line("  numpy, full scan", f"{peer['seconds'] * 1000:.0f} ms",
         peer["seconds"] / found["seconds"], "times as long")  # fmt: skip
    strict = [set(map(tuple, one["places"])) for one in (found, peer)]
    line("  the same but for equal ones", f"{len(strict[0] & strict[1])} of {TOP}")
    if not np.isclose(found["least"], peer["least"], rtol=1e-6):
        raise SystemExit(f"numpy's weakest is {peer['least']}, not {found['least']}")


def show_explore(path: Path, clicks: int, seed: int, first: bool = False) -> None:
    """A walk through the model."""
    made = in_child(explore, str(path), clicks, seed, first)
    how = "while weights are read" if first else "indexed"
    for name in ("clicks", "frames"):
        times = np.array(made[name])
        p95 = float(np.quantile(times, 0.95))
        label = "click to draw list" if name == "clicks" else "draw list to frame"
        line(f"{label}, {how}, p95", f"{p95 * 1000:.0f} ms", p95 / CLICK, "of 100 ms")
        line("  median, largest", f"{np.median(times) * 1000:.0f}, {times.max() * 1000:.0f} ms")
    line("  peak memory", f"{made['peak'] / 1e6:.0f} MB", made["peak"] / MEMORY, "of 1 GB")


def main() -> None:
    """Print a table per file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=4.0, help="GB read for the disk's rate")
    options = parser.parse_args()
    for path in (p.resolve() for p in options.files):
        load = os.getloadavg()[0]
        print(
            f"{path.name}: {path.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} cores, "
            f"load {load:.1f}, sums by {'the compiled library' if available() else 'numpy'}"
        )
        show(path, options)


@contextmanager
def empty_cache(path: Path) -> Iterator[str]:
    """A folder for what is kept, beside the model: nothing earlier is found, nothing stays."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        yield folder


def show(path: Path, options: argparse.Namespace) -> None:
    """The table of one file."""
    with empty_cache(path):
        if "cold" in options.only:
            show_cold(path, int(options.most * 1e9))
        if "warm" in options.only:
            show_warm(path)
        if "reading" in options.only:
            show_explore(path, options.clicks, options.seed, first=True)
    if not {"strongest", "explore"} & set(options.only):
        return
    with empty_cache(path) as folder:
        show_store(path, folder)
        if "strongest" in options.only:
            show_strongest(path)
        if "explore" in options.only:
            show_explore(path, options.clicks, options.seed)


if __name__ == "__main__":
    main()
