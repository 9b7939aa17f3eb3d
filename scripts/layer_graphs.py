"""Layer graphs of any size, made as `Network` objects: what benchmarks and pictures are drawn from.

Every graph is made from a number of operations and a seed, so it is the same every time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight

WIDTH = 64
"""Units of every layer: kernels are WIDTH × WIDTH."""

Names = Literal["scoped", "flat", "none"]
_SHAPE = (None, 16, WIDTH)

# One decoder block: (name, kind, what it reads); "" is the block's input, "mask" the shared one.
_BLOCK: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("attention/norm", "LayerNormalization", ("",)),
    ("attention/query", "Dense", ("attention/norm",)),
    ("attention/key", "Dense", ("attention/norm",)),
    ("attention/value", "Dense", ("attention/norm",)),
    ("attention/rotate_query", "Multiply", ("attention/query",)),
    ("attention/rotate_key", "Multiply", ("attention/key",)),
    ("attention/scores", "Dot", ("attention/rotate_query", "attention/rotate_key")),
    ("attention/masked", "Add", ("attention/scores", "mask")),
    ("attention/softmax", "Softmax", ("attention/masked",)),
    ("attention/mix", "Dot", ("attention/softmax", "attention/value")),
    ("attention/output", "Dense", ("attention/mix",)),
    ("attention/dropout", "Dropout", ("attention/output",)),
    ("attention/add", "Add", ("attention/dropout", "")),
    ("mlp/norm", "LayerNormalization", ("attention/add",)),
    ("mlp/gate", "Dense", ("mlp/norm",)),
    ("mlp/activation", "Activation", ("mlp/gate",)),
    ("mlp/up", "Dense", ("mlp/norm",)),
    ("mlp/product", "Multiply", ("mlp/activation", "mlp/up")),
    ("mlp/down", "Dense", ("mlp/product",)),
    ("mlp/dropout", "Dropout", ("mlp/down",)),
    ("mlp/add", "Add", ("mlp/dropout", "attention/add")),
)


class _Maker:
    """Collects layers and links."""

    def __init__(self, weights: Path | None) -> None:
        self.layers: list[Layer] = []
        self.links: list[Link] = []
        self.weights = weights
        self.places = weights.stat().st_size // (4 * WIDTH * WIDTH) if weights else 0
        self.kernels = 0

    def add(self, path: str, kind: str, sources: tuple[str, ...] = ()) -> str:
        """Add a layer fed by these others; returns its path."""
        config = {"name": path.rsplit("/", 1)[-1]}
        kernel = (self._kernel(path),) if kind == "Dense" and self.weights else ()
        shapes = (_SHAPE,) * len(sources)
        self.layers.append(Layer(path, kind, config, shapes, _SHAPE, kernel))
        self.links += [Link(s, path, 0, i, 0, _SHAPE) for i, s in enumerate(sources)]
        return path

    def _kernel(self, path: str) -> Weight:
        # The graph may hold more kernels than the file: then several read the same bytes.
        size = 4 * WIDTH * WIDTH
        where = ByteRange(str(self.weights), (self.kernels % self.places) * size, size)
        self.kernels += 1
        return Weight(f"{path}/kernel", "kernel", (WIDTH, WIDTH), "float32", where)

    def network(self, name: str) -> Network:
        """What was collected."""
        files: tuple[FileStamp, ...] = ()
        if self.weights:
            stat = self.weights.stat()
            files = (FileStamp(str(self.weights), stat.st_size, stat.st_mtime_ns),)
        return Network(name, "generated", tuple(self.layers), (), tuple(self.links), files=files)


def write_weights(path: Path, kernels: int = 256, seed: int = 0) -> Path:
    """Write random kernels that `decoder` and `chain` may point at; returns the path."""
    values = np.random.default_rng(seed).normal(0.0, 0.1, (kernels, WIDTH, WIDTH))
    path.write_bytes(values.astype("<f4").tobytes())
    return path


def decoder(count: int, names: Names = "scoped", weights: Path | None = None) -> Network:
    """A decoder of about `count` operations: blocks of 21 with two residual links and one mask.

    Parameters
    ----------
    count : int
        Operations, rounded to whole blocks.
    names : {"scoped", "flat", "none"}
        ``decoder/block_7/attention/query``, ``block_7_attention_query``, or ``op_193``.
    weights : Path, optional
        A file of `write_weights`; without it the layers have no weights.
    """
    make = _Maker(weights)

    def named(block: int, part: str) -> str:
        if names == "none":
            return f"op_{len(make.layers)}"
        return f"decoder/block_{block}/{part}" if names == "scoped" else (
            f"block_{block}_{part.replace('/', '_')}"
        )  # fmt: skip

    none = names == "none"
    tokens = make.add("op_0" if none else "tokens", "InputLayer")
    mask = make.add("op_1" if none else "mask", "InputLayer")
    stream = make.add("op_2" if none else "embed", "Dense", (tokens,))
    for block in range(max(1, (count - 4) // len(_BLOCK))):
        made = {"": stream, "mask": mask}
        for part, kind, sources in _BLOCK:
            made[part] = make.add(named(block, part), kind, tuple(made[s] for s in sources))
        stream = made["mlp/add"]
    make.add(f"op_{len(make.layers)}" if none else "head", "Dense", (stream,))
    return make.network(f"decoder {count} {names}")


def chain(count: int, skips: int = 0, weights: Path | None = None, seed: int = 0) -> Network:
    """Dense layers in one row with default names, and `skips` random links over any distance.

    Where skips arrive, an Add joins them to the row.
    """
    make = _Maker(weights)
    choose = np.random.default_rng(seed)
    ends = np.sort(choose.integers(0, max(count, 1), (skips, 2)), axis=1)
    arriving: dict[int, list[int]] = {}
    for source, target in ends.tolist():
        if target - source > 1:
            arriving.setdefault(target, []).append(source)
    last = [make.add("input_1", "InputLayer")]
    while len(make.layers) < count:
        at = len(make.layers)
        far = tuple(last[s] for s in dict.fromkeys(arriving.get(at, ())) if s < at - 1)
        kind = "Add" if far else ("Dense" if at % 3 else "Activation")
        name = f"{kind.lower()}_{at}"
        last.append(make.add(name, kind, (last[-1], *far)))
    return make.network(f"chain {count}" + (f" with {skips} skips" if skips else ""))


def parallel(count: int) -> Network:
    """One input, `count` branches side by side, one sum: as wide as a network can be."""
    make = _Maker(None)
    first = make.add("input_1", "InputLayer")
    branches = tuple(make.add(f"branch_{i}", "Dense", (first,)) for i in range(count))
    make.add("sum", "Add", branches)
    return make.network(f"{count} branches")


GRAPHS: dict[str, Callable[[int], Network]] = {
    "decoder, scopes in names": lambda n: decoder(n, "scoped"),
    "decoder, flat names": lambda n: decoder(n, "flat"),
    "decoder, no names": lambda n: decoder(n, "none"),
    "chain": chain,
    "chain with as many skips": lambda n: chain(n, n),
}
