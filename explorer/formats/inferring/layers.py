"""What kind of layer a module is, by the names and shapes of its tensors.

Kinds are called as PyTorch calls its modules, because that is who writes such files; what they
compute is told in the words that `explorer.weights` knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.formats.inferring.modules import Module
from explorer.formats.naming.text import Names
from explorer.network import Layer, Weight
from explorer.plain_text import clean
from explorer.weights.units import whole

_EMBEDDING = ("embed", "wte", "wpe", "emb", "vocab", "position",
              "relative_attention_bias")  # fmt: skip
_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_CELLS = {4: "LSTM", 3: "GRU", 1: "RNN"}
Path = tuple[str, ...]


def layers_of(
    module: Module, names: Names, turned: frozenset[str], single: frozenset[Path] = frozenset()
) -> list[Layer]:
    """The layers of a module, most often one.

    Parameters
    ----------
    module : Module
    names : Names
        Hands out the paths.
    turned : frozenset of str
        As from `turned_names`.
    single : frozenset of tuple of str
        As from `single_channel`.
    """
    prefix = "".join(f"{clean(part)}/" for part in module.path[:-1])
    made = _made(module, turned, module.path in single)
    return [replace(layer, path=names.unique(prefix, layer.path)) for layer in made]


def as_told(layers: Sequence[Layer], config: Mapping[str, Any]) -> list[Layer]:
    """Layers whose convolutions have the groups that are told, and are transposed where told.

    Parameters
    ----------
    layers : sequence of Layer
    config : mapping
        See `explorer.formats.inferring.network_of_tensors`.
    """
    told = config.get("convolutions")
    if not isinstance(told, Mapping):
        return list(layers)
    by_path = {"/".join(clean(p) for p in str(k).split(".")): v for k, v in told.items()}
    found = []
    for layer in layers:
        kernel, about = layer.weight("kernel"), by_path.get(layer.path)
        if kernel is None or not layer.op.startswith("Conv") or not isinstance(about, list):
            found.append(layer)
            continue
        groups, transposed = [*about, None, None][:2]
        config = {**layer.config, "groups": whole(groups) or 1}
        if transposed is True:
            turned = replace(kernel, axes="io" + kernel.axes[2:])
            weights = tuple(turned if w is kernel else w for w in layer.weights)
            kind = layer.kind.replace("Conv", "ConvTranspose")
            layer = replace(layer, kind=kind, weights=weights, operation=f"{layer.op}Transpose")
        found.append(replace(layer, config=config))
    return found


def single_channel(modules: Sequence[Module]) -> frozenset[Path]:
    """Paths of convolutions that read one channel, as of a grey image: they are not depthwise.

    A depthwise one has kernels of the same shape, but there something else in the file must give
    as many channels as it takes.
    """
    shapes = [(m.path, w.shape) for m in modules if (w := m.tensors.get("weight")) is not None]
    given = Counter(shape[0] for _, shape in shapes if len(shape) > 1 and shape[1] > 1)
    return frozenset(
        path for path, shape in shapes
        if len(shape) > 3 and shape[1] == 1 and not given[shape[0]]
    )  # fmt: skip


def turned_names(modules: Sequence[Module]) -> frozenset[str]:
    """Names of modules that store their matrix (in, out), as the ``Conv1D`` of GPT-2 does.

    A bias as long as the second axis gives it away where the matrix is not square; square ones
    follow those of the same name.
    """
    found = set()
    for module in modules:
        weight, bias = (module.tensors.get(leaf) for leaf in ("weight", "bias"))
        if weight is None or bias is None or len(weight.shape) != 2:
            continue
        if bias.shape == weight.shape[1:] != weight.shape[:1]:
            found.add(module.name)
    return frozenset(found)


def _made(module: Module, turned: frozenset[str], single: bool) -> Iterator[Layer]:
    own, name = module.tensors, module.name or "weights"
    weight = own.get("weight")
    if any(leaf.startswith("weight_ih_l") for leaf in own):
        yield from _recurrent(module)
    elif weight is None:
        packed = any(leaf.startswith("packed_") for leaf in own)
        yield Layer(name, "Packed" if packed else "Module", weights=_roles(own, {}))
    elif len(weight.shape) >= 3:
        yield _conv(module, weight, single)
    elif len(weight.shape) == 2 and _looks_up(name.lower()):
        roles = _roles(own, {"weight": "embeddings"})
        yield Layer(name, "Embedding", {}, (), None, roles)
    elif len(weight.shape) == 2:
        yield _linear(module, weight, module.name in turned)
    else:
        yield _norm(module)


def _looks_up(name: str) -> bool:
    return name == "shared" or any(word in name for word in _EMBEDDING)


def _roles(
    own: Mapping[str, Weight], roles: Mapping[str, str], axes: str = ""
) -> tuple[Weight, ...]:
    """Tensors under the names by which their layer knows them; `axes` are those of the kernel."""
    return tuple(
        replace(w, role=roles.get(leaf, clean(leaf)), axes=axes if leaf == "weight" else "")
        for leaf, w in own.items()
    )


def _linear(module: Module, weight: Weight, turned: bool) -> Layer:
    """A matrix, (out, in) or the other way round."""
    out = weight.shape[1 if turned else 0]
    kind, axes = ("Conv1D", "io") if turned else ("Linear", "oi")
    weights = _roles(module.tensors, {"weight": "kernel"}, axes)
    config: dict[str, Any] = {"units": out}
    if "gate_up_proj_blocks" in weight.name:  # of gpt-oss: rows of gate and up take turns
        config["interleaved"] = True
    return Layer(module.name, kind, config, (), None, weights, "Dense")


def _conv(module: Module, weight: Weight, single: bool) -> Layer:
    """A convolution. How many groups it has is not told: one, or as many as in channels."""
    rank = len(weight.shape) - 2
    config: dict[str, Any] = {"data_format": "channels_first"}
    groups = _groups_of_transposed(module, weight)
    if groups:
        weights = _roles(module.tensors, {"weight": "kernel"}, "io" + "k" * rank)
        return Layer(module.name, f"ConvTranspose{rank}d", config | {"groups": groups}, (), None,
                     weights, f"Conv{rank}DTranspose")  # fmt: skip
    if weight.shape[1] == 1 and weight.shape[0] > 1 and not single:
        config["groups"] = weight.shape[0]
    weights = _roles(module.tensors, {"weight": "kernel"}, "oi" + "k" * rank)
    return Layer(module.name, f"Conv{rank}d", config, (), None, weights, f"Conv{rank}D")


def _groups_of_transposed(module: Module, weight: Weight) -> int:
    """Groups of a transposed convolution, told by as many biases as it gives; 0 for others."""
    bias = module.tensors.get("bias")
    if bias is None or len(bias.shape) != 1 or not weight.size or bias.shape == weight.shape[:1]:
        return 0
    groups, odd = divmod(bias.shape[0], weight.shape[1])
    return groups if groups and not odd and not weight.shape[0] % groups else 0


def _norm(module: Module) -> Layer:
    own = module.tensors
    weights = _roles(own, _NORM)
    if "running_mean" in own:
        return Layer(module.name, "BatchNorm", {}, (), None, weights, "BatchNormalization")
    if "bias" in own:
        return Layer(module.name, "LayerNorm", {}, (), None, weights, "LayerNormalization")
    return Layer(module.name, "RMSNorm", {}, (), None, weights, "RMSNormalization")


def _recurrent(module: Module) -> Iterator[Layer]:
    """One layer per level and direction of a PyTorch LSTM, GRU or RNN."""
    own = dict(module.tensors)
    ends = [leaf.removeprefix("weight_ih_l") for leaf in own if leaf.startswith("weight_ih_l")]
    for end in ends:
        first, again = own.get(f"weight_ih_l{end}"), own.get(f"weight_hh_l{end}")
        if first is None or again is None or len(again.shape) != 2 or not again.shape[1]:
            continue
        kind = _CELLS.get(first.shape[0] // again.shape[1], "")
        if not kind:
            continue
        roles = {"weight_ih_l": "kernel", "weight_hh_l": "recurrent_kernel", "bias_ih_l": "bias",
                 "bias_hh_l": "recurrent_bias"}  # fmt: skip
        weights = tuple(
            replace(own.pop(leaf + end), role=role, axes="oi" if "kernel" in role else "")
            for leaf, role in roles.items()
            if leaf + end in own
        )
        config: dict[str, Any] = {"units": again.shape[1], "reverse": end.endswith("_reverse")}
        if kind == "GRU":  # PyTorch's order is r, z, n
            config["gates"] = ["reset gate", "update gate", "candidate"]
        operation = "SimpleRNN" if kind == "RNN" else kind
        yield Layer(f"{module.name}_l{end}", kind, config, (), None, weights, operation)
    if own:
        yield Layer(module.name, "Module", weights=_roles(own, {}))
