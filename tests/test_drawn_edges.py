"""Every drawn edge is a number in the file: compared with Keras' own arrays."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from explorer.bundled import scenes_folder
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState

UNIT = re.compile(r"(.*)\[(\d+)\]")


@pytest.fixture(scope="module")
def digits():
    path = scenes_folder() / "digits.keras"
    weights = {la.name: la.get_weights() for la in keras.saving.load_model(path).layers}
    with OpenModel.open(str(path)) as model:
        yield model, weights


def session_with(model: OpenModel, *opened: str) -> Session:
    session = Session(model, ViewState(opened=frozenset(opened), edge_budget=100_000))
    session.wait()
    return session


def drawn(session: Session):
    """(source, target, magnitude, signed mean, weights) of every drawn edge with weights."""
    draw_list = session.draw_list
    edges = draw_list.edges
    for i in np.flatnonzero(edges.weights > 0):
        yield (
            draw_list.nodes[edges.source[i]],
            draw_list.nodes[edges.target[i]],
            edges.magnitude[i],
            edges.signed_mean[i],
            int(edges.weights[i]),
        )


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


def between(weights, source: str, target: str):
    """The weights an edge between two units must stand for, by Keras' own arrays."""
    a, b = UNIT.fullmatch(source), UNIT.fullmatch(target)
    i, j = int(a[2]), int(b[2])
    kernel = weights[b[1]][0]
    if b[1] == "hidden" and a[1] in ("pool", "conv_2"):
        # 16 channels of 4 x 4: row (h * 4 + w) * 16 + channel of the flattened kernel.
        return kernel.reshape(-1, 16, kernel.shape[1])[:, i, j]
    return kernel[..., i, j]


def test_unit_edges_are_the_kernels_entries(digits):
    model, weights = digits
    session = session_with(model, "conv_1", "conv_2~stage", "conv_2", "flatten", "hidden", "digit")
    seen = {}
    for source, target, magnitude, mean, count in drawn(session):
        if UNIT.fullmatch(source) and UNIT.fullmatch(target):
            expected = between(weights, source, target)
            assert count == expected.size
            assert magnitude == pytest.approx(rms(expected), rel=1e-6)
            assert mean == pytest.approx(float(expected.mean(dtype=np.float64)), abs=1e-7)
            seen[source, target] = magnitude
    layers = {(s.split("[")[0], t.split("[")[0]) for s, t in seen}
    assert {("conv_1", "conv_2"), ("flatten", "hidden"), ("hidden", "digit")} <= layers
    # All 8 x 16 filter pairs and all 32 x 10 neuron pairs are there, each once.
    assert sum(s.startswith("conv_1[") for s, _ in seen) == 8 * 16
    assert sum(s.startswith("hidden[") for s, _ in seen) == 32 * 10


def test_a_hidden_flatten_passes_channels_on(digits):
    model, weights = digits
    # Units of the pool show, flatten is closed in no node of its own: open everything around it.
    found = [e for e in drawn(session_with(model)) if e[1].startswith("hidden[")]
    assert found, "the closed pair shows strands"
    for source, target, magnitude, _mean, count in found:
        expected = between(weights, source, target)
        assert count == expected.size
        assert magnitude == pytest.approx(rms(expected), rel=1e-6)


def test_a_bundle_is_the_rms_of_everything_between(digits):
    model, weights = digits
    bundles = {(s, t): (m, n) for s, t, m, _, n in drawn(session_with(model)) if "[" not in s + t}
    kernel = weights["hidden"][0]
    (pair,) = [p for p in bundles if p[1] == "hidden"]
    assert bundles[pair] == (pytest.approx(rms(kernel), rel=1e-6), kernel.size)
    assert bundles[("hidden", "digit")][0] == pytest.approx(rms(weights["digit"][0]), rel=1e-6)


def test_strands_are_the_strongest_exactly(digits):
    model, weights = digits
    kernel = np.abs(weights["digit"][0])
    strands = [e for e in drawn(session_with(model)) if e[1].startswith("digit[")]
    expected = np.sort(kernel.ravel())[::-1][: len(strands)]
    assert len(strands) > 20
    np.testing.assert_allclose(
        sorted((m for *_, m, _, _ in strands), reverse=True), expected, rtol=1e-6
    )


