"""Subclassed models, and files as older versions of Keras wrote them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import keras_models
import numpy as np
import pytest
from keras import layers as kl
from keras.src.legacy.saving import legacy_h5_format
from keras_models import Saved, assert_same_weights, fill, save

from explorer.formats import open_network
from explorer.weights.weight_reader import WeightReader

# Keras 3.15 itself, with numpy 2: not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Networks of scripts/make_networks.py and their files."""
    return Saved(tmp_path_factory.mktemp("networks"))


def test_subclassed_shows_its_tree_and_makes_up_no_links(saved: Saved) -> None:
    model, path = saved("subclassed", "keras")
    network = open_network(path)
    assert not network.links_known
    assert not network.links
    assert "links are not recorded in this file" in network.notes
    assert [s.path for s in network.scopes] == ["blocks", *(f"blocks/block_{i}" for i in range(3))]
    layers = {"stem": model.stem, "head": model.head}
    for block in model.blocks:
        for part in ("up", "down", "norm"):
            layers[f"blocks/{block.name}/{part}"] = getattr(block, part)
    assert set(layers) == set(network.layer_by_path)
    with WeightReader(network) as reader:
        for name, layer in layers.items():
            ours = [reader.read(w) for w in network.layer_by_path[name].weights]
            for a, b in zip(ours, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable("tests")
class Various(keras.Model):
    """Attributes of many kinds, with names that do not give the kind away."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.words = kl.Embedding(11, 6, name="w")
        self.reader = kl.LSTM(5, return_sequences=True, name="r", use_bias=False)
        self.both = kl.Bidirectional(kl.GRU(3, return_sequences=True), name="b")
        self.look = kl.MultiHeadAttention(2, 3, name="l", dropout=0.1)
        self.drop = kl.Dropout(0.5, name="d", seed=3)
        x = keras.Input((6,), name="x")
        self.inner = keras.Model(x, kl.Dense(2, name="out")(kl.BatchNormalization(name="bn")(x)))
        self.pairs = [[kl.Dense(6, name="p0")], [kl.Dense(6, name="p1")]]
        self.shift = self.add_weight(name="shift", shape=(2,))

    def call(self, x: Any) -> Any:
        x = self.both(self.reader(self.words(x)))
        x = self.drop(self.look(x, x))
        for (dense,) in self.pairs:
            x = dense(x)
        return self.inner(keras.ops.mean(x, axis=1)) + self.shift


def test_subclassed_of_many_kinds(tmp_path: Path) -> None:
    model = Various(name="various")
    model(keras.ops.zeros((2, 4), "int32"))
    network = save(fill(model), tmp_path / "v.keras")
    layers = {
        "r": (model.reader, "LSTM"),
        "b": (model.both, "Bidirectional"),
        "l": (model.look, "MultiHeadAttention"),
    }
    with WeightReader(network) as reader:
        for name, (layer, kind) in layers.items():
            ours = network.layer_by_path[name]
            assert ours.kind == kind
            for weight, array in zip(ours.weights, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(reader.read(weight), array)
                assert not weight.role.isdecimal()
        own = network.layer_by_path["variables"].weights[0]
        np.testing.assert_array_equal(reader.read(own), model.shift.numpy())
    assert network.parameters == model.count_params()
    assert {"inner/out", "inner/bn", "w"} <= set(network.layer_by_path)
    assert network.layer_by_path["inner/out"].kind == "Dense"
    assert network.layer_by_path["inner/bn"].kind == "BatchNormalization"
    assert {"p0", "p1"} <= set(network.layer_by_path)  # Keras lists them among its layers


def strip_names(path: Path) -> None:
    """Make a file as Keras before 3.6 wrote it: without the layers' names."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        file.visititems(lambda _, node: node.attrs.pop("name", None) and None)
        assert "name" not in file["layers/dense/vars"].attrs
    members["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("name", ["branches", "bilstm", "transformer", "zoo"])
def test_files_before_keras_3_6(saved: Saved, tmp_path: Path, name: str) -> None:
    model, path = saved(name, "keras")
    old = tmp_path / "old.keras"
    old.write_bytes(path.read_bytes())
    strip_names(old)
    assert_same_weights(open_network(old), model)


def test_legacy_attributes_split_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_h5_format, "HDF5_OBJECT_HEADER_LIMIT", 90)
    model = fill(keras_models.script().build("branches"))
    path = tmp_path / "split.h5"
    model.save(path)
    with h5py.File(path) as file:
        assert "layer_names1" in file["model_weights"].attrs
        assert "weight_names1" in file["model_weights/refine"].attrs
    assert_same_weights(open_network(path), model)


def keras_2(config: Any, layer_class: str = "") -> Any:
    """A configuration as Keras 2 wrote it: inputs as lists, ``batch_input_shape``."""
    if isinstance(config, list):
        return [keras_2(item, layer_class) for item in config]
    if not isinstance(config, dict):
        return config
    result = {k: keras_2(v, config.get("class_name", "")) for k, v in config.items()}
    if "batch_shape" in result:
        result["batch_input_shape"] = result.pop("batch_shape")
    if "inbound_nodes" in result:
        result["inbound_nodes"] = [keras_2_call(node) for node in config["inbound_nodes"]]
    return result


def keras_2_call(node: Any) -> Any:
    """``[["layer", 0, 0, {keywords}], …]``, tensors by keyword as ``["layer", 0, 0]``."""

    def history(value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return list(value["config"]["keras_history"])
        return value

    tensors = keras.tree.flatten([keras_2_lists(node["args"])])
    keywords = {k: history(v) for k, v in node["kwargs"].items()}
    rows = [list(t.value) for t in tensors]
    return [[*rows[0], keywords], *[[*row, {}] for row in rows[1:]]]


class Row:
    """One tensor, opaque to flattening."""

    def __init__(self, value: Any) -> None:
        self.value = value


def keras_2_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return Row(value["config"]["keras_history"])
    return [keras_2_lists(item) for item in value]


@pytest.mark.parametrize("name", ["branches", "zoo", "transformer"])
def test_keras_2_configuration(saved: Saved, tmp_path: Path, name: str) -> None:
    _, path = saved(name, "h5")
    old = tmp_path / "old.h5"
    old.write_bytes(path.read_bytes())
    with h5py.File(old, "a") as file:
        config = json.loads(file.attrs["model_config"])
        if name == "transformer":  # Keras 2 needs the first tensor by position
            for layer in config["config"]["layers"]:
                for node in layer["inbound_nodes"]:
                    if "query" in node["kwargs"]:
                        node["args"] = [node["kwargs"].pop("query")]
        text = json.dumps(keras_2(config))
        assert "__keras_tensor__" not in text
        del file.attrs["model_config"]
        file.attrs["model_config"] = text
    new, reread = open_network(path), open_network(old)
    assert reread.links == new.links
    assert [(la.path, la.output_shape) for la in reread.layers] == [
        (la.path, la.output_shape) for la in new.layers
    ]
