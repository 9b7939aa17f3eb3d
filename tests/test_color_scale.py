"""How numbers become colours: against numpy alone, and by what must hold for any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.drawing.color_scale import fit_scale, number
from explorer.drawing.scale_bar import histogram, scale_bar

RAMP = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)  # a colour is its position
KINDS = ("automatic", "linear", "log", "rank")
sizes = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-12, 1e6), st.sampled_from([0.25, 0.5, 2.0])),
    min_size=1,
    max_size=60,
).map(np.array)
signed = st.lists(
    st.one_of(st.just(0.0), st.floats(-1e6, 1e6, allow_subnormal=False)), min_size=1, max_size=60
).map(np.array)
ranges = st.one_of(
    st.none(),
    st.tuples(st.floats(0.0, 10.0, allow_subnormal=False), st.floats(1e-6, 10.0)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    ),
)


def ranks(values):
    """Mean rank of each number among all, as shares of the last rank; one by one."""
    return [
        (sum(w < v for w in values) + sum(w <= v for w in values) - 1) / 2 / (len(values) - 1)
        for v in values
    ]


@given(sizes, st.sampled_from(KINDS), ranges)
def test_larger_numbers_never_have_a_lower_place(values, wish, ends):
    scale = fit_scale(values, RAMP, False, wish, ends)
    at = scale.position(np.sort(values))
    assert ((at >= 0) & (at <= 1)).all()
    assert (np.diff(at) >= 0).all()
    same = np.array([v == w for v in values for w in values]).reshape(len(values), -1)
    place = scale.position(values)
    assert (place[:, None] == place[None])[same].all()  # ties are equal


@given(sizes, st.sampled_from(KINDS), ranges)
def test_what_lies_beyond_the_range_has_the_colours_of_its_ends(values, wish, ends):
    scale = fit_scale(values, RAMP, False, wish, ends)
    if ends is not None and scale.kind != "log":
        assert (scale.low, scale.high) == ends
    if not scale.high > scale.low:
        return
    at = scale.position(values)
    assert (at[values < scale.low] == 0).all()
    assert (at[values > scale.high] == 1).all()
    assert scale.below == (values < scale.low).sum()
    assert scale.above == (values > scale.high).sum()
    texts = [text for _, text in scale.ticks()]
    assert texts[0].startswith("≤ ") == bool(scale.below)
    assert texts[-1].startswith("≥ ") == bool(scale.above)


@given(signed, st.sampled_from(KINDS), ranges)
def test_a_diverging_scale_is_symmetric_about_zero(values, wish, ends):
    scale = fit_scale(values, RAMP, True, wish, ends)
    at, turned = scale.position(np.sort(values)), scale.position(-np.sort(values))
    assert (np.diff(at) >= 0).all()
    np.testing.assert_allclose(at + turned, 1.0, rtol=0, atol=1e-12)
    assert scale.position(np.zeros(1))[0] == 0.5
    assert (at[np.sort(values) > 0] >= 0.5).all()
    ticks = scale.ticks()
    assert all(0 <= at <= 1 for at, _ in ticks)
    if ends is not None and (values < -ends[1]).any():
        assert ticks[0] == (0.0, f"≤ {number(-ends[1])}")


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.7, 3.0]) | st.floats(0, 5), min_size=2).map(np.array)
)
def test_a_rank_is_the_mean_share_of_numbers_below(values):
    scale = fit_scale(values, RAMP, False, "rank")
    if scale.kind == "rank" and scale.high > scale.low:
        np.testing.assert_allclose(scale.position(values), ranks(values.tolist()), atol=1e-12)


def test_ranks_within_a_range_count_only_what_lies_in_it():
    values = np.array([0.01, 0.2, 0.3, 0.3, 0.9, 5.0])
    scale = fit_scale(values, RAMP, False, "rank", (0.1, 1.0))
    np.testing.assert_allclose(scale.position(values), [0, 0, 0.5, 0.5, 1, 1])
    ticks = scale.ticks()
    assert (ticks[0][1], ticks[-1][1]) == ("≤ 0.100", "≥ 1.00")


def test_each_kind_against_numpy():
    values = np.array([0.001, 0.01, 0.1, 1.0, 10.0])
    ends = (0.01, 1.0)
    linear = fit_scale(values, RAMP, False, "linear", ends).position(values)
    np.testing.assert_allclose(linear, np.clip((values - 0.01) / 0.99, 0, 1))
    log = fit_scale(values, RAMP, False, "log", ends).position(values)
    np.testing.assert_allclose(log, np.clip((np.log10(values) + 2) / 2, 0, 1))
    assert [text for _, text in fit_scale(values, RAMP, False, "log", ends).ticks()] == [
        "≤ 0.0100", "0.0464", "0.215", "≥ 1.00",
    ]  # fmt: skip


def test_a_signed_logarithm_has_its_low_end_in_the_middle():
    values = np.array([-10.0, -1.0, -0.1, -0.01, -0.001, 0.0, 0.001, 0.1, 1.0])
    scale = fit_scale(values, RAMP, True, "log", (0.01, 1.0))
    np.testing.assert_allclose(
        scale.position(values), [0, 0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.75, 1], atol=1e-12
    )
    assert scale.ticks() == (
        (0.0, "≤ -1.00"), (0.25, "-0.100"), (0.5, "0 ± 0.0100"), (0.75, "0.100"), (1.0, "1.00"),
    )  # fmt: skip


def test_without_a_wish_it_is_as_the_numbers_spread():
    close, wide = np.linspace(1.0, 3.0, 50), np.geomspace(0.001, 1.0, 50)
    assert fit_scale(close, RAMP, False).kind == "linear"
    assert fit_scale(close, RAMP, False).low == 0
    assert fit_scale(wide, RAMP, False).kind == "log"
    assert fit_scale(wide, RAMP, False).low == pytest.approx(np.quantile(wide, 0.05))
    assert fit_scale(-wide, RAMP, True).kind == "linear"


@pytest.mark.parametrize("wish", KINDS)
@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [2.0], [np.inf], [np.nan, 1.0, np.inf]])
@pytest.mark.parametrize("diverging", [False, True])
@pytest.mark.parametrize("ends", [None, (0.0, 0.5), (0.5, 7.0)])
def test_odd_numbers_are_coloured_without_a_word(wish, values, diverging, ends):
    given_values = np.array(values, float)
    scale = fit_scale(given_values, RAMP, diverging, wish, ends)
    finite = given_values[~np.isnan(given_values)]
    assert scale.colors(finite).shape == (len(finite), 3)
    assert all(0 <= at <= 1 and text for at, text in scale.ticks())
    bar = scale_bar(scale, wish)
    assert bar is None or bar.counts.sum() == np.isfinite(finite).sum()


@given(sizes)
def test_the_histogram_counts_every_number_in_its_bin(values):
    found = histogram(values)
    if found is None:
        assert not (values > 0).any()
        return
    bounds, counts = found
    assert counts.sum() == len(values)
    for i, held in enumerate(counts.tolist()):
        low = -np.inf if i == 0 else bounds[i]
        high = np.inf if i == len(counts) - 1 else bounds[i + 1]
        assert held == sum(low <= v < high for v in values.tolist())
    np.testing.assert_allclose(np.diff(np.log(bounds)), np.log(bounds[1] / bounds[0]), rtol=1e-6)


def test_the_bar_has_the_colours_of_the_scale_along_its_axis():
    values = np.array([-0.5, 0.001, 0.1, 0.2, 1.0])
    scale = fit_scale(values, RAMP, True, "log", (0.01, 0.5))
    bar = scale_bar(scale, "log")
    assert bar is not None
    axis = np.geomspace(bar.bounds[0], bar.bounds[-1], len(bar.colors))
    assert (bar.colors == scale.colors(axis)).all()
    assert (bar.negative == scale.colors(-axis)).all()
    assert (bar.bounds[0], bar.bounds[-1]) == pytest.approx((0.001, 1.0))
    assert (bar.wish, bar.kind, bar.low, bar.high, bar.chosen) == ("log", "log", 0.01, 0.5, True)
