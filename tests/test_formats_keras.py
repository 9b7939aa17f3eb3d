"""What is read from Keras files equals what Keras itself says, byte for byte and link for link."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import keras
import keras_models
import numpy as np
import pytest
from keras import layers as kl
from keras.src.legacy.saving import legacy_h5_format

from explorer.formats import open_network
from explorer.network import Network
from explorer.weight_reader import WeightReader

# Keras 3.15 itself, with numpy 2: not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ("branches", "bilstm", "transformer", "zoo")
LARGE = ("mobilenetv2", "resnet50", "inceptionv3")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Build a network once; ``saved(name, suffix)`` gives the Keras model and its file."""
    folder = tmp_path_factory.mktemp("networks")
    models: dict[str, Any] = {}

    def get(name: str, suffix: str) -> tuple[Any, Path]:
        if name not in models:
            models[name] = keras_models.script().build(name)
        path = folder / f"{name}.{suffix}"
        if not path.exists():
            keras_models.script().save(models[name], path)
        return models[name], path

    return get


def save(model: Any, path: Path) -> Network:
    """Save a model made in a test, by the same way for both formats, and open it."""
    keras_models.script().save(model, path)
    return open_network(path)


def fill(model: Any) -> Any:
    """Give every weight its own random numbers, so that a mixed-up one is seen."""
    rng = np.random.default_rng(7)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape).astype(variable.dtype))
    return model


def assert_same_weights(network: Network, model: Any) -> None:
    """Every layer has Keras' own weights in Keras' own order, byte for byte."""
    expected = dict(keras_models.leaves(model))
    with WeightReader(network) as reader:
        for path, layer in expected.items():
            ours = network.layer_by_path[path]
            theirs = layer.get_weights()
            assert len(ours.weights) == len(theirs), path
            for weight, array in zip(ours.weights, theirs, strict=True):
                read = reader.read(weight)
                assert read.dtype == array.dtype
                assert read.shape == array.shape, (path, weight.role)
                assert read.tobytes() == array.tobytes(), (path, weight.role)
    extra = {p for p in network.layer_by_path if p not in expected}
    assert not any(network.layer_by_path[p].weights for p in extra)  # inputs and operators
    assert network.parameters == model.count_params()


def assert_same_links(network: Network, model: Any) -> None:
    """The links are those of Keras' own nodes, no more and no fewer."""
    ours = Counter((a.source, a.target, a.source_output, a.call) for a in network.links)
    assert ours == Counter(keras_models.links(keras_models.functional(model)))


def assert_same_shapes(network: Network, model: Any) -> None:
    """Each layer's first output has the shape that Keras gives it."""
    for path, layer in keras_models.leaves(model):
        output = layer._inbound_nodes[0].output_tensors[0]
        assert network.layer_by_path[path].output_shape == tuple(output.shape), path


def assert_in_order(network: Network) -> None:
    """Sources come before targets (none of these networks has a cycle)."""
    place = {layer.path: i for i, layer in enumerate(network.layers)}
    assert all(place[a.source] < place[a.target] for a in network.links)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_equals_keras(saved: Any, name: str, suffix: str) -> None:
    model, path = saved(name, suffix)
    network = open_network(path)
    assert network.name == model.name
    assert_same_weights(network, model)
    assert_same_links(network, model)
    assert_same_shapes(network, model)
    assert_in_order(network)
    assert network.links_known
    assert not network.notes


@pytest.mark.slow
def test_equals_keras_vgg16(saved: Any) -> None:
    model, path = saved("vgg16", "keras")
    network = open_network(path)
    assert_same_weights(network, model)
    assert_same_links(network, model)


