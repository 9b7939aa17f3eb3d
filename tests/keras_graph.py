"""A Network straight from a Keras model in memory, without any file format in between."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight
from explorer.pyramid.pyramid import Pyramid
from explorer.weights.composites import expand
from explorer.weights.weight_reader import WeightReader
from explorer.weights.wires import wires


def roles_of(layer) -> dict[str, object]:
    """Variables of a layer by role."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return roles_of(layer.layer)
    if isinstance(layer, keras.layers.SpectralNormalization):
        return roles_of(layer.layer) | {"vector_u": layer.vector_u}
    if isinstance(layer, keras.layers.Bidirectional):
        ends = {"forward": layer.forward_layer, "backward": layer.backward_layer}
        return {f"{n}/{k}": v for n, end in ends.items() for k, v in roles_of(end).items()}
    if isinstance(layer, (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)):
        names = ("query", "key", "value", "gate")
        ends = {n: getattr(layer, f"_{n}_dense") for n in names if hasattr(layer, f"_{n}_dense")}
        ends["attention_output"] = layer._output_dense
        return {f"{n}/{k}": v for n, end in ends.items() for k, v in roles_of(end).items()}
    return {v.name: v for v in getattr(layer, "weights", ())}


class Built:
    """A Keras model with random weights, its expanded network, its wires and its pyramid.

    The weights lie in one raw file, at odd offsets, and are read by the real reader.
    """

    def __init__(self, model, folder: Path, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.model = model
        for variable in model.weights:
            if not variable.dtype.startswith(("int", "uint")):
                value = rng.normal(size=variable.shape)
                variable.assign(np.abs(value) if "variance" in variable.name else value)
        blob = bytearray(b"?")
        path = folder / f"weights{len(list(folder.iterdir()))}.bin"
        layers, links = [], []
        nodes = {id(n) for by_depth in model._nodes_by_depth.values() for n in by_depth}
        for op in model.operations:
            weights = []
            for role, variable in roles_of(op).items():
                data = np.ascontiguousarray(variable.numpy())
                where = ByteRange(str(path), len(blob), data.nbytes)
                weights.append(
                    Weight(f"{op.name}/{role}", role, data.shape, str(data.dtype), where)
                )
                blob += data.tobytes()
            calls = [n for n in op._inbound_nodes if id(n) in nodes]
            shapes = [tuple(t.shape) for t in calls[0].input_tensors] if calls else []
            out = tuple(calls[0].output_tensors[0].shape)
            kind = type(op).__name__
            layers.append(Layer(op.name, kind, op.get_config(), tuple(shapes), out, tuple(weights)))
            for call, node in enumerate(calls):
                for position, tensor in enumerate(node.input_tensors):
                    history = tensor._keras_history
                    links.append(Link(history.operation.name, op.name, history.tensor_index,
                                      position, call, tuple(tensor.shape)))  # fmt: skip
        path.write_bytes(bytes(blob))
        stat = path.stat()
        stamp = FileStamp(str(path), stat.st_size, stat.st_mtime_ns)
        read = Network("test", "memory", tuple(layers), (), tuple(links), files=(stamp,))
        self.network = expand(read)
        self.wires = wires(self.network)
        self.pyramid = Pyramid(WeightReader(self.network))

    def connection(self, path: str, name: str | None = None):
        """The connection of a layer with this name, or its only one."""
        found = [c for c in self.wires.connections(path) if name in (None, c.name)]
        assert len(found) == 1, (path, name, found)
        return found[0]

    def matrix(self, path: str, name: str | None = None):
        """Σw, Σw² and count of every (out unit, in unit)."""
        c = self.connection(path, name)
        labels = (np.arange(n, dtype=np.int32) for n in (c.out_units, c.in_units))
        return self.pyramid.stats(c, *labels, c.out_units, c.in_units)


def built(tmp_path: Path, inputs, outputs) -> Built:
    """A Functional model of these tensors."""
    return Built(keras.Model(inputs, outputs), tmp_path)
