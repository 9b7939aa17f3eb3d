"""Statistics and strongest connections of packed weights equal those of their numbers."""

from __future__ import annotations

from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import pytest
from codec_files import File, pack

from explorer.network import Lanes, Layer, Packing, TableAxis, Weight
from explorer.pyramid.plan import bytes_of
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import strongest
from explorer.weights.connections import connections_of
from explorer.weights.weight_reader import WeightReader

ROWS, COLUMNS = 2100, 2048  # more elements than are kept in one piece


def groups_of_int4(file: File, rng: np.random.Generator) -> tuple[Weight, np.ndarray]:
    codes = rng.integers(-8, 8, (ROWS, COLUMNS)).astype(np.int8)
    scale = rng.normal(size=(ROWS // 100, COLUMNS)).astype(np.float32)
    zero = rng.integers(-8, 8, scale.shape).astype(np.int8)
    group = rng.integers(0, len(scale), ROWS)
    axes = (TableAxis(ROWS, 1, COLUMNS, file.add("g", group.astype(np.float32))),
            TableAxis(COLUMNS, 1, 1))  # fmt: skip
    packing = Packing(file.add("s", scale), file.add("z", zero), False, axes,
                      Lanes("int8", 4, COLUMNS))  # fmt: skip
    stored = pack(codes[:, :, None], 4, "int8")
    weight = file.add("w", stored, "int4", codes.shape, packing)
    return weight, (codes.astype(np.float32) - zero[group]) * scale[group]


def blocks_of_q8(file: File, rng: np.random.Generator) -> tuple[Weight, np.ndarray]:
    values = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    stored = gguf.quants.quantize(values, kind)
    weight = file.add("w", stored, "Q8_0", values.shape)
    return weight, gguf.quants.dequantize(stored, kind).reshape(values.shape)


def small_floats(file: File, rng: np.random.Generator) -> tuple[Weight, np.ndarray]:
    values = rng.normal(size=(ROWS, COLUMNS)).astype(ml_dtypes.float8_e4m3fn)
    values[5, 7] = values[2000, 2000] = np.nan
    weight = file.add("w", values.view(np.uint8), "float8_e4m3fn")
    return weight, values.astype(np.float32)


@pytest.mark.parametrize("make", [groups_of_int4, blocks_of_q8, small_floats])
def test_against_numpy(tmp_path: Path, make) -> None:
    file, rng = File(tmp_path / "f"), np.random.default_rng(8)
    weight, numbers = make(file, rng)
    (connection,) = connections_of(Layer("d", "Dense", weights=(weight,)))
    out, inside = np.arange(COLUMNS, dtype=np.int32), np.arange(ROWS, dtype=np.int32)
    finite = np.where(np.isfinite(numbers), numbers, 0.0).astype(np.float64)
    with WeightReader(file.network(weight)) as reader:
        pyramid = Pyramid(reader)
        assert pyramid.build(connection)
        found = strongest(pyramid, connection, out, inside, 50)
        halves = pyramid.stats(connection, (out >= 1000).astype(np.int32),
                               (inside >= 77).astype(np.int32), 2, 2)  # fmt: skip
    order = np.argsort(-np.abs(finite).ravel(), kind="stable")[:50]
    np.testing.assert_allclose(found.rms, np.abs(finite.ravel()[order]), rtol=1e-6)
    np.testing.assert_allclose(found.sum, finite[found.inside, found.out], rtol=1e-6)
    for o, columns in enumerate((slice(0, 1000), slice(1000, None))):
        for i, rows in enumerate((slice(0, 77), slice(77, None))):
            part = finite[rows, columns]
            bad = np.count_nonzero(~np.isfinite(numbers[rows, columns]))
            assert halves.non_finite[o, i] == bad
            assert halves.count[o, i] == part.size - bad
            assert halves.max_abs[o, i] == np.abs(part).max()
            np.testing.assert_allclose(halves.sum_sq[o, i], np.square(part).sum(), rtol=1e-5)
            np.testing.assert_allclose(halves.sum[o, i], part.sum(), atol=1e-6 * np.abs(part).sum())


def test_bytes_to_read_are_those_in_the_file(tmp_path: Path) -> None:
    for make in (groups_of_int4, blocks_of_q8, small_floats):
        file = File(tmp_path / make.__name__)
        weight, _ = make(file, np.random.default_rng(1))
        (connection,) = connections_of(Layer("d", "Dense", weights=(weight,)))
        assert bytes_of(connection) == weight.where.nbytes
