"""Time from a click to the new draw list, for network files.

Each network is opened and explored by a seeded walk: a visible node is clicked (opened or closed),
again and again. Printed: the median and the 95 % quantile of the time from the click to the new
draw list, and the quantile's share of the limit of 100 ms. The walk is made twice: with all weights
still unread (the draw list then marks edges as not yet read), and again when they have been read.

    python scripts/bench_click.py MODEL...
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import replace

import numpy as np

from explorer.open_model import OpenModel
from explorer.session.session import Session

LIMIT = 0.100  # seconds
CLICKS = 120


def walk(session: Session, seed: int) -> list[float]:
    """Times of a random walk of clicks, seconds."""
    choose = random.Random(seed)
    times = []
    for _ in range(CLICKS):
        cut = session.placed.cut
        leaves = [cut.paths[r] for r in np.flatnonzero(cut.leaf) if session.can_open(cut.paths[r])]
        frames = [cut.paths[r] for r in np.flatnonzero(~cut.leaf)[1:]]
        closing = frames and (choose.random() < 0.3 or not leaves or len(cut) > 1500)
        path = choose.choice(frames if closing else leaves)
        start = time.perf_counter()
        session.click(path)
        _ = session.draw_list
        times.append(time.perf_counter() - start)
        if len(session.placed.cut) > 4000:
            session.reset()
    return times


def main() -> None:
    """Print a row per network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"{'network':24} {'weights':>8} {'first':>8} {'median':>8} {'p95':>8} {'max':>8}  p95/limit"
    )
    for path in arguments.models:
        with OpenModel.open(path) as model:
            for read in (False, True):
                start = time.perf_counter()
                session = Session(model)
                _ = session.draw_list
                first = time.perf_counter() - start
                if read:
                    for name in model.weighted:
                        for connection in model.wires.connections(name):
                            model.pyramid.build(connection)
                    session.update(replace(session.state))
                times = np.array(walk(session, arguments.seed)) * 1000
                session.close_session()
                p95 = float(np.quantile(times, 0.95))
                print(
                    f"{model.network.name[:24]:24} {'read' if read else 'unread':>8}"
                    f" {first * 1000:6.0f}ms {np.median(times):6.0f}ms {p95:6.0f}ms"
                    f" {times.max():6.0f}ms  {p95 / 1000 / LIMIT:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
