"""Time every layout on flat graphs of growing size, next to sorting as many numbers.

Run it in an environment where the project is installed: ``python scripts/bench_layout.py``.

The graphs: a chain; a chain with as many random skip links; and decoder blocks of 21 operations
with two residual links each and one mask fed to every block, the case that takes other viewers'
layouts (which put a dummy node wherever a link crosses a rank) from seconds to minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from layouts import Tree, layouts

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


GRAPHS: dict[str, Callable[[int], Links]] = {
    "chain": chain,
    "skips": skips,
    "shared mask": shared_mask,
}


def flat_tree(count: int, links: Links) -> Tree:
    """A root with so many equal leaves."""
    parent = np.zeros(count + 1, np.int32)
    parent[0] = -1
    size = np.tile([0.3, 2.0, 2.0], (count + 1, 1))
    return Tree(parent, size, links, np.zeros((count + 1, 2), np.int32))


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    repeats = max(1, parser.parse_args().repeats)
    print(f"{'graph':<12} {'nodes':>8} {'links':>8} {'layout':<12} {'seconds':>9} {'x sort':>8}")
    for graph, make in GRAPHS.items():
        for count in SIZES:
            links = make(count)
            tree = flat_tree(count, links)
            numbers = np.random.default_rng(0).random(count)
            yardstick = best_of(max(10, repeats), lambda n=numbers: np.sort(n))  # type: ignore[misc]
            for name, layout in layouts().items():
                seconds = best_of(repeats, lambda p=layout.place, t=tree: p(t, 16 / 9))  # type: ignore[misc]
                ratio = seconds / yardstick
                row = f"{graph:<12} {count:>8} {len(links):>8} {name:<12} {seconds:>9.4f}"
                print(f"{row} {ratio:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
