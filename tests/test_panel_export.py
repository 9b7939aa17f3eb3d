"""Exported numbers against the arrays that Keras holds, byte for byte."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.errors import NeuronautError
from explorer.network import ByteRange, FileStamp, Layer, Network, Weight
from explorer.open_model import OpenModel
from explorer.overlays import get_overlay
from explorer.panel import export, kernels, matrix
from explorer.panel.export import (
    histogram_table,
    pieces,
    save_table,
    seen_weights,
    sent,
    shown_table,
    weight_table,
)
from explorer.panel.figure import figure_of, full
from explorer.panel.heat import Coloring
from explorer.panel.kernels import KernelPlane, has_kernels
from explorer.panel.matrix import weight_matrix
from explorer.panel.plane import Span
from explorer.panel.statistics import node_statistics
from explorer.panel.viewport import Viewport
from explorer.pyramid import level0
from explorer.view import open_network

keras = pytest.importorskip("keras")
Array = NDArray[Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenModel, dict[str, Any]]]:
    la = keras.layers
    image, series = keras.Input((9, 9, 6)), keras.Input((5, 12))
    x = la.Conv2D(10, (3, 2), name="conv")(image)
    x = la.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = la.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x)
    x = la.Conv2DTranspose(5, 2, name="transposed")(x)
    x = la.Dense(70, name="dense")(la.Flatten(name="flat")(x))
    s = la.LSTM(9, name="lstm")(series)
    network = keras.Model([image, series], la.Concatenate(name="all")([x, s]))
    rng = np.random.default_rng(3)
    network.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in network.weights])
    path = tmp_path_factory.mktemp("export") / "export.keras"
    network.save(path)
    with OpenModel.open(str(path)) as model:
        yield model, {layer.name: layer.get_weights() for layer in network.layers}


def _wanted(name: str, kernel: Array) -> Array:
    """(rows, columns) or (rows, columns, taps), by hand."""
    if name == "conv":
        return kernel.reshape(-1, *kernel.shape[2:]).transpose(2, 1, 0)
    if name == "transposed":
        return kernel.reshape(-1, *kernel.shape[2:]).transpose(1, 2, 0)
    if name == "depthwise":
        return kernel.reshape(4, -1).T
    if name == "grouped":
        one = kernel.reshape(9, 5, 8).transpose(2, 1, 0)
        found = np.full((8, 10, 9), np.nan, np.float32)
        found[:4, :5], found[4:, 5:] = one[:4], one[4:]
        return found
    return kernel.T


def _bytes(table: export.Table, kind: str) -> bytes:
    return b"".join(pieces(table, kind))


@pytest.mark.parametrize("name", ["conv", "grouped", "depthwise", "transposed", "dense", "lstm"])
@pytest.mark.parametrize("band", [1, 1 << 23])
def test_npy_and_csv_are_keras_arrays_to_the_last_bit(
    made: tuple[OpenModel, dict[str, Any]], name: str, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_BAND", band)
    model, arrays = made
    wanted = _wanted(name, arrays[name][0])
    for part in ((slice(None), slice(None)), (slice(2, 5), slice(1, 4))):
        table = weight_table(model, name, "kernel" if name != "depthwise" else None, *part)
        truth = wanted[part]
        read = np.load(io.BytesIO(_bytes(table, "npy")))
        assert read.dtype == np.float32
        assert read.tobytes() == truth.tobytes()
        rows = list(csv.reader(io.StringIO(_bytes(table, "csv").decode())))
        numbers = np.array([[np.float32(v) for v in line[1:]] for line in rows[1:]], np.float32)
        np.testing.assert_array_equal(numbers, truth.reshape(len(truth), -1))
        first = part[0].start or 0
        assert [line[0] for line in rows[1:]] == [str(first + i) for i in range(len(truth))]
        assert len(rows[0]) == 1 + truth[0].size


def test_a_bias_and_a_units_row(made: tuple[OpenModel, dict[str, Any]]) -> None:
    model, arrays = made
    bias = weight_table(model, "dense", "bias").array()
    np.testing.assert_array_equal(bias, arrays["dense"][1][None])
    row = weight_table(model, "dense[7]").array()
    np.testing.assert_array_equal(row, arrays["dense"][0].T[7:8])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("dence",), "did you mean"),
        (("flat",), "has no weights"),
        (("dense", "gamma"), "no weight called"),
        (("dense", None, slice(5, 5)), "no part of the 70 out units"),
        (("dense", None, slice(0, 71)), "no part of the 70 out units"),
        (("dense", None, slice(None), slice(-3, 2)), "no part of the"),
        (("dense", None, slice(0, 9, 2)), "no part of the"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(
    made: tuple[OpenModel, dict[str, Any]], arguments: tuple[Any, ...], line: str
) -> None:
    with pytest.raises(NeuronautError, match=line) as caught:
        weight_table(made[0], *arguments)
    assert "\n" not in str(caught.value)


def test_what_is_shown_is_exported_at_its_resolution(
    made: tuple[OpenModel, dict[str, Any]],
) -> None:
    model, arrays = made
    layer = model.graph.layer_by_path["dense"]
    figure = figure_of(model, "dense", layer.weights[0].name)
    kernel = arrays["dense"][0].T
    coloring = Coloring(get_overlay("magnitude"), "dark")
    whole = Viewport.of(figure.plane, (32.0, 10.0))
    shown = full(figure, whole, coloring, lambda: False)
    table = shown_table(figure, shown)
    (rows, columns) = (s.step for s in (shown.cells.rows, shown.cells.columns))
    assert rows > 1
    assert columns > 1
    values = table.array()
    wanted = np.array([
        [np.sqrt(np.mean(np.square(kernel[r : r + rows, c : c + columns].astype(float))))
         for c in range(0, kernel.shape[1], columns)] for r in range(0, 70, rows)
    ])  # fmt: skip
    np.testing.assert_allclose(values, wanted, rtol=1e-6)
    assert table.rows[0] == f"0-{rows - 1}"
    exact = seen_weights(figure, shown)
    np.testing.assert_array_equal(exact.array(), kernel)
    near = whole
    for _ in range(40):
        near = near.zoomed(31.0, 9.0, 1.5)
    shown = full(figure, near, coloring, lambda: False)
    table = shown_table(figure, shown)
    part = np.ix_([int(r) for r in table.rows], [int(c) for c in table.columns])
    assert table.array().dtype == np.float32
    np.testing.assert_array_equal(table.array(), kernel[part])  # with their signs
    assert table.size < 10


def test_kernel_images_are_exported_as_they_lie(made: tuple[OpenModel, dict[str, Any]]) -> None:
    model, arrays = made
    layer = model.graph.layer_by_path["conv"]
    figure = figure_of(model, "conv", layer.weights[0].name)
    assert figure.take("mode", "kernels")
    assert figure.take("order", "index")
    view = Viewport.of(figure.plane, (400.0, 400.0))
    coloring = Coloring(get_overlay("magnitude"), "dark")
    table = shown_table(figure, full(figure, view, coloring, lambda: False))
    kernel = arrays["conv"][0]
    values = table.array()
    for row, name in enumerate(table.rows):
        filter_, y = map(int, name.split(":"))
        for column, other in enumerate(table.columns):
            channel, x = map(int, other.split(":"))
            assert values[row, column] == kernel[y, x, channel, filter_]


def test_a_histogram_is_exported_with_its_edges(made: tuple[OpenModel, dict[str, Any]]) -> None:
    model, arrays = made
    table = histogram_table(node_statistics(model, "")["summary"])
    joined = np.concatenate([np.ravel(w) for ws in arrays.values() for w in ws]).astype(float)
    counts, edges = np.histogram(joined, 64)
    read = np.load(io.BytesIO(_bytes(table, "npy")))
    np.testing.assert_array_equal(read, np.column_stack((edges[:-1], edges[1:], counts)))


def test_files_are_whole_or_not_there(
    made: tuple[OpenModel, dict[str, Any]], tmp_path: Path
) -> None:
    model, arrays = made
    path = tmp_path / "dense.npy"
    table = weight_table(model, "dense")
    save_table(table, path)
    np.testing.assert_array_equal(np.load(path), arrays["dense"][0].T)
    before = path.read_bytes()

    def broken(*_: object) -> Iterator[Array]:
        yield np.zeros((1, table.shape[1]), np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(NeuronautError, match="No space left"):
        save_table(replace(table, bands=broken), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(NeuronautError, match=r"\.npy or \.csv"):
        save_table(table, tmp_path / "dense.txt")
    with pytest.raises(NeuronautError, match="cannot be written"):
        save_table(weight_table(model, "dense"), tmp_path / "no" / "dense.npy")


def test_too_much_for_a_browser_is_told(
    made: tuple[OpenModel, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_SENT", 100)
    with pytest.raises(NeuronautError, match="zoom in, or write them with"):
        sent(weight_table(made[0], "dense"), "npy")


def test_the_python_face_gives_and_writes_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="dense")])
    network.save(path)
    kernel = network.layers[0].get_weights()[0].T
    with open_network(path) as view:
        np.testing.assert_array_equal(view.weights("dense"), kernel)
        part = view.weights("dense", "kernel", rows=slice(1, 3), columns=slice(2, 6))
        np.testing.assert_array_equal(part, kernel[1:3, 2:6])
        assert view.save_weights(tmp_path / "w.npy", "dense") is view
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), kernel)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("kind", "config", "axes", "shape"),
    [
        ("Conv2D", {}, "oikk", (12, 7, 3, 2)),
        ("Conv2D", {"groups": 12}, "oikk", (24, 1, 3, 3)),
        ("Conv2DTranspose", {"groups": 2}, "iokk", (8, 5, 2, 3)),
        ("Conv2D", {}, "okki", (6, 3, 3, 9)),
    ],
)
def test_kernels_of_other_frameworks_are_shown_and_written_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, kind: str,
    config: dict[str, int], axes: str, shape: tuple[int, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr(level0, "WHOLE", 0 if in_place else 1 << 22)
    monkeypatch.setattr(kernels, "_WHOLE", 0 if in_place else 1 << 22)
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    path = tmp_path / "raw.bin"
    path.write_bytes(array.tobytes())
    status = path.stat()
    weight = Weight("w", "kernel", shape, "float32", ByteRange(str(path), 0, array.nbytes),
                    axes=axes)  # fmt: skip
    layer = Layer("a", kind, config, weights=(weight,))
    stamp = FileStamp(str(path), status.st_size, status.st_mtime_ns)
    with OpenModel(Network("n", "raw", (layer,), files=(stamp,)), lasting=False) as model:
        one = model.graph.layers[0]
        assert has_kernels(one, weight)
        plane = KernelPlane(model, one, weight, by_strength=False, color=False)
        signed = get_overlay("signed")
        cells = plane.cells(
            Span(0, plane.rows.size), Span(0, plane.columns.size), signed, lambda: False
        )
        there = cells.values[cells.count > 0]
        np.testing.assert_array_equal(np.sort(there), np.sort(array, axis=None))
        rng = np.random.default_rng(2)
        for _ in range(60):
            row, column = (int(rng.integers(0, n)) for n in cells.values.shape)
            place = plane.place(row, column)
            if place:
                index = tuple(int(i) for i in place[7:-1].split(", "))
                assert cells.values[row, column] == array[index]
        found = weight_matrix(model, one, weight)
        if found.taps > 1:
            exact = weight_table(model, "a").array()
            apart = weight_matrix(model, one, weight, tap=1)
            tap = apart.cells(Span(0, found.rows.size), Span(0, found.columns.size), signed,
                              lambda: False)  # fmt: skip
            np.testing.assert_array_equal(tap.values, exact[:, :, 1])
            assert np.count_nonzero(~np.isnan(exact)) == array.size
