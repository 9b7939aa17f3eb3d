"""The fewest connections that hold a share of Σw², against plain numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers
from keras_graph import built
from test_pyramid import ArrayReader, clear_plans, weight

from explorer.crossing.query import fewest_edges, strongest_edges
from explorer.errors import NeuronautError
from explorer.network import Layer, Link, Network
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import FULL_READ

SHARES = st.one_of(st.sampled_from([0.0, 1e-9, 0.5, 1.0]), st.floats(0.0, 1.0))


def dense_network(*kernels):
    """Dense layers one after the other, and the pyramid over them."""
    arrays = {f"k{i}": kernel for i, kernel in enumerate(kernels)}
    made = [Layer("x", "InputLayer", {}, (), (None, kernels[0].shape[0]))]
    links = []
    for i, (name, kernel) in enumerate(arrays.items()):
        links.append(Link(made[-1].path, f"d{i}"))
        made.append(Layer(f"d{i}", "Dense", {"units": kernel.shape[1]}, (), (None, kernel.shape[1]),
                          (weight(name, "kernel", kernel),)))  # fmt: skip
    network = Network("made", "test", tuple(made), links=tuple(links))
    return network, ArrayReader(arrays)


def fewest(square, share):
    """How many of some values hold a share of their sum, by sorting them all."""
    held = np.cumsum(np.sort(square[square > 0])[::-1])
    if share == 1.0 or share * len(held) == 0.0:
        return len(held) if share else 0
    return int(np.searchsorted(held, share * square.sum() * (1 - 1e-12))) + 1


def number_is_right(count, square, share, read=True):
    """Whether it is the fewest; of what is not read the total is known to single precision."""
    low, high = (fewest(square, min(share * (1 + e), 1.0)) for e in (-1e-6, 1e-6))
    exact = (read and square.size <= FULL_READ) or share in (0.0, 1.0)
    return count == fewest(square, share) if exact else low <= count <= high


@st.composite
def kernels(draw):
    """A matrix: normal, all alike, of few values, mostly zeros, with NaN and infinity."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    made = {
        "normal": lambda: rng.normal(size=shape),
        "heavy": lambda: rng.standard_cauchy(size=shape),
        "ties": lambda: rng.integers(-2, 3, shape),
        "zeros": lambda: np.zeros(shape),
        "sparse": lambda: rng.normal(size=shape) * (rng.random(shape) < 0.05),
    }
    array = made[draw(st.sampled_from(sorted(made)))]().astype(np.float32)
    if draw(st.booleans()):
        array.flat[rng.integers(0, array.size, 3)] = [np.nan, np.inf, -np.inf]
    return array


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kernels(), SHARES, st.booleans())
def test_no_smaller_number_would_do(kernel, share, small_blocks):
    with pytest.MonkeyPatch.context() as patch:
        if small_blocks:  # take the way of large matrices
            patch.setattr("explorer.pyramid.grid.SMALL", 0)
            patch.setattr("explorer.pyramid.search.strongest.FULL_READ", 0)
            patch.setattr("explorer.crossing.query._FIRST", 7)
        clear_plans()
        network, reader = dense_network(kernel)
        found = fewest_edges(network, Pyramid(reader), ["x"], ["d0"], share)
    clear_plans()
    square = np.square(np.where(np.isfinite(kernel), kernel, 0).astype(np.float64))
    assert number_is_right(len(found.edges), square.ravel(), share, not small_blocks)
    got = np.array([square[e.from_unit, e.to_unit] for e in found.edges])
    assert np.all(np.diff(got) <= 0), "strongest first"
    assert len({(e.from_unit, e.to_unit) for e in found.edges}) == len(got)
    np.testing.assert_array_equal(got, np.sort(square.ravel())[::-1][: len(got)])
    held = got.sum() / square.sum() if square.any() else 1.0
    precision = 1e-11 if kernel.size <= FULL_READ and not small_blocks else 1e-6
    assert found.shown_share_of_sum_sq == pytest.approx(held, rel=precision)
    assert share * (1 - 1e-11) <= found.shown_share_of_sum_sq <= 1.0
    assert found.non_finite == np.count_nonzero(~np.isfinite(kernel))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_part_of_a_matrix_and_several_matrices_at_once(seed, share):
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((200, 260), (260, 150)))
    network, reader = dense_network(a, b * np.float32(3))
    pyramid = Pyramid(reader)
    found = fewest_edges(network, pyramid, ["x", "d0"], ["d0", "d1"], share)
    square = [np.square(a.astype(np.float64)), np.square((b * np.float32(3)).astype(np.float64))]
    every = np.concatenate([s.ravel() for s in square])
    assert number_is_right(len(found.edges), every, share)
    got = [square[e.to_layer == "d1"][e.from_unit, e.to_unit] for e in found.edges]
    np.testing.assert_array_equal(got, np.sort(every)[::-1][: len(got)])
    rows, columns = (int(n) for n in rng.integers(1, 199, 2))
    some = fewest_edges(network, pyramid, ["x"], ["d0"], share,
                        from_range=(rows, 200), to_range=(0, columns))  # fmt: skip
    part = square[0][rows:, :columns].ravel()
    assert number_is_right(len(some.edges), part, share)
    got = np.sort([square[0][e.from_unit, e.to_unit] for e in some.edges])[::-1]
    np.testing.assert_array_equal(got, np.sort(part)[::-1][: len(got)])


