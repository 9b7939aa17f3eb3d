"""Small models in every format, each written by the framework that invented it.

`SAMPLES` names them; `Samples` writes each when it is first asked for. What is opened is a file or
a folder, as a person would open it. The frameworks are imported where they are needed.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A model in one kind of one format.

    Attributes
    ----------
    format : str
        Name of the `Format` that reads it.
    make : callable (Path) -> str
        Writes it into an empty folder; what is to be opened in there, "" for the folder.
    links : bool
        Whether the network has links.
    """

    format: str
    make: Callable[[Path], str]
    links: bool = True


# -- Keras and TensorFlow --------------------------------------------------------------------------


def network() -> Any:
    """A convolution, a norm and two dense layers of Keras; always the same."""
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(1)
    x = keras.Input((6, 6, 2), name="x")
    y = kl.BatchNormalization(name="norm")(kl.Conv2D(3, 2, name="first")(x))
    y = kl.Flatten(name="flat")(kl.ReLU(name="relu")(y))
    return keras.Model(x, kl.Dense(3, name="last")(y), name="tiny")


def _saved(folder: Path, name: str) -> str:
    network().save(folder / name)
    return name


def _unzipped(folder: Path) -> str:
    network().save(folder / "saved", zipped=False)
    return "saved"


def _weights(folder: Path) -> str:
    network().save_weights(folder / "m.weights.h5")
    return "m.weights.h5"


def _weight_shards(folder: Path) -> str:
    network().save_weights(folder / "m.weights.json", max_shard_size=9e-7)
    assert len(list(folder.iterdir())) > 2
    return "m.weights.json"


def _savedmodel(folder: Path) -> str:
    network().export(folder / "saved", verbose=False)
    return "saved"


def _savedmodel_module(folder: Path) -> str:
    import tensorflow as tf

    module = tf.Module()
    module.first = tf.Variable(tf.reshape(tf.range(12.0), (4, 3)), name="first")
    module.last = tf.Variable(tf.ones((3, 2)), name="last")

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def serve(x: Any) -> Any:
        return tf.matmul(tf.nn.relu(tf.matmul(x, module.first)), module.last)

    tf.saved_model.save(module, str(folder / "saved"), signatures=serve)
    return "saved"


def _checkpoint(folder: Path) -> str:
    import tensorflow as tf

    tf.train.Checkpoint(model=network()).write(str(folder / "m"))
    return ""


def _frozen_graph() -> Any:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = network()
    call = tf.function(model).get_concrete_function(tf.TensorSpec((1, 6, 6, 2)))
    return convert_variables_to_constants_v2(call).graph.as_graph_def()


def _graphdef(folder: Path) -> str:
    (folder / "m.pb").write_bytes(_frozen_graph().SerializeToString())
    return "m.pb"


def _tflite(folder: Path) -> str:
    import tensorflow as tf

    (folder / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(network()).convert())
    return "m.tflite"


