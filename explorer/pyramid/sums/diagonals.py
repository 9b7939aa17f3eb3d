"""Depthwise kernels: each in unit meets its own out units alone, so there are few pairs."""

from __future__ import annotations

import numpy as np

from explorer.pyramid.level0 import Level0, row_blocks
from explorer.pyramid.sums.bands import Band
from explorer.weights.connections import Matrix


def measure_diagonal(matrix: Matrix, level0: Level0) -> Band:
    """Sum up a whole depthwise kernel: one block."""
    sums, bad = np.zeros((4, 1, 1)), 0
    everywhere = np.zeros(matrix.major, np.int32)
    for runs in row_blocks(everywhere, matrix.minor):
        pairs = level0.pairs(matrix, runs, (0, matrix.minor), keep=False)
        for at, values in enumerate((pairs.sum_sq, pairs.sum, pairs.sum_abs)):
            sums[at] += values.sum()
        sums[3] = max(float(sums[3, 0, 0]), float(pairs.max_abs.max(initial=0.0)))
        bad += 0 if pairs.bad is None else int(pairs.bad.sum())
    none = np.zeros((0, 1), np.uint8)
    return Band(sums, np.zeros((1, 1)), none, np.full((1, 1), bad, np.int64), None, None)
