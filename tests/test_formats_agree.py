"""One network in five formats: the same parameters, layers and strongest connections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

from explorer.open_model import OpenModel
from explorer.report import edges_json

pytestmark = pytest.mark.filterwarnings("ignore")
WEIGHTED = ["first", "second", "hidden", "head"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            kl.Conv2D(16, 3, activation="relu", name="first"),
            kl.MaxPooling2D(name="pool"),
            kl.Conv2D(12, 2, activation="relu", name="second"),
            kl.Flatten(name="flat"),
            kl.Dense(20, activation="relu", name="hidden"),
            kl.Dense(10, name="head"),
        ],
        name="net",
    )
    rng = np.random.default_rng(5)
    for layer in model.layers:  # converters leave out biases that are zero
        layer.set_weights([rng.normal(0, 0.1, w.shape) for w in layer.get_weights()])
    folder = tmp_path_factory.mktemp("agree")
    paths = {"keras": folder / "m.keras", "h5": folder / "m.h5", "savedmodel": folder / "saved",
             "tflite": folder / "m.tflite"}  # fmt: skip
    model.save(paths["keras"])
    model.save(paths["h5"])
    model.export(paths["savedmodel"], verbose=False)
    paths["tflite"].write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    try:
        import tf2onnx  # noqa: F401
    except ImportError:
        return paths
    paths["onnx"] = folder / "m.onnx"
    model.export(paths["onnx"], format="onnx", verbose=False)
    return paths


@pytest.fixture(scope="module")
def models(files: dict[str, Path]) -> Iterator[dict[str, OpenModel]]:
    opened = {name: OpenModel.open(str(path)) for name, path in files.items()}
    yield opened
    for model in opened.values():
        model.close()


def _weighted(model: OpenModel) -> list[str]:
    """Paths of the layers with kernels, in the order of flow."""
    return [la.path for la in model.graph.layers if model.wires.connections(la.path)]


def test_parameters_and_layers_are_the_same(models: dict[str, OpenModel]) -> None:
    assert {model.network.parameters for model in models.values()} == {
        models["keras"].network.parameters
    }
    for name, model in models.items():
        layers = [model.graph.layer_by_path[path] for path in _weighted(model)]
        assert [la.op for la in layers] == ["Conv2D", "Conv2D", "Dense", "Dense"], name
        for layer, own in zip(layers, WEIGHTED, strict=True):
            assert own in layer.path or layer.path == layers[-1].path, (name, layer.path)


def test_the_strongest_hundred_are_the_same(models: dict[str, OpenModel]) -> None:
    expected = {}
    for name, model in models.items():
        paths = _weighted(model)
        for source, target in pairwise(paths):
            found = edges_json(model, source, target, 100)["edges"]
            told = [(e["from_unit"], e["to_unit"], e["weights"]) for e in found]
            sizes = [e["magnitude"] for e in found]
            at = paths.index(target)
            known = expected.setdefault(at, (told, sizes))
            assert told == known[0], (name, target)
            np.testing.assert_allclose(sizes, known[1], rtol=1e-6)
