"""Automatic detail: what opens as the camera comes near, and what closes behind it.

A node opens when its box fills much of the picture and the person looks at it, and closes when its
frame has become small or has left the screen. Opening a node changes the layout, so the camera goes
along, which closes a feedback loop; that it comes to rest follows from four rules:

* What is compared with the limits does not depend on whether the node is open. A box grows when it
  opens, often tenfold; the camera goes back so far that the frame fills a little more of the
  picture than the box did, about the same point, and how much more (the `Opened.gain`) is
  remembered. The size of an open node is the share of the picture that its frame fills, divided
  by its gain: at the moment of opening exactly what it was before. Closing goes the same way back.
* Between the size that opens and the size that closes lies a factor, and around the screen a
  margin.
* Frames close from the inside out: one with an open frame in it is never closed for its size.
* A node that was opened or closed without the person is not turned back before the camera has been
  moved by more than a little; and when there is nothing left to do, nothing is done before that. So
  a camera held still sees each node change once at most, and one that trembles sees none.

What a person opened stays open while it is on the screen; out of sight it closes only when there
is no room left in the budget. What a person closed stays closed until it has left the screen or
has become small. Everything here is a pure function of frozen values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.placement import Placed
from explorer.open_model import OpenModel
from explorer.tree.lod import Cut, open_units
from explorer.viewing.on_screen import Screen
from explorer.viewing.view_state import Camera

F8 = NDArray[np.float64]

OPENS = 0.55
"""Share of the picture, across or down, at which a box opens."""
CLOSES = OPENS / 1.6
"""Size of an open node, in terms of its closed box, at which it closes."""
FILLS = 0.85
"""Share of the picture that a frame fills at most when it has just opened."""
MARGIN = 0.25
"""How far beyond the screen a frame must be to close, in extents of the screen."""
ROOM = 1500
"""Visible nodes that automatic detail fills up to."""

_BESIDE = 0.02  # of the picture's height: how near to a box a look still means it,
_NEAREST = 0.5  # and how near where it means no other
_MOVED = 0.04  # share of the distance, or radians, that count as a move of the camera


@dataclass(frozen=True, slots=True)
class Opened:
    """How a node was opened without the person.

    Attributes
    ----------
    gain : float
        Share of the picture that the frame filled, divided by what the box had filled before.
    zoom : float
        Factor by which the camera went back; 1 where it only went along.
    """

    gain: float
    zoom: float


@dataclass(frozen=True)
class Detail:
    """What automatic detail remembers from step to step.

    Attributes
    ----------
    opened : mapping of str to Opened
        The nodes that it opened itself.
    refused : frozenset of str
        Nodes that the person closed, not to be opened for now.
    turned : frozenset of str
        Nodes changed since the camera was last moved by more than a little.
    since : Camera or None
        Where the camera was then; carried along with the layout.
    at_rest : bool
        Whether there was nothing left to do for that camera.
    """

    opened: Mapping[str, Opened] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    turned: frozenset[str] = frozenset()
    since: Camera | None = None
    at_rest: bool = False

    def by_hand(self, before: Set[str], after: Set[str]) -> Detail:
        """What is remembered after a person changed what is open.

        Parameters
        ----------
        before, after : set of str
            Paths of the open nodes.
        """
        closed, opened = before - after, after - before
        return replace(
            self,
            opened={p: o for p, o in self.opened.items() if p in after},
            refused=(self.refused | closed) - opened,
            at_rest=False,
        )


@dataclass(frozen=True)
class Step:
    """What to do now.

    Attributes
    ----------
    open, close : tuple of str
        Paths.
    about : str or None
        The node looked at that opens or closes; the camera keeps its size on the screen.
    detail : Detail
        To remember; `follow` completes it when there is something to do.
    """

    open: tuple[str, ...]
    close: tuple[str, ...]
    about: str | None
    detail: Detail

    def __bool__(self) -> bool:
        return bool(self.open or self.close)

    def apply(self, opened: frozenset[str]) -> frozenset[str]:
        """The open nodes after this step."""
        return (opened - set(self.close)) | set(self.open)


@dataclass(frozen=True)
class Follow:
    """How the camera goes along with a change of the layout.

    Attributes
    ----------
    start, end : float64 array, shape (3,)
        A point in the old layout, and where it is in the new one; it stays on its pixel.
    zoom : float
        Factor by which distances to it grow.
    """

    start: F8
    end: F8
    zoom: float

    def move(self, camera: Camera, begin: float = 0.0, finish: float = 1.0) -> Camera:
        """The camera taken along from one time of the change to a later one.

        Parameters
        ----------
        camera : Camera
            At time `begin`; may have been moved by the person meanwhile.
        begin, finish : float
            Between 0 and 1, as `explorer.drawing.animation.Blend` counts.
        """
        a, b = (self.start + (self.end - self.start) * t for t in (begin, finish))
        scale = (1 + (self.zoom - 1) * finish) / (1 + (self.zoom - 1) * begin)
        position, focal = (
            b + (np.array(p) - a) * scale for p in (camera.position, camera.focal_point)
        )
        return replace(camera, position=tuple(position.tolist()), focal_point=tuple(focal.tolist()))


def decide(
    model: OpenModel, placed: Placed, screen: Screen, detail: Detail, room: int = ROOM
) -> Step:
    """What to open and close for this camera; at most one node opens or becomes small at a time.

    Parameters
    ----------
    model : OpenModel
    placed : Placed
        What is visible now, and where.
    screen : Screen
    detail : Detail
        As the last step, or `Detail.by_hand`, left it.
    room : int
        The most nodes that may be visible after opening one.

    Returns
    -------
    Step
        False in a condition when there is nothing to do; its `Step.detail` is to be kept anyway.
    """
    detail = _renewed(detail, screen.camera)
    if detail.at_rest:
        return Step((), (), None, detail)
    cut, boxes = placed.cut, placed.boxes
    rectangles = screen.rectangles(boxes.centers, boxes.sizes)
    sizes = screen.shares(rectangles)
    near = screen.in_sight(rectangles, MARGIN)
    leaves = np.flatnonzero(cut.leaf)
    waits = leaves[near[leaves] & (sizes[leaves] >= CLOSES)]
    if detail.refused:
        still = {cut.paths[r] for r in waits.tolist()}
        detail = replace(detail, refused=detail.refused & still)
    frames = np.flatnonzero(~cut.leaf)[1:]
    gone = _gone(cut, frames[~near[frames]], detail)
    if (small := _small(cut, frames[near[frames]], sizes, detail)) is not None:
        path = cut.paths[small]
        looked_at = screen.gaps(rectangles[[small]])[0] == 0
        return Step((), (*gone, path), path if looked_at else None, detail)
    free = room - len(leaves)
    row = _large(model, placed, screen, (rectangles, sizes), detail, max(free, 0))
    if row is not None:
        path = cut.paths[row]
        return Step((path,), gone, path, detail)
    if free < 0:  # what a person opened goes only now, and only where nobody sees it
        gone = tuple(cut.paths[r] for r in frames[~near[frames]].tolist())
        gone = tuple(p for p in gone if p not in detail.turned)
    if not gone:
        detail = replace(detail, since=screen.camera, at_rest=True)
    return Step((), gone, None, detail)


def _renewed(detail: Detail, camera: Camera) -> Detail:
    """All nodes may change again when the camera was moved by more than a little."""
    if detail.since is not None and not _moved(detail.since, camera):
        return detail
    return replace(detail, turned=frozenset(), since=camera, at_rest=False)


def _moved(a: Camera, b: Camera) -> bool:
    lines = [np.subtract(c.position, c.focal_point) for c in (a, b)]
    far = [float(np.linalg.norm(line)) for line in lines]
    cosine = float(lines[0] @ lines[1]) / max(far[0] * far[1], 1e-300)
    return (
        abs(math.log(max(far[1], 1e-300) / max(far[0], 1e-300))) > _MOVED
        or math.dist(a.focal_point, b.focal_point) > _MOVED * far[0]
        or math.acos(max(-1.0, min(1.0, cosine))) > _MOVED
        or a.view_angle != b.view_angle
    )


def _gone(cut: Cut, frames: NDArray[np.intp], detail: Detail) -> tuple[str, ...]:
    """What was opened without the person and has left the screen."""
    paths = (cut.paths[r] for r in frames.tolist())
    return tuple(p for p in paths if p in detail.opened and p not in detail.turned)


def _small(cut: Cut, frames: NDArray[np.intp], sizes: F8, detail: Detail) -> int | None:
    """The smallest innermost frame that is to close for its size."""
    holds_frames = set(cut.parent[~cut.leaf].tolist())
    found: list[tuple[float, int]] = []
    for row in frames.tolist():
        opened = detail.opened.get(cut.paths[row])
        if opened is None or row in holds_frames or cut.paths[row] in detail.turned:
            continue
        size = float(sizes[row]) / opened.gain
        if size < CLOSES:
            found.append((size, row))
    return min(found)[1] if found else None


def _large(
    model: OpenModel,
    placed: Placed,
    screen: Screen,
    seen: tuple[F8, F8],
    detail: Detail,
    free: int,
) -> int | None:
    """The box to open: the one looked at, or of several there the largest."""
    cut, (rectangles, sizes) = placed.cut, seen
    rows = np.flatnonzero(cut.leaf & (sizes >= OPENS) & screen.in_sight(rectangles))
    if len(rows) == 0:
        return None
    gaps = screen.gaps(rectangles[rows])
    aim = _aimed_at(placed, screen)
    at = (gaps <= _BESIDE * screen.size[1]) | (rows == aim)
    if not at.any() and aim < 0:
        # The nearest one, unless what opened last is nearer still.
        frames = [r for r in np.flatnonzero(~cut.leaf).tolist() if cut.paths[r] in detail.opened]
        nearest = screen.gaps(rectangles[frames]).min(initial=_NEAREST * screen.size[1])
        at = (gaps == gaps.min()) & (gaps < nearest)
    # What the line of sight hits, then what is near it; the largest first.
    rows = rows[at]
    for row in rows[np.lexsort((-sizes[rows], rows != aim))].tolist():
        count = _count_inside(model, cut, row)
        if 0 < count <= free + 1 and cut.paths[row] not in detail.refused | detail.turned:
            return int(row)
        if row == aim and count > 0:
            break  # what stands behind it is not what the person means
    return None


def _aimed_at(placed: Placed, screen: Screen) -> int:
    """The box that the line of sight hits first, -1 for none (Kay and Kajiya's slabs, 1986)."""
    cut, boxes = placed.cut, placed.boxes
    origin, step = screen.ray(screen.looked_at)
    step = np.where(np.abs(step) < 1e-12, 1e-12, step)
    half = boxes.sizes / 2
    a, b = (boxes.centers - half - origin) / step, (boxes.centers + half - origin) / step
    enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    depth = np.where(cut.leaf & (enter <= leave) & (leave > 0), enter, np.inf)
    row = int(depth.argmin())
    return row if np.isfinite(depth[row]) else -1


def _count_inside(model: OpenModel, cut: Cut, row: int) -> int:
    """How many nodes a closed node opens into; 0 for one that shows nothing more when open."""
    layer = model.hierarchy.layer(int(cut.node[row]))
    if layer is None:
        return len(model.hierarchy.nodes[int(cut.node[row])].children)
    count = len(open_units(model.units_of(layer), cut.units[row])[0])
    return count if count > 1 else 0  # a layer of a single unit looks as its unit does


def follow(before: Placed, after: Placed, screen: Screen, step: Step) -> tuple[Follow, Detail]:
    """How the camera goes along with a step, and what is to be remembered of it.

    Parameters
    ----------
    before, after : Placed
        The layout before and after the step.
    screen : Screen
        As it was decided for.
    step : Step
        Not empty.

    Returns
    -------
    Follow
    Detail
    """
    rows = {path: row for row, path in enumerate(after.cut.paths)}
    detail, about = step.detail, step.about
    if about is not None and about in rows:
        move = _about(before, after, screen, step, rows[about])
    else:
        move = _beside(before, after, screen, rows)
    seen = replace(screen, camera=move.move(screen.camera))
    opened = {p: o for p, o in detail.opened.items() if p not in step.close}
    for path in step.open:
        if path not in rows:
            continue
        old = _share(before, before.cut.paths.index(path), screen)
        new = _share(after, rows[path], seen)
        opened[path] = Opened(max(new, 1e-9) / max(old, 1e-9), move.zoom)
    turned = detail.turned | {*step.open, *step.close}
    since = move.move(detail.since) if detail.since else None
    return move, Detail(opened, detail.refused, turned, since)


def _share(placed: Placed, row: int, screen: Screen) -> float:
    boxes = placed.boxes
    return float(screen.shares(screen.rectangles(boxes.centers[[row]], boxes.sizes[[row]]))[0])


def _about(before: Placed, after: Placed, screen: Screen, step: Step, row: int) -> Follow:
    """Hold the place of a node that is looked at, and its size on the screen as far as may be."""
    about = step.about
    assert about is not None
    old = before.cut.paths.index(about)
    center, size = before.boxes.centers[old], before.boxes.sizes[old]
    origin, ray = screen.ray(screen.looked_at)
    looked_at = origin + ray * max(float(screen.depths(center)), 0.0)
    # The same place within the box and within the frame; its rim for a look that passes by.
    place = np.clip((looked_at - center) / np.maximum(size, 1e-9), -0.5, 0.5)
    start = center + place * size
    end = after.boxes.centers[row] + place * after.boxes.sizes[row]
    if about in step.close:
        opened = step.detail.opened.get(about)
        return Follow(start, end, 1 / opened.zoom if opened else 1.0)
    share = _share(before, old, screen)
    zoom = 1.0
    # Halving the error each time: the depth of a large frame makes it no plain proportion.
    for _ in range(8):
        seen = replace(screen, camera=Follow(start, end, zoom).move(screen.camera))
        zoom = max(zoom * _share(after, row, seen) / max(share, FILLS), 1.0)
    # What opened comes into the picture as far as it has room there.
    seen = replace(screen, camera=Follow(start, end, zoom).move(screen.camera))
    rectangle = seen.rectangles(after.boxes.centers[[row]], after.boxes.sizes[[row]])[0]
    return Follow(screen.beside(start, screen.way_in(rectangle)), end, zoom)


def _beside(before: Placed, after: Placed, screen: Screen, rows: Mapping[str, int]) -> Follow:
    """Hold the visible node that is nearest to where the person looks."""
    boxes = before.boxes
    gaps = screen.gaps(screen.rectangles(boxes.centers, boxes.sizes))
    gaps = np.where(before.cut.leaf, gaps, np.inf)
    for old in np.lexsort((screen.depths(boxes.centers), gaps)).tolist():
        new = rows.get(before.cut.paths[old])
        if new is not None:
            return Follow(boxes.centers[old], after.boxes.centers[new], 1.0)
    origin = np.zeros(3)
    return Follow(origin, origin, 1.0)
