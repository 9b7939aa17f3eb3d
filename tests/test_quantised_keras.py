"""Quantised Keras models: the numbers read are those that Keras' own layers multiply with."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as kl
from keras.quantizers import Int4QuantizationConfig, Int8QuantizationConfig
from keras.src.quantizers.quantizers import dequantize_with_sz_map
from keras_models import fill
from test_cli import neuronaut

from explorer.formats import open_network
from explorer.formats.record import UnreadableError
from explorer.formats.sandbox.manifest import decode, encode
from explorer.network import Layer, Network
from explorer.weights.codecs import problem
from explorer.weights.composites import expand
from explorer.weights.connections import connections_of
from explorer.weights.weight_reader import WeightReader

MODES = {
    "int8": lambda m: m.quantize("int8", config=Int8QuantizationConfig(activation_quantizer=None)),
    "int8 with quantised inputs": lambda m: m.quantize("int8"),
    "int4": lambda m: m.quantize("int4"),
    "int4 in groups": lambda m: m.quantize("int4", config=Int4QuantizationConfig(block_size=4)),
    "int4 per channel": lambda m: m.quantize("int4", config=Int4QuantizationConfig(block_size=-1)),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method:UserWarning")


def build() -> Any:
    tokens, other = keras.Input((6,), dtype="int32", name="tokens"), keras.Input((7, 9), name="x")
    y = kl.Embedding(11, 9, name="emb")(tokens)
    y = kl.MultiHeadAttention(3, 4, value_dim=5, name="mha")(y, other)
    y = kl.GroupQueryAttention(4, 6, 2, name="gqa")(y, other)
    y = kl.Dense(5, name="dense")(y)
    y = kl.EinsumDense("abc,cde->abde", (6, 3, 5), bias_axes="de", name="apart")(y)
    y = kl.EinsumDense("abde,fde->abf", (6, 7), name="together")(y)
    y = kl.EinsumDense("abx,yx->aby", (6, 13), name="turned")(y)
    y = kl.EinsumDense("abc,bcd->abd", (6, 4), bias_axes="d", name="batched")(y)
    y = kl.Conv1D(4, 2, name="conv")(y)
    y = kl.TimeDistributed(kl.Dense(3, use_bias=False), name="td")(y)
    return keras.Model([tokens, other], kl.Dense(1, name="last")(y), name="quantised")


@cache
def model(mode: str) -> Any:
    made = fill(build())
    MODES[mode](made)
    return made


def dense_layers(layer: Any) -> dict[str, Any]:
    """Keras' own layers by the prefix of their weights' roles."""
    if isinstance(layer, kl.MultiHeadAttention):
        inner = ("query", "key", "value")
        found = {f"{n}/": getattr(layer, f"_{n}_dense") for n in inner}
        return found | {"attention_output/": layer._output_dense}
    if isinstance(layer, kl.GroupQueryAttention):
        inner = ("query", "key", "value")
        found = {f"{n}/": getattr(layer, f"_{n}_dense") for n in inner}
        return found | {"attention_output/": layer._output_dense}
    return {"": layer.layer if isinstance(layer, kl.TimeDistributed) else layer}


def dequantised(layer: Any) -> np.ndarray:
    """The numbers of a quantised layer, by Keras' own functions."""
    ops, name = keras.ops, "embeddings" if isinstance(layer, kl.Embedding) else "kernel"
    scale, zero = (getattr(layer, f"{name}_{t}", None) for t in ("scale", "zero"))
    codes = getattr(layer, f"_{name}")
    if layer.quantization_mode == "int8":
        if isinstance(layer, kl.EinsumDense):
            scale = layer._adjust_scale_for_dequant(scale)
        elif name == "embeddings":
            scale = ops.expand_dims(scale, -1)
        return ops.convert_to_numpy(ops.divide(ops.cast(codes, "float32"), scale))
    columns = getattr(layer, "_int4_unpacked_column_size", None) or layer._orig_output_dim
    codes = ops.cast(keras.quantizers.unpack_int4(codes, columns, axis=-1), "float32")
    if zero is not None:
        axis = -1 if name == "embeddings" else 0
        found = dequantize_with_sz_map(codes, scale, zero, layer.g_idx, group_axis=axis)
    else:
        found = ops.divide(codes, ops.expand_dims(scale, -1) if name == "embeddings" else scale)
    shape = getattr(layer, "original_kernel_shape", None) or found.shape
    return ops.convert_to_numpy(ops.reshape(found, shape))


