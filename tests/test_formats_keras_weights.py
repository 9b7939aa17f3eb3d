"""Keras' files of weights and folders, against Keras: without a model, in shards, unzipped."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as kl

from explorer.errors import ModelError
from explorer.formats import formats, keras_h5, keras_weights, open_network
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import Network
from explorer.weights.weight_reader import WeightReader


def _model() -> Any:
    inputs = keras.Input((8, 8, 3))
    x = kl.Conv2D(6, 3, name="z_conv")(inputs)
    x = kl.BatchNormalization(name="norm")(x)
    x = kl.Reshape((36, 6))(x)
    x = kl.LSTM(4, name="cells")(x)
    x = keras.Sequential([kl.Dense(5, name="d"), kl.Dense(4, name="e")], name="inner")(x)
    model = keras.Model(inputs, kl.Dense(2, name="a_head")(x), name="net")
    for i, variable in enumerate(model.weights):
        variable.assign(np.random.default_rng(i).normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    """A small functional model, with a nested one."""
    return _model()


def _source(path: Path) -> Source:
    return Source(str(path), os.open(path, os.O_RDONLY))


def _expected(model: Any) -> dict[tuple[str, int], np.ndarray]:
    """Arrays by the name of the layer that owns them and their number there, as Keras has them."""
    found = {}
    for layer in [*model.layers, *model.get_layer("inner").layers]:
        if not isinstance(layer, keras.Model):
            found |= {(layer.name, i): w for i, w in enumerate(layer.get_weights())}
    return found


def _check(network: Network, model: Any) -> None:
    expected = _expected(model)
    with WeightReader(network) as reader:
        found = {
            (layer.path.rsplit("/", 1)[-1], i): reader.read(weight)
            for layer in network.layers for i, weight in enumerate(layer.weights)
        }  # fmt: skip
    assert set(found) == set(expected)
    assert len(expected) == 15
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, str(key))


def test_weights_alone(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "only.weights.h5"
    model.save_weights(path)
    network = open_network(path)
    _check(network, model)
    assert network.name == "net"
    assert (network.links, network.links_known) == ((), False)
    # As the model's own layers come, though the names in the file are sorted otherwise.
    assert [(la.path, la.kind) for la in network.layers] == [
        ("z_conv", "Conv2D"), ("norm", "BatchNormalization"), ("cells", "LSTM"),
        ("inner/d", "Dense"), ("inner/e", "Dense"), ("a_head", "Dense"),
    ]  # fmt: skip
    assert [scope.path for scope in network.scopes] == ["inner"]
    cells = network.layer_by_path["cells"]
    assert [w.role for w in cells.weights] == ["kernel", "recurrent_kernel", "bias"]


def test_layers_come_in_the_order_of_the_model(tmp_path: Path) -> None:
    """The file tells it by where it was written only: its names are sorted."""
    x = inputs = keras.Input((8, 8, 3))
    for i in range(25):
        x = kl.Conv2D(4 + i % 3, 1, name=f"conv_{(i * 7) % 25}")(x)
        x = kl.BatchNormalization(name=f"norm_{i}")(x)
        x = kl.ReLU()(kl.ZeroPadding2D(0)(x))
        x = kl.Dense(60 if i % 4 == 0 else 3, name=f"mix_{i}")(x)
    model = keras.Model(inputs, x)
    path = tmp_path / "long.weights.h5"
    model.save_weights(path)
    found = [la.path for la in keras_h5.read(_source(path)).layers]
    assert found == [layer.name for layer in model.layers if layer.weights]


def test_shards_by_their_index_and_by_their_folder(model: Any, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    index = folder / "big.weights.json"
    model.save_weights(index, max_shard_size=7e-7)
    parts = sorted(p.name for p in folder.glob("*.h5"))
    assert len(parts) > 2
    lists = json.loads(index.read_text())["weight_map"].values()
    assert any(len(files) > 1 for files in lists), "no layer lies in two files"
    for path in (index, folder):
        network = open_network(path)
        _check(network, model)
        assert (
            sorted(os.path.basename(f.path) for f in network.files if f.path.endswith(".h5"))
            == parts
        )
    assert keras_weights.matches(_source(index))
    assert sum(f.matches(_source(index)) for f in formats()) == 1


def test_a_folder_has_all_that_the_archive_has(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "whole.keras")
    model.save(tmp_path / "folder", zipped=False)
    archive, folder = open_network(tmp_path / "whole.keras"), open_network(tmp_path / "folder")
    assert archive.links == folder.links
    assert [la.path for la in archive.layers] == [la.path for la in folder.layers]
    assert archive.layers[1].config == folder.layers[1].config
    _check(folder, model)
    assert sum(f.matches(_source(tmp_path / "folder")) for f in formats()) == 1
    # Shards beside the configuration, as weights of their own are saved.
    (tmp_path / "folder" / "model.weights.h5").unlink()
    model.save_weights(tmp_path / "folder" / "model.weights.json", max_shard_size=7e-7)
    sharded = open_network(tmp_path / "folder")
    assert sharded.links == archive.links
    _check(sharded, model)


def test_shards_inside_an_archive(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=7e-7)
    with zipfile.ZipFile(tmp_path / "whole.keras") as old:
        config = old.read("config.json")
    with zipfile.ZipFile(tmp_path / "sharded.keras", "w") as new:
        new.writestr("config.json", config)
        for path in (tmp_path / "model.weights.json", *tmp_path.glob("model_0*.h5")):
            new.write(path, path.name)
    _check(open_network(tmp_path / "sharded.keras"), model)


def test_weights_of_keras_2(tmp_path: Path) -> None:
    """What ``save_weights("x.h5")`` wrote: a list of layers, each with names of its variables."""
    state = {
        "conv": {"conv/kernel:0": (3, 3, 3, 4), "conv/bias:0": (4,)},
        "pool": {},
        "old": {"old_W_1:0": (4, 5), "old_b_1:0": (5,)},
        "lstm": {"lstm/lstm_cell/kernel:0": (5, 8), "lstm/lstm_cell/recurrent_kernel:0": (2, 8)},
        "inner": {"inner/one/kernel:0": (2, 2), "inner/two/embeddings:0": (2, 3)},
    }
    arrays = {}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in state]
        for layer, variables in state.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([v.encode() for v in variables], "S50")
            for name, shape in variables.items():
                arrays[f"{layer}/{name}"] = group[name] = np.random.default_rng(1).normal(
                    size=shape
                )
                arrays[f"{layer}/{name}"] = group[name][()]
    network = keras_h5.read(_source(tmp_path / "x.h5"))
    assert [(la.path, la.kind, [w.role for w in la.weights]) for la in network.layers] == [
        ("conv", "Conv2D", ["kernel", "bias"]), ("pool", "Layer", []),
        ("old", "Dense", ["kernel", "bias"]), ("lstm", "LSTM", ["kernel", "recurrent_kernel"]),
        ("inner/one", "Dense", ["kernel"]), ("inner/two", "Embedding", ["embeddings"]),
    ]  # fmt: skip
    network = open_network(tmp_path / "x.h5")
    with WeightReader(network) as reader:
        for layer in network.layers:
            for weight in layer.weights:
                np.testing.assert_array_equal(reader.read(weight), arrays[weight.name])


def _index(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = folder / "w.weights.json"
        data = json.loads(path.read_text())
        change(data["weight_map"])
        path.write_text(json.dumps(data))

    return changed


def _twice(folder: Path) -> None:
    (folder / "w_00001.weights.h5").write_bytes((folder / "w_00000.weights.h5").read_bytes())


def _linked(folder: Path) -> None:
    outside = folder.parent / "outside.weights.h5"
    outside.write_bytes((folder / "w_00001.weights.h5").read_bytes())
    (folder / "w_00001.weights.h5").unlink()
    (folder / "w_00001.weights.h5").symlink_to(outside)


def _cut(folder: Path) -> None:
    data = (folder / "w_00001.weights.h5").read_bytes()
    (folder / "w_00001.weights.h5").write_bytes(data[: len(data) // 2])


HOSTILE = [
    (_index(lambda m: m.update({"/x": "../outside.weights.h5"})), "outside its own folder"),
    (_index(lambda m: m.update({"/x": "/etc/passwd"})), "outside its own folder"),
    (_index(lambda m: m.update({"/x": ["..\\outside.weights.h5"]})), "outside its own folder"),
    (_index(lambda m: m.update({"/x": 3})), "outside its own folder"),
    (_index(lambda m: m.update({"/x": "none.weights.h5"})), "is missing"),
    (_index(lambda m: m.update({"/nothing/vars": "w_00000.weights.h5"})), "does not hold"),
    (_index(lambda m: m.update({f"/{i}": f"{i}.weights.h5" for i in range(5000)})), "too many"),
    (_index(lambda m: m.clear()), "no weight_map"),
    (_linked, "leads out of its folder"), (_twice, "hold"), (_cut, "truncated"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "reason"), HOSTILE)
def test_shards_that_lie(
    harm: Callable[[Path], None], reason: str, model: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    model.save_weights(folder / "w.weights.json", max_shard_size=7e-7)
    harm(folder)
    with pytest.raises(UnreadableError, match=reason):
        keras_weights.read(_source(folder / "w.weights.json"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"class_name": "Sequential", "config": {}}')
    (tmp_path / "model.weights.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="pickled"):
        open_network(tmp_path)
