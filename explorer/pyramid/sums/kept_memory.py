"""Arrays whose memory is kept by each thread, to be filled again and again."""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.level0 import Values

_PAGE = 2 << 20
"""A large page. Linux gives such to arrays of 4 MB, which numpy asks it for; fewer addresses are
then looked up, and the sums take a tenth less time."""


class Room:
    """Memory kept from piece to piece: fresh memory costs more than the arithmetic on it."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._last: dict[str, tuple[tuple[int, ...], type[np.generic] | np.dtype[Any], Values]] = {}

    def bytes(self, name: str, nbytes: int) -> NDArray[np.uint8]:
        """So many bytes that begin at a line of the processor's cache; what was there is lost."""
        found = self._kept.get(name)
        if found is None or found.size < nbytes:
            page = _PAGE if nbytes > _PAGE // 4 else 64
            whole = np.empty(-(-nbytes // page) * page + 2 * page, np.uint8)
            skip = -whole.ctypes.data % page
            found = self._kept[name] = whole[skip : skip + nbytes]
            self._last.pop(name, None)
        return found[:nbytes]

    def array(
        self, name: str, shape: tuple[int, ...], dtype: type[np.generic] | np.dtype[Any]
    ) -> Values:
        """An array in kept memory."""
        last = self._last.get(name)
        if last is not None and last[0] == shape and last[1] == dtype:
            return last[2]
        kind = np.dtype(dtype)
        made: Values = self.bytes(name, prod(shape) * kind.itemsize).view(kind).reshape(shape)
        self._last[name] = shape, dtype, made
        return made


_own = threading.local()


def room() -> Room:
    """The memory of this thread."""
    found: Room | None = getattr(_own, "room", None)
    if found is None:
        found = _own.room = Room()
    return found
