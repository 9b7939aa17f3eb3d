"""How the bytes of a weight become numbers: one file per family of codes.

A weight's `dtype` names what its elements are, and its `packing`, where it has one, which tables
they are scaled by. What is not known here is no number: it is shown as packed codes.
"""

from __future__ import annotations

from explorer.weights.codecs.kinds import (
    code_range,
    is_number,
    item_dtype,
    number_dtype,
    problem,
    stored_bits,
    stored_nbytes,
)

__all__ = [
    "code_range", "is_number", "item_dtype", "number_dtype", "problem", "stored_bits",
    "stored_nbytes",
]  # fmt: skip
