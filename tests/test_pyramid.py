"""The pyramid's answers against plain numpy sums over the whole matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.network import ByteRange, Layer, Weight
from explorer.pyramid.blocks import from_bytes, to_bytes
from explorer.pyramid.grid import _cut
from explorer.pyramid.plan import plan_of
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import Pairs, strongest
from explorer.weights.connections import Connection, Matrix, connections_of


class ArrayReader:
    """Weights held in memory, read as a file would be; counts the elements that are read."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.arrays = arrays
        self.elements = 0

    def read_flat(self, weight: Weight, start: int, stop: int) -> NDArray[np.generic]:
        flat = self.arrays[weight.name].ravel()
        assert 0 <= start <= stop <= flat.size
        self.elements += stop - start
        return flat[start:stop].copy()

    def read_rows(
        self, weight: Weight, first: int, rows: int, stride: int, width: int
    ) -> NDArray[np.generic]:
        flat = self.arrays[weight.name].ravel()
        assert first >= 0
        assert first + (rows - 1) * stride + width <= flat.size
        self.elements += rows * width
        return np.stack([flat[first + i * stride :][:width] for i in range(rows)])

    def read_many(
        self, weight: Weight, starts: NDArray[np.int64], width: int
    ) -> NDArray[np.generic]:
        flat = self.arrays[weight.name].ravel()
        assert starts.min() >= 0
        assert starts.max() + width <= flat.size
        self.elements += len(starts) * width
        return flat[starts[:, None] + np.arange(width)]


def weight(name: str, role: str, array: NDArray[np.generic]) -> Weight:
    """A weight of this array's shape."""
    return Weight(name, role, array.shape, str(array.dtype), ByteRange("memory", 0, array.nbytes))


def pairs_of(connection: Connection, arrays: dict[str, NDArray[np.generic]]):
    """Out unit, in unit and value of every weight, straight from the definition of a Matrix."""
    parts = []
    for m in connection.matrices:
        tap, row, column = (g.ravel() for g in np.indices((m.taps, m.major, m.minor)))
        at = m.offset + tap * m.tap_stride + row * m.major_stride + column * m.minor_stride
        out, inside = (row, column) if m.transposed else (column, row)
        if m.diagonal:
            out = row * m.minor + column
        value = arrays[m.weight.name].ravel()[at].astype(np.float64)
        parts.append((m.out_start + out * m.out_step, m.in_start + inside * m.in_step, value))
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def brute(connection, arrays, out_label, in_label):
    """Weights by (out label, in label)."""
    out, inside, value = pairs_of(connection, arrays)
    out, inside = out_label[out], in_label[inside]
    seen = np.flatnonzero((out >= 0) & (inside >= 0))
    seen = seen[np.lexsort((inside[seen], out[seen]))]
    out, inside, value = out[seen], inside[seen], value[seen]
    first = np.flatnonzero(np.diff(out, prepend=-1) | np.diff(inside, prepend=-1))
    groups = np.split(value, first[1:]) if len(first) else []
    names = zip(out[first].tolist(), inside[first].tolist(), strict=True)
    return dict(zip(names, groups, strict=True))


def layer_with(kind, rng, size, groups=1):
    """A layer of some kind with random weights."""
    a, b, taps = size
    config: dict[str, object] = {}
    if kind == "Dense":
        arrays = {"kernel": rng.normal(size=(a, b))}
    elif kind == "Conv1D":
        config = {"groups": groups, "filters": b * groups}
        arrays = {"kernel": rng.normal(size=(taps, a, b * groups))}
    elif kind == "Conv1DTranspose":
        arrays = {"kernel": rng.normal(size=(taps, b, a))}
    elif kind == "DepthwiseConv1D":
        arrays = {"kernel": rng.normal(size=(taps, a, groups))}
    elif kind == "LSTM":
        arrays = {"kernel": rng.normal(size=(a, 4 * b)),
                  "recurrent_kernel": rng.normal(size=(b, 4 * b))}  # fmt: skip
    else:
        raise AssertionError(kind)
    arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
    weights = tuple(weight(k, k, v) for k, v in arrays.items())
    return Layer("layer", kind, config, weights=weights), arrays


KINDS = ["Dense", "Conv1D", "Conv1DTranspose", "DepthwiseConv1D", "LSTM"]