def by_one_hot(layer: Any, kernel: np.ndarray) -> np.ndarray | None:
    """The kernel as the layer's outputs for one-hot inputs, its bias taken off."""
    if isinstance(layer, kl.Embedding):
        return keras.ops.convert_to_numpy(layer(np.arange(kernel.shape[0])))
    if not isinstance(layer, kl.Dense):
        return None
    out = keras.ops.convert_to_numpy(layer(np.eye(kernel.shape[0], dtype="float32")))
    bias = 0.0 if layer.bias is None else keras.ops.convert_to_numpy(layer.bias)
    return out - bias


def saved(mode: str, folder: Path, suffix: str) -> Path:
    path = folder / f"q.{suffix}"
    model(mode).save(path)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("mode", MODES)
def test_numbers_are_those_of_keras(tmp_path: Path, mode: str, suffix: str) -> None:
    network = open_network(saved(mode, tmp_path, suffix))
    assert not network.notes
    checked = 0
    with WeightReader(network) as reader:
        for layer in model(mode).layers:
            ours = network.layer_by_path[layer.name]
            for prefix, theirs in dense_layers(layer).items():
                if getattr(theirs, "quantization_mode", None) is None:
                    continue
                name = "embeddings" if isinstance(theirs, kl.Embedding) else "kernel"
                weight = ours.weight(prefix + name)
                assert weight is not None
                assert weight.dtype == ("int8" if mode.startswith("int8") else "int4")
                read, expected = reader.read(weight), dequantised(theirs)
                assert read.shape == expected.shape, (layer.name, prefix)
                np.testing.assert_array_equal(read, expected, err_msg=f"{layer.name} {prefix}")
                assert len(np.unique(read)) > 2
                lowest, count = (-128, 256) if mode.startswith("int8") else (-8, 16)
                assert reader.code_range(weight) == tuple(range(lowest, lowest + count))
                shown = by_one_hot(theirs, expected)
                if shown is not None:
                    np.testing.assert_allclose(read, shown, rtol=2e-3, atol=1e-3)
                checked += 1
    assert checked == 16


@pytest.mark.parametrize("mode", MODES)
def test_matrices_are_the_same_as_unquantised(tmp_path: Path, mode: str) -> None:
    """Every layer that is joined by weights still is, in the same places."""
    network = expand(open_network(saved(mode, tmp_path, "keras")))
    plain = fill(build())
    plain.save(tmp_path / "plain.keras")
    other = expand(open_network(tmp_path / "plain.keras"))
    assert places(network) == places(other)
    assert len(places(network)) > 10


def places(network: Network) -> list[Any]:
    found = [c for layer in network.layers for c in connections_of(layer)]
    return [
        (c.target, c.name, c.out_units, c.in_units, m.offset, m.taps, m.tap_stride, m.major,
         m.major_stride, m.minor, m.transposed, m.out_start, m.in_start)
        for c in found for m in c.matrices
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["int8", "int4 in groups"])
def test_info_and_edges(tmp_path: Path, mode: str) -> None:
    path = str(saved(mode, tmp_path, "keras"))
    info = json.loads(neuronaut("info", path, "--json").stdout)
    rows = {row["path"]: row for row in info["layers"]}
    assert rows["dense"]["weights"][0]["shape"] == [9, 5]
    assert rows["dense"]["weights"][0]["dtype"] == mode.split()[0]
    done = neuronaut("edges", path, "--from", "conv", "--to", "td", "--top", "9", "--json")
    kernel = dequantised(model(mode).get_layer("td").layer).astype(float)
    found = json.loads(done.stdout)
    assert found["total_weights"] == kernel.size
    order = np.argsort(-np.abs(kernel), axis=None, kind="stable")[:9]
    values = np.abs(kernel).ravel()[order]
    np.testing.assert_allclose([e["magnitude"] for e in found["edges"]], values, rtol=1e-6)
    for edge in found["edges"]:
        value = kernel[edge["from_unit"], edge["to_unit"]]
        np.testing.assert_allclose(edge["signed_mean"], value, rtol=1e-6)
    share = np.square(values).sum() / np.square(kernel).sum()
    np.testing.assert_allclose(found["shown_share_of_sum_sq"], share, rtol=1e-6)


