"""Files of packed weights for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from explorer.network import ByteRange, FileStamp, Layer, Network, Packing, Weight


class File:
    """A file that weights are added to, each at an odd place."""

    def __init__(self, path: Path) -> None:
        self.path, self.data = path, bytearray(b"xyz")

    def add(self, name: str, array: np.ndarray, dtype: str = "", shape: tuple[int, ...] = (),
            packing: Packing | None = None) -> Weight:  # fmt: skip
        where = ByteRange(str(self.path), len(self.data), array.nbytes)
        self.data += array.tobytes() + b"!"
        self.path.write_bytes(bytes(self.data))
        return Weight(name, "kernel", shape or array.shape, dtype or str(array.dtype), where,
                      packing)  # fmt: skip

    def network(self, *weights: Weight) -> Network:
        status = self.path.stat()
        stamp = FileStamp(str(self.path), status.st_size, status.st_mtime_ns)
        return Network("n", "test", (Layer("a", "Dense", weights=weights),), files=(stamp,))


def pack(codes: np.ndarray, bits: int, word: str) -> np.ndarray:
    """Codes of shape (outer, position, inner) as words, written down bit by bit."""
    dtype = np.dtype(word)
    n = dtype.itemsize * 8 // bits
    outer, length, inner = codes.shape
    words = np.zeros((outer, -(-length // n), inner), np.uint64)
    for position in range(length):
        code = (codes[:, position].astype(np.int64) & ((1 << bits) - 1)).astype(np.uint64)
        words[:, position // n] |= code << np.uint64(bits * (position % n))
    return words.astype(f"u{dtype.itemsize}").view(dtype)
