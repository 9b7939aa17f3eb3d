"""The ranks of a scope measured, and where a strip of them is cut into rows like lines of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from layouts._flow import F8, Flow
from layouts._lanes import Pieces, place_across
from layouts._ranks import I8
from layouts._style import Across

CUT_WINDOW = 0.2
GUTTER = 1.35
SLOPE = 0.45
WORTH_A_CUT = 0.8  # of the size of one row
MAX_GAP_STRETCH = 1.25
MAX_WIDENING = 2.5
MAX_GUTTER_STRETCH = 2.75


@dataclass(frozen=True)
class Strip:
    """Ranks one after another, each measured, not yet placed.

    Attributes
    ----------
    width, top, bottom, half, reach : float64 array, shape (r,)
        Of each rank; top ≥ 0 ≥ bottom relative to the axis, half the depth to each side of it.
    gap : float64 array, shape (r,)
        Free length after each rank.
    crossing : int64 array, shape (r,)
        How many nodes feed something across the boundary after each rank.
    """

    width: F8
    top: F8
    bottom: F8
    half: F8
    reach: F8
    gap: F8
    crossing: I8

    def piece(self, first: int, last: int) -> Strip:
        """The ranks from `first` to `last - 1`."""
        at = slice(first, last)
        return Strip(
            self.width[at],
            self.top[at],
            self.bottom[at],
            self.half[at],
            self.reach[at],
            self.gap[at],
            self.crossing[at],
        )

    def with_gaps(self, factor: float | F8) -> Strip:
        """The same with longer gaps."""
        return replace(self, gap=self.gap * factor)

    @cached_property
    def start(self) -> F8:
        """Where each rank would begin if all stood in one row, shape (r,)."""
        advance = self.width + self.gap
        return np.cumsum(advance) - advance

    @property
    def length(self) -> float:
        """Of all ranks in one row."""
        return float(self.start[-1] + self.width[-1])

    @cached_property
    def boundary(self) -> F8:
        """The middle of the gap after each rank but the last, in one row, shape (r - 1,)."""
        return (self.start + self.width + self.gap / 2)[:-1]


def measure(flow: Flow, pieces: Pieces, closed: Pieces, across: Across) -> tuple[Strip, F8]:
    """Place the members of each rank among themselves, and measure the ranks.

    Returns
    -------
    strip : Strip
    place : float64 array, shape (k, 3)
        Of the flow through each node, relative to the axis and to the middle of its rank; of no
        meaning for the rail.
    """
    place = place_across(flow, pieces, closed, across)
    count, rank = flow.ranks, flow.rank
    flowing = flow.members
    at = rank[flowing]
    width, reach, half = np.zeros(count), np.zeros(count), np.zeros(count)
    top, bottom = np.zeros(count), np.zeros(count)
    np.maximum.at(width, rank, pieces.size[:, 0] + 2 * np.abs(place[:, 0]))
    np.maximum.at(half, rank, pieces.size[:, 2] / 2 + np.abs(place[:, 2]))
    np.maximum.at(reach, at, pieces.reach[flowing])
    np.maximum.at(top, at, (place[:, 1] + pieces.above)[flowing])
    np.minimum.at(bottom, at, (place[:, 1] - pieces.below)[flowing])
    gap = reach + np.append(reach[1:], 0.0)
    np.maximum(gap, _steepness(flow, place), out=gap)
    gap[flow.part_start[1:] - 1] = 0.0
    return Strip(width, top, bottom, half, reach, gap, flow.crossing), place


def _steepness(flow: Flow, place: F8) -> F8:
    """Gap after each rank that keeps links to the next from running too steeply."""
    need = np.zeros(flow.ranks)
    source, target = flow.links.T
    near = flow.rank[target] - flow.rank[source] == 1
    source, target = source[near], target[near]
    rise = np.hypot(*(place[source] - place[target])[:, 1:].T)
    np.maximum.at(need, flow.rank[source], SLOPE * rise)
    return need


def one_row() -> I8:
    """The first rank of each row, for a strip that is not cut."""
    return np.zeros(1, np.int64)


def cut_to_aspect(
    strip: Strip, aspect: float, drawn: tuple[float, float, float]
) -> tuple[I8, float, float]:
    """Cut into the rows that can be drawn largest in a picture of a width / height.

    What is then still missing is made up, within limits, by longer gaps or higher gutters.

    Parameters
    ----------
    strip : Strip
    aspect : float
    drawn : (float, float, float)
        How far right and up a step along x leads in the picture, and how far up one along y.

    Returns
    -------
    cuts : int64 array, shape (rows,)
        First rank of each row.
    gap, gutter : float
        Factors for the gaps between ranks and the gutters between rows.
    """
    right, rise, up = drawn

    def in_picture(cuts: I8) -> tuple[float, float]:
        width, height = extent(strip, cuts)
        return right * width / aspect, rise * width + up * height

    def ratio(cuts: I8) -> float:
        width, height = in_picture(cuts)
        return width / height

    cuts = best_cut(strip, ratio, lambda cuts: max(in_picture(cuts)))
    if max(in_picture(cuts)) > WORTH_A_CUT * max(in_picture(one_row())):
        return one_row(), 1.0, 1.0
    width, height = in_picture(cuts)
    missing = (width - height) / up
    if missing < 0:
        return cuts, min(height / width, MAX_GAP_STRETCH), 1.0
    free = float(gutters(strip, cuts).sum())
    return cuts, 1.0, min(1 + missing / free, MAX_GUTTER_STRETCH) if free else 1.0


def widening(strip: Strip, aspect: float, drawn: tuple[float, float, float]) -> float:
    """Factor for the gaps of one row that is higher than long, so that it fills the picture.

    Links fan out of a node to many branches: the longer the gap, the less steep they are.

    Parameters
    ----------
    strip, aspect, drawn
        As for `cut_to_aspect`.
    """
    right, rise, up = drawn
    width, height = extent(strip, one_row())
    free, growth = float(strip.gap[:-1].sum()), right / aspect - rise
    if free <= 0 or growth <= 0:
        return 1.0
    return float(np.clip(1 + (up * height / growth - width) / free, 1.0, MAX_WIDENING))


def cut_to_width(strip: Strip, width: float) -> I8:
    """First rank of each row, such that the longest row comes close to a width."""
    return best_cut(strip, lambda cuts: extent(strip, cuts)[0] / width)


def best_count(ratio: Callable[[int], float], most: int) -> int:
    """The number from 1 to `most` whose ratio, falling with it, is nearest to 1."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if ratio(middle) > 1.0:
            low = middle + 1
        else:
            high = middle
    near = range(max(1, low - 1), min(most, low + 1) + 1)
    return min(near, key=lambda count: abs(float(np.log(ratio(count)))))