def test_float8_layers_store_their_kernels_as_they_were(tmp_path: Path) -> None:
    x = keras.Input((8,))
    made = fill(keras.Model(x, kl.Dense(6, name="d")(x)))
    made.quantize("float8")
    made.save(tmp_path / "f.keras")
    layer = open_network(tmp_path / "f.keras").layer_by_path["d"]
    assert [w.role for w in layer.weights] == [
        "kernel", "bias", "inputs_scale", "inputs_amax_history", "kernel_scale",
        "kernel_amax_history", "outputs_grad_scale", "outputs_grad_amax_history",
    ]  # fmt: skip
    assert connections_of(layer)[0].weights == 48


@pytest.mark.parametrize("mode", ["int8", "int4", "int4 in groups"])
@pytest.mark.parametrize("tied", [False, True])
def test_reversible_embedding(tmp_path: Path, mode: str, tied: bool) -> None:
    x = keras.Input((3,), dtype="int32")
    layer = kl.ReversibleEmbedding(11, 9, tie_weights=tied, name="e")
    made = fill(keras.Model(x, layer(layer(x), reverse=True)))
    MODES[mode](made)
    made.save(tmp_path / "r.keras")
    network = open_network(tmp_path / "r.keras")
    assert not network.notes
    ours = network.layer_by_path["e"]
    with WeightReader(network) as reader:
        table = reader.read(ours.weight("embeddings"))
        shown = keras.ops.convert_to_numpy(layer(np.arange(11)))
        np.testing.assert_allclose(table, shown, rtol=1e-6)
        if not tied:
            back = reader.read(ours.weight("reverse_embeddings"))
            layer.inputs_quantizer = None
            logits = keras.ops.convert_to_numpy(layer(np.eye(9, dtype="float32"), reverse=True))
            np.testing.assert_allclose(back, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_half_precision_models_quantised(tmp_path: Path, policy: str) -> None:
    x = keras.Input((8,), dtype="float32")
    made = fill(keras.Model(x, kl.Dense(6, dtype=policy, name="d")(x)))
    made.quantize("int8")
    made.save(tmp_path / "h.keras")
    network = open_network(tmp_path / "h.keras")
    layer = made.get_layer("d")
    scale = keras.ops.convert_to_numpy(keras.ops.cast(layer.kernel_scale, "float32"))
    codes = keras.ops.convert_to_numpy(layer._kernel).astype("float32")
    with WeightReader(network) as reader:
        read = reader.read(network.layer_by_path["d"].weight("kernel"))
    np.testing.assert_array_equal(read, codes / scale)


def rewritten(source: Path, to: Path, change: Any) -> Path:
    """A Keras file with its weights changed by ``change(h5py.File)``."""
    with zipfile.ZipFile(source) as before:
        parts = {name: before.read(name) for name in before.namelist()}
    buffer = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        change(file)
    parts["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(to, "w") as after:
        for name, data in parts.items():
            after.writestr(name, data)
    return to


def replaced(name: str, array: np.ndarray) -> Any:
    def change(file: Any) -> None:
        assert f"layers/dense/vars/{name}" in file
        del file[f"layers/dense/vars/{name}"]
        file[f"layers/dense/vars/{name}"] = array

    return change


@pytest.mark.parametrize(
    ("mode", "variable", "array"),
    [
        ("int8", "2", np.ones(4, "float32")),
        ("int8", "2", np.ones((0,), "float32")),
        ("int4 in groups", "2", np.ones((3, 6), "float32")),
        ("int4 in groups", "3", np.zeros((2, 5), "int8")),
        ("int4 in groups", "2", np.ones((0, 5), "float32")),
        ("int4 in groups", "4", np.zeros(8, "float32")),
        ("int4 in groups", "0", np.zeros((9, 4), "int8")),
        ("int4 per channel", "2", np.ones((5, 1, 1), "float32")),
    ],
)
def test_shapes_that_do_not_fit_are_shown_as_packed(
    tmp_path: Path, mode: str, variable: str, array: np.ndarray
) -> None:
    path = rewritten(
        saved(mode, tmp_path, "keras"), tmp_path / "w.keras", replaced(variable, array)
    )
    network = open_network(path)
    layer = network.layer_by_path["dense"]
    assert layer.weight("kernel") is None
    assert layer.weight("packed_kernel") is not None
    assert connections_of(layer) == ()
    assert any("dense" in note and "packed" in note for note in network.notes)


def test_a_group_that_does_not_exist(tmp_path: Path) -> None:
    index = np.array([0, 0, 0, 0, 1, 1, 1, 1, 9], "float32")
    path = rewritten(
        saved("int4 in groups", tmp_path, "keras"), tmp_path / "w.keras", replaced("4", index)
    )
    done = neuronaut("edges", str(path), "--from", "gqa", "--to", "dense")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "group index names scales that do not exist" in lines[0]


def test_unknown_schemes_are_packed(tmp_path: Path) -> None:
    """A mode of the configuration that is not known here, and one that is left packed."""
    plain = saved("int8", tmp_path, "keras")
    with zipfile.ZipFile(plain) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for mode in ("nf4", "gptq/4/128"):
        text = parts["config.json"].decode().replace('"mode": "int8"', f'"mode": "{mode}"')
        with zipfile.ZipFile(tmp_path / "u.keras", "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, text if name == "config.json" else data)
        layer: Layer = open_network(tmp_path / "u.keras").layer_by_path["dense"]
        assert connections_of(layer) == ()
        assert any("packed_kernel" in w.role for w in layer.weights)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model whose file tells nothing of its layers but their variables."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.table = kl.Embedding(11, 8, name="table")
        self.first = kl.Dense(6, name="first")
        self.second = kl.Dense(5, use_bias=False, name="second")
        self.third = kl.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d", name="third")

    def call(self, x: Any) -> Any:
        return self.third(self.second(self.first(self.table(x))))


@pytest.mark.parametrize("mode", ["int8", "int4 in groups", "int4 per channel"])
def test_subclassed_models(tmp_path: Path, mode: str) -> None:
    made = Subclassed()
    made(np.zeros((2, 3), "int32"))
    fill(made)
    MODES[mode](made)
    made.save(tmp_path / "s.keras")
    network = open_network(tmp_path / "s.keras")
    with WeightReader(network) as reader:
        for name in ("first", "second", "table", "third"):
            layer, theirs = network.layer_by_path[name], getattr(made, name)
            role = "embeddings" if name == "table" else "kernel"
            weight = layer.weight(role)
            if weight is None:  # what tells its mode is not in the file
                assert name in ("table", "third")
                assert layer.weight(f"packed_{role}") is not None
                assert any(name in note for note in network.notes)
                continue
            np.testing.assert_array_equal(reader.read(weight), dequantised(theirs))
        assert [w.role for w in network.layer_by_path["second"].weights][1] == "kernel_scale"


def test_a_child_process_cannot_lie_about_packings(tmp_path: Path) -> None:
    """What the parser reports is checked again: every change of a number, one at a time."""
    path = saved("int4 in groups", tmp_path, "keras")
    network = open_network(path)
    good = encode(network)
    assert decode(good, network.files[0]) == network
    tree = json.loads(good)
    rows = [row for row in tree["weights"] if row[5] is not None]
    refused = 0
    for row in rows[:3]:
        for holder, key in numbers(row[5]):
            for value in (0, 1, 7, 10**6, 2**61, -1, "x", None, 0.5):
                before, holder[key] = holder[key], value
                try:
                    lied = decode(json.dumps(tree).encode(), network.files[0])
                except UnreadableError:
                    refused += 1
                else:
                    assert not any(problem(w) for la in lied.layers for w in la.weights)
                holder[key] = before
    assert refused > 100


def numbers(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON tree that holds a number."""
    if isinstance(tree, dict):
        pairs = list(tree.items())
    else:
        pairs = list(enumerate(tree)) if isinstance(tree, list) else []
    found = [(tree, key) for key, value in pairs if type(value) is int]
    return found + [place for _, value in pairs for place in numbers(value)]


@pytest.mark.parametrize("version", ["3.13.2", "2.15.0", None, 7, "nonsense"])
def test_files_of_a_keras_that_packed_otherwise(tmp_path: Path, version: object) -> None:
    """What says ``int8`` is read; of int4 and of attention nobody can tell how it is packed."""
    for mode in ("int8", "int4 per channel"):
        source = saved(mode, tmp_path, "keras")
        with zipfile.ZipFile(source) as before, zipfile.ZipFile(tmp_path / "v", "w") as after:
            for name in before.namelist():
                data = before.read(name)
                if name == "metadata.json":
                    data = json.dumps({**json.loads(data), "keras_version": version}).encode()
                after.writestr(name, data)
        network = open_network(tmp_path / "v")
        dense, attention = network.layer_by_path["dense"], network.layer_by_path["mha"]
        assert (dense.weight("kernel") is not None) == (mode == "int8")
        assert (dense.weight("packed_kernel") is not None) == (mode != "int8")
        assert attention.weight("query/kernel") is None
        assert attention.weight("query/packed_kernel") is not None
        assert network.layer_by_path["emb"].weight("embeddings") is not None
        assert any("mha" in note for note in network.notes)
