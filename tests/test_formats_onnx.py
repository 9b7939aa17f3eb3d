"""ONNX against PyTorch, onnx's own reference evaluator, and files that lie."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from explorer.errors import ModelError
from explorer.formats import onnx as reader
from explorer.formats import open_network
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import ByteRange, Network
from explorer.open_model import OpenModel
from explorer.report import edges_json
from explorer.weights.weight_reader import WeightReader

RNG = np.random.default_rng(7)
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]


def _value(name: str, shape: list[object], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: list[onnx.NodeProto],
    tensors: dict[str, np.ndarray],
    inputs: dict[str, list[object]],
    outputs: list[str],
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "small", [_value(n, s) for n, s in inputs.items()], [_value(n, []) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in tensors.items()],
    )  # fmt: skip
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9, **more
    )


def _f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _branches() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Convolutions, grouped and depthwise, a skip, and a head behind a Flatten."""
    tensors = {"w1": _f(8, 3, 3, 3), "b1": _f(8), "w2": _f(8, 4, 3, 3), "w3": _f(8, 1, 3, 3),
               "w4": _f(5, 72), "b4": _f(5), "w5": _f(5, 4)}  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "first/relu"),
        helper.make_node("Conv", ["r", "w2"], ["c"], "second/conv", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "w3"], ["d"], "deep", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "r"], ["s"], "sum"),
        helper.make_node("Flatten", ["s"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["g"], "head", transB=1),
        helper.make_node("MatMul", ["g", "w5"], ["y"], "last"),
    ]
    return _model(nodes, tensors, {"x": [1, 3, 3, 3]}, ["y"]), tensors


