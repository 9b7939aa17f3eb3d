"""Runs of bands as plain bytes: what is written down of a connection that is not whole yet.

A run holds bands that no earlier run of the connection holds, and the sums over columns so far, in
double precision and in the order in which they were added up: who goes on from there comes to the
bytes of one who never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from explorer.pyramid.blocks import Cursor
from explorer.pyramid.grid import SIDE, TILE_ROWS
from explorer.pyramid.plan import Part, Plan
from explorer.pyramid.sums.bands import Band

F8 = NDArray[np.float64]
_BAD, _COLUMNS = 1, 2  # what a band has besides its sums


@dataclass(frozen=True, eq=False)
class Run:
    """Some bands of a plan.

    Attributes
    ----------
    bands : dict of int to Band
        By position in the plan's tasks. Those whose columns were added up have none of their own.
    columns : dict of int to (int, float64 array of shape (4, columns))
        By part: its first band that was not added up, by position in the plan's tasks, and the sums
        over columns of those before it.
    """

    bands: dict[int, Band] = field(default_factory=dict)
    columns: dict[int, tuple[int, F8]] = field(default_factory=dict)


def first_bands(plan: Plan) -> list[int]:
    """Where the bands of each part begin in the plan's tasks, and where the last one's end."""
    return [0, *accumulate(part.grid.bands for part in plan.parts)]


def run_bytes(run: Run, plan: Plan) -> bytes:
    """A run as bytes, little endian; shapes are not written, for they follow from the plan."""
    out = [np.array([len(run.bands), len(run.columns)], "<i8").tobytes()]
    for at, band in run.bands.items():
        part = plan.parts[plan.tasks[at].part]
        wrong = bool(band.bad.any())
        own = band.over_columns
        flags = (_BAD if wrong else 0) | (0 if own is None else _COLUMNS)
        out.append(np.array([at, flags], "<i8").tobytes())
        arrays = [band.sums, *([band.peak] if part.grid.taps > 1 else [])]
        arrays += [a for a in (band.over_rows, own) if a is not None]
        out += [_bytes(a, "<f8") for a in arrays]
        out += [_bytes(band.bad, "<i8")] if wrong else []
        out.append(_bytes(band.codes, "u1"))
    for number, (stop, sums) in run.columns.items():
        out += [np.array([number, stop], "<i8").tobytes(), _bytes(sums, "<f8")]
    return b"".join(out)


def _bytes(array: NDArray[np.generic], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()


def run_from_bytes(data: bytes, plan: Plan) -> Run | None:
    """The run again; ``None`` when the bytes do not fit the plan."""
    read, run, first = Cursor(data), Run(), first_bands(plan)
    try:
        bands, states = read("<i8", 2).tolist()
        for _ in range(bands):
            at, flags = read("<i8", 2).tolist()
            if not 0 <= at < len(plan.tasks):
                return None
            task = plan.tasks[at]
            run.bands[at] = _band(read, plan.parts[task.part], task.band, flags)
        for _ in range(states):
            number, stop = read("<i8", 2).tolist()
            if not (0 <= number < len(plan.parts) and first[number] < stop <= first[number + 1]):
                return None
            run.columns[number] = stop, read("<f8", 4, plan.parts[number].grid.columns).copy()
    except ValueError:
        return None
    return run if read.at == len(data) else None


def _band(read: Cursor, part: Part, band: int, flags: int) -> Band:
    grid = part.grid
    first, stop = grid.band_rows(band)
    shape = (-(-(stop - first) // SIDE), grid.across)
    sums = read("<f8", 4, *shape)
    peak = read("<f8", *shape) if grid.taps > 1 else sums[3]
    over_rows = read("<f8", 4, stop - first) if grid.lines else None
    over_columns = read("<f8", 4, grid.columns) if flags & _COLUMNS else None
    bad = read("<i8", *shape) if flags & _BAD else np.zeros(shape, np.int64)
    codes = read("u1", -(-(stop - first) // TILE_ROWS), grid.across)
    return Band(sums, peak, codes, bad, over_rows, over_columns)


def joined_runs(payloads: Sequence[bytes], plan: Plan) -> Run | None:
    """What several runs of a connection hold together, in the order in which they were written.

    Returns
    -------
    Run or None
        ``None`` unless all of them fit the plan and each other: nothing is believed in part.
    """
    whole = Run()
    for payload in payloads:
        run = run_from_bytes(payload, plan)
        if run is None:
            return None
        whole.bands.update(run.bands)
        for number, (stop, sums) in run.columns.items():
            if stop > whole.columns.get(number, (0, sums))[0]:
                whole.columns[number] = stop, sums
    return _checked(whole, plan)


def _checked(run: Run, plan: Plan) -> Run | None:
    """The run without columns that were added up; ``None`` where a band is missing."""
    first = first_bands(plan)
    bands: Mapping[int, Band] = run.bands
    for number, (stop, _) in run.columns.items():
        if any(at not in bands for at in range(first[number], stop)):
            return None
    for at, band in list(bands.items()):
        task = plan.tasks[at]
        if not plan.parts[task.part].grid.lines:
            continue
        if at < run.columns.get(task.part, (0, None))[0]:
            run.bands[at] = replace(band, over_columns=None)
        elif band.over_columns is None:
            return None
    return run
