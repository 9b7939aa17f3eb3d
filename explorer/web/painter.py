"""VTK in a thread of its own, so that drawing one tab does not hold up the server.

VTK's objects must stay in one thread, and its rendering lets go of Python's lock: the event loop
goes on reading the pointer and serving other tabs while a picture is being made.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.draw_list import DrawList
from explorer.session.pace import FULL, Quality
from explorer.viewing.view_state import Camera
from explorer.web import vtk_thread
from explorer.web.vtk_thread import VTK

if TYPE_CHECKING:
    from explorer.renderer import Pick, Renderer

U1 = NDArray[np.uint8]
A = TypeVarTuple("A")
R = TypeVar("R")
#: Samples per pixel of a still picture.
SAMPLES = 4


class Painter:
    """A renderer that is asked from the event loop and works in the VTK thread."""

    def __init__(self) -> None:
        self._number = vtk_thread.new_number()
        self._drawn: DrawList | None = None
        self._closed = False
        # Also for a painter that is forgotten instead of closed; the thread sees to its own end.
        weakref.finalize(self, VTK.submit, vtk_thread.close, self._number).atexit = False

    async def paint(
        self,
        draw_list: DrawList,
        camera: Camera,
        size: tuple[int, int],
        smooth: bool = False,
        quality: Quality = FULL,
    ) -> U1:
        """Draw a picture.

        Parameters
        ----------
        draw_list : DrawList
        camera : Camera
        size : (int, int)
            Width and height in pixels.
        smooth : bool
            Whether rims are smoothed, which takes several times as long in software.
        quality : Quality
            What of it is drawn.

        Returns
        -------
        uint8 array, shape (height, width, 3)

        Raises
        ------
        NeuronautError
            If this machine cannot draw.
        """
        return await self._in_thread(self._paint, draw_list, camera, size, smooth, quality)

    async def pick(self, draw_list: DrawList, camera: Camera, x: float, y: float) -> Pick:
        """What lies at a place of the picture, which may be newer than the last one painted.

        Parameters
        ----------
        draw_list : DrawList
        camera : Camera
        x, y : float
            From the top left, as shares of the picture's width and height.
        """
        return await self._in_thread(self._pick, draw_list, camera, x, y)

    async def close(self) -> None:
        """Free the graphics memory."""
        self._closed = True
        await self._in_thread(self._close)

    @staticmethod
    async def _in_thread(work: Callable[[*A], R], *arguments: *A) -> R:
        return await asyncio.get_running_loop().run_in_executor(VTK, work, *arguments)

    def _ready(self, draw_list: DrawList, camera: Camera, size: tuple[int, int] | None) -> Renderer:
        from explorer.errors import NeuronautError

        if self._closed:
            raise NeuronautError("the view is closed")
        renderer = vtk_thread.renderer(self._number, size or (1280, 800))
        if size is not None and size != renderer.size:
            renderer.resize(*size)
        if draw_list is not self._drawn:
            renderer.draw(draw_list)
            self._drawn = draw_list
        renderer.camera = camera
        return renderer

    def _paint(
        self,
        draw_list: DrawList,
        camera: Camera,
        size: tuple[int, int],
        smooth: bool,
        quality: Quality,
    ) -> U1:
        renderer = self._ready(draw_list, camera, size)
        renderer.quality = quality
        return renderer.image(multi_samples=SAMPLES if smooth else 0)

    def _pick(self, draw_list: DrawList, camera: Camera, x: float, y: float) -> Pick:
        renderer = self._ready(draw_list, camera, None)
        width, height = renderer.size
        return renderer.pick(x * width, y * height)

    def _close(self) -> None:
        vtk_thread.close(self._number)
        self._drawn = None
