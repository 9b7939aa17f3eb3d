"""The selection's panel against numpy over the same numbers, and against Keras itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from explorer.errors import NeuronautError
from explorer.network import ByteRange, Weight
from explorer.open_model import OpenModel
from explorer.panel import panel, weight_summary
from explorer.panel.weight_summary import Stopped, summarize

DIGITS = Path(__file__).resolve().parent.parent / "scenes" / "digits.keras"


class _Memory:
    """A reader over an array, that counts its largest read."""

    def __init__(self, values: NDArray[np.generic]) -> None:
        self.flat = values.ravel()
        self.largest = 0

    def read_flat(self, weight: Weight, start: int, stop: int) -> NDArray[np.generic]:
        assert 0 <= start < stop <= len(self.flat)
        self.largest = max(self.largest, stop - start)
        return self.flat[start:stop]


def _weight(values: NDArray[np.generic]) -> Weight:
    return Weight("w", "kernel", values.shape, values.dtype.name, ByteRange("f", 0, values.nbytes))


def _largest_in_cells(values: NDArray[np.floating], cell: tuple[int, int]) -> NDArray[np.float64]:
    """The slow, plain way."""
    matrix = np.abs(values.astype(np.float64)).reshape(-1, values.shape[-1])
    rows, columns = (-(-n // c) for n, c in zip(matrix.shape, cell, strict=True))
    found = np.full((rows, columns), np.nan)
    for r in range(rows):
        for c in range(columns):
            part = matrix[r * cell[0] : (r + 1) * cell[0], c * cell[1] : (c + 1) * cell[1]]
            part = part[np.isfinite(part)]
            if len(part):
                found[r, c] = part.max()
    return found


@settings(deadline=None, max_examples=60)
@given(
    values=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=9),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    block=st.integers(1, 40),
    side=st.integers(1, 6),
)
def test_a_summary_is_numpys_whatever_the_blocks(
    values: NDArray[np.float32], block: int, side: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight_summary, "BLOCK", block)
        patch.setattr(weight_summary, "SIDE", side)
        found = summarize(_Memory(values), _weight(values))
    finite = values[np.isfinite(values)].astype(np.float64)
    assert (found.size, found.finite) == (values.size, len(finite))
    assert max(found.heat.matrix.shape) <= side
    np.testing.assert_array_equal(found.heat.matrix, _largest_in_cells(values, found.heat.cell))
    if not len(finite):
        assert np.isnan(found.mean)
        assert len(found.counts) == 0
        return
    assert found.zeros == np.count_nonzero(finite == 0)
    assert (found.low, found.high) == (finite.min(), finite.max())
    scale = np.abs(finite).max()
    assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9 * scale)
    assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-9 * scale)
    try:
        counts, edges = np.histogram(finite, 64)
    except ValueError:  # too narrow a range for so many bins
        assert len(found.counts) == len(found.edges) == 0
        return
    np.testing.assert_array_equal(found.edges, edges)
    np.testing.assert_array_equal(found.counts, counts)


def test_a_large_weight_is_read_in_blocks() -> None:
    values = np.random.default_rng(5).normal(size=(3000, 1700)).astype(np.float32)
    reader = _Memory(values)
    found = summarize(reader, _weight(values))
    assert reader.largest <= weight_summary.BLOCK
    assert found.heat.matrix.shape == (250, 243)
    assert found.heat.cell == (12, 7)
    np.testing.assert_array_equal(found.counts, np.histogram(values.astype(float), 64)[0])
    np.testing.assert_array_equal(found.heat.matrix, _largest_in_cells(values, (12, 7)))


def test_a_long_vector_is_cut_at_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_summary, "BLOCK", 1000)
    values = np.random.default_rng(6).normal(size=70_001).astype(np.float64)
    reader = _Memory(values)
    found = summarize(reader, _weight(values))
    assert reader.largest <= 1000
    np.testing.assert_array_equal(found.heat.matrix, _largest_in_cells(values, found.heat.cell))


@pytest.mark.parametrize(
    "values",
    [
        np.array([3], np.int64),
        np.array([True, False, True]),
        np.full(5, 2.5, np.float16),
        np.zeros((4, 4), np.float32),
        np.array([-1.7e308, 1.7e308]),
    ],
)
def test_odd_weights(values: NDArray[np.generic]) -> None:
    found = summarize(_Memory(values), _weight(values))
    assert found.finite == values.size
    assert (found.low, found.high) == (values.min(), values.max())
    if len(found.counts):
        assert found.counts.sum() == values.size


def test_it_stops_when_told() -> None:
    values = np.ones(10, np.float32)
    with pytest.raises(Stopped):
        summarize(_Memory(values), _weight(values), lambda: True)


@pytest.fixture(scope="module")
def model() -> Iterator[OpenModel]:
    with OpenModel.open(str(DIGITS)) as opened:
        yield opened


def test_a_layers_panel(model: OpenModel) -> None:
    data = panel.layer_panel(model, "hidden")
    facts = dict(data["facts"])
    assert (data["kind"], data["title"], facts["kind"]) == ("layer", "hidden", "Dense")
    assert facts["output"] == "32"
    assert facts["parameters"].replace("\u202f", "") == str(256 * 32 + 32)
    assert [(w["role"], w["shape"]) for w in data["weights"]] == [
        ("kernel", (256, 32)), ("bias", (32,)),
    ]  # fmt: skip
    assert dict(data["config"])["units"] == "32"
    assert data["children"] == []


def test_the_whole_networks_panel(model: OpenModel) -> None:
    data = panel.layer_panel(model, "")
    facts = dict(data["facts"])
    assert facts["format"] == "keras"
    assert facts["parameters"].replace("\u202f", "") == str(model.network.parameters)
    assert [c["parameters"] for c in data["children"] if c["title"] == "conv_1"] == [80]
    inside = sum(c["parameters"] for c in data["children"])
    assert inside == model.network.parameters


@pytest.fixture(scope="module")
def kernels() -> dict[str, NDArray[np.float32]]:
    """The kernels as Keras reads them."""
    keras = pytest.importorskip("keras")
    loaded = keras.models.load_model(DIGITS, compile=False)
    return {la.name: np.asarray(la.get_weights()[0]) for la in loaded.layers if la.get_weights()}


def test_statistics_are_those_of_keras_weights(
    model: OpenModel, kernels: dict[str, NDArray[np.float32]]
) -> None:
    for layer, kernel in kernels.items():
        name = panel.layer_panel(model, layer)["weights"][0]["name"]
        found = panel.weight_statistics(model, layer, name)
        assert found["shape"] == kernel.shape
        assert not found["codes"]
        np.testing.assert_array_equal(
            found["summary"].counts, np.histogram(kernel.astype(float), 64)[0]
        )
        assert found["summary"].std == pytest.approx(kernel.astype(float).std(), rel=1e-12)


def test_a_units_strongest_incoming_weights(
    model: OpenModel, kernels: dict[str, NDArray[np.float32]]
) -> None:
    kernel = kernels["digit"].astype(float)  # (in, out)
    data = panel.layer_panel(model, "digit[7]")
    assert data["kind"] == "unit"
    assert dict(data["facts"])["layer"] == "digit"
    found = panel.incoming(model, "digit[7]")
    order = np.argsort(-np.abs(kernel[:, 7]))[:10]
    assert [(e["source"], e["unit"]) for e in found] == [("hidden", int(u)) for u in order]
    assert [e["signed_mean"] for e in found] == pytest.approx(kernel[order, 7].tolist())
    assert {e["target_unit"] for e in found} == {7}
    assert panel.incoming(model, "digit") == []


def test_unknown_names_offer_the_nearest(model: OpenModel) -> None:
    with pytest.raises(NeuronautError, match="did you mean"):
        panel.layer_panel(model, "hiden")
    with pytest.raises(NeuronautError, match="there are layers/dense/vars/0, layers/dense/vars/1"):
        panel.weight_statistics(model, "hidden", "../../etc/passwd")


def test_texts_of_the_file_become_one_harmless_line() -> None:
    rows = panel.config_rows(
        {
            "name": "a\nb\x1b[31m\u202egnp.exe",
            "long": "x" * 100_000,
            "none": None,
            "init": {"class_name": "Zeros", "config": {"seed": None, "scale": 2.0}},
            "deep": [[[[[[1]]]]]],
        }
    )
    found = dict(rows)
    assert found["name"] == "a b [31m gnp.exe"
    assert len(found["long"]) < 300
    assert found["none"] == "none"
    assert found["init"] == "Zeros(scale=2)"
    assert "[…]" in found["deep"]
    many = panel.config_rows({str(i): i for i in range(1000)})
    assert len(many) == panel.MOST_ROWS + 1
    assert many[-1] == ("…", "940 more")
