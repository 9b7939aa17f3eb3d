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
from explorer.panel import panel, statistics, weight_summary
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


@settings(deadline=None, max_examples=60)
@given(
    values=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=9),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    block=st.integers(1, 40),
)
def test_a_summary_is_numpys_whatever_the_blocks(values: NDArray[np.float32], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight_summary, "BLOCK", block)
        found = summarize(_Memory(values), (_weight(values),))
    finite = values[np.isfinite(values)].astype(np.float64)
    assert (found.size, found.finite) == (values.size, len(finite))
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
    found = summarize(reader, (_weight(values),))
    assert reader.largest <= weight_summary.BLOCK
    np.testing.assert_array_equal(found.counts, np.histogram(values.astype(float), 64)[0])
    assert found.std == pytest.approx(values.astype(float).std(), rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    values=hnp.arrays(
        np.float32, st.integers(1, 200),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)  # fmt: skip
def test_magnitudes_are_counted_by_quarters_of_an_octave(values: NDArray[np.float32]) -> None:
    found = summarize(_Memory(values), (_weight(values),))
    counts, edges, smaller = found.octaves()
    size = np.abs(values[np.isfinite(values)].astype(float))
    if not len(counts):
        assert not size.any()
        return
    assert len(counts) <= 64
    for i, number in enumerate(counts.tolist()):
        top = edges[i + 1] if i + 1 < len(counts) else np.inf
        assert number == np.count_nonzero((size >= edges[i]) & (size < top) & (size > 0))
    assert smaller == np.count_nonzero(size < edges[0]) + (
        np.count_nonzero(size == 0) if edges[0] == 0 else 0
    )
    steps = edges[1:-1] / edges[:-2]
    assert np.all(steps[edges[:-2] > 1e-30] < 1.34)


def test_estimates_come_first_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_summary, "_TOLD_EVERY", -1.0)
    monkeypatch.setattr(weight_summary, "BLOCK", 1000)
    values = np.random.default_rng(8).normal(size=10_000).astype(np.float32)
    told: list[weight_summary.WeightSummary] = []
    found = summarize(_Memory(values), (_weight(values),), told=told.append)
    assert found.exact
    assert [s.read for s in told[:3]] == [1000, 2000, 3000]
    assert not any(s.exact for s in told)
    assert all(s.counts.sum() == s.finite == s.read for s in told[:-1])
    last = told[-1]
    assert (last.low, last.high, last.mean) == (found.low, found.high, pytest.approx(found.mean))
    # Only what a fine bin holds on both sides of an edge can be in the wrong bar.
    assert np.abs(last.counts - found.counts).sum() < 0.02 * values.size


def test_several_weights_are_one_set() -> None:
    rng = np.random.default_rng(9)
    arrays = {
        "a": rng.normal(size=(30, 40)).astype(np.float32),
        "b": rng.normal(2, 3, size=500),
        "c": rng.integers(-5, 9, size=70),
    }

    class Several:
        def read_flat(self, weight: Weight, start: int, stop: int) -> NDArray[np.generic]:
            return arrays[weight.name].ravel()[start:stop]

    weights = [
        Weight(n, "kernel", a.shape, a.dtype.name, ByteRange("f", 0, 1)) for n, a in arrays.items()
    ]
    found = summarize(Several(), weights)
    joined = np.concatenate([a.ravel().astype(float) for a in arrays.values()])
    assert (found.size, found.low, found.high) == (joined.size, joined.min(), joined.max())
    np.testing.assert_array_equal(found.counts, np.histogram(joined, 64)[0])
    assert found.std == pytest.approx(joined.std(), rel=1e-12)
    assert found.zeros == np.count_nonzero(joined == 0)


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
    found = summarize(_Memory(values), (_weight(values),))
    assert found.finite == values.size
    assert (found.low, found.high) == (values.min(), values.max())
    if len(found.counts):
        assert found.counts.sum() == values.size


def test_it_stops_when_told() -> None:
    values = np.ones(10, np.float32)
    with pytest.raises(Stopped):
        summarize(_Memory(values), (_weight(values),), lambda: True)


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
        found = statistics.weight_statistics(model, layer, name)
        assert found["shape"] == kernel.shape
        assert not found["codes"]
        np.testing.assert_array_equal(
            found["summary"].counts, np.histogram(kernel.astype(float), 64)[0]
        )
        assert found["summary"].std == pytest.approx(kernel.astype(float).std(), rel=1e-12)


def test_a_groups_statistics_are_those_of_all_its_weights(
    model: OpenModel, kernels: dict[str, NDArray[np.float32]]
) -> None:
    keras = pytest.importorskip("keras")
    loaded = keras.models.load_model(DIGITS, compile=False)
    joined = np.concatenate([np.ravel(w).astype(float) for w in loaded.get_weights()])
    found = statistics.node_statistics(model, "")["summary"]
    assert found.size == model.network.parameters == joined.size
    np.testing.assert_array_equal(found.counts, np.histogram(joined, 64)[0])
    assert found.mean == pytest.approx(joined.mean(), rel=1e-9)
    assert statistics.node_statistics(model, "")["summary"] is found  # kept


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
        statistics.weight_statistics(model, "hidden", "../../etc/passwd")


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
