"""A kernel means the same whatever the order in which a framework stores its axes."""

from __future__ import annotations

import numpy as np
import pytest
from test_pyramid import ArrayReader

from explorer.crossing.element_index import joined_elements
from explorer.network import ByteRange, Layer, Weight
from explorer.pyramid import level0
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import strongest
from explorer.weights.connections import connections_of
from explorer.weights.kernels import kernel_of

RNG = np.random.default_rng(5)

# Kind, configuration, axes in the file, shape, and how the array becomes (out, in, taps); groups
# and gates are written out by hand in `matrix`.
CASES = [
    ("Dense", {}, "oi", (70, 90)),
    ("Dense", {}, "io", (90, 70)),
    ("Embedding", {}, "io", (300, 20)),
    ("Conv2D", {}, "oikk", (70, 66, 3, 3)),
    ("Conv2D", {}, "okki", (70, 3, 3, 66)),
    ("Conv2D", {}, "kkio", (3, 3, 66, 70)),
    ("Conv1D", {}, "oik", (130, 65, 4)),
    ("Conv3D", {}, "oikkk", (6, 5, 2, 3, 2)),
    ("Conv2D", {"groups": 2}, "oikk", (140, 66, 3, 1)),
    ("Conv2D", {"groups": 24}, "oikk", (48, 1, 3, 3)),
    ("Conv2D", {"groups": 24}, "ikko", (1, 3, 3, 48)),
    ("Conv2DTranspose", {}, "iokk", (66, 70, 3, 3)),
    ("Conv2DTranspose", {}, "okki", (70, 3, 3, 66)),
    ("Conv2DTranspose", {"groups": 2}, "iokk", (66, 70, 3, 3)),
    ("LSTM", {}, "oi", (4 * 20, 70)),
    ("GRU", {}, "io", (70, 3 * 20)),
]


def matrix(kind: str, config: dict[str, int], axes: str, array: np.ndarray) -> np.ndarray:
    """All weights between the layer's out and in units; NaN where a pair has none."""
    order = [axes.index("o"), axes.index("i"), *(n for n, c in enumerate(axes) if c == "k")]
    plain = array.transpose(order).reshape(*(array.shape[n] for n in order[:2]), -1)
    groups = config.get("groups", 1)
    if groups == 1:
        return plain
    out, inside, taps = plain.shape
    if "Transpose" in kind:
        whole = np.full((out * groups, inside, taps), np.nan)
        for g in range(groups):
            each = slice(g * inside // groups, (g + 1) * inside // groups)
            whole[g * out : (g + 1) * out, each] = plain[:, each]
        return whole
    whole = np.full((out, inside * groups, taps), np.nan)
    for g in range(groups):
        each = slice(g * out // groups, (g + 1) * out // groups)
        whole[each, g * inside : (g + 1) * inside] = plain[each]
    return whole


@pytest.mark.parametrize("in_place", [False, True], ids=["kept whole", "read in place"])
@pytest.mark.parametrize(("kind", "config", "axes", "shape"), CASES)
def test_every_order_of_axes_gives_the_same_matrix(kind, config, axes, shape, in_place,
                                                   monkeypatch) -> None:  # fmt: skip
    if in_place:
        monkeypatch.setattr(level0, "WHOLE", 0)
    array = RNG.normal(size=shape).astype(np.float32)
    role = "embeddings" if kind == "Embedding" else "kernel"
    arrays = {"w": array}
    place = ByteRange("memory", 0, array.nbytes)
    weights = [Weight("w", role, shape, "float32", place, axes=axes)]
    if kind in ("LSTM", "GRU"):
        gates = 4 if kind == "LSTM" else 3
        units = shape[axes.index("o")] // gates
        arrays["r"] = np.zeros((units, gates * units), np.float32)
        place = ByteRange("memory", 0, arrays["r"].nbytes)
        weights.append(Weight("r", "recurrent_kernel", arrays["r"].shape, "float32", place))
    connection = connections_of(Layer("a", kind, config, weights=tuple(weights)))[0]
    whole = matrix(kind, config, axes, array)
    assert (connection.out_units, connection.in_units) == whole.shape[:2]
    pyramid = Pyramid(ArrayReader(arrays))

    out_label = np.arange(whole.shape[0], dtype=np.int32) // 3
    in_label = np.arange(whole.shape[1], dtype=np.int32) // 5
    sums = pyramid.stats(connection, out_label, in_label, out_label[-1] + 1, in_label[-1] + 1)
    expected = np.zeros((out_label[-1] + 1, in_label[-1] + 1))
    np.add.at(expected, (out_label[:, None], in_label[None]), np.nansum(whole**2.0, axis=2))
    np.testing.assert_allclose(sums.sum_sq, expected, rtol=1e-5)
    assert int(sums.count.sum()) == np.isfinite(whole).sum()

    units = (np.arange(n, dtype=np.int32) for n in whole.shape[:2])
    found = strongest(pyramid, connection, *units, 50)
    rms = np.sqrt(np.mean(whole.astype(np.float64) ** 2, axis=2))
    best = np.sort(rms[np.isfinite(rms)])[::-1][:50]
    np.testing.assert_allclose(rms[found.out, found.inside], best, rtol=1e-6)

    for out, inside in zip(found.out[:5].tolist(), found.inside[:5].tolist(), strict=True):
        ((_, places),) = joined_elements(connection, out, np.array([inside]))
        np.testing.assert_array_equal(np.sort(array.ravel()[places]), np.sort(whole[out, inside]))


def test_axes_that_do_not_fit_are_no_kernel() -> None:
    def weight(axes: str, shape: tuple[int, ...]) -> Weight:
        return Weight("w", "kernel", shape, "float32", ByteRange("m", 0, 4), axes=axes)

    assert kernel_of(weight("oi", (3, 4)), "io") is not None
    for axes, shape in (("oo", (3, 4)), ("oik", (3, 4)), ("ox", (3, 4)), ("koki", (3, 4, 3, 4)),
                        ("kiok", (3, 4, 5, 3))):  # fmt: skip
        assert kernel_of(weight(axes, shape), "io") is None
