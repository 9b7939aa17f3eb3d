"""Scripted flights: a tour becomes pictures, and the pictures a film.

The same tour gives the same pictures on every run: time comes from the number of the frame alone,
and all weights that a picture shows are read before it is drawn.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from explorer.drawing.animation import Blend
from explorer.drawing.draw_list import DrawList
from explorer.errors import ModelError, NeuronautError
from explorer.films.tour import Step, Tour, load_tour
from explorer.films.video import check_target, open_writer
from explorer.open_model import OpenModel
from explorer.renderer import Renderer
from explorer.renderer.text import INKS, text_sprite
from explorer.renderer.view import BACKGROUNDS
from explorer.scene_file import resolve_source
from explorer.session.opening import open_all, open_to_depth
from explorer.session.session import Session
from explorer.tree.lod import opening
from explorer.viewing.view_state import Camera, ViewState, ease, interpolate

Progress = Callable[[int, int], None]

# What a tour may begin with.
_LOOK = ("overlay", "units", "threshold", "layout", "theme", "scale", "range")
_BAR_SHARE = 0.085  # of the picture's height, for captions
_CAPTION_FADE = 0.35  # seconds
_TRANSITION = 1.6  # seconds that boxes take to their new places, at most


def film(
    tour_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    progress: Progress | None = None,
    session: Session | None = None,
) -> int:
    """Render a tour file to a film.

    Parameters
    ----------
    tour_path : path
        A TOML file; see `explorer.films.tour`.
    out : path
        ``.mp4``, ``.webm`` or ``.gif``; anything without a suffix is a folder of PNGs.
    progress : callable (done, total), optional
        Called with the number of pictures written so far and in all.
    session : Session, optional
        Fly through this session's model from its present view instead of opening the tour's
        network; the session itself is left as it is.

    Returns
    -------
    int
        Number of pictures.

    Raises
    ------
    NeuronautError
        If the tour, the network or the target is of no use; nothing half-written is left.
    """
    tour = load_tour(tour_path)
    check_target(out, tour.size, tour.fps)
    with _session(tour, session) as flown:
        check_names(tour, flown)
        with (
            Renderer(
                scene_size(tour), off_screen=True, multi_samples=4, legend_grows=False
            ) as renderer,
            open_writer(out, tour.size, tour.fps) as writer,
        ):
            for number, picture in enumerate(pictures(tour, flown, renderer), 1):
                writer.add(picture)
                if progress is not None:
                    progress(number, tour.frames)
    return tour.frames


def scene_size(tour: Tour) -> tuple[int, int]:
    """Width and height of the scene in a tour's pictures; titles have a bar of their own below."""
    width, height = tour.size
    titled = any(step.title for step in tour.steps)
    return width, height - (round(_BAR_SHARE * height) if titled else 0)


@contextlib.contextmanager
def _session(tour: Tour, present: Session | None) -> Iterator[Session]:
    """A session of its own for the tour, in the view that the tour begins with."""
    with contextlib.ExitStack() as stack:
        state: ViewState | None
        if present is not None:
            model, state = present.model, present.state
        else:
            if tour.network is None:
                raise ModelError(tour.path, "network is missing: the model or scene to fly through")
            path, state = resolve_source(tour.network)
            model = stack.enter_context(OpenModel.open(str(path)))
        width, height = scene_size(tour)
        session = Session(model, state, width / height)
        stack.callback(session.close_session)
        with _naming(tour.path):
            same = {key: getattr(tour, key) for key in _LOOK}
            session.update(_changed(session, Step(0.0, **same)))
        yield session


@contextlib.contextmanager
def _naming(path: Path, step: int | None = None) -> Iterator[None]:
    """Put the place in the tour before the reason of an error."""
    try:
        yield
    except ModelError:
        raise
    except NeuronautError as error:
        where = "" if step is None else f"step {step}: "
        raise ModelError(path, f"{where}{error}") from None


