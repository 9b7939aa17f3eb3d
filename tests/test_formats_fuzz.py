"""A thousand mutations of a file of each format: read or refused, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import torch
from keras import layers as kl
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

ROOT = Path(__file__).parents[1]


def _keras(path: Path, suffix: str) -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((6,), name="x")
    y = kl.BatchNormalization(name="norm")(kl.Dense(5, name="first")(x))
    model = keras.Model(x, kl.Dense(3, name="last")(y), name="tiny")
    model.save(path.with_suffix(suffix))
    path.with_suffix(suffix).rename(path)


def _small() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 6, 2), name="x")
    y = kl.Flatten()(kl.Conv2D(3, 2, activation="relu", name="first")(x))
    return keras.Model(x, kl.Dense(3, name="last")(y), name="tiny")


def _weights(path: Path) -> None:
    _small().save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def _tflite(path: Path) -> None:
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(_small()).convert())


def _frozen(path: Path) -> None:
    found = tf.function(_small()).get_concrete_function(tf.TensorSpec((1, 6, 6, 2)))
    frozen = convert_variables_to_constants_v2(found)
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())


def _exported(path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    torch.export.save(torch.export.export(module, (torch.zeros(1, 4),)), path.with_suffix(".pt2"))
    path.with_suffix(".pt2").rename(path)


def _state() -> dict[str, torch.Tensor]:
    names = ("embed_tokens", "layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj",
             "layers.0.self_attn.o_proj", "layers.0.mlp.up_proj", "lm_head")  # fmt: skip
    return {f"model.{name}.weight": torch.ones(4, 4) for name in names}


def _gguf(path: Path) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_token_list(["a", "b"])
    writer.add_block_count(1)
    for name, array in _state().items():
        writer.add_tensor(name, array.numpy())
    writer.add_tensor("blk.0.ffn_up.weight", np.zeros((2, 34), np.uint8),
                      raw_dtype=gguf.GGMLQuantizationType.Q8_0)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _onnx(path: Path) -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "body/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    arrays = {"w": np.ones((4, 3, 3, 3), np.float32), "v": np.ones((5, 16), np.float32)}
    tensors = [numpy_helper.from_array(v, k) for k, v in arrays.items()]
    ends = [value("x", 1, [1, 3, 2, 2])], [value("y", 1, [1, 5])]
    graph = helper.make_graph(nodes, "g", *ends, tensors)
    onnx.save(helper.make_model(graph, ir_version=9), path)


FORMATS: dict[str, Callable[[Path], object]] = {
    "keras": lambda path: _keras(path, ".keras"),
    "h5": lambda path: _keras(path, ".h5"),
    "safetensors": lambda path: save_file(_state(), path),
    "gguf": _gguf,
    "pytorch": lambda path: torch.save(_state(), path),
    "pytorch_before_1_6": lambda path: torch.save(
        _state(), path, _use_new_zipfile_serialization=False
    ),
    "onnx": _onnx,
    "weights_h5": _weights,
    "tflite": _tflite,
    "graphdef": _frozen,
    "pt2": _exported,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_mutations(name: str, tmp_path: Path) -> None:
    """No hang, no crash, no exception but a refusal; time-boxed, at least 300 cases anywhere."""
    path = tmp_path / name
    FORMATS[name](path)
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_formats.py"), str(path)]
    command += ["--cases", "1000", "--seconds", "60"]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counts = json.loads(done.stdout)
    del counts["file"]
    assert sum(counts.values()) >= 300, counts
    assert counts["read"], counts
    assert counts["refused"], counts
