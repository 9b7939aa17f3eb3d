"""The sums of `explorer.pyramid.sums.kernel` and `sheet` by a compiled library, where there is one.

It is built from ``sums.c`` when the package is installed and a C compiler is found
(``scripts/build_sums.py``). It comes to the same numbers as numpy does, bit for bit, several times
as quickly: numpy goes over a piece a dozen times and writes as much as it reads, the library goes
over it once. So nothing else depends on whether it is there.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import os
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.grid import SIDE, TILE_ROWS
from explorer.pyramid.level0 import Values
from explorer.pyramid.sums.kept_memory import room
from explorer.pyramid.sums.kernel import FITS_SINGLE

F8 = NDArray[np.float64]
SOURCE = Path(__file__).with_name("sums.c")
LIBRARY = Path(__file__).with_name("_sums.so")
OFF = "NEURONAUT_NO_COMPILED"
"""Environment variable that, when it is not empty, has numpy do all sums."""
_KINDS = {"float32": 0, "bfloat16": 1, "float16": 2}
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_BLOCK = 64  # columns worked on at once: of fewer, numpy's order may be another
_SUMS = 3
_RANGE = (ctypes.c_double * 2)(*FITS_SINGLE)


class Added(enum.Enum):
    """What became of a piece; the numbers are those of ``sums.c``."""

    NOT = 0
    ALL = 1
    DOES_NOT_FIT = 2


class _Piece(ctypes.Structure):
    """What is read, and memory to work in; ``Piece`` in ``sums.c``."""

    _fields_ = (
        ("first", ctypes.c_void_p),
        ("stride", ctypes.c_ssize_t),
        ("rows", ctypes.c_ssize_t),
        ("columns", ctypes.c_ssize_t),
        ("row", ctypes.c_ssize_t),
        ("column", ctypes.c_ssize_t),
        ("over_columns", ctypes.c_void_p),
        ("top", ctypes.c_void_p),
        ("over_rows", ctypes.c_void_p),
        ("row_top", ctypes.c_void_p),
        ("tiles", ctypes.c_void_p),
    )


class _Sheet(ctypes.Structure):
    """Where the sums go; ``Sheet`` in ``sums.c``."""

    _fields_ = (
        ("sums", ctypes.c_void_p),
        ("peak", ctypes.c_void_p),
        ("tile_peak", ctypes.c_void_p),
        ("over_rows", ctypes.c_void_p),
        ("over_columns", ctypes.c_void_p),
        ("strips", ctypes.c_ssize_t),
        ("across", ctypes.c_ssize_t),
        ("rows", ctypes.c_ssize_t),
        ("columns", ctypes.c_ssize_t),
        ("width", ctypes.c_ssize_t),
    )


def digest(source: bytes) -> str:
    """What a library is marked with that was built from a source."""
    return hashlib.blake2b(source, digest_size=16).hexdigest()


@cache
def _function() -> Any:
    """The function that adds a piece; ``None`` where it was not built, or from another source."""
    if os.environ.get(OFF):
        return None
    try:
        found = ctypes.CDLL(str(LIBRARY))
        mark, function = found.neuronaut_sums_source, found.neuronaut_add
        mark.restype = ctypes.c_char_p
        if mark() != digest(SOURCE.read_bytes()).encode():
            return None
    except (OSError, AttributeError):
        return None
    pointers = (_Piece, _Sheet, ctypes.c_double)
    function.argtypes = ctypes.c_int, *map(ctypes.POINTER, pointers)
    function.restype = ctypes.c_int
    return function


def available() -> bool:
    """Whether there is a library."""
    return _function() is not None


def library(
    width: int, sums: F8, peak: F8, tile_peak: F8, over_rows: F8 | None, over_columns: F8 | None
) -> Library | None:
    """What adds pieces to the arrays of a sheet; ``None`` where there is no library."""
    arrays = (sums, peak, tile_peak, over_rows, over_columns)
    return Library(width, arrays) if available() else None


class Library:
    """Adds pieces to the arrays of one sheet.

    Parameters
    ----------
    width : int
        Columns of a block.
    arrays : tuple of float64 array or None
        `sums`, `peak`, `tile_peak`, `over_rows` and `over_columns` of the sheet.
    """

    def __init__(self, width: int, arrays: tuple[F8 | None, ...]) -> None:
        self._arrays = arrays  # kept as long as their addresses are
        self._width = width
        sums, _, _, over_rows, over_columns = arrays
        assert sums is not None
        self._lines = over_rows is not None
        shape = sums.shape[1:]
        lengths = (0 if a is None else a.shape[1] for a in (over_rows, over_columns))
        places = (None if a is None else a.ctypes.data for a in arrays)
        self._sheet = _Sheet(*places, *shape, *lengths, width)

    def add(self, dtype: str, values: Values, row: int, column: int) -> Added:
        """Add a piece of one tap.

        Parameters
        ----------
        dtype : str
            Type of the elements.
        values : array, shape (rows, columns), numbers of a row one behind the other
            Numbers, or the bits of floats of 16 bits as uint16; whole strips of rows, or fewer
            rows than a strip has.
        row, column : int
            Where the first of them stands in the sheet.

        Returns
        -------
        Added
            ``DOES_NOT_FIT`` when a weight is not finite, or squares do not fit single precision;
            ``NOT`` when the library does not sum up such pieces. The sheet is then as it was.
        """
        rows, columns = values.shape
        if dtype not in _KINDS or columns < _BLOCK or values.strides[1] != _BYTES[dtype]:
            return Added.NOT
        strips, padded = -(-rows // SIDE), -(-columns // _BLOCK) * _BLOCK
        tiles = -(-rows // TILE_ROWS) * -(-columns // self._width)
        each, lines = strips * padded, rows if self._lines else 0
        lengths = (_SUMS * each, each, _SUMS * lines, lines, tiles)
        memory = room().array("work", (sum(lengths),), np.float32)
        starts = accumulate(lengths[:-1], initial=0)
        at = memory.__array_interface__["data"][0]
        places = [at + start * memory.itemsize for start in starts]
        first = values.__array_interface__["data"][0]
        piece = _Piece(first, values.strides[0], rows, columns, row, column, *places)
        return Added(_function()(_KINDS[dtype], piece, self._sheet, _RANGE))