@st.composite
def cases(draw):
    """A connection with random weights, some of them not finite, and random labels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(KINDS))
    size = draw(st.tuples(st.integers(1, 150), st.integers(1, 150), st.integers(1, 2)))
    layer, arrays = layer_with(kind, rng, size, draw(st.integers(1, 3)))
    for array in arrays.values():
        if draw(st.booleans()):
            array.flat[rng.integers(0, array.size, 3)] = [np.nan, np.inf, -np.inf]
        if draw(st.booleans()):
            array *= np.float32(10.0 ** draw(st.sampled_from([-25, 0, 25])))
    connection = draw(st.sampled_from(connections_of(layer)))
    labels = [draw_labels(draw, rng, n) for n in (connection.out_units, connection.in_units)]
    return connection, arrays, labels


def draw_labels(draw, rng, n):
    """Labels of n units: groups of 64, single, many to one, strided, one for all, some left out."""
    style = draw(st.sampled_from(["blocks", "single", "random", "modulo", "all", "few", "open"]))
    index = np.arange(n)
    made = {
        "blocks": index // 64,
        "single": index,
        "random": rng.integers(-1, 6, n),
        "modulo": index % 7,
        "all": np.zeros(n),
        "few": np.where(rng.random(n) < 0.1, index, -1),
        "open": np.where(index < 64, index, 63 + index // 64),
    }
    return made[style].astype(np.int32)


@pytest.fixture(params=["as is", "small ones too"])
def grid(request, monkeypatch):
    """Blocks, rows and columns are kept of large matrices only, or of small ones too."""
    if request.param == "small ones too":
        monkeypatch.setattr("explorer.pyramid.grid.SMALL", 0)
        monkeypatch.setattr("explorer.pyramid.grid._LINE_SHARE", 1e9)
        monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1 << 11)
    clear_plans()
    yield
    clear_plans()


def clear_plans():
    """Forget how matrices were cut."""
    plan_of.cache_clear()
    _cut.cache_clear()


ANY_GRID = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pyramid_of(connection, arrays, in_label=None):
    """A pyramid that knows of channels where the labels repeat, as a flattened tensor's do."""
    period = 0
    if in_label is not None and len(in_label) % 7 == 0:
        period = 7
    return Pyramid(ArrayReader(arrays), period=lambda _: period)


@ANY_GRID
@given(cases())
def test_stats_equal_sums_over_every_weight(grid, case):
    connection, arrays, (out_label, in_label) = case
    n_out, n_in = int(out_label.max(initial=0)) + 1, int(in_label.max(initial=0)) + 1
    pyramid = pyramid_of(connection, arrays, in_label)
    stats = pyramid.stats(connection, out_label, in_label, n_out, n_in)
    sets = brute(connection, arrays, out_label, in_label)
    want = {name: np.zeros((n_out, n_in)) for name in ("square", "sum", "abs", "max", "n", "bad")}
    for at, values in sets.items():
        good = values[np.isfinite(values)]
        want["square"][at], want["sum"][at] = np.square(good).sum(), good.sum()
        want["abs"][at], want["max"][at] = np.abs(good).sum(), np.abs(good).max(initial=0)
        want["n"][at], want["bad"][at] = len(good), len(values) - len(good)
    np.testing.assert_array_equal(stats.count, want["n"])
    np.testing.assert_array_equal(stats.non_finite, want["bad"])
    np.testing.assert_array_equal(stats.max_abs, want["max"])
    np.testing.assert_allclose(stats.sum_sq, want["square"], rtol=1e-6)
    np.testing.assert_allclose(stats.sum_abs, want["abs"], rtol=1e-6)
    assert np.all(np.abs(stats.sum - want["sum"]) <= 1e-6 * want["abs"])


