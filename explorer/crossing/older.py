"""How large the weights behind an edge were in the older file, where two files are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.comparing.comparison import Comparison
from explorer.comparing.pyramid import ComparedPyramid
from explorer.crossing.element_index import joined_elements
from explorer.crossing.rows import Search, Sum
from explorer.open_model import OpenModel
from explorer.pyramid.connection_table import ConnectionTable
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.search.strongest import Strongest

I4 = NDArray[np.int32]
F8 = NDArray[np.float64]


CHANGE = "change of a layer"
ANY_CHANGE = math.ulp(0.0)
"""The smallest mean square of a change: below it nothing has changed."""
_PER_PAIR = ("out", "inside", "sum_sq", "sum", "sum_abs", "max_abs", "count")


@dataclass(frozen=True, eq=False)
class ComparedStrongest(Strongest):
    """The strongest changes.

    Attributes
    ----------
    before : float64 array, shape (m,)
        RMS of the older weights of each.
    """

    before: F8


class Older:
    """Sums over the older weights, of the same sets as those over the differences.

    Parameters
    ----------
    comparison : Comparison
    before : Pyramid
        Of the older weights.
    table : ConnectionTable
        Connections whose weights are differences; only those that are ready are asked for.
    """

    def __init__(self, comparison: Comparison, before: Pyramid, table: ConnectionTable) -> None:
        self.pyramid = before
        self._changes = comparison.changes
        self._reader = comparison.older
        self._table = table
        self._totals: dict[int, F8] = {}

    @classmethod
    def of(cls, model: OpenModel) -> Older | None:
        """Of a model; ``None`` where no files are compared."""
        if model.comparison is None or not isinstance(model.pyramid, ComparedPyramid):
            return None
        return cls(model.comparison, model.pyramid.before, model.table)

    def total(self, whole: I4, parts: Iterable[tuple[int, I4]]) -> F8:
        """Σa² and count over whole connections and over parts of others.

        Parameters
        ----------
        whole : int array
            Numbers of connections.
        parts : iterable of (int, int32 array of shape (in_units,))
            Number, and 0 for in units that count, -1 for others.

        Returns
        -------
        float64 array, shape (2,)
        """
        found = np.zeros(2)
        for number in whole.tolist():
            if number not in self._totals:
                units = np.zeros(self._table.connections[number].in_units, np.int32)
                self._totals[number] = self._sum(number, units)
            found += self._totals[number]
        for number, labels in parts:
            found += self._sum(number, labels)
        return found

    def _sum(self, number: int, in_label: I4) -> F8:
        connection = self._table.connections[number]
        out = np.zeros(connection.out_units, np.int32)
        stats = self.pyramid.stats(connection, out, in_label, 1, 1)
        return np.array([stats.sum_sq[0, 0], stats.count[0, 0]], float)

    def tasks(self) -> tuple[Sum, ...]:
        """Layers that are still to be measured whole: what is drawn on the boxes."""
        changes = self._changes

        def task(path: str) -> Sum:
            return Sum(
                (CHANGE, path),
                changes.elements(path),
                lambda _: changes.measure(path),
                lambda: changes.known(path) is not None,
            )

        return tuple(map(task, changes.missing()))

    def beside(self, search: Search, found: Strongest) -> ComparedStrongest:
        """The strongest changes, with the older weights of each, read one by one."""
        changed = np.flatnonzero(found.sum_sq > 0)  # nothing is drawn of what is as it was
        found = replace(found, **{f: getattr(found, f)[changed] for f in _PER_PAIR})
        result = np.zeros(len(found.out))
        for at, (out, inside) in enumerate(zip(found.out.tolist(), found.inside, strict=True)):
            units = np.flatnonzero(search.in_unit == inside)
            values = [
                self._reader.read_flat(weight, place, place + 1)
                for weight, places in joined_elements(search.connection, out, units)
                for place in places.tolist()
            ]
            every = np.concatenate(values).astype(np.float64)
            every = every[np.isfinite(every)]
            result[at] = np.sqrt(np.mean(every * every)) if len(every) else 0.0
        return ComparedStrongest(**vars(found), before=result)


def rms(sums: F8) -> F8:
    """√(Σa² / count) of sums of shape (…, 2); 0 where there is nothing."""
    return np.asarray(np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1)))
