"""Recurrent operators of ONNX and TFLite, run by their own frameworks, and gates as they are told.

What the framework answers must be what the matrices of the gates compute, each under its name.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tensorflow.lite.python import schema_py_generated as schema
from truth import Array, gates_of, gru, lstm

from explorer.open_model import OpenModel

pytestmark = pytest.mark.filterwarnings("ignore")
TIME, WIDTH, UNITS = 6, 3, 4
RNG = np.random.default_rng(31)


def _f(*shape: int) -> Any:
    return RNG.normal(0, 0.6, shape).astype(np.float32)


def _onnx(kind: str, path: Path, inputs: Array, **attributes: int) -> Array:
    """A model of one operator, and what the reference evaluator makes of a sequence."""
    gates = {"LSTM": 4, "GRU": 3}[kind]
    tensors = {"w": _f(1, gates * UNITS, WIDTH), "r": _f(1, gates * UNITS, UNITS)}
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], "cell", hidden_size=UNITS, **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, [TIME, 1, WIDTH])],
        [value("y", TensorProto.FLOAT, [TIME, 1, 1, UNITS])],
        [numpy_helper.from_array(a, n) for n, a in tensors.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(made, path)
    found = ReferenceEvaluator(made).run(None, {"x": inputs[:, None].astype(np.float32)})
    states: Array = found[0][:, 0, 0].astype(np.float64)
    return states


@pytest.mark.parametrize(
    ("kind", "attributes", "compute"),
    [
        ("LSTM", {}, lstm),
        ("GRU", {"linear_before_reset": 1}, gru),
        ("GRU", {"linear_before_reset": 0}, partial(gru, reset_before=True)),
    ],
)
def test_gates_of_onnx_are_those_of_its_reference(
    kind: str, attributes: dict[str, int], compute: Any, tmp_path: Path
) -> None:
    inputs = RNG.normal(size=(TIME, WIDTH))
    expected = _onnx(kind, tmp_path / "x", inputs, **attributes)
    with OpenModel.open(str(tmp_path / "x")) as model:
        kernel, again = gates_of(model, "cell")
        np.testing.assert_allclose(compute(inputs, kernel, again), expected, atol=2e-6)


def _tflite() -> bytes:
    """A model of one fused LSTM with all its gates, without biases."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []

    def tensor(shape: tuple[int, ...], data: Any = None, state: bool = False) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = f"t{len(graph.tensors)}", list(shape), 0
        made.isVariable = state
        if data is not None:
            made.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(data.tobytes(), np.uint8)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def held(array: Any) -> int:
        return tensor(array.shape, array)

    given = tensor((1, TIME, WIDTH))
    kernels = [held(_f(UNITS, WIDTH)) for _ in range(4)]
    again = [held(_f(UNITS, UNITS)) for _ in range(4)]
    biases = [held(np.zeros(UNITS, np.float32)) for _ in range(4)]
    states = [tensor((1, UNITS), state=True) for _ in range(2)]
    none = [-1, -1, -1]
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs = [given, *kernels, *again, *none, *biases, -1, -1, *states, -1, *none]
    operator.outputs = [tensor((1, TIME, UNITS))]
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    operator.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator.builtinOptions, operator.opcodeIndex = options, 0
    code.builtinCode = code.deprecatedBuiltinCode = (
        schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    )
    graph.inputs, graph.outputs, graph.operators = [given], operator.outputs, [operator]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_gates_of_tflite_are_those_of_its_interpreter(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(_tflite())
    inputs = RNG.normal(size=(TIME, WIDTH)).astype(np.float32)
    interpreter = tf.lite.Interpreter(model_path=str(tmp_path / "x"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs[None])
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    with OpenModel.open(str(tmp_path / "x")) as model:
        path = next(la.path for la in model.graph.layers if la.op == "LSTM")
        kernel, again = gates_of(model, path)
        np.testing.assert_allclose(lstm(inputs, kernel, again), expected, atol=2e-6)
