"""Which variables a Keras layer has, in the order of ``get_weights()``, and what each is called.

A ``.keras`` file numbers the variables of a layer, so what number 2 means depends on the layer's
configuration (a ``BatchNormalization`` without scale begins with beta). The table below follows
``Layer.build`` of Keras 3; a layer that is not in it keeps the file's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explorer.formats.keras_model.config import snake_case

Config = Mapping[str, Any]
#: (path below the layer's group in the file, roles of the variables there)
Part = tuple[str, tuple[str, ...]]

#: Last part of a role -> not trained by gradient descent.
NON_TRAINABLE = frozenset(
    {"moving_mean", "moving_variance", "mean", "variance", "count", "vector_u", "kernel_scale",
     "renorm_mean", "renorm_stddev", "moving_stddev"}
)  # fmt: skip
#: What Keras itself calls a variable that has another role here.
OWN_NAMES = {"depthwise_kernel": "kernel", "gamma": "scale"}

_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
_KERNEL_AND_BIAS = tuple(["Dense"] + [f"Conv{n}D{t}" for n in (1, 2, 3) for t in ("", "Transpose")])


def parts(kind: str, config: Config) -> list[Part] | None:
    """Variables of a layer in the order of ``get_weights()``.

    Parameters
    ----------
    kind : str
        Class name.
    config : mapping
        The layer's configuration.

    Returns
    -------
    list of (str, tuple of str) or None
        Groups of the file, relative to the layer's own, and the roles of the variables in each;
        ``None`` for a layer that is not known.
    """
    try:
        return _parts(kind, config)
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _parts(kind: str, config: Config) -> list[Part] | None:
    own = _own_roles(kind, config)
    if own is not None:
        return [("", own)]
    if kind in _RECURRENT:
        return [("cell", _with_bias(config, "kernel", "recurrent_kernel"))]
    if kind == "RNN":
        cell = config["cell"]
        inner_parts = _cell(cell["class_name"], cell["config"])
        return None if inner_parts is None else _under("cell", "", inner_parts)
    if kind in _ATTENTION:
        names = ["query", "key", *(["gate"] if config.get("use_gate") else []), "value"]
        names.append("attention_output")
        return [
            (
                "output_dense" if n == "attention_output" else f"{n}_dense",
                tuple(f"{n}/{role}" for role in _with_bias(config, "kernel")),
            )
            for n in names
        ]
    inner = config.get("layer")
    if not isinstance(inner, Mapping):
        return None
    below = parts(inner["class_name"], inner["config"])
    if below is None:
        return None
    if kind == "Bidirectional":
        return _under("forward_layer", "forward/", below) + _under(
            "backward_layer", "backward/", below
        )
    if kind == "TimeDistributed":
        return _under("layer", "", below)
    if kind == "SpectralNormalization":
        return [("", ("vector_u",)), *_under("layer", "", below)]
    return None


def _under(path: str, prefix: str, below: list[Part]) -> list[Part]:
    """Parts of an inner layer as parts of the outer one."""
    return [
        (f"{path}/{inner}" if inner else path, tuple(prefix + role for role in roles))
        for inner, roles in below
    ]


def _cell(kind: str, config: Config) -> list[Part] | None:
    """Parts of a recurrent cell, stacked ones too."""
    if kind != "StackedRNNCells":
        return parts(kind, config)
    result: list[Part] = []
    used: dict[str, int] = {}
    for index, cell in enumerate(config["cells"]):
        below = _cell(cell["class_name"], cell["config"])
        if below is None:
            return None
        result += _under(f"cells/{numbered(cell['class_name'], used)}", f"cell_{index}/", below)
    return result


def numbered(kind: str, used: dict[str, int]) -> str:
    """The name Keras gives the next object of a class in a list: ``dense``, ``dense_1``, …"""
    key = snake_case(kind)
    used[key] = used.get(key, -1) + 1
    return f"{key}_{used[key]}" if used[key] else key


def _with_bias(config: Config, *roles: str) -> tuple[str, ...]:
    return (*roles, "bias") if config.get("use_bias", True) else roles


def _own_roles(kind: str, config: Config) -> tuple[str, ...] | None:
    """Roles of the variables of a layer that holds them itself."""
    scale, center = config.get("scale", True), config.get("center", True)
    if kind in _KERNEL_AND_BIAS:
        return _with_bias(config, "kernel")
    if kind in ("DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D"):
        return _with_bias(config, "depthwise_kernel")
    if kind in ("SeparableConv1D", "SeparableConv2D"):
        return _with_bias(config, "depthwise_kernel", "pointwise_kernel")
    if kind == "EinsumDense":
        return ("kernel", "bias") if config.get("bias_axes") else ("kernel",)
    if kind == "Embedding":
        return ("embeddings",)
    if kind == "ReversibleEmbedding":
        tied = config.get("tie_weights", True)
        return ("embeddings",) if tied else ("embeddings", "reverse_embeddings")
    gamma, beta = ("gamma",) * bool(scale), ("beta",) * bool(center)
    if kind == "BatchNormalization":
        return (*gamma, *beta, "moving_mean", "moving_variance")
    if kind == "LayerNormalization":
        if config.get("rms_scaling"):
            return ("gamma",)
        return (*gamma, *beta)
    if kind == "GroupNormalization":
        return (*gamma, *beta)
    if kind == "RMSNormalization":
        return ("gamma",)
    if kind == "PReLU":
        return ("alpha",)
    if kind == "Normalization":
        return ("mean", "variance", "count") if config.get("mean") is None else ()
    if kind in ("SimpleRNNCell", "LSTMCell", "GRUCell"):
        return _with_bias(config, "kernel", "recurrent_kernel")
    return None


def role_from_name(kind: str, path: str) -> str:
    """The role of a variable that a legacy file names, for example ``dense/kernel:0``.

    Parameters
    ----------
    kind : str
        Class of the layer.
    path : str
        Full name of the variable.
    """
    steps = [step for step in path.split(":")[0].split("/") if step]
    role = steps[-1] if steps else "0"
    if kind in _ATTENTION and len(steps) > 1:
        return "/".join(steps[-2:])
    if kind == "Bidirectional":
        side = next((s for s in steps if s.startswith(("forward", "backward"))), "")
        return f"{'forward' if side.startswith('forward') else 'backward'}/{role}" if side else role
    if kind.startswith("DepthwiseConv") and role == "kernel":
        return "depthwise_kernel"
    return role
