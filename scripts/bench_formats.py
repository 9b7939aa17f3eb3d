"""How long opening takes that reads no weight's bytes, and how much memory, beside the limits.

    python scripts/bench_formats.py [--runs N]

Makes a sharded folder of safetensors that says it holds 16 GB (sparse files: no disk is filled), a
GGUF file with a vocabulary of 128 000 words, and graphs of 40 000 operators, and opens each. Beside
the seconds on the clock those of the processors: of both processes, the one that parses and the one
that checks. Beside them, in the same run: what reading the same headers costs with the formats' own
packages.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

_OPEN = """
import sys, time, resource, json
start = time.perf_counter()
from explorer.formats import open_network
network = open_network(sys.argv[1])
took = time.perf_counter() - start
who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
used = [resource.getrusage(w) for w in who]
peak = 1024 * sum(u.ru_maxrss for u in used)
spent = sum(u.ru_utime + u.ru_stime for u in used)
print(json.dumps([took, spent, peak, len(network.layers), len(network.links)]))
"""
_PEERS = {
    "safetensors": "from safetensors import safe_open\nimport glob\n"
    "for f in glob.glob(sys.argv[1] + '/*.safetensors'):\n"
    "    with safe_open(f, 'np') as s: [s.get_slice(k).get_shape() for k in s.keys()]",
    "gguf": "import gguf\ngguf.GGUFReader(sys.argv[1])",
    "onnx": "import onnx\nonnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))",
    "graphdef": "from tensorflow.core.framework.graph_pb2 import GraphDef\n"
    "GraphDef.FromString(open(sys.argv[1], 'rb').read())",
    "tflite": "from tensorflow.lite.python import schema_py_generated as schema\n"
    "schema.ModelT.InitFromObj(schema.Model.GetRootAs(open(sys.argv[1], 'rb').read()))",
}


def sharded(folder: Path, nbytes: int = 16 << 30, files: int = 4, width: int = 4096) -> Path:
    """A model of decoder blocks in float16, as large as that, in sparse files."""
    folder.mkdir()
    inner = 11008
    block = {"input_layernorm": (width,), "self_attn.q_proj": (width, width),
             "self_attn.k_proj": (width, width), "self_attn.v_proj": (width, width),
             "self_attn.o_proj": (width, width), "post_attention_layernorm": (width,),
             "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width),
             "mlp.down_proj": (width, inner)}  # fmt: skip
    size = 2 * sum(int(np.prod(s)) for s in block.values())
    tensors = {"model.embed_tokens.weight": (32000, width), "model.norm.weight": (width,),
               "lm_head.weight": (32000, width)}  # fmt: skip
    tensors |= {f"model.layers.{i}.{name}.weight": shape for i in range(nbytes // size + 1)
                for name, shape in block.items()}  # fmt: skip
    where: dict[str, str] = {}
    names = list(tensors)
    for number in range(files):
        file = f"model-{number + 1:05}-of-{files:05}.safetensors"
        header, at = {}, 0
        for name in names[number::files]:
            stop = at + 2 * int(np.prod(tensors[name]))
            header[name] = {"dtype": "F16", "shape": tensors[name], "data_offsets": [at, stop]}
            at, where[name] = stop, file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            out.truncate(8 + len(text) + at)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    config = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 32}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def vocabulary(path: Path, words: int = 128_000) -> Path:
    """A small model with a large vocabulary."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_token_list([f"a word of the vocabulary, long enough to fill the file: {i:06}, with "
                           f"its number once more {i}" for i in range(words)])  # fmt: skip
    writer.add_token_scores([0.0] * words)
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.zeros((words // 100, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def graph(path: Path, count: int = 40_000) -> Path:
    """A chain of convolutions, activations and sums."""
    import onnx
    from onnx import helper, numpy_helper

    nodes = []
    for i in range(count):
        kind, more = [("Conv", ["w"]), ("Relu", []), ("Add", [f"v{max(i - 5, 0)}"]),
                      ("Identity", [])][i % 4]  # fmt: skip
        told: dict[str, Any] = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {}
        name = f"stage{i // 4000}/block{i // 400}/layer{i // 20}/op{i}"
        nodes.append(helper.make_node(kind, [f"v{i}", *more], [f"v{i + 1}"], name, **told))
    kernel = numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float32), "w")
    ends = [helper.make_tensor_value_info(n, 1, s) for n, s in (("v0", [1, 8, 8, 8]),
                                                                (f"v{count}", None))]  # fmt: skip
    made = helper.make_graph(nodes, "large", ends[:1], ends[1:], [kernel])
    onnx.save(helper.make_model(made, ir_version=9), path)
    return path


