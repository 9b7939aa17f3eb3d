"""Ways round what stands between two nodes: rows to run on, gaps to climb in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.routes.cables import Cables, Obstacles, Ramps
from explorer.routes.gaps import I2, WINDOW, Gap
from explorer.routes.nets import FAR, apart, hubs, shared_rows
from explorer.routes.route_map import Flags, RouteMap

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_UNDER = 0.5  # what a length under a row, among labels, costs more
_INSIDE = 0.05  # what climbing inside a frame that holds one end only costs more
_FRONT = 1.3  # what a length in front of boxes costs
_BLOCK = 256  # cables looked at together, so that what is worked on stays in the cache
_MOST_MAPS = 4  # depths of scopes with a map of their own


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
        ahead = cables.steps > 0
        leave = np.where(ahead[:, 0], grid.after(start[:, 0]), grid.before(start[:, 0]))
        enter = np.where(ahead[:, 1], grid.before(end[:, 0]), grid.after(end[:, 0]))
        self.leaving = Gap(solid, leave, grid.row(start[:, 1]), cables.steps[:, 0])
        self.entering = Gap(solid, enter, grid.row(end[:, 1]), -cables.steps[:, 1])
        self.right = enter >= leave  # the way that the line runs between the two gaps
        self.turns = self.right[:, None] != ahead
        self.back = self.turns.any(axis=1)
        self.first = np.clip(np.minimum(leave, enter), 0, grid.columns - 1)
        self.last = np.clip(np.maximum(leave, enter), 0, grid.columns - 1) + 1

    def ramps(self, through: float = np.nan) -> Ramps:
        """The ramps of each cable's route.

        Parameters
        ----------
        through : float
            Depth at which nothing stands: where it is given, all run there.
        """
        count = len(self.right)
        if np.isfinite(through):
            nowhere, all_ = np.zeros(count, np.int64), np.ones(count, bool)
            depth = np.full(count, through)
            return self._shape(_Choice(nowhere, nowhere, nowhere, ~all_, all_, depth))
        allowed = self._allowed()
        cost = self._cost()
        np.copyto(cost, FAR, where=~allowed)
        rows = shared_rows(self.cables, cost, 1.5 * self.unit)
        y0, y1, y = self.cables.start[:, 1], self.cables.end[:, 1], self.grid.heights[rows]
        best, straight = np.abs(y - y0) + np.abs(y - y1), np.abs(y0 - y1)
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
        rows = np.arange(self.grid.rows, dtype=np.int16)
        lowest = np.maximum(self.leaving.lowest, self.entering.lowest)
        highest = np.minimum(self.leaving.highest, self.entering.highest)
        allowed &= rows > lowest.astype(np.int16)[:, None]
        allowed &= rows < highest.astype(np.int16)[:, None]
        # What a line skips before it climbs it passes too, or it has no room left to run in.
        near = np.flatnonzero(self.back | (self.last - self.first < 2 * WINDOW))
        if len(near):
            allowed[near] &= self._enters(near)
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
            between = self.grid.column(inner[here])
            first = np.maximum(self.first[here], between.min(axis=1) + 1)
            last = np.minimum(self.last[here], between.max(axis=1))
            first = np.where(self.back[here], self.first[here], first)
            last = np.where(self.back[here], self.last[here], last)
            narrower = framed.free_rows(first, np.maximum(first, last))
            narrower &= allowed[here]
            some = narrower.any(axis=1)
            allowed[here[some]] = narrower[some]
            lowest, highest = self._climbs_clear(here, closed)
            held = np.flatnonzero(some & ((lowest >= 0) | (highest < self.grid.rows)))
            fewer = narrower[held]
            fewer &= rows > lowest[held, None]
            fewer &= rows < highest[held, None]
            some = fewer.any(axis=1)
            allowed[here[held[some]]] = fewer[some]
        return allowed

    def _climbs_clear(self, which: I8, frames: I8) -> tuple[I2, I2]:
        """Rows reached from both ends without a climb through a frame that holds neither end.

        Returns
        -------
        lowest, highest : int16 array, shape (m,)
            Rows next to those.
        """
        grid, hair = self.grid, 1e-6 * self.unit
        low, high = self.obstacles.low[frames, :2], self.obstacles.high[frames, :2]
        ends = self.cables.start[which, :2], self.cables.end[which, :2]
        outside = np.ones((len(which), len(frames)), bool)
        for at in ends:
            x, y = at[:, :1], at[:, 1:]
            beyond = (x <= low[:, 0] - hair) | (x >= high[:, 0] + hair)
            outside &= beyond | (y <= low[:, 1] - hair) | (y >= high[:, 1] + hair)
        bottom, top = (grid.row(side[:, 1]).astype(np.int16) for side in (low, high))
        lowest = np.full(len(which), -1, np.int16)
        highest = np.full(len(which), grid.rows, np.int16)
        for gap, at in zip((self.leaving, self.entering), ends, strict=True):
            column, y = grid.left + (gap.column[which, None] + 0.5) * grid.width, at[:, 1:]
            beside = (column > low[:, 0]) & (column < high[:, 0]) & outside
            over = np.where(beside & (low[:, 1] > y), bottom, np.int16(grid.rows))
            under = np.where(beside & (high[:, 1] < y), top, np.int16(-1))
            np.minimum(highest, over.min(axis=1), out=highest)
            np.maximum(lowest, under.max(axis=1), out=lowest)
        return lowest, highest

    def _enters(self, which: I8) -> Flags:
        """Rows that are free from where the line reaches them to where it leaves them."""
        from_, to = self.leaving.of[which], self.entering.of[which]
        counts = [
            self.solid.taken_before(gap.arrival + np.int16(k))
            for gap in (self.leaving, self.entering)
            for k in (0, 1)
        ]
        leave, enter = self.leaving.arrival[from_], self.entering.arrival[to]
        crossed = (leave > enter) == self.right[which, None]
        crossed &= ~self.back[which, None] & (leave != enter)
        onward = counts[0][from_] == counts[3][to]
        backward = counts[1][from_] == counts[2][to]
        return np.asarray(np.where(leave <= enter, onward, backward) & ~crossed)

    def _cost(self) -> F4:
        """How long a detour over each row is, world units, shape (m, rows)."""
        cables, heights = self.cables, self.grid.heights.astype(np.float32)
        ends = np.stack((cables.start[:, 1], cables.end[:, 1]))
        faces = np.stack((cables.start[:, 0], cables.end[:, 0]))
        y, low, high = (a.astype(np.float32) for a in (ends, ends.min(axis=0), ends.max(axis=0)))
        # Outside of what holds an end there is nothing that the line does not concern.
        held = np.abs(cables.inner.T - faces) > 1e-6 * self.unit
        gutter = np.where(self.back, cables.gutter, np.nan).astype(np.float32)
        wish = np.isfinite(gutter)
        cost = np.empty((len(low), len(heights)), np.float32)
        for first in range(0, len(cost), _BLOCK):
            part = slice(first, first + _BLOCK)
            own, under = cost[part], low[part, None] - heights
            between = heights - high[part, None]
            np.maximum(between, under, out=between)  # negative between the ends: the nearer
            np.maximum(between, 0, out=own)
            own *= 2
            own += (high - low)[part, None]
            between *= np.float32(0.01)
            own -= between
            np.maximum(under, 0, out=under)
            under *= np.float32(_UNDER)
            own += under
            for weight, value, some in (
                (_INSIDE, y[0], held[0]), (_INSIDE, y[1], held[1]), (4.0, gutter, wish)
            ):  # fmt: skip
                here = np.flatnonzero(some[part])
                away = np.abs(heights - value[part][here, None])
                away *= np.float32(weight)
                own[here] += away
        return cost

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
            ends, of = np.unique(gap.of[which], return_inverse=True)
            at, outwards = gap.columns[ends, None], gap.steps[ends, None] > 0
            right, left = self.solid.right[at[:, 0]], self.solid.left[at[:, 0]]
            clear = np.where(outwards, right - at, at - left)
            usable = gap.reaches()[ends] & (right > at) & (clear > gap.skips[ends])
            usable &= (right == grid.columns) | (left < 0)
            right, left, usable = right[of], left[of], usable[of]
            cost = np.abs(heights - y0) + np.abs(heights - y1) + 0.1 * np.abs(heights - near)
            row = np.where(usable, cost, np.inf).argmin(axis=1)
            each = np.arange(len(which))
            found.append((row, usable[each, row]))
            reach.append((left[each, row], right[each, row]))
        (row0, some0), (row1, some1) = found
        low, high = np.minimum(row0, row1), np.maximum(row0, row1) + 1
        stretch, of = np.unique(low * (grid.rows + 1) + high, return_inverse=True)
        free = self.solid.free_columns(*np.divmod(stretch, grid.rows + 1))
        free[:, 1:-1] &= free[:, 2:] & free[:, :-2]
        open_, columns = free[of], np.arange(grid.columns, dtype=np.int32)
        for left, right in reach:
            open_ &= (columns > left[:, None]) & (columns < right[:, None])
        a, b = (gap.column[which, None].astype(np.int32) for gap in (self.leaving, self.entering))
        # Of equal ways the one that changes nearer to the target.
        cost = 50 * np.abs(columns - a) + 51 * np.abs(columns - b)
        column = np.where(open_, cost, np.iinfo(np.int32).max).argmin(axis=1)
        good = np.flatnonzero(some0 & some1 & open_.any(axis=1))
        chosen = which[good]
        choice.source_row[chosen], choice.target_row[chosen] = row0[good], row1[good]
        choice.column[chosen], choice.changes[chosen] = column[good], True
        choice.front[chosen] = False

    def _assign(self, choice: _Choice, allowed: Flags) -> None:
        """Move apart what would lie on each other."""
        changes, front = choice.changes, choice.front
        hub = hubs(self.cables)
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
        rows = apart(hub[which], rows, spans, outward, may)
        k = len(plain)
        choice.source_row[plain] = choice.target_row[plain] = rows[:k]
        choice.source_row[changing] = rows[k : k + len(changing)]
        choice.target_row[changing] = rows[k + len(changing) :]
        low = np.minimum(choice.source_row, choice.target_row)[changing]
        high = np.maximum(choice.source_row, choice.target_row)[changing] + 1
        free = self.solid.free_columns(low, high)
        sides = np.where(c[changing] * 2 > self.grid.columns, 1, -1)
        choice.column[changing] = apart(hub[changing], c[changing], (low, high), sides, free)
        ahead = np.flatnonzero(front)
        levels = apart(
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
        onward = np.where(changes, middle > start[:, 0], self.right)
        inward = np.where(changes, end[:, 0] > middle, self.right)
        for k, gap, own, rows, ahead in (
            (0, self.leaving, start, choice.source_row, onward == (self.leaving.step > 0)),
            (2, self.entering, end, choice.target_row, inward == (self.entering.step < 0)),
        ):
            row = np.where(front, gap.row, rows)
            skip, many = gap.climb(row)
            level = np.where(row == gap.row, own[:, 1], grid.heights[row])
            many = np.where((row == gap.row) & ~front, 0, many)
            turns, outer = ~ahead, own.copy()
            border = grid.left + (gap.column + gap.step * skip + (gap.step < 0)) * grid.width
            outer[:, 0] = border
            room = np.where(turns, np.maximum(0.5 * many, 0.5), 0.5 * many) * grid.width
            inner = np.stack((outer[:, 0], level, np.where(front, choice.depth, own[:, 2])), 1)
            inner[:, 0] += gap.step * np.where(turns, 0.0, room)
            ramps.bulge[:, k] = np.where(turns, gap.step * room, 0.0)
            ramps.first[:, k], ramps.last[:, k] = (outer, inner) if k == 0 else (inner, outer)
        _uncrossed(ramps, np.where(self.right, 1.0, -1.0), ~self.back & ~changes)
        self._level(choice, ramps)
        self._between(ramps, changes, middle, (onward, inward))
        ramps.pieces[:] = np.where(changes, 3, 2)
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


def _uncrossed(ramps: Ramps, way: F8, forward: Flags) -> None:
    """Shorten the ramps of routes in a gap that is too narrow for both."""
    x0, x1 = way * ramps.first[:, 0, 0], way * ramps.last[:, 0, 0]
    x2, x3 = way * ramps.first[:, 2, 0], way * ramps.last[:, 2, 0]
    share = np.clip((x3 - x0) / np.maximum(x1 - x0 + x3 - x2, 1e-9), 0.0, 1.0)
    crossed = forward & (x1 > x2)
    ramps.last[crossed, 0, 0] = (way * (x0 + share * (x1 - x0)))[crossed]
    ramps.first[crossed, 2, 0] = (way * (x3 - share * (x3 - x2)))[crossed]


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