def _matrix(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    for edge in edges_json(model, source, target, 100_000)["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
    return whole


def test_layers_links_and_numbers_are_those_of_the_graph(tmp_path: Path) -> None:
    made, tensors = _branches()
    onnx.save(made, tmp_path / "any name")
    with OpenModel.open(str(tmp_path / "any name")) as model:
        network = model.network
        assert [(la.path, la.kind) for la in network.layers] == [
            ("x", "InputLayer"), ("first/conv", "Conv"), ("first/relu", "Relu"),
            ("second/conv", "Conv"), ("deep", "Conv"), ("sum", "Add"), ("flat", "Flatten"),
            ("head", "Gemm"), ("last", "MatMul"),
        ]  # fmt: skip
        names = {out: node.name for node in made.graph.node for out in node.output} | {"x": "x"}
        recorded = {(names[i], node.name) for node in made.graph.node for i in node.input
                    if i in names}  # fmt: skip
        assert {(k.source, k.target) for k in network.links} == recorded
        assert {k.origin for k in network.links} == {"recorded"}
        for layer in network.layers:
            for weight in layer.weights:
                np.testing.assert_array_equal(model.reader.read(weight), tensors[weight.name])

        def rms(w: np.ndarray) -> np.ndarray:
            return np.sqrt(np.mean(w.astype(np.float64) ** 2, axis=tuple(range(2, w.ndim))))

        np.testing.assert_allclose(_matrix(model, "x", "first/conv", (8, 3)), rms(tensors["w1"]),
                                   rtol=1e-6)  # fmt: skip
        grouped = np.zeros((8, 8))
        grouped[:4, :4], grouped[4:, 4:] = rms(tensors["w2"][:4]), rms(tensors["w2"][4:])
        np.testing.assert_allclose(_matrix(model, "first/conv", "second/conv", (8, 8)), grouped,
                                   rtol=1e-6)  # fmt: skip
        np.testing.assert_allclose(_matrix(model, "second/conv", "deep", (8, 8)),
                                   np.diag(rms(tensors["w3"])[:, 0]), rtol=1e-6)  # fmt: skip
        head = rms(tensors["w4"].reshape(5, 8, 9))  # channels first: 9 places of each channel
        np.testing.assert_allclose(_matrix(model, "deep", "head", (5, 8)), head, rtol=1e-6)
        np.testing.assert_allclose(_matrix(model, "head", "last", (4, 5)), np.abs(tensors["w5"].T),
                                   rtol=1e-6)  # fmt: skip
        # What the reference evaluator computes moves as these matrices say.
        session = ReferenceEvaluator(
            helper.make_model(
                helper.make_graph(
                    [made.graph.node[-1]],
                    "g",
                    [_value("g", [1, 5])],
                    made.graph.output,
                    [t for t in made.graph.initializer if t.name == "w5"],
                ),
                opset_imports=made.opset_import,
            )
        )
        moved = np.abs(session.run(None, {"g": np.eye(5, dtype=np.float32)})[0].T)
        np.testing.assert_allclose(_matrix(model, "head", "last", (4, 5)), moved, rtol=1e-6)


def test_what_pytorch_exports_keeps_its_scopes_and_numbers(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU())
            self.table = torch.nn.Embedding(20, 4)
            self.lstm = torch.nn.LSTM(6, 5, bidirectional=True)
            self.gru = torch.nn.GRU(6, 5)
            self.head = torch.nn.Linear(6, 2)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
            y = self.body(x).mean(3).permute(2, 0, 1)
            return self.lstm(y)[0], self.gru(y)[0], self.head(y), self.table(t)

    net = Net().eval()
    inputs = (torch.zeros(1, 3, 6, 6), torch.zeros(3, dtype=torch.long))
    torch.onnx.export(net, inputs, str(tmp_path / "x.onnx"), dynamo=False, opset_version=17)
    network = open_network(tmp_path / "x.onnx")
    layers = network.layer_by_path
    assert layers["body/body.0"].operation == "Conv2D"
    assert layers["table"].operation == "Embedding"
    assert {layers[f"lstm/LSTM/{way}"].kind for way in ("forward", "backward")} == {"LSTM"}
    with WeightReader(network) as weights:

        def read(path: str, role: str) -> np.ndarray:
            weight = layers[path].weight(role)
            assert weight is not None
            return weights.read(weight)

        def gates(tensor: torch.Tensor, order: list[int]) -> np.ndarray:
            parts = tensor.detach().numpy().reshape(len(order), -1, tensor.shape[-1])
            return parts[order].reshape(tensor.shape)

        # PyTorch stores i, f, g, o and r, z, n; ONNX i, o, f, c and z, r, h.
        for way, end in (("forward", "l0"), ("backward", "l0_reverse")):
            expected = gates(getattr(net.lstm, f"weight_ih_{end}"), [0, 3, 1, 2])
            np.testing.assert_array_equal(read(f"lstm/LSTM/{way}", "kernel"), expected)
            expected = gates(getattr(net.lstm, f"weight_hh_{end}"), [0, 3, 1, 2])
            np.testing.assert_array_equal(read(f"lstm/LSTM/{way}", "recurrent_kernel"), expected)
        np.testing.assert_array_equal(read("gru/GRU", "kernel"),
                                      gates(net.gru.weight_ih_l0, [1, 0, 2]))  # fmt: skip
        assert layers["lstm/LSTM/forward"].config["gates"] == [
            "input gate", "output gate", "forget gate", "cell"]  # fmt: skip
        np.testing.assert_array_equal(read("table", "embeddings"),
                                      net.table.weight.detach().numpy())  # fmt: skip


def test_typed_fields_constants_and_large_tensors(tmp_path: Path) -> None:
    large = _f(64, 64)
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [4, 2], _f(8).tolist())
    half = helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.5, -2.0])
    constant = numpy_helper.from_array(_f(64, 4), "c")
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["a"]),
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("MatMul", ["a", "c"], ["b"]),
        helper.make_node("MatMul", ["b", "typed"], ["d"]),
        helper.make_node("Add", ["d", "half"], ["y"]),
    ]
    model = _model(nodes, {"large": large}, {"x": [1, 64]}, ["y"])
    model.graph.initializer.extend([typed, half])
    onnx.save(model, tmp_path / "x")
    network = open_network(tmp_path / "x")
    found = {w.name: w for la in network.layers for w in la.weights}
    assert isinstance(found["large"].where, ByteRange)
    expected = {"large": large, "c": numpy_helper.to_array(constant),
                "typed": numpy_helper.to_array(typed),
                "half": np.array([1.5, -2.0], np.float32)}  # fmt: skip
    with WeightReader(network) as weights:
        for name, array in expected.items():
            np.testing.assert_array_equal(weights.read(found[name]), array)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantised_weights_are_what_the_reference_dequantises(axis: int | None,
                                                             tmp_path: Path) -> None:  # fmt: skip
    codes = RNG.integers(-128, 127, (6, 5)).astype(np.int8)
    shape = () if axis is None else (codes.shape[axis],)
    scale = np.abs(RNG.normal(size=shape)).astype(np.float32) + 0.1
    zero = RNG.integers(-5, 5, shape).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=axis or 0),
        helper.make_node("MatMul", ["x", "w"], ["y"], "dense"),
    ]
    model = _model(nodes, {"q": codes, "s": np.asarray(scale), "z": np.asarray(zero)},
                   {"x": [1, 6]}, ["y"])  # fmt: skip
    onnx.save(model, tmp_path / "x")
    network = open_network(tmp_path / "x")
    kernel = network.layer_by_path["dense"].weight("kernel")
    assert kernel is not None
    expected = ReferenceEvaluator(model).run(None, {"x": np.eye(6, dtype=np.float32)})[0]
    with WeightReader(network) as weights:
        np.testing.assert_allclose(weights.read(kernel), expected, rtol=1e-6)


