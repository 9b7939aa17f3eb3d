"""Families of layer kinds: what a class name means for colour, size and grouping."""

from __future__ import annotations

import re
from functools import lru_cache

# First match wins; patterns are tried on the kind's words ("SeparableConv2D": "separable conv 2d").
_FAMILIES: tuple[tuple[str, str], ...] = (
    ("input", r"^input|placeholder"),
    ("embedding", r"embedding"),
    ("attention", r"attention"),
    ("recurrent", r"\b(lstm|gru|rnn|bidirectional)\b|simple rnn"),
    ("norm", r"normalization|\bnorm\b|batch norm"),
    ("pool", r"pool"),
    ("conv", r"\bconv|depthwise|pointwise"),
    ("dense", r"\b(dense|einsum|linear|gemm|matmul|mat mul)\b"),
    ("merge", r"^(add|subtract|multiply|average|maximum|minimum|concatenate|dot|concat)\b"),
    (
        "shape",
        r"flatten|reshape|permute|repeat|padding|cropping|upsampling|up sampling|transpose"
        r"|slice|split|squeeze|expand|get item",
    ),
    (
        "activation",
        r"activation|relu|re lu|softmax|sigmoid|tanh|swish|gelu|elu|dropout|noise|masking",
    ),
)


@lru_cache(maxsize=4096)
def family(kind: str) -> str:
    """The family of a layer kind: a key of the colour table, or ``"other"``.

    Parameters
    ----------
    kind : str
        A class name such as ``"SeparableConv2D"``.
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=\dD)", " ", kind)
    words = words.replace("_", " ").lower()
    return next((name for name, pattern in _FAMILIES if re.search(pattern, words)), "other")
