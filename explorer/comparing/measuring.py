"""By how much weights changed: exact sums over whole weights, read once, a block at a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.pairing import LayerPair, WeightPair
from explorer.weights.codecs import stored_nbytes
from explorer.weights.weight_reader import WeightReader

Values = NDArray[Any]
F8 = NDArray[np.float64]
BLOCK = 1 << 17
"""Elements read at once of each file."""
_SUMMED = ("sum", "sum_abs", "sum_sq", "sum_sq_before", "sum_sq_after", "dot")
_PIECE = 1 << 12
_LARGEST = 1e140
"""Values beyond it count as not finite: sums of their squares leave double precision."""


@dataclass(frozen=True, slots=True)
class ChangeSums:
    """Sums over the elements of one weight, or of several, in double precision.

    Attributes
    ----------
    size : int
        Elements.
    finite : int
        Elements that are finite in both files; all that follow but `changed` are over these.
    changed : int
        Elements that are not equal; NaN in both files counts as equal.
    sum, sum_abs, sum_sq, sum_sq_before, sum_sq_after, dot : float
        Σ(b-a), Σ|b-a|, Σ(b-a)², Σa², Σb² and Σab of older values a and newer values b.
    largest : float
        Largest absolute value of b - a.
    """

    size: int = 0
    finite: int = 0
    changed: int = 0
    sum: float = 0.0
    sum_abs: float = 0.0
    sum_sq: float = 0.0
    sum_sq_before: float = 0.0
    sum_sq_after: float = 0.0
    dot: float = 0.0
    largest: float = 0.0

    @property
    def rms(self) -> float:
        """Root mean square of the difference; 0 where nothing is finite."""
        return math.sqrt(self.sum_sq / max(self.finite, 1))

    @property
    def rms_before(self) -> float:
        """Root mean square of the older values."""
        return math.sqrt(self.sum_sq_before / max(self.finite, 1))

    @property
    def rms_after(self) -> float:
        """Root mean square of the newer values."""
        return math.sqrt(self.sum_sq_after / max(self.finite, 1))

    @property
    def relative(self) -> float:
        """RMS of the difference over RMS of the older values; infinite where those are all 0."""
        if self.sum_sq == 0.0:
            return 0.0
        return math.sqrt(self.sum_sq / self.sum_sq_before) if self.sum_sq_before else math.inf

    @property
    def cosine(self) -> float:
        """Σab / √(Σa² Σb²), NaN where a side is all 0."""
        norm = math.sqrt(self.sum_sq_before) * math.sqrt(self.sum_sq_after)
        return max(-1.0, min(self.dot / norm, 1.0)) if norm else math.nan

    @property
    def non_finite(self) -> int:
        """Elements that are NaN, infinite or beyond 1e140 in a file."""
        return self.size - self.finite


def added(sums: Iterable[ChangeSums]) -> ChangeSums:
    """Sums over all of several."""
    every = list(sums)
    parts = {f: math.fsum(getattr(s, f) for s in every) for f in _SUMMED}
    return ChangeSums(
        sum(s.size for s in every),
        sum(s.finite for s in every),
        sum(s.changed for s in every),
        **parts,
        largest=max((s.largest for s in every), default=0.0),
    )


@dataclass(frozen=True, slots=True)
class WeightChange:
    """By how much one weight of a layer changed.

    Attributes
    ----------
    role : str
    pair : WeightPair
    sums : ChangeSums
    """

    role: str
    pair: WeightPair
    sums: ChangeSums


@dataclass(frozen=True, slots=True)
class LayerChange:
    """By how much a layer changed.

    Attributes
    ----------
    path : str
        In the joined network, which is that of the newer file.
    pair : LayerPair
    weights : tuple of WeightChange
        In the order of the newer file.
    sums : ChangeSums
        Over all of them.
    """

    path: str
    pair: LayerPair
    weights: tuple[WeightChange, ...]
    sums: ChangeSums


class Kept(Protocol):
    """Keeps sums of pairs of weights from run to run."""

    def load(self) -> dict[tuple[str, str], ChangeSums]:
        """What was found earlier, by the names of a weight in the older and the newer file."""

    def save(self, sums: Mapping[tuple[str, str], ChangeSums]) -> str:
        """Keep these; why that cannot be, or nothing."""


class Changes:
    """Measures layers when asked, and remembers them; safe for threads.

    Parameters
    ----------
    pairs : sequence of LayerPair
        Those with weights that can be compared.
    named : mapping of str to WeightPair
        The same weights by their name in the joined network.
    before, after : WeightReader
    kept : Kept, optional

    Attributes
    ----------
    reason : str
        Why nothing is kept, in one line; empty while all is well.
    """

    def __init__(
        self,
        pairs: Sequence[LayerPair],
        named: Mapping[str, WeightPair],
        before: WeightReader,
        after: WeightReader,
        kept: Kept | None = None,
    ) -> None:
        self._named = named
        self.pairs = {p.after.path: p for p in pairs if p.weights}
        self._before, self._after = before, after
        self._layers: dict[str, LayerChange] = {}
        self._kept, self.reason = kept, ""
        self._weights = {} if kept is None else kept.load()
        self._lock = threading.Lock()

    def known(self, path: str) -> LayerChange | None:
        """The change of a layer that has been measured."""
        return self._layers.get(path)

    def of_weight(self, name: str) -> ChangeSums | None:
        """The change of a weight of the joined network; ``None`` until it has been measured."""
        pair = self._named[name]
        return self._weights.get((pair.before.name, pair.after.name))

    def measure_weight(
        self, name: str, stop: Callable[[], bool] = lambda: False
    ) -> ChangeSums | None:
        """The change of a weight of the joined network, read now if it is not known.

        Parameters
        ----------
        name : str
        stop : callable () -> bool
            Asked between blocks.

        Returns
        -------
        ChangeSums or None
            ``None`` when stopped.
        """
        return self._sums(self._named[name], stop, lambda _: None)

    def compares(self, name: str) -> bool:
        """Whether a weight of the joined network is in both files."""
        return name in self._named

    def missing(self) -> list[str]:
        """Paths of the layers that have not been measured yet, in order of flow."""
        return [path for path in self.pairs if path not in self._layers]

    def elements(self, path: str) -> int:
        """How many elements of each file are read to measure a layer."""
        return sum(p.after.size for p in self.pairs[path].weights)

    def measure(
        self,
        path: str,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> LayerChange | None:
        """The change of a layer, read now if it is not known.

        Parameters
        ----------
        path : str
        stop : callable () -> bool
            Asked between blocks; when true, what has been read of a weight is dropped.
        progress : callable (elements)
            Told of every block.

        Returns
        -------
        LayerChange or None
            ``None`` when stopped.

        Raises
        ------
        ModelError
            If a file was changed or cannot be read.
        """
        known = self._layers.get(path)
        if known is not None:
            progress(self.elements(path))
            return known
        pair, found = self.pairs[path], []
        for weights in pair.weights:
            sums = self._sums(weights, stop, progress)
            if sums is None:
                return None
            found.append(WeightChange(weights.after.role, weights, sums))
        change = LayerChange(path, pair, tuple(found), added(c.sums for c in found))
        with self._lock:
            self._layers[path] = change
            whole = len(self._layers) == len(self.pairs)
        if whole:
            self.keep()
        return change

    def keep(self) -> None:
        """Keep what was found by now for the next run."""
        with self._lock:
            if self._kept is not None:
                self.reason = self._kept.save(self._weights)

    def measure_all(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> list[LayerChange]:
        """The changes of all layers, in order of flow.

        Parameters
        ----------
        progress : callable (done, total)
            In bytes of both files, as if all weights took equally many.

        Notes
        -----
        What was found is kept for the next run, also when this one is interrupted.
        """
        total, done = sum(map(self.elements, self.pairs)), 0
        nbytes = sum(
            stored_nbytes(w, w.size)
            for pair in self.pairs.values()
            for both in pair.weights
            for w in (both.before, both.after)
        )
        progress(0, nbytes)

        def told(elements: int) -> None:
            nonlocal done
            done += elements
            progress(nbytes * done // max(total, 1), nbytes)

        try:
            found = [self.measure(path, progress=told) for path in self.pairs]
        finally:
            self.keep()
        return [change for change in found if change is not None]

    def _sums(
        self, pair: WeightPair, stop: Callable[[], bool], progress: Callable[[int], None]
    ) -> ChangeSums | None:
        """The change of a weight, remembered: several layers may share it."""
        key = (pair.before.name, pair.after.name)
        known = self._weights.get(key)
        if known is not None:
            progress(known.size)
            return known
        found = self._sum(pair, stop, progress)
        if found is not None:
            with self._lock:
                self._weights[key] = found
        return found

    def _sum(
        self, pair: WeightPair, stop: Callable[[], bool], progress: Callable[[int], None]
    ) -> ChangeSums | None:
        parts = []
        for start in range(0, pair.after.size, BLOCK):
            if stop():
                return None
            end = min(start + BLOCK, pair.after.size)
            old = self._before.read_flat(pair.before, start, end)
            new = self._after.read_flat(pair.after, start, end)
            parts.append(_block_sums(old, new))
            progress(end - start)
        return added(parts)


def _block_sums(old: Values, new: Values) -> ChangeSums:
    a, b = old.astype(np.float64), new.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        # In this order a NaN is never lost: numpy's extremes keep it.
        low, high = np.minimum(a.min(), b.min()), np.maximum(a.max(), b.max())
        changed = int(np.count_nonzero(old != new))
        if not (low >= -_LARGEST and high <= _LARGEST):  # also for NaN
            changed -= int(np.count_nonzero(np.isnan(a) & np.isnan(b)))
            kept = (np.abs(a) <= _LARGEST) & (np.abs(b) <= _LARGEST)
            a, b = a[kept], b[kept]
    d = b - a
    lengths = np.abs(d)
    return ChangeSums(
        size=len(old),
        finite=len(a),
        changed=changed,
        sum=float(d.sum()),
        sum_abs=float(lengths.sum()),
        sum_sq=_dot(d, d),
        sum_sq_before=_dot(a, a),
        sum_sq_after=_dot(b, b),
        dot=_dot(a, b),
        largest=float(lengths.max(initial=0.0)),
    )


def _dot(a: F8, b: F8) -> float:
    """Sum of products, in pieces so short that none is shared out to threads."""
    whole = len(a) - len(a) % _PIECE
    pieces = np.vecdot(a[:whole].reshape(-1, _PIECE), b[:whole].reshape(-1, _PIECE))
    return float(pieces.sum() + np.vecdot(a[whole:], b[whole:]))
