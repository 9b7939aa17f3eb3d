"""Block-quantised tensors of GGML: some codes with their own scales in every few bytes.

What a block means is left to the ``gguf`` package, which is imported when the first block is
decoded. Sizes are written out here so that nothing else needs it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

U1 = NDArray[np.uint8]
F4 = NDArray[np.float32]
_TOGETHER = 1 << 17  # elements decoded at once: intermediate results are several times as large


class Block(NamedTuple):
    """Numbers in a block, and its bytes in the file."""

    elements: int
    nbytes: int


BLOCKS = {
    "Q4_0": Block(32, 18), "Q4_1": Block(32, 20), "Q5_0": Block(32, 22), "Q5_1": Block(32, 24),
    "Q8_0": Block(32, 34), "Q2_K": Block(256, 84), "Q3_K": Block(256, 110),
    "Q4_K": Block(256, 144), "Q5_K": Block(256, 176), "Q6_K": Block(256, 210),
    "TQ1_0": Block(256, 54), "TQ2_0": Block(256, 66), "MXFP4": Block(32, 17),
    "NVFP4": Block(64, 36), "IQ2_XXS": Block(256, 66), "IQ2_XS": Block(256, 74),
    "IQ2_S": Block(256, 82), "IQ3_XXS": Block(256, 98), "IQ3_S": Block(256, 110),
    "IQ1_S": Block(256, 50), "IQ1_M": Block(256, 56), "IQ4_NL": Block(32, 18),
    "IQ4_XS": Block(256, 136),
}  # fmt: skip
"""The types that can be decoded, by their names in GGML."""


def decode(name: str, blocks: U1) -> F4:
    """Numbers of whole blocks.

    Parameters
    ----------
    name : str
        One of `BLOCKS`.
    blocks : uint8 array, shape (n, bytes per block)

    Returns
    -------
    float32 array, shape (n, elements per block)
    """
    kind = BLOCKS[name]
    dequantize, types = _gguf()
    out = np.empty((len(blocks), kind.elements), np.float32)
    step = max(_TOGETHER // kind.elements, 1)
    with np.errstate(all="ignore"):  # a scale may be anything, infinite too
        for start in range(0, len(blocks), step):
            # One long row: the package works through few rows at a time.
            row = np.ascontiguousarray(blocks[start : start + step]).reshape(1, -1)
            out[start : start + step] = dequantize(row, types[name]).reshape(-1, kind.elements)
    return out


@cache
def _gguf() -> tuple[Any, Any]:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    return dequantize, GGMLQuantizationType


class _Plain(NamedTuple):
    """What makes a block decode to its codes: all scales one, all offsets zero.

    `cleared` bytes are those of scales and offsets; `written` holds (first byte, bytes) to put
    there. `codes` are those that decoding then gives, in ascending order.
    """

    cleared: tuple[tuple[int, int], ...]
    written: tuple[tuple[int, bytes], ...]
    codes: tuple[int, ...]


_ONE = np.float16(1).tobytes()
# Six-bit scales of Q4_K and Q5_K: eight ones, then eight zeros as offsets.
_K_SCALES = bytes([1] * 4 + [0] * 4 + [1] * 4)
# Six-bit scales of Q3_K, each one more than 32: low nibbles 1, upper pairs 2.
_Q3_SCALES = bytes([0x11] * 8 + [0b10101010] * 4)
_FP4 = (-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)
_NL4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _plain(*cleared: tuple[int, int], write: dict[int, bytes], codes: Any) -> _Plain:
    return _Plain(cleared, tuple(write.items()), tuple(codes))


_PLAIN = {
    "Q4_0": _plain((0, 2), write={0: _ONE}, codes=range(-8, 8)),
    "Q4_1": _plain((0, 4), write={0: _ONE}, codes=range(16)),
    "Q5_0": _plain((0, 2), write={0: _ONE}, codes=range(-16, 16)),
    "Q5_1": _plain((0, 4), write={0: _ONE}, codes=range(32)),
    "Q8_0": _plain((0, 2), write={0: _ONE}, codes=range(-128, 128)),
    "Q2_K": _plain((0, 16), (80, 84), write={0: b"\1" * 16, 80: _ONE}, codes=range(4)),
    "Q3_K": _plain((96, 110), write={96: _Q3_SCALES, 108: _ONE}, codes=range(-4, 4)),
    "Q4_K": _plain((0, 16), write={0: _ONE, 4: _K_SCALES}, codes=range(16)),
    "Q5_K": _plain((0, 16), write={0: _ONE, 4: _K_SCALES}, codes=range(32)),
    "Q6_K": _plain((192, 210), write={192: b"\1" * 16, 208: _ONE}, codes=range(-32, 32)),
    "TQ1_0": _plain((52, 54), write={52: _ONE}, codes=(-1, 0, 1)),
    "TQ2_0": _plain((64, 66), write={64: _ONE}, codes=(-1, 0, 1, 2)),
    "MXFP4": _plain((0, 1), write={0: bytes([128])}, codes=_FP4),
    "NVFP4": _plain((0, 4), write={0: b"\x40" * 4}, codes=_FP4),
    "IQ4_NL": _plain((0, 2), write={0: _ONE}, codes=_NL4),
    "IQ4_XS": _plain((0, 8), write={0: _ONE, 2: b"\xaa\xaa", 4: b"\x11" * 4}, codes=_NL4),
}
"""Types whose numbers have a code each; the others share codes between several numbers."""


def codes_of(name: str) -> tuple[int, ...]:
    """The codes that a number can have, ascending; none for a type without such codes."""
    return _PLAIN[name].codes if name in _PLAIN else ()


def read_codes(name: str, blocks: U1) -> NDArray[np.int16]:
    """Codes of whole blocks: what they decode to when every scale is one and every offset zero.

    Parameters
    ----------
    name : str
        A type for which `codes_of` gives any.
    blocks : uint8 array, shape (n, bytes per block)

    Returns
    -------
    int16 array, shape (n, elements per block)
        For 4-bit floats, twice the number.
    """
    plain, blocks = _PLAIN[name], blocks.copy()
    for start, stop in plain.cleared:
        blocks[:, start:stop] = 0
    for start, data in plain.written:
        blocks[:, start : start + len(data)] = np.frombuffer(data, np.uint8)
    return np.asarray(decode(name, blocks).astype(np.int16))