def test_graphs_inside_nodes_are_walked(tmp_path: Path) -> None:
    inside = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["yes"], "product")], "then", [],
        [_value("yes", [1, 3])], [numpy_helper.from_array(_f(4, 3), "w")])  # fmt: skip
    other = helper.make_graph([helper.make_node("Relu", ["e"], ["no"], "relu")], "else", [],
                              [_value("no", [1, 3])])  # fmt: skip
    nodes = [helper.make_node("Relu", ["z"], ["e"], "before"),
             helper.make_node("If", ["t"], ["y"], "choice", then_branch=inside,
                              else_branch=other)]  # fmt: skip
    model = _model(nodes, {}, {"x": [1, 4], "z": [1, 3]}, ["y"])
    model.graph.input.append(_value("t", [], TensorProto.BOOL))
    onnx.save(model, tmp_path / "x")
    network = open_network(tmp_path / "x")
    ends = {(k.source, k.target) for k in network.links}
    assert {("x", "choice/then_branch/product"), ("before", "choice/else_branch/relu"),
            ("choice/then_branch/product", "choice result"),
            ("choice/else_branch/relu", "choice result")} <= ends  # fmt: skip


# -- files beside it, and lies ---------------------------------------------------------------------


def _external(location: str, offset: object = 0, length: object = 64) -> onnx.ModelProto:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _f(4, 4)}, {"x": [1, 4]},
                   ["y"])  # fmt: skip
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return model


def test_external_data_is_read_in_place_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path, data = folder / "x.onnx", _f(8, 4)
    (folder / "weights.bin").write_bytes(data.tobytes())
    (tmp_path / "outside.bin").write_bytes(data.tobytes())
    onnx.save(_external("weights.bin", 64), path)
    network = open_network(path)
    with WeightReader(network) as weights:
        kernel = next(w for la in network.layers for w in la.weights)
        np.testing.assert_array_equal(weights.read(kernel), data[4:])
    (folder / "link.bin").symlink_to("../outside.bin")
    os.mkfifo(folder / "pipe")
    for model, reason in (
        (_external("../outside.bin"), "outside its own folder"),
        (_external(str(tmp_path / "outside.bin")), "outside its own folder"),
        (_external("link.bin"), "leads out of its folder"),
        (_external("pipe"), "not a regular file"),
        (_external("gone.bin"), "is missing"),
        (_external("weights.bin", 96), "not complete: at least 160 bytes are expected and 128"),
        (_external("weights.bin", -1), "impossible place"),
        (_external("weights.bin", 2**70), "impossible place|not complete"),
        (_external("weights.bin", 0, 63), "63 bytes where 64 are needed"),
        (_external("weights.bin", 0, -1), "impossible place"),
    ):
        onnx.save(model, path)
        with pytest.raises(ModelError, match=reason):
            open_network(path)


def _refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        if not reader.matches(source):
            return "not matched"
        with pytest.raises(UnreadableError) as error:
            reader.read(source)
        return str(error.value)
    finally:
        os.close(descriptor)


def test_a_model_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = _branches()[0].SerializeToString()
    for length in range(4, len(data) - 20, 61):
        told = _refused(tmp_path / "x", data[:length])
        assert "partial download" in told or length < 40, length


def test_tensors_that_lie_are_refused(tmp_path: Path) -> None:
    for dims, reason in (([2**40, 2**40], "impossible shape"), ([-1, 4], "impossible shape"),
                         ([64, 65], "bytes where"), ([3], "bytes where")):  # fmt: skip
        model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _f(64, 64)},
                       {"x": [1, 64]}, ["y"])  # fmt: skip
        model.graph.initializer[0].ClearField("dims")
        model.graph.initializer[0].dims.extend(dims)
        assert reason in _refused(tmp_path / "x", model.SerializeToString())


def test_other_files_are_not_taken_for_onnx(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"\x08\x01", b"PK\x03\x04" + bytes(50), b"GGUF" + bytes(50), b"{}",
                 b"\x0a\x05hello",
                 bytes(100), b"\xff" * 100, b"<html>"):  # fmt: skip
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert not reader.matches(Source(str(path), descriptor)), data
        finally:
            os.close(descriptor)


def test_a_large_graph_opens_from_its_structure(tmp_path: Path) -> None:
    """40 000 operators, told by how little is read: no more than the file without its tensors."""
    nodes = [helper.make_node("Add", [f"v{i}", "b"], [f"v{i + 1}"]) for i in range(2000)]
    model = _model(nodes, {"b": _f(100_000)}, {"v0": [1, 100_000]}, ["v2000"])
    onnx.save(model, tmp_path / "x")
    network: Network = open_network(tmp_path / "x")
    assert len(network.layers) == 2001
    assert len(network.links) == 2000