def check_names(tour: Tour, session: Session) -> None:
    """Whether all names in a tour exist, before the first picture is drawn.

    Raises
    ------
    ModelError
        If a node, an overlay or a layout does not exist; names the step, offers the nearest.
    """
    before = session.state
    for number, step in enumerate(tour.steps, 1):
        with _naming(tour.path, number):
            for name in (*step.open, *step.close, step.select, step.focus, step.look_at):
                if name:
                    session.resolve(name)
            for kind in step.open_all:
                open_all(session.model.hierarchy, session.model.units_of, frozenset(), kind)
            if step.overlay or step.layout or step.units:
                look = Step(0.0, layout=step.layout, overlay=step.overlay, units=step.units)
                session.update(_changed(session, look))
    session.update(before)


def _changed(session: Session, step: Step) -> ViewState:
    """The session's view after the changes that a step asks for, the camera aside."""
    state = session.state
    model, opened = session.model, set(state.opened)
    if step.depth is not None:
        opened = set(open_to_depth(model.hierarchy, step.depth).opened)
    for kind in step.open_all:
        opened = set(open_all(model.hierarchy, model.units_of, opened, kind).opened)
    for name in step.open:
        path = session.resolve(name)
        opened |= {*opening(model.hierarchy, model.units_of, path), path}
    opened -= {session.resolve(name) for name in step.close}
    state = replace(state, opened=frozenset(opened))
    if step.overlay is not None:
        state = state.colored_by(step.overlay)
    for key in ("units", "threshold", "layout", "theme", "scale"):
        value = getattr(step, key)
        if value is not None:
            state = replace(state, **{key: value})
    if step.range is not None:
        state = replace(state, range=step.range or None)
    if step.select is not None:
        state = state.select(session.resolve(step.select) if step.select else None)
    if step.focus is not None:
        focus = session.resolve(step.focus) if step.focus else None
        state = replace(state, focus=focus)
    return state


@dataclass(frozen=True)
class _Pose:
    """Where the viewer stands at the end of a step.

    What is looked at is a node or an exact camera, so that it can be followed when boxes move.
    """

    look_at: str | Camera
    camera: Camera
    zoom: float = 1.0
    yaw: float = 0.0

    def after(self, step: Step, session: Session, aspect: float) -> _Pose:
        look: str | Camera = self.look_at
        zoom, yaw = self.zoom, self.yaw
        if step.camera is not None or step.look_at is not None:
            look = step.camera if step.camera is not None else step.look_at or ""
            zoom, yaw = 1.0, 0.0
        zoom *= step.zoom
        yaw += step.orbit
        base = session.camera_for(look or None, aspect) if isinstance(look, str) else look
        return _Pose(look, _nearer(base, zoom), zoom, yaw)


