"""Tour files: a camera flight through a network, written in TOML.

::

    network = "../../scenes/digits.json"    # a model or a scene, relative to this file
    size = [1280, 720]
    fps = 30
    theme = "dark"

    [[step]]
    seconds = 3.0
    title = "Ten digits, 9 802 weights"
    look_at = ""                            # the whole network

    [[step]]
    seconds = 4.0
    open = ["conv_2"]
    look_at = "conv_2"
    orbit = 25                              # degrees about the vertical
    scale = "log"                           # of the colours, and its range
    range = [0.01, 0.5]

Every step first changes what is open, coloured or selected, then moves boxes and camera to their
new places within its seconds. This module only reads and checks; `explorer.films.film` flies.
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from explorer.errors import ModelError, NeuronautError, UnknownNameError
from explorer.small_files import read_small
from explorer.viewing.view_state import SCALES, Camera, Point, checked_range

MOST_PIXELS_ASIDE = 8192
MOST_SECONDS = 600.0
MOST_FPS = 120
MOST_DEPTH = 64
_MOST_BYTES = 2**20
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Step:
    """One leg of a tour; what is ``None`` or empty stays as it was.

    Attributes
    ----------
    seconds : float
        How long it takes; 0 is a cut.
    depth : int or None
        Opens all groups down to this depth and closes the rest, before `open_all` and `open`.
    open_all : tuple of str
        Kinds of nodes to open everywhere.
    open, close : tuple of str
        Names of nodes.
    overlay, units, layout, theme, scale : str or None
    threshold : float or None
        Up to which |w| a weight counts as near zero.
    range : (float, float) or "" or None
        Magnitudes at the ends of the colour scale; ``""`` fits it to what is drawn. Another
        overlay begins without a range.
    select : str or None
        Name of a node; ``""`` selects none.
    focus : str or None
        Name of the node that does not fade, nor do its neighbours; ``""`` ends it.
    look_at : str or None
        Name of the node to frame; ``""`` is the whole network. Resets orbit and zoom.
    camera : Camera or None
        An exact place instead of `look_at`.
    orbit : float
        Degrees by which the viewer turns about the vertical during this step.
    zoom : float
        Factor by which the viewer comes nearer during this step.
    title : str
        Caption; empty for none.
    """

    seconds: float
    depth: int | None = None
    open_all: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    close: tuple[str, ...] = ()
    overlay: str | None = None
    units: str | None = None
    threshold: float | None = None
    layout: str | None = None
    theme: str | None = None
    scale: str | None = None
    range: tuple[float, float] | Literal[""] | None = None
    select: str | None = None
    focus: str | None = None
    look_at: str | None = None
    camera: Camera | None = None
    orbit: float = 0.0
    zoom: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class Tour:
    """A checked tour.

    Attributes
    ----------
    path : Path
        The tour file, for messages.
    network : Path or None
        The model or scene file; ``None`` flies through whatever network is given.
    size : (int, int)
        Width and height of the film, pixels.
    fps : int
        Frames per second.
    overlay, units, layout, theme, scale : str or None
        For the whole tour; ``None`` takes the scene's.
    threshold : float or None
    range : (float, float) or "" or None
    steps : tuple of Step
    """

    path: Path
    network: Path | None
    size: tuple[int, int]
    fps: int
    overlay: str | None
    units: str | None
    threshold: float | None
    layout: str | None
    theme: str | None
    scale: str | None
    range: tuple[float, float] | Literal[""] | None
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """Length of the film."""
        return math.fsum(step.seconds for step in self.steps)

    @property
    def frames(self) -> int:
        """Number of pictures in the film, at least 1."""
        return max(1, round(self.seconds * self.fps))

    def last_frames(self) -> list[int]:
        """For each step the number of frames when it has ended, so that roundings do not add up."""
        ends, seconds = [], 0.0
        for step in self.steps:
            seconds += step.seconds
            ends.append(round(seconds * self.fps))
        ends[-1] = self.frames
        return ends


def load_tour(path: str | os.PathLike[str]) -> Tour:
    """Read and check a tour file.

    Raises
    ------
    ModelError
        If it cannot be read, is no TOML, or an entry is unknown, of a wrong type or out of range.
    """
    path = Path(path)
    data = _read(path)
    try:
        return _tour(path, data)
    except NeuronautError as error:
        raise ModelError(path, str(error)) from None


def _read(path: Path) -> dict[str, Any]:
    raw = read_small(path, _MOST_BYTES, "tour")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ModelError(path, "not a tour: no UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no TOML"
        raise ModelError(path, f"not a tour: {reason[:120]}") from None


def _tour(path: Path, data: dict[str, Any]) -> Tour:
    known = ("network", "size", "fps", "overlay", "units", "threshold", "layout", "theme",
             "scale", "range", "step")  # fmt: skip
    _only(data, known, "tour entry")
    rows = data.get("step", [])
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise NeuronautError("no steps: a tour needs at least one [[step]]")
    if len(rows) > _MOST_STEPS:
        raise NeuronautError(f"more than {_MOST_STEPS} steps")
    steps = []
    for number, row in enumerate(rows, 1):
        try:
            steps.append(_step(row))
        except NeuronautError as error:
            raise NeuronautError(f"step {number}: {error}") from None
    tour = Tour(
        path=path,
        network=path.parent / _text(data, "network", 4096) if "network" in data else None,
        size=_size(data.get("size", [1280, 720])),
        fps=_fps(data.get("fps", 30)),
        overlay=_optional(data, "overlay"),
        units=_optional(data, "units"),
        threshold=_threshold(data),
        layout=_optional(data, "layout"),
        theme=_theme(data),
        scale=_scale(data),
        range=_range(data),
        steps=tuple(steps),
    )
    if tour.seconds > MOST_SECONDS:
        raise NeuronautError(f"{tour.seconds:g} seconds is too long: at most {MOST_SECONDS:g}")
    if tour.seconds <= 0:
        raise NeuronautError("the steps take no time")
    return tour


def _step(row: dict[str, Any]) -> Step:
    _only(row, tuple(Step.__dataclass_fields__), "entry")
    if "seconds" not in row:
        raise NeuronautError("seconds is missing")
    if "look_at" in row and "camera" in row:
        raise NeuronautError("look_at and camera exclude each other")
    return Step(
        seconds=_number(row, "seconds", 0.0, MOST_SECONDS),
        depth=_depth(row),
        open_all=_names(row, "open_all"),
        open=_names(row, "open"),
        close=_names(row, "close"),
        overlay=_optional(row, "overlay"),
        units=_optional(row, "units"),
        threshold=_threshold(row),
        layout=_optional(row, "layout"),
        theme=_theme(row),
        scale=_scale(row),
        range=_range(row),
        select=_optional(row, "select"),
        focus=_optional(row, "focus"),
        look_at=_optional(row, "look_at"),
        camera=_camera(row["camera"]) if "camera" in row else None,
        orbit=_number(row, "orbit", -3600.0, 3600.0, 0.0),
        zoom=_number(row, "zoom", 0.01, 100.0, 1.0),
        title=_text(row, "title", 200) if "title" in row else "",
    )


def _only(data: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in data:
        if key not in known:
            raise UnknownNameError(what, key, known)


def _text(data: dict[str, Any], key: str, longest: int) -> str:
    value = data[key]
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise NeuronautError(f"{key} must be one line of text, at most {longest} characters")
    return value


def _optional(data: dict[str, Any], key: str) -> str | None:
    return _text(data, key, 4096) if key in data else None


def _names(data: dict[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise NeuronautError(f"{key} must be a list of node names")
    return tuple(value)


def _depth(data: dict[str, Any]) -> int | None:
    value = data.get("depth")
    if value is not None and (type(value) is not int or not 0 <= value <= MOST_DEPTH):
        raise NeuronautError(f"depth must be a whole number from 0 to {MOST_DEPTH}")
    return value


def _theme(data: dict[str, Any]) -> str | None:
    theme = _optional(data, "theme")
    if theme not in (None, "dark", "light"):
        raise UnknownNameError("theme", theme, ("dark", "light"))
    return theme


def _scale(data: dict[str, Any]) -> str | None:
    scale = _optional(data, "scale")
    if scale is not None and scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES)
    return scale


def _range(data: dict[str, Any]) -> tuple[float, float] | Literal[""] | None:
    value = data.get("range")
    return value if value is None or value == "" else checked_range(value)


def _threshold(data: dict[str, Any]) -> float | None:
    return _number(data, "threshold", 0.0, 1e30) if "threshold" in data else None


def _as_number(value: object) -> float | None:
    """The value if it is a finite number, else ``None``; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def _number(
    data: dict[str, Any], key: str, low: float, high: float, default: float | None = None
) -> float:
    value = _as_number(data.get(key, default))
    if value is None or not low <= value <= high:
        raise NeuronautError(f"{key} must be a number from {low:g} to {high:g}")
    return value