@ANY_GRID
@given(cases(), st.sampled_from([0, 1, 7, 100, 3000]), st.booleans(), st.sampled_from([0, 2, 9]))
def test_strongest_equals_a_full_sort(grid, case, k, searched, worth):
    connection, arrays, (out_label, in_label) = case
    pyramid = pyramid_of(connection, arrays, in_label)
    with pytest.MonkeyPatch.context() as patch:
        if searched:  # take the way of large matrices
            patch.setattr("explorer.pyramid.search.strongest.FULL_READ", 0)
            patch.setattr("explorer.pyramid.search.tile_search._FIRST", 2)
            patch.setattr("explorer.pyramid.search.tile_search._WORTH", worth)
            pyramid.build(connection)
        patch.setattr("explorer.pyramid.search.full_scan._CHUNK", 500)
        found = strongest(pyramid, connection, out_label, in_label, k)
    sets = brute(connection, arrays, out_label, in_label)
    good = {at: values[np.isfinite(values)] for at, values in sets.items()}
    square = {at: np.square(v).sum() / len(v) for at, v in good.items() if len(v)}
    order = sorted(square, key=lambda at: (-square[at], at))[:k]
    assert found.total_pairs == len(sets)
    assert found.total_weights == sum(map(len, sets.values()))
    assert found.non_finite == found.total_weights - sum(map(len, good.values()))
    every = sum(np.square(v).sum() for v in good.values())
    np.testing.assert_allclose(found.total_sum_sq, every, rtol=1e-6)
    got = list(zip(found.out.tolist(), found.inside.tolist(), strict=True))
    assert len(got) == len(order)
    assert len(set(got)) == len(got)
    np.testing.assert_allclose(found.rms**2, [square[at] for at in order], rtol=1e-9)
    for at, s, n in zip(got, found.sum, found.count, strict=True):
        assert n == len(good[at])
        np.testing.assert_allclose(s, good[at].sum(), rtol=1e-9, atol=1e-9 * np.abs(good[at]).sum())
    if len(set(square.values())) == len(square):  # rounding may order equal magnitudes otherwise
        clear = [i for i in range(len(order)) if not _near(square, order, i)]
        assert [got[i] for i in clear] == [order[i] for i in clear]


def _near(square, order, i):
    """Whether a neighbour in the order has the same magnitude up to rounding."""
    here = square[order[i]]
    around = [square[order[j]] for j in (i - 1, i + 1) if 0 <= j < len(order)]
    chosen = set(order)
    rest = [v for at, v in square.items() if at not in chosen] if i == len(order) - 1 else []
    return any(abs(v - here) <= 1e-9 * here for v in around + rest)


def test_ties_are_ordered_by_unit():
    array = np.ones((70, 130), np.float32)
    layer = Layer("d", "Dense", {}, weights=(weight("k", "kernel", array),))
    (connection,) = connections_of(layer)
    pyramid = Pyramid(ArrayReader({"k": array}))
    labels = np.arange(130, dtype=np.int32), np.arange(70, dtype=np.int32)
    found = strongest(pyramid, connection, *labels, 100)
    assert found.out.tolist() == [0] * 70 + [1] * 30
    assert found.inside.tolist() == [*range(70), *range(30)]


def big_dense(rows: int, columns: int) -> tuple[Connection, Pyramid, ArrayReader]:
    """A dense layer too large to be kept whole in the cache."""
    array = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    layer = Layer("d", "Dense", {}, weights=(weight("k", "kernel", array),))
    reader = ArrayReader({"k": array})
    return connections_of(layer)[0], Pyramid(reader), reader


def test_large_matrix_is_searched_not_read():
    connection, pyramid, reader = big_dense(4096, 2048)
    pyramid.build(connection)
    reader.elements = 0
    labels = np.arange(2048, dtype=np.int32), np.arange(4096, dtype=np.int32)
    found = strongest(pyramid, connection, *labels, 1000)
    assert reader.elements <= 1100 * 64 * 2  # tiles of 2 × 64
    array = reader.arrays["k"].astype(np.float64)
    order = np.argsort(-np.abs(array.ravel()), kind="stable")[:1000]
    assert set(zip(found.inside, found.out, strict=True)) == {divmod(i, 2048) for i in order}
    np.testing.assert_array_equal(found.rms, np.abs(array.ravel()[order]))


@pytest.mark.parametrize("wrong", [0, 5])
def test_gates_joined_into_cells_are_searched_not_read(wrong):
    rng = np.random.default_rng(2)
    size, cells = 1500, 700
    strength = np.exp(rng.normal(size=(size, 1)))  # some units speak louder than others
    array = (rng.normal(size=(size, 4 * cells)) * strength).astype(np.float32)
    array.flat[rng.integers(0, array.size, wrong)] = np.nan
    again = np.zeros((cells, 4 * cells), np.float32)
    weights = (weight("k", "kernel", array), weight("r", "recurrent_kernel", again))
    layer = Layer("l", "LSTM", {}, weights=weights)
    reader = ArrayReader({"k": array, "r": again})
    connection = next(c for c in connections_of(layer) if c.name == "kernel")
    pyramid = Pyramid(reader)
    labels = (np.arange(4 * cells) % cells).astype(np.int32), np.arange(size, dtype=np.int32)
    asked = Pairs(pyramid, connection, *labels)
    asked.capacity()  # measures it, for it can be searched
    assert pyramid.ready(connection)
    reader.elements = 0
    found = asked.strongest(50)
    assert reader.elements < array.size / 3
    parts = array.astype(np.float64).reshape(size, 4, cells)
    good = np.isfinite(parts)
    square = np.where(good, parts, 0.0) ** 2
    mean = (square.sum(axis=1) / good.sum(axis=1)).ravel()
    order = np.argsort(-mean, kind="stable")[:50]
    assert list(zip(found.inside, found.out, strict=True)) == [divmod(i, cells) for i in order]
    np.testing.assert_allclose(found.rms**2, mean[order], rtol=1e-12)
    assert found.total_pairs == size * cells
    assert found.non_finite == np.count_nonzero(~good)


