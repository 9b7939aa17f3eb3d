"""SavedModel, checkpoints and frozen graphs against TensorFlow and Keras, and files that lie."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from tensorflow.core.framework import graph_pb2

from explorer.formats import formats, graphdef, tf_checkpoint
from explorer.formats.containers.source import Source
from explorer.formats.record import Format, UnreadableError
from explorer.formats.tensorflow_graph.index import MAGIC, slice_key
from explorer.network import FileStamp, Network, Pieces
from explorer.open_model import OpenModel
from explorer.report import edges_json
from explorer.weights.weight_reader import WeightReader

RNG = np.random.default_rng(11)


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Source(str(path), descriptor)
    finally:
        os.close(descriptor)


def _matching(path: Path) -> list[Format]:
    with _source(path) as source:
        return [form for form in formats() if form.matches(source)]


def _read(path: Path, name: str) -> Network:
    """What the one format that knows a file makes of it, in this process."""
    found = _matching(path)
    assert [form.name for form in found] == [name]
    with _source(path) as source:
        network = found[0].read(source)
        parts = [p for p in (source, *source.parts.values()) if not p.is_folder]
        return replace(network, files=tuple(FileStamp(p.path, p.size, p.mtime_ns) for p in parts))


def _arrays(network: Network) -> dict[str, np.ndarray]:
    with WeightReader(network) as weights:
        return {w.name: weights.read(w) for la in network.layers for w in la.weights}


def _same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


def _mixed() -> keras.Model:
    """Every kind of convolution, a skip, a norm and two dense layers."""
    image = keras.Input((8, 8, 3), name="image")
    x = kl.Conv2D(8, 3, padding="same", name="conv")(image)
    x = kl.BatchNormalization(name="bn")(x)
    x = kl.ReLU(name="relu")(x)
    d = kl.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="deep")(x)
    d = kl.Conv2D(16, 1, groups=2, activation="relu", name="grouped")(d)
    y = kl.Conv2D(16, 1, use_bias=False, name="skip")(x)
    x = kl.Add(name="add")([d, y])
    x = kl.Concatenate(name="cat")([x, y])
    x = kl.MaxPooling2D(name="pool")(x)
    x = kl.Conv2DTranspose(6, 3, name="up")(x)
    x = kl.GlobalAveragePooling2D(name="gap")(x)
    x = kl.Dense(10, activation="relu", name="fc1")(x)
    model = keras.Model(image, kl.Dense(4, activation="softmax", name="fc2")(x), name="mixed")
    for weight in model.weights:
        low = 1.0 if "variance" in weight.path else 0.0
        weight.assign(RNG.normal(size=weight.shape) ** 2 + low)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as a SavedModel and as a checkpoint."""
    path = tmp_path_factory.mktemp("tf")
    model = _mixed()
    model.save(path / "mixed.keras")
    model.export(path / "saved", verbose=False)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(path / "check" / "m"))
    return path


def _weights_of(folder: Path) -> dict[str, np.ndarray]:
    model = keras.models.load_model(folder / "mixed.keras")
    return {w.path: np.array(w) for w in model.weights}


# -- checkpoints -----------------------------------------------------------------------------------


def test_a_checkpoint_is_known_by_each_of_its_files_and_its_folder(folder: Path) -> None:
    expected = _weights_of(folder)
    data, index = (next((folder / "check").glob(f"m-1.{end}*")) for end in ("data", "index"))
    for path in (index, data, folder / "check", folder / "saved" / "variables"):
        network = _read(path, "tf_checkpoint")
        _same(_arrays(network), expected)
        assert not network.links_known
        assert {la.path: la.kind for la in network.layers} == {
            "conv": "Conv2D", "bn": "BatchNormalization", "deep": "DepthwiseConv2D",
            "grouped": "Conv2D", "skip": "Conv2D", "up": "Conv2DTranspose", "fc1": "Dense",
            "fc2": "Dense",
        }  # fmt: skip


