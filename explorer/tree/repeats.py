"""Series: equal siblings one behind the other, and blocks of several siblings that repeat.

With period 1 each member is one sibling. With a longer period the block that repeats is made
first: this is how the blocks of a network show when its names say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.tree.forest import SCOPE, SERIES, Forest, Rows, mixed, rows_of
from explorer.tree.structure import STRUCTURE_FROM
from explorer.tree.titles import Titles

I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_WINDOWS = (1, 3, 9, 27)  # siblings compared at once when periods are looked for
_PERIODS = 6  # tried for each length of window
_LEAST = 4  # single layers or stages: folding fewer hides more than it saves


@dataclass(frozen=True)
class _Run:
    """`count` blocks of `period` siblings from row `start`."""

    start: int
    period: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.period * self.count


class _Likeness:
    """What siblings have in common, for comparing each with the one a period before."""

    def __init__(self, forest: Forest, rows: Rows) -> None:
        self.rows = rows
        self.count = len(rows.node)
        node, links = rows.node, forest.links
        self.at_a, self.at_b = links.at_a[rows.link], links.at_b[rows.link]
        self.what = links.what[rows.link]
        self.leaf = links.source[rows.link]
        self.jump = rows.target - rows.source
        # Alike inside, and fed at the same places by whatever it be.
        places = forest.counts[node] * np.uint64(7) + forest.places[node]
        self.alike = mixed(forest.inside[node] + mixed(places, 8), 9)
        # What comes from outside the group: all that feeds a vertex but its siblings.
        sources = np.zeros(self.count, np.uint64)
        fed = np.zeros(self.count, np.uint64)
        np.add.at(sources, rows.target, self.leaf)
        np.add.at(fed, rows.target, self.leaf * self.at_b)
        self.outer = mixed(forest.fed[node] - fed, 10) + mixed(forest.sources[node] - sources, 11)

    def wired(self, period: int, wanted: Flags | None = None) -> U8:
        """Sums that are equal for siblings that are fed alike at this period.

        What comes from the period before or the same one is told by its distance, the rest by
        what it is.

        Parameters
        ----------
        period : int
        wanted : bool array, shape (m,), optional
            Rows that are asked for, all if not given; the sums of others mean nothing.
        """
        target = self.rows.target
        some = slice(None) if wanted is None else np.flatnonzero(wanted[target])
        jump, at_a, at_b = self.jump[some], self.at_a[some], self.at_b[some]
        near = jump < 2 * period
        place = np.where(near, mixed(jump, 12) + at_a, mixed(self.leaf[some], 13))
        link = mixed(mixed(place, 14) * np.uint64(3) + mixed(at_b + self.what[some], 15), 16)
        total = np.zeros(self.count, np.uint64)
        np.add.at(total, target[some], link)
        return mixed(total + self.outer, 17)

    def same(self, values: U8, period: int) -> Flags:
        """Whether each row equals the one a period behind it, in the same group."""
        found = np.zeros(self.count, bool)
        if period < self.count:
            group = self.rows.group
            found[:-period] = (values[:-period] == values[period:]) & (
                group[:-period] == group[period:]
            )
        return found


def series(forest: Forest, titles: Titles, groups: I8) -> I8:
    """Fold what repeats among the children of these groups.

    Parameters
    ----------
    forest : Forest
    titles : Titles
    groups : int64 array

    Returns
    -------
    int64 array
        The new blocks that are worth looking into.
    """
    rows = rows_of(forest, groups)
    if not len(rows.node):
        return groups[:0]
    like = _Likeness(forest, rows)
    found = _single(forest, like)
    for period in _periods(like):
        found.extend(_longer(like, period))
    found.sort(key=lambda r: (-r.period * r.count, r.period, r.start))
    used = np.zeros(len(rows.node), bool)
    chosen = []
    for run in found:
        if not used[run.start : run.stop].any():
            used[run.start : run.stop] = True
            chosen.append(run)
    chosen.sort(key=lambda r: r.start)
    return _folded(forest, titles, rows, chosen)


def _folded(forest: Forest, titles: Titles, rows: Rows, chosen: list[_Run]) -> I8:
    none: I8 = np.zeros(0, np.int64)
    if not chosen:
        return none
    start, period, count = (
        np.array([getattr(r, name) for r in chosen], np.int64)
        for name in ("start", "period", "count")
    )
    run = np.repeat(np.arange(len(chosen)), count)
    begin = np.repeat(np.cumsum(count) - count, count)
    first = start[run] + (np.arange(len(run)) - begin) * period[run]
    members = rows.node[first]
    long = period[run] > 1
    made = none
    if long.any():
        width = period[run[long]]
        block = np.repeat(np.arange(len(width)), width)
        inside = np.arange(len(block)) - np.repeat(np.cumsum(width) - width, width)
        atoms = rows.node[np.repeat(first[long], width) + inside]
        made = forest.nest(atoms, block, titles.blocks(members[long]))
        members = members.copy()
        members[long] = made
    # A group that is a series already needs no other inside.
    held = np.bincount(forest.parent[members], minlength=len(forest.parent))
    total = np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest.parent))
    above = forest.parent[members]
    whole = (held[above] == total[above]) & _inferred(forest)[above] & ~_is_root(forest, above)
    whole &= count[run] == total[above]
    if whole.any():
        for vertex in np.unique(above[whole]).tolist():
            forest.meta.kind[vertex - forest.layers] = SERIES
    keep = ~whole
    if keep.any():
        which, group = np.unique(run[keep], return_inverse=True)
        at = np.cumsum(count) - count
        firsts, lasts = members[at[which]], members[at[which] + count[which] - 1]
        meta = titles.series(firsts, lasts, members[keep], group)
        forest.nest(members[keep], group, meta)
    return made


def _inferred(forest: Forest) -> Flags:
    flags = np.zeros(len(forest.parent), bool)
    flags[forest.layers :] = forest.meta.inferred
    return flags


def _is_root(forest: Forest, vertices: I8) -> Flags:
    return np.asarray(vertices == forest.layers)


def _single(forest: Forest, like: _Likeness) -> list[_Run]:
    """Runs of siblings that are each alone a member."""
    alike = like.same(like.alike, 1)
    chained = np.zeros(like.count, bool)
    chained[like.rows.source[like.jump == 1]] = True
    alike &= chained
    wired = like.same(like.wired(1), 1)
    joined = alike.copy()
    # The first member of a run may be fed by something else than a member.
    for row in np.flatnonzero(alike & ~wired).tolist():
        joined[row] = row == 0 or not joined[row - 1]
    start, stop = _runs(joined)
    count = stop - start + 1
    least = np.where(forest.kinds[like.rows.node[start]] == SCOPE, 2, _LEAST)
    good = count >= least
    return [_Run(s, 1, c) for s, c in zip(start[good].tolist(), count[good].tolist(), strict=True)]


def _runs(flags: Flags) -> tuple[I8, I8]:
    """First row and last + 1 of each run of true flags."""
    edge = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.flatnonzero(edge > 0), np.flatnonzero(edge < 0)


def _periods(like: _Likeness) -> list[int]:
    """Periods worth trying: the distances at which windows of siblings come again."""
    large = like.rows.size >= STRUCTURE_FROM
    found: set[int] = set()
    for width in _WINDOWS:
        if width > like.count:
            break
        window = like.alike[: like.count - width + 1].copy()
        for k in range(1, width):
            window = mixed(window, 18) + like.alike[k : like.count - width + 1 + k]
        whole = np.arange(len(window)) + width <= like.rows.stop[: len(window)]
        row = np.flatnonzero(large[: len(window)] & whole)
        order = row[np.lexsort((row, window[row], like.rows.group[row]))]
        again = (window[order[1:]] == window[order[:-1]]) & (
            like.rows.group[order[1:]] == like.rows.group[order[:-1]]
        )
        gaps = np.diff(order)[again]
        counts = np.bincount(gaps) if len(gaps) else np.zeros(0, np.int64)
        best = np.argsort(-counts, kind="stable")[:_PERIODS]
        found.update(best[counts[best] > 0].tolist())
    return sorted(p for p in found if p > 1)


def _longer(like: _Likeness, period: int) -> list[_Run]:
    """Runs of blocks of this many siblings."""
    alike = like.same(like.alike, period)
    begin, end = _runs(alike)
    # A row may start at most a period before what is wired alike, and not before what is alike.
    enough = end - begin >= max(period, STRUCTURE_FROM - period)
    if not enough.any():
        return []
    may = np.zeros(like.count + 1, np.int8)
    may[begin[enough]], may[end[enough]] = 1, -1
    within = np.cumsum(may[:-1]).astype(bool)
    wanted = within.copy()
    wanted[period:] |= within[:-period]
    wired = within & like.same(like.wired(period, wanted), period)
    start, stop = _runs(wired)
    # How far the first block may reach ahead: there what feeds it may be anything.
    run = np.arange(like.count)
    clear = np.maximum.accumulate(np.where(alike, -1, run))
    low = np.maximum(clear[start] + 1, start - period)
    low = np.maximum(low, like.rows.start[start])
    long = (stop + period - low) >= np.maximum(2 * period, STRUCTURE_FROM)
    long &= like.rows.size[start] >= STRUCTURE_FROM
    if not long.any():
        return []
    near = _near(like, period, low[long], stop[long] + period)
    crossing, inner = _crossing(like, near), _Inner(like, near)
    found = []
    rows = zip(low[long].tolist(), start[long].tolist(), stop[long].tolist(), strict=True)
    for lo, first, last in rows:
        best = _best_start(lo, first, last + period, period, crossing, inner)
        if best is not None:
            found.append(best)
    return found


def _near(like: _Likeness, period: int, low: I8, stop: I8) -> I8:
    """Links that reach less than two periods, to or from what stands in or near some runs."""
    change = np.zeros(like.count + 1, np.int64)
    np.add.at(change, np.maximum(low - 2 * period, 0), 1)
    np.subtract.at(change, stop, 1)
    here = np.cumsum(change) > 0
    near = here[like.rows.source] | here[like.rows.target]
    return np.flatnonzero(near & (like.jump < 2 * period))


def _best_start(lo: int, first: int, stop: int, period: int, crossings: I8,
                inner: _Inner) -> _Run | None:  # fmt: skip
    """Where to cut a periodic run into blocks: where the fewest things cross the cuts."""
    # By the row a cut stands before, from the first that is possible.
    crossing = crossings[lo + period : min(lo + 2 * period, stop)].tolist()
    if min(crossing, default=0) == 0:
        return None  # parts without a link between them are no series
    best: tuple[int, int, int] | None = None
    for start in range(lo, min(lo + period, stop)):
        count = (stop - start) // period
        if not (count >= 3 or (count == 2 and period >= _LEAST)):
            continue
        cross = crossing[start - lo]
        key = (cross, -count, start)
        if (best is None or key < best) and (
            start >= first or inner.equal(start, start + period, period)
        ):
            best = key
    return None if best is None else _Run(best[2], period, -best[1])


def _crossing(like: _Likeness, near: I8) -> I8:
    """How many siblings feed something across the gap before each row, side inputs left out."""
    reach = np.zeros(like.count, np.int64)
    np.maximum.at(reach, like.rows.source[near], like.jump[near])
    some = np.flatnonzero(reach)
    change = np.zeros(like.count + 2, np.int64)
    np.add.at(change, some + 1, 1)
    np.subtract.at(change, some + reach[some] + 1, 1)
    return np.cumsum(change)[: like.count + 1]


class _Inner:
    """The links inside blocks, for comparing two."""

    def __init__(self, like: _Likeness, links: I8) -> None:
        order = links[np.argsort(like.rows.target[links], kind="stable")]
        self.like = like
        self.order = order
        self.target = like.rows.target[order]

    def _of(self, start: int, period: int) -> list[tuple[int, ...]]:
        low, high = np.searchsorted(self.target, (start, start + period))
        rows = self.order[low:high]
        rows = rows[self.like.rows.source[rows] >= start]
        columns = (
            self.like.rows.source[rows] - start,
            self.like.rows.target[rows] - start,
            self.like.at_a[rows],
            self.like.at_b[rows],
            self.like.what[rows],
        )
        return sorted(zip(*(c.tolist() for c in columns), strict=True))

    def equal(self, one: int, other: int, period: int) -> bool:
        """Whether two blocks are wired alike inside."""
        return self._of(one, period) == self._of(other, period)