def even_cuts(boundary: F8, length: float, rows: int) -> I8:
    """First piece of each row when a line is cut into rows as equally long as can be.

    Parameters
    ----------
    boundary : float64 array, shape (r - 1,)
        Where the line may be cut: between each piece and the next.
    length : float
        Of the line.
    rows : int
        How many rows; where pieces are too long for that, there are fewer.
    """
    if not len(boundary):
        return np.zeros(1, np.int64)
    ideal = np.arange(1, rows) * (length / rows)
    after = np.minimum(np.searchsorted(boundary, ideal), len(boundary) - 1)
    before = np.maximum(after - 1, 0)
    nearer = ideal - boundary[before] <= boundary[after] - ideal
    return np.unique(np.append(0, np.where(nearer, before, after) + 1))


def best_cut(
    strip: Strip, ratio: Callable[[I8], float], cost: Callable[[I8], float] | None = None
) -> I8:
    """Cut into the number of rows whose ratio, falling with that number, is nearest to 1.

    With a cost, that of the cheapest of the numbers next to it.
    """

    def cuts(rows: int) -> I8:
        return even_cuts(strip.boundary, strip.length, rows)

    count = best_count(lambda rows: ratio(cuts(rows)), len(strip.width))
    tried = [_clean_cuts(strip, cuts(n)) for n in range(max(1, count - 1), count + 2)]
    return min(tried, key=cost or (lambda cuts: abs(float(np.log(ratio(cuts))))))


def _clean_cuts(strip: Strip, cuts: I8) -> I8:
    """Move each cut, within a part of a row's length, to where the fewest nodes feed across."""
    window = CUT_WINDOW * strip.length / len(cuts)
    clean = [0]
    for cut in cuts[1:].tolist():
        best = clean_boundary(strip, cut - 1, window)
        if best + 1 > clean[-1]:
            clean.append(best + 1)
    return np.array(clean, np.int64)


def clean_boundary(strip: Strip, near: int, window: float) -> int:
    """The boundary within a distance of this one that the fewest nodes feed across."""
    boundary, crossing = strip.boundary, strip.crossing
    middle = boundary[near]
    first, last = np.searchsorted(boundary, [middle - window, middle + window], side="left")
    options = range(min(int(first), near), max(int(last), near + 1))
    return min(options, key=lambda i: (crossing[i], abs(boundary[i] - middle)))


def row_extents(strip: Strip, cuts: I8) -> tuple[F8, F8, F8]:
    """Width of each row, and how far it extends above and (negative) below its axis."""
    last = np.append(cuts[1:], len(strip.width)) - 1
    width = strip.start[last] + strip.width[last] - strip.start[cuts]
    return width, np.maximum.reduceat(strip.top, cuts), np.minimum.reduceat(strip.bottom, cuts)


def gutters(strip: Strip, cuts: I8) -> F8:
    """Free height between each row and the next, where the line back to the left runs."""
    reach = np.maximum.reduceat(strip.reach, cuts)
    return GUTTER * np.maximum(reach[:-1], reach[1:])


def extent(strip: Strip, cuts: I8) -> tuple[float, float]:
    """Width and height of a strip in rows."""
    width, top, bottom = row_extents(strip, cuts)
    return float(width.max()), float((top - bottom).sum() + gutters(strip, cuts).sum())
