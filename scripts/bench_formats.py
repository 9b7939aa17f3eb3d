"""How long opening takes that reads no weight's bytes, and how much memory, beside the limits.

    python scripts/bench_formats.py [--runs N]

Makes a sharded folder of safetensors that says it holds 16 GB (sparse files: no disk is filled), a
GGUF file with a vocabulary of 128 000 words, and an ONNX graph of 40 000 operators, and opens each.
Beside them, in the same run: what reading the same headers costs with the formats' own packages.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
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
peak = 1024 * sum(resource.getrusage(w).ru_maxrss for w in who)
print(json.dumps([took, peak, len(network.layers), len(network.links), network.parameters]))
"""
_PEERS = {
    "safetensors": "from safetensors import safe_open\nimport glob\n"
    "for f in glob.glob(sys.argv[1] + '/*.safetensors'):\n"
    "    with safe_open(f, 'np') as s: [s.get_slice(k).get_shape() for k in s.keys()]",
    "gguf": "import gguf\ngguf.GGUFReader(sys.argv[1])",
    "onnx": "import onnx\nonnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))",
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
    row = "{:<28} {:>8} {:>7} {:>7} {:>9} {:>7} {:>8} {:>8}"
    print(row.format("", "layers", "links", "s", "limit s", "ratio", "MB", "peer s"))
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        for title, kind, limit, path in (
            ("16 GB of safetensors, sharded", "safetensors", 1.0, sharded(home / "sharded")),
            ("GGUF, 128 000 words", "gguf", 1.0, vocabulary(home / "words.gguf")),
            ("ONNX, 40 000 operators", "onnx", 3.0, graph(home / "graph.onnx")),
        ):
            found = []
            for _ in range(options.runs):
                command = [sys.executable, "-c", _OPEN, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True,
                                      env={**os.environ})  # fmt: skip
                found.append(json.loads(done.stdout))
            took, peak, layers, links, _ = sorted(found)[len(found) // 2]
            beside = peer(kind, path)
            told = (f"{took:.2f}", f"{limit:.1f}", f"{took / limit:.2f}", f"{peak / 1e6:.0f}")
            print(row.format(title, layers, links, *told, f"{beside:.2f}"))


if __name__ == "__main__":
    main()
