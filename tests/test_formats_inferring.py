"""Links that are inferred from names: those of the real models, and none that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from explorer.formats import open_network
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.report import edges_json

WIDTH, HEADS, PAIRS, INNER, WORDS = 16, 4, 2, 24, 30


def _linear(state: dict[str, torch.Tensor], name: str, out: int, inside: int) -> None:
    state[f"{name}.weight"] = torch.randn(out, inside)


def _norm(state: dict[str, torch.Tensor], name: str, width: int = WIDTH) -> None:
    state[f"{name}.weight"] = torch.ones(width)


def llama(blocks: int = 2) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = {}
    _linear(state, "model.embed_tokens", WORDS, WIDTH)
    for i in range(blocks):
        at = f"model.layers.{i}"
        for part, out, inside in (("q", WIDTH, WIDTH), ("k", 8, WIDTH), ("v", 8, WIDTH),
                                  ("o", WIDTH, WIDTH)):  # fmt: skip
            _linear(state, f"{at}.self_attn.{part}_proj", out, inside)
        for part, out, inside in (("gate", INNER, WIDTH), ("up", INNER, WIDTH),
                                  ("down", WIDTH, INNER)):  # fmt: skip
            _linear(state, f"{at}.mlp.{part}_proj", out, inside)
        _norm(state, f"{at}.input_layernorm")
        _norm(state, f"{at}.post_attention_layernorm")
    _norm(state, "model.norm")
    _linear(state, "lm_head", WORDS, WIDTH)
    return state, {"architectures": ["LlamaForCausalLM"], "num_attention_heads": HEADS,
                   "num_key_value_heads": PAIRS, "hidden_act": "silu"}  # fmt: skip


def _saved(folder: Path, state: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _ends(network: Network) -> set[tuple[str, str]]:
    return {(a.source, a.target) for a in network.links}


def test_a_block_of_llama_flows_as_its_code_does(tmp_path: Path) -> None:
    network = open_network(_saved(tmp_path, *llama()))
    at = "model/layers/1"
    stream, summed = "model/layers/0/add_mlp", f"{at}/add_attention"
    expected = {
        (stream, f"{at}/input_layernorm"), (stream, summed),
        *((f"{at}/input_layernorm", f"{at}/self_attn/{p}_proj") for p in "qkv"),
        *((f"{at}/self_attn/{p}_proj", f"{at}/self_attn/mix") for p in "qkv"),
        (f"{at}/self_attn/mix", f"{at}/self_attn/o_proj"), (f"{at}/self_attn/o_proj", summed),
        (summed, f"{at}/post_attention_layernorm"), (summed, f"{at}/add_mlp"),
        *((f"{at}/post_attention_layernorm", f"{at}/mlp/{p}_proj") for p in ("gate", "up")),
        (f"{at}/mlp/gate_proj", f"{at}/mlp/act"), (f"{at}/mlp/act", f"{at}/mlp/multiply"),
        (f"{at}/mlp/up_proj", f"{at}/mlp/multiply"),
        (f"{at}/mlp/multiply", f"{at}/mlp/down_proj"), (f"{at}/mlp/down_proj", f"{at}/add_mlp"),
        (f"{at}/add_mlp", "model/norm"),
    }  # fmt: skip
    assert {e for e in _ends(network) if at in e[0] or at in e[1]} == expected
    assert {("model/tokens", "model/embed_tokens"), ("model/norm", "lm_head")} <= _ends(network)
    assert {a.origin for a in network.links} == {"inferred"}
    assert "links are inferred from names" in network.notes


def test_edges_of_an_inferred_model_are_pytorchs_numbers(tmp_path: Path) -> None:
    state, config = llama()
    head = "model.layers.0.self_attn"
    with OpenModel.open(str(_saved(tmp_path, state, config))) as model:

        def matrix(source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
            found = edges_json(model, source, target, 10_000)
            whole = np.zeros(shape)
            for edge in found["edges"]:
                whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
            return whole

        at = "model/layers/0"
        up = state["model.layers.0.mlp.up_proj.weight"].abs().numpy()
        found = matrix(f"{at}/post_attention_layernorm", f"{at}/mlp/up_proj", up.shape)
        np.testing.assert_allclose(found, up, rtol=1e-6)
        # Values of two heads serve four: the columns of the output's matrix are read in pairs. Of
        # one token alone attention is the identity, so its derivative is the matrix itself.
        value = torch.randn(8, requires_grad=True)

        def attend(v: torch.Tensor) -> torch.Tensor:
            each = v.reshape(PAIRS, WIDTH // HEADS).repeat_interleave(HEADS // PAIRS, 0)
            return state[f"{head}.o_proj.weight"] @ each.reshape(-1)

        slope = torch.autograd.functional.jacobian(attend, value).numpy()
        out = state[f"{head}.o_proj.weight"].numpy().reshape(WIDTH, PAIRS, 2, 4)
        np.testing.assert_allclose(out.sum(axis=2).reshape(WIDTH, 8), slope, rtol=1e-5)
        found = matrix(f"{at}/self_attn/v_proj", f"{at}/self_attn/o_proj", (WIDTH, 8))
        rms = np.sqrt((out**2).mean(axis=2)).reshape(WIDTH, 8)
        np.testing.assert_allclose(found, rms, rtol=1e-6)


def test_links_whose_widths_do_not_fit_are_left_out_and_told(tmp_path: Path) -> None:
    state, config = llama()
    state["model.layers.1.mlp.up_proj.weight"] = torch.randn(INNER, WIDTH + 1)
    network = open_network(_saved(tmp_path, state, config))
    assert not any(a.target == "model/layers/1/mlp/up_proj" for a in network.links)
    assert any("widths do not fit" in note for note in network.notes)


def test_names_of_no_known_architecture_give_layers_without_links(tmp_path: Path) -> None:
    state = {"alpha.w": torch.ones(3, 4), "beta.7.gamma.weight": torch.ones(4, 5)}
    network = open_network(_saved(tmp_path, state, {}))
    assert not network.links
    assert not network.links_known
    assert [la.path for la in network.layers] == ["alpha", "beta/7/gamma"]


def test_a_tied_head_is_the_table_read_the_other_way(tmp_path: Path) -> None:
    state, config = llama()
    del state["lm_head.weight"]
    network = open_network(_saved(tmp_path, state, config | {"tie_word_embeddings": True}))
    head = network.layer_by_path["lm_head"]
    table = network.layer_by_path["model/embed_tokens"].weights[0]
    assert (head.weights[0].name, head.weights[0].where) == (table.name, table.where)
    assert head.output_shape == (None, None, WORDS)
    assert network.parameters == sum(t.numel() for t in state.values())


def test_matrices_stored_in_by_out_are_found_by_their_bias(tmp_path: Path) -> None:
    state = {}
    for name, (inside, out) in {"attn.c_attn": (8, 24), "attn.c_proj": (8, 8), "mlp.c_fc": (8, 32),
                                "mlp.c_proj": (32, 8)}.items():  # fmt: skip
        state[f"h.0.{name}.weight"] = torch.randn(inside, out)
        state[f"h.0.{name}.bias"] = torch.zeros(out)
    network = open_network(_saved(tmp_path, state, {}))
    found = {la.path: (la.kind, {w.axes for w in la.weights}) for la in network.layers}
    names = ("attn/c_attn", "attn/c_proj", "mlp/c_fc", "mlp/c_proj")
    assert found == {f"h/0/{name}": ("Conv1D", {"io", ""}) for name in names}


transformers = pytest.importorskip("transformers")


def _small(**more: Any) -> dict[str, Any]:
    return {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 32, **more}  # fmt: skip


_VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
           "intermediate_size": 24, "image_size": 16, "patch_size": 8}  # fmt: skip
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": 64, "n_embd": 16, "n_layer": 2,
                                               "n_head": 4, "n_positions": 32}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _small(num_key_value_heads=2)),
    "mistral": ("MistralConfig", "MistralForCausalLM", _small(num_key_value_heads=2)),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _small(num_key_value_heads=2, head_dim=4)),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", _small(num_key_value_heads=2, head_dim=4)),
    "phi": ("PhiConfig", "PhiForCausalLM", _small()),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", _small(num_key_value_heads=2, pad_token_id=0)),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM",
                _small(num_key_value_heads=2, num_local_experts=2)),
    "mamba": ("MambaConfig", "MambaForCausalLM", {"vocab_size": 64, "hidden_size": 16,
                                                  "num_hidden_layers": 2, "state_size": 4}),
    "bert": ("BertConfig", "BertModel", _small()),
    "vit": ("ViTConfig", "ViTModel", _VISION),
    "t5": ("T5Config", "T5ForConditionalGeneration", {"vocab_size": 64, "d_model": 16, "d_kv": 4,
                                                      "d_ff": 24, "num_layers": 2, "num_heads": 4}),
    "clip": ("CLIPConfig", "CLIPModel", {"text_config": _small(), "vision_config": _VISION,
                                         "projection_dim": 8}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_a_known_architecture_has_its_place(name: str, tmp_path: Path) -> None:
    config, model, sizes = MODELS[name]
    torch.manual_seed(2)
    made = getattr(transformers, model)(getattr(transformers, config)(**sizes))
    made.save_pretrained(tmp_path)
    network = open_network(tmp_path)
    assert network.parameters == sum(
        p.numel() for p in {id(p): p for p in made.parameters()}.values()
    )
    linked = {end for link in network.links for end in (link.source, link.target)}
    alone = [la for la in network.layers if la.path not in linked]
    # What has no place is no layer that a stream runs through.
    assert {la.op for la in alone} <= {"Module", "Embedding"}, alone
    into: dict[str, int] = {}
    for link in network.links:
        into[link.target] = into.get(link.target, 0) + 1
    for layer in network.layers:
        merges = layer.op in ("Add", "Multiply", "Attention") or layer.kind == "attention"
        assert merges or into.get(layer.path, 0) <= 2, layer.path  # T5's table is read twice
    assert not [note for note in network.notes if "do not fit" in note]
