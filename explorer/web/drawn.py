"""Draw lists as one binary message, for a page that draws them itself.

A message is the magic ``NND1``, the length of a JSON header as a little-endian uint32, the header,
and the arrays it names, each at a multiple of four bytes, so that a browser reads them in place.
What the page has to know of the look travels along: colours and sizes stand in one place, the
renderer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.draw_list import BoxArrays, DrawList, Label
from explorer.errors import NeuronautError
from explorer.viewing.view_state import Camera

MAGIC = b"NND1"
#: Labels sent, the most important ones; more would not fit on a screen.
MOST_LABELS = 500
#: Characters of a label sent.
LONGEST_LABEL = 120
#: Largest message, bytes: beyond it the page would rather see pictures.
MOST_BYTES = 96 << 20
#: A larger move is shown as a jump, bytes.
MOST_MOVE_BYTES = 24 << 20
#: A blend is straight between these times, each list with as many boxes and edges as its partner:
#: what fades out is in the first two, what appears is in the last two.
KEY_TIMES = (1e-6, 0.5 - 1e-6, 0.5, 1.0 - 1e-6)
#: Cameras sent for a flight; the page goes on straight lines between them.
FLIGHT_STEPS = 24

Array = NDArray[Any]


@dataclass(frozen=True)
class Move:
    """The way to a draw list.

    Attributes
    ----------
    blend : callable (float) -> DrawList, or None
        The pictures between, for times in 0..1; straight within each half.
    camera : callable (float) -> Camera, or None
        The way of the camera over the same times; ``None`` leaves it where it is.
    seconds : float
        How long it takes; the page eases the time, as `explorer.viewing.view_state.ease`.
    """

    blend: Callable[[float], DrawList] | None = None
    camera: Callable[[float], Camera] | None = None
    seconds: float = 0.0


def pack(
    number: int, draw_list: DrawList, move: Move | None = None, base: DrawList | None = None
) -> bytes:
    """A draw list, and the way there, as one message.

    Parameters
    ----------
    number : int
        By which the page refers to this draw list.
    draw_list : DrawList
    move : Move, optional
        Without it the page shows the draw list at once and keeps its camera.
    base : DrawList, optional
        What the page has. Of the same draw list only the flight of the camera is sent; of one that
        differs in colours and widths alone, only those.

    Returns
    -------
    bytes

    Raises
    ------
    NeuronautError
        If it is too large to be sent.
    """
    move = move or Move()
    lists: list[tuple[float, DrawList]] = [(1.0, draw_list)]
    alone = base is not None and move == Move() and recolors(base, draw_list)
    if base is draw_list:
        lists = []
    elif move.blend is not None:
        keys = [(t, move.blend(t)) for t in KEY_TIMES]
        if sum(_size(key) for _, key in keys) <= MOST_MOVE_BYTES:
            lists = keys + lists
    if sum(_size(one) for _, one in lists) > MOST_BYTES:
        raise NeuronautError("the picture is too large to be drawn by the browser")
    body = _Body()
    header = {
        "number": number,
        "look": look(draw_list.theme),
        "seconds": move.seconds,
        "cameras": _flight(move),
        "lists": [
            {"at": t, **(_colored if alone else _described)(one, order, body)}
            for (t, one), order in zip(lists, _orders([one for _, one in lists]), strict=True)
        ],
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    return b"".join((MAGIC, struct.pack("<I", len(text)), text, *body.parts))


def camera_row(camera: Camera) -> list[float]:
    """A camera as ten numbers: position, focal point, up, view angle in degrees."""
    return [*camera.position, *camera.focal_point, *camera.up, camera.view_angle]


def camera_of(row: Sequence[object]) -> Camera:
    """The camera that a page tells as ten numbers, checked as a saved one is.

    Raises
    ------
    NeuronautError
        If it is none.
    """
    from explorer.viewing.view_state import ViewState

    names = ("position", "focal_point", "up")
    values: dict[str, object] = {n: list(row[3 * i : 3 * i + 3]) for i, n in enumerate(names)}
    values["view_angle"] = row[9] if len(row) == 10 else None  # refused there
    camera = ViewState.from_json({"camera": values}).camera
    assert camera is not None
    return camera


def look(theme: str) -> dict[str, Any]:
    """Colours (0 to 255) and sizes (pixels of a picture 900 pixels high) of the server's renderer.

    Parameters
    ----------
    theme : str
        ``"dark"`` or ``"light"``.
    """
    # Imported here: it loads VTK.
    from explorer.renderer import geometry, labels, scene, text, view

    ink = text.INKS[theme]
    towards, share, alpha = scene.RIMS[theme]
    return {
        "theme": theme,
        "background": [_rgb(color) for color in view.BACKGROUNDS[theme]],
        "light": geometry.FACE_LIGHT.astype(float).round(4).tolist(),
        "glass": scene.GLASS[theme],
        "rim": {"towards": towards, "share": share, "alpha": alpha},
        "accent": scene.ACCENT[theme],
        "widths": {"rim": scene.RIM_PX, "frame": scene.FRAME_PX, "mark": scene.MARK_PX},
        "ink": {"text": ink.text, "title": ink.title, "faded": ink.faded, "halo": ink.halo},
        "px": {"label": labels.LABEL_PX, "title": labels.TITLE_PX},
        "reach": view.EDGE_REACH_PX,
    }


def recolors(before: DrawList, after: DrawList) -> bool:
    """Whether one draw list has all of another's arrays but colours and widths."""

    def same(one: BoxArrays, other: BoxArrays) -> bool:
        names = ("centers", "sizes", "node")
        return all(getattr(one, name) is getattr(other, name) for name in names)

    return (
        before.theme == after.theme
        and before.edges.points is after.edges.points
        and same(before.solids, after.solids)
        and same(before.frames, after.frames)
        and before.labels == after.labels
    )


