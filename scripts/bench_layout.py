"""Time every layout on flat graphs of growing size, next to sorting as many numbers.

Run it in an environment where the project is installed: ``python scripts/bench_layout.py``.

The graphs: a chain; a chain with as many random skip links; decoder blocks of 21 operations with
two residual links each and one mask fed to every block, the case that takes other viewers' layouts
(which put a dummy node wherever a link crosses a rank) from seconds to minutes; random links, which
leave thousands of parts that do not hang together; and branches side by side. "again" is the same
tree once more: what was placed before is looked up. Times are of the processor, not of the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from layouts import Tree, forget, layouts

Links = NDArray[np.int32]
BLOCK = 21
SIZES = (100, 1_010, 10_000, 100_000)


def chain(count: int) -> Links:
    """Each node feeds the next; shape (count - 1, 2)."""
    return np.column_stack([np.arange(1, count), np.arange(2, count + 1)]).astype(np.int32)


def skips(count: int) -> Links:
    """A chain and as many links over any distance."""
    ends = np.random.default_rng(0).integers(1, count + 1, (count, 2))
    return np.concatenate([chain(count), np.sort(ends, axis=1)]).astype(np.int32)


def shared_mask(count: int) -> Links:
    """Decoder blocks with two residual links each; the first node feeds every block."""
    links = [chain(count)[1:]]
    first = np.arange(2, count - BLOCK + 1, BLOCK)
    for start, end in ((0, 10), (10, BLOCK - 1)):
        links.append(np.column_stack([first + start, first + end]))
    links.append(np.column_stack([np.ones_like(first), first + 5]))
    return np.concatenate(links).astype(np.int32)


def scattered(count: int) -> Links:
    """As many links as nodes, between any two: one large part and thousands of small ones."""
    ends = np.random.default_rng(0).integers(1, count + 1, (count, 2))
    return np.sort(ends, axis=1).astype(np.int32)


def parallel(count: int) -> Links:
    """The first node feeds all others, which all feed the last."""
    inner = np.arange(2, count)
    fan_out = np.column_stack([np.ones_like(inner), inner])
    return np.concatenate([fan_out, np.column_stack([inner, np.full_like(inner, count)])]).astype(
        np.int32
    )


GRAPHS: dict[str, Callable[[int], Links]] = {
    "chain": chain,
    "skips": skips,
    "shared mask": shared_mask,
    "scattered": scattered,
    "parallel": parallel,
}


def flat_tree(count: int, links: Links) -> Tree:
    """A root with so many equal leaves."""
    parent = np.zeros(count + 1, np.int32)
    parent[0] = -1
    size = np.tile([0.3, 2.0, 2.0], (count + 1, 1))
    return Tree(parent, size, links, np.zeros((count + 1, 2), np.int32))


def best_of(repeats: int, work: Callable[[], object], before: Callable[[], None]) -> float:
    """Seconds of processor time of the fastest run."""
    times = []
    for _ in range(repeats):
        before()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def nothing() -> None:
    """Before a run that may remember the ones before."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of nodes")
    given = parser.parse_args()
    repeats = max(1, given.repeats)
    print(
        f"{'graph':<12} {'nodes':>8} {'links':>8} {'layout':<12}"
        f" {'seconds':>9} {'again':>9} {'x sort':>8}"
    )
    for graph, make in GRAPHS.items():
        for count in given.sizes:
            links = make(count)
            tree = flat_tree(count, links)
            numbers = np.random.default_rng(0).random(count)
            yardstick = best_of(max(10, repeats), partial(np.sort, numbers), nothing)
            for name, layout in layouts().items():
                work = partial(layout.place, tree, 16 / 9)
                seconds = best_of(repeats, work, forget)
                again = best_of(repeats, work, nothing)
                row = f"{graph:<12} {count:>8} {len(links):>8} {name:<12} {seconds:>9.4f}"
                ratio = seconds / max(yardstick, 1e-6)
                print(f"{row} {again:>9.4f} {ratio:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