def _size(value: object) -> tuple[int, int]:
    if isinstance(value, list) and [type(v) for v in value] == [int, int]:
        width, height = value
        if min(value) >= 16 and max(value) <= MOST_PIXELS_ASIDE:
            return width, height
    raise NeuronautError(
        f"size must be [width, height], whole numbers from 16 to {MOST_PIXELS_ASIDE}"
    )


def _fps(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MOST_FPS:
        raise NeuronautError(f"fps must be a whole number from 1 to {MOST_FPS}")
    return value


def _camera(value: object) -> Camera:
    what = "camera must have position and focal_point, three numbers each, and may have up"
    if not isinstance(value, dict):
        raise NeuronautError(what)
    _only(value, ("position", "focal_point", "up", "view_angle"), "camera entry")
    points: dict[str, Point] = {}
    for key in ("position", "focal_point", "up"):
        point = value.get(key, [0.0, 1.0, 0.0] if key == "up" else None)
        numbers = [_as_number(v) for v in point] if isinstance(point, list) else []
        x, y, z = numbers if len(numbers) == 3 else (None, None, None)
        if x is None or y is None or z is None:
            raise NeuronautError(what)
        points[key] = (x, y, z)
    back = [p - f for p, f in zip(points["position"], points["focal_point"], strict=True)]
    u, v, w = back
    a, b, c = points["up"]
    across = (b * w - c * v, c * u - a * w, a * v - b * u)
    if not math.hypot(*across) > 1e-9 * math.hypot(*back) * math.hypot(a, b, c):
        raise NeuronautError("camera looks nowhere: position, focal_point and up are on one line")
    return Camera(**points, view_angle=_number(value, "view_angle", 1.0, 120.0, 30.0))