def test_names_types_and_parted_variables_of_older_checkpoints(tmp_path: Path) -> None:
    rows = RNG.normal(size=(7, 3)).astype(np.float32)
    state = {
        "scope/dense/kernel": RNG.normal(size=(3, 4)),
        "scope/dense/bias": RNG.normal(size=4).astype(np.float16),
        "scope/half/kernel": np.array(RNG.normal(size=(2, 2)), tf.bfloat16.as_numpy_dtype),
        "scope/codes": RNG.integers(-128, 127, (2, 3, 5), np.int8),
        "scope/dense/kernel/Adam": RNG.normal(size=(3, 4)),
        "global_step": np.int64(7),
    }
    names, shapes = [*state, "table/embeddings", "table/embeddings"], [""] * len(state)
    parts = [rows[:4], rows[4:]]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "old.ckpt"), tensor_names=names,
        shape_and_slices=[*shapes, "7 3 0,4:-", "7 3 4,3:-"], tensors=[*state.values(), *parts],
    )  # fmt: skip
    network = _read(tmp_path / "old.ckpt.index", "tf_checkpoint")
    kept = {k: np.asarray(v, np.float64 if v.dtype == np.float64 else np.float32)
            for k, v in state.items() if "Adam" not in k and k != "global_step"}  # fmt: skip
    _same(_arrays(network), kept | {"table/embeddings": rows})
    table = next(la for la in network.layers if la.path == "table").weights[0]
    assert isinstance(table.where, Pieces)
    assert any(note.startswith("2 values of the optimizer") for note in network.notes)


def test_a_variable_cut_along_other_axes_is_never_shown_as_numbers(tmp_path: Path) -> None:
    whole = RNG.normal(size=(4, 6)).astype(np.float32)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"), tensor_names=["a/kernel"] * 2,
        shape_and_slices=["4 6 -:0,2", "4 6 -:2,4"], tensors=[whole[:, :2], whole[:, 2:]],
    )  # fmt: skip
    network = _read(tmp_path / "x.index", "tf_checkpoint")
    assert network.layers[0].weights[0].where is None
    assert any("a/kernel is cut along several axes" in note for note in network.notes)


def test_of_several_checkpoints_in_a_folder_the_latest_is_opened(tmp_path: Path) -> None:
    saver = tf.train.Checkpoint(a=tf.Variable([1.0], name="first"))
    saver.save(str(tmp_path / "m"))
    saver.a.assign([2.0])
    saver.save(str(tmp_path / "m"))
    assert next(iter(_arrays(_read(tmp_path, "tf_checkpoint")).values()))[0] == 2
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "../../etc/passwd"\n')
    with _source(tmp_path) as source, pytest.raises(UnreadableError, match="several checkpoints"):
        tf_checkpoint.read(source)


# -- checkpoints that lie --------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _table(entries: list[bytes], restarts: int = 1) -> bytes:
    """A table of one block that holds these encoded entries."""
    block = b"".join(entries) + bytes(4 * restarts) + restarts.to_bytes(4, "little")
    data = block + bytes(5)
    handle = _varint(0) + _varint(len(block))
    index = _put(b"\xff", handle) + bytes(4) + (1).to_bytes(4, "little")
    footer = _varint(0) + _varint(0) + _varint(len(data)) + _varint(len(index))
    return data + index + bytes(5) + footer.ljust(40, b"\0") + MAGIC


def _put(key: bytes, value: bytes, shared: int = 0, own: int | None = None) -> bytes:
    length = len(key) if own is None else own
    return _varint(shared) + _varint(length) + _varint(len(value)) + key + value


def _entry(axes: list[int], offset: int, nbytes: int, shard: int = 0) -> bytes:
    dims = b"".join(b"\x12" + _varint(len(d)) + d for d in (b"\x08" + _varint(n) for n in axes))
    return (b"\x08\x01\x12" + _varint(len(dims)) + dims + b"\x18" + _varint(shard)
            + b"\x20" + _varint(offset) + b"\x28" + _varint(nbytes))  # fmt: skip


