"""Sums over numbers as they lie in a file equal plain sums in double precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from codec_files import File

from explorer.network import Layer
from explorer.pyramid.grid import SIDE, _cut
from explorer.pyramid.level0 import Level0
from explorer.pyramid.sums.bands import measure
from explorer.weights.connections import connections_of
from explorer.weights.weight_reader import WeightReader

TYPES = {
    "float32": np.dtype("float32"),
    "float64": np.dtype("float64"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype("float16"),
}
SHAPES = [(130, 70), (64, 5), (1, 200), (300, 129), (77, 4099), (640, 128), (65, 8300), (3, 1)]


def numbers(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Some that differ much from place to place, and in their mean."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape) * np.exp(draw.normal(size=shape)) + 0.3


def bands_of(tmp_path: Path, stored: np.ndarray, dtype: str):
    """The bands of a matrix of 64 × 64 blocks that lies in a file."""
    file = File(tmp_path / "f")
    raw = stored.view(np.uint16) if stored.itemsize == 2 else stored
    weight = file.add("w", raw, dtype, stored.shape)
    (connection,) = connections_of(Layer("d", "Dense", weights=(weight,)))
    (matrix,) = connection.matrices
    grid = _cut(*stored.shape, 1, 8.0 * stored.itemsize, False)
    assert grid.stored
    assert grid.lines
    with WeightReader(file.network(weight)) as reader:
        return grid, measure([(matrix, grid, b) for b in range(grid.bands)], Level0(reader))


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch):
    """Blocks and lines of small matrices too; several bands, and panels of wide ones."""
    monkeypatch.setattr("explorer.pyramid.grid.SMALL", 0)
    monkeypatch.setattr("explorer.pyramid.grid._LINE_SHARE", 1e9)
    monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1 << 15)
    _cut.cache_clear()
    yield
    _cut.cache_clear()


def blocks(values: np.ndarray, function: np.ufunc) -> np.ndarray:
    """One number per 64 × 64."""
    for axis in (0, 1):
        values = function.reduceat(values, np.arange(0, values.shape[axis], SIDE), axis=axis)
    return values


def check(found, values: np.ndarray, exact: float) -> None:
    """Compare bands with sums over all finite numbers."""
    good = np.isfinite(values)
    w = np.where(good, values, 0.0)
    size = np.abs(w)
    sums = np.concatenate([b.sums for b in found], axis=1)
    for at, each in enumerate((w * w, w, size)):
        scale = blocks(np.abs(each), np.add)
        assert np.all(np.abs(sums[at] - blocks(each, np.add)) <= exact * scale)
        for axis, over in ((1, np.concatenate([b.over_rows for b in found], axis=1)),
                           (0, sum(b.over_columns[:3] for b in found))):  # fmt: skip
            most = exact * np.abs(each).sum(axis=axis)
            assert np.all(np.abs(over[at] - each.sum(axis=axis)) <= most)
    np.testing.assert_array_equal(sums[3], blocks(size, np.maximum))
    rows = np.concatenate([b.over_rows[3] for b in found])
    np.testing.assert_array_equal(rows, size.max(axis=1))
    columns = np.max([b.over_columns[3] for b in found], axis=0)
    np.testing.assert_array_equal(columns, size.max(axis=0))
    np.testing.assert_array_equal(np.concatenate([b.bad for b in found]), blocks(~good + 0, np.add))
    peak = np.concatenate([b.peak for b in found])
    np.testing.assert_array_equal(peak, sums[3])
    tile = np.maximum.reduceat(size, np.arange(0, len(size), 2), axis=0)
    tile = np.maximum.reduceat(tile, np.arange(0, size.shape[1], SIDE), axis=1)
    codes = np.concatenate([b.codes for b in found]).astype(np.float64)
    tall = np.repeat(peak, SIDE // 2, axis=0)[: len(codes)]
    assert np.all(codes / 255 * tall >= tile * (1 - 1e-12))
    assert np.all(np.maximum(codes - 1, 0) / 255 * tall <= tile)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_stored_numbers(tmp_path: Path, dtype: str, shape: tuple[int, int]) -> None:
    stored = numbers(shape).astype(TYPES[dtype])
    _, found = bands_of(tmp_path, stored, dtype)
    check(found, stored.astype(np.float64), 1e-12 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_single_precision_does_not_hold(tmp_path: Path, dtype: str) -> None:
    values = numbers((200, 150))
    values[64:] *= 1e-7 if dtype == "float16" else 1e-30
    values[3, 4], values[150, 149], values[199, 0] = np.nan, np.inf, -np.inf
    if dtype != "float16":
        values[70, 70] = -3e30
    stored = values.astype(TYPES[dtype])
    _, found = bands_of(tmp_path, stored, dtype)
    check(found, stored.astype(np.float64), 1e-6)


@pytest.mark.parametrize("shape", [(192, 9000), (2500, 64)])
def test_wide_matrices_are_read_in_panels(tmp_path: Path, monkeypatch, shape) -> None:
    for name, value in (
        ("_NEAR", 1 << 12),
        ("_FAR", 1 << 12),
        ("_PANEL", 1 << 11),
        ("_PIECE", 1 << 15),
    ):
        monkeypatch.setattr(f"explorer.pyramid.sums.bands.{name}", value)
    monkeypatch.setattr("explorer.pyramid.level0.WHOLE", 0)
    stored = numbers(shape).astype(TYPES["bfloat16"])
    _, found = bands_of(tmp_path, stored, "bfloat16")
    check(found, stored.astype(np.float64), 1e-6)


_PRINTED = """
import hashlib, numpy as np
from explorer.pyramid.sums import bands
from explorer.pyramid.sums import kernel
draw = np.random.default_rng(1)
for shape in ((64, bands._PIECE_COLUMNS), (640, 410), (64, 4001)):
    values = draw.normal(size=shape).astype(np.float32)
    codes = (values.view(np.uint32) >> 16).astype(np.uint16)
    for form, taps in (("float32", values), ("float64", values * 1.0), ("bfloat16", codes)):
        sums = kernel.sums_of(kernel.STORED[form].quick([taps]), 64, True)
        print(hashlib.md5(sums.columns.tobytes() + sums.rows.tobytes()).hexdigest())
"""


def test_the_last_digit_does_not_depend_on_the_threads_of_the_library() -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", _PRINTED], capture_output=True, text=True, check=True,
            timeout=120, env={**os.environ, "OPENBLAS_NUM_THREADS": n},
        ).stdout
        for n in ("1", "2", "3")
    ]  # fmt: skip
    assert found[0].count("\n") == 9
    assert found[0] == found[1] == found[2]
