"""TensorFlow.js against Keras and TensorFlow's own graphs; and files that lie."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from format_samples import write_tfjs
from google.protobuf.json_format import MessageToDict
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from explorer.errors import ModelError
from explorer.formats import open_network
from explorer.network import Pieces
from explorer.open_model import OpenModel
from explorer.report import edges_json
from explorer.weights.weight_reader import WeightReader

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Convolutions, a nested model, a recurrent layer."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    x = keras.Input((4, 4, 3), name="image")
    y = layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(x)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="deep")(y)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Reshape((16, 10), name="rows")(y)
    y = layers.LSTM(6, name="memory")(y)
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(7, name="hidden")], name="inner")
    return keras.Model(x, layers.Dense(4, activation="softmax", name="head")(inner(y)), name="m")


def _named(model: keras.Model) -> dict[str, np.ndarray]:
    """Variables under the names that the converter takes over."""
    found = {}
    for layer in model._flatten_layers(include_self=False):
        if not list(layer._flatten_layers(include_self=False)) or layer.name == "memory":
            for variable in layer.weights:
                cell = "lstm_cell/" if layer.name == "memory" else ""
                found[f"{layer.name}/{cell}{variable.name}"] = variable.numpy()
    found.pop("lstm_cell/kernel", None)
    return {k: v for k, v in found.items() if not k.startswith("lstm_cell/")}


def _topology(model: keras.Model) -> dict[str, Any]:
    return {"keras_version": "3", "backend": "tensorflow",
            "model_config": json.loads(model.to_json())}  # fmt: skip


def _matrix(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    for edge in edges_json(model, source, target, 100_000)["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
    return whole


def test_layers_links_and_numbers_are_those_of_keras(model: keras.Model, tmp_path: Path) -> None:
    arrays = _named(model)
    assert sum(a.size for a in arrays.values()) == model.count_params()
    with OpenModel.open(str(write_tfjs(tmp_path / "m", _topology(model), arrays, 100))) as opened:
        network = opened.network
        saved = tmp_path / "m.keras"
        model.save(saved)
        other = open_network(saved)
        assert [(la.path, la.kind) for la in network.layers] == [
            (la.path, la.kind) for la in other.layers
        ]
        assert set(network.links) == set(other.links)
        assert not network.notes
        with WeightReader(other) as keras_weights:
            for layer in network.layers:
                twin = other.layer_by_path[layer.path]
                assert {w.role for w in layer.weights} == {w.role for w in twin.weights}
                for weight in layer.weights:
                    expected = keras_weights.read(twin.weight(weight.role))
                    np.testing.assert_array_equal(opened.reader.read(weight), expected)
        kinds = {type(w.where) for la in network.layers for w in la.weights}
        assert Pieces in kinds
        first = model.get_layer("first").get_weights()[0]
        np.testing.assert_allclose(_matrix(opened, "image", "first", (5, 3)),
                                   np.sqrt((first**2).mean((0, 1))).T, rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16"])
def test_quantised_weights_are_scaled_and_moved(kind: str, model: keras.Model,
                                                tmp_path: Path) -> None:  # fmt: skip
    arrays = _named(model)
    network = open_network(write_tfjs(tmp_path / "m", _topology(model), arrays, 333, kind))
    with WeightReader(network) as weights:
        for weight in (w for la in network.layers for w in la.weights):
            array = arrays[weight.name]
            if kind == "float16":
                expected = array.astype(np.float16).astype(np.float32)
            else:
                least, most = float(array.min()), float(array.max())
                scale = (most - least) / np.iinfo(kind).max or 1.0
                expected = np.round((array - least) / scale).astype(kind) * scale + least
            np.testing.assert_allclose(weights.read(weight), expected, rtol=1e-5, atol=1e-6)


def _graph() -> tuple[keras.Model, Any]:
    """A network, and TensorFlow's own graph of it."""
    x = keras.Input((4, 4, 3), name="image")
    y = keras.layers.Conv2D(5, 3, activation="relu", name="first")(x)
    y = keras.layers.DepthwiseConv2D(2, name="deep")(y)
    y = keras.layers.Dense(4, name="head")(keras.layers.Flatten(name="flat")(y))
    model = keras.Model(x, y)
    call = tf.function(lambda t: model(t)).get_concrete_function(
        tf.TensorSpec((None, 4, 4, 3), name="image")
    )
    return model, convert_variables_to_constants_v2(call).graph.as_graph_def()