HEADER = _put(b"", b"\x08\x01")
GOOD = _put(b"a/kernel", _entry([2, 2], 0, 16))
LIES = {
    "beyond": ([HEADER, _put(b"a", _entry([2], 100, 8))], "108 bytes are expected and 16"),
    "far": ([HEADER, _put(b"a", _entry([2], 1 << 62, 8))], "is not complete"),
    "negative": ([HEADER, _put(b"a", _entry([2], (1 << 64) - 8, 8))], "bytes that cannot be"),
    "shape": ([HEADER, _put(b"a", _entry([1 << 40, 1 << 40], 0, 8))], "impossible shape"),
    "minus": ([HEADER, _put(b"a", _entry([(1 << 64) - 5], 0, 8))], "impossible shape"),
    "size": ([HEADER, _put(b"a", _entry([3], 0, 8))], "8 bytes where 12 are needed"),
    "shard": ([HEADER, _put(b"a", _entry([2], 0, 8, 3))], "does not exist"),
    "no header": ([GOOD], "no header"),
    "prefix": ([HEADER, _put(b"b", _entry([2], 0, 8), 9)], "damaged"),
    "long key": ([HEADER, _put(b"b", b"", 0, 1 << 40)], "damaged"),
    "order": ([HEADER, _put(b"b", _entry([2], 0, 8)), _put(b"a", _entry([2], 0, 8))], "order"),
    "twice": ([HEADER, GOOD, GOOD], "order"),
    "big-endian": ([_put(b"", b"\x08\x01\x10\x01")], "big-endian"),
    "many shards": ([_put(b"", b"\x08" + _varint(1 << 60))], "impossible number"),
    "nothing": ([HEADER], "without a variable"),
}


@pytest.mark.parametrize("case", LIES)
def test_an_index_that_lies_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    entries, reason = LIES[case]
    (tmp_path / "x.index").write_bytes(_table(entries))
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    with _source(tmp_path / "x.index") as source:
        assert tf_checkpoint.matches(source)
        with pytest.raises(UnreadableError, match=reason) as caught:
            tf_checkpoint.read(source)
        assert "\n" not in str(caught.value)


def test_the_table_of_these_tests_is_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.index").write_bytes(_table([HEADER, GOOD]))
    (tmp_path / "x.data-00000-of-00001").write_bytes(np.arange(4, dtype="<f4").tobytes())
    found = _arrays(_read(tmp_path / "x.index", "tf_checkpoint"))
    _same(found, {"a/kernel": np.arange(4, dtype=np.float32).reshape(2, 2)})


def test_an_index_cut_or_changed_anywhere_is_read_or_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "check" / "m-1.index").read_bytes()
    shutil.copy(folder / "check" / "m-1.data-00000-of-00001", tmp_path)
    path = tmp_path / "m-1.index"
    for number in range(400):
        data = bytearray(whole)
        data[RNG.integers(len(data))] = RNG.integers(256)
        if number % 4 == 0:
            first = int(RNG.integers(len(data)))
            del data[first : first + int(RNG.integers(1, 50))]
        path.write_bytes(bytes(data))
        with _source(path) as source:
            if tf_checkpoint.matches(source):
                with suppress(UnreadableError):
                    tf_checkpoint.read(source)


def test_a_data_file_that_is_missing_or_leads_outside_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(bytes(64))
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "x.index").write_bytes(_table([HEADER, GOOD]))
    for reason in ("is missing", "out of its folder"):
        with _source(inside / "x.index") as source, pytest.raises(UnreadableError, match=reason):
            tf_checkpoint.read(source)
        if reason == "is missing":
            (inside / "x.data-00000-of-00001").symlink_to(outside)


def test_keys_of_parts_are_those_that_tensorflow_sorts(tmp_path: Path) -> None:
    """Starts and lengths of one, two and three bytes."""
    rows = RNG.normal(size=(10_000, 1)).astype(np.float32)
    cuts = [0, 50, 63, 64, 200, 9_000, 10_000]
    ends = list(pairwise(cuts))
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"), tensor_names=["t/embeddings"] * len(ends),
        shape_and_slices=[f"10000 1 {a},{b - a}:-" for a, b in ends],
        tensors=[rows[a:b] for a, b in ends],
    )  # fmt: skip
    _same(_arrays(_read(tmp_path / "x.index", "tf_checkpoint")), {"t/embeddings": rows})
    assert slice_key(b"a", ((0, -1),)) == b"\0a\0\1\x01\x01\x80\x7f"


# -- graphs ----------------------------------------------------------------------------------------


def _links(model: keras.Model) -> set[tuple[str, str]]:
    """Links of a functional model as its own nodes tell them."""
    found = set()
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                found.add((tensor._keras_history.operation.name, layer.name))
    return found


