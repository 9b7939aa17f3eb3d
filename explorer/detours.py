"""Ways round what stands between two nodes: rows to run on, gaps to climb in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.cables import Cables, Obstacles
from explorer.route_map import Flags, RouteMap
from explorer.tracks import assign_tracks

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_WINDOW = 14  # columns of a gap in which a line may climb
_UNDER = 0.5  # what a length under a row, among labels, costs more
_FRONT = 1.3  # what a length in front of boxes costs
_MOST_MAPS = 4  # depths of scopes with a map of their own
_FAR = np.float32(1e9)


@dataclass(frozen=True)
class Ramps:
    """The pieces of routes that are not level: at the source, on the way, at the target.

    Attributes
    ----------
    first, last : float64 array, shape (m, 3, 3)
        Where the three ramps of each route begin and end; the middle one only where `changes`.
    bulge : float64 array, shape (m, 3)
        As `explorer.curves.curves` takes it.
    changes : bool array, shape (m,)
        Routes that change their track on the way.
    """

    first: F8
    last: F8
    bulge: F8
    changes: Flags

    @classmethod
    def none(cls, count: int = 0) -> Ramps:
        """Ramps of so many routes, all zero."""
        shape = (count, 3, 3)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape[:2]), np.zeros(count, bool))

    def take(self, index: I8) -> Ramps:
        """The ramps of the routes at these positions."""
        return Ramps(self.first[index], self.last[index], self.bulge[index], self.changes[index])


class _Gap:
    """The columns beside one end of each cable, from its face outwards."""

    def __init__(self, solid: RouteMap, column: I8, row: I8, step: int) -> None:
        grid = solid.grid
        columns = column[:, None] + step * np.arange(_WINDOW)
        inside = (columns >= 0) & (columns < grid.columns)
        columns = np.clip(columns, 0, grid.columns - 1)
        at = row[:, None]
        self.open = np.logical_and.accumulate(inside & ~solid.taken[columns, at], axis=1)
        self.above, self.below = solid.above[columns, at], solid.below[columns, at]
        self.row, self.step = row, step
        self.column = np.clip(column, 0, grid.columns - 1)
        self.highest = np.where(self.open, self.above, -1).max(axis=1)
        self.lowest = np.where(self.open, self.below, grid.rows).min(axis=1)
        self._solid = solid

    def reaches(self, which: I8 | slice = slice(None)) -> Flags:
        """Rows that can be reached in the gap, shape (m, rows)."""
        rows = np.arange(self._solid.grid.rows)
        lowest, highest = self.lowest[which, None], self.highest[which, None]
        return np.asarray((rows > lowest) & (rows < highest))

    def skips(self, which: I8) -> I8:
        """Columns to skip before each row can be reached, shape (m, rows)."""
        grid = self._solid.grid
        up = np.maximum.accumulate(np.where(self.open[which], self.above[which], -1), axis=1)
        down = np.where(self.open[which], self.below[which], grid.rows)
        down = np.minimum.accumulate(down, axis=1)
        rows, count = np.arange(grid.rows), np.zeros((len(which), grid.rows), np.int64)
        over = rows >= self.row[which, None]
        for k in range(_WINDOW):
            count += np.where(over, up[:, k, None] <= rows, down[:, k, None] >= rows)
        return count

    def climb(self, row: I8) -> tuple[I8, I8]:
        """Where to climb to these rows: columns to skip, and columns there are for it."""
        up = (row >= self.row)[:, None]
        passes = self.open & np.where(up, self.above > row[:, None], self.below < row[:, None])
        some = passes.any(axis=1)
        skip = np.where(some, passes.argmax(axis=1), 0)
        later = np.arange(_WINDOW) >= skip[:, None]
        many = np.logical_and.accumulate(passes | ~later, axis=1).sum(axis=1) - skip
        return skip, np.where(some, np.maximum(many, 1), 2)


@dataclass
class _Choice:
    """What is decided about each cable: rows at both ends, and the column between them."""

    source_row: I8
    target_row: I8
    column: I8
    changes: Flags
    front: Flags
    depth: F8


class Router:
    """Finds tracks for cables that cannot run directly.

    Parameters
    ----------
    cables : Cables
    obstacles : Obstacles
    solid : RouteMap
        Of the closed obstacles.
    unit : float
        Height of a usual box, world units.
    """

    def __init__(self, cables: Cables, obstacles: Obstacles, solid: RouteMap, unit: float) -> None:
        self.cables, self.obstacles, self.solid, self.unit = cables, obstacles, solid, unit
        self.grid = grid = solid.grid
        start, end = cables.start, cables.end
        leave, enter = grid.after(start[:, 0]), grid.before(end[:, 0])
        self.leaving = _Gap(solid, leave, grid.row(start[:, 1]), 1)
        self.entering = _Gap(solid, enter, grid.row(end[:, 1]), -1)
        self.back = (end[:, 0] <= start[:, 0]) | (enter < leave)
        self.first = np.clip(np.minimum(leave, enter), 0, grid.columns - 1)
        self.last = np.clip(np.maximum(leave, enter), 0, grid.columns - 1) + 1

    def ramps(self) -> Ramps:
        """The ramps of each cable's route."""
        allowed = self._allowed()
        cost = self._cost()
        rows = _shared_rows(self.cables, np.where(allowed, cost, _FAR))
        best = cost[np.arange(len(rows)), rows]
        straight = np.abs(self.cables.start[:, 1] - self.cables.end[:, 1])
        depth = self._front()
        out = 2 * (depth - np.maximum(self.cables.start[:, 2], self.cables.end[:, 2]))
        none = ~allowed.any(axis=1)
        front = none | (best - straight > _FRONT * (out + straight) + self.unit)
        choice = _Choice(rows, rows.copy(), np.zeros_like(rows), np.zeros_like(none), front, depth)
        self._change(choice, np.flatnonzero(none))
        self._assign(choice, allowed)
        return self._shape(choice)

    def _allowed(self) -> Flags:
        """Rows that are free between the ends and can be reached from both, shape (m, rows)."""
        allowed = self.solid.free_rows(self.first, self.last)
        allowed &= self.leaving.reaches() & self.entering.reaches()
        back = np.flatnonzero(self.back)
        if len(back):  # a line that turns back also passes what it skips before it climbs
            first = self.first[back, None] - self.entering.skips(back)
            last = self.last[back, None] + self.leaving.skips(back)
            allowed[back] &= self.solid.free_stretches(first, last)
        narrow = np.flatnonzero(~self.back & (self.last - self.first < 2 * _WINDOW))
        if len(narrow):
            skips = self.entering.skips(narrow) + self.leaving.skips(narrow)
            allowed[narrow] &= skips < (self.last - self.first)[narrow, None]
        frames, inner = self.obstacles.depth, self.cables.inner
        margin = np.array((0.0, 0.03 * self.unit))
        for depth in np.unique(self.cables.depth)[:_MOST_MAPS].tolist():
            closed = np.flatnonzero(frames > depth)
            if not len(closed):
                continue
            low, high = self.obstacles.low[closed, :2], self.obstacles.high[closed, :2]
            framed = RouteMap(self.grid, low - margin, high + margin)
            here = np.flatnonzero(self.cables.depth == depth)
            # Inside the parts that hold the ends, only what is closed is in the way.
            first = np.maximum(self.first[here], self.grid.column(inner[here, 0]) + 1)
            last = np.minimum(self.last[here], self.grid.column(inner[here, 1]))
            first = np.where(self.back[here], self.first[here], first)
            last = np.where(self.back[here], self.last[here], last)
            narrower = allowed[here] & framed.free_rows(first, np.maximum(first, last))
            some = narrower.any(axis=1)
            allowed[here[some]] = narrower[some]
        return allowed

    def _cost(self) -> F4:
        """How long a detour over each row is, world units, shape (m, rows)."""
        heights = self.grid.heights.astype(np.float32)
        y0 = self.cables.start[:, 1].astype(np.float32)[:, None]
        y1 = self.cables.end[:, 1].astype(np.float32)[:, None]
        a, b = np.abs(heights - y0), np.abs(heights - y1)
        cost = a + b + np.float32(0.01) * np.minimum(a, b)
        cost += np.float32(_UNDER) * np.maximum(np.minimum(y0, y1) - heights, 0)
        wish = np.flatnonzero(self.back & np.isfinite(self.cables.gutter))
        gutter = self.cables.gutter[wish].astype(np.float32)
        cost[wish] += 4 * np.abs(heights - gutter[:, None])
        return np.asarray(cost)

    def _front(self) -> F8:
        """Depth at which each cable passes in front of everything on its way, shape (m,)."""
        closed = self.obstacles.depth < 0
        low, high = self.obstacles.low[closed], self.obstacles.high[closed]
        columns = np.full(self.grid.columns, -np.inf)
        first, last = self.grid.column(low[:, 0]), self.grid.column(high[:, 0]) + 1
        for i in np.argsort(high[:, 2], kind="stable").tolist():  # the nearest stays
            columns[first[i] : last[i]] = high[i, 2]
        own = np.maximum(self.cables.start[:, 2], self.cables.end[:, 2])
        return np.maximum(_range_max(columns, self.first, self.last), own) + 0.1 * self.unit

    def _change(self, choice: _Choice, which: I8) -> None:
        """Rows and columns for cables that no single row serves: along two, with a change."""
        if not len(which):
            return
        grid, heights = self.grid, self.grid.heights
        y0, y1 = self.cables.start[which, 1, None], self.cables.end[which, 1, None]
        found, reach = [], []
        for gap, near in ((self.leaving, y0), (self.entering, y1)):
            at = gap.column[which]
            right, left = self.solid.right[at], self.solid.left[at]
            skips = gap.skips(which)
            clear = right - at[:, None] if gap.step > 0 else at[:, None] - left
            usable = gap.reaches(which) & (right > at[:, None]) & (clear > skips)
            usable &= (right == grid.columns) | (left < 0)
            cost = np.abs(heights - y0) + np.abs(heights - y1) + 0.1 * np.abs(heights - near)
            row = np.where(usable, cost, np.inf).argmin(axis=1)
            each = np.arange(len(which))
            found.append((row, usable[each, row]))
            reach.append((left[each, row], right[each, row]))
        (row0, some0), (row1, some1) = found
        open_ = self.solid.free_columns(np.minimum(row0, row1), np.maximum(row0, row1) + 1)
        open_[:, 1:-1] &= open_[:, 2:] & open_[:, :-2]
        columns = np.arange(grid.columns)
        for left, right in reach:
            open_ &= (columns > left[:, None]) & (columns < right[:, None])
        a, b = self.leaving.column[which, None], self.entering.column[which, None]
        cost = np.abs(columns - a) + 1.02 * np.abs(columns - b)
        column = np.where(open_, cost, np.inf).argmin(axis=1)
        good = np.flatnonzero(some0 & some1 & open_.any(axis=1))
        chosen = which[good]
        choice.source_row[chosen], choice.target_row[chosen] = row0[good], row1[good]
        choice.column[chosen], choice.changes[chosen] = column[good], True
        choice.front[chosen] = False

    def _assign(self, choice: _Choice, allowed: Flags) -> None:
        """Move apart what would lie on each other."""
        changes, front = choice.changes, choice.front
        hub = _hubs(self.cables)
        plain, changing = np.flatnonzero(~changes & ~front), np.flatnonzero(changes)
        a, b, c = self.leaving.column, self.entering.column, choice.column
        which = np.concatenate((plain, changing, changing))
        rows = np.concatenate(
            (choice.source_row[plain], choice.source_row[changing], choice.target_row[changing])
        )
        ends = np.concatenate((a[plain], a[changing], c[changing]))
        other = np.concatenate((b[plain], c[changing], b[changing]))
        spans = np.minimum(ends, other), np.maximum(ends, other) + 1
        may = np.concatenate(
            (
                allowed[plain],
                self._free_beside(choice.source_row[changing], c[changing]),
                self._free_beside(choice.target_row[changing], c[changing]),
            )
        )
        middle = (self.cables.start[which, 1] + self.cables.end[which, 1]) / 2
        outward = np.where(self.grid.heights[rows] >= middle, 1, -1)
        rows = _apart(hub[which], rows, spans, outward, may)
        k = len(plain)
        choice.source_row[plain] = choice.target_row[plain] = rows[:k]
        choice.source_row[changing] = rows[k : k + len(changing)]
        choice.target_row[changing] = rows[k + len(changing) :]
        low = np.minimum(choice.source_row, choice.target_row)[changing]
        high = np.maximum(choice.source_row, choice.target_row)[changing] + 1
        free = self.solid.free_columns(low, high)
        sides = np.where(c[changing] * 2 > self.grid.columns, 1, -1)
        choice.column[changing] = _apart(hub[changing], c[changing], (low, high), sides, free)
        ahead = np.flatnonzero(front)
        levels = _apart(
            hub[ahead] * 0 + ahead, np.zeros(len(ahead), np.int64),
            (self.first[ahead], self.last[ahead]),
            np.ones(len(ahead), np.int64), np.ones((len(ahead), 64), bool),
        )  # fmt: skip
        choice.depth[ahead] += levels * 0.1 * self.unit

    def _free_beside(self, rows: I8, column: I8) -> Flags:
        """Rows next to these, as far as nothing stands in this column, shape (m, rows)."""
        every = np.arange(self.grid.rows)
        above = self.solid.above[column, rows][:, None]
        below = self.solid.below[column, rows][:, None]
        return np.asarray((every > below) & (every < above))

    def _shape(self, choice: _Choice) -> Ramps:
        grid, ramps = self.grid, Ramps.none(len(choice.front))
        front, changes = choice.front, choice.changes
        start, end = self.cables.start, self.cables.end
        middle = grid.left + (choice.column + 0.5) * grid.width
        onward = np.where(changes, middle - start[:, 0], np.where(self.back, -1.0, 1.0))
        inward = np.where(changes, end[:, 0] - middle, np.where(self.back, -1.0, 1.0))
        for k, gap, own, rows, ahead in (
            (0, self.leaving, start, choice.source_row, onward),
            (2, self.entering, end, choice.target_row, inward),
        ):
            row = np.where(front, gap.row, rows)
            skip, many = gap.climb(row)
            level = np.where(row == gap.row, own[:, 1], grid.heights[row])
            many = np.where((row == gap.row) & ~front, 0, many)
            turns, outer = ahead < 0, own.copy()
            border = grid.left + (gap.column + gap.step * skip + (gap.step < 0)) * grid.width
            outer[:, 0] = border
            room = np.where(turns, np.maximum(0.5 * many, 0.5), 0.5 * many) * grid.width
            inner = np.stack((outer[:, 0], level, np.where(front, choice.depth, own[:, 2])), 1)
            inner[:, 0] += gap.step * np.where(turns, 0.0, room)
            ramps.bulge[:, k] = np.where(turns, gap.step * room, 0.0)
            ramps.first[:, k], ramps.last[:, k] = (outer, inner) if k == 0 else (inner, outer)
        _uncrossed(ramps, ~self.back & ~changes)
        self._level(choice, ramps)
        self._between(ramps, changes, middle, (onward > 0, inward > 0))
        ramps.changes[:] = changes
        return ramps

    def _level(self, choice: _Choice, ramps: Ramps) -> None:
        """Routes on one row run level: at the height of an end whose row it is."""
        single = ~choice.front & ~choice.changes
        at_end = single & (choice.target_row == self.entering.row)
        at_start = single & (choice.source_row == self.leaving.row)
        y = np.where(at_start, self.cables.start[:, 1], ramps.first[:, 2, 1])
        y = np.where(at_end & ~at_start, self.cables.end[:, 1], y)
        ramps.last[single, 0, 1] = ramps.first[single, 2, 1] = y[single]

    def _between(
        self,
        ramps: Ramps,
        changes: Flags,
        middle: NDArray[np.floating],
        forward: tuple[Flags, Flags],
    ) -> None:
        """The ramp from one track to another."""
        width = 2.0 * self.grid.width
        before = np.where(forward[0], -width, width)
        after = np.where(forward[1], width, -width)
        turns = forward[0] != forward[1]
        for part, level, shift in (
            (ramps.first, ramps.last[:, 0], before),
            (ramps.last, ramps.first[:, 2], after),
        ):
            part[:, 1] = level
            part[:, 1, 0] = middle + np.where(turns, before, shift)
        ramps.bulge[:, 1] = np.where(turns & changes, -before, 0.0)


