"""What is read from Keras files equals what Keras itself says, byte for byte and link for link."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import keras_models
import numpy as np
import pytest
from keras import layers as kl
from keras_models import (
    Saved,
    assert_same_links,
    assert_same_shapes,
    assert_same_weights,
    fill,
    save,
)

from explorer.formats import open_network
from explorer.network import Network
from explorer.weights.weight_reader import WeightReader

# Keras 3.15 itself, with numpy 2: not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ("branches", "bilstm", "transformer", "zoo")
LARGE = ("mobilenetv2", "resnet50", "inceptionv3")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Networks of scripts/make_networks.py and their files."""
    return Saved(tmp_path_factory.mktemp("networks"))


def assert_in_order(network: Network) -> None:
    """Sources come before targets (none of these networks has a cycle)."""
    place = {layer.path: i for i, layer in enumerate(network.layers)}
    assert all(place[a.source] < place[a.target] for a in network.links)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)]
)
def test_equals_keras(saved: Saved, name: str, suffix: str) -> None:
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
def test_equals_keras_vgg16(saved: Saved) -> None:
    model, path = saved("vgg16", "keras")
    network = open_network(path)
    assert_same_weights(network, model)
    assert_same_links(network, model)


def test_the_script_builds_the_same_weights_again() -> None:
    first, second = (keras_models.script().build("branches") for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_roles(saved: Saved) -> None:
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
def test_both_formats_tell_the_same(saved: Saved, name: str) -> None:
    new, old = (open_network(saved(name, suffix)[1]) for suffix in ("keras", "h5"))
    assert [(la.path, la.kind, la.output_shape) for la in new.layers] == [
        (la.path, la.kind, la.output_shape) for la in old.layers
    ]
    roles = [[[(w.role, w.shape) for w in la.weights] for la in n.layers] for n in (new, old)]
    assert roles[0] == roles[1]
    assert new.links == old.links


def test_recognised_by_content_not_by_name(saved: Saved, tmp_path: Path) -> None:
    for suffix, other in (("keras", "h5"), ("h5", "keras")):
        copy = tmp_path / f"copy.{other}"
        copy.write_bytes(saved("branches", suffix)[1].read_bytes())
        assert len(open_network(copy).layers) == 17


def test_opening_imports_neither_tensorflow_nor_keras(saved: Saved) -> None:
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


def test_nested_weights_whose_names_are_ambiguous(tmp_path: Path) -> None:
    """Two layers of one name in nested models: only Keras' order tells their weights apart."""
    x, inner_in = keras.Input((6,), name="x"), keras.Input((6,), name="inner_in")
    tower = keras.Sequential([kl.Dense(6, name="dense"), kl.BatchNormalization(name="norm")])
    y = tower(kl.BatchNormalization(name="norm")(kl.Dense(6, name="dense")(inner_in)))
    inner = keras.Model(inner_in, y, name="inner")
    model = fill(keras.Model(x, inner(x), name="outer"))
    assert_same_weights(save(model, tmp_path / "m.h5"), model)


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
