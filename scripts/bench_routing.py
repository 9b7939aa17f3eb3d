"""How long the ways of edges take against their number, beside one plain pass over their points.

    python scripts/bench_routing.py

Rows of boxes as a wrapped layout places them, links between neighbours, skip links and links to
other rows, drawn at random from a seed; and units of two layers all joined with each other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from explorer.routes.cables import Cables, Obstacles
from explorer.routes.curves import POINTS
from explorer.routes.routing import follow, plan

F8 = NDArray[np.float64]
SIZES = ((100, 400), (400, 1_600), (1_500, 6_000), (1_500, 24_000))
UNITS = (10_000, 40_000, 160_000)


def rows_of_boxes(count: int, seed: int) -> tuple[F8, F8]:
    """Centres and sizes of boxes in rows of about forty columns, one to three in a column."""
    rng = np.random.default_rng(seed)
    column = np.repeat(np.arange(count), rng.integers(1, 4, count))[:count]
    branch = np.arange(count) - np.searchsorted(column, column)
    sizes = rng.uniform((0.3, 0.8, 0.8), (0.6, 1.2, 1.2), (count, 3))
    wide = max(10, int(np.sqrt(column[-1] * 5)))
    row, place = np.divmod(column, wide)
    centers = np.stack((1.4 * place, 1.7 * branch - 6.5 * row, np.zeros(count)), 1)
    return centers, sizes


def links(count: int, many: int, seed: int) -> NDArray[np.int64]:
    """Half of them short, a third skips, the rest anywhere."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, count, many)
    kind = rng.random(many)
    reach = np.where(kind < 0.5, 3, np.where(kind < 0.85, 20, count))
    target = (source + 1 + rng.integers(0, reach)) % count
    return np.stack((source, target), 1)


def cables_of(centers: F8, sizes: F8, pairs: NDArray[np.int64]) -> Cables:
    """The cables of links, one for each different pair."""
    a, b = np.unique(pairs, axis=0).T
    start, end = centers[a].copy(), centers[b].copy()
    start[:, 0] += sizes[a, 0] / 2
    end[:, 0] -= sizes[b, 0] / 2
    many = len(a)
    inner, depth = np.stack((start[:, 0], end[:, 0]), 1), np.zeros(many, np.int64)
    steps = np.ones((many, 2), np.int64)
    wish = np.full(many, np.nan)
    return Cables(a, b, start, end, np.zeros((many, 2)), wish, depth, inner, steps)


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of several runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def one_pass(edges: int) -> float:
    """Seconds of one multiplication and one addition of all points."""
    points = np.ones((edges, POINTS, 3), np.float32)
    return best(lambda: points * np.float32(2) + np.float32(1))


def report(boxes: int, edges: int, seconds: float) -> None:
    """One row of the table."""
    share = seconds / one_pass(edges)
    print(
        f"{boxes:>8} {edges:>9} {seconds * 1e3:>9.1f} {seconds / edges * 1e6:>9.2f} {share:>8.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    print(f"{'boxes':>8} {'edges':>9} {'ms':>9} {'µs/edge':>9} {'passes':>8}")
    for count, many in SIZES:
        centers, sizes = rows_of_boxes(count, seed)
        cables = cables_of(centers, sizes, links(count, many, seed))
        obstacles = Obstacles(
            centers - sizes / 2, centers + sizes / 2, np.full(count, -1), np.zeros(count, bool)
        )
        member = np.arange(len(cables.source))

        def routed(cables: Cables = cables, obstacles: Obstacles = obstacles,
                   member: NDArray[np.int64] = member) -> object:  # fmt: skip
            return follow(plan(cables, obstacles), cables, (cables.start, cables.end), member)

        report(count, len(member), best(routed))
    for many in UNITS:
        centers, sizes = np.array([[0.0, 0, 0], [4, 0, 0], [8, 0, 0]]), np.ones((3, 3))
        cables = cables_of(centers, sizes, np.array([[0, 2]]))
        obstacles = Obstacles(
            centers - sizes / 2, centers + sizes / 2, np.full(3, -1), np.zeros(3, bool)
        )
        rng = np.random.default_rng(seed)
        start = cables.start + rng.uniform(-0.4, 0.4, (many, 3)) * (0, 1, 1)
        end = cables.end + rng.uniform(-0.4, 0.4, (many, 3)) * (0, 1, 1)
        member = np.zeros(many, np.int64)

        def strands(cables: Cables = cables, obstacles: Obstacles = obstacles,
                    ends: tuple[F8, F8] = (start, end),
                    member: NDArray[np.int64] = member) -> object:  # fmt: skip
            return follow(plan(cables, obstacles), cables, ends, member)

        report(3, many, best(strands))


if __name__ == "__main__":
    main()