def write_tfjs(folder: Path, topology: Any, tensors: dict[str, np.ndarray], shard: int = 1 << 30,
               quantised: str = "", form: str = "layers-model") -> Path:  # fmt: skip
    """A model as the converter writes it: one group, its bytes cut into shards."""
    folder.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    stream = b""
    for name, array in tensors.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape),
                                 "dtype": array.dtype.name}  # fmt: skip
        if quantised and array.dtype == np.float32:
            entry["quantization"] = {"dtype": quantised, "original_dtype": "float32"}
            if quantised == "float16":
                array = array.astype(np.float16)
            else:
                least, most = float(array.min()), float(array.max())
                scale = (most - least) / np.iinfo(quantised).max or 1.0
                entry["quantization"] |= {"min": least, "scale": scale}
                array = np.round((array - least) / scale).astype(quantised)
        entries.append(entry)
        stream += array.tobytes()
    count = -(-len(stream) // shard)
    paths = [f"group1-shard{i + 1}of{count}.bin" for i in range(count)]
    for i, path in enumerate(paths):
        (folder / path).write_bytes(stream[i * shard : (i + 1) * shard])
    manifest = [{"paths": paths, "weights": entries}]
    told = {"format": form, "modelTopology": topology, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(told))
    return folder


def _tfjs_layers(folder: Path) -> str:
    model = network()
    topology = {"keras_version": "3", "model_config": json.loads(model.to_json())}
    tensors = {f"{la.name}/{w.name}": w.numpy() for la in model.layers for w in la.weights}
    write_tfjs(folder, topology, tensors, 300)
    return "model.json"


def _tfjs_graph(folder: Path) -> str:
    import tensorflow as tf
    from google.protobuf.json_format import MessageToDict

    graph, tensors = _frozen_graph(), {}
    for node in graph.node:
        if node.op == "Const":
            tensors[node.name] = tf.make_ndarray(node.attr["value"].tensor)
            node.attr["value"].tensor.ClearField("tensor_content")
    write_tfjs(folder, MessageToDict(graph), tensors, 300, form="graph-model")
    return "model.json"


# -- PyTorch, ONNX, llama.cpp ----------------------------------------------------------------------


def state() -> dict[str, Any]:
    """Tensors by names of which links are inferred."""
    import torch

    names = ("embed_tokens", "layers.0.input_layernorm", "layers.0.self_attn.q_proj",
             "layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj", "layers.0.self_attn.o_proj",
             "layers.0.post_attention_layernorm", "layers.0.mlp.gate_proj",
             "layers.0.mlp.up_proj", "layers.0.mlp.down_proj", "norm")  # fmt: skip
    numbers = torch.arange(16, dtype=torch.float32)
    found = {
        f"model.{n}.weight": numbers[:4] + i if "norm" in n else numbers.reshape(4, 4) + i
        for i, n in enumerate(names)
    }
    return found | {"lm_head.weight": torch.ones(4, 4)}


CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1,
          "hidden_size": 4, "num_attention_heads": 2, "num_key_value_heads": 2,
          "intermediate_size": 4, "vocab_size": 4}  # fmt: skip


