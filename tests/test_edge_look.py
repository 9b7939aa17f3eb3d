"""Strong edges stand out of many, and none of them vanishes."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.crossing.rows import EdgeRows
from explorer.drawing.edge_look import opacity, widths
from explorer.overlays import EdgeStats


def edges(counts, strand=False, pending=False) -> EdgeRows:
    """Edges that stand for so many weights each."""
    n = len(counts)
    none, numbers = np.full(n, -1, np.int32), np.zeros(n)
    stats = EdgeStats(numbers, numbers, numbers, numbers, np.array(counts, np.int64), none * 0)
    flags = np.full(n, strand), np.full(n, pending)
    return EdgeRows(none, none, none, none, none, none, stats, *flags)


@pytest.mark.parametrize("many", [1, 100, 40_000])
def test_of_many_connections_the_stronger_is_the_more_opaque_and_none_is_invisible(many) -> None:
    rows = edges([1] * many)
    alpha = opacity(rows, np.linspace(0, 1, many), np.ones(many, bool))
    assert (np.diff(alpha) >= 0).all()
    assert alpha.min() >= 30
    assert alpha.max() <= 255
    if many > 1:
        assert alpha[-1] > 2.5 * alpha[0]


@pytest.mark.parametrize("many", [1, 100, 40_000])
def test_grey_lines_are_thin_and_always_seen(many) -> None:
    rows, none = edges([0] * many), np.zeros(many)
    alpha, width = opacity(rows, none, none > 0), widths(rows, none, none > 0)
    assert (alpha >= 80).all()
    assert (width < 2).all()
    # One is clearer than one of thousands.
    assert alpha[0] <= opacity(edges([0]), none[:1], none[:1] > 0)[0]


def test_line_of_more_weights_is_wider_up_to_a_limit() -> None:
    rows = edges([10, 1_000, 10**6, 10**15])
    width = widths(rows, np.zeros(4), np.ones(4, bool))
    assert (np.diff(width) >= 0).all()
    assert width[1] > width[0]
    assert width[-1] <= 7


def test_many_wide_lines_are_narrower_each() -> None:
    alone = widths(edges([10**6]), np.zeros(1), np.ones(1, bool))[0]
    crowd = widths(edges([10**6] * 500), np.zeros(500), np.ones(500, bool))[0]
    assert 1.0 <= crowd < alone / 2


def test_what_is_still_read_is_fainter_than_what_carries_no_weights() -> None:
    none = np.zeros(1, bool)
    assert opacity(edges([5], pending=True), np.zeros(1), none) < opacity(
        edges([0]), np.zeros(1), none
    )
