"""Objects of a running program: models are saved to a file so that they open like any other.

Nothing is imported for it: whoever holds such an object has its framework loaded already.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer import formats
from explorer.errors import NeuronautError
from explorer.live.graph import network_of_graph
from explorer.network import Network


def network_of(source: Any, folder: Path, example: Sequence[Any] | None = None) -> Network:
    """The network that a live object is.

    Parameters
    ----------
    source : keras.Model, torch.nn.Module, onnx.ModelProto or networkx.DiGraph
    folder, example
        As for `saved`.

    Returns
    -------
    Network
        As the file reads that a model was saved to; that of a graph is made in memory.

    Raises
    ------
    NeuronautError
        If it is none of these, cannot be saved, or does not hold what a network must.
    """
    networkx = sys.modules.get("networkx")
    if networkx is None or not isinstance(source, networkx.Graph):
        return formats.open_network(str(saved(source, folder, example)))
    if example is not None:
        raise NeuronautError("an example input is used with a torch.nn.Module alone")
    return network_of_graph(source)


def saved(source: Any, folder: Path, example: Sequence[Any] | None = None) -> Path:
    """Save a live model to a file.

    Parameters
    ----------
    source : keras.Model, torch.nn.Module or onnx.ModelProto
    folder : Path
        Where the file is written.
    example : sequence, optional
        Inputs of a ``torch.nn.Module``: its graph is then recorded by ``torch.export``, which
        calls the module with them. Without it links are inferred from names.

    Returns
    -------
    Path

    Raises
    ------
    NeuronautError
        If it is none of these, or its framework cannot save it.
    """
    name = file_name(str(getattr(source, "name", "") or type(source).__name__))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        return _torch(torch, source, folder / name, example)
    if example is not None:
        raise NeuronautError("an example input is used with a torch.nn.Module alone")
    if hasattr(source, "SerializeToString") and hasattr(source, "graph"):
        path = folder / f"{file_name(source.graph.name or 'model')}.onnx"
        path.write_bytes(source.SerializeToString())
        return path
    save = getattr(source, "save", None)
    if save is None:
        raise NeuronautError(
            f"cannot open a {type(source).__name__}: give a path, a Keras model, a torch.nn.Module,"
            " an onnx.ModelProto or a networkx.DiGraph"
        )
    path = folder / f"{name}.keras"
    save(path, include_optimizer=False)
    return path


def _torch(torch: Any, module: Any, path: Path, example: Sequence[Any] | None) -> Path:
    """The module's tensors; with an example its graph too."""
    if example is None:
        told = json.dumps(_told(torch, module))
        path.with_name("config.json").write_text(told, encoding="utf-8")
        torch.save(module.state_dict(), path.with_suffix(".pt"))
        return path.with_suffix(".pt")
    try:
        program = torch.export.export(module, tuple(example))
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise NeuronautError(f"PyTorch cannot export this module: {told}") from error
    torch.export.save(program, path.with_suffix(".pt2"))
    return path.with_suffix(".pt2")


def _told(torch: Any, module: Any) -> dict[str, Any]:
    """What names and shapes do not tell: heads and norms of PyTorch's transformers, groups."""
    heads, first = set(), set()
    convolutions = {}
    for name, inner in module.named_modules():
        if isinstance(inner, torch.nn.MultiheadAttention):
            heads.add(inner.num_heads)
        elif isinstance(inner, torch.nn.TransformerEncoderLayer | torch.nn.TransformerDecoderLayer):
            first.add(bool(inner.norm_first))
        elif isinstance(inner, torch.nn.modules.conv._ConvNd):
            convolutions[name] = [inner.groups, inner.transposed]
    told: dict[str, Any] = {"convolutions": convolutions}
    if len(heads) == 1:
        told["num_heads"] = heads.pop()
    if len(first) == 1:
        told["norm_first"] = first.pop()
    return told


def file_name(name: str) -> str:
    """A name of a model as that of a file."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in str(name))[:80] or "model"
