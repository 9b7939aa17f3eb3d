"""Made-up weights with the traits of trained ones, for checkpoints of any size.

A scale per layer, heavy tails, a few outlier channels along the residual stream, the same in every
block, dead units in the feed-forward parts, and weights that are not finite where they are asked
for. Everything follows from a seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

POOL = 1 << 23
"""Random numbers that all weights are drawn from, in windows that begin anywhere."""
CHUNK = 1 << 21
"""Weights made at a time."""

Sizes = dict[str, int]
F4 = NDArray[np.float32]


@dataclass(frozen=True)
class Decoder:
    """Lengths of a decoder in the manner of the Llama family; the defaults make 16 GB.

    Attributes
    ----------
    blocks, heads, kv_heads : int
        Blocks; query heads, and the key and value heads that they share.
    vocabulary, dim, mlp : int
        Tokens, width of the residual stream, width of the feed-forward parts.
    """

    blocks: int = 32
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 128_256
    dim: int = 4096
    mlp: int = 14_336

    @property
    def head_dim(self) -> int:
        """Components per head."""
        return self.dim // self.heads

    @property
    def parameters(self) -> int:
        """Number of weights."""
        attention = 2 * self.dim * (self.heads + self.kv_heads) * self.head_dim
        block = attention + 3 * self.dim * self.mlp + 2 * self.dim
        return self.blocks * block + 2 * self.vocabulary * self.dim + self.dim

    @property
    def lengths(self) -> Sizes:
        """What the twin's lengths are replaced by."""
        return {
            "vocabulary": self.vocabulary,
            "dim": self.dim,
            "head_dim": self.head_dim,
            "mlp": self.mlp,
        }


def decoder_of(gigabytes: float) -> Decoder:
    """The decoder of 32 blocks whose bfloat16 weights come nearest to a size in 10⁹ bytes."""
    heads = range(2, 257, 2)
    made = (Decoder(32, h, h // (2 if h % 4 else 4), dim=128 * h, mlp=448 * h) for h in heads)
    return min(made, key=lambda d: abs(2 * d.parameters - gigabytes * 1e9))


@dataclass(frozen=True)
class Tensor:
    """A dataset of the weights file: its path, its layer's name, its shape, where it begins."""

    path: str
    layer: str
    shape: tuple[int, ...]
    offset: int

    @property
    def rows(self) -> int:
        """In units of the matrix that the tensor is: all axes but the last, or the first alone."""
        joined = "output_dense" in self.path
        return prod(self.shape[:-1]) if joined else self.shape[0]

    @property
    def columns(self) -> int:
        """Out units."""
        return prod(self.shape) // self.rows


@dataclass(frozen=True)
class Checkpoint:
    """What is to be written.

    Attributes
    ----------
    sizes : Decoder or None
        ``None`` for one matrix.
    units : int
        Rows and columns of the matrix.
    dtype : {"bfloat16", "float32"}
    seed : int
    non_finite : int
        How many weights are NaN or infinite.
    """

    sizes: Decoder | None = None
    units: int = 0
    dtype: str = "bfloat16"
    seed: int = 0
    non_finite: int = 0

    @property
    def lengths(self) -> Sizes:
        """What the twin's lengths are replaced by."""
        return {"units": self.units} if self.sizes is None else self.sizes.lengths


class Statistics:
    """Made-up weights of one checkpoint.

    Parameters
    ----------
    what : Checkpoint
    tensors : list of Tensor
        All that are to be made.
    """

    def __init__(self, what: Checkpoint, tensors: list[Tensor]) -> None:
        self.seed, self.dtype = what.seed, what.dtype
        self.sizes = what.sizes or Decoder()
        self.bad = spread(tensors, what.non_finite, what.seed)
        rng, dim = self._rng("pool"), self.sizes.dim
        # Student's t with 5 degrees of freedom is near what trained kernels look like.
        self.pool = rng.standard_t(5, POOL).astype(np.float32) * np.float32(np.sqrt(0.6))
        self.outliers = self._rng("residual").choice(dim, min(4, dim), replace=False)

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def gains(self, tensor: Tensor) -> tuple[F4, F4]:
        """Scale of each row and of each column of a tensor."""
        rng = self._rng(tensor.path)
        rows, columns = (np.exp(rng.normal(0.0, 0.2, n)) for n in (tensor.rows, tensor.columns))
        # An embedding reads one row, every other layer a sum over rows.
        summed = tensor.columns if tensor.layer.endswith("embedding") else tensor.rows
        scale = np.exp(rng.normal(0.0, 0.2)) / np.sqrt(summed)
        if tensor.path.endswith("output_dense/vars/0") or tensor.layer.endswith("_down"):
            scale /= np.sqrt(2 * self.sizes.blocks)
        if tensor.columns == self.sizes.dim:
            columns[self.outliers] *= 6.0
        if tensor.rows == self.sizes.dim:
            rows[self.outliers] *= 3.0
        block = tensor.layer.split("_mlp_")[0]
        dead = self._rng(f"dead {block}").random(self.sizes.mlp) < 0.001
        if tensor.layer.endswith(("_mlp_gate", "_mlp_up")):
            columns[dead] = 0.0
        elif tensor.layer.endswith("_mlp_down"):
            rows[dead] = 0.0
        return (rows * scale).astype(np.float32), columns.astype(np.float32)

    def chunks(self, tensor: Tensor) -> Iterator[bytes]:
        """The bytes of a tensor, some rows at a time."""
        rng = self._rng(f"windows {tensor.path}")
        bad = np.array(self.bad.get(tensor.path, ()), np.int64)
        if len(tensor.shape) == 1:  # the scale of a norm
            near_one = 1.0 + 0.1 * rng.standard_normal(tensor.shape[0])
            yield self._stored(near_one.astype(np.float32), bad)
            return
        rows, columns = self.gains(tensor)
        width = len(columns)
        step = max(1, CHUNK // width)
        buffer: F4 = np.empty((step, width), np.float32)
        for first in range(0, len(rows), step):
            gain = rows[first : first + step, None]
            values: F4 = buffer[: len(gain)]
            start = int(rng.integers(len(self.pool) - values.size))
            window = self.pool[start : start + values.size].reshape(values.shape)
            np.multiply(window, columns, out=values)
            values *= gain
            yield self._stored(values.reshape(-1), bad - first * width)

    def _stored(self, values: F4, bad: NDArray[np.int64]) -> bytes:
        """Some weights as they stand in the file; `values` is worked on in place."""
        inside = bad[(bad >= 0) & (bad < len(values))]
        if self.dtype == "bfloat16":
            bits = values.view(np.uint32)
            bits += np.uint32(0x8000)  # rounds to nearest
        values[inside] = np.where(inside % 2, np.nan, np.inf)
        return (values if self.dtype == "float32" else values.view("<u2")[1::2]).tobytes()


def spread(tensors: list[Tensor], count: int, seed: int) -> dict[str, list[int]]:
    """Places for `count` weights that are not finite: tensor path → positions."""
    rng = np.random.default_rng([seed, 1])
    kernels = [t for t in tensors if len(t.shape) > 1]
    places: dict[str, list[int]] = {}
    for at in rng.integers(len(kernels), size=count).tolist():
        tensor = kernels[at]
        places.setdefault(tensor.path, []).append(int(rng.integers(prod(tensor.shape))))
    return places
