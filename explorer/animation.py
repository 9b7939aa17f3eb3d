"""What lies between two pictures: nodes move, grow out of their parents and shrink into them.

A `Blend` is prepared once for two draw lists and then evaluated for any time between them, with
numpy alone. The window, the page and films play the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.draw_list import F4, U1, BoxArrays, DrawList, EdgeArrays, Label

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
        self.nodes, self._row_a, self._row_b = _merged_nodes(a, b)
        places = _Places(a, self._row_a), _Places(b, self._row_b)
        self._solids = _BoxTrack.of("solids", places)
        self._frames = _BoxTrack.of("frames", places)
        self._edges = _EdgeTrack.of(a.edges, b.edges, self._row_a, self._row_b)
        at_a, at_b = _both_places(places, len(self.nodes))
        self._shift = at_b - at_a
        self._at_a, self._at_b = at_a, at_b

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
            labels=self._labels(nearer, rows, moved),
            legend=nearer.legend,
            nodes=self.nodes,
            selected=int(rows[nearer.selected]) if nearer.selected >= 0 else -1,
            theme=nearer.theme,
            pending=self.a.pending or self.b.pending,
        )

    def _labels(self, source: DrawList, rows: Index, moved: F4) -> tuple[Label, ...]:
        """Labels of nodes that are in both pictures, carried along; others would only flicker."""
        in_both = np.zeros(len(self.nodes), bool)
        in_both[np.intersect1d(self._row_a, self._row_b)] = True
        found = []
        for label in source.labels:
            if label.node < 0:
                found.append(label)
                continue
            row = int(rows[label.node])
            if in_both[row]:
                x, y, z = (p + float(d) for p, d in zip(label.anchor, moved[row], strict=True))
                found.append(replace(label, node=row, anchor=(x, y, z)))
        return tuple(found)


def _merged_nodes(a: DrawList, b: DrawList) -> tuple[tuple[str, ...], Index, Index]:
    """All paths of both, those of `b` first, and where each path of `a` and of `b` went."""
    place = {path: i for i, path in enumerate(b.nodes)}
    for path in a.nodes:
        place.setdefault(path, len(place))
    row_a = np.array([place[p] for p in a.nodes], np.intp)
    return tuple(place), row_a, np.arange(len(b.nodes))


class _Places:
    """Where the nodes of one draw list stand, by merged row, and what encloses what.

    Attributes
    ----------
    boxes : dict of str to BoxArrays
        ``"solids"`` and ``"frames"``.
    rows : dict of str to index array
        Merged row of each of those boxes.
    box : dict of int to (centre, size)
        Of each drawn node; several boxes of one node (the slices of a series) count as one.
    spot : dict of int to point
        Where edges end at nodes that are not drawn themselves: units of a closed node.
    """

    def __init__(self, drawn: DrawList, rows: Index) -> None:
        self.boxes = {"solids": drawn.solids, "frames": drawn.frames}
        self.rows = {kind: rows[boxes.node] for kind, boxes in self.boxes.items()}
        self.box: dict[int, tuple[F4, F4]] = {}
        for kind in ("solids", "frames"):
            self._collect(kind)
        self.spot: dict[int, F4] = {}
        for ends, at in ((drawn.edges.source, 0), (drawn.edges.target, -1)):
            for i, row in enumerate(rows[ends].tolist()):
                if row not in self.box and row not in self.spot:
                    self.spot[row] = drawn.edges.points[i, at]
        # All boxes from small to large: the first that holds a point is nearest around it.
        held = list(self.box)
        centers = np.array([self.box[r][0] for r in held], np.float32).reshape(-1, 3)
        sizes = np.array([self.box[r][1] for r in held], np.float32).reshape(-1, 3)
        order = np.argsort(np.prod(sizes.astype(np.float64), axis=1), kind="stable")
        self._held = np.array(held, np.intp)[order]
        margin = 1e-3 * sizes.max(axis=1, initial=0.0)[:, None]
        self._low = (centers - sizes / 2 - margin)[order]
        self._high = (centers + sizes / 2 + margin)[order]

    def _collect(self, kind: str) -> None:
        boxes, rows = self.boxes[kind], self.rows[kind]
        low, high = boxes.centers - boxes.sizes / 2, boxes.centers + boxes.sizes / 2
        for i, row in enumerate(rows.tolist()):
            if row in self.box:
                center, size = self.box[row]
                least = np.minimum(center - size / 2, low[i])
                most = np.maximum(center + size / 2, high[i])
                self.box[row] = ((least + most) / 2, most - least)
            else:
                self.box[row] = (boxes.centers[i], boxes.sizes[i])

    def around(self, point: F4, row: int) -> list[int]:
        """Merged rows of the boxes that hold this point, smallest first, without `row`."""
        inside = ((self._low <= point) & (point <= self._high)).all(axis=1)
        return [r for r in self._held[inside].tolist() if r != row]


def _counterpart(row: int, center: F4, size: F4, here: _Places, there: _Places) -> tuple[F4, F4]:
    """Where a box that is drawn `here` only has its place in the other picture.

    Its own box if the node is drawn there in another way; else its place inside the nearest
    enclosing box that is also there, scaled with that box; else a point.
    """
    if row in there.box:
        return there.box[row]
    for outer in here.around(center, row):
        if outer in there.box:
            old_center, old_size = here.box[outer]
            new_center, new_size = there.box[outer]
            scale = new_size / np.maximum(old_size, 1e-9)
            moved = new_center + (center - old_center) * scale
            return moved.astype(np.float32), (size * scale).astype(np.float32)
    return center, np.zeros(3, np.float32)


def _both_places(places: tuple[_Places, _Places], count: int) -> tuple[F4, F4]:
    """Centre of every merged node in both pictures, shape (count, 3) each."""
    found = np.zeros((2, count, 3), np.float32)
    nothing = np.zeros(3, np.float32)
    for side, (here, there) in enumerate((places, places[::-1])):
        known = {**{r: (p, nothing) for r, p in here.spot.items()}, **here.box}
        for row, (center, size) in known.items():
            found[side, row] = center
            if row in there.spot:
                found[1 - side, row] = there.spot[row]
            elif row not in there.box:
                found[1 - side, row] = _counterpart(row, center, size, here, there)[0]
    return found[0], found[1]


def _pair(keys_a: list[object], keys_b: list[object]) -> tuple[Index, Index, Index, Index]:
    """Positions of the keys in both (two arrays), in the first only, in the second only.

    The n-th occurrence of a key pairs with the n-th occurrence on the other side.
    """
    waiting: dict[object, list[int]] = {}
    for i, key in enumerate(keys_a):
        waiting.setdefault(key, []).append(i)
    for found in waiting.values():
        found.reverse()
    in_a, in_b, only_b = [], [], []
    for j, key in enumerate(keys_b):
        if waiting.get(key):
            in_a.append(waiting[key].pop())
            in_b.append(j)
        else:
            only_b.append(j)
    only_a = sorted(i for rest in waiting.values() for i in rest)
    a, b, c, d = (np.array(x, np.intp) for x in (in_a, in_b, only_a, only_b))
    return a, b, c, d


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
        in_a, in_b, only_a, only_b = _pair(rows_a.tolist(), rows_b.tolist())
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
        keys = [list(zip(e.source.tolist(), e.target.tolist(), strict=True)) for e in (a, b)]
        return cls(a, b, *_pair(keys[0], keys[1]))  # type: ignore[arg-type]

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
