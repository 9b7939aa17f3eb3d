"""The renderer: a `DrawList` and a camera become a picture, and a pixel becomes a node."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import vtkmodules.vtkInteractionStyle  # noqa: F401  (interactors need it)
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow, vtkRenderWindowInteractor

from explorer.drawing.draw_list import DrawList
from explorer.renderer.backgrounds import BACKGROUNDS as BACKGROUNDS
from explorer.renderer.backgrounds import unit_rgb
from explorer.renderer.frame_times import FrameTimes
from explorer.renderer.labelled import Labelled
from explorer.renderer.labels import LabelLayer, PlacedLabel, text_scale
from explorer.renderer.projection import Picker, Projection
from explorer.renderer.render_window import check_size, make_window
from explorer.renderer.scene import Scene
from explorer.renderer.sprites import SpriteSheet
from explorer.renderer.strip import LegendStrip
from explorer.renderer.text import INKS, Sprite, panel_sprite
from explorer.session.pace import FULL, Quality
from explorer.viewing.view_state import Camera

EDGE_REACH_PX = 5.0
"""How far from an edge a click still means it, in pixels of a picture 900 pixels high."""


@dataclass(frozen=True)
class Pick:
    """What lies under a pixel.

    Attributes
    ----------
    node : int or None
        Index into `DrawList.nodes` of the label or the closed node under the pixel.
    edge : int or None
        Row in `DrawList.edges` of the nearest edge within reach that no solid hides there.
    frame_title : bool
        Whether it is the title of an open frame; `node` is then the frame's.
    """

    node: int | None = None
    edge: int | None = None
    frame_title: bool = False


class Renderer:
    """Draws draw lists with VTK, in a window or off screen.

    One thread only, as VTK demands. Close it when done, or use it as a context manager.

    Parameters
    ----------
    size : (int, int)
        Width and height in pixels.
    off_screen : bool
        Whether to draw without a window.
    legend : bool
        Whether the legend is part of the picture: a strip below the scene.
    multi_samples : int
        Samples per pixel for smooth rims; 0 is three times as fast on a software renderer, which
        has at most 4.
    legend_grows : bool
        Whether the strip of the legend grows with its text. If not, it has the same height in
        every picture of the same size.

    Raises
    ------
    NeuronautError
        If the size is impossible, or this machine cannot draw; the text names what to install.
    """

    def __init__(
        self,
        size: tuple[int, int] = (1600, 900),
        off_screen: bool = True,
        legend: bool = True,
        multi_samples: int = 8,
        legend_grows: bool = True,
    ) -> None:
        self._size = check_size(size)
        self._window = make_window(off_screen)
        self._window.SetSize(*size)
        self._window.SetMultiSamples(multi_samples)
        self._renderer = vtkRenderer()
        self._renderer.GradientBackgroundOn()
        # Translucent things are drawn in the order given, weak edges first: not averaged.
        self._renderer.UseOITOff()
        self._window.AddRenderer(self._renderer)
        # The scene has a part of the window, above the strip; what lies over all of it has a
        # renderer of its own.
        self._over = vtkRenderer()
        self._over.SetInteractive(False)
        self._over.SetLayer(1)
        self._window.SetNumberOfLayers(2)
        self._window.AddRenderer(self._over)
        self._scene = Scene()
        self._labels = LabelLayer()
        self.strip = LegendStrip(legend, legend_grows)
        self._panel = SpriteSheet(layer=1)
        self._notes = SpriteSheet(layer=2)
        self._note: tuple[tuple[str, ...], tuple[float, float] | None] = ((), None)
        for actor in (*self._scene.actors, *self._labels.actors):
            self._renderer.AddActor(actor)
        for sheet in (self.strip.sheet, self._panel, self._notes):
            self._over.AddActor(sheet.actor)
        self._draw_list: DrawList | None = None
        self._quality = FULL
        self._labelled = Labelled()
        #: How long the last picture took.
        self.times = FrameTimes()
        self._theme = ""
        self._set_theme("dark")
        self._picker: tuple[object, Picker] | None = None
        self._interactor: vtkRenderWindowInteractor | None = None
        me = weakref.ref(self)

        def prepare(*_: object) -> None:
            renderer = me()
            if renderer is not None:
                renderer._before_render()

        self._observer = self._renderer.AddObserver("StartEvent", prepare)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def render_window(self) -> vtkRenderWindow:
        """The VTK render window, for a remote view or an interactor."""
        return self._window

    @property
    def interactor(self) -> vtkRenderWindowInteractor:
        """The window's interactor, made at first use: drag turns, wheel and right drag zoom."""
        if self._interactor is None:
            interactor = vtkRenderWindowInteractor()
            interactor.SetRenderWindow(self._window)
            interactor.GetInteractorStyle().SetCurrentStyleToTrackballCamera()
            self._interactor = interactor
        return self._interactor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in pixels; follows the window."""
        width, height = self._window.GetSize()
        return (width, height) if width > 0 and height > 0 else self._size

    @property
    def scene_size(self) -> tuple[int, int]:
        """Width and height of the part of the picture that the scene has, from the top left.

        Without the strip of the legend; the panel lies over the scene.
        """
        width, height = self.size
        return width, height - self.strip.height

    @property
    def scene_aspect(self) -> float:
        """Width / height of what neither the panel nor the strip of the legend takes.

        For framing; right for a draw list as soon as it has been given to `draw`.
        """
        return max(self.free_width, 1) / self.scene_size[1]

    @property
    def camera(self) -> Camera:
        """Where the viewer stands; may be set."""
        camera = self._renderer.GetActiveCamera()
        return Camera(
            camera.GetPosition(), camera.GetFocalPoint(), camera.GetViewUp(), camera.GetViewAngle()
        )

    @camera.setter
    def camera(self, value: Camera) -> None:
        camera = self._renderer.GetActiveCamera()
        camera.SetPosition(*value.position)
        camera.SetFocalPoint(*value.focal_point)
        camera.SetViewUp(*value.up)
        camera.SetViewAngle(value.view_angle)

    @property
    def multi_samples(self) -> int:
        """Samples per pixel; may be set, the next picture has them."""
        return int(self._window.GetMultiSamples())

    @multi_samples.setter
    def multi_samples(self, samples: int) -> None:
        if samples != self._window.GetMultiSamples():
            self._window.SetMultiSamples(samples)

    @property
    def quality(self) -> Quality:
        """What is drawn of the draw list; may be set, the next picture has it."""
        return self._quality

    @quality.setter
    def quality(self, value: Quality) -> None:
        self._quality = value
        self._scene.set_quality(value)

    def draw(self, draw_list: DrawList) -> None:
        """Take a new draw list; the next `render` or `image` shows it.

        Arrays are written in place; the cost follows the number of points, not of objects.
        """
        with self.times.taking():
            self._draw_list = draw_list
            self._picker = None
            self._set_theme(draw_list.theme)
            self._scene.update(draw_list, text_scale(self.size[1]))
            self._labels.load(self._labelled.of(draw_list, self._quality.labels), self.size[1])
            self._fit_strip(draw_list)

    def render(self) -> None:
        """Draw the picture now."""
        with self.times.picture():
            self._window.Render()

    def image(self, multi_samples: int | None = None) -> NDArray[np.uint8]:
        """Draw and return the picture: uint8, shape (height, width, 3), top row first.

        Parameters
        ----------
        multi_samples : int, optional
            Samples per pixel for this picture only.
        """
        usual = self.multi_samples
        if multi_samples is not None:
            self.multi_samples = multi_samples
        self.render()
        width, height = self.size
        pixels = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        self.multi_samples = usual
        flat = vtk_to_numpy(pixels).reshape(height, width, 3)
        return np.ascontiguousarray(flat[::-1])

    def pick(self, x: float, y: float) -> Pick:
        """What lies under a pixel; x, y count from the top left of the picture.

        Texts first, then what is nearest to the viewer; nothing on the panel or the strip.
        Computed from the arrays, not from pixels: exact, and nothing is drawn for it. A node and an
        edge in front of it may both be returned; then a click means the node and a hover the edge,
        or as the surface likes.
        """
        draw_list, height = self._draw_list, self.scene_size[1]
        if draw_list is None or not (0 <= x < self.free_width and 0 <= y < height):
            return Pick()
        if not self._labels.is_placed:
            self._before_render()  # a new draw list, of which no picture was drawn yet
        for placed in reversed(self._labels.placed()):
            inside = placed.left <= x < placed.right and placed.top <= y < placed.bottom
            if inside and placed.label.node >= 0:
                return Pick(node=placed.label.node, frame_title=placed.label.title)
        picker = self._current_picker(draw_list)
        row, _ = picker.solid(x, y)
        edge = picker.edge(x, y, EDGE_REACH_PX * text_scale(self.size[1]))
        return Pick(int(draw_list.solids.node[row]) if row >= 0 else None, edge)

    @property
    def boxes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres and sizes of the closed boxes, world units, each of shape (n, 3)."""
        drawn, none = self._draw_list, np.zeros((0, 3), np.float32)
        return (drawn.solids.centers, drawn.solids.sizes) if drawn else (none, none)

    def placed_labels(self) -> list[PlacedLabel]:
        """The labels of the last picture and their rectangles."""
        return self._labels.placed()

    @property
    def free_width(self) -> int:
        """Width of the picture that the panel leaves free, pixels."""
        width, sizes = self.size[0], self._panel.sizes
        return max(width - int(sizes[0, 0]), 0) if len(sizes) else width

    def set_panel(self, picture: Sprite | None) -> None:
        """Show a picture at the right edge over the scene, or none.

        Labels and the legend keep clear of it, and what lies under it is not picked.

        Parameters
        ----------
        picture : Sprite or None
            uint8, shape (height, width, 4).
        """
        self._panel.load([] if picture is None else [picture])

    def set_note(self, lines: tuple[str, ...] = (), at: tuple[float, float] | None = None) -> bool:
        """Show a panel of text over the scene, or none.

        Parameters
        ----------
        lines : tuple of str
            Empty to take the panel away.
        at : (float, float), optional
            Pixel that the panel belongs to (a tooltip); in the middle, with a heading, without it.

        Returns
        -------
        bool
            Whether the next picture will differ.
        """
        old, self._note = self._note, (lines, at if lines else None)
        if self._note == old:
            return False
        if not lines:
            self._notes.load([])
            return True
        width, height = self.size
        if old[0] != lines or (old[1] is None) != (at is None):
            px = round((14 if at else 16) * text_scale(height))
            self._notes.load([panel_sprite(lines, px, INKS[self._theme], heading=at is None)])
        w, h = self._notes.sizes[0].tolist()
        if at is None:
            left, top = (width - w) // 2, (height - h) // 2
        else:
            left = round(at[0]) + 16 if at[0] + 16 + w <= self.free_width else round(at[0]) - w - 8
            top = round(at[1]) + 18 if at[1] + 18 + h <= height else round(at[1]) - h - 8
        place = np.array([[max(left, 0), max(top, 0)]], np.int32)
        self._notes.show(np.zeros(1, np.intp), place, height)
        return True

    def resize(self, width: int, height: int) -> None:
        """Change the size of the picture, pixels."""
        self._size = check_size((width, height))
        self._window.SetSize(width, height)

    def close(self) -> None:
        """Free the graphics memory; the renderer is of no use after."""
        self._renderer.RemoveObserver(self._observer)
        self._renderer.RemoveAllViewProps()
        self._over.RemoveAllViewProps()
        if self._interactor is not None:
            self._interactor.SetRenderWindow(None)  # type: ignore[arg-type]
            self._interactor = None
        self._window.Finalize()
        self._window.RemoveRenderer(self._over)
        self._window.RemoveRenderer(self._renderer)
        self._draw_list = self._picker = None

    def _set_theme(self, theme: str) -> None:
        if theme == self._theme:
            return
        self._theme = theme
        bottom, top = (unit_rgb(c) for c in BACKGROUNDS[theme])
        self._renderer.SetBackground(*bottom)
        self._renderer.SetBackground2(*top)

    def _before_render(self) -> None:
        """Called by VTK before each picture, whoever moved the camera."""
        if self._draw_list is None:
            return
        with self.times.placing():
            self._place(self._draw_list)

    def _place(self, draw_list: DrawList) -> None:
        size = self.size
        self._fit_strip(draw_list)
        camera = self._renderer.GetActiveCamera()
        near, far = self._scene.clipping(self.camera)
        camera.SetClippingRange(near, far)
        scale = text_scale(size[1])
        self._labels.load(self._labelled.of(draw_list, self._quality.labels), size[1])
        self._scene.set_scale(scale)
        free = self.free_width
        projection = Projection.of(self.camera, self.scene_size, near)
        self._labels.place(projection, draw_list, free)
        if len(self._panel.sizes):
            self._panel.show(np.zeros(1, np.intp), np.array([[free, 0]], np.int32), size[1])

    def _fit_strip(self, draw_list: DrawList) -> None:
        """Write the legend and give the scene what is left."""
        size = self.size
        r, g, b = (round(255 * c) for c in unit_rgb(BACKGROUNDS[draw_list.theme][0]))
        self.strip.load(draw_list, (self.free_width, size[1]), text_scale(size[1]), (r, g, b))
        self._renderer.SetViewport(0.0, self.strip.height / size[1], 1.0, 1.0)

    def _current_picker(self, draw_list: DrawList) -> Picker:
        camera, size = self.camera, self.scene_size
        if self._picker is None or self._picker[0] != (camera, size):
            projection = Projection.of(camera, size, self._scene.clipping(camera)[0])
            self._picker = (camera, size), Picker(projection, draw_list.solids, draw_list.edges)
        return self._picker[1]
