"""Thin lines on the screen from displaced labels to what they name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor2D, vtkPolyDataMapper2D

from explorer.renderer.text import Rgb


class Leaders:
    """Straight lines in pixels of the picture, in one actor."""

    def __init__(self) -> None:
        self._data = vtkPolyData()
        self._data.SetPoints(vtkPoints())
        mapper = vtkPolyDataMapper2D()
        mapper.SetInputData(self._data)
        self.actor = vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.SetVisibility(False)
        self._shown: bytes | None = None

    def show(self, lines: NDArray[np.float64], height: int, color: Rgb, width: float) -> None:
        """Show these lines and no others.

        Parameters
        ----------
        lines : float64 array, shape (n, 4)
            x, y of both ends, pixels from the top left.
        height : int
            Of the picture, pixels.
        color : (int, int, int)
        width : float
            Pixels.
        """
        key = lines.tobytes() + repr((height, color, width)).encode()
        if key == self._shown:
            return
        self._shown = key
        self.actor.SetVisibility(len(lines) > 0)
        if len(lines) == 0:
            return
        look = self.actor.GetProperty()
        look.SetColor(*(c / 255 for c in color))
        look.SetLineWidth(width)
        ends = lines.reshape(-1, 2)
        points = np.zeros((len(ends), 3), np.float32)
        points[:, 0], points[:, 1] = ends[:, 0], height - ends[:, 1]
        self._data.GetPoints().SetData(numpy_to_vtk(points, deep=1))
        cells = vtkCellArray()
        cells.SetData(
            numpy_to_vtk(np.arange(0, len(ends) + 1, 2, dtype=np.int32), deep=1),
            numpy_to_vtk(np.arange(len(ends), dtype=np.int32), deep=1),
        )
        self._data.SetLines(cells)
        self._data.Modified()
