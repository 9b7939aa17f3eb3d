"""Heat maps and kernel images against numpy over the arrays that Keras itself holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from codec_files import File
from numpy.typing import NDArray

from explorer.network import Layer, Weight
from explorer.open_model import OpenModel
from explorer.overlays import get_overlay
from explorer.panel import figure as figures
from explorer.panel.heat import Coloring, heat, told
from explorer.panel.kernels import KernelPlane, has_kernels
from explorer.panel.matrix import taps_of, weight_matrix
from explorer.panel.plane import Span
from explorer.panel.viewport import MOST, QUICK, Viewport, coarsened, full_cells
from explorer.panel.weight_summary import Stopped

F8 = NDArray[np.float64]
NO = lambda: False  # noqa: E731


def _dense(kernel: F8) -> F8:  # (in, out)
    return kernel.T[:, :, None]


def _conv(kernel: F8) -> F8:  # (taps…, in, out)
    taps, inside, out = kernel.reshape(-1, *kernel.shape[-2:]).shape
    return kernel.reshape(taps, inside, out).transpose(2, 1, 0)


def _transposed(kernel: F8) -> F8:  # (taps…, out, in)
    return kernel.reshape(-1, *kernel.shape[-2:]).transpose(1, 2, 0)


def _grouped(kernel: F8) -> F8:  # 4 groups; pairs of different groups have no weights
    one = _conv(kernel)
    out, inside, taps = one.shape
    found = np.full((out, 4 * inside, taps), np.nan)
    for unit in range(out):
        group = unit // (out // 4)
        found[unit, group * inside : (group + 1) * inside] = one[unit]
    return found


def _depthwise(kernel: F8) -> F8:  # (taps…, channels, each): units × taps
    return kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1]).T[:, :, None]


def _query(kernel: F8) -> F8:  # (in, heads, components)
    return kernel.reshape(kernel.shape[0], -1).T[:, :, None]


def _mixed(kernel: F8) -> F8:  # (heads, components, out)
    return kernel.reshape(-1, kernel.shape[-1]).T[:, :, None]


def _strip(values: F8) -> F8:
    return values.reshape(1, -1, 1)


CASES: dict[str, tuple[str, str, Callable[[F8], F8]]] = {
    "dense": ("dense", "kernel", _dense),
    "conv": ("conv", "kernel", _conv),
    "grouped": ("grouped", "kernel", _grouped),
    "transposed": ("transposed", "kernel", _transposed),
    "depthwise": ("depthwise", "kernel", _depthwise),
    "lstm": ("lstm", "kernel", _dense),
    "again": ("lstm", "recurrent_kernel", _dense),
    "query": ("attention/query", "kernel", _query),
    "output": ("attention/attention_output", "kernel", _mixed),
    "embedding": ("embedding", "embeddings", _dense),
    "conv1": ("conv1", "kernel", _conv),
    "conv3": ("conv3", "kernel", _conv),
    "bias": ("dense", "bias", _strip),
    "gamma": ("norm", "gamma", _strip),
}


@dataclass
class _Case:
    model: OpenModel
    layer: Layer
    weight: Weight
    truth: F8  # (rows, columns, weights of a cell); NaN: no weight


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenModel, dict[str, F8]]]:
    keras = pytest.importorskip("keras")
    la = keras.layers
    image, tokens, cube = keras.Input((12, 12, 3)), keras.Input((9,)), keras.Input((6, 6, 6, 2))
    x = la.Conv2D(96, 3, padding="same", name="conv")(image)
    x = la.BatchNormalization(name="norm")(x)
    x = la.Conv2D(64, 3, groups=4, padding="same", name="grouped")(x)
    x = la.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = la.Conv2DTranspose(8, (3, 2), name="transposed")(x)
    x = la.Dense(700, name="dense")(la.Flatten(name="flat")(x))
    s = la.Embedding(900, 80, name="embedding")(tokens)
    s = la.MultiHeadAttention(4, 10, name="attention")(s, s)
    s = la.Conv1D(20, 3, name="conv1")(s)
    s = la.LSTM(33, name="lstm")(s)
    c = la.Flatten(name="flat3")(la.Conv3D(5, 3, name="conv3")(cube))
    network = keras.Model([image, tokens, cube], la.Concatenate(name="all")([x, s, c]))
    rng = np.random.default_rng(11)
    network.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in network.weights])
    path = tmp_path_factory.mktemp("planes") / "planes.keras"
    network.save(path)
    arrays: dict[str, F8] = {}
    for layer in network.layers:
        for variable in layer.weights:
            at = variable.path.split("/")
            key = "/".join(p for p in at[:-1] if not p.endswith("_cell"))
            arrays[f"{key.removesuffix('/lstm_cell')}:{at[-1]}"] = np.asarray(variable, np.float64)
    with OpenModel.open(str(path)) as model:
        yield model, arrays


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, made: tuple[OpenModel, dict[str, F8]]) -> _Case:
    model, arrays = made
    path, role, order = CASES[request.param]
    layer = model.graph.layer_by_path[path]
    weight = layer.weight(role) or layer.weight(f"depthwise_{role}")
    assert weight is not None
    return _Case(model, layer, weight, order(arrays[f"{path}:{role}"]))


def _brute(truth: F8, rows: Span, columns: Span, overlay: str) -> F8:
    """Cell by cell, from all numbers in it."""
    found = np.full((rows.count, columns.count), np.nan)
    how = {
        "magnitude": lambda w: np.sqrt(np.mean(w * w)),
        "maximum": lambda w: np.abs(w).max(),
        "mean": lambda w: np.abs(w).mean(),
        "signed": np.mean,
    }[overlay]
    for i, r in enumerate(range(rows.start, rows.stop, rows.step)):
        for j, c in enumerate(range(columns.start, columns.stop, columns.step)):
            part = truth[r : min(r + rows.step, rows.stop), c : min(c + columns.step, columns.stop)]
            part = part[~np.isnan(part)]
            if len(part):
                found[i, j] = how(part)
    return found


def _random_span(rng: np.random.Generator, size: int) -> Span:
    step = 2 ** int(rng.integers(0, 1 + int(np.log2(size))))
    start = int(rng.integers(0, -(-size // step))) * step
    return Span(start, int(rng.integers(start + 1, size + 1)), step)


@pytest.mark.parametrize("overlay", ["magnitude", "maximum", "mean", "signed"])
def test_cells_are_numpys_on_random_rectangles(case: _Case, overlay: str) -> None:
    plane = weight_matrix(case.model, case.layer, case.weight)
    assert (plane.rows.size, plane.columns.size) == case.truth.shape[:2]
    rng = np.random.default_rng(5)
    for _ in range(6):
        rows, columns = (_random_span(rng, n) for n in case.truth.shape[:2])
        cells = plane.cells(rows, columns, get_overlay(overlay), NO)
        wanted = _brute(case.truth, rows, columns, overlay)
        np.testing.assert_allclose(cells.values, wanted, rtol=2e-6, atol=1e-7)
        there = ~np.isnan(_brute(case.truth, rows, columns, "magnitude"))
        np.testing.assert_array_equal(cells.count > 0, there)


def test_single_weights_are_the_files_to_the_last_bit(case: _Case) -> None:
    if case.truth.shape[2] > 1:
        plane = weight_matrix(case.model, case.layer, case.weight, tap=1)
        truth = case.truth[:, :, 1]
    else:
        plane = weight_matrix(case.model, case.layer, case.weight)
        truth = case.truth[:, :, 0]
    rows, columns = (Span(0, n) for n in truth.shape)
    cells = plane.cells(rows, columns, get_overlay("signed"), NO)
    assert cells.single
    np.testing.assert_array_equal(cells.values, truth)


def test_the_index_told_is_where_the_weight_lies(
    case: _Case, made: tuple[OpenModel, dict[str, F8]]
) -> None:
    plane = weight_matrix(case.model, case.layer, case.weight)
    stored = np.asarray(case.model.reader.read(case.weight), np.float64)
    rng = np.random.default_rng(7)
    for _ in range(20):
        row, column = (int(rng.integers(0, n)) for n in case.truth.shape[:2])
        truth = case.truth[row, column]
        place = plane.place(row, column)
        if np.isnan(truth).any():
            assert place == ""
            continue
        index = place[place.index("[") + 1 : -1].split(", ")
        at = tuple(slice(None) if i == ":" else int(i) for i in index)
        np.testing.assert_array_equal(np.sort(np.ravel(stored[at])), np.sort(truth))


def test_coarse_cells_read_little_and_fine_ones_within_the_budget(
    made: tuple[OpenModel, dict[str, F8]],
) -> None:
    model = made[0]
    layer = model.graph.layer_by_path["dense"]
    plane = weight_matrix(model, layer, layer.weights[0])
    plane.prepare(NO)
    view = Viewport.of(plane, (200.0, 200.0))
    seen = view.spans(plane.most_step)
    assert seen[0].step == 8
    rows, columns = coarsened(plane, *seen, 1000)
    assert plane.cost(rows, columns) <= 1000 < plane.cost(*seen)
    assert rows.step >= 64
    assert MOST > QUICK


def test_a_long_reading_stops_when_told(made: tuple[OpenModel, dict[str, F8]]) -> None:
    model = made[0]
    layer = model.graph.layer_by_path["dense"]
    plane = weight_matrix(model, layer, layer.weights[0])
    with pytest.raises(Stopped):
        plane.cells(Span(0, 700), Span(0, 900), get_overlay("magnitude"), lambda: True)


IMAGES = {"conv": (3, 3), "grouped": (3, 3), "transposed": (3, 2), "conv1": (1, 3)}


@pytest.mark.parametrize("path", [*IMAGES, "depthwise", "conv3"])
@pytest.mark.parametrize("by_strength", [True, False])
def test_kernel_images_hold_each_filters_weights(
    made: tuple[OpenModel, dict[str, F8]], path: str, by_strength: bool
) -> None:
    model, arrays = made
    layer = model.graph.layer_by_path[path]
    weight = layer.weights[0]
    assert has_kernels(layer, weight)
    stored = arrays[f"{path}:kernel"]
    depth = 2 if path == "conv3" else 0
    if path == "depthwise":
        filters = stored.reshape(3, 3, 1, -1)
    else:
        filters = stored[depth] if path == "conv3" else stored
        filters = filters[None] if filters.ndim == 3 else filters
        filters = filters.swapaxes(2, 3) if path == "transposed" else filters
    plane = KernelPlane(model, layer, weight, depth, by_strength, color=False)
    whole = stored.swapaxes(-1, -2) if path == "transposed" else stored
    norms = np.sum(np.square(whole.reshape(-1, filters.shape[-1])), axis=0)
    if path == "depthwise":
        norms = np.sum(np.square(stored.reshape(9, -1)), axis=0)
    order = np.argsort(-norms, kind="stable") if by_strength else np.arange(len(norms))
    cells = plane.cells(
        Span(0, plane.rows.size), Span(0, plane.columns.size), get_overlay("magnitude"), NO
    )
    high, wide, channels, _ = filters.shape
    across = plane.across or 1
    for place, unit in enumerate(order.tolist()):
        for channel in range(channels):
            a, b = divmod(place, across) if plane.across else (place, channel)
            part = cells.values[a * high : (a + 1) * high, b * wide : (b + 1) * wide]
            np.testing.assert_array_equal(part, filters[:, :, channel, unit])
    assert int(cells.count.sum()) == filters.size


def test_three_channels_are_red_green_and_blue(made: tuple[OpenModel, dict[str, F8]]) -> None:
    model, arrays = made
    layer = model.graph.layer_by_path["conv"]
    plane = KernelPlane(model, layer, layer.weights[0], by_strength=False)
    cells = plane.cells(
        Span(0, plane.rows.size), Span(0, plane.columns.size), get_overlay("magnitude"), NO
    )
    assert cells.colors is not None
    kernel = arrays["conv:kernel"]
    for unit in (0, 1, 50, 95):
        a, b = divmod(unit, plane.across)
        part = kernel[..., unit]
        wanted = np.rint(255 * (part - part.min()) / (part.max() - part.min()))
        seen = cells.colors[3 * a : 3 * a + 3, 3 * b : 3 * b + 3]
        assert np.abs(seen - wanted).max() <= 1
    lines = told(plane, cells, 1, 2, get_overlay("magnitude"))
    assert lines[0] == " · ".join(f"{w:.5g}" for w in kernel[1, 2, :, 0])
    assert lines[1:] == ["filter 0", "tap row 1, column 2", "kernel[1, 2, :, 0]"]


def test_the_words_under_the_pointer(made: tuple[OpenModel, dict[str, F8]]) -> None:
    model, arrays = made
    lstm = model.graph.layer_by_path["lstm"]
    plane = weight_matrix(model, lstm, lstm.weights[0])
    signed = get_overlay("signed")
    cells = plane.cells(Span(0, 132), Span(0, 20), signed, NO)
    value = arrays["lstm:kernel"][7, 33 + 5]
    assert told(plane, cells, 38, 7, signed) == [
        f"{value:.7g}", "out unit 38 (forget gate 5)", "in unit 7", "kernel[7, 38]",
    ]  # fmt: skip
    magnitude = get_overlay("magnitude")
    strengths = plane.cells(Span(0, 132), Span(0, 20), magnitude, NO)
    row, column = np.unravel_index(np.argmin(strengths.means), (132, 20))
    lowest = arrays["lstm:kernel"].min()
    assert lowest < 0
    assert told(plane, strengths, int(row), int(column), magnitude)[0] == f"{lowest:.7g}"
    assert strengths.values[row, column] == -lowest
    coarse = plane.cells(Span(0, 132, 64), Span(0, 20, 16), signed, NO)
    lines = told(plane, coarse, 130, 19, signed)
    assert lines[1:] == ["out units 128 to 131", "in units 16 to 19", "16 weights"]
    assert told(plane, coarse, 132, 0, signed) == []
    query = model.graph.layer_by_path["attention/query"]
    of_query = weight_matrix(model, query, query.weights[0])
    assert of_query.rows.name(23) == "out unit 23 (head 2, component 3)"
    grouped = model.graph.layer_by_path["grouped"]
    apart = weight_matrix(model, grouped, grouped.weights[0])
    nothing = apart.cells(Span(0, 64), Span(0, 96), signed, NO)
    assert told(apart, nothing, 0, 95, signed) == []
    assert taps_of(model, grouped, grouped.weights[0]) == (3, 3)


def test_what_is_not_finite_is_grey_and_counted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    kernel = np.arange(12, dtype=np.float32).reshape(4, 3)
    kernel[2, 1] = np.nan
    network.layers[0].set_weights([kernel, np.zeros(3, np.float32)])
    network.save(tmp_path / "bad.keras")
    with OpenModel.open(str(tmp_path / "bad.keras")) as model:
        figure = figures.figure_of(model, "dense", model.graph.layers[-1].weights[0].name)
        overlay = get_overlay("magnitude")
        cells = figure.plane.cells(Span(0, 3), Span(0, 4), overlay, NO)
        assert cells.non_finite.sum() == 1
        pixels = heat(figure.plane, cells, Coloring(overlay, "dark")).pixels
        assert pixels[1, 2].tolist() == [128, 128, 128, 255]
        assert told(figure.plane, cells, 1, 2, overlay)[0] == "not finite"


def test_a_viewport_stays_inside_and_keeps_what_is_under_the_pointer(
    made: tuple[OpenModel, dict[str, F8]],
) -> None:
    model = made[0]
    layer = model.graph.layer_by_path["dense"]
    plane = weight_matrix(model, layer, layer.weights[0])
    whole = Viewport.of(plane, (268.0, 280.0))
    assert (whole.height, whole.width) == (plane.rows.size, plane.columns.size)
    view = whole
    for _ in range(12):
        before = view.at(100.0, 50.0)
        view = view.zoomed(100.0, 50.0, 1.3)
        np.testing.assert_allclose(view.at(100.0, 50.0), before)
    nearest = view
    for _ in range(60):
        nearest = nearest.zoomed(10.0, 10.0, 2.0)
    assert nearest.size[0] / nearest.width == pytest.approx(44.0)
    assert nearest.size[1] / nearest.height == pytest.approx(44.0)
    assert nearest.moved(1e6, -1e6).left == 0.0
    assert nearest.zoomed(0, 0, 1e-9) == whole
    cells = full_cells(plane, nearest.spans(plane.most_step), get_overlay("signed"), NO)
    assert cells.single


@pytest.mark.parametrize("threshold", [0.0, 0.02])
def test_cells_of_a_counted_share_are_numpys(case: _Case, threshold: float) -> None:
    plane = weight_matrix(case.model, case.layer, case.weight)
    overlay = get_overlay("sparsity").at(threshold)
    rng = np.random.default_rng(11)
    for _ in range(4):
        rows, columns = (_random_span(rng, n) for n in case.truth.shape[:2])
        cells = plane.cells(rows, columns, overlay, NO)
        part = case.truth.astype(np.float32)
        for i in range(rows.count):
            for j in range(columns.count):
                mine = part[slice(*rows.cell(i)), slice(*columns.cell(j))]
                mine = mine[~np.isnan(mine)]
                near = np.count_nonzero(np.abs(mine.astype(np.float64)) <= threshold)
                assert cells.values[i, j] == pytest.approx(near / max(mine.size, 1), abs=1e-12)


def test_a_weight_without_codes_is_told_by_its_magnitude(case: _Case) -> None:
    plane = weight_matrix(case.model, case.layer, case.weight)
    coloring = Coloring(get_overlay("codes").at(0.0), "dark")
    assert coloring.of_plane(plane).overlay is get_overlay("magnitude")
    sparse = Coloring(get_overlay("sparsity").at(0.5), "dark")
    assert sparse.of_plane(plane) is sparse


def test_the_figure_of_codes_is_numpys(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    codes = rng.integers(3, 90, (300, 200)).astype(np.uint8)
    file = File(tmp_path / "codes.bin")
    network = file.network(file.add("kernel", codes, "float8_e4m3fn"))
    with OpenModel(network) as model:
        figure = figures.figure_of(model, "a", "kernel")
        coloring = Coloring(get_overlay("codes").at(0.0), "dark")
        viewport = Viewport.of(figure.plane, (40.0, 30.0))
        shown = figures.quick(figure, viewport, coloring)
        assert shown is not None
        assert shown.heat.title == get_overlay("codes").title
        cells = figures.full(figure, viewport, coloring, NO).cells
    assert cells.rows.step > 1
    for i in range(cells.rows.count):
        for j in range(cells.columns.count):  # rows are out units
            part = codes[slice(*cells.columns.cell(j)), slice(*cells.rows.cell(i))]
            assert cells.values[i, j] == len(np.unique(part)) / 256
