"""Readers of two files at once: the difference of a weight, and what it was before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.pairing import WeightPair
from explorer.errors import NeuronautError
from explorer.network import Weight
from explorer.weights.weight_reader import WeightReader

Values = NDArray[Any]


class _PairReader:
    """Finds the pair that a weight of the joined network stands for."""

    def __init__(
        self, pairs: Mapping[str, WeightPair], before: WeightReader, after: WeightReader
    ) -> None:
        self._pairs = pairs
        self._before, self._after = before, after

    def pair(self, weight: Weight) -> WeightPair:
        """The weight in both files.

        Raises
        ------
        NeuronautError
            If only one of the files has it.
        """
        found = self._pairs.get(weight.name)
        if found is None:
            raise NeuronautError(f"{weight.name}: only one of the two files has it in this shape")
        return found


class BeforeReader(_PairReader):
    """Reads weights of the joined network as they are in the older file."""

    def read_flat(self, weight: Weight, start: int, stop: int) -> Values:
        """Elements ``start:stop`` in C order."""
        return self._before.read_flat(self.pair(weight).before, start, stop)

    def read_rows(self, weight: Weight, first: int, rows: int, stride: int, width: int) -> Values:
        """Runs of `width` elements beginning at ``first + i * stride``: shape (rows, width)."""
        return self._before.read_rows(self.pair(weight).before, first, rows, stride, width)

    def read_many(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Values:
        """Runs of `width` elements that begin anywhere: shape (len(starts), width)."""
        return self._before.read_many(self.pair(weight).before, starts, width)


class DifferenceReader(_PairReader):
    """Reads newer minus older, in single precision where both files hold no more.

    A `explorer.pyramid.level0.Reader`: statistics, searches and pictures of weights work on
    differences as they do on weights. A difference that is not finite, because a value is not, or
    because it leaves single precision, counts as non-finite there.

    Parameters
    ----------
    pairs : mapping of str to WeightPair
        By the name of the weight in the joined network.
    before, after : WeightReader
        Of the two files; closed along with this one.
    """

    def read(self, weight: Weight) -> Values:
        """The whole difference, of the shape of the weight."""
        return self.read_flat(weight, 0, weight.size).reshape(weight.shape)

    def read_flat(self, weight: Weight, start: int, stop: int) -> Values:
        """Elements ``start:stop`` in C order: float32 or float64, as `WeightPair.dtype` says."""
        return self._minus(weight, lambda r, w: r.read_flat(w, start, stop))

    def read_rows(self, weight: Weight, first: int, rows: int, stride: int, width: int) -> Values:
        """Runs of `width` elements beginning at ``first + i * stride``: shape (rows, width)."""
        return self._minus(weight, lambda r, w: r.read_rows(w, first, rows, stride, width))

    def read_many(self, weight: Weight, starts: NDArray[np.int64], width: int) -> Values:
        """Runs of `width` elements that begin anywhere: shape (len(starts), width)."""
        return self._minus(weight, lambda r, w: r.read_many(w, starts, width))

    def both(self, weight: Weight, start: int, stop: int) -> tuple[Values, Values]:
        """The same elements of the older and of the newer file, in their own types."""
        pair = self.pair(weight)
        return (
            self._before.read_flat(pair.before, start, stop),
            self._after.read_flat(pair.after, start, stop),
        )

    def close(self) -> None:
        """Close both files."""
        self._before.close()
        self._after.close()

    def _minus(self, weight: Weight, read: Callable[[WeightReader, Weight], Values]) -> Values:
        pair = self.pair(weight)
        old, new = read(self._before, pair.before), read(self._after, pair.after)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.subtract(new, old, dtype=np.dtype(pair.dtype), casting="unsafe")