def _as_json(definition: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The graph as JSON, and the tensors of its constants."""
    tensors, copy = {}, type(definition)()
    copy.CopyFrom(definition)
    for node in copy.node:
        if node.op == "Const":
            tensors[node.name] = tf.make_ndarray(node.attr["value"].tensor)
            node.attr["value"].tensor.ClearField("tensor_content")
    return MessageToDict(copy), tensors


def test_a_graph_is_told_as_the_frozen_graph_that_it_came_from(tmp_path: Path) -> None:
    model, definition = _graph()
    (tmp_path / "frozen.pb").write_bytes(definition.SerializeToString())
    frozen = open_network(tmp_path / "frozen.pb")
    topology, tensors = _as_json(definition)
    folder = write_tfjs(tmp_path / "m", topology, tensors, 200, form="graph-model")
    with OpenModel.open(str(folder)) as opened:
        network = opened.network
        assert network.links == frozen.links
        assert network.format == "tfjs"
        for layer, twin in zip(network.layers, frozen.layers, strict=True):
            same = [(la.path, la.kind, la.operation, la.config, la.input_shapes, la.output_shape,
                     [(w.name, w.role, w.shape, w.axes) for w in la.weights])
                    for la in (layer, twin)]  # fmt: skip
            assert same[0] == same[1]
            for weight in layer.weights:
                np.testing.assert_array_equal(opened.reader.read(weight), tensors[weight.name])
        assert [la.path.removesuffix("_1") for la in network.layers] == [
            "image", "first", "deep", "flat", "head"]  # fmt: skip
        first, deep = (la.path for la in network.layers[1:3])
        taps = model.get_layer("first").get_weights()[0]
        found = _matrix(opened, "image", first, (5, 3))
        np.testing.assert_allclose(found, np.sqrt((taps**2).mean((0, 1))).T, rtol=1e-5)
        taps = model.get_layer("deep").get_weights()[0]
        np.testing.assert_allclose(_matrix(opened, first, deep, (5, 5)),
                                   np.diag(np.sqrt((taps**2).mean((0, 1)))[:, 0]),
                                   rtol=1e-5)  # fmt: skip


def _node(name: str, op: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def test_fused_operators_and_functions_of_a_graph(tmp_path: Path) -> None:
    """What the converter makes of layers: a kernel, a bias and an activation in one."""
    rng = np.random.default_rng(3)
    tensors = {n: rng.normal(size=s).astype(np.float32) for n, s in (
        ("k", (3, 3, 2, 4)), ("b", (4,)), ("d", (3, 3, 4, 1)), ("c", (4,)), ("w", (4, 3)),
        ("e", (3,)))}  # fmt: skip
    tensors["axes"] = np.array([1, 2], np.int32)
    relu = {"list": {"s": ["Qmlhc0FkZA==", "UmVsdQ=="]}}  # BiasAdd, Relu
    same = {"padding": {"s": "U0FNRQ=="}, "strides": {"list": {"i": ["1", "1", "1", "1"]}}}
    image = {"shape": {"dim": [{"size": "-1"}, {"size": "8"}, {"size": "8"}, {"size": "2"}]}}
    called = {"f": {"func": {"name": "inner"}}}
    nodes = [_node("x", "Placeholder", shape=image, dtype={"type": "DT_FLOAT"}),
             *(_node(name, "Const") for name in tensors),
             _node("conv", "_FusedConv2D", "x", "k", "b", fused_ops=relu, **same),
             _node("deep", "FusedDepthwiseConv2dNative", "conv", "d", "c", **same),
             _node("call", "StatefulPartitionedCall", "deep", **called),
             _node("mean", "Mean", "call", "axes"),
             _node("head", "_FusedMatMul", "mean", "w", "e")]  # fmt: skip
    inner = {"signature": {"name": "inner", "inputArg": [{"name": "a"}],
                           "outputArg": [{"name": "o"}]},
             "nodeDef": [_node("tanh", "Tanh", "a")], "ret": {"o": "tanh:y:0"}}  # fmt: skip
    topology = {"node": nodes, "library": {"function": [inner]}}
    folder = write_tfjs(tmp_path / "m", topology, tensors, 100, form="graph-model")
    with OpenModel.open(str(folder)) as opened:
        network = opened.network
        assert [(la.path, la.op) for la in network.layers] == [
            ("x", "InputLayer"), ("conv", "Conv2D"), ("deep", "DepthwiseConv2D"),
            ("tanh", "Tanh"), ("mean", "GlobalAveragePooling2D"), ("head", "Dense")]  # fmt: skip
        paths = [la.path for la in network.layers]
        assert [(k.source, k.target) for k in network.links] == list(pairwise(paths))
        assert network.layer_by_path["conv"].config["activation"] == "relu"
        assert [w.role for w in network.layer_by_path["conv"].weights] == ["kernel", "bias"]
        np.testing.assert_allclose(_matrix(opened, "deep", "head", (3, 4)),
                                   np.abs(tensors["w"].T), rtol=1e-6)  # fmt: skip


def _refused(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        open_network(folder / "model.json")
    return str(error.value)


def test_files_that_lie_are_refused(model: keras.Model, tmp_path: Path) -> None:
    folder = write_tfjs(tmp_path / "m", _topology(model), _named(model), 1000)
    sound = json.loads((folder / "model.json").read_text())
    (tmp_path / "outside.bin").write_bytes(bytes(4000))
    (folder / "link.bin").symlink_to("../outside.bin")
    os.mkfifo(folder / "pipe.bin")
    group = sound["weightsManifest"][0]
    entry = group["weights"][0]
    for place, key, value, reason in (
        (group, "paths", ["../outside.bin"], "outside its own folder"),
        (group, "paths", [str(tmp_path / "outside.bin")], "outside its own folder"),
        (group, "paths", ["link.bin"], "leads out of its folder"),
        (group, "paths", ["pipe.bin"], "not a regular file"),
        (group, "paths", ["gone.bin"], "is missing"),
        (group, "paths", [7], "outside its own folder"),
        (group, "paths", group["paths"][:1], "partial download"),
        (group, "weights", None, "no paths or no weights"),
        (entry, "shape", [-1], "impossible shape"),
        (entry, "shape", [2**40, 2**40], "impossible shape"),
        (entry, "shape", [2**30], "partial download"),
        (entry, "dtype", "float128", "not known"),
        (entry, "quantization", {"dtype": "uint8", "scale": 0, "min": 1}, "impossible scale"),
        (entry, "quantization", {"dtype": "uint8", "scale": "1", "min": 1}, "impossible scale"),
        (entry, "name", "head/bias", "listed twice"),
        (sound, "weightsManifest", {}, "no list of groups"),
        (sound, "modelTopology", [], "describes no model"),
        (sound, "modelTopology", {"node": [{"name": "a", "op": "Relu", "input": ["b"]}]},
         "not in the graph"),
        (sound, "modelTopology", {"node": []}, "holds no operator"),
    ):  # fmt: skip
        kept = place.get(key)
        place[key] = value
        (folder / "model.json").write_text(json.dumps(sound))
        assert reason in _refused(folder), (key, value)
        place[key] = kept
        if kept is None:
            del place[key]