def test_pairs_that_hold_nothing_need_not_be_looked_through():
    """Where fewer pairs hold anything than are asked for: most of two files is alike."""
    array = np.zeros((1500, 1100), np.float32)
    rng = np.random.default_rng(6)
    few = np.sort(rng.choice(array.size, 20, replace=False))
    array.flat[few] = np.exp(rng.normal(size=20) * 30)  # 1e-30 and less are something, too
    layer = Layer("d", "Dense", {}, weights=(weight("k", "kernel", array),))
    (connection,) = connections_of(layer)
    reader = ArrayReader({"k": array})
    pyramid = Pyramid(reader)
    labels = np.arange(1100, dtype=np.int32), np.arange(1500, dtype=np.int32)
    pyramid.build(connection)
    reader.elements = 0
    found = strongest(pyramid, connection, *labels, 500, math.ulp(0.0))
    assert reader.elements < array.size / 50
    some = found.sum_sq > 0
    order = few[np.argsort(-array.flat[few], kind="stable")]
    pairs = list(zip(found.inside[some], found.out[some], strict=True))
    assert pairs == [divmod(i, 1100) for i in order.tolist()]
    np.testing.assert_array_equal(found.rms[some], array.flat[order].astype(np.float64))


def test_a_small_part_of_an_unmeasured_matrix_is_read_alone():
    connection, pyramid, reader = big_dense(4096, 2048)
    rows = np.where(np.arange(4096) < 20, np.arange(4096), -1).astype(np.int32)
    found = strongest(pyramid, connection, np.arange(2048, dtype=np.int32), rows, 9)
    assert not pyramid.ready(connection)
    assert reader.elements == 20 * 2048
    array = np.abs(reader.arrays["k"][:20].astype(np.float64)).ravel()
    np.testing.assert_array_equal(found.rms, np.sort(array)[::-1][:9])


