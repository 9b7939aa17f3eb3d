"""What joins neighbours stands out of a net of links over many nodes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from explorer.drawing.crowding import CROWDED
from explorer.session.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from layer_graphs import chain, write_weights


def drawn(network):
    session = Session(network)
    session.wait()
    try:
        cut, edges = session.placed.cut, session.draw_list.edges
        lines = session.draw_list.legend.lines
    finally:
        session.close_session()
    order = {row: k for k, row in enumerate(np.flatnonzero(cut.leaf).tolist())}
    whole = (edges.source < len(cut)) & (edges.target < len(cut))  # no single connections
    arrays = {f: getattr(edges, f)[whole] for f in edges.__dataclass_fields__}
    edges = type(edges)(**arrays)
    span = np.array(
        [abs(order[b] - order[a]) for a, b in zip(edges.source, edges.target, strict=True)]
    )
    return span, edges, lines


@pytest.mark.parametrize("weights", [True, False])
def test_of_a_chain_with_many_skips_the_chain_is_clear(tmp_path, weights) -> None:
    path = write_weights(tmp_path / "w.bin") if weights else None
    span, edges, lines = drawn(chain(3_000, 3_000, path))
    nodes = len({*edges.source.tolist(), *edges.target.tolist()})
    pairs = set(zip(edges.source.tolist(), edges.target.tolist(), strict=True))
    assert len(pairs) > 3 * nodes  # or it would be no crowd
    near, far = span <= 1, span > 1
    assert near.sum() >= nodes - 1
    alpha = edges.colors[:, 3].astype(int)
    assert alpha[near].min() > 1.6 * alpha[far].max()
    assert edges.widths[near].min() > edges.widths[far].min()
    assert alpha[far].min() >= 20
    assert edges.widths[far].min() >= 1.0
    assert CROWDED in lines
    # What is drawn last lies on top.
    assert near[far.sum() :].all()


def test_a_few_skips_are_as_clear_as_the_chain(tmp_path) -> None:
    span, edges, lines = drawn(chain(30, 6, write_weights(tmp_path / "w.bin")))
    assert CROWDED not in lines
    assert (span > 1).any()
    assert edges.colors[span > 1, 3].min() > 200
