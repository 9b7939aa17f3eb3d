"""Gates of recurrent layers and heads of attention against the real Keras layers.

With linear activations and biases chosen so that one gate alone lets the input through, the
derivative of a real layer's output is that gate's matrix: no knowledge of the kernel is used.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from keras_graph import built

N_IN, UNITS = 3, 4
LINEAR = {"activation": "linear", "recurrent_activation": "linear", "dtype": "float64"}


def derivative(f, size):
    """Central difference of f: (size,) -> (n,) at zero, shape (n, size)."""
    step = 1e-5
    columns = [(f(step * e) - f(-step * e)) / (2 * step) for e in np.eye(size)]
    return np.stack(columns, axis=1)


def gate(made, path, name, index):
    return made.matrix(path, name).sum[index * UNITS : (index + 1) * UNITS]


def recurrent(tmp_path, layer, states=1):
    x = keras.Input((1, N_IN), dtype="float64")
    h = [keras.Input((UNITS,), dtype="float64") for _ in range(states)]
    return built(tmp_path, [x, *h], layer(x, initial_state=h))


def test_simple_rnn(tmp_path):
    layer = layers.SimpleRNN(UNITS, activation="linear", dtype="float64")
    made = recurrent(tmp_path, layer)
    bias = layer(np.zeros((1, 1, N_IN)), initial_state=[np.zeros((1, UNITS))]).numpy()

    def run(x, h):
        return layer(x[None, None], initial_state=[h[None]]).numpy()[0] - bias[0]

    kernel = derivative(lambda x: run(x, np.zeros(UNITS)), N_IN)
    again = derivative(lambda h: run(np.zeros(N_IN), h), UNITS)
    np.testing.assert_allclose(made.matrix(layer.name, "kernel").sum, kernel, atol=1e-8)
    np.testing.assert_allclose(made.matrix(layer.name, "recurrent_kernel").sum, again, atol=1e-8)


# Biases of (input, forget, cell, output) and the state c that let one gate through.
LSTM = [(0, 0, 1, 1, 0), (0, 0, 0, 1, 1), (1, 0, 0, 1, 0), (0, 1, 0, 0, 1)]


@pytest.mark.parametrize("index", range(4))
def test_lstm_gate_by_gate(tmp_path, index):
    layer = layers.LSTM(UNITS, unit_forget_bias=False, **LINEAR)
    made = recurrent(tmp_path, layer, 2)
    *bias, c = LSTM[index]
    layer.cell.bias.assign(np.repeat(bias, UNITS))
    state = np.full((1, UNITS), float(c))

    def run(x, h):
        return layer(x[None, None], initial_state=[h[None], state]).numpy()[0]

    kernel = derivative(lambda x: run(x, np.zeros(UNITS)), N_IN)
    again = derivative(lambda h: run(np.zeros(N_IN), h), UNITS)
    np.testing.assert_allclose(gate(made, layer.name, "kernel", index), kernel, atol=1e-8)
    np.testing.assert_allclose(gate(made, layer.name, "recurrent_kernel", index), again, atol=1e-8)
    names = made.wires.units(layer.name).blocks
    assert names[index] == ("input gate", "forget gate", "cell", "output gate")[index]


# Biases of (update, reset, candidate) with the recurrent candidate bias, and what to subtract.
GRU_X = [
    ((1, 0, -1, 0), None),
    ((0, 0, 0, 1), (0, 0, 0, 0)),
    ((0, 0, 0, 0), None),
]
GRU_H = [
    ((1, 0, -1, 0), (1, 0, 0, 0)),
    ((0, 0, 0, 1), None),
    ((0, 1, 0, 0), None),
]


@pytest.mark.parametrize("index", range(3))
def test_gru_gate_by_gate(tmp_path, index):
    layer = layers.GRU(UNITS, reset_after=True, **LINEAR)
    made = recurrent(tmp_path, layer)

    def slope(biases, of_state):
        z, r, h, again = (np.full(UNITS, float(b)) for b in biases)
        zero = np.zeros(UNITS)
        layer.cell.bias.assign([np.concatenate((z, r, h)), np.concatenate((zero, zero, again))])

        def run(v):
            x, s = (np.zeros(N_IN), v) if of_state else (v, np.zeros(UNITS))
            return layer(x[None, None], initial_state=[s[None]]).numpy()[0]

        return derivative(run, UNITS if of_state else N_IN)

    for of_state, table in ((False, GRU_X), (True, GRU_H)):
        plus, minus = table[index]
        want = slope(plus, of_state) - (slope(minus, of_state) if minus else 0)
        name = "recurrent_kernel" if of_state else "kernel"
        np.testing.assert_allclose(gate(made, layer.name, name, index), want, atol=1e-8)
    assert len(made.wires.units(layer.name).blocks) == 3


def test_conv_lstm(tmp_path):
    layer = layers.ConvLSTM1D(UNITS, 2, unit_forget_bias=False, **LINEAR)
    x = keras.Input((1, 2, N_IN), dtype="float64")
    made = built(tmp_path, x, layer(x))
    layer.cell.bias.assign(np.repeat((0.0, 0.0, 1.0, 1.0), UNITS))  # the input gate alone
    slope = derivative(lambda v: layer(v.reshape(1, 1, 2, N_IN)).numpy().ravel(), 2 * N_IN)
    want = slope.reshape(UNITS, 2, N_IN)
    got = made.matrix(layer.name, "kernel")
    np.testing.assert_allclose(got.sum[:UNITS], want.sum(axis=1), atol=1e-8)
    np.testing.assert_allclose(got.sum_sq[:UNITS], np.square(want).sum(axis=1), atol=1e-7)


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_bidirectional(tmp_path, mode):
    inner = layers.SimpleRNN(UNITS, activation="linear", return_sequences=True, dtype="float64")
    layer = layers.Bidirectional(inner, merge_mode=mode, dtype="float64")
    after = layers.Dense(2, dtype="float64")
    x = keras.Input((1, N_IN), dtype="float64")
    y = layer(x)
    made = built(tmp_path, x, after(y[1] if mode is None else y))
    base = [np.asarray(v) for v in keras.tree.flatten(layer(np.zeros((1, 1, N_IN))))]
    eye = [np.asarray(v) for v in keras.tree.flatten(layer(np.eye(N_IN)[:, None]))]
    parts = [made.matrix(f"{layer.name}/{n}", "kernel").sum for n in ("forward", "backward")]
    c = made.connection(after.name)
    found = {e.source: e.in_map for e in made.wires.trace(after.name, c, lambda p: False)}
    forward, backward = (found.get(f"{layer.name}/{n}") for n in ("forward", "backward"))
    if mode == "concat":
        np.testing.assert_allclose((eye[0] - base[0])[:, 0].T, np.concatenate(parts), atol=1e-12)
        assert forward.indices().tolist() == [0, 1, 2, 3, -1, -1, -1, -1]
        assert backward.indices().tolist() == [-1, -1, -1, -1, 0, 1, 2, 3]
    elif mode is None:
        np.testing.assert_allclose((eye[1] - base[1])[:, 0].T, parts[1], atol=1e-12)
        assert forward is None
        assert backward.index is None
    else:
        assert forward.index is None
        assert backward.index is None
        if mode in ("sum", "ave"):
            want = (parts[0] + parts[1]) / (2 if mode == "ave" else 1)
            np.testing.assert_allclose((eye[0] - base[0])[:, 0].T, want, atol=1e-12)


def attention(tmp_path, layer, width=6, length=2):
    q, k, v = (keras.Input((length, width), dtype="float64") for _ in range(3))
    return built(tmp_path, [q, v, k], layer(q, v, k))


def test_attention_values_and_output(tmp_path):
    layer = layers.MultiHeadAttention(3, 4, value_dim=5, use_bias=False, dtype="float64")
    made = attention(tmp_path, layer, length=1)
    path, eye = layer.name, np.eye(6)[:, None]
    real = np.asarray(layer(eye, eye, eye))[:, 0].T  # over one step the value goes through
    mix = f"{path}/attention_output"
    (entry,) = made.wires.trace(mix, made.connection(mix), lambda p: False)
    assert entry.source == f"{path}/value"
    along = made.matrix(mix).sum[:, :] @ made.matrix(entry.source).sum[entry.in_map.indices()]
    np.testing.assert_allclose(along, real, atol=1e-12)
    assert made.wires.units(f"{path}/query").heads == (3, 4)
    assert made.wires.units(f"{path}/value").heads == (3, 5)


def test_attention_query_and_key_by_head(tmp_path):
    layer = layers.MultiHeadAttention(3, 4, use_bias=False, dtype="float64")
    made = attention(tmp_path, layer)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 1, 2, 6)) * 0.3
    _, scores = layer(x, y, y, return_attention_scores=True)
    scores = np.log(np.asarray(scores)[0])  # (heads, query step, key step)
    q, k = (made.matrix(f"{layer.name}/{n}").sum.reshape(3, 4, 6) for n in ("query", "key"))
    want = np.einsum("hdi,ti,hdj,sj->hts", q, x[0], k, y[0]) / np.sqrt(4)
    np.testing.assert_allclose(scores[..., 0] - scores[..., 1], want[..., 0] - want[..., 1])


def test_attention_inputs_lead_to_their_parts(tmp_path):
    layer = layers.MultiHeadAttention(2, 3)
    made = attention(tmp_path, layer)
    into = {n: [k.source for k in made.wires.incoming(f"{layer.name}/{n}")]
            for n in ("query", "key", "value")}  # fmt: skip
    names = [i.name for i in made.model.operations if type(i).__name__ == "InputLayer"]
    order = [t._keras_history.operation.name for t in made.model.inputs]  # query, value, key
    assert sorted(names) == sorted(order)
    assert into == {"query": [order[0]], "value": [order[1]], "key": [order[2]]}


def test_attention_without_key_reads_the_value(tmp_path):
    layer = layers.MultiHeadAttention(2, 3)
    q, v = keras.Input((2, 6)), keras.Input((5, 7))
    mask = keras.Input((2, 5), dtype="bool")
    made = built(tmp_path, [q, v, mask], layer(q, v, attention_mask=mask))
    order = [t._keras_history.operation.name for t in made.model.inputs]
    for name in ("key", "value"):
        assert [k.source for k in made.wires.incoming(f"{layer.name}/{name}")] == [order[1]]
    mixed = [k.source for k in made.wires.incoming(f"{layer.name}/attention")]
    assert order[2] in mixed


def test_grouped_query_attention_shares_values(tmp_path):
    layer = layers.GroupQueryAttention(4, 6, 3, use_bias=False, dtype="float64")
    made = attention(tmp_path, layer, length=1)
    eye, mix = np.eye(6)[:, None], f"{layer.name}/attention_output"
    real = np.asarray(layer(eye, eye, eye))[:, 0].T
    (entry,) = made.wires.trace(mix, made.connection(mix), lambda p: False)
    along = made.matrix(mix).sum @ made.matrix(entry.source).sum[entry.in_map.indices()]
    np.testing.assert_allclose(along, real, atol=1e-12)


@pytest.mark.parametrize("kind", ["multi-head", "grouped"])
def test_gated_attention(tmp_path, kind):
    """Over one step, out = Wo · (sigmoid(Wg · query) * (Wv · value))."""
    options = {"use_bias": False, "use_gate": True, "dtype": "float64"}
    if kind == "multi-head":
        layer = layers.MultiHeadAttention(3, 4, **options)
    else:
        layer = layers.GroupQueryAttention(4, 6, 3, **options)
    made = attention(tmp_path, layer, length=1)
    q, v = np.random.default_rng(7).normal(size=(2, 6))
    real = np.asarray(layer(q[None, None], v[None, None], v[None, None]))[0, 0]
    mix = f"{layer.name}/attention_output"
    found = {e.source.rsplit("/")[-1]: e
             for e in made.wires.trace(mix, made.connection(mix), lambda p: False)}  # fmt: skip
    assert set(found) == {"value", "gate"}
    parts = {n: made.matrix(e.source).sum[e.in_map.indices()] for n, e in found.items()}
    inner = parts["value"] @ v / (1 + np.exp(-parts["gate"] @ q))
    np.testing.assert_allclose(made.matrix(mix).sum @ inner, real, atol=1e-12)


def test_rnn_of_a_cell(tmp_path):
    layer = layers.RNN(layers.SimpleRNNCell(UNITS, activation="linear", dtype="float64"),
                       dtype="float64")  # fmt: skip
    x = keras.Input((1, N_IN), dtype="float64")
    made = built(tmp_path, x, layer(x))
    base = np.asarray(layer(np.zeros((1, 1, N_IN))))
    answer = np.asarray(layer(np.eye(N_IN)[:, None])) - base
    np.testing.assert_allclose(made.matrix(layer.name, "kernel").sum, answer.T, atol=1e-12)
