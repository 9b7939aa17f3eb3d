"""TFLite against TensorFlow's converter, its interpreter and Keras; and files that lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from explorer.formats import open_network
from explorer.formats import tflite as reader
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.lite_names import NAMES
from explorer.network import ByteRange, Network
from explorer.open_model import OpenModel
from explorer.report import edges_json
from explorer.weights.weight_reader import WeightReader

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
RNG = np.random.default_rng(11)
KINDS = ("float", "dynamic", "half", "int8")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Every kind of convolution, a skip, a join, and a head behind a Flatten."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    x = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    b = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="deep")(a)
    c = layers.Conv2D(12, 3, groups=3, padding="same", name="grouped")(b)
    d = layers.Add(name="sum")([b, c])
    up = layers.Conv2DTranspose(5, 2, strides=2, name="up")(d)
    pools = [layers.MaxPooling2D(2, name="pool")(d), layers.AveragePooling2D(4, name="avg")(up)]
    flat = layers.Flatten(name="flat")(layers.Concatenate(name="joined")(pools))
    hidden = layers.Dense(7, activation="relu", name="hidden")(flat)
    return keras.Model(x, layers.Dense(4, activation="softmax", name="head")(hidden), name="small")


def _converted(model: keras.Model, kind: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "half":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: (
            [RNG.normal(size=(1, 8, 8, 3)).astype(np.float32)] for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    data: bytes = converter.convert()
    return data


@pytest.fixture(scope="module")
def files(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model as it is converted with and without quantisation."""
    folder = tmp_path_factory.mktemp("tflite")
    found = {kind: folder / kind for kind in KINDS}
    for kind, path in found.items():
        path.write_bytes(_converted(model, kind))
    return found


