"""Everything a person can change about a view, as plain, comparable, JSON-able data.

From a `ViewState` and a network the picture follows by pure functions; that is what makes undo,
saved scenes, links and films cheap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from explorer.errors import NeuronautError

Point = tuple[float, float, float]
# Little perspective: the far end of a long network must not shrink and hide behind itself.
VIEW_ANGLE = 18.0  # degrees
THEMES = ("dark", "light")
DETAILS = ("manual", "automatic")
SCALES = ("automatic", "linear", "log", "rank")
FARTHEST = 1e9  # world units; a coordinate beyond it leaves the renderer's single precision
_NO_CAMERA = "saved view: camera is not a position, focal_point and up"


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the viewer stands.

    Attributes
    ----------
    position, focal_point : tuple of 3 float
        World units.
    up : tuple of 3 float
        Direction that is up on the screen.
    view_angle : float
        Vertical opening, degrees.
    """

    position: Point
    focal_point: Point
    up: Point = (0.0, 1.0, 0.0)
    view_angle: float = VIEW_ANGLE


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is open, selected, coloured and from where it is seen.

    Attributes
    ----------
    opened : frozenset of str
        Paths of the open nodes. An open node shows only when all its ancestors are open.
    selected : str or None
        Path of the selected node.
    overlay, layout, theme : str
        Names in their registries; theme is ``"dark"`` or ``"light"``, another is refused with
        a `NeuronautError`.
    edge_budget : int
        The most edges drawn at once.
    camera : Camera or None
        ``None`` means: frame the whole network.
    focus : str or None
        Path of the node that is looked at alone, with its neighbours; all else is faded.
    detail : str
        Whether nodes also open and close by themselves as the camera moves: ``"automatic"``, or
        only by hand: ``"manual"``.
    scale : str
        How numbers become colours: ``"linear"``, ``"log"``, ``"rank"``, or as suits them,
        ``"automatic"``.
    range : (float, float) or None
        Magnitudes at the two ends of the colour scale; ``None`` fits them to what is drawn.
    threshold : float
        Up to which |w| a weight counts as near zero; not negative.
    units : str
        Name of the unit overlay that colours boxes; ``"kind"``: their kind does.
    """

    opened: frozenset[str] = frozenset()
    selected: str | None = None
    overlay: str = "magnitude"
    layout: str = "serpentine"
    theme: str = "dark"
    edge_budget: int = 6000
    camera: Camera | None = None
    focus: str | None = None
    detail: str = "manual"
    scale: str = "automatic"
    range: tuple[float, float] | None = None
    threshold: float = 0.01
    units: str = "kind"

    def __post_init__(self) -> None:
        if self.theme not in THEMES:
            raise NeuronautError(
                f"no theme called {str(self.theme)[:40]!r}; there are dark and light"
            )
        if self.detail not in DETAILS:
            raise NeuronautError(
                f"no detail called {str(self.detail)[:40]!r}; there are manual and automatic"
            )
        if self.scale not in SCALES:
            raise NeuronautError(
                f"no scale called {str(self.scale)[:40]!r}; there are {', '.join(SCALES)}"
            )
        if self.range is not None:
            checked_range(self.range)
        if not _is_threshold(self.threshold):
            raise NeuronautError(
                f"no threshold {str(self.threshold)[:40]!r}: it must be a number from 0 up"
            )

    def open(self, path: str) -> ViewState:
        """The same view with this node open."""
        return replace(self, opened=self.opened | {path})

    def close(self, path: str) -> ViewState:
        """The same view with this node closed; what is open inside stays so, hidden."""
        return replace(self, opened=self.opened - {path})

    def select(self, path: str | None) -> ViewState:
        """The same view with this node selected, or none."""
        return replace(self, selected=path)

    def colored_by(self, overlay: str) -> ViewState:
        """The same view in the colours of an overlay; a range was one of the other's numbers."""
        kept = self.range if overlay == self.overlay else None
        return replace(self, overlay=overlay, range=kept)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` gives the same state back."""
        ends = None if self.range is None else list(self.range)
        return {**asdict(self), "opened": sorted(self.opened), "range": ends}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ViewState:
        """Build a state from `to_json`'s output; absent entries take their defaults.

        Raises
        ------
        NeuronautError
            If an entry is unknown or of the wrong type; the text names it.
        """
        known = {f.name for f in fields(cls)}
        for key in data:
            if key not in known:
                raise NeuronautError(f"saved view: unknown entry {str(key)[:80]!r}")
        values = dict(data)
        values["opened"] = frozenset(_strings(data.get("opened", [])))
        if values.get("camera") is not None:
            values["camera"] = _camera(values["camera"])
        budget = values.get("edge_budget", cls().edge_budget)
        if not isinstance(budget, int) or isinstance(budget, bool) or not 0 <= budget <= 10**6:
            raise NeuronautError("saved view: edge_budget must be a whole number up to 1000000")
        for key in ("overlay", "layout", "theme", "units"):
            if not _is_text(values.get(key, "")):
                raise NeuronautError(f"saved view: {key} must be a text")
        for key in ("selected", "focus"):
            if values.get(key) is not None and not _is_text(values[key]):
                raise NeuronautError(f"saved view: {key} must be a text or null")
        if values.get("theme", "dark") not in THEMES:
            raise NeuronautError("saved view: theme must be dark or light")
        if values.get("detail", "manual") not in DETAILS:
            raise NeuronautError("saved view: detail must be manual or automatic")
        if values.get("scale", "automatic") not in SCALES:
            raise NeuronautError(f"saved view: scale must be one of {', '.join(SCALES)}")
        if values.get("range") is not None:
            try:
                values["range"] = checked_range(values["range"])
            except NeuronautError as error:
                raise NeuronautError(f"saved view: {error}") from None
        if not _is_threshold(values.get("threshold", 0.0)):
            raise NeuronautError("saved view: threshold must be a number from 0 up")
        return cls(**values)


def checked_range(value: object) -> tuple[float, float]:
    """Two magnitudes at the ends of a colour scale.

    Raises
    ------
    NeuronautError
        If it is not two finite numbers, the first 0 or more, the second larger.
    """
    if isinstance(value, list | tuple) and len(value) == 2:
        number = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool)]
        # Also false for NaN; beyond these sizes ratios leave the floating-point numbers.
        if len(number) == 2 and 0 <= number[0] < number[1] <= 1e150 and number[1] >= 1e-150:
            return float(number[0]), float(number[1])
    raise NeuronautError("a range is two numbers, low and high: 0 or more, the high one larger")


def _is_threshold(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < math.inf  # also false for NaN


def next_threshold(threshold: float, up: bool) -> float:
    """The threshold after or before another: 1, 2 and 5 times powers of ten from 1e-6 to 10, and 0.

    Parameters
    ----------
    threshold : float
    up : bool
        Whether the next larger one is wanted.
    """
    usual = [
        0.0,
        *(float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2, 5)),
        10.0,
    ]
    if up:
        return next((t for t in usual if t > threshold), usual[-1])
    return next((t for t in reversed(usual) if t < threshold), 0.0)


def _is_text(value: object) -> bool:
    """Whether a value is text that can be written: JSON can name halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise NeuronautError("saved view: opened must be a list of node paths")
    return value


def _camera(value: object) -> Camera:
    try:
        data = dict(value)  # type: ignore[call-overload]
        points = {k: _point(data.pop(k)) for k in ("position", "focal_point", "up") if k in data}
        angle = float(data.pop("view_angle", VIEW_ANGLE))
        camera = Camera(**points, view_angle=angle)
    except (TypeError, ValueError, OverflowError):
        raise NeuronautError(_NO_CAMERA) from None
    if data or not 1.0 <= angle <= 120.0 or camera.position == camera.focal_point:
        raise NeuronautError(_NO_CAMERA)
    if math.hypot(*camera.up) < 1e-9:
        raise NeuronautError("saved view: the camera's up has no direction")
    return camera


def _point(value: object) -> Point:
    x, y, z = (float(v) for v in value)  # type: ignore[attr-defined]
    if not all(abs(v) <= FARTHEST for v in (x, y, z)):  # also false for NaN
        raise ValueError
    return (x, y, z)


def interpolate(a: Camera, b: Camera, t: float) -> Camera:
    """The camera on the way from `a` to `b`.

    The focal point moves on a line; the viewer turns about it on a sphere whose radius changes
    geometrically, so that a zoom looks even.

    Parameters
    ----------
    a, b : Camera
    t : float
        0 gives `a`, 1 gives `b`.
    """
    if t <= 0.0:
        return a
    if t >= 1.0:
        return b
    focal = _mix(a.focal_point, b.focal_point, t)
    ra, da = _polar(a)
    rb, db = _polar(b)
    radius = ra ** (1.0 - t) * rb**t
    direction = _slerp(da, db, t)
    position = tuple(f + radius * d for f, d in zip(focal, direction, strict=True))
    up = _unit(_mix(a.up, b.up, t)) if a.up != b.up else a.up
    angle = a.view_angle + (b.view_angle - a.view_angle) * t
    return Camera(position, focal, up, angle)


def _mix(a: Point, b: Point, t: float) -> Point:
    x, y, z = (p + (q - p) * t for p, q in zip(a, b, strict=True))
    return (x, y, z)


def _polar(camera: Camera) -> tuple[float, Point]:
    x, y, z = (p - f for p, f in zip(camera.position, camera.focal_point, strict=True))
    radius = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    return radius, (x / radius, y / radius, z / radius)


def _unit(v: Point) -> Point:
    length = math.sqrt(sum(c * c for c in v))
    return (v[0] / length, v[1] / length, v[2] / length) if length > 1e-9 else (0.0, 1.0, 0.0)


def _slerp(a: Point, b: Point, t: float) -> Point:
    cosine = max(-1.0, min(1.0, sum(p * q for p, q in zip(a, b, strict=True))))
    angle = math.acos(cosine)
    if angle < 1e-6 or angle > math.pi - 1e-6:
        return _unit(_mix(a, b, t))
    wa, wb = math.sin((1 - t) * angle), math.sin(t * angle)
    x, y, z = (wa * p + wb * q for p, q in zip(a, b, strict=True))
    return _unit((x, y, z))


def ease(t: float) -> float:
    """Smooth start and stop: 0 at 0, 1 at 1, flat at both ends (the cubic smoothstep)."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def frame(centers: Any, sizes: Any, aspect: float, direction: Point = (-0.46, 0.36, 1.0)) -> Camera:
    """A camera that sees all the given boxes and fills the picture with them.

    Parameters
    ----------
    centers, sizes : array_like, shape (n, 3)
        Boxes in world units; with none, a unit box at the origin is framed.
    aspect : float
        Width / height of the picture.
    direction : tuple of 3 float
        From the boxes towards the viewer.

    Returns
    -------
    Camera
        Looks along ``-direction``, y up, just far enough that every corner is inside the picture
        with a margin of 6 %.
    """
    import numpy as np

    centers = np.asarray(centers, float).reshape(-1, 3)
    half = np.asarray(sizes, float).reshape(-1, 3) / 2
    if len(centers) == 0:
        centers, half = np.zeros((1, 3)), np.full((1, 3), 0.5)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (centers[:, None] + signs * half[:, None]).reshape(-1, 3)
    back = np.array(direction) / np.linalg.norm(direction)
    right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    angle = VIEW_ANGLE
    slope_y = math.tan(math.radians(angle) / 2) / 1.06
    slope_x = slope_y * aspect
    # In camera axes a corner (x, y, z) is inside when |x - cx| <= (d - z) * slope; the smallest
    # distance d and the centre follow per axis from the two extreme corners.
    px, py, pz = corners @ right, corners @ up, corners @ back
    reach = []
    for p, slope in ((px, slope_x), (py, slope_y)):
        high, low = (p + pz * slope).max(), (p - pz * slope).min()
        reach.append(((high + low) / 2, (high - low) / (2 * slope)))
    distance = max(max(r[1] for r in reach), pz.max() + 1e-3)
    focal_depth = float((pz.max() + pz.min()) / 2)
    plane = right * reach[0][0] + up * reach[1][0]
    position, focal = plane + back * distance, plane + back * focal_depth
    if distance - focal_depth < 1e-6:
        position = position + back
    return Camera(tuple(position.tolist()), tuple(focal.tolist()), tuple(up.tolist()), angle)
