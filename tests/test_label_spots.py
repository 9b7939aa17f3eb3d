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
    assert np.allclose(spots._upper_edge(corners, xs), highest)
