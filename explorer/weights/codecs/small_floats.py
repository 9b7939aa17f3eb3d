"""Floating-point numbers of 4 to 16 bits, decoded to float32 by integer operations or tables.

numpy converts float16 element by element; shifting the bits in place and multiplying by a power of
two does the same several times as fast, for a float16 is a float32 with a shorter exponent. What
has at most 8 bits is looked up. Formats: "FP8 Formats for Deep Learning" (arXiv:2209.05433), "8-bit
Numerical Formats for Deep Neural Networks" (arXiv:2206.02915), OCP Microscaling v1.0, and the
package ``ml_dtypes``, whose names are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

F4 = NDArray[np.float32]
_BLOCK = 1 << 16  # elements whose intermediate results stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Format:
    """A small float.

    Attributes
    ----------
    exponent, mantissa : int
        Bits. Without `signed` there is no sign bit.
    bias : int
    special : {"ieee", "fn", "fnuz", "none"}
        Which codes are no numbers: as in IEEE 754; only all ones are NaN; only minus zero is NaN;
        none is.
    """

    exponent: int
    mantissa: int
    bias: int
    special: Literal["ieee", "fn", "fnuz", "none"]
    signed: bool = True

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.exponent + self.mantissa + self.signed


TABLES = {
    "float8_e4m3fn": Format(4, 3, 7, "fn"),
    "float8_e5m2": Format(5, 2, 15, "ieee"),
    "float8_e4m3": Format(4, 3, 7, "ieee"),
    "float8_e3m4": Format(3, 4, 3, "ieee"),
    "float8_e4m3fnuz": Format(4, 3, 8, "fnuz"),
    "float8_e5m2fnuz": Format(5, 2, 16, "fnuz"),
    "float8_e4m3b11fnuz": Format(4, 3, 11, "fnuz"),
    "float8_e8m0fnu": Format(8, 0, 127, "fn", signed=False),
    "float6_e2m3fn": Format(2, 3, 1, "none"),
    "float6_e3m2fn": Format(3, 2, 3, "none"),
    "float4_e2m1fn": Format(2, 1, 1, "none"),
}
"""Floats of at most 8 bits by name."""


def _number(code: int, form: Format) -> float:
    """The number that a code stands for."""
    sign = code >> (form.bits - 1) if form.signed else 0
    size = code & ((1 << (form.exponent + form.mantissa)) - 1)
    top, fraction = size >> form.mantissa, size & ((1 << form.mantissa) - 1)
    highest = (1 << form.exponent) - 1
    if form.special == "ieee" and top == highest:
        return math.nan if fraction else math.copysign(math.inf, -1.0 if sign else 1.0)
    if form.special == "fn" and size == (1 << (form.exponent + form.mantissa)) - 1:
        return math.nan
    if form.special == "fnuz" and sign and not size:
        return math.nan
    if form.mantissa and not top:  # subnormal
        value = math.ldexp(fraction, 1 - form.bias - form.mantissa)
    else:
        value = math.ldexp((1 << form.mantissa) + fraction, top - form.bias - form.mantissa)
    return -value if sign else value


@cache
def table(name: str) -> F4:
    """The numbers of all codes of a format, shape (2 ** bits,); not to be written to."""
    form = TABLES[name]
    numbers = np.array([_number(code, form) for code in range(1 << form.bits)], np.float32)
    numbers.flags.writeable = False
    return numbers


@cache
def _padded(name: str) -> F4:
    """The table for bytes whose upper bits mean nothing."""
    numbers = table(name)
    return np.tile(numbers, 256 // len(numbers))


def from_table(name: str, codes: NDArray[Any]) -> F4:
    """Numbers of 8-bit codes.

    Parameters
    ----------
    name : str
        One of `TABLES`.
    codes : uint8 array of any shape
        Bits above those of the format are left out of account.

    Returns
    -------
    float32 array of the same shape
    """
    return looked_up(_padded(name), codes)


def looked_up(entries: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    """Entries of a table by codes that all lie within it, of the codes' shape.

    A block at a time, for numpy makes indices of 64 bits of the codes first.
    """
    out = np.empty(codes.shape, entries.dtype)
    flat, into = codes.reshape(-1), out.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        # "clip" spares a copy of `out` that the check of the indices would take.
        np.take(entries, flat[part], out=into[part], mode="clip")
    return out


def from_bfloat16(stored: NDArray[Any]) -> F4:
    """Numbers of bfloat16 elements, given as uint16 of any shape: the upper half of a float32."""
    bits: NDArray[np.uint32] = np.left_shift(stored, 16, dtype=np.uint32)
    return bits.view(np.float32)


_SIGN_AND_REST = np.uint32(0x8FFFE000).view(np.int32)
_REBIAS = np.float32(2.0**112)
_TOP = np.uint16(0x7C00)


def from_float16(stored: NDArray[Any]) -> F4:
    """Numbers of float16 elements.

    Parameters
    ----------
    stored : uint16 array of any shape, contiguous

    Returns
    -------
    float32 array of the same shape
        Exactly what numpy's own conversion gives.

    Notes
    -----
    As a signed integer shifted by 13 bits, the sign comes to stand at the top and exponent and
    mantissa where a float32 has them, but for the difference of the two biases, 2¹¹². What then
    has the highest exponent was infinite or NaN and is mended.
    """
    bits = stored.reshape(-1).view(np.int16)
    out = np.empty(len(bits), np.int32)
    numbers = out.view(np.float32)
    for start in range(0, len(bits), _BLOCK):
        part = slice(start, start + _BLOCK)
        np.left_shift(bits[part], 13, out=out[part], dtype=np.int32)
        np.bitwise_and(out[part], _SIGN_AND_REST, out=out[part])
        np.multiply(numbers[part], _REBIAS, out=numbers[part])
        size = bits[part].view(np.uint16) & np.uint16(0x7FFF)
        if size.max() >= _TOP:
            at = np.flatnonzero(size >= _TOP)
            numbers[start + at] = bits[part][at].view(np.float16)
    return numbers.reshape(stored.shape)
