"""Strongest connections between any two nodes and ranges of units, against sums over kernels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from keras_graph import built
from test_pyramid import clear_plans

from explorer.crossing.query import fewest_edges, strongest_edges
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.flattened import flattened_channels
from explorer.weights.weight_reader import WeightReader


class Case:
    """A network and, by (source, target), all weights that join their units.

    `joined` holds one list of (out unit, in unit, weights) per pair of layers: out and in are
    arrays of shape (n,), weights of shape (n, m).
    """

    def __init__(self, made, joined):
        self.made, self.joined = made, joined

    def __repr__(self):
        return "case"


def full(kernel):
    """Every out unit with every in unit, from an array of shape (taps, in, out)."""
    _, n_in, n_out = kernel.shape
    inside, out = np.indices((n_in, n_out))
    return out.ravel(), inside.ravel(), kernel.reshape(len(kernel), -1).T


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Groups, a concatenation that brings one layer twice, heads, gates, a flattening, a sum."""
    x = keras.Input((6, 8), name="x")
    grouped = layers.Conv1D(12, 3, groups=2, padding="same", name="grouped")(x)
    plain = layers.Conv1D(10, 1, name="plain")(x)
    joined = layers.Concatenate(name="joined")([grouped, plain, layers.ReLU()(grouped)])
    mixed = layers.Conv1D(16, 2, padding="same", name="mixed")(joined)
    other = layers.Dense(16, name="other")(plain)
    added = layers.Add(name="added")([mixed, other])
    heads = layers.EinsumDense("abc,cde->abde", (6, 2, 5), name="heads")(mixed)
    each = layers.DepthwiseConv1D(2, depth_multiplier=3, name="each")(mixed)
    lstm = layers.LSTM(7, name="lstm")(added)
    flat = layers.Dense(20, name="flat")(layers.Flatten()(mixed))
    made = built(tmp_path_factory.mktemp("anywhere"), x, [heads, each, lstm, flat])

    def kernel(name):
        return made.model.get_layer(name).get_weights()[0].astype(np.float64)

    group = kernel("grouped")  # (3, 4, 12): six filters on the first four channels, six on the rest
    out, inside, weights = full(group)
    cat = kernel("mixed")  # (2, 12 + 10 + 12, 16)
    twice = np.concatenate((cat[:, :12], cat[:, 22:]))
    gates = kernel("lstm").reshape(1, 16, 4, 7)[0].transpose(1, 0, 2)  # (4, 16, 7)
    again = made.model.get_layer("lstm").get_weights()[1].astype(np.float64)
    depth = kernel("each")  # (2, 16, 3)
    channel, copy = np.indices((16, 3))
    return Case(made, {
        ("x", "grouped"): (out, inside + 4 * (out // 6), weights),
        ("x", "plain"): full(kernel("plain")),
        ("grouped", "mixed"): full(twice),
        ("plain", "mixed"): full(cat[:, 12:22]),
        ("plain", "other"): full(kernel("other")[None]),
        ("mixed", "heads"): full(kernel("heads").reshape(1, 16, 10)),
        ("mixed", "each"): ((channel * 3 + copy).ravel(), channel.ravel(),
                            depth.reshape(2, -1).T),
        ("mixed", "lstm"): full(gates),
        ("other", "lstm"): full(gates),
        ("lstm", "lstm"): full(again.reshape(7, 4, 7).transpose(1, 0, 2)),
        ("mixed", "flat"): full(kernel("flat").reshape(6, 16, 20)),
    })  # fmt: skip


# A source's units are counted on through its gates, so they begin again after its channels.
CHANNELS = {"x": 8, "grouped": 12, "plain": 10, "mixed": 16, "other": 16, "lstm": 7}
QUESTIONS = [
    ["x"], ["grouped", "plain", "mixed"], ["plain", "other", "lstm"], ["mixed"],
    ["x", "grouped", "plain", "mixed", "other", "lstm", "heads", "each", "flat"],
]  # fmt: skip


@st.composite
def questions(draw):
    """Sources, targets, and ranges of their units; often a single unit."""
    ends = [draw(st.sampled_from(QUESTIONS)) for _ in range(2)]

    def some():
        first = draw(st.integers(0, 9))
        return draw(st.one_of(st.none(), st.just((first, first + draw(st.integers(1, 12))))))

    return ends, (some(), some())


def wanted(case, ends, ranges):
    """All edges that are asked for: source, target, in unit, out unit and weights."""
    found = []
    for (source, target), (out, inside, weights) in case.joined.items():
        if source not in ends[0] or target not in ends[1]:
            continue
        for o, i, w in zip(out.tolist(), inside.tolist(), weights, strict=True):
            if ranges[0] is not None and i not in {u % CHANNELS[source] for u in range(*ranges[0])}:
                continue
            if ranges[1] is None:
                found.append((source, target, i, o, w))
                continue
            first, stop = ranges[1]
            if target != "lstm":
                if first <= o < stop:
                    found.append((source, target, i, o, w))
                continue
            gates = [g for g in range(4) if first <= g * 7 + o < stop]
            one = first // 7 == (stop - 1) // 7  # within one gate its units are not joined
            if gates:
                found.append((source, target, i, gates[0] * 7 + o if one else o, w[gates]))
    return found


@settings(max_examples=40, deadline=None)
@given(
    questions(),
    st.floats(0.0, 1.1),
    st.sampled_from([0.0, 0.05, 0.5, 0.97, 1.0]),
    st.booleans(),
)
def test_any_two_nodes_and_any_units(case, question, part, share, searched):
    ends, ranges = question
    every = wanted(case, ends, ranges)
    k = int(part * (len(every) + 1))
    held = {e[:4]: float(np.square(e[4]).sum()) for e in every}
    made = case.made
    with pytest.MonkeyPatch.context() as patch:
        if searched:  # take the way of large matrices
            patch.setattr("explorer.pyramid.grid.SMALL", 0)
            patch.setattr("explorer.pyramid.search.strongest.FULL_READ", 0)
            patch.setattr("explorer.pyramid.search.tile_search._FIRST", 1)
            patch.setattr("explorer.pyramid.search.tile_search._WORTH", 0)
        clear_plans()
        reader = WeightReader(made.network)
        pyramid = Pyramid(reader, period=lambda c: flattened_channels(made.network, made.wires, c))
        asked = {"from_range": ranges[0], "to_range": ranges[1]}
        nodes = (made.network, pyramid, *ends)
        found = strongest_edges(*nodes, k, **asked)
        few = fewest_edges(*nodes, share, **asked)
        reader.close()
    clear_plans()
    rms = {at[:4]: np.sqrt(np.square(at[4]).mean()) for at in every}
    names = [(e.from_layer, e.to_layer, e.from_unit, e.to_unit) for e in found.edges]
    assert len(set(names)) == len(names) == min(k, len(every))
    for name, edge in zip(names, found.edges, strict=True):
        assert edge.magnitude == pytest.approx(rms[name], rel=1e-9)
    best = np.sort(list(rms.values()))[::-1][: len(names)]
    np.testing.assert_allclose([e.magnitude for e in found.edges], best, rtol=1e-9)
    assert found.total_connections == len(every)
    total = sum(held.values())
    shown = sum(held[name] for name in names)
    assert found.shown_share_of_sum_sq == pytest.approx(shown / total if total else 1.0, rel=1e-6)
    order = np.sort(list(held.values()))[::-1]
    reached = np.append(0.0, np.cumsum(order))
    near = [int(np.searchsorted(reached, share * total * f)) for f in (1 - 1e-6, 1 - 1e-12)]
    assert len(few.edges) in ([len(order)] if share == 1.0 else near)
    got = [held[e.from_layer, e.to_layer, e.from_unit, e.to_unit] for e in few.edges]
    np.testing.assert_allclose(np.sort(got)[::-1], order[: len(got)], rtol=1e-9)
