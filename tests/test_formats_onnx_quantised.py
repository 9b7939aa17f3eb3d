"""Packed and quantised weights of ONNX against formulas of their operators, written out anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_files import kernel_of, model_of, network_of

from explorer.open_model import OpenModel
from explorer.report import edges_json
from explorer.weights.codecs import is_number

RNG = np.random.default_rng(11)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of the last axis in bytes, the first in the lowest bits, the last byte filled up."""
    each = 8 // bits
    wide = np.zeros((*codes.shape[:-1], -(-codes.shape[-1] // each) * each), np.uint8)
    wide[..., : codes.shape[-1]] = codes
    out = np.zeros((*wide.shape[:-1], wide.shape[-1] // each), np.uint8)
    for i in range(each):
        out |= wide[..., i::each] << (bits * i)
    return out


def nbits(rows: int, columns: int, block: int, bits: int, zeros: str) -> tuple[Any, ...]:
    """Inputs of a MatMulNBits, and what its kernel is, shape (rows, columns)."""
    blocks = -(-columns // block)
    codes = RNG.integers(0, 1 << bits, (rows, blocks, block)).astype(np.uint8)
    scale = RNG.normal(size=(rows, blocks)).astype(np.float32)
    tensors = {"b": packed(codes, bits), "s": scale.reshape(-1)}
    zero = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    if zeros == "packed":
        points = RNG.integers(0, 1 << bits, (rows, blocks)).astype(np.uint8)
        tensors["z"], zero = packed(points, bits).reshape(-1), points.astype(np.float32)
    elif zeros == "plain":
        zero = RNG.normal(size=(rows, blocks)).astype(np.float32)
        tensors["z"] = zero.reshape(-1)
    expected = (codes.astype(np.float32) - zero[:, :, None]) * scale[:, :, None]
    return tensors, expected.reshape(rows, -1)[:, :columns]


@pytest.mark.parametrize(
    ("rows", "columns", "block", "bits", "zeros"),
    [(6, 64, 32, 4, ""), (6, 64, 16, 4, "packed"), (5, 96, 32, 4, "packed"), (5, 70, 16, 4, ""),
     (4, 33, 16, 4, "packed"), (6, 64, 32, 4, "plain"), (3, 64, 32, 8, ""), (3, 96, 32, 8,
     "packed"), (7, 40, 32, 8, "plain"), (3, 64, 16, 2, ""), (3, 48, 16, 2, "packed"),
     (40, 300, 128, 4, "packed")],
)  # fmt: skip
def test_matmul_nbits(rows: int, columns: int, block: int, bits: int, zeros: str,
                      tmp_path: Path) -> None:  # fmt: skip
    tensors, expected = nbits(rows, columns, block, bits, zeros)
    node = helper.make_node("MatMulNBits", ["x", *tensors], ["y"], "dense", domain="com.microsoft",
                            K=columns, N=rows, bits=bits, block_size=block)  # fmt: skip
    network = network_of(model_of([node], tensors, {"x": [1, columns]}), tmp_path / "x")
    np.testing.assert_array_equal(kernel_of(network, "dense"), expected)
    assert network.parameters == expected.size


def test_edges_of_packed_kernels(tmp_path: Path) -> None:
    tensors, expected = nbits(6, 70, 16, 4, "packed")
    more, last = nbits(3, 6, 16, 8, "")
    tensors |= {"b2": more["b"], "s2": more["s"]}
    nodes = [
        helper.make_node("MatMulNBits", ["x", "b", "s", "z"], ["a"], "first", K=70, N=6, bits=4,
                         block_size=16, domain="com.microsoft"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMulNBits", ["r", "b2", "s2"], ["y"], "last", K=6, N=3, bits=8,
                         block_size=16, domain="com.microsoft"),
    ]  # fmt: skip
    network = network_of(model_of(nodes, tensors, {"x": [1, 70]}), tmp_path / "x")
    with OpenModel(network) as model:
        for source, target, matrix in (("x", "first", expected), ("first", "last", last)):
            found = edges_json(model, source, target, 1000)
            assert found["total_connections"] == found["total_weights"] == matrix.size
            for edge in found["edges"]:
                number = matrix[edge["to_unit"], edge["from_unit"]]
                assert edge["magnitude"] == pytest.approx(abs(number), rel=1e-6)
                assert edge["signed_mean"] == pytest.approx(number, rel=1e-6)
            assert len(found["edges"]) == matrix.size


@pytest.mark.parametrize(
    ("stored", "bits", "block", "zeros"),
    [("uint8", 4, 16, False), ("uint8", 4, 32, True), ("uint8", 8, 16, False),
     ("uint8", 8, 16, True), ("uint4", 4, 16, False), ("uint4", 4, 16, True),
     ("int4", 4, 16, False), ("int4", 4, 32, True)],
)  # fmt: skip
def test_gather_block_quantised(stored: str, bits: int, block: int, zeros: bool,
                                tmp_path: Path) -> None:  # fmt: skip
    words, width = 9, 96
    low, high = (-8, 8) if stored == "int4" else (0, 1 << bits)
    codes = RNG.integers(low, high, (words, width))
    scale = RNG.normal(size=(words, width // block)).astype(np.float32)
    points = RNG.integers(low, high, scale.shape)
    middle = 1 << (bits - 1) if stored == "uint8" else 0
    zero = points if zeros else np.full(scale.shape, middle)

    def tensor(name: str, values: np.ndarray) -> Any:
        if stored == "uint8":
            return packed(values.astype(np.uint8), bits) if bits < 8 else values.astype(np.uint8)
        kind = TensorProto.INT4 if stored == "int4" else TensorProto.UINT4
        return helper.make_tensor(name, kind, values.shape, values.reshape(-1).tolist())

    tensors = {"q": tensor("q", codes), "s": scale}
    names = ["q", "ids", "s"]
    if zeros:
        tensors["z"] = tensor("z", points)
        names.append("z")
    node = helper.make_node("GatherBlockQuantized", names, ["y"], "table", bits=bits,
                            block_size=block, domain="com.microsoft")  # fmt: skip
    model = model_of([node], tensors, {})
    model.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [3]))
    network = network_of(model, tmp_path / "x")
    spread = (np.repeat(a, block, axis=1) for a in (zero, scale))
    expected = (codes - next(spread)).astype(np.float32) * next(spread)
    np.testing.assert_array_equal(kernel_of(network, "table", "embeddings"), expected)
    layer = network.layer_by_path["table"]
    assert (layer.operation, layer.config["output_dim"]) == ("Embedding", width)


TYPES = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4, "int8": TensorProto.INT8,
         "uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "e4m3": TensorProto.FLOAT8E4M3FN,
         "e5m2": TensorProto.FLOAT8E5M2, "e2m1": TensorProto.FLOAT4E2M1}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("how", ["tensor", "axis 0", "axis 1", "blocks 0", "blocks 1"])
def test_pairs_of_codes_and_scales(kind: str, how: str, tmp_path: Path) -> None:
    """What the reference evaluator makes of DequantizeLinear is the kernel."""
    shape, axis = (12, 10), int(how[-1]) if how[-1].isdigit() else 1
    told: dict[str, int] = {"axis": axis}
    tables = [()]
    if how.startswith("axis"):
        tables = [(shape[axis],)]
    elif how.startswith("blocks"):
        told["block_size"] = 4 if axis == 0 else 5
        tables = [tuple(n // told["block_size"] if i == axis else n for i, n in enumerate(shape))]
    low, high = {"int4": (-8, 8), "uint4": (0, 16), "uint8": (0, 256)}.get(kind, (-100, 100))
    if kind.startswith("e"):
        low, high = (-6, 7)
    values = RNG.integers(low, high, shape)
    zeros = np.zeros(tables[0], np.int64) if kind.startswith("e") else RNG.integers(
        low, high, tables[0])  # fmt: skip
    scale = np.asarray(RNG.normal(size=tables[0]), np.float32)

    def tensor(name: str, found: np.ndarray) -> Any:
        return helper.make_tensor(name, TYPES[kind], found.shape, found.reshape(-1).tolist())

    tensors = {"q": tensor("q", values), "s": scale}
    names = ["q", "s"]
    if not kind.startswith("e"):
        tensors["z"] = tensor("z", np.asarray(zeros))
        names.append("z")
    nodes = [helper.make_node("DequantizeLinear", names, ["w"], **told),
             helper.make_node("MatMul", ["x", "w"], ["y"], "dense")]  # fmt: skip
    model = model_of(nodes, tensors, {"x": [1, shape[0]]})
    network = network_of(model, tmp_path / "x")
    expected = ReferenceEvaluator(model).run(None, {"x": np.eye(shape[0], dtype=np.float32)})[0]
    np.testing.assert_allclose(kernel_of(network, "dense"), expected, rtol=1e-6, atol=1e-7)


def test_operators_that_take_codes_themselves(tmp_path: Path) -> None:
    """A quantised convolution by channel, then matrices with scales for all and by column."""
    conv = RNG.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    first, second = (RNG.integers(0, 256, s).astype(np.uint8) for s in ((4, 6), (6, 5)))
    scales = {n: np.abs(RNG.normal(size=s)).astype(np.float32) for n, s in
              (("one", ()), ("by_filter", (4,)), ("by_column", (5,)))}  # fmt: skip
    nothing, shifts = np.uint8(0), RNG.integers(0, 256, 5).astype(np.uint8)
    tensors = {"w": conv, "m1": first, "m2": second, "zero": np.asarray(nothing), "shifts": shifts,
               "signed": np.zeros(4, np.int8), "middle": np.asarray(np.uint8(120))}  # fmt: skip
    tensors |= {n: np.asarray(s) for n, s in scales.items()}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"], "codes"),
        helper.make_node("QLinearConv", ["q", "one", "zero", "w", "by_filter", "signed", "one",
                                         "zero"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("QLinearMatMul", ["c", "one", "zero", "m1", "one", "middle", "one",
                                           "zero"], ["d"], "plain"),
        helper.make_node("QLinearMatMul", ["d", "one", "zero", "m2", "by_column", "shifts", "one",
                                           "zero"], ["e"], "columns"),
        helper.make_node("DequantizeLinear", ["e", "one", "zero"], ["y"], "numbers"),
    ]  # fmt: skip
    network = network_of(model_of(nodes, tensors, {"x": [1, 3, 4, 4]}, 20), tmp_path / "x")
    by_filter = scales["by_filter"][:, None, None, None]
    for path, expected in (
        ("conv", conv * by_filter),
        ("plain", (first.astype(np.float32) - 120) * scales["one"]),
        ("columns", (second.astype(np.float32) - shifts) * scales["by_column"]),
    ):
        np.testing.assert_array_equal(kernel_of(network, path), expected)
    assert network.layer_by_path["conv"].operation == "Conv2D"


def test_packings_that_are_not_known_stay_packed(tmp_path: Path) -> None:
    """Too few scales, bytes that do not fit: codes are shown, and never as numbers."""
    tensors, _ = nbits(6, 64, 32, 4, "packed")
    for wrong in ({"N": 7}, {"K": 65}, {"bits": 3}, {"bits": 8}, {"block_size": 16},
                  {"block_size": 0}, {"N": -6, "K": -64}):  # fmt: skip
        told = {"K": 64, "N": 6, "bits": 4, "block_size": 32, **wrong}
        node = helper.make_node("MatMulNBits", ["x", *tensors], ["y"], "dense", **told,
                                domain="com.microsoft")  # fmt: skip
        network = network_of(model_of([node], tensors, {"x": [1, 64]}), tmp_path / "x")
        layer = network.layer_by_path["dense"]
        assert layer.operation == ""
        assert not is_number(next(w for w in layer.weights if w.name == "b")), wrong


def test_one_tensor_packed_for_two_operators(tmp_path: Path) -> None:
    """A table of words that is also the last layer, as small language models have it."""
    words, width, block = 10, 64, 32
    tensors, expected = nbits(words, width, block, 4, "packed")
    tensors |= {"flat": np.array([words, width // 2]), "s": tensors["s"].reshape(words, -1),
                "z": tensors["z"].reshape(words, -1)}  # fmt: skip
    nodes = [
        helper.make_node("Reshape", ["b", "flat"], ["table"]),
        helper.make_node("GatherBlockQuantized", ["table", "ids", "s", "z"], ["h"], "embedding",
                         block_size=block, domain="com.microsoft"),
        helper.make_node("MatMulNBits", ["h", "b", "s", "z"], ["y"], "head", K=width, N=words,
                         bits=4, block_size=block, domain="com.microsoft"),
    ]  # fmt: skip
    model = model_of(nodes, tensors, {})
    model.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [3]))
    network = network_of(model, tmp_path / "x")
    np.testing.assert_array_equal(kernel_of(network, "embedding", "embeddings"), expected)
    np.testing.assert_array_equal(kernel_of(network, "head"), expected)
    assert network.parameters == expected.size  # counted once