class _Body:
    """Arrays behind the header."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._at = 0

    def put(self, values: Array, kind: str) -> list[int]:
        """Add an array; returns where it begins, from the end of the header, and its length."""
        data = np.ascontiguousarray(values, kind).tobytes()
        start, self._at = self._at, self._at + len(data)
        self.parts.append(data)
        if gap := -self._at % 4:
            self.parts.append(bytes(gap))
            self._at += gap
        return [start, int(values.size)]


def _orders(lists: list[DrawList]) -> list[Array]:
    """In which order each list's edges are drawn: as the server draws them, and partners alike."""
    orders = [_order(one) for one in lists]
    if len(lists) > 1:
        orders[1], orders[2] = orders[0], orders[3]
    return orders


def _order(draw_list: DrawList) -> Array:
    from explorer.renderer.scene import width_group

    return np.argsort(width_group(draw_list.edges.widths), kind="stable")


def _described(draw_list: DrawList, order: Array, body: _Body) -> dict[str, Any]:
    edges = draw_list.edges
    return {
        "selected": draw_list.selected,
        "pending": draw_list.pending,
        "solids": _boxes(draw_list.solids, body),
        "frames": _boxes(draw_list.frames, body),
        "edges": {
            "count": len(edges.widths),
            "steps": int(edges.points.shape[1]) if edges.points.ndim == 3 else 0,
            "points": body.put(edges.points[order], "<f4"),
            **_paint(draw_list, order, body),
        },
        "labels": _labels(draw_list.labels, body),
    }


def _colored(draw_list: DrawList, order: Array, body: _Body) -> dict[str, Any]:
    """What `recolors` leaves: the page keeps the rest, and puts its points into this order."""
    return {
        "recolors": True,
        "selected": draw_list.selected,
        "pending": draw_list.pending,
        "solids": {"colors": body.put(draw_list.solids.colors, "|u1")},
        "frames": {"colors": body.put(draw_list.frames.colors, "|u1")},
        "edges": _paint(draw_list, order, body),
    }


def _paint(draw_list: DrawList, order: Array, body: _Body) -> dict[str, list[int]]:
    from explorer.renderer.scene import WIDTHS_PX, width_group

    edges = draw_list.edges
    widths = np.array(WIDTHS_PX, np.float32)[width_group(edges.widths)]
    return {
        "colors": body.put(edges.colors[order], "|u1"),
        "widths": body.put(widths[order], "<f4"),
        "row": body.put(order, "<i4"),
    }


def _boxes(boxes: BoxArrays, body: _Body) -> dict[str, Any]:
    return {
        "count": len(boxes.node),
        "centers": body.put(boxes.centers, "<f4"),
        "sizes": body.put(boxes.sizes, "<f4"),
        "colors": body.put(boxes.colors, "|u1"),
        "node": body.put(boxes.node, "<i4"),
    }


def _labels(labels: Sequence[Label], body: _Body) -> dict[str, Any]:
    if len(labels) > MOST_LABELS:
        labels = sorted(labels, key=lambda la: -la.priority)[:MOST_LABELS]
    anchors = np.array([la.anchor for la in labels], np.float32).reshape(-1, 3)
    flags = [la.title + 2 * la.below + 4 * la.faded + 8 * min(la.level, 31) for la in labels]
    return {
        "count": len(labels),
        "texts": [_shortened(la.text) for la in labels],
        "anchors": body.put(anchors, "<f4"),
        "priorities": body.put(np.array([la.priority for la in labels], np.float32), "<f4"),
        "node": body.put(np.array([la.node for la in labels], np.int32), "<i4"),
        "flags": body.put(np.array(flags, np.uint8), "|u1"),
    }


def _shortened(text: str) -> str:
    from explorer.renderer.text import shortened

    return shortened(text, LONGEST_LABEL)


def _flight(move: Move) -> list[list[float]]:
    if move.camera is None:
        return []
    steps = np.linspace(0.0, 1.0, FLIGHT_STEPS + 1) if move.seconds > 0 else np.ones(1)
    return [camera_row(move.camera(t)) for t in steps.tolist()]


def _size(draw_list: DrawList) -> int:
    groups = (draw_list.solids, draw_list.frames, draw_list.edges)
    return sum(int(a.nbytes) for group in groups for a in vars(group).values())


def _rgb(text: str) -> list[int]:
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]
