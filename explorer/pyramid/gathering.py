"""Bands of a connection as they come in, in any order, and the statistics they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import MatrixStats, Totals, joined, totals_of
from explorer.pyramid.plan import Plan
from explorer.pyramid.runs import Run, first_bands, joined_runs, run_bytes
from explorer.pyramid.sums.bands import Band

RUN_BYTES = 256 << 20
"""Bytes of weights in a run: what is lost, at most, of a connection whose measuring is killed."""
_COLUMN_BYTES = 4 << 10  # of each column in a run: the sums over it take 32 bytes of each


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
        self._first = first_bands(plan)
        self._next = self._first[:-1]
        self._columns: list[NDArray[np.float64] | None] = [None] * len(plan.parts)
        self._bands: dict[int, Band] = {}
        self._written: set[int] = set()
        self._unwritten = 0  # bytes of weights
        widest = max((p.grid.columns for p in plan.parts if p.grid.lines), default=0)
        self._run = max(RUN_BYTES, widest * _COLUMN_BYTES)

    def __len__(self) -> int:
        return len(self._bands)

    def __contains__(self, at: int) -> bool:
        return at in self._bands

    @property
    def whole(self) -> bool:
        """Whether all bands are there."""
        return len(self._bands) == len(self._plan.tasks)

    def add(self, at: int, band: Band) -> None:
        """Take a band; one that is there already counts.

        Parameters
        ----------
        at : int
            Its position in ``plan.tasks``.
        band : Band
        """
        if at in self._bands:
            return
        self._bands[at] = band
        part = self._plan.tasks[at].part
        while self._next[part] < self._first[part + 1] and self._next[part] in self._bands:
            self._fold(part, self._next[part])
            self._count(self._next[part])
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

    def _count(self, at: int) -> None:
        if at not in self._written:
            self._unwritten += self._plan.tasks[at].nbytes

    def unwritten(self, all_of_it: bool = False) -> bytes | None:
        """What no run holds yet, as the next one.

        Parameters
        ----------
        all_of_it : bool
            Else only what is worth a run, and no bands that wait for others above them.

        Returns
        -------
        bytes or None
            ``None`` where there is too little. It counts as written from now on.
        """
        plan = self._plan
        if self.whole or not (all_of_it or self._unwritten >= self._run):
            return None
        if any(part.matrix.diagonal for part in plan.parts):
            return None  # its bands are of another form, and there are few
        bands = {
            at: band
            for at, band in sorted(self._bands.items())
            if at not in self._written and (all_of_it or at < self._next[plan.tasks[at].part])
        }
        parts = {plan.tasks[at].part for at in bands}
        columns = {
            number: (self._next[number], sums)
            for number, sums in enumerate(self._columns)
            if sums is not None and number in parts
        }
        self._written.update(bands)
        self._unwritten = 0
        return run_bytes(Run(bands, columns), plan) if bands else None

    def go_on(self, runs: Sequence[bytes]) -> None:
        """Take what earlier runs hold; nothing where that is not whole. Only while empty."""
        found = joined_runs(runs, self._plan)
        if found is None:
            return
        self._written.update(found.bands)
        for number, (stop, sums) in found.columns.items():
            self._next[number], self._columns[number] = stop, sums
        for at, band in sorted(found.bands.items()):
            self.add(at, band)

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