def write_shards(folder: Path, tensors: dict[str, Any], count: int = 3) -> dict[str, str]:
    """A sharded model of safetensors with its index; in which file each tensor is."""
    from safetensors.torch import save_file

    names = list(tensors)
    where = {n: f"model-{i % count + 1:05}-of-{count:05}.safetensors" for i, n in enumerate(names)}
    for file in sorted(set(where.values())):
        save_file({n: tensors[n] for n in names if where[n] == file}, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return where


def _safetensors(folder: Path) -> str:
    from safetensors.torch import save_file

    save_file(state(), folder / "m.safetensors")
    return "m.safetensors"


def _hub_folder(folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_shards(folder, state())
    return ""


def _shard_index(folder: Path) -> str:
    write_shards(folder, state(), 2)
    return "model.safetensors.index.json"


def _torch(folder: Path, **options: Any) -> str:
    import torch

    torch.save(state(), folder / "m.pt", **options)
    return "m.pt"


def _torch_index(folder: Path) -> str:
    import torch

    tensors = state()
    where = {n: f"pytorch_model-{i % 2 + 1:05}-of-00002.bin" for i, n in enumerate(tensors)}
    for file in set(where.values()):
        torch.save({n: t for n, t in tensors.items() if where[n] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    return "pytorch_model.bin.index.json"


def _module() -> Any:
    import torch

    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()


def _whole_module(folder: Path) -> str:
    import torch

    torch.save(_module(), folder / "m.pth")
    return "m.pth"


def _torchscript(folder: Path) -> str:
    import torch

    torch.jit.trace(_module(), torch.zeros(1, 4)).save(str(folder / "m.pt"))
    return "m.pt"


def _exported(folder: Path) -> str:
    import torch

    torch.export.save(torch.export.export(_module(), (torch.zeros(1, 4),)), folder / "m.pt2")
    return "m.pt2"


def _onnx(folder: Path, external: bool = False) -> str:
    import onnx
    from onnx import helper, numpy_helper

    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "body/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    arrays = {"w": np.ones((4, 3, 3, 3), np.float32), "v": np.ones((50, 16), np.float32)}
    tensors = [numpy_helper.from_array(v, k) for k, v in arrays.items()]
    ends = [value("x", 1, [1, 3, 2, 2])], [value("y", 1, [1, 50])]
    model = helper.make_model(helper.make_graph(nodes, "g", *ends, tensors), ir_version=9)
    onnx.save(model, folder / "m.onnx", save_as_external_data=external, location="m.data",
              size_threshold=0)  # fmt: skip
    return "m.onnx"


def _gguf(folder: Path, version: int = 3, **options: Any) -> str:
    import gguf

    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(str(folder / "m.gguf"), "llama", **options)
    writer.add_token_list(["a", "b"])
    writer.add_block_count(1)
    writer.add_head_count(2)
    names = ("token_embd", "blk.0.attn_norm", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v",
             "blk.0.attn_output", "blk.0.ffn_norm", "blk.0.ffn_gate", "output_norm")  # fmt: skip
    for i, name in enumerate(names):
        shape = (4,) if "norm" in name else (4, 4)
        writer.add_tensor(f"{name}.weight", np.full(shape, i, np.float32))
    packed = np.zeros((2, 34), np.uint8)
    writer.add_tensor("blk.0.ffn_up.weight", packed, raw_dtype=kinds.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if options:
        return ""
    data = bytearray((folder / "m.gguf").read_bytes())
    data[4:8] = struct.pack("<I", version)  # the two versions differ in nothing that is used here
    (folder / "m.gguf").write_bytes(data)
    return "m.gguf"


SAMPLES: dict[str, Sample] = {
    "keras": Sample("keras", lambda folder: _saved(folder, "m.keras")),
    "h5": Sample("keras-h5", lambda folder: _saved(folder, "m.h5")),
    "weights_h5": Sample("keras-h5", _weights, links=False),
    "keras_folder": Sample("keras-folder", _unzipped),
    "keras_shards": Sample("keras-weights", _weight_shards, links=False),
    "savedmodel": Sample("savedmodel", _savedmodel),
    "savedmodel_module": Sample("savedmodel", _savedmodel_module),
    "checkpoint": Sample("tf_checkpoint", _checkpoint, links=False),
    "graphdef": Sample("graphdef", _graphdef),
    "tflite": Sample("tflite", _tflite),
    "tfjs_layers": Sample("tfjs", _tfjs_layers),
    "tfjs_graph": Sample("tfjs", _tfjs_graph),
    "safetensors": Sample("safetensors", _safetensors),
    "safetensors_index": Sample("safetensors", _shard_index),
    "hub_folder": Sample("safetensors", _hub_folder),
    "pytorch": Sample("pytorch", _torch),
    "pytorch_before_1_6": Sample(
        "pytorch", lambda folder: _torch(folder, _use_new_zipfile_serialization=False)
    ),
    "pytorch_index": Sample("pytorch", _torch_index),
    "pytorch_module": Sample("pytorch", _whole_module),
    "torchscript": Sample("pytorch", _torchscript),
    "pt2": Sample("pt2", _exported),
    "onnx": Sample("onnx", _onnx),
    "onnx_external": Sample("onnx", lambda folder: _onnx(folder, external=True)),
    "gguf": Sample("gguf", _gguf),
    "gguf_version_2": Sample("gguf", lambda folder: _gguf(folder, 2)),
    "gguf_split": Sample("gguf", lambda folder: _gguf(folder, split_max_tensors=4)),
}


class Samples:
    """The samples of a run of the tests, each written once.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        """What is to be opened of a sample; it must not be changed."""
        if name not in self._made:
            folder = self._folder / name
            folder.mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._made[name] = folder / SAMPLES[name].make(folder)
        return self._made[name]
