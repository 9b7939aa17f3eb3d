"""A network in the making: the layers that the file holds, and what must stand between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import Names
from explorer.network import Layer, Link
from explorer.weights.kernels import kernel_of
from explorer.weights.units import whole

_DEFAULT = {"Dense": "io", "Embedding": "io"}


class Wiring:
    """Layers by path, and links that are inferred and have passed a check of their widths.

    Parameters
    ----------
    layers : sequence of Layer
        Of the file.
    names : Names
        Hands out the paths of layers that are added.
    """

    def __init__(self, layers: Sequence[Layer], names: Names) -> None:
        self.layers = {layer.path: layer for layer in layers}
        self.links: list[Link] = []
        self.refused = 0
        self._names = names
        self._width: dict[str, int] = {}
        self._fed: dict[str, int] = {}
        self._kernels: dict[str, tuple[Layer, tuple[int, int]]] = {}

    def width(self, path: str) -> int:
        """Channels that flow out of a layer; 0 where nothing tells."""
        if path in self._width:
            return self._width[path]
        return self._kernel(path)[0] or _vector_length(self.layers[path])

    def wanted(self, path: str) -> int:
        """Channels that a layer reads; 0 where nothing tells."""
        return self._kernel(path)[1] or _vector_length(self.layers[path])

    def _kernel(self, path: str) -> tuple[int, int]:
        """Out and in channels of a layer's kernel, found once."""
        layer, known = self.layers[path], self._kernels.get(path)
        if known is None or known[0] is not layer:
            known = self._kernels[path] = (layer, _kernel_width(layer))
        return known[1]

    def add(self, path: str, kind: str, operation: str, config: Mapping[str, Any],
            sources: Sequence[str], width: int = 0) -> str:  # fmt: skip
        """Put in a layer without weights, fed by others in order.

        Returns
        -------
        str
            Its path.
        """
        prefix, _, name = path.rpartition("/")
        made = self._names.unique(f"{prefix}/" if prefix else "", name)
        told = {**config, "origin": "inferred"}
        self.layers[made] = Layer(made, kind, told, operation=operation)
        width = width or (self.width(sources[0]) if sources else 0)
        if width:
            self._width[made] = width
        for source in sources:
            self.feed(source, made)
        return made

    def feed(self, source: str, target: str, output: int = 0, width: int = 0) -> bool:
        """Link two layers if what one gives is as wide as what the other takes.

        Parameters
        ----------
        source, target : str
        output : int
            Which output of the source.
        width : int
            Of that output; the source's own where left out.
        """
        given, wanted = width or self.width(source), self.wanted(target)
        if self.layers[target].op == "Embedding":
            wanted = 0  # reads numbers of tokens
        if given and wanted and given != wanted:
            if not self._by_head(target) or given % wanted:
                self.refused += 1
                return False
            self._width[target] = given
        at = self._fed.get(target, 0)
        self._fed[target] = at + 1
        shape = (None, None, given or None)
        self.links.append(Link(source, target, output, at, 0, shape, "inferred"))
        return True

    def _by_head(self, path: str) -> bool:
        """Whether a layer works on each head alone: a norm of queries or keys."""
        return self.layers[path].name.lower().startswith(("q_", "k_", "query_", "key_", "attn_q_",
                                                          "attn_k_"))  # fmt: skip

    def chain(self, source: str, *targets: str) -> str:
        """Feed layers one after the other; the last that could be fed."""
        for target in targets:
            if self.feed(source, target):
                source = target
        return source

    def flatten(self, source: str, target: str, width: int) -> str:
        """Put in what lays the planes of `source` in a row, channel after channel, for `target`.

        Parameters
        ----------
        source, target : str
        width : int
            What `target` reads, a multiple of what `source` gives.
        """
        given = self.width(source)
        head, _, name = target.rpartition("/")
        path = self.add(f"{head}/{name}_flatten" if head else f"{name}_flatten", "flatten",
                        "Flatten", {}, [], width)  # fmt: skip
        shape = (None, given, width // given)
        self.layers[path] = replace(self.layers[path], input_shapes=(shape,),
                                    output_shape=(None, width))  # fmt: skip
        self.links.append(Link(source, path, 0, 0, 0, shape, "inferred"))
        return path

    def merge(self, path: str, *sources: str) -> str:
        """The sum of several streams of one width; the first alone where the others differ."""
        width = self.width(sources[0])
        fitting = [s for s in sources if self.width(s) in (0, width) or not width]
        self.refused += len(sources) - len(fitting)
        if len(fitting) < 2:
            return sources[0]
        return self.add(path, "Add", "Add", {}, fitting, width)

    def ordered(self) -> tuple[Layer, ...]:
        """All layers in the order of flow, else of the file, with the shapes of their outputs.

        Links take the shapes of what they lead from.
        """
        paths = list(self.layers)
        at = {path: i for i, path in enumerate(paths)}
        order = topological(len(paths), {(at[a.source], at[a.target]) for a in self.links})
        into: dict[str, str] = {}
        for link in self.links:
            into.setdefault(link.target, link.source)
        linked = {a.source for a in self.links} | set(into)
        axes: dict[str, int] = {}  # behind the channels, of what planes flow through; of rows 0
        for path in (paths[i] for i in order):
            layer, before = self.layers[path], axes.get(into.get(path, ""))
            if layer.op.startswith("Conv") and layer.op[4:5].isdigit():
                axes[path] = int(layer.op[4])
            elif layer.op == "Flatten" or (layer.op == "Dense" and before is not None):
                axes[path] = 0
            elif layer.op in ("BatchNormalization", "Add") and before is not None:
                axes[path] = before
        self.links = [
            replace(a, shape=(None, a.shape[-1], *[None] * axes[a.source]))
            if a.source in axes and a.shape is not None and self.layers[a.target].op != "Flatten"
            else a
            for a in self.links
        ]
        return tuple(self._shaped(paths[i], paths[i] in linked, axes) for i in order)

    def _shaped(self, path: str, linked: bool, axes: Mapping[str, int]) -> Layer:
        layer, width = self.layers[path], self.width(path)
        if not linked or not width or layer.output_shape is not None:
            return layer
        if path in axes:
            return replace(layer, output_shape=(None, width, *[None] * axes[path]))
        return replace(layer, output_shape=(None, None, width))


def _kernel_width(layer: Layer) -> tuple[int, int]:
    """Out and in channels of a layer's kernel; zeros where it has none."""
    weight = layer.weight("embeddings" if layer.op == "Embedding" else "kernel")
    if weight is None or len(weight.shape) < 2:
        return 0, 0
    kernel = kernel_of(weight, _DEFAULT.get(layer.op, "kio"))
    if kernel is None:
        return 0, 0
    if layer.op in ("LSTM", "GRU", "SimpleRNN"):
        return whole(layer.config.get("units")), kernel.inside
    groups = whole(layer.config.get("groups")) or 1
    if "Transpose" in layer.op:
        return kernel.out * groups, kernel.inside
    return kernel.out, kernel.inside * groups


def _vector_length(layer: Layer) -> int:
    """Channels of a layer whose weights are all vectors: a norm."""
    sizes = {w.shape[0] for w in layer.weights if len(w.shape) == 1}
    vectors = layer.op in ("LayerNormalization", "RMSNormalization", "BatchNormalization")
    return sizes.pop() if vectors and len(sizes) == 1 else 0
