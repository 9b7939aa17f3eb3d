"""Bands of a connection as they come in, in any order, and the statistics they make together."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.bands import Band
from explorer.pyramid.blocks import MatrixStats, Totals, joined, totals_of
from explorer.pyramid.plan import Plan


class Gathered:
    """The bands of a plan that have been measured; not safe for threads.

    Of a wide matrix the sums over columns are most of a band. They are added up as soon as all
    bands above are there, so that few are held at a time, in the order of the bands, so that every
    sum is rounded alike whoever was first.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        counts = [part.grid.bands for part in plan.parts]
        self._first = [0, *accumulate(counts)]
        self._next = self._first[:-1]
        self._columns: list[NDArray[np.float64] | None] = [None] * len(counts)
        self._bands: dict[int, Band] = {}

    def __len__(self) -> int:
        return len(self._bands)

    def __contains__(self, at: int) -> bool:
        return at in self._bands

    @property
    def whole(self) -> bool:
        """Whether all bands are there."""
        return len(self._bands) == len(self._plan.tasks)

    def add(self, at: int, band: Band) -> None:
        """Take a band.

        Parameters
        ----------
        at : int
            Its position in ``plan.tasks``.
        band : Band
        """
        self._bands[at] = band
        part = self._plan.tasks[at].part
        while self._next[part] < self._first[part + 1] and self._next[part] in self._bands:
            self._fold(part, self._next[part])
            self._next[part] += 1

    def _fold(self, part: int, at: int) -> None:
        band = self._bands[at]
        if band.over_columns is None:
            return
        total = self._columns[part]
        if total is None:
            self._columns[part] = band.over_columns.copy()
        else:
            total[:3] += band.over_columns[:3]
            np.maximum(total[3], band.over_columns[3], out=total[3])
        self._bands[at] = replace(band, over_columns=None)

    def estimate(self) -> Totals | None:
        """Sums over what is there, each weight once; ``None`` where nothing is."""
        found = None
        for at, band in list(self._bands.items()):
            task = self._plan.tasks[at]
            part = self._plan.parts[task.part]
            if not part.folded:
                first, stop = part.grid.band_rows(task.band)
                weights = (stop - first) * part.grid.columns * part.grid.taps
                found = (found or Totals()) + totals_of(band.sums, weights, int(band.bad.sum()))
        return found

    def assembled(self) -> tuple[tuple[MatrixStats, ...], Totals]:
        """Statistics of each part of the plan, and the sums over its own matrices.

        All bands must be there.
        """
        stats, totals = [], Totals()
        for number, part in enumerate(self._plan.parts):
            own = range(self._first[number], self._first[number + 1])
            bands = [self._bands[at] for at in own]
            one, sums = joined(part.grid, bands, self._columns[number])
            stats.append(one)
            if not part.folded:
                totals += sums
        return tuple(stats), totals
