"""Small pictures at fixed places on the screen, all in one texture and one actor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkPolyDataMapper2D, vtkTexture, vtkTexturedActor2D

from explorer.renderer.text import Sprite

_WIDTH = 1024


class SpriteSheet:
    """An atlas of sprites and the quads that show some of them.

    Parameters
    ----------
    layer : int
        Sheets of a higher layer are drawn over those of a lower one.
    """

    def __init__(self, layer: int = 0) -> None:
        self._image, self._texture = vtkImageData(), vtkTexture()
        self._texture.SetInputData(self._image)
        self._texture.InterpolateOff()
        self._texture.RepeatOff()
        self._texture.SetColorModeToDirectScalars()
        self._quads = vtkPolyData()
        self._quads.SetPoints(vtkPoints())
        mapper = vtkPolyDataMapper2D()
        mapper.SetInputData(self._quads)
        self.actor = vtkTexturedActor2D()
        self.actor.SetMapper(mapper)
        self.actor.SetTexture(self._texture)
        self.actor.SetLayerNumber(layer)
        self.actor.SetVisibility(False)
        self._corners = np.zeros((0, 4))
        self._sizes: NDArray[np.int32] = np.zeros((0, 2), np.int32)
        self._shown: bytes | None = None
        self._keep: list[object] = []

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Width and height of each sprite in pixels: shape (n, 2)."""
        return self._sizes

    def load(self, sprites: Sequence[Sprite]) -> None:
        """Take these sprites instead of the present ones; nothing is shown until `show`."""
        self._sizes = np.array([s.shape[1::-1] for s in sprites], np.int32).reshape(-1, 2)
        self._shown = None
        self.actor.SetVisibility(False)
        if len(sprites) == 0:
            return
        width = max(_WIDTH, int(self._sizes[:, 0].max()) + 2)
        places, height = _shelves(self._sizes, width)
        atlas = np.zeros((height, width, 4), np.uint8)
        for sprite, (x, y) in zip(sprites, places.tolist(), strict=True):
            # Texture rows count from the bottom, so a sprite goes in upside down.
            atlas[y : y + sprite.shape[0], x : x + sprite.shape[1]] = sprite[::-1]
        self._corners = np.hstack([places, places + self._sizes]) / (width, height, width, height)
        self._image.SetDimensions(width, height, 1)
        scalars = numpy_to_vtk(atlas.reshape(-1, 4), deep=1, array_type=VTK_UNSIGNED_CHAR)
        self._image.GetPointData().SetScalars(scalars)
        self._image.Modified()

    def show(self, which: NDArray[np.intp], positions: NDArray[np.int32], height: int) -> None:
        """Show some sprites.

        Parameters
        ----------
        which : int array, shape (k,)
            Their indices.
        positions : int array, shape (k, 2)
            Pixels of their top left corners, from the top left of the picture.
        height : int
            Of the picture, pixels.
        """
        key = which.tobytes() + positions.tobytes() + str(height).encode()
        if key == self._shown:
            return
        self._shown = key
        self.actor.SetVisibility(len(which) > 0)
        if len(which) == 0:
            return
        size, uv = self._sizes[which], self._corners[which]
        left, bottom = positions[:, 0], height - positions[:, 1] - size[:, 1]
        right, top = left + size[:, 0], bottom + size[:, 1]
        points = np.zeros((len(which), 4, 3), np.float32)
        points[..., 0] = np.stack([left, right, right, left], 1)
        points[..., 1] = np.stack([bottom, bottom, top, top], 1)
        coordinates = np.stack([uv[:, [0, 1]], uv[:, [2, 1]], uv[:, [2, 3]], uv[:, [0, 3]]], 1)
        self._fill(points.reshape(-1, 3), coordinates.reshape(-1, 2).astype(np.float32))

    def _fill(self, points: NDArray[np.float32], coordinates: NDArray[np.float32]) -> None:
        count = len(points) // 4
        self._quads.GetPoints().SetData(numpy_to_vtk(points, deep=1))
        self._quads.GetPointData().SetTCoords(numpy_to_vtk(coordinates, deep=1))
        cells = vtkCellArray()
        cells.SetData(
            numpy_to_vtk(np.arange(0, 4 * count + 1, 4, dtype=np.int32), deep=1),
            numpy_to_vtk(np.arange(4 * count, dtype=np.int32), deep=1),
        )
        self._quads.SetPolys(cells)
        self._quads.Modified()


def _shelves(sizes: NDArray[np.int32], width: int) -> tuple[NDArray[np.int32], int]:
    """Pack rectangles in rows, the highest first, a pixel apart: places and total height."""
    places = np.zeros_like(sizes)
    x = y = row = 0
    for i in np.argsort(-sizes[:, 1], kind="stable").tolist():
        w, h = sizes[i].tolist()
        if x + w > width:
            x, y, row = 0, y + row + 1, 0
        places[i] = x, y
        x, row = x + w + 1, max(row, h)
    return places, y + row + 1
