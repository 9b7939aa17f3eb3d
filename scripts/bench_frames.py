"""Time to draw a frame, against what is in it: what costs when a picture moves.

For each network the scene is drawn off screen from a camera that turns a little from frame to
frame, as in the window: everything, then without edges, without labels, smooth, smaller, with fewer
points to a curve, with the strongest share of the edges, and at the levels of savings that
`explorer.session.pace` chooses from. Printed: the best of several frames, and its ratio to 0.1 s,
which a moving picture may take with software rendering.

    python scripts/bench_frames.py [MODEL...] [--graph OPERATIONS]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import layer_graphs
import numpy as np

from explorer.drawing.draw_list import BoxArrays, DrawList
from explorer.open_model import OpenModel
from explorer.renderer import Renderer
from explorer.session.pace import FULL, LEVELS, Quality, quality_of
from explorer.session.session import Session
from explorer.viewing.orbit import turn

LIMIT = 0.1  # seconds
SIZE = (1600, 900)
REPEATS = 5


def frame_time(
    renderer: Renderer,
    drawn: DrawList,
    quality: Quality = FULL,
    samples: int = 0,
    new: bool = False,
) -> float:
    """Seconds for a frame of a moving camera, or of a changing draw list; the best of several."""
    width, height = (round(quality.scale * side) for side in SIZE)
    renderer.resize(width, height)
    renderer.multi_samples, renderer.quality = samples, quality
    renderer.draw(drawn)
    renderer.render()
    times = []
    for _ in range(REPEATS):
        renderer.camera = turn(renderer.camera, 0.002, 0.001)
        begin = time.perf_counter()
        if new:
            renderer.draw(replace(drawn))
        renderer.render()
        times.append(time.perf_counter() - begin)
    return min(times)


def cases(drawn: DrawList) -> Iterator[tuple[str, Callable[[Renderer], float]]]:
    """What is drawn in each row of the table."""
    no_boxes = replace(drawn, solids=_none(drawn.solids), frames=_none(drawn.frames))
    bare = Quality(edges=0.0, labels=0)

    def case(what: DrawList = drawn, **how: Any) -> Callable[[Renderer], float]:
        return lambda renderer: frame_time(renderer, what, **how)

    yield "everything, camera moves", case()
    yield "everything, nodes move", case(new=True)
    yield "smooth (4 samples)", case(samples=4)
    yield "no labels", case(quality=Quality(labels=0))
    yield "30 labels", case(quality=Quality(labels=30))
    yield "no edges", case(quality=Quality(edges=0.0))
    for share in (0.5, 0.25, 0.1):
        yield f"{share:.0%} of the edges", case(quality=Quality(edges=share))
    yield "half the points of curves", case(quality=Quality(every=2))
    yield "a quarter of the points", case(quality=Quality(every=4))
    yield "boxes only", case(quality=bare)
    yield "background only", case(no_boxes, quality=bare)
    for scale in (0.71, 0.5):
        yield f"everything at {scale:.0%} size", case(quality=Quality(scale=scale))
    for level in range(2, LEVELS, 2):
        yield f"savings of level {level}", case(quality=replace(quality_of(level), scale=1.0))


def _none(boxes: BoxArrays) -> BoxArrays:
    return BoxArrays(*(column[:0] for column in vars(boxes).values()))


def measure(name: str, session: Session) -> None:
    """Print the table of one network."""
    session.wait()
    drawn = session.draw_list
    print(
        f"\n{name}: {len(drawn.solids.node)} solids, {len(drawn.frames.node)} frames,"
        f" {len(drawn.edges.source)} edges of {drawn.edges.points.shape[1]} points,"
        f" {len(drawn.labels)} labels"
    )
    with Renderer(SIZE, off_screen=True, multi_samples=0) as renderer:
        renderer.draw(drawn)
        renderer.camera = session.camera_for(None, renderer.scene_aspect)
        for what, work in cases(drawn):
            spent = work(renderer)
            print(f"  {what:28} {spent * 1000:8.1f} ms  {spent / LIMIT:6.2f} of 0.1 s", flush=True)


def open_all(session: Session, most: int) -> None:
    """Open nodes, the outermost first, until about so many are visible."""
    while True:
        cut = session.placed.cut
        paths = [cut.paths[r] for r in np.flatnonzero(cut.leaf).tolist()]
        paths = [p for p in paths if session.can_open(p)][: max(1, len(paths) // 4)]
        if not paths or len(cut) > most:
            return
        session.update(replace(session.state, opened=session.state.opened | set(paths)))


def main() -> None:
    """Print a table per network, first as it opens, then with about 1 500 nodes visible."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--graph", type=int, default=0, help="operations of a generated decoder")
    parser.add_argument("--nodes", type=int, default=1500)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        models = [(Path(m).stem, OpenModel.open(m)) for m in arguments.models]
        if arguments.graph:
            weights = layer_graphs.write_weights(Path(folder) / "weights")
            graph = layer_graphs.decoder(arguments.graph, "scoped", weights)
            models.append((graph.name, OpenModel(graph)))
        for name, model in models:
            with model:
                session = Session(model)
                measure(f"{name}, first picture", session)
                open_all(session, arguments.nodes)
                measure(f"{name}, opened", session)
                session.close_session()


if __name__ == "__main__":
    main()
