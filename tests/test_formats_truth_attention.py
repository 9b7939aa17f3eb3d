"""Attention of checkpoints: heads of the inferred network compute what transformers' modules do.

Matrices of queries, keys, values and outputs are those that `edges` lists; the attention computed
from them, head by head, must be what the real module answers (without its biases, and with
rotations of position that turn nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from truth import Array, attend, held, told

from explorer.open_model import OpenModel

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH, HEADS, PAIRS, TIME = 32, 4, 2, 5
SIZES = {"vocab_size": 64, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 1,
         "num_attention_heads": HEADS, "max_position_embeddings": 32}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": PAIRS}


@dataclass(frozen=True)
class Case:
    """A model of transformers, and where its first attention lies.

    Attributes
    ----------
    model : str
        Its class; that of its configuration ends in ``Config``.
    sizes : dict
    module : str
        The attention in the model.
    place : str
        Where query, key and value lie in the network; with their names, or the fused one.
    names : tuple of str
        Of query, key and value, or of the one that holds all three.
    output : str
    kind : str
        How the module is called.
    """

    model: str
    config: str
    sizes: dict[str, Any]
    module: str
    place: str
    names: tuple[str, ...]
    output: str
    kind: str = "rotary"


SPLIT = ("q_proj", "k_proj", "v_proj")
CASES = {
    "llama": Case("LlamaForCausalLM", "LlamaConfig", GROUPED, "model.layers.0.self_attn",
                  "model/layers/0/self_attn", SPLIT, "o_proj"),
    "phi3": Case("Phi3ForCausalLM", "Phi3Config", {**GROUPED, "pad_token_id": 0},
                 "model.layers.0.self_attn", "model/layers/0/self_attn", ("qkv_proj",), "o_proj"),
    "gpt2": Case("GPT2LMHeadModel", "GPT2Config",
                 {"vocab_size": 64, "n_embd": WIDTH, "n_layer": 1, "n_head": HEADS,
                  "n_positions": 32}, "transformer.h.0.attn", "transformer/h/0/attn", ("c_attn",),
                 "c_proj", "plain"),
    "bert": Case("BertModel", "BertConfig", SIZES, "encoder.layer.0.attention",
                 "encoder/layer/0/attention", ("self/query", "self/key", "self/value"),
                 "output/dense", "bert"),
    "t5": Case("T5EncoderModel", "T5Config",
               {"vocab_size": 64, "d_model": WIDTH, "d_kv": 8, "d_ff": 48, "num_layers": 1,
                "num_heads": HEADS}, "encoder.block.0.layer.0.SelfAttention",
               "encoder/block/0/layer/0/SelfAttention", ("q", "k", "v"), "o", "unscaled"),
}  # fmt: skip


def _made(case: Case) -> Any:
    torch.manual_seed(4)
    config = getattr(transformers, case.config)(**case.sizes)
    config._attn_implementation = "eager"
    model = getattr(transformers, case.model)(config).eval()
    for name, parameter in model.named_parameters():
        if name.startswith(case.module):
            scale = 0.0 if name.endswith("bias") else 0.3
            torch.nn.init.normal_(parameter, 0.0, scale)
        if "relative_attention_bias" in name:
            torch.nn.init.zeros_(parameter)
    return model


def _answer(case: Case, model: Any, inputs: Array) -> Array:
    """What the real module makes of a sequence (time, width)."""
    module, x = model.get_submodule(case.module), torch.tensor(inputs).float()[None]
    with torch.no_grad():
        if case.kind == "rotary":
            still = torch.ones(1, TIME, WIDTH // HEADS), torch.zeros(1, TIME, WIDTH // HEADS)
            found = module(x, position_embeddings=still, attention_mask=None)[0]
        elif case.kind == "bert":
            found = module.output.dense(module.self(x)[0])
        elif case.kind == "unscaled":
            found = module(x, position_bias=torch.zeros(1, HEADS, TIME, TIME))[0]
        else:
            found = module(x)[0]
    return found[0].numpy().astype(np.float64)


def _parts(case: Case, model: OpenModel, widths: tuple[int, int, int]) -> dict[str, Array]:
    """Matrices of query, key, value and output as `edges` lists them."""
    keys, parts, first = ("query", "key", "value"), {}, 0
    for i, (key, width) in enumerate(zip(keys, widths, strict=True)):
        whole = len(case.names) == 3
        path = f"{case.place}/{case.names[i if whole else 0]}"
        source = next(k.source for k in model.graph.links if k.target == path)
        asked = path if whole else f"{path}[{first}:{first + width}]"
        found = told(model, source, asked, (width, WIDTH))
        assert (found.weights == 1).all()
        parts[key] = found.mean
        first += width
    parts["output"] = held(model, f"{case.place}/{case.output}").mean
    return parts


def _check(case: Case, model: OpenModel, answer: Array, inputs: Array) -> None:
    shared = PAIRS if "num_key_value_heads" in case.sizes else HEADS
    part = WIDTH // HEADS
    parts = _parts(case, model, (WIDTH, shared * part, shared * part))
    scaled = dict(parts)
    if case.kind == "unscaled":
        scaled["query"] = parts["query"] * np.sqrt(part)
    np.testing.assert_allclose(attend(inputs, scaled, HEADS), answer, atol=2e-5)
    # Heads that share values are read together.
    value = f"{case.place}/{case.names[-1]}"
    if len(case.names) == 1:
        value += f"[{WIDTH + shared * part}:{WIDTH + 2 * shared * part}]"
    found = told(model, value, f"{case.place}/{case.output}", (WIDTH, shared * part))
    heads = parts["output"].reshape(WIDTH, shared, HEADS // shared, part)
    np.testing.assert_allclose(found.mean, heads.mean(2).reshape(WIDTH, -1), rtol=1e-5)
    assert (found.weights == HEADS // shared).all()


@pytest.mark.parametrize("name", CASES)
def test_heads_of_a_checkpoint_compute_what_its_module_computes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made = _made(case)
    made.save_pretrained(tmp_path)
    inputs = np.random.default_rng(8).normal(size=(TIME, WIDTH))
    with OpenModel.open(str(tmp_path)) as model:
        _check(case, model, _answer(case, made, inputs), inputs)


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0"])
def test_heads_of_a_gguf_compute_what_its_module_computes(kind: str, tmp_path: Path) -> None:
    """Qwen 2, whose queries llama.cpp leaves in their order; quantised as its package decodes."""
    place = "model.layers.0.self_attn"
    case = Case("Qwen2ForCausalLM", "Qwen2Config", GROUPED, place, "blk/0",
                ("attn_q", "attn_k", "attn_v"), "attn_output")  # fmt: skip
    made = _made(case)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 1)
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "qwen2")
    writer.add_block_count(1)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(PAIRS)
    for name, parameter in made.named_parameters():
        array, code = parameter.detach().numpy(), gguf.GGMLQuantizationType[kind]
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if kind != "F32" and name.startswith(place) and array.ndim == 2:
            packed = gguf.quantize(array, code)
            parameter.data = torch.tensor(gguf.dequantize(packed, code))
            writer.add_tensor(stored, packed, raw_dtype=code)
        else:
            writer.add_tensor(stored, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    inputs = np.random.default_rng(8).normal(size=(TIME, WIDTH))
    with OpenModel.open(str(tmp_path / "m.gguf")) as model:
        _check(case, model, _answer(case, made, inputs), inputs)
