"""VTK in a thread of its own, so that drawing one tab does not hold up the server.

VTK's objects must stay in one thread, and its rendering lets go of Python's lock: the event loop
goes on reading the pointer and serving other tabs while a picture is being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from explorer.draw_list import DrawList
from explorer.view_state import Camera

if TYPE_CHECKING:
    from explorer.renderer import Pick, Renderer

U1 = NDArray[np.uint8]
A = TypeVarTuple("A")
R = TypeVar("R")
#: Samples per pixel of a still picture.
SAMPLES = 4
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vtk")


class Painter:
    """A renderer that is asked from the event loop and works in the VTK thread."""

    def __init__(self) -> None:
        self._renderer: Renderer | None = None
        self._drawn: DrawList | None = None
        self._closed = False

    async def paint(
        self, draw_list: DrawList, camera: Camera, size: tuple[int, int], smooth: bool = False
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

        Returns
        -------
        uint8 array, shape (height, width, 3)

        Raises
        ------
        NeuronautError
            If this machine cannot draw.
        """
        return await self._in_thread(self._paint, draw_list, camera, size, smooth)

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
        return await asyncio.get_running_loop().run_in_executor(_thread, work, *arguments)

    def _ready(self, draw_list: DrawList, camera: Camera, size: tuple[int, int] | None) -> Renderer:
        from explorer.errors import NeuronautError
        from explorer.renderer import Renderer

        if self._closed:
            raise NeuronautError("the view is closed")
        if self._renderer is None:
            self._renderer = Renderer(size or (1280, 800), off_screen=True, legend=False)
        if size is not None and size != self._renderer.size:
            self._renderer.resize(*size)
        if draw_list is not self._drawn:
            self._renderer.draw(draw_list)
            self._drawn = draw_list
        self._renderer.camera = camera
        return self._renderer

    def _paint(
        self, draw_list: DrawList, camera: Camera, size: tuple[int, int], smooth: bool
    ) -> U1:
        renderer = self._ready(draw_list, camera, size)
        return renderer.image(multi_samples=SAMPLES if smooth else 0)

    def _pick(self, draw_list: DrawList, camera: Camera, x: float, y: float) -> Pick:
        renderer = self._ready(draw_list, camera, None)
        width, height = renderer.size
        return renderer.pick(x * width, y * height)

    def _close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = self._drawn = None