def _network(path: Path) -> Network:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        assert reader.matches(source)
        return reader.read(source)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_that_of_the_interpreter(kind: str, files: dict[str, Path]) -> None:
    network = open_network(files[kind])
    interpreter = tf.lite.Interpreter(
        model_path=str(files[kind]), experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    plan = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    if kind == "half":  # what is decoded of the file is a weight
        plan = [op for op in plan if op["op_name"] != "DEQUANTIZE"]
    layers = [la for la in network.layers if la.kind != "InputLayer"]
    assert [la.kind for la in layers] == [op["op_name"] for op in plan]
    made = {int(d["index"]): "image" for d in interpreter.get_input_details()}
    recorded = set()
    for op, layer in zip(plan, layers, strict=True):
        recorded |= {(made[i], layer.path) for i in map(int, op["inputs"]) if i in made}
        made |= {int(i): layer.path for i in op["outputs"]}
    assert {(k.source, k.target) for k in network.links} == recorded
    assert {k.origin for k in network.links} == {"recorded"}
    named = {d["name"]: d for d in reversed(details.values())}
    count = 0
    with WeightReader(network) as weights:
        for weight in {w.name: w for la in layers for w in la.weights}.values():
            told = named[weight.name]
            expected = interpreter.get_tensor(told["index"]).astype(np.float64)
            quantised = told["quantization_parameters"]
            if len(scales := quantised["scales"]):
                shape = [1] * expected.ndim
                shape[quantised["quantized_dimension"]] = -1
                places = shape if len(scales) > 1 else [1] * expected.ndim
                expected -= quantised["zero_points"].reshape(places)
                expected *= scales.reshape(places)
                count += len(scales) > 1
            np.testing.assert_allclose(weights.read(weight), expected, rtol=1e-6)
            assert isinstance(weight.where, ByteRange)
    assert count == {"float": 0, "half": 0, "dynamic": 1, "int8": 9}[kind]


def _matrix(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    for edge in edges_json(model, source, target, 100_000)["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
    return whole


def _rms(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    found: np.ndarray = np.sqrt(np.mean(kernel.astype(np.float64) ** 2, axis=axes))
    return found


def _step(matrix: np.ndarray) -> float:
    """What a code of eight bits may be off, of the largest number with some room."""
    return 2.5 * float(np.abs(matrix).max()) / 127


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_edges_are_those_of_keras(kind: str, model: keras.Model, files: dict[str, Path]) -> None:
    weights = {la.name: la.get_weights()[0] for la in model.layers if la.get_weights()}
    deep = np.zeros((12, 6))
    for out in range(12):
        deep[out, out // 2] = _rms(weights["deep"], (0, 1))[out // 2, out % 2]
    grouped = np.zeros((12, 12))
    for out in range(12):
        first = out // 4 * 4
        grouped[out, first : first + 4] = _rms(weights["grouped"], (0, 1))[:, out]
    expected = {
        ("image", "first_1"): _rms(weights["first"], (0, 1)).T,
        ("first_1", "deep_1"): deep,
        ("deep_1", "convolution1"): grouped,
        ("sum_1", "up_1/conv_transpose1"): _rms(weights["up"], (0, 1)),
        ("joined_1", "hidden_1"): _rms(weights["hidden"].reshape(16, 17, 7), (0,)).T,
        ("hidden_1", "head_1"): np.abs(weights["head"].T),
    }
    with OpenModel.open(str(files[kind])) as opened:
        for (source, target), matrix in expected.items():
            found = _matrix(opened, source, target, matrix.shape)
            close, step = (1e-6, 0.0) if kind == "float" else (0.0, _step(matrix))
            np.testing.assert_allclose(found, matrix, rtol=close, atol=step, err_msg=target)
            assert (found != 0).sum() >= 0.9 * (matrix != 0).sum()


# -- files made by hand ----------------------------------------------------------------------------


def _packed(made: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operators(graphs: list[tuple[list[tuple[str, list[int], list[int], Any]], list[int]]],
               arrays: list[dict[int, np.ndarray]]) -> Any:  # fmt: skip
    """A model of operators (kind, inputs, outputs, options) on tensors numbered by the caller."""
    model, kinds = schema.ModelT(), list(NAMES)
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, [], [], []
    model.buffers.append(schema.BufferT())
    for (operators, inputs), held in zip(graphs, arrays, strict=True):
        graph = schema.SubGraphT()
        count = 1 + max(n for _, i, o, _ in operators for n in [*i, *o])
        graph.tensors, graph.operators = [], []
        for number in range(count):
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.buffer = f"t{number}", [1, 4], 0
            if number in held:
                tensor.shape, tensor.buffer = list(held[number].shape), len(model.buffers)
                tensor.type = {"f": 0, "i": 2}[held[number].dtype.kind]
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = np.frombuffer(held[number].tobytes(), np.uint8)
            graph.tensors.append(tensor)
        for kind, ins, outs, options in operators:
            code, operator = schema.OperatorCodeT(), schema.OperatorT()
            code.builtinCode = kinds.index(kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            operator.opcodeIndex, operator.inputs, operator.outputs = (
                len(model.operatorCodes), ins, outs)  # fmt: skip
            if options is not None:
                name = type(options).__name__.removesuffix("T")
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
                operator.builtinOptions = options
            model.operatorCodes.append(code)
            graph.operators.append(operator)
        graph.inputs, graph.outputs = inputs, operators[-1][2]
        model.subgraphs.append(graph)
    return model


def _f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_names_of_operators_are_those_of_the_schema() -> None:
    told = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert [told[n] for n in range(len(NAMES))] == list(NAMES)


def test_gates_of_an_lstm_are_one_kernel_and_tables_are_embeddings(tmp_path: Path) -> None:
    gates = [_f(4, 3) for _ in range(4)]
    again = [_f(4, 4) for _ in range(4)]
    bias = [_f(4) for _ in range(4)]
    held = dict(enumerate([_f(9, 3), *gates, *again, *bias], 1))
    inputs = [14, *range(2, 10), -1, -1, -1, *range(10, 14), -1, -1, 16, 17]
    made = _operators([([("EMBEDDING_LOOKUP", [0, 1], [14], None),
                         ("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [15], None),
                         ("GATHER", [1, 17], [16], None)], [0, 17])], [held])  # fmt: skip
    made.subgraphs[0].tensors[15].name = "net/memory/lstm"
    (tmp_path / "x").write_bytes(_packed(made))
    with OpenModel.open(str(tmp_path / "x")) as model:
        layers = model.network.layer_by_path
        memory = next(la for la in layers.values() if la.operation == "LSTM")
        table = next(la for la in layers.values() if la.kind == "EMBEDDING_LOOKUP")
        assert table.operation == "Embedding"
        read = {w.role: model.reader.read(w) for w in (*memory.weights, *table.weights)}
        for role, parts in (("kernel", gates), ("recurrent_kernel", again), ("bias", bias)):
            np.testing.assert_array_equal(read[role], np.concatenate(parts))
        np.testing.assert_array_equal(read["embeddings"], held[1])
        found = _matrix(model, table.path, memory.path, (4, 3))  # over the gates of a cell
        np.testing.assert_allclose(found, _rms(np.stack(gates), (0,)), rtol=1e-6)


def test_codes_of_four_bits_are_two_in_a_byte(tmp_path: Path) -> None:
    codes = RNG.integers(-8, 8, (4, 4))
    scales = np.array([0.5, 0.25, 2.0, 1.0])
    made = _operators([([("FULLY_CONNECTED", [0, 1], [2], None)], [0])], [{1: _f(4, 4)}])
    pairs = (codes.reshape(-1, 2) & 15).astype(np.uint8)
    made.buffers[1].data = pairs[:, 0] | pairs[:, 1] << 4  # the first in the lower half
    tensor = made.subgraphs[0].tensors[1]
    tensor.type, tensor.quantization = 17, schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = list(scales), [0] * 4
    (tmp_path / "x").write_bytes(_packed(made))
    network = open_network(tmp_path / "x")
    with WeightReader(network) as weights:
        kernel = next(w for la in network.layers for w in la.weights)
        np.testing.assert_array_equal(weights.read(kernel), codes * scales[:, None])


def test_no_unit_passes_through_an_input_that_tells_a_size(tmp_path: Path) -> None:
    made = _operators([([("RELU", [0], [2], None), ("ABS", [1], [3], None),
                         ("RESIZE_BILINEAR", [2, 3], [4], None),
                         ("FULLY_CONNECTED", [4, 5], [6], None)], [0, 1])],
                      [{5: _f(4, 4)}])  # fmt: skip
    (tmp_path / "x").write_bytes(_packed(made))
    with OpenModel.open(str(tmp_path / "x")) as model:
        assert len(edges_json(model, "t2", "t6", 100)["edges"]) == 16
        assert not edges_json(model, "t3", "t6", 100)["edges"]


def test_graphs_inside_operators_are_walked_once(tmp_path: Path) -> None:
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    deeper = schema.WhileOptionsT()
    deeper.condSubgraphIndex, deeper.bodySubgraphIndex = 1, 2  # a graph that calls itself
    made = _operators(
        [([("RELU", [0], [1], None), ("WHILE", [1], [2], options), ("ABS", [2], [3], None)], [0]),
         ([("EXP", [0], [1], None)], [0]),
         ([("FULLY_CONNECTED", [0, 1], [2], None), ("WHILE", [2], [3], deeper)], [0])],
        [{}, {}, {1: _f(4, 4)}],
    )  # fmt: skip
    (tmp_path / "x").write_bytes(_packed(made))
    network = _network(tmp_path / "x")
    kinds = {la.path: la.kind for la in network.layers}
    ends = [(kinds[k.source], kinds[k.target]) for k in network.links]
    assert sorted(kinds.values()) == ["ABS", "EXP", "FULLY_CONNECTED", "InputLayer", "RELU",
                                      "WHILE", "WHILE"]  # fmt: skip
    assert {("RELU", "FULLY_CONNECTED"), ("RELU", "EXP"), ("FULLY_CONNECTED", "WHILE"),
            ("WHILE", "WHILE"), ("WHILE", "ABS")} <= set(ends)  # fmt: skip


def test_a_buffer_beyond_the_tables_and_beyond_two_gigabytes(tmp_path: Path) -> None:
    held = _f(4, 4)
    made = _operators([([("FULLY_CONNECTED", [0, 1], [2], None)], [0])], [{1: held}])
    made.buffers[1].data = None
    made.buffers[1].offset, made.buffers[1].size = 3 << 30, held.nbytes
    path = tmp_path / "x"
    path.write_bytes(_packed(made))
    with path.open("r+b") as file:  # a hole lies between
        file.seek(3 << 30)
        file.write(held.tobytes())
    network = open_network(path)
    with WeightReader(network) as weights:
        kernel = next(w for la in network.layers for w in la.weights)
        np.testing.assert_array_equal(weights.read(kernel), held)


# -- lies ------------------------------------------------------------------------------------------


def _told(path: Path, data: bytes) -> str:
    """Why a file is refused; empty where it is read."""
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        if not reader.matches(source):
            return "not matched"
        reader.read(source)
    except UnreadableError as error:
        return str(error)
    finally:
        os.close(descriptor)
    return ""


def _set(path: str, value: Any) -> Callable[[Any], None]:
    """Change one field of a model: ``"subgraphs.0.inputs"``."""

    def change(model: Any) -> None:
        *way, last = path.split(".")
        for part in way:
            model = model[int(part)] if part.isdecimal() else getattr(model, part)
        setattr(model, last, value)

    return change


_TENSOR, _OPERATOR = "subgraphs.0.tensors.1.", "subgraphs.0.operators.0."
_LIES = [
    (_set(_OPERATOR + "inputs", [0, 999]), "names tensor 999, which is not there"),
    (_set(_OPERATOR + "inputs", [0, -2]), "names tensor -2, which is not there"),
    (_set(_OPERATOR + "outputs", [-1]), "names tensor -1, which is not there"),
    (_set("subgraphs.0.inputs", [-1]), "names tensor -1, which is not there"),
    (_set("subgraphs.0.outputs", [99]), "names tensor 99, which is not there"),
    (_set(_OPERATOR + "opcodeIndex", 7), "has kind 7, which is not there"),
    (_set(_TENSOR + "buffer", 99), "lies in buffer 99, which is not there"),
    (_set(_TENSOR + "shape", [-1, 4]), "impossible shape"),
    (_set(_TENSOR + "shape", [2**31 - 1] * 3), "impossible shape"),
    (_set(_TENSOR + "shape", [0, 4]), "64 bytes where 0 are needed"),
    (_set(_TENSOR + "shape", [5, 4]), "64 bytes where 80 are needed"),
    (_set(_TENSOR + "shape", [1] * 40), "impossible shape"),
    (_set("subgraphs.0.operators", []), "holds no operator"),
    (_set("subgraphs", []), "graph 0, which is not there"),
]


@pytest.mark.parametrize("number", range(len(_LIES)))
def test_tables_that_lie_are_refused(number: int, tmp_path: Path) -> None:
    change, reason = _LIES[number]
    made = _operators([([("FULLY_CONNECTED", [0, 1], [2], None)], [0])], [{1: _f(4, 4)}])
    assert _told(tmp_path / "x", _packed(made)) == ""
    change(made)
    assert reason in _told(tmp_path / "x", _packed(made))


def test_scales_and_buffers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for scales, zeros, axis, reason in (
        ([0.1] * 3, [0] * 3, 0, "3 scales, which fit none of its axes"),
        ([0.1] * 4, [0] * 4, -1, "4 scales, which fit none of its axes"),
        ([0.1] * 4, [0] * 4, 9, "4 scales, which fit none of its axes"),
        ([0.1] * 4, [0] * 3, 0, "another number of zero points"),
    ):
        made = _operators([([("FULLY_CONNECTED", [0, 1], [2], None)], [0])], [{1: _f(4, 4)}])
        told = made.subgraphs[0].tensors[1].quantization = schema.QuantizationParametersT()
        told.scale, told.zeroPoint, told.quantizedDimension = scales, zeros, axis
        assert reason in _told(tmp_path / "x", _packed(made))
    for offset, size in ((1 << 40, 64), (2**64 - 8, 64), (64, 2**64 - 1)):
        made = _operators([([("FULLY_CONNECTED", [0, 1], [2], None)], [0])], [{1: _f(4, 4)}])
        made.buffers[1].offset, made.buffers[1].size = offset, size
        assert "past the end" in _told(tmp_path / "x", _packed(made))


def test_a_file_cut_anywhere_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    data = files["int8"].read_bytes()
    for length in range(8, len(data) - 64, 97):
        told = _told(tmp_path / "x", data[:length])
        assert "partial download" in told, length


def test_damage_anywhere_is_told_in_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    """Offsets that lead anywhere, also back to where they came from: nothing but a clear no."""
    data, refused = files["int8"].read_bytes(), 0
    for _ in range(300):
        hurt = bytearray(data)
        at = int(RNG.integers(2, len(data) // 4)) * 4
        hurt[at : at + 4] = RNG.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\4\0\0\0",
                                        b"\0\0\0\x80", RNG.bytes(4)])  # fmt: skip
        refused += bool(_told(tmp_path / "x", bytes(hurt)))
    assert refused > 20
    for root in (0, 4, len(data) - 1, len(data), 2**32 - 1):
        hurt = bytearray(data)
        hurt[:4] = root.to_bytes(4, "little")
        assert _told(tmp_path / "x", bytes(hurt))


def test_tables_that_lie_over_one_another_are_bounded(tmp_path: Path) -> None:
    """A vector of as many tables as fit, each of them the same one with a long vector."""
    builder = flatbuffers.Builder(1024)
    inputs = builder.CreateNumpyVector(np.zeros(100_000, np.int32))
    schema.OperatorStart(builder)
    schema.OperatorAddInputs(builder, inputs)
    operator = schema.OperatorEnd(builder)

    def many(offset: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    operators = many(operator, 1000)
    schema.TensorStart(builder)
    tensors = many(schema.TensorEnd(builder), 1)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddOperators(builder, operators)
    graphs = many(schema.SubGraphEnd(builder), 1)
    tables = []
    for start, end in ((schema.BufferStart, schema.BufferEnd),
                       (schema.OperatorCodeStart, schema.OperatorCodeEnd)):  # fmt: skip
        start(builder)
        tables.append(many(end(builder), 1))
    schema.ModelStart(builder)
    schema.ModelAddBuffers(builder, tables[0])
    schema.ModelAddOperatorCodes(builder, tables[1])
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    data = bytes(builder.Output())
    assert _told(tmp_path / "x", data) == "its tables are impossibly large"


def test_other_files_are_not_taken_for_tflite(tmp_path: Path) -> None:
    for data in (b"TFL3", b"PK\x03\x04" + bytes(50), b"GGUF" + bytes(50), b"{}", bytes(100)):
        assert _told(tmp_path / "x", data) == "not matched"