def test_what_counts_is_what_a_connection_holds_not_its_magnitude(tmp_path):
    x = keras.Input((6, 4), name="x")
    made = built(tmp_path, x, layers.Dense(3, name="y")(layers.Flatten()(layers.Conv1D(
        5, 1, name="conv")(x))))  # fmt: skip
    first = made.model.get_layer("conv").kernel.numpy().astype(np.float64)
    kernel = made.model.get_layer("y").kernel.numpy().astype(np.float64).reshape(6, 5, 3)
    held = np.concatenate((np.square(first).sum(axis=0).ravel(),
                           np.square(kernel).sum(axis=0).ravel()))  # fmt: skip
    for share in (0.1, 0.3, 0.5, 0.9):
        found = fewest_edges(made.network, made.pyramid, ["x", "conv"], ["conv", "y"], share)
        assert len(found.edges) == fewest(held, share)
        order = [e.magnitude for e in found.edges]
        assert order == sorted(order, reverse=True)
        got = np.sort([e.magnitude**2 * e.weights for e in found.edges])[::-1]
        np.testing.assert_allclose(got, np.sort(held)[::-1][: len(got)], rtol=1e-9)


def test_more_than_can_be_listed_is_one_line_with_a_true_bound():
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(700, 800)).astype(np.float32)
    network, reader = dense_network(kernel)
    pyramid = Pyramid(reader)
    square = np.square(kernel.astype(np.float64)).ravel()
    for share, most in ((0.5, 1000), (0.9, 50_000), (0.012, 500), (1.0, 100_000)):
        needed = fewest(square, share)
        assert needed > most
        with pytest.raises(NeuronautError, match=f"no more than {most} can be listed") as error:
            fewest_edges(network, pyramid, ["x"], ["d0"], share, most=most)
        told = int(str(error.value).split("at least ")[1].split()[0])
        assert most < told <= needed
    exact = fewest(square, 0.02)
    assert len(fewest_edges(network, pyramid, ["x"], ["d0"], 0.02, most=exact).edges) == exact
    with pytest.raises(NeuronautError):
        fewest_edges(network, pyramid, ["x"], ["d0"], 0.02, most=exact - 1)


def test_a_hopeless_share_is_refused_without_reading():
    kernel = np.random.default_rng(4).normal(size=(2048, 2048)).astype(np.float32)
    network, reader = dense_network(kernel)
    pyramid = Pyramid(reader)
    fewest_edges(network, pyramid, ["x"], ["d0"], 0.0)
    reader.elements = 0
    with pytest.raises(NeuronautError, match="at least"):
        fewest_edges(network, pyramid, ["x"], ["d0"], 0.9)
    assert reader.elements == 0
    few = fewest_edges(network, pyramid, ["x"], ["d0"], 0.001)
    assert len(few.edges) == fewest(np.square(kernel.astype(np.float64)).ravel(), 0.001)
    assert reader.elements < kernel.size / 4


@pytest.mark.parametrize("share", [-0.1, 1.0000001, np.nan, np.inf])
def test_what_is_no_share_is_told(share):
    network, reader = dense_network(np.ones((3, 4), np.float32))
    with pytest.raises(NeuronautError, match="is no share"):
        fewest_edges(network, Pyramid(reader), ["x"], ["d0"], share)


def test_decimal_shares_of_equal_weights_are_not_rounded_up():
    network, reader = dense_network(np.ones((10, 10), np.float32))
    for percent in range(101):
        found = fewest_edges(network, Pyramid(reader), ["x"], ["d0"], percent / 100)
        assert len(found.edges) == percent


def test_how_far_the_measuring_for_a_question_is():
    clear_plans()
    rng = np.random.default_rng(3)
    network, reader = dense_network(rng.normal(size=(9000, 700)), rng.normal(size=(700, 300)))
    pyramid, told = Pyramid(reader), []
    strongest_edges(network, pyramid, ["x"], ["d0"], 3, told=lambda *a: told.append(a))
    done, totals = zip(*told, strict=True)
    assert set(totals) == {9000 * 700 * 8}
    assert list(done) == sorted(done)
    assert done[0] == 0
    assert done[-1] == totals[0]
    assert len(set(done)) > 2  # not only where it began and ended
    told.clear()
    for asked in (["x", "d0"], ["x"]):  # one is measured already
        fewest_edges(network, pyramid, asked, ["d0", "d1"], 1e-6, told=lambda *a: told.append(a))
    assert {total for _, total in told} == {700 * 300 * 8}