def frozen(path: Path, count: int = 40_000) -> Path:
    """The same for TensorFlow: convolutions with a bias and an activation, and sums."""
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.python.framework.tensor_util import make_tensor_proto

    made = GraphDef()

    def node(name: str, op: str, *inputs: str) -> Any:
        added = made.node.add(name=name, op=op, input=inputs)
        added.attr["T" if inputs else "dtype"].type = 1
        return added

    given = node("x", "Placeholder")
    for size in (-1, 8, 8, 8):
        given.attr["shape"].shape.dim.add(size=size)
    last, sums = "x", ["x"]
    kernel, bias = (make_tensor_proto(np.ones(s, np.float32)) for s in ((3, 3, 8, 8), (8,)))
    for i in range(count // 4):
        scope = f"stage{i // 1000}/block{i // 100}/layer{i}"
        for name, value in (("kernel", kernel), ("bias", bias)):
            node(f"{scope}/{name}", "Const").attr["value"].tensor.CopyFrom(value)
        conv = node(f"{scope}/Conv2D", "Conv2D", last, f"{scope}/kernel")
        conv.attr["strides"].list.i.extend([1, 1, 1, 1])
        conv.attr["padding"].s = b"SAME"
        node(f"{scope}/BiasAdd", "BiasAdd", f"{scope}/Conv2D", f"{scope}/bias")
        node(f"{scope}/Relu", "Relu", f"{scope}/BiasAdd")
        last = f"{scope.rpartition('/')[0]}/add{i}"
        node(last, "AddV2", f"{scope}/Relu", sums[max(len(sums) - 5, 0)])
        sums.append(last)
    path.write_bytes(made.SerializeToString())
    return path


def lite(path: Path, count: int = 40_000) -> Path:
    """A chain of sums in TFLite."""
    flatbuffers = import_module("flatbuffers")
    from tensorflow.lite.python import schema_py_generated as schema

    made, inside = schema.ModelT(), schema.SubGraphT()
    made.version, made.subgraphs, made.operatorCodes = 3, [inside], [schema.OperatorCodeT()]
    made.buffers = [schema.BufferT(), schema.BufferT()]
    made.buffers[1].data = np.ones(4, "<f4").view(np.uint8)
    inside.tensors, inside.operators = [], []
    for i in range(count + 2):
        tensor = schema.TensorT()
        tensor.name = f"block_{i // 400}/layer{i // 20}/op{i}/Add".encode()
        tensor.shape, tensor.buffer = [1, 4], int(i > count)
        inside.tensors.append(tensor)
    for i in range(count):
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = [i, count + 1], [i + 1]
        inside.operators.append(operator)
    inside.inputs, inside.outputs = [0], [count]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(made.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def made_elsewhere(make: Callable[[Path], Path], path: Path) -> Path:
    """A file made in a process of its own.

    One that has loaded large packages hands its size on to those it starts, which are measured.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(make, path).result()


def peer(kind: str, path: Path) -> float:
    """Seconds that the format's own package takes for as much, in a process of its own."""
    code = f"import sys, time\nstart = time.perf_counter()\n{_PEERS[kind]}\n"
    code += "print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return float(done.stdout) if done.returncode == 0 else float("nan")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    row = "{:<30} {:>8} {:>7} {:>7} {:>9} {:>7} {:>7} {:>6} {:>8}"
    print(row.format("", "layers", "links", "s", "limit s", "ratio", "CPU s", "MB", "peer s"))
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        for title, kind, limit, make in (
            ("16 GB of safetensors, sharded", "safetensors", 1.0, sharded),
            ("GGUF, 128 000 words", "gguf", 1.0, vocabulary),
            ("ONNX, 40 000 operators", "onnx", 3.0, graph),
            ("TFLite, 40 000 operators", "tflite", 3.0, lite),
            ("frozen graph, 40 000 operators", "graphdef", 3.0, frozen),
        ):
            path = made_elsewhere(make, home / kind)
            found = []
            for _ in range(options.runs):
                command = [sys.executable, "-c", _OPEN, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True,
                                      env={**os.environ})  # fmt: skip
                found.append(json.loads(done.stdout))
            took, spent, peak, layers, links = sorted(found)[len(found) // 2]
            beside = peer(kind, path)
            told = (f"{took:.2f}", f"{limit:.1f}", f"{took / limit:.2f}", f"{spent:.2f}",
                    f"{peak / 1e6:.0f}")  # fmt: skip
            print(row.format(title, layers, links, *told, f"{beside:.2f}"))


if __name__ == "__main__":
    main()
