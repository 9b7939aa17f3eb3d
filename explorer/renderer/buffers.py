"""VTK meshes whose arrays are written in place: an update costs by the array, not by the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

from explorer.renderer.geometry import F4, I4, U1


class Column:
    """A VTK array over a numpy array that is reused as long as its shape stays.

    Parameters
    ----------
    name : str
    vtk_type : int, optional
        VTK's number for the type; guessed from the first values without it.
    """

    def __init__(self, name: str, vtk_type: int | None = None) -> None:
        self._name, self._type = name, vtk_type
        self._values: NDArray[np.generic] | None = None
        self.array = None

    def write(self, values: NDArray[np.generic]) -> bool:
        """Take over new values; True if there is a new VTK array to hand on."""
        if self._values is not None and self._values.shape == values.shape:
            np.copyto(self._values, values)
            self.array.Modified()  # type: ignore[attr-defined]
            return False
        self._values = np.array(values, order="C")
        self.array = numpy_to_vtk(self._values, deep=0, array_type=self._type)
        self.array.SetName(self._name)  # type: ignore[attr-defined]
        return True


class Mesh:
    """One actor: points, cells of equal length, and a colour for each point.

    Parameters
    ----------
    lines : bool
        Whether the cells are polylines instead of polygons.
    translucent : bool
        Drawn after everything opaque, in the order of its cells and without writing depth.
    """

    def __init__(self, lines: bool = False, translucent: bool = False) -> None:
        self._lines = lines
        self._points, self._colors = Column("points"), Column("rgba", VTK_UNSIGNED_CHAR)
        self._shape: tuple[int, ...] | None = None
        self._connectivity: I4 | None = None
        self.data = vtkPolyData()
        self.data.SetPoints(vtkPoints())
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(self.data)
        mapper.SetScalarModeToUsePointData()
        mapper.SetColorModeToDirectScalars()
        mapper.ScalarVisibilityOn()
        self.actor = vtkActor()
        self.actor.SetMapper(mapper)
        self.actor.SetVisibility(False)
        self.property = self.actor.GetProperty()
        self.property.LightingOff()
        if translucent:
            self.actor.ForceTranslucentOn()
        else:
            self.actor.ForceOpaqueOn()

    def update(self, points: F4, colors: U1, cells: I4) -> None:
        """Show these cells.

        Parameters
        ----------
        points : float32 array, shape (p, 3)
        colors : uint8 array, shape (p, 4)
        cells : int32 array, shape (c, k)
            Indices of points. Of equally many points, cells of an unchanged shape are taken to be
            the same as before: the connectivity of boxes and curves follows from how many there
            are.
        """
        if len(points) == 0:
            self.actor.SetVisibility(False)
            return
        if self._points.write(points):
            self.data.GetPoints().SetData(self._points.array)
        self.data.GetPoints().Modified()
        if self._colors.write(colors):
            self.data.GetPointData().SetScalars(self._colors.array)
        self.show(cells, len(points))
        self.data.Modified()

    def show(self, cells: I4, points: int) -> None:
        """Show these cells of the points there are; as for `update`."""
        self.actor.SetVisibility(len(cells) > 0)
        shape = (points, *cells.shape)
        if len(cells) and self._shape != shape:
            self._shape = shape
            self._set_cells(cells)

    def _set_cells(self, cells: I4) -> None:
        count, length = cells.shape
        offsets = np.arange(0, (count + 1) * length, length, dtype=np.int32)
        array = vtkCellArray()
        array.SetData(
            numpy_to_vtk(offsets, deep=1), numpy_to_vtk(np.ascontiguousarray(cells).ravel(), deep=1)
        )
        (self.data.SetLines if self._lines else self.data.SetPolys)(array)