def _matrix(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    for edge in edges_json(model, source, target, 100_000)["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
    return whole


def _rms(kernel: np.ndarray) -> np.ndarray:
    """(taps…, in, out) -> (out, in)."""
    return np.sqrt(np.mean(kernel.astype(np.float64) ** 2, axis=(0, 1))).T


def test_a_savedmodel_has_the_layers_links_and_numbers_of_the_model(folder: Path) -> None:
    model = keras.models.load_model(folder / "mixed.keras")
    expected = {w.path: np.array(w) for w in model.weights}
    for opened in (folder / "saved", folder / "saved" / "saved_model.pb"):
        assert [form.name for form in _matching(opened)] == ["savedmodel"]
    with OpenModel.open(str(folder / "saved")) as found:
        network = found.network
        assert {la.path: la.op for la in network.layers} == {
            la.name: type(la).__name__ for la in model.layers
        }
        assert {(k.source, k.target) for k in network.links} == _links(model)
        assert {k.origin for k in network.links} == {"recorded"}
        position = {la.path: i for i, la in enumerate(network.layers)}
        assert all(position[a] < position[b] for a, b in _links(model))
        assert network.parameters == model.count_params()
        for layer in network.layers:
            assert layer.output_shape == model.get_layer(layer.path).output.shape
            for weight in layer.weights:
                assert weight.name == f"{layer.path}/{weight.role}"
                np.testing.assert_array_equal(found.reader.read(weight), expected[weight.name])
        close = np.testing.assert_allclose
        conv = _rms(expected["conv/kernel"])
        close(_matrix(found, "image", "conv", (8, 3)), conv, rtol=1e-6)
        fc2 = np.abs(expected["fc2/kernel"].T)
        close(_matrix(found, "fc1", "fc2", (4, 10)), fc2, rtol=1e-6)
        deep = np.zeros((16, 8))
        for unit in range(16):
            taps = expected["deep/kernel"][:, :, unit // 2, unit % 2].astype(np.float64)
            deep[unit, unit // 2] = np.sqrt(np.mean(taps**2))
        close(_matrix(found, "relu", "deep", (16, 8)), deep, rtol=1e-6)
        grouped, kernel = np.zeros((16, 16)), _rms(expected["grouped/kernel"])
        grouped[:8, :8], grouped[8:, 8:] = kernel[:8], kernel[8:]
        close(_matrix(found, "deep", "grouped", (16, 16)), grouped, rtol=1e-6)


def test_recurrent_layers_embeddings_and_attention_are_layers(tmp_path: Path) -> None:
    words = keras.Input((6,), name="words")
    x = kl.Embedding(20, 8, name="table")(words)
    x = kl.LSTM(5, return_sequences=True, name="lstm")(x)
    x = kl.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = kl.LayerNormalization(name="norm")(x)
    x = kl.GRU(4, name="gru")(x)
    model = keras.Model(words, kl.Dense(3, activation="gelu", name="head")(x))
    model.export(tmp_path / "saved", verbose=False)
    expected = {w.path: np.array(w) for w in model.weights if "seed" not in w.path}
    with OpenModel.open(str(tmp_path / "saved")) as found:
        layers = found.network.layer_by_path
        whole = {path: layers[path].op for path in ("table", "lstm", "norm", "gru", "head")}
        assert whole == {path: type(model.get_layer(path)).__name__ for path in whole}
        for part in ("query", "key", "value", "attention_output"):
            assert layers[f"attention/{part}"].op == "EinsumDense"
        arrays = {w.name: found.reader.read(w) for la in layers.values() for w in la.weights}
        _same(arrays, expected)
        for path in whole:
            for weight in layers[path].weights:
                assert weight.name.rpartition("/")[2] == weight.role
        assert layers["head"].config["activation"] == "gelu"
        head = np.abs(expected["head/kernel"].T)
        np.testing.assert_allclose(_matrix(found, "gru", "head", (3, 4)), head, rtol=1e-6)
        gates = expected["lstm/lstm_cell/kernel"].astype(np.float64).reshape(8, 4, 5)
        lstm = np.sqrt(np.mean(gates**2, axis=1)).T
        np.testing.assert_allclose(_matrix(found, "table", "lstm", (5, 8)), lstm, rtol=1e-6)


class _Twins(tf.Module):
    """Two variables of one name and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first = tf.Variable(RNG.normal(size=(3, 3)), name="w", dtype=tf.float32)
        self.second = tf.Variable(RNG.normal(size=(3, 3)), name="w", dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x @ self.second) @ self.first


def test_variables_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    made = _Twins()
    tf.saved_model.save(made, str(tmp_path))
    network = _read(tmp_path, "savedmodel")
    arrays = _arrays(network)
    dense = [la.weights[0].name for la in network.layers if la.op == "Dense"]
    for name, variable in zip(dense, (made.second, made.first), strict=True):
        np.testing.assert_array_equal(arrays[name], variable.numpy())


@pytest.fixture(scope="module")
def frozen(folder: Path) -> tuple[Path, keras.Model]:
    """The same model as a frozen graph."""
    from tensorflow.python.framework import convert_to_constants

    model = keras.models.load_model(folder / "mixed.keras")
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 8, 8, 3), tf.float32, "image"))
    graph = convert_to_constants.convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    path = folder / "frozen graph"
    path.write_bytes(graph.SerializeToString())
    return path, model


def test_a_frozen_graph_has_its_constants_in_place(frozen: tuple[Path, keras.Model]) -> None:
    path, model = frozen
    network = _read(path, "graphdef")
    expected = sorted((tuple(w.shape), np.array(w).tobytes()) for w in model.weights)
    for weight, array in _arrays(network).items():
        found = (array.shape, array.tobytes())
        assert found in expected, weight
    kinds = Counter(la.op for la in network.layers)
    for kind in ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Dense", "MaxPooling2D"):
        assert kinds[kind] == sum(type(la).__name__ == kind for la in model.layers), kind
    assert all(k.origin == "recorded" for k in network.links)
    grouped = next(la for la in network.layers if la.path.startswith("grouped"))
    assert grouped.config["groups"] == 2  # shapes are not recorded: told by what comes before
    kept = {(a, b) for a, b in _links(model) if "bn" not in (a, b)}
    assert kept <= {
        (k.source.removesuffix("_1"), k.target.removesuffix("_1")) for k in network.links
    }


@pytest.mark.parametrize("kind", ["savedmodel", "graphdef"])
def test_a_graph_cut_or_changed_anywhere_is_read_or_refused(
    kind: str, folder: Path, frozen: tuple[Path, keras.Model], tmp_path: Path
) -> None:
    whole = (
        folder / "saved" / "saved_model.pb" if kind == "savedmodel" else frozen[0]
    ).read_bytes()
    form = next(form for form in formats() if form.name == kind)
    path = tmp_path / "saved_model.pb"
    for number in range(150):
        data = bytearray(whole)
        for _ in range(1 + number % 5):
            data[RNG.integers(min(len(data), 60_000))] = RNG.integers(256)
        if number % 3 == 0:
            del data[int(RNG.integers(len(data))) :]
        path.write_bytes(bytes(data))
        with _source(path) as source, suppress(UnreadableError):
            form.matches(source)
            form.read(source)


def test_functions_that_call_themselves_end(tmp_path: Path) -> None:
    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="Fn", input=["x"])
    function = graph.library.function.add()
    function.signature.name = "Fn"
    function.signature.input_arg.add(name="a", type=1)
    function.signature.output_arg.add(name="b", type=1)
    function.node_def.add(name="n", op="Fn", input=["a"])
    function.node_def.add(name="m", op="Fn", input=["n:b:0"])
    function.ret["b"] = "m:b:0"
    (tmp_path / "x.pb").write_bytes(graph.SerializeToString())
    with _source(tmp_path / "x.pb") as source:
        assert graphdef.matches(source)
        with pytest.raises(UnreadableError, match="nested too deeply"):
            graphdef.read(source)


def test_functions_that_multiply_end(tmp_path: Path) -> None:
    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="Fn0", input=["x"])
    for level in range(20):
        function = graph.library.function.add()
        function.signature.name = f"Fn{level}"
        function.signature.input_arg.add(name="a", type=1)
        for name in "nm":
            function.node_def.add(name=name, op=f"Fn{level + 1}", input=["a"])
    (tmp_path / "x.pb").write_bytes(graph.SerializeToString())
    reason = "impossibly large"
    with _source(tmp_path / "x.pb") as source, pytest.raises(UnreadableError, match=reason):
        graphdef.read(source)
