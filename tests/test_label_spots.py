"""The upper edge that titles stand on, against all segments between two corners."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from explorer.drawing import label_spots as spots


@pytest.mark.parametrize("seed", range(20))
def test_the_upper_edge_is_the_highest_of_all_segments(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.normal(size=(8, 2)) * 300
    if seed % 3 == 0:
        corners = corners.round(-2)  # corners above one another, and on one line
    xs = np.linspace(corners[:, 0].min(), corners[:, 0].max(), 31)
    highest = np.full(len(xs), np.inf)
    for a, b in combinations(corners, 2):
        for k, x in enumerate(xs):
            if min(a[0], b[0]) - 1e-9 <= x <= max(a[0], b[0]) + 1e-9:
                share = 0.0 if a[0] == b[0] else (x - a[0]) / (b[0] - a[0])
                ends = (a[1], b[1]) if a[0] == b[0] else (a[1] + share * (b[1] - a[1]),)
                highest[k] = min(highest[k], *ends)
    edge = spots.TopEdge(corners)
    edge._ends = (-np.inf, np.inf)  # its steep sides too
    assert np.allclose([edge._at(x) for x in xs.tolist()], highest)


def test_a_title_keeps_to_what_is_seen_of_its_edge() -> None:
    """Every spot lies in the picture's width and touches the edge, or stands one text above it."""
    corners = np.array([[x, y] for x in (100.0, 500.0) for y in (200.0, 260.0, 300.0, 320.0)])
    found = spots.TopEdge(corners).spots((100.0, 500.0), (120, 20), 1600)
    assert sorted({y for _, y in found}) == [160, 180, 203]
    assert [x for x, _ in found[:6]] == [100, 142, 184, 240, 296, 352]
    assert found[0] == (100, 180)
    wide = spots.TopEdge(corners).spots((100.0, 500.0), (500, 20), 1600)
    assert [x for x, _ in wide] == [50, 50, 50]
