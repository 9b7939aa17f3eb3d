"""What a heat map shows: a plane of weights, rows × columns, of which any rectangle can be asked.

Cells of a plane are asked for at a step: each stands for a rectangle of `step` rows and columns,
and its number is exact over all weights in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.color_scale import count as grouped
from explorer.overlays import EdgeStats, Overlay
from explorer.overlays.overlay import Counts
from explorer.pyramid.pyramid import Stats

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Tick = tuple[float, str]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Span:
    """Rows or columns ``start … stop - 1`` of a plane, in cells of `step` of them.

    Attributes
    ----------
    start, stop, step : int
        `start` is a multiple of `step`; the last cell may hold fewer.
    """

    start: int
    stop: int
    step: int = 1

    @property
    def count(self) -> int:
        """Number of cells."""
        return -(-(self.stop - self.start) // self.step)

    def labels(self, size: int) -> NDArray[np.int32]:
        """The cell of each of `size` rows or columns, -1 outside."""
        found = np.full(size, -1, np.int32)
        found[self.start : self.stop] = np.arange(self.stop - self.start) // self.step
        return found

    def cell(self, at: int) -> tuple[int, int]:
        """First and last + 1 row or column of a cell."""
        first = self.start + at * self.step
        return first, min(first + self.step, self.stop)

    def cut(self, first: int, stop: int) -> Span:
        """Some of its cells."""
        return Span(
            self.start + first * self.step, min(self.start + stop * self.step, self.stop), self.step
        )


@dataclass(frozen=True, eq=False)
class Cells:
    """A rectangle of a plane as cells; arrays of shape (rows.count, columns.count).

    Attributes
    ----------
    rows, columns : Span
    values : float64 array
        The number of each cell; NaN where it holds no finite weight.
    means : float64 array
        Mean weight of each cell, with its sign: where it holds one, the weight itself.
    count, non_finite : int64 array
        Weights in each cell that are finite, and that are not. Both 0: nothing is there.
    colors : uint8 array, shape (…, 3), or None
        Colours of their own, where cells have some.
    parts : float64 array, shape (…, 3), or None
        The weights that these colours stand for.
    """

    rows: Span
    columns: Span
    values: F8
    means: F8
    count: I8
    non_finite: I8
    colors: NDArray[np.uint8] | None = None
    parts: F8 | None = None

    @property
    def single(self) -> bool:
        """Whether no cell holds more than one weight."""
        return bool(np.all(self.count + self.non_finite <= 1))


@dataclass(frozen=True)
class Side:
    """What the rows or the columns of a plane are.

    Attributes
    ----------
    title : str
        Of one of them: ``"out unit"``.
    size : int
    each : int
        Rows or columns per unit that is counted: the height of a kernel's picture.
    blocks : tuple of str
        Names of equal parts, such as gates; empty without.
    heads : int
        Components per head; 0 without heads.
    order : int64 array or None
        The unit that stands at each place, where they are not in order.
    ticked : bool
        Whether the number of a unit says where it stands.
    """

    title: str
    size: int
    each: int = 1
    blocks: tuple[str, ...] = ()
    heads: int = 0
    order: I8 | None = None
    ticked: bool = True

    def unit(self, at: int) -> int:
        """The unit of a row or column."""
        place = at // self.each
        return int(self.order[place]) if self.order is not None else place

    def name(self, at: int) -> str:
        """A unit in words: ``"out unit 70 (forget gate 6)"``."""
        unit = self.unit(at)
        more = ""
        if self.blocks:
            width = self.size // self.each // len(self.blocks)
            more = f" ({self.blocks[unit // width]} {unit % width})"
        elif self.heads:
            more = f" (head {unit // self.heads}, component {unit % self.heads})"
        return f"{self.title} {unit}{more}"

    def short(self, at: int) -> str:
        """A row or column as the header of a table names it."""
        if self.each == 1:
            return str(self.unit(at))
        return f"{self.unit(at)}:{at % self.each}" if self.ticked else str(at)

    def range(self, first: int, stop: int) -> str:
        """Rows or columns ``first … stop - 1`` in words."""
        if stop - first == 1:
            return self.name(first)
        return f"{self.title}s {first} to {stop - 1}"

    def ticks(self, first: float, length: float, pixels: float, apart: float) -> list[Tick]:
        """Where the numbers of units stand beside a figure.

        Parameters
        ----------
        first, length : float
            What is seen, in rows or columns.
        pixels : float
            That it takes.
        apart : float
            Pixels from one number to the next at least.

        Returns
        -------
        list of (float, str)
            Middle of the unit, in rows or columns, and its number.
        """
        if not self.ticked or self.size <= 1:
            return []
        step = _round_step(apart * length / pixels / self.each)
        begin = -(-first // self.each) // step * step
        at = range(int(begin), int((first + length) / self.each) + 1, step)
        middles = ((unit + 0.5) * self.each for unit in at)
        seen = [m for m in middles if first <= m <= first + length and m < self.size]
        return [(m, str(self.unit(int(m)))) for m in seen]


def _round_step(least: float) -> int:
    """1, 2 or 5 times a power of ten, not less than this."""
    step, power = 1, 1
    while step < least:
        step, power = next(
            (n * power, power) if n < 10 else (10 * power, 10 * power)
            for n in (2, 5, 10)
            if n * power > step
        )
    return step


class Plane(Protocol):
    """Rows × columns of weights.

    Attributes
    ----------
    rows, columns : Side
    most_step : int
        Rows and columns that one cell may stand for at most: 1 where only single weights make
        sense.
    diverging : bool or None
        Whether its numbers have a sign that matters; ``None``: as the overlay has it.
    """

    rows: Side
    columns: Side
    most_step: int
    diverging: bool | None

    def prepare(self, stop: Stop) -> None:
        """Read what must be known beforehand.

        Raises
        ------
        Stopped
            When `stop` says so.
        """

    @property
    def ready(self) -> bool:
        """Whether `prepare` has nothing to do."""

    @property
    def about(self) -> str:
        """How much of what there is: ``"64 out units × 3 in units"``."""

    def cost(self, rows: Span, columns: Span) -> int:
        """Bytes that `cells` would read, for an overlay that counts nothing."""

    def counts(self, overlay: Overlay, rows: Span, columns: Span) -> int:
        """Weights that an overlay has counted one by one for these cells; 0 if it need not."""

    def suits(self, overlay: Overlay) -> bool:
        """Whether an overlay has numbers for this weight."""

    def cells(self, rows: Span, columns: Span, overlay: Overlay, stop: Stop) -> Cells:
        """The cells of a rectangle, exact; prepares first if need be."""

    def names(self, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
        """What rows and columns ``first … stop - 1`` are, in words."""

    def place(self, row: int, column: int) -> str:
        """Where a weight lies in the file, as an index: ``"kernel[0, 2, 5, 61]"``."""


def many(number: int, title: str) -> str:
    """A number of things: ``"1 filter"``, ``"64 filters"``."""
    return f"{grouped(number)} {title}" + ("" if number == 1 else "s")


def numbers(
    stats: Stats, overlay: Overlay, before: F8 | None = None, counted: Counts | None = None
) -> F8:
    """The overlay's number of each cell; NaN where there is no finite weight.

    Parameters
    ----------
    stats : Stats
    overlay : Overlay
    before : float64 array, optional
        RMS of the older weights, where two files are compared.
    counted : Counts, optional
        What the overlay counts, flat; where it counts what is not finite that is known.
    """
    if counted is None:
        counted = Counts(stats.non_finite.ravel(), (stats.count + stats.non_finite).ravel())
    flat = EdgeStats(
        sum_sq=stats.sum_sq.ravel(),
        sum=stats.sum.ravel(),
        sum_abs=stats.sum_abs.ravel(),
        max_abs=stats.max_abs.ravel(),
        count=stats.count.ravel(),
        non_finite=stats.non_finite.ravel(),
        before=None if before is None else before.ravel(),
        counted=counted,
    )
    values = np.array(overlay.values(flat), np.float64).reshape(stats.count.shape)
    if overlay.counts is not None:
        return np.nan_to_num(values)  # a share of nothing is none
    values[stats.count == 0] = np.nan
    return values


def index_text(role: str, first: tuple[int, ...], last: tuple[int, ...]) -> str:
    """An index into a weight; ``:`` where more than one is meant.

    Parameters
    ----------
    role : str
    first, last : tuple of int
        Indices of the first and the last weight that are meant.
    """
    parts = [str(a) if a == b else ":" for a, b in zip(first, last, strict=True)]
    return f"{role}[{', '.join(parts)}]" if parts else role
