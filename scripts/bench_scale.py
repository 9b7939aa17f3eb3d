"""Cost against size: what a person waits for as networks grow from 1 000 to 100 000 operations.

For generated layer graphs (see `layer_graphs`) of several sizes: seconds to expand the network and
find its weighted layers, to build the hierarchy, to choose and place the first cut, to make the
first draw list; then the times of a seeded walk of clicks that opens and closes nodes at all
depths. Every time is printed with its ratio to the limit; "p95 CPU" is the click's own processor
time, which a busy machine hardly changes. A click's cost must follow what is visible, not what
exists: the plot shows it against both.

    python scripts/bench_scale.py [--sizes 1000 10000] [--graphs WORD...] [--plot X.png]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import layer_graphs
import numpy as np

from explorer.drawing.placement import place
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
HIERARCHY, CUT, CLICK = 1.0, 1.0, 0.100  # limits, seconds
MASK = 1_010  # operations of the shared-mask graph, which is to be placed flat
MASK_LIMIT = 0.1  # seconds
CLICKS = 80
CROWD = 400  # visible nodes from which on the walk closes as often as it opens


@dataclass
class Row:
    """What was measured of one network."""

    graph: str
    operations: int
    expand: float
    hierarchy: float
    cut: float
    first: float
    clicks: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # processor time of the same clicks
    visible: list[int] = field(default_factory=list)
    edges: list[int] = field(default_factory=list)


def graphs(weights: Path) -> dict[str, Callable[[int], Network]]:
    """The graphs that are measured, by name."""
    return {
        "decoder, scopes in names": lambda n: layer_graphs.decoder(n, "scoped", weights),
        "decoder, flat names": lambda n: layer_graphs.decoder(n, "flat", weights),
        "decoder, no names": lambda n: layer_graphs.decoder(n, "none", weights),
        "chain": lambda n: layer_graphs.chain(n, 0, weights),
        "chain with as many skips": lambda n: layer_graphs.chain(n, n, weights),
        "parallel branches": layer_graphs.parallel,
    }


def measure(graph: str, network: Network, clicks: int, seed: int) -> Row:
    """Open a network and walk through it."""
    times = [time.perf_counter()]

    def lap() -> float:
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    with OpenModel(network) as model:
        _ = model.weighted
        expand = lap()
        _ = model.hierarchy
        hierarchy = lap()
        opened = Session(model).first_opened
        place(model, ViewState(opened=opened))
        cut = lap()
        session = Session(model)
        _ = session.draw_list
        row = Row(graph, len(network.layers), expand, hierarchy, cut, lap())
        walk(session, row, clicks, seed)
        session.close_session()
    return row


def walk(session: Session, row: Row, clicks: int, seed: int) -> None:
    """Open and close nodes at random, at all depths; times in `row`."""
    choose = random.Random(seed)
    for _ in range(clicks):
        cut = session.placed.cut
        leaves = [cut.paths[r] for r in np.flatnonzero(cut.leaf) if session.can_open(cut.paths[r])]
        frames = [cut.paths[r] for r in np.flatnonzero(~cut.leaf)[1:]]
        share = 0.3 if len(cut) < CROWD else 0.6
        closing = frames and (choose.random() < share or not leaves)
        if not closing and not leaves:
            break
        path = choose.choice(frames if closing else leaves)
        start, busy = time.perf_counter(), time.thread_time()
        session.click(path)
        drawn = session.draw_list
        row.clicks.append(time.perf_counter() - start)
        row.busy.append(time.thread_time() - busy)
        row.visible.append(int(session.placed.cut.leaf.sum()))
        row.edges.append(len(drawn.edges.source))
        if len(session.placed.cut) > 4 * CROWD:
            session.reset()


def masked(weights: Path) -> tuple[float, float, int]:
    """Seconds to place a decoder with a shared mask, all nodes visible and flat, and to draw it."""
    with OpenModel(layer_graphs.decoder(MASK, "none", weights)) as model:
        every = frozenset(n.path for n in model.hierarchy.nodes if n.kind != "layer")
        state = ViewState(opened=every, layout="flat")
        best = [np.inf, np.inf]
        session = Session(model, state)
        for _ in range(5):
            start = time.perf_counter()
            placed = place(model, state)
            best[0] = min(best[0], time.perf_counter() - start)
            start = time.perf_counter()
            session.update(replace(state))
            best[1] = min(best[1], time.perf_counter() - start)
        session.close_session()
        return best[0], best[1], int(placed.cut.leaf.sum())


def show(row: Row) -> str:
    """One line of the table."""
    clicks = np.array(row.clicks) if row.clicks else np.zeros(1)
    p50, p95 = np.quantile(clicks, [0.5, 0.95])
    busy = float(np.quantile(row.busy or [0.0], 0.95))
    return (
        f"{row.graph:26} {row.operations:>7} {row.expand:7.2f}s"
        f" {row.hierarchy:7.2f}s {row.hierarchy / HIERARCHY:5.2f} {row.cut:7.2f}s"
        f" {row.cut / CUT:5.2f} {row.first:7.2f}s {p50 * 1000:6.0f}ms {p95 * 1000:6.0f}ms"
        f" {p95 / CLICK:5.2f} {busy * 1000:6.0f}ms {clicks.max() * 1000:6.0f}ms"
        f" {np.median(row.visible or [0]):7.0f} {np.median(row.edges or [0]):7.0f}"
    )


HEAD = (
    f"{'graph':26} {'ops':>7} {'expand':>8} {'tree':>8} {'/1 s':>5} {'cut':>8} {'/1 s':>5}"
    f" {'first':>8} {'p50':>8} {'p95':>8} {'/0.1s':>5} {'p95 CPU':>8}"
    f" {'max':>8} {'visible':>7} {'edges':>7}"
)


def plot(rows: list[Row], path: Path) -> None:
    """Click times against what exists and against what is visible."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    exists, visible = figure.subplots(1, 2)
    for name in dict.fromkeys(row.graph for row in rows):
        mine = [row for row in rows if row.graph == name and row.clicks]
        sizes = [row.operations for row in mine]
        p50 = [float(np.median(row.clicks)) * 1000 for row in mine]
        p95 = [float(np.quantile(row.clicks, 0.95)) * 1000 for row in mine]
        (line,) = exists.plot(sizes, p50, "o-", label=name)
        exists.plot(sizes, p95, "v:", color=line.get_color())
        seen = np.concatenate([np.add(row.visible, row.edges) for row in mine])
        spent = np.concatenate([row.clicks for row in mine]) * 1000
        visible.plot(seen, spent, ".", color=line.get_color(), alpha=0.5, label=name)
    exists.set_xscale("log")
    exists.set_xlabel("operations in the network")
    exists.set_title("what exists: median (line) and 95 % quantile (dotted)")
    visible.set_xlabel("visible nodes + drawn edges")
    visible.set_title("what is visible: every click")
    for axes in (exists, visible):
        axes.axhline(CLICK * 1000, color="0.6", lw=1)
        axes.set_ylabel("click to new draw list, ms")
        axes.set_ylim(bottom=0)
    exists.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--graphs", nargs="+", default=[""], help="words in the names of graphs")
    parser.add_argument("--clicks", type=int, default=CLICKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = layer_graphs.write_weights(Path(folder) / "weights.bin")
        print(HEAD)
        for name, make in graphs(weights).items():
            if not any(word in name for word in arguments.graphs):
                continue
            for size in arguments.sizes:
                rows.append(measure(name, make(size), arguments.clicks, arguments.seed))
                print(show(rows[-1]), flush=True)
        placed, drawn, visible = masked(weights)
    print(
        f"shared mask, {MASK} operations, {visible} visible, flat: layout {placed * 1000:.0f} ms"
        f" ({placed / MASK_LIMIT:.2f} of the limit), draw list {drawn * 1000:.0f} ms"
    )
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
