"""ResNet50 and VGG16 whole: every number of the pyramid against plain sums over Keras' own arrays.

What is expected is summed in double precision from the kernels that Keras holds, by their layout
as Keras documents it: ``(in, out)`` and ``(height, width, in, out)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import script
from numpy.typing import NDArray

from explorer.open_model import OpenModel
from explorer.pyramid.search.strongest import Strongest, strongest
from explorer.weights.connections import Connection

F8 = NDArray[np.float64]
Cuts = NDArray[np.intp]
SUMS = (np.add, np.add, np.add, np.maximum, np.add)  # of w², w, |w|, |w|, and what is not finite
CHUNK = 1 << 22  # weights summed at once
TOP = 1000


class Truth:
    """A kernel by pairs: rows are in channels, columns are out channels, taps are summed."""

    def __init__(self, kernel: NDArray[Any]) -> None:
        self.taps = kernel.reshape(-1, *kernel.shape[-2:])
        self.rows, self.columns = self.taps.shape[1:]

    def pairs(self, rows: slice, columns: slice) -> F8:
        """Σw², Σw, Σ|w|, max|w| and how many others, of each pair: (5, rows, columns)."""
        w = self.taps[:, rows, columns].astype(np.float64)
        bad = ~np.isfinite(w)
        w[bad] = 0
        size = np.abs(w)
        found = (w * w, w, size, size, bad)
        return np.stack([f.reduce(a, axis=0) for f, a in zip(SUMS, found, strict=True)])

    def sums(self, columns: Cuts) -> tuple[F8, F8]:
        """Of each row within these groups of columns, and of each column: (5, rows, n), (5, c)."""
        step = max(1, CHUNK // (self.taps.shape[0] * self.columns))
        along, down = [], []
        for first in range(0, self.rows, step):
            pairs = self.pairs(slice(first, first + step), slice(None))
            along.append(folded(pairs, columns, 1))
            down.append(folded(pairs, np.array([0]), 0))
        return np.concatenate(along, axis=1), folded(np.concatenate(down, 1), np.array([0]), 0)[
            :, 0
        ]


def folded(sums: F8, cuts: Cuts, axis: int) -> F8:
    """Sums over runs of rows (0) or columns (1) that begin at these cuts."""
    return np.stack([f.reduceat(a, cuts, axis=axis) for f, a in zip(SUMS, sums, strict=True)])


def assert_sums(found: Any, want: F8, what: str) -> None:
    """Exact to single precision; the largest and the counts are exact."""
    sum_sq, total, sum_abs, largest = (np.asarray(a, np.float64) for a in found)
    np.testing.assert_allclose(sum_sq, want[0], rtol=1e-6, err_msg=what)
    np.testing.assert_allclose(sum_abs, want[2], rtol=1e-6, err_msg=what)
    np.testing.assert_array_equal(largest, want[3], err_msg=what)
    assert np.all(np.abs(total - want[1]) <= 1e-6 * want[2]), what


def labels(n: int, cuts: Cuts) -> NDArray[np.int32]:
    """Units numbered by the run that they lie in."""
    return (np.searchsorted(cuts, np.arange(n), side="right") - 1).astype(np.int32)


def check_sums(model: OpenModel, connection: Connection, truth: Truth, draw: Any) -> None:
    """Totals, blocks of every level, rectangles, rows and columns of a connection."""
    pyramid, name = model.pyramid, connection.target
    rows, columns = truth.rows, truth.columns
    assert (connection.in_units, connection.out_units) == (rows, columns)
    own = pyramid.plan(connection).parts[0].grid
    blocks = np.arange(0, columns, own.width)
    some = np.unique([0, *draw.integers(0, columns, 2)])
    every = np.union1d(blocks, some)
    along, down = truth.sums(every)
    whole = folded(along, np.array([0]), 1)[:, :, 0]
    total = folded(folded(along, np.array([0]), 1), np.array([0]), 0)[:, 0, 0]

    known = pyramid.totals(connection)
    assert_sums((known.sum_sq, known.sum, known.sum_abs, known.max_abs), total, name)
    assert known.non_finite == total[4]
    assert known.finite + known.non_finite == truth.taps.size

    def grouped(wanted: Cuts, row_cuts: Cuts) -> F8:
        return folded(folded(along, np.searchsorted(every, wanted), 1), row_cuts, 0)

    stats = pyramid.matrices(connection)[0]
    for level in stats.levels:
        want = grouped(np.arange(0, columns, level.width), np.arange(0, rows, level.height))
        found = (level.sum_sq, level.sum, level.sum_abs, level.max_abs)
        assert_sums(found, want, f"{name}: blocks of {level.height}")
    if stats.over_rows is not None and stats.over_columns is not None:
        assert_sums(stats.over_rows, whole, f"{name}: rows")
        assert_sums(stats.over_columns, down, f"{name}: columns")

    row_cuts = np.unique([0, *draw.integers(0, rows, 2)])
    one = np.array([0])
    for out, inside, want in (
        (some, row_cuts, grouped(some, row_cuts)),
        (np.arange(columns), one, down[:, None]),
        (one, np.arange(rows), whole[:, :, None]),
    ):
        asked = pyramid.stats(
            connection, labels(columns, out), labels(rows, inside), len(out), len(inside)
        )
        found = (asked.sum_sq.T, asked.sum.T, asked.sum_abs.T, asked.max_abs.T)
        assert_sums(found, want, f"{name}: rectangles")
        np.testing.assert_array_equal(asked.non_finite.T, want[4])


def check_strongest(model: OpenModel, connection: Connection, truth: Truth, draw: Any) -> None:
    """The strongest of all, of a rectangle, and of one unit's fan-in and fan-out."""
    rows, columns = truth.rows, truth.columns
    tall, wide = (sorted(draw.choice(n + 1, 2, replace=False)) for n in (rows, columns))
    row, column = int(draw.integers(rows)), int(draw.integers(columns))
    for inside, out in (
        (slice(0, rows), slice(0, columns)),
        (slice(*tall), slice(*wide)),
        (slice(row, row + 1), slice(0, columns)),
        (slice(0, rows), slice(column, column + 1)),
    ):
        out_label = np.full(columns, -1, np.int32)
        in_label = np.full(rows, -1, np.int32)
        out_label[out], in_label[inside] = np.arange(columns)[out], np.arange(rows)[inside]
        found = strongest(model.pyramid, connection, out_label, in_label, TOP)
        assert_strongest(found, truth, inside, out, connection.target)


