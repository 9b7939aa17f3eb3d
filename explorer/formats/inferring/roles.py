"""What a layer is to its block, by the last parts of its name.

The names are those that modelling code of the Hugging Face hub, of PyTorch's own modules and of
llama.cpp (``gguf`` package, ``constants.py``) gives; each pattern is tried on the path within the
block, in lower case.
"""

from __future__ import annotations

import re

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("q_norm", r"(q_norm|q_layernorm|attn_q_norm|query_norm)$"),
    ("k_norm", r"(k_norm|k_layernorm|attn_k_norm|key_norm)$"),
    ("qkv", r"(c_attn|qkv_proj|query_key_value|wqkv|attn_qkv|attn/qkv|attention/qkv|in_proj_qkv)$"),
    ("q", r"(^|/)(q_proj|query|q|wq|to_q|attn_q|q_lin|query_proj|cross_attn_q)$"),
    ("k", r"(^|/)(k_proj|key|k|wk|to_k|attn_k|k_lin|key_proj|cross_attn_k)$"),
    ("v", r"(^|/)(v_proj|value|v|wv|to_v|attn_v|v_lin|value_proj|cross_attn_v)$"),
    ("after_attention", r"(attention/output/layernorm|sa_layer_norm|attn_output_norm"
                        r"|post_attention_norm|post_self_attn_layernorm)$"),
    ("o", r"(^|/)(o_proj|wo(?<!dense/wo)|attn_output|to_out/0|out_lin|attn_out|cross_attn_o)$"
          r"|att[^/]*/(out_proj|c_proj|dense|o|proj|wo)$|attention/output/dense$"),
    ("router", r"(mlp|moe|ffn|feed_forward|block_sparse_moe)/(gate|router)(/wg)?$|ffn_gate_inp$"),
    ("gate_up", r"(gate_up_proj|wi_gate_up|gate_and_up_proj)$"),
    ("gate", r"(^|/)(gate_proj|w1|wi_0|ffn_gate|linear_1_gate)$"),
    ("up", r"(^|/)(up_proj|w3|wi_1|ffn_up|fc1|c_fc|wi|lin1|dense_h_to_4h|linear1)$"
           r"|intermediate/dense$|mlp/(0|dense1|linear_1)$"),
    ("down", r"(^|/)(down_proj|w2|ffn_down|fc2|lin2|dense_4h_to_h|linear2)$"
             r"|(mlp|feed_forward)/(c_proj|2|dense2)$|dense\w*/wo$|(^|/)output/dense$"),
    ("after_mlp", r"(^|/)(output/layernorm|output_layer_norm|post_feedforward_layernorm"
                  r"|post_ffw_norm|layer_output_norm)$"),
    ("before_cross", r"(encoder_attn_layer_norm|cross_attn_norm|layer_norm_cross)$"),
    ("norm_0", r"layer/0/layer_norm$"),
    ("norm_1", r"layer/1/layer_norm$"),
    ("norm_2", r"layer/2/layer_norm$"),
    ("before_mlp", r"(ln_2|norm2|ffn_norm|layernorm_after|layer_norm2|pre_feedforward_layernorm"
                   r"|ln2|final_layer_norm|mlp_norm)$"),
    ("post_attention", r"post_attention_layernorm$"),
    ("before_attention", r"(input_layernorm|ln_1|norm1|attn_norm|attention_norm|layernorm_before"
                         r"|layer_norm1|self_attn_layer_norm|ln1|(^|/)norm)$"),
    ("ssm_in", r"(mixer/in_proj|ssm_in)$"),
    ("ssm_conv", r"(mixer/conv1d|ssm_conv1d)$"),
    ("ssm_x", r"(mixer/x_proj|ssm_x)$"),
    ("ssm_dt", r"(mixer/dt_proj|ssm_dt)$"),
    ("ssm_out", r"(mixer/out_proj|ssm_out)$"),
)  # fmt: skip
_COMPILED = tuple((role, re.compile(pattern)) for role, pattern in _PATTERNS)
_CROSS = re.compile(r"cross|encdec|encoder_attn|enc_dec|multihead_attn")
_EXPERT = re.compile(r"(^|/)experts?/(\d+)/")
_SHARED = re.compile(r"shared_expert")


def role_of(path: str) -> str:
    """The role of a layer, by its path within its block; empty where its name tells none.

    Roles of a second attention, which reads another sequence, begin with ``cross_``; those of a
    numbered expert end with ``@`` and its number, those of one that all tokens share with
    ``@shared``.
    """
    low = path.lower()
    role = next((role for role, pattern in _COMPILED if pattern.search(low)), "")
    if role in ("q", "k", "v", "o", "qkv") and _CROSS.search(low):
        return f"cross_{role}"
    expert = _EXPERT.search(low)
    if role and expert:
        return f"{role}@{expert[2]}"
    return f"{role}@shared" if role and role != "router" and _SHARED.search(low) else role