def test_the_script_builds_the_same_weights_again() -> None:
    first, second = (keras_models.script().build("branches") for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_roles(saved: Any) -> None:
    network = open_network(saved("zoo", "keras")[1])
    roles = {p: [w.role for w in la.weights] for p, la in network.layer_by_path.items()}
    assert roles["batch_norm"] == ["beta", "moving_mean", "moving_variance"]
    assert roles["depthwise"] == ["depthwise_kernel", "bias"]
    assert roles["separable"] == ["depthwise_kernel", "pointwise_kernel"]
    assert roles["gru"] == ["kernel", "recurrent_kernel", "bias"]
    assert roles["bigru"] == [
        f"{side}/{role}"
        for side in ("forward", "backward")
        for role in ("kernel", "recurrent_kernel", "bias")
    ]
    assert roles["time_dense"] == ["kernel", "bias"]
    assert roles["attention"] == [
        f"{part}/{role}"
        for part in ("query", "key", "value", "attention_output")
        for role in ("kernel", "bias")
    ]


@pytest.mark.parametrize("name", SMALL)
def test_both_formats_tell_the_same(saved: Any, name: str) -> None:
    new, old = (open_network(saved(name, suffix)[1]) for suffix in ("keras", "h5"))
    assert [(la.path, la.kind, la.output_shape) for la in new.layers] == [
        (la.path, la.kind, la.output_shape) for la in old.layers
    ]
    roles = [[[(w.role, w.shape) for w in la.weights] for la in n.layers] for n in (new, old)]
    assert roles[0] == roles[1]
    assert new.links == old.links


def test_recognised_by_content_not_by_name(saved: Any, tmp_path: Path) -> None:
    for suffix, other in (("keras", "h5"), ("h5", "keras")):
        copy = tmp_path / f"copy.{other}"
        copy.write_bytes(saved("branches", suffix)[1].read_bytes())
        assert len(open_network(copy).layers) == 17


def test_subclassed_shows_its_tree_and_makes_up_no_links(saved: Any) -> None:
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
def test_files_before_keras_3_6(saved: Any, tmp_path: Path, name: str) -> None:
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
def test_keras_2_configuration(saved: Any, tmp_path: Path, name: str) -> None:
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


def test_opening_imports_neither_tensorflow_nor_keras(saved: Any) -> None:
    code = (
        "import sys; from explorer.formats import open_network; open_network(sys.argv[1]);"
        "bad = {'tensorflow', 'keras', 'h5py', 'pyfive', 'torch'} & set(sys.modules);"
        "sys.exit(', '.join(bad) or 0)"
    )
    root = str(Path(__file__).parents[1])
    for suffix in ("keras", "h5"):
        arguments = [sys.executable, "-c", code, str(saved("branches", suffix)[1])]
        subprocess.run(arguments, cwd=root, check=True, timeout=60)


def test_wiring_with_names_and_many_tensors(tmp_path: Path) -> None:
    """Tensors by keyword, states, a layer called on its own output, operators, several outputs."""
    a, b = keras.Input((6, 8), name="a"), keras.Input((6, 8), name="b")
    attention = kl.MultiHeadAttention(2, 4, name="attention")
    y = attention(a, key=b, value=a)
    whole, h, c = kl.LSTM(5, return_sequences=True, return_state=True, name="encoder")(y)
    z = kl.LSTM(5, name="decoder")(b, initial_state=[h, c])
    again = kl.Dense(5, name="again")
    z = again(again(z)) * 2 + c
    model = fill(keras.Model({"a": a, "b": b}, [z, whole], name="wired"))
    for suffix in ("keras", "h5"):
        network = save(model, tmp_path / f"wired.{suffix}")
        assert_same_weights(network, model)
        assert_same_links(network, model)
        into = {k.source: k.target_input for k in network.links if k.target == "attention"}
        positions = sorted(k.target_input for k in network.links if k.target == "attention")
        assert into["b"] == 2  # query, value, key: the order of the call's signature
        assert positions == [0, 1, 2]


def nested_everything() -> Any:
    """Models in models three deep, one shared, one frozen, one in a TimeDistributed."""

    def core(name: str, width: int) -> Any:
        x = keras.Input((width,), name="core_in")
        y = kl.BatchNormalization(name="norm")(kl.Dense(width, name="dense")(x))
        return keras.Model(x, kl.Add(name="add")([x, y]), name=name)

    x = keras.Input((4, 6), name="frames")
    shared, frozen = core("shared", 6), core("frozen", 6)
    frozen.trainable = False
    middle_in = keras.Input((6,), name="middle_in")
    tower = keras.Sequential([kl.Dense(6, name="dense"), core("deep", 6)], name="tower")
    middle = keras.Model(middle_in, frozen(tower(shared(middle_in))), name="middle")
    y = kl.TimeDistributed(core("per_frame", 6), name="each")(x)
    y = kl.GlobalAveragePooling1D(name="mean")(y)
    return keras.Model(x, kl.Dense(2, name="dense")(middle(shared(y))), name="nested")


def test_nested_models(tmp_path: Path) -> None:
    model = fill(nested_everything())
    network = save(model, tmp_path / "nested.keras")
    paths = [s.path for s in network.scopes]
    assert paths == ["each", "shared", "middle", "middle/shared", "middle/tower",
                     "middle/tower/deep", "middle/frozen"]  # fmt: skip
    assert network.layer_by_path["middle/tower/deep/dense"].output_shape == (None, 6)
    expected = {
        "middle/tower/dense": model.get_layer("middle").get_layer("tower").layers[0],
        "middle/frozen/norm": model.get_layer("middle").get_layer("frozen").get_layer("norm"),
        "each/dense": model.get_layer("each").layer.get_layer("dense"),
        "shared/norm": model.get_layer("shared").get_layer("norm"),
    }
    with WeightReader(network) as reader:
        for path, layer in expected.items():
            ours = network.layer_by_path[path].weights
            for weight, array in zip(ours, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(reader.read(weight), array)
    ends = {(k.source, k.target, k.call) for k in network.links}
    assert ("frames", "each/core_in", 0) in ends
    assert ("each/add", "mean", 0) in ends
    assert ("middle/frozen/add", "dense", 0) in ends


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_nested_weights_of_a_legacy_file(tmp_path: Path, suffix: str) -> None:
    """A nested model's weights stand in one group: all that are trained, then the rest."""
    x = keras.Input((6,), name="x")
    inner_in = keras.Input((6,), name="inner_in")
    y = kl.Dense(6, name="first")(inner_in)
    y = kl.BatchNormalization(name="norm", center=False)(y)
    frozen = kl.Dense(6, name="frozen", trainable=False)
    y = kl.BatchNormalization(name="norm_2")(frozen(y))
    inner = keras.Model(inner_in, kl.Dense(3, name="last")(y), name="inner")
    model = fill(keras.Model(x, inner(x), name="outer"))
    assert_same_weights(save(model, tmp_path / f"m.{suffix}"), model)


def test_sequential_gets_an_input_layer_when_the_shape_is_known(tmp_path: Path) -> None:
    model = keras.Sequential([kl.Dense(3, name="a"), kl.Dense(2, name="b")], name="s")
    model.build((None, 5))
    network = save(fill(model), tmp_path / "s.keras")
    assert network.layers[0].kind == "InputLayer"
    assert network.layers[0].output_shape == (None, 5)
    assert [(k.source.split("/")[-1], k.target) for k in network.links][1] == ("a", "b")
    assert len(network.links) == 2
    assert_same_weights(network, model)


def test_unbuilt_layers_have_no_weights(tmp_path: Path) -> None:
    model = keras.Sequential([kl.Dense(3, name="a"), kl.Dense(2, name="b")], name="s")
    path = tmp_path / "s.keras"
    with pytest.warns(UserWarning, match="not yet been built"):
        model.save(path)
    network = open_network(path)
    assert [la.path for la in network.layers] == ["a", "b"]
    assert not network.parameters


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_element_types(tmp_path: Path, dtype: str) -> None:
    model = keras.Sequential([keras.Input((5,)), kl.Dense(4, dtype=dtype, name="d")], name="typed")
    network = save(fill(model), tmp_path / "t.keras")
    kernel = network.layer_by_path["d"].weights[0]
    assert kernel.dtype == dtype
    with WeightReader(network) as reader:
        ours = reader.read(kernel)
    theirs = keras.ops.convert_to_numpy(keras.ops.cast(model.layers[-1].kernel, "float64"))
    np.testing.assert_array_equal(ours.astype("float64"), theirs)


def test_quantised_weights_are_called_packed(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8,)), kl.Dense(6, name="d")], name="q")
    with pytest.warns(UserWarning, match="InputLayer does not have"):
        model.quantize("int8")
    path = tmp_path / "q.keras"
    model.save(path)
    network = open_network(path)
    roles = {w.role: w.dtype for w in network.layer_by_path["d"].weights}
    assert roles["packed_kernel"] == "int8"
    assert "kernel" not in roles
    assert any("quantised" in note for note in network.notes)


def test_stacked_cells_and_wrapped_wrappers(tmp_path: Path) -> None:
    x = keras.Input((7, 3, 4), name="x")
    y = kl.TimeDistributed(kl.Bidirectional(kl.LSTM(5), name="bi"), name="td")(x)
    y = kl.RNN([kl.LSTMCell(4), kl.GRUCell(3), kl.LSTMCell(2)], name="stack")(y)
    model = fill(keras.Model(x, y, name="cells"))
    for suffix in ("keras", "h5"):
        network = save(model, tmp_path / f"c.{suffix}")
        assert_same_weights(network, model)
        assert_same_shapes(network, model)
    network = open_network(tmp_path / "c.keras")
    assert network.layer_by_path["stack"].weights[3].role == "cell_1/kernel"
    assert network.layer_by_path["td"].weights[3].role == "backward/kernel"