def assert_strongest(found: Strongest, truth: Truth, inside: slice, out: slice, name: str) -> None:
    """The same pairs as a full sort finds; of equal ones those of the first units."""
    taps = truth.taps[:, inside, out]
    count, (high, wide) = len(taps), taps.shape[1:]
    finite = np.where(np.isfinite(taps), taps, 0) if not np.isfinite(taps).all() else taps
    if count == 1:
        square = np.abs(finite[0]).ravel()  # in the order of the squares
    else:
        number = np.isfinite(taps).sum(axis=0)
        square = np.einsum("trc,trc->rc", finite, finite, dtype=np.float64)
        square = (square / np.maximum(number, 1)).ravel()
    most = min(TOP, high * wide - int((~np.isfinite(taps)).all(axis=0).sum()))
    # Rounding may order pairs of several taps otherwise: those as strong as the last, up to that.
    least = np.partition(square, -most)[-most]
    strong = np.flatnonzero(square >= least * (1 - 1e-12))
    row, column = np.divmod(strong, wide)
    order = np.lexsort((row, column, -square[strong]))
    want = list(zip((row + inside.start)[order], (column + out.start)[order], strict=True))
    got = list(zip(found.inside.tolist(), found.out.tolist(), strict=True))
    assert len(got) == len(set(got)) == most, name
    exact = square[strong][order].astype(np.float64)
    if count == 1:
        assert got == want[:most], name
        np.testing.assert_array_equal(found.max_abs, exact[:most])
        np.testing.assert_array_equal(found.sum_sq, np.square(exact[:most]))
    else:
        assert set(got) <= set(want), name
        np.testing.assert_allclose(found.rms**2, exact[:most], rtol=1e-12)
    assert found.total_pairs == high * wide
    assert found.total_weights == taps.size


@pytest.fixture(scope="module", params=["resnet50", "vgg16"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OpenModel, dict[str, Truth]]]:
    """A network of Keras' own with some weights that are not finite, and what it holds."""
    keras_model = script().build(request.param)
    draw, truths = np.random.default_rng(11), {}
    for at, layer in enumerate(layer for layer in keras_model.layers if hasattr(layer, "kernel")):
        kernel = np.array(layer.kernel)
        if at % 5 == 2 or layer.name == "fc2":
            kernel.flat[draw.integers(0, kernel.size, 3)] = [np.nan, np.inf, -np.inf]
            layer.kernel.assign(kernel)
        truths[layer.name] = Truth(kernel)
    path = tmp_path_factory.mktemp("whole") / f"{request.param}.keras"
    script().save(keras_model, path)
    del keras_model
    with OpenModel.open(str(path)) as model:
        yield model, truths
    Path(path).unlink()  # half a gigabyte


@pytest.mark.slow
def test_every_connection_holds_what_keras_holds(
    opened: tuple[OpenModel, dict[str, Truth]],
) -> None:
    model, truths = opened
    connections = {c.target: c for c in model.table.connections}
    assert set(connections) == set(truths)
    draw = np.random.default_rng(12)
    for name, truth in truths.items():
        assert model.pyramid.build(connections[name])
        check_sums(model, connections[name], truth, draw)
        check_strongest(model, connections[name], truth, draw)
