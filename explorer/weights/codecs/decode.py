"""From stored items to codes and to numbers, whatever the type of a weight's elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.weights.codecs import affine, ggml, small_floats
from explorer.weights.codecs.kinds import is_block, is_signed
from explorer.weights.codecs.lanes import read_lanes, scattered
from explorer.weights.codecs.pieces import pieces

Array = NDArray[Any]
Run = tuple[int, int, int, int]
"""``(first, rows, stride, width)``: runs of elements at even distances, all within the tensor."""
Read = Callable[[Weight, int, int, int, int], Array]
"""Reads stored items of a weight: ``(weight, first, rows, stride, width)``, in items."""


def numbers(weight: Weight, run: Run, read: Read, entries: affine.Entries) -> Array:
    """Numbers of runs of elements.

    Parameters
    ----------
    weight : Weight
        One in which `explorer.weights.codecs.problem` finds none.
    run : (first, rows, stride, width)
    read : callable
        Reads stored items.
    entries : callable
        Reads the tables of a packing.

    Returns
    -------
    array of `number_dtype`, shape (rows, width), contiguous

    Raises
    ------
    OutsideError
        When a group index names an entry that its table does not hold.
    """
    if is_block(weight):
        return _blocks(weight, run, read, ggml.decode)
    packing = weight.packing
    if packing is not None and packing.turned:
        return _turned(weight, run, lambda own: _scaled(weight, own, read, entries))
    return _scaled(weight, run, read, entries)


def _scaled(weight: Weight, run: Run, read: Read, entries: affine.Entries) -> Array:
    """Numbers of runs in the order of the file."""
    packing, found = weight.packing, _codes(weight, run, read)
    if packing is not None and packing.levels is not None:
        levels = entries(packing.levels, 0, packing.levels.size).astype(np.float32, copy=False)
        found = small_floats.looked_up(levels, found)
    else:
        found = elements(weight, found)
    if packing is None or packing.scale is None:
        return found
    made = affine.apply(packing, found, run, entries)
    with np.errstate(all="ignore"):  # what is not finite stays so
        if packing.gain != 1:
            made *= np.float32(packing.gain)
        if packing.offset:
            made += np.float32(packing.offset)
    return made


def is_scattered(weight: Weight) -> bool:
    """Whether short runs of elements lie far apart in the file: see `scattered_numbers`."""
    packing = weight.packing
    return packing is not None and packing.turned and packing.lanes is not None and (
        packing.scale is not None and packing.levels is None and packing.gain == 1
        and not packing.offset
    )  # fmt: skip


def scattered_numbers(
    weight: Weight, at: NDArray[np.int64], words_at: Callable[[Array], Array],
    entries: affine.Entries,
) -> Array:  # fmt: skip
    """Numbers of single elements, all at once: of a matrix that lies column by column.

    Parameters
    ----------
    weight : Weight
        One that `is_scattered`.
    at : int64 array, shape (n, width)
        Elements, in C order.
    words_at : callable
        Reads words at ascending positions.
    entries : callable

    Returns
    -------
    float32 array, shape (n, width)
    """
    packing = weight.packing
    assert packing is not None
    assert packing.lanes is not None
    row, column = np.divmod(at, weight.shape[1])
    stored = column * weight.shape[0] + row
    found = scattered(packing.lanes, is_signed(weight), stored, words_at)
    return affine.apply_at(packing, found, stored, entries)


def _turned(weight: Weight, run: Run, read: Callable[[Run], Array]) -> Array:
    """Runs of a matrix that lies in the file column by column."""
    height, length = weight.shape
    _, rows, _, width = run
    out: Array | None = None
    for piece in pieces(*run, length):
        together = piece.lines if piece.step == 1 else 1
        for at in range(0, piece.lines, together):
            line, start = piece.line + at * piece.step, piece.at + at * piece.columns
            found = read((piece.column * height + line, piece.columns, height, together))
            if out is None:
                out = np.empty(rows * width, found.dtype)
            into = out[start : start + together * piece.columns]
            into.reshape(together, piece.columns)[...] = found.T
    assert out is not None
    return out.reshape(rows, width)


def codes(weight: Weight, run: Run, read: Read) -> Array:
    """Codes of runs of elements, as the file has them; plain numbers where they are no codes."""
    if is_block(weight):
        return _blocks(weight, run, read, ggml.read_codes)
    if weight.packing is not None and weight.packing.turned:
        return _turned(weight, run, lambda own: _codes(weight, own, read))
    return _codes(weight, run, read)


def _codes(weight: Weight, run: Run, read: Read) -> Array:
    """Codes of runs in the order of the file."""
    lanes = weight.packing.lanes if weight.packing is not None else None
    if lanes is None:
        return read(weight, *run)

    def words(first: int, rows: int, stride: int, width: int) -> Array:
        return read(weight, first, rows, stride, width)

    return read_lanes(lanes, is_signed(weight), words, run)


def is_plain(weight: Weight) -> bool:
    """Whether each stored item is one element, which needs no scale."""
    packing = weight.packing
    return not is_block(weight) and (
        packing is None or (packing.lanes is None and packing.scale is None and not packing.turned)
    )


def elements(weight: Weight, stored: Array) -> Array:
    """What elements are without their scales."""
    if weight.dtype == "bfloat16":
        return small_floats.from_bfloat16(stored)
    if weight.dtype == "float16":
        return small_floats.from_float16(stored)
    if weight.dtype in small_floats.TABLES:
        return small_floats.from_table(weight.dtype, stored)
    return stored


def _blocks(weight: Weight, run: Run, read: Read,
            decode: Callable[[str, NDArray[np.uint8]], Array]) -> Array:  # fmt: skip
    """Numbers or codes of the blocks that runs touch, and of them what the runs hold."""
    first, rows, stride, width = run
    size, nbytes = ggml.BLOCKS[weight.dtype]
    if rows > 1 and stride % size:  # each run begins elsewhere in its blocks
        if stride == width:
            return _blocks(weight, (first, 1, 0, rows * width), read, decode).reshape(rows, width)
        parts = [
            _blocks(weight, (first + i * stride, 1, 0, width), read, decode) for i in range(rows)
        ]
        return np.concatenate(parts)
    start, skip = divmod(first, size)
    count = -(-(skip + width) // size)
    items = read(weight, start, rows, stride // size, count)
    found = decode(weight.dtype, items.reshape(-1).view(np.uint8).reshape(-1, nbytes))
    return np.ascontiguousarray(found.reshape(rows, count * size)[:, skip : skip + width])
