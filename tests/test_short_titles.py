"""Titles lose what is told around them, and nothing that tells them apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.drawing.short_titles import short_titles


def test_a_branch_goes_without_the_names_of_its_frame() -> None:
    titles = ["net", "right1", "separable_conv_1_reduction_right1",
              "separable_conv_2_reduction_right1", "activation_14"]  # fmt: skip
    found = short_titles(titles, [-1, 0, 1, 1, 1])
    assert found == ["net", "right1", "separable_conv_1", "separable_conv_2", "activation_14"]


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("block2 … block6", "block2 … 6"),
        ("normal 11 … normal 12", "normal 11 … 12"),
        ("block9 … block10", "block9 … 10"),
        ("stage_0 · block_0 … block_2", "stage_0 · block_0 … 2"),
        ("block2 … block6  × 5", "block2 … 6  × 5"),
        ("left … length", "left … length"),
        ("conv1 … pool1", "conv1 … pool1"),
        ("1 … 12", "1 … 12"),
        ("block2", "block2"),
    ],
)
def test_a_row_of_things_tells_their_name_once(title: str, wanted: str) -> None:
    assert short_titles([title], [-1]) == [wanted]


def test_short_and_lonely_titles_stay() -> None:
    titles = ["root", "conv_1_bn", "conv_2_bn", "global_average_pooling2d"]
    assert short_titles(titles, [-1, 0, 0, 0]) == titles


WORDS = st.lists(st.sampled_from(["conv", "1", "2", "normal", "left1"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(WORDS, st.integers(0, 3)), max_size=12))
def test_siblings_stay_as_different_as_they_were(rows) -> None:
    titles = ["root", *("_".join(words) for words, _ in rows)]
    parents = [-1, *(min(above, row) for row, (_, above) in enumerate(rows))]
    found = short_titles(titles, parents)
    for a in range(len(titles)):
        assert found[a]
        assert titles[a].startswith(found[a])
        for b in range(a):
            if parents[a] == parents[b] and titles[a] != titles[b]:
                assert found[a] != found[b]