def pictures(tour: Tour, session: Session, renderer: Renderer) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a tour, one by one, each uint8 of shape (height, width, 3).

    Parameters
    ----------
    tour : Tour
    session : Session
        Of the tour's network, in the view that the tour begins with.
    renderer : Renderer
        Of `scene_size`.
    """
    bar = tour.size[1] - scene_size(tour)[1]
    start = session.state.camera or ""
    session.wait()
    before = session.draw_list
    renderer.draw(before)  # only then is it known how much of the picture the legend leaves
    aspect = renderer.scene_aspect
    base = start if isinstance(start, Camera) else session.camera_for(None, aspect)
    pose = _Pose(start, base)
    done = 0
    for number, (step, end) in enumerate(zip(tour.steps, tour.last_frames(), strict=True), 1):
        with _naming(tour.path, number):
            session.update(_changed(session, step))
            session.wait()
        after, target = session.draw_list, pose.after(step, session, aspect)
        leg = _Leg(step, before, after, pose, target)
        for frame in range(done, end):
            # Both ends count: the first picture of a step has already begun to move, its last
            # one stands where the next step starts.
            share = (frame + 1 - done) / (end - done)
            picture = leg.picture(renderer, share)
            yield _with_bar(picture, bar, *leg.caption(share)) if bar else picture
        before, pose, done = after, target, end


class _Leg:
    """One step between two pictures."""

    def __init__(
        self, step: Step, before: DrawList, after: DrawList, start: _Pose, end: _Pose
    ) -> None:
        self.step, self.after = step, after
        self._start, self._end = start, end
        # Turning back to a new direction takes the short way round.
        turn = end.yaw - start.yaw
        self._turn = turn if step.orbit else math.remainder(turn, 360.0)
        self._blend = None if before is after else Blend(before, after)
        self._move = min(step.seconds, _TRANSITION) / step.seconds if step.seconds else 1.0
        self._shown: DrawList | None = None

    def picture(self, renderer: Renderer, share: float) -> NDArray[np.uint8]:
        """The picture after this share of the step."""
        shown = self.after
        if self._blend is not None and share < self._move:
            shown = self._blend.at(ease(share / self._move))
        if shown is not self._shown:
            renderer.draw(shown)
            self._shown = shown
        # The viewer goes along with the boxes, so that what moves stays in the picture; turning
        # may go on for longer.
        way = ease(share / self._move) if self._blend is not None else ease(share)
        base = interpolate(self._start.camera, self._end.camera, way)
        renderer.camera = _turned(base, self._end.yaw - self._turn * (1.0 - ease(share)))
        return renderer.image()

    def caption(self, share: float) -> tuple[str, str, float]:
        """Title, theme, and how far the title is faded in after this share of the step, 0 to 1."""
        past, left = share * self.step.seconds, (1.0 - share) * self.step.seconds
        alpha = min(max(min(past, left) / _CAPTION_FADE, 0.0), 1.0)
        return self.step.title, self.after.theme, alpha


def _nearer(camera: Camera, zoom: float) -> Camera:
    """The camera `zoom` times as near to what it looks at."""
    position = [
        f + (p - f) / zoom for p, f in zip(camera.position, camera.focal_point, strict=True)
    ]
    return replace(camera, position=(position[0], position[1], position[2]))


def _turned(camera: Camera, degrees: float) -> Camera:
    """The camera turned about the vertical through what it looks at (counter-clockwise)."""
    if degrees == 0.0:
        return camera
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def turn(x: float, y: float, z: float) -> tuple[float, float, float]:
        return (c * x + s * z, y, -s * x + c * z)

    fx, fy, fz = camera.focal_point
    px, py, pz = camera.position
    dx, dy, dz = turn(px - fx, py - fy, pz - fz)
    return replace(camera, position=(fx + dx, fy + dy, fz + dz), up=turn(*camera.up))


def _with_bar(
    scene: NDArray[np.uint8], bar: int, text: str, theme: str, alpha: float
) -> NDArray[np.uint8]:
    """The scene above a bar, `bar` pixels high, with a line of text.

    The bar has the colour at the lower end of the scene's background, so that it seems to go on.
    """
    height, width = scene.shape[:2]
    picture = np.empty((height + bar, width, 3), np.uint8)
    picture[:height] = scene
    picture[height:] = ImageColor.getrgb(BACKGROUNDS[theme][0])
    if not text:
        return picture
    ink = INKS[theme]
    px = max(8, round(0.45 * bar))
    sprite = text_sprite(text, px, ink.title, ink.halo, True)
    while sprite.shape[1] > 0.96 * width and px > 8:
        px = max(8, round(px * 0.9))
        sprite = text_sprite(text, px, ink.title, ink.halo, True)
    sprite = sprite[:bar, :width]
    h, w = sprite.shape[:2]
    top, left = height + (bar - h) // 2, (width - w) // 2
    part = picture[top : top + h, left : left + w]
    opacity = sprite[..., 3:] / 255.0 * alpha
    part[:] = np.rint(part + (sprite[..., :3] - part.astype(np.float64)) * opacity)
    return picture