def test_a_small_budget_keeps_the_strongest_and_says_so(digits):
    model, weights = digits
    state = ViewState(opened=frozenset({"hidden", "digit"}), edge_budget=60)
    session = Session(model, state)
    session.wait()
    edges = [e for e in drawn(session) if e[0].startswith("hidden[") and e[1].startswith("digit[")]
    kernel = np.abs(weights["digit"][0])
    expected = np.sort(kernel.ravel())[::-1][: len(edges)]
    assert 0 < len(edges) < kernel.size
    np.testing.assert_allclose(sorted((e[2] for e in edges), reverse=True), expected, rtol=1e-6)
    line = next(
        text for text in session.draw_list.legend.lines if "connections drawn singly" in text
    )
    shown = int(re.sub(r"\D", "", line.split(" of ")[0]))
    assert shown <= 60
    assert "the strongest" in line


def test_the_legend_counts_and_shares_are_exact(digits):
    model, weights = digits
    session = session_with(model, "hidden", "digit")
    crossing = session._finder.crossing(session.placed.cut, session.state.edge_budget)
    # Lines from the closed stage to each hidden unit stand for many connections: not told singly.
    names = ("conv_1", "conv_2", "digit")
    total = sum(float(np.square(weights[n][0].astype(np.float64)).sum()) for n in names)
    assert crossing.total_sum_sq == pytest.approx(total, rel=1e-6)
    assert crossing.total == 8 + 8 * 16 + 32 * 10
    alone = [e for e in drawn(session) if "[" in e[0] and "[" in e[1]]
    assert crossing.shown == len(alone)
    shown = sum(m * m * n for _, _, m, _, n in alone)
    assert crossing.shown_sum_sq == pytest.approx(shown, rel=1e-6)


def test_links_without_weights_have_no_value(digits):
    model, _ = digits
    session = session_with(model, "conv_2~stage", "conv_2", "pool")
    draw_list = session.draw_list
    edges = draw_list.edges
    flows = np.flatnonzero(edges.weights == 0)
    pairs = {(draw_list.nodes[edges.source[i]], draw_list.nodes[edges.target[i]]) for i in flows}
    assert {(f"conv_2[{c}]", f"pool[{c}]") for c in range(16)} <= pairs
    assert np.isnan(edges.magnitude[flows]).all()


def one_layer(tmp_path, build) -> OpenModel:
    path = tmp_path / "m.keras"
    build().save(path)
    return OpenModel.open(str(path))


def test_a_weight_that_arrives_on_two_ways_counts_once(tmp_path):
    def build():
        start = keras.Input((4,), name="start")
        x = keras.layers.Dense(4, name="a_x")(start)
        y = keras.layers.Dense(4, name="a_y")(x)
        both = keras.layers.Add(name="b_add")([x, y])
        return keras.Model(start, keras.layers.Dense(3, name="b_out")(both))

    with one_layer(tmp_path, build) as model:
        assert {"a", "b"} <= set(model.hierarchy.by_path)
        session = session_with(model)
        bundles = {(s, t): (m, n) for s, t, m, _, n in drawn(session) if "[" not in s + t}
        kernel = model.reader.read(model.graph.layer_by_path["b_out"].weight("kernel"))
        assert bundles["a", "b"] == (pytest.approx(rms(kernel), rel=1e-6), 12)


def test_non_finite_weights_are_told(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((3,), name="in"), keras.layers.Dense(2, name="out")])
        kernel = np.array([[1, 2], [np.nan, 3], [np.inf, 4]], np.float32)
        model.layers[-1].set_weights([kernel, np.zeros(2, np.float32)])
        return model

    with one_layer(tmp_path, build) as model:
        session = session_with(model, "in", "out")
        assert "2 weights are NaN or infinite" in session.draw_list.legend.lines
        edges = session.draw_list.edges
        assert len(edges.source) == 6
        bad = np.flatnonzero(np.isnan(edges.magnitude))
        assert len(bad) == 2
        assert "none of them finite" in session.describe_edge(int(bad[0]))


def test_a_layer_without_a_recorded_shape_still_draws(tmp_path):
    from explorer.network import Layer, Link, Network

    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="out")]).save(path)
    with OpenModel.open(str(path)) as good:
        out = good.network.layer_by_path["out"]
        source = Layer("odd", "Mystery")
        network = Network("odd", "keras", (source, out), (), (Link("odd", "out"),),
                          files=good.network.files)  # fmt: skip
    with OpenModel(network) as model:
        session = session_with(model)
        kernel = model.reader.read(out.weight("kernel"))
        found = [e for e in drawn(session) if "[" not in e[0] + e[1]]
        assert found[0][2] == pytest.approx(rms(kernel), rel=1e-6)
        assert np.isfinite(session.draw_list.edges.points).all()
