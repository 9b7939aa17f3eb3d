"""Small ONNX models, and what is read of them, for the tests of that format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from explorer.formats import onnx as reader
from explorer.formats.containers.source import Source
from explorer.formats.sandbox.manifest import decode, encode
from explorer.network import FileStamp, Network
from explorer.weights.codecs import is_number
from explorer.weights.weight_reader import WeightReader


def model_of(nodes: list[Any], tensors: dict[str, Any], inputs: dict[str, list[Any]],
             opset: int = 23) -> onnx.ModelProto:  # fmt: skip
    """A graph whose last node gives ``y``; tensors are arrays or made already."""
    stored = [numpy_helper.from_array(t, n) if isinstance(t, np.ndarray) else t
              for n, t in tensors.items()]  # fmt: skip
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "small", given, [y], stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def network_of(model: onnx.ModelProto, path: Path) -> Network:
    """The network as the child reads it and the parent believes it, in this process."""
    data = model.SerializeToString()
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        assert reader.matches(source)
        return decode(encode(reader.read(source)), FileStamp(str(path), len(data), source.mtime_ns))
    finally:
        os.close(descriptor)


def kernel_of(network: Network, path: str, role: str = "kernel") -> np.ndarray:
    weight = network.layer_by_path[path].weight(role)
    assert weight is not None
    assert is_number(weight)
    with WeightReader(network) as weights:
        return weights.read(weight)