def test_uniform_tiles_need_no_reading_and_open_groups_little():
    connection, _, reader = big_dense(4096, 2048)
    pyramid = Pyramid(reader, period=lambda _: 512)
    pyramid.build(connection)
    reader.elements = 0
    columns = np.arange(2048, dtype=np.int32)
    channel = (np.arange(4096) % 512 // 64).astype(np.int32)
    whole = pyramid.stats(connection, columns // 64, channel, 32, 8)
    assert reader.elements == 0
    opened = np.where(columns < 64, columns, 63 + columns // 64).astype(np.int32)
    stats = pyramid.stats(connection, opened, channel, 64 + 31, 8)
    assert reader.elements == 4096 * 64
    np.testing.assert_allclose(stats.sum_sq[:64].sum(axis=0), whole.sum_sq[0], rtol=1e-6)
    pyramid.stats(connection, opened, channel, 64 + 31, 8)
    assert reader.elements == 4096 * 64, "the second time comes from the cache"


def test_totals_alone_need_no_reading():
    connection, pyramid, reader = big_dense(4096, 2048)
    pyramid.build(connection)
    reader.elements = 0
    labels = np.arange(2048, dtype=np.int32), np.arange(4096, dtype=np.int32)
    found = strongest(pyramid, connection, *labels, 0)
    assert reader.elements == 0
    assert len(found.out) == 0
    assert found.total_weights == 4096 * 2048
    want = np.square(reader.arrays["k"].astype(np.float64)).sum()
    np.testing.assert_allclose(found.total_sum_sq, want, rtol=1e-6)


def test_single_units_against_a_whole_layer_need_no_reading():
    connection, pyramid, reader = big_dense(4096, 2048)
    pyramid.build(connection)
    reader.elements = 0
    array = reader.arrays["k"].astype(np.float64)
    one = pyramid.stats(connection, np.arange(2048), np.zeros(4096), 2048, 1)
    np.testing.assert_allclose(one.sum_sq[:, 0], np.square(array).sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(one.max_abs[:, 0], np.abs(array).max(axis=0))
    other = pyramid.stats(connection, np.zeros(2048), np.arange(4096), 1, 4096)
    np.testing.assert_allclose(other.sum_abs[0], np.abs(array).sum(axis=1), rtol=1e-6)
    assert reader.elements == 0


def test_what_was_measured_survives_as_bytes():
    connection, pyramid, _ = big_dense(4096, 2048)
    pyramid.build(connection)
    stats = pyramid.matrices(connection)
    data = to_bytes(stats)
    again = from_bytes(data, pyramid.plan(connection).grids)
    assert again is not None
    for name in ("sum_sq", "sum", "sum_abs", "max_abs", "peak"):
        got, want = (getattr(s[0].finest, name) for s in (again, stats))
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(again[0].codes, stats[0].codes)
    assert from_bytes(data[:-1], pyramid.plan(connection).grids) is None
    assert from_bytes(data + b"x", pyramid.plan(connection).grids) is None
    assert len(data) < 0.015 * 4096 * 2048 * 4


def test_building_can_be_cancelled():
    connection, pyramid, _ = big_dense(4096, 2048)
    asked = []
    assert not pyramid.build(connection, lambda: len(asked) > 2 or asked.append(1))
    assert not pyramid.ready(connection)
    assert pyramid.build(connection)
    assert pyramid.ready(connection)


def test_level0_is_exact_to_double_precision():
    rng = np.random.default_rng(1)
    array = rng.normal(size=(200, 100))
    layer = Layer("d", "Dense", {}, weights=(weight("k", "kernel", array),))
    (connection,) = connections_of(layer)
    pyramid = Pyramid(ArrayReader({"k": array}))
    labels = np.arange(100, dtype=np.int32), (np.arange(200) % 3).astype(np.int32)
    stats = pyramid.stats(connection, *labels, 100, 3)
    want = np.stack([np.square(array[i::3]).sum(axis=0) for i in range(3)], axis=1)
    np.testing.assert_allclose(stats.sum_sq, want, rtol=1e-12)


def test_matrix_describes_its_last_element():
    m = Matrix(weight("k", "kernel", np.zeros((3, 4, 10), np.float32)), 5, 3, 40, 4, 10, 5)
    assert m.last == 119


def test_repeating_labels_are_folded_right():
    connection, pyramid, reader = big_dense(9 * 500, 1000)  # not kept whole: read in blocks
    channel = (np.arange(4500) % 500).astype(np.int32)
    columns = np.arange(1000, dtype=np.int32)
    array = reader.arrays["k"].astype(np.float64).reshape(9, 500, 1000)
    grouped = channel // 10
    for label, n in ((channel, 500), (grouped, 50)):
        want = np.square(array).sum(axis=0).reshape(n, -1, 1000).sum(axis=1).T
        stats = pyramid.stats(connection, columns, label, 1000, n)
        np.testing.assert_allclose(stats.sum_sq, want, rtol=1e-12)
        signed = array.sum(axis=0).reshape(n, -1, 1000).sum(axis=1).T
        np.testing.assert_allclose(stats.sum, signed, atol=1e-9)
        assert np.all(stats.count == 4500 // n)
    found = strongest(pyramid, connection, columns, channel, 5)
    want = np.square(array).mean(axis=0)
    order = np.argsort(-want.ravel(), kind="stable")[:5]
    assert list(zip(found.inside, found.out, strict=True)) == [divmod(i, 1000) for i in order]
    np.testing.assert_allclose(found.rms**2, want.ravel()[order], rtol=1e-12)


def test_threads_may_ask_at_once():
    from concurrent.futures import ThreadPoolExecutor

    connection, pyramid, _ = big_dense(4096, 1100)
    labels = (np.arange(1100) // 50).astype(np.int32), (np.arange(4096) // 100).astype(np.int32)
    alone = pyramid.stats(connection, *labels, 22, 41)
    fresh = Pyramid(pyramid.level0._reader)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: fresh.stats(connection, *labels, 22, 41), range(8)))
    for answer in answers:
        np.testing.assert_array_equal(answer.sum_sq, alone.sum_sq)