def _uncrossed(ramps: Ramps, forward: Flags) -> None:
    """Shorten the ramps of routes in a gap that is too narrow for both."""
    x0, x1 = ramps.first[:, 0, 0], ramps.last[:, 0, 0]
    x2, x3 = ramps.first[:, 2, 0], ramps.last[:, 2, 0]
    share = np.clip((x3 - x0) / np.maximum(x1 - x0 + x3 - x2, 1e-9), 0.0, 1.0)
    crossed = forward & (x1 > x2)
    ramps.last[crossed, 0, 0] = (x0 + share * (x1 - x0))[crossed]
    ramps.first[crossed, 2, 0] = (x3 - share * (x3 - x2))[crossed]


def _range_max(values: F8, first: I8, last: I8) -> F8:
    """The largest of values[first:last] for each pair, by a sparse table."""
    table = [values]
    while 2 ** len(table) <= len(values):
        step = 2 ** (len(table) - 1)
        table.append(np.maximum(table[-1][:-step], table[-1][step:]))
    level = np.floor(np.log2(np.maximum(last - first, 1))).astype(np.int64)
    out = np.full(len(first), -np.inf)
    for k in np.unique(level).tolist():
        here = np.flatnonzero(level == k)
        left, right = first[here], np.maximum(last[here] - 2**k, first[here])
        out[here] = np.maximum(table[k][left], table[k][right])
    return out


