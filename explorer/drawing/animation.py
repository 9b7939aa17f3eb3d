"""What lies between two pictures: nodes move, grow out of their parents and shrink into them.

A `Blend` is prepared once for two draw lists and then evaluated for any time between them, with
numpy alone. The window, the page and films play the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.draw_list import F4, U1, BoxArrays, DrawList, EdgeArrays, Label
from explorer.drawing.pairing import merged_nodes, paired

Index = NDArray[np.intp]


def blend(a: DrawList, b: DrawList, t: float) -> DrawList:
    """The picture on the way from `a` to `b`.

    For many times between the same two pictures prepare a `Blend` once.

    Parameters
    ----------
    a, b : DrawList
    t : float
        0 or less gives `a` itself, 1 or more gives `b` itself.
    """
    return Blend(a, b).at(t)


class Blend:
    """The way from one draw list to another.

    Nodes in both move on a line. A node that opens turns into its frame, which grows from its box;
    what is new inside grows along, keeping its relative place, out of the nearest box around it
    that was there before; what vanishes shrinks in the same way into the nearest box around it that
    stays. Solids are never made translucent: a renderer may draw them opaque. Edges follow the
    nodes at their ends; old ones fade in the first half of the way, new ones appear in the second.

    Parameters
    ----------
    a, b : DrawList
    """

    def __init__(self, a: DrawList, b: DrawList) -> None:
        self.a, self.b = a, b
        self.nodes, self._row_a, self._row_b = merged_nodes(a.nodes, b.nodes)
        number = len(self.nodes)
        places = _Places(a, self._row_a, number), _Places(b, self._row_b, number)
        self._solids = _BoxTrack.of("solids", places)
        self._frames = _BoxTrack.of("frames", places)
        self._edges = _EdgeTrack.of(a.edges, b.edges, self._row_a, self._row_b)
        at_a, at_b = _both_places(places, number)
        self._shift = at_b - at_a
        self._at_a, self._at_b = at_a, at_b
        in_both = np.zeros(number, bool)
        in_both[np.intersect1d(self._row_a, self._row_b)] = True
        self._labels = tuple(
            _LabelTrack.of(drawn.labels, rows, in_both)
            for drawn, rows in ((a, self._row_a), (b, self._row_b))
        )

    def at(self, t: float) -> DrawList:
        """The picture at time `t` in 0..1."""
        if t <= 0.0:
            return self.a
        if t >= 1.0:
            return self.b
        nearer, rows = (self.a, self._row_a) if t < 0.5 else (self.b, self._row_b)
        now = self._at_a + self._shift * t
        moved = now - (self._at_a if t < 0.5 else self._at_b)
        return DrawList(
            solids=self._solids.at(t),
            frames=self._frames.at(t),
            edges=self._edges.at(t, now - self._at_a, now - self._at_b),
            labels=self._labels[0 if t < 0.5 else 1].at(moved),
            legend=nearer.legend,
            nodes=self.nodes,
            selected=int(rows[nearer.selected]) if nearer.selected >= 0 else -1,
            theme=nearer.theme,
            pending=self.a.pending or self.b.pending,
            told=nearer.told,
        )


@dataclass(frozen=True)
class _LabelTrack:
    """Labels of nodes that are in both pictures, carried along; others would only flicker."""

    labels: tuple[Label, ...]
    nodes: Index
    anchors: F4

    @classmethod
    def of(cls, labels: tuple[Label, ...], rows: Index, in_both: NDArray[np.bool_]) -> _LabelTrack:
        kept = [
            replace(la, node=int(rows[la.node])) if la.node >= 0 else la
            for la in labels
            if la.node < 0 or in_both[rows[la.node]]
        ]
        return cls(
            tuple(kept),
            np.array([la.node for la in kept], np.intp),
            np.array([la.anchor for la in kept], np.float32).reshape(-1, 3),
        )

    def at(self, moved: F4) -> tuple[Label, ...]:
        """The labels when each node is this far from where the labels have it."""
        shifts = np.where((self.nodes >= 0)[:, None], moved[self.nodes], 0)
        anchors = (self.anchors + shifts).tolist()
        return tuple(
            Label(la.text, (x, y, z), la.priority, la.node, la.title, la.below, la.faded)
            for la, (x, y, z) in zip(self.labels, anchors, strict=True)
        )


class _Places:
    """Where the nodes of one draw list stand, by merged row, and what encloses what.

    Attributes
    ----------
    boxes : dict of str to BoxArrays
        ``"solids"`` and ``"frames"``.
    rows : dict of str to index array
        Merged row of each of those boxes.
    drawn : bool array, shape (n,)
        Which nodes have a box.
    center, size : float32 array, shape (n, 3)
        That box; several boxes of one node (the slices of a series) count as one.
    has_spot : bool array, shape (n,)
    spot : float32 array, shape (n, 3)
        Where edges end at nodes that are not drawn themselves: units of a closed node.
    """

    def __init__(self, drawn: DrawList, rows: Index, number: int) -> None:
        self.boxes = {"solids": drawn.solids, "frames": drawn.frames}
        self.rows = {kind: rows[boxes.node] for kind, boxes in self.boxes.items()}
        self._collect(number)
        self.spot = np.zeros((number, 3), np.float32)
        self.has_spot = np.zeros(number, bool)
        for ends, at in ((drawn.edges.source, 0), (drawn.edges.target, -1)):
            which, first = np.unique(rows[ends], return_index=True)
            new = ~self.drawn[which] & ~self.has_spot[which]
            self.spot[which[new]] = drawn.edges.points[first[new], at]
            self.has_spot[which[new]] = True
        # All boxes from small to large: the first that holds a point is nearest around it.
        held = np.flatnonzero(self.drawn)
        order = np.argsort(np.prod(self.size[held].astype(np.float64), axis=1), kind="stable")
        self._held = held[order]
        center, size = self.center[self._held], self.size[self._held]
        margin = 1e-3 * size.max(axis=1, initial=0.0)[:, None]
        self._low, self._high = center - size / 2 - margin, center + size / 2 + margin

    def _collect(self, number: int) -> None:
        """The box around all boxes of each node."""
        low = np.full((number, 3), np.inf, np.float32)
        high = np.full((number, 3), -np.inf, np.float32)
        self.center, self.size = (np.zeros((number, 3), np.float32) for _ in range(2))
        several = np.zeros(number, np.intp)
        for kind, boxes in self.boxes.items():
            rows = self.rows[kind]
            np.minimum.at(low, rows, boxes.centers - boxes.sizes / 2)
            np.maximum.at(high, rows, boxes.centers + boxes.sizes / 2)
            several += np.bincount(rows, minlength=number)
            self.center[rows], self.size[rows] = boxes.centers, boxes.sizes
        self.drawn = several > 0
        many = several > 1
        self.center[many] = (low[many] + high[many]) / 2
        self.size[many] = high[many] - low[many]

    def around(self, point: F4, row: int) -> list[int]:
        """Merged rows of the boxes that hold this point, smallest first, without `row`."""
        inside = ((self._low <= point) & (point <= self._high)).all(axis=1)
        return [r for r in self._held[inside].tolist() if r != row]


def _counterpart(row: int, center: F4, size: F4, here: _Places, there: _Places) -> tuple[F4, F4]:
    """Where a box that is drawn `here` only has its place in the other picture.

    Its own box if the node is drawn there in another way; else its place inside the nearest
    enclosing box that is also there, scaled with that box; else a point.
    """
    if there.drawn[row]:
        return there.center[row], there.size[row]
    for outer in here.around(center, row):
        if there.drawn[outer]:
            scale = there.size[outer] / np.maximum(here.size[outer], 1e-9)
            moved = there.center[outer] + (center - here.center[outer]) * scale
            return moved.astype(np.float32), (size * scale).astype(np.float32)
    return center, np.zeros(3, np.float32)


def _both_places(places: tuple[_Places, _Places], count: int) -> tuple[F4, F4]:
    """Centre of every merged node in both pictures, shape (count, 3) each."""
    found = np.zeros((2, count, 3), np.float32)
    nothing = np.zeros(3, np.float32)
    for side, (here, there) in enumerate((places, places[::-1])):
        known = here.drawn | here.has_spot
        place = np.where(here.drawn[:, None], here.center, here.spot)
        found[side, known] = place[known]
        both = known & there.has_spot
        found[1 - side, both] = there.spot[both]
        for row in np.flatnonzero(known & ~there.has_spot & ~there.drawn).tolist():
            size = here.size[row] if here.drawn[row] else nothing
            found[1 - side, row] = _counterpart(row, place[row], size, here, there)[0]
    return found[0], found[1]


def _mix(a: F4, b: F4, t: float) -> F4:
    return (a + (b - a) * np.float32(t)).astype(np.float32)


def _mix_colors(a: U1, b: U1, t: float) -> U1:
    return np.rint(a + (b.astype(np.float32) - a) * np.float32(t)).astype(np.uint8)


def _other_ends(
    boxes: BoxArrays, rows: Index, which: Index, here: _Places, there: _Places
) -> BoxArrays:
    """The ends, in the other picture, of boxes that are in this one only."""
    ends = [
        _counterpart(int(rows[i]), boxes.centers[i], boxes.sizes[i], here, there) for i in which
    ]
    return BoxArrays(
        np.array([e[0] for e in ends], np.float32).reshape(-1, 3),
        np.array([e[1] for e in ends], np.float32).reshape(-1, 3),
        boxes.colors[which],
        rows[which].astype(np.int32),
    )


def _take(boxes: BoxArrays, which: Index) -> BoxArrays:
    return BoxArrays(
        boxes.centers[which], boxes.sizes[which], boxes.colors[which], boxes.node[which]
    )


def _joined(parts: tuple[BoxArrays, ...], node: NDArray[np.int32]) -> BoxArrays:
    return BoxArrays(
        np.concatenate([p.centers for p in parts]),
        np.concatenate([p.sizes for p in parts]),
        np.concatenate([p.colors for p in parts]),
        node,
    )


@dataclass(frozen=True)
class _BoxTrack:
    """The union of two lists of boxes, each with its two ends; those that vanish come first."""

    first: BoxArrays
    last: BoxArrays

    @classmethod
    def of(cls, kind: str, places: tuple[_Places, _Places]) -> _BoxTrack:
        """Pair the boxes of this kind by node and give the unpaired ones their other end."""
        here, there = places
        a, b = here.boxes[kind], there.boxes[kind]
        rows_a, rows_b = here.rows[kind], there.rows[kind]
        in_a, in_b, only_a, only_b = paired(rows_a, rows_b)
        if kind == "solids":
            # On the way between a solid and a frame the frame alone is drawn.
            only_a = only_a[~np.isin(rows_a[only_a], there.rows["frames"])]
            only_b = only_b[~np.isin(rows_b[only_b], here.rows["frames"])]
        gone = _other_ends(a, rows_a, only_a, here, there)
        new = _other_ends(b, rows_b, only_b, there, here)
        node = np.concatenate([rows_a[only_a], rows_b[in_b], rows_b[only_b]]).astype(np.int32)

        parts_a = _take(a, only_a), _take(a, in_a), new
        parts_b = gone, _take(b, in_b), _take(b, only_b)
        return cls(_joined(parts_a, node), _joined(parts_b, node))

    def at(self, t: float) -> BoxArrays:
        return BoxArrays(
            _mix(self.first.centers, self.last.centers, t),
            _mix(self.first.sizes, self.last.sizes, t),
            _mix_colors(self.first.colors, self.last.colors, t),
            self.first.node,
        )


@dataclass(frozen=True)
class _EdgeTrack:
    """Edges of two pictures, their ends as merged rows, their curves with equally many points."""

    a: EdgeArrays
    b: EdgeArrays
    in_a: Index
    in_b: Index
    only_a: Index
    only_b: Index

    @classmethod
    def of(cls, a: EdgeArrays, b: EdgeArrays, row_a: Index, row_b: Index) -> _EdgeTrack:
        """Pair the edges by their two ends."""
        points = max(a.points.shape[1], b.points.shape[1])
        a, b = (
            replace(
                e,
                points=_resampled(e.points, points),
                source=rows[e.source].astype(np.int32),
                target=rows[e.target].astype(np.int32),
            )
            for e, rows in ((a, row_a), (b, row_b))
        )
        number = int(max(rows.max(initial=0) for rows in (row_a, row_b))) + 1
        keys = [e.source.astype(np.int64) * number + e.target for e in (a, b)]
        return cls(a, b, *paired(keys[0], keys[1]))

    def at(self, t: float, from_a: F4, from_b: F4) -> EdgeArrays:
        """The edges at time `t`; `from_a`, `from_b` say how far each node is from its places."""
        a, b = self.a, self.b
        if t < 0.5:
            extra, only, offset, alpha = a, self.only_a, from_a, 1.0 - 2.0 * t
        else:
            extra, only, offset, alpha = b, self.only_b, from_b, 2.0 * t - 1.0
        points = _mix(a.points[self.in_a], b.points[self.in_b], t)
        colors = _mix_colors(a.colors[self.in_a], b.colors[self.in_b], t)
        widths = _mix(a.widths[self.in_a], b.widths[self.in_b], t)
        nearer, rows = (a, self.in_a) if t < 0.5 else (b, self.in_b)
        fading = extra.colors[only].copy()
        fading[:, 3] = np.rint(fading[:, 3] * alpha).astype(np.uint8)
        return EdgeArrays(
            points=np.concatenate([_carried(extra, only, offset), points]),
            colors=np.concatenate([fading, colors]),
            widths=np.concatenate([extra.widths[only], widths]),
            source=np.concatenate([extra.source[only], nearer.source[rows]]),
            target=np.concatenate([extra.target[only], nearer.target[rows]]),
            magnitude=np.concatenate([extra.magnitude[only], nearer.magnitude[rows]]),
            signed_mean=np.concatenate([extra.signed_mean[only], nearer.signed_mean[rows]]),
            weights=np.concatenate([extra.weights[only], nearer.weights[rows]]),
            estimated=np.concatenate([extra.estimated[only], nearer.estimated[rows]]),
            counts=np.concatenate([extra.counts[only], nearer.counts[rows]]),
        )


def _carried(edges: EdgeArrays, which: Index, offset: F4) -> F4:
    """Curves bent so that their ends go along with the nodes there."""
    points = edges.points[which]
    along = np.linspace(0.0, 1.0, points.shape[1], dtype=np.float32)[None, :, None]
    start, end = offset[edges.source[which]][:, None], offset[edges.target[which]][:, None]
    carried: F4 = (points + start * (1 - along) + end * along).astype(np.float32)
    return carried


def _resampled(points: F4, count: int) -> F4:
    """Curves of shape (m, k, 3) with `count` points each, interpolated between the old ones."""
    old = points.shape[1]
    if old == count or len(points) == 0 or old == 0:
        return points if old == count else np.zeros((len(points), count, 3), np.float32)
    at = np.linspace(0, old - 1, count)
    low = np.minimum(at.astype(np.intp), max(old - 2, 0))
    high = np.minimum(low + 1, old - 1)
    share = (at - low).astype(np.float32)[None, :, None]
    between: F4 = points[:, low] * (1 - share) + points[:, high] * share
    return between