def _hubs(cables: Cables) -> I8:
    """The end that a cable has in common with most others, as a number; targets count on."""
    many = int(max(cables.source.max(), cables.target.max())) + 1
    out = np.bincount(cables.source, minlength=many)[cables.source]
    into = np.bincount(cables.target, minlength=many)[cables.target]
    return np.where(out >= into, cables.source, cables.target + many).astype(np.int64)


def _shared_rows(cables: Cables, cost: F4) -> I8:
    """A row for each cable, such that as many of a hub's cables as can be have the same."""
    rows = np.asarray(cost.argmin(axis=1), np.int64)
    hub = np.unique(_hubs(cables), return_inverse=True)[1].ravel()
    left = np.flatnonzero(np.bincount(hub)[hub] > 1)
    for _ in range(6):
        if not len(left):
            break
        left = left[np.argsort(hub[left], kind="stable")]
        _, bounds, which = np.unique(hub[left], return_index=True, return_inverse=True)
        together = np.add.reduceat(cost[left], bounds, axis=0)
        common = together.argmin(axis=1)[which.ravel()]
        fits = cost[left, common] < _FAR / 2
        rows[left[fits]] = common[fits]
        left = left[~fits]
    return rows


def _apart(hub: I8, rows: I8, spans: tuple[I8, I8], outward: I8, allowed: Flags) -> I8:
    """Rows of stretches after nets that would lie on each other have been moved apart.

    Stretches of one hub that wish for one row are one net.
    """
    if not len(rows):
        return rows
    net, member = np.unique(hub * (int(rows.max()) + 1) + rows, return_inverse=True)
    member, count = member.ravel(), len(net)
    first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    np.minimum.at(first, member, spans[0])
    np.maximum.at(last, member, spans[1])
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(count))
    may = np.logical_and.reduceat(allowed[order], bounds, axis=0)
    found = assign_tracks(
        rows[order[bounds]].tolist(),
        list(zip(first.tolist(), last.tolist(), strict=True)),
        outward[order[bounds]].tolist(),
        [row.tobytes() for row in may],
    )
    return np.array(found, np.int64)[member]
