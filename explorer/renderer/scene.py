"""The actors of the scene: few of them, whatever the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkRenderingCore import vtkActor

from explorer.drawing.draw_list import BoxArrays, DrawList, EdgeArrays
from explorer.renderer import geometry
from explorer.renderer.buffers import Mesh
from explorer.session.pace import FULL, Quality
from explorer.viewing.view_state import Camera

WIDTHS_PX = (1.0, 1.5, 2.2, 3.2, 4.5)
"""Widths in which edges are drawn, pixels of a picture 900 pixels high."""

_NEAREST = 5e-5  # nearest depth drawn, as a share of the farthest: what depth precision allows
GLASS = {"dark": 0.085, "light": 0.075}
"""Opacity of a frame's walls."""
ACCENT = {"dark": (255, 214, 102), "light": (214, 72, 10)}
"""Rim of the selected node."""
RIMS = {"dark": ((255, 255, 255), 0.30, 0.75), "light": ((20, 28, 44), 0.35, 0.75)}
"""Rims of solids: the colour that theirs goes towards, by which share, and the opacity."""
RIM_PX, FRAME_PX, MARK_PX = 1.0, 1.2, 2.6
"""Widths of rims, of frames and of the selected node's rim, as `WIDTHS_PX`."""


class Scene:
    """Solids, frames, edges and the mark of the selected node as VTK actors."""

    def __init__(self) -> None:
        self._solids = Mesh()
        self._rims = Mesh(lines=True, translucent=True)
        self._glass = Mesh(translucent=True)
        self._frames = Mesh(lines=True, translucent=True)
        self._edges = [Mesh(lines=True, translucent=True) for _ in WIDTHS_PX]
        self._mark = Mesh(lines=True, translucent=True)
        self._solids.property.BackfaceCullingOn()
        # Only the far walls of the glass are painted: what stands inside keeps its own colour.
        self._glass.property.FrontfaceCullingOn()
        self._depths: NDArray[np.float32] = np.zeros((0, 3), np.float32)
        self._scale = 0.0
        self._quality = FULL
        # Of each mesh of edges: which rows it holds; and how many edges and points each there are.
        self._edge_rows = [np.zeros(0, np.intp) for _ in WIDTHS_PX]
        self._edge_shape = (0, 2)

    @property
    def actors(self) -> list[vtkActor]:
        """All actors, in the order in which they are drawn."""
        meshes = [self._solids, self._rims, self._glass, self._frames, *self._edges, self._mark]
        return [m.actor for m in meshes]

    def update(self, draw_list: DrawList, scale: float) -> None:
        """Show this draw list; `scale` multiplies line widths."""
        solids, frames = draw_list.solids, draw_list.frames
        self._solids.update(
            geometry.box_faces(solids.centers, solids.sizes),
            geometry.shaded(solids.colors),
            geometry.face_triangles(len(solids.node)),
        )
        rim = geometry.mixed(solids.colors, *RIMS[draw_list.theme])
        _outline(self._rims, solids.centers, solids.sizes, rim)
        glass = geometry.mixed(frames.colors, (255, 255, 255), 0.0, GLASS[draw_list.theme])
        self._glass.update(
            geometry.box_faces(frames.centers, frames.sizes),
            geometry.shaded(glass),
            geometry.face_triangles(len(frames.node)),
        )
        _outline(self._frames, frames.centers, frames.sizes, frames.colors)
        self._update_edges(draw_list.edges)
        self._update_mark(draw_list)
        corners = [
            geometry.box_corners(b.centers, b.sizes).reshape(-1, 3) for b in (solids, frames)
        ]
        self._depths = np.concatenate([*corners, draw_list.edges.points.reshape(-1, 3)])
        self.set_scale(scale)

    def set_scale(self, scale: float) -> None:
        """Multiply line widths by this."""
        if scale == self._scale:
            return
        self._scale = scale
        for mesh, width in zip(self._edges, WIDTHS_PX, strict=True):
            mesh.property.SetLineWidth(width * scale)
        self._rims.property.SetLineWidth(RIM_PX * scale)
        self._frames.property.SetLineWidth(FRAME_PX * scale)
        self._mark.property.SetLineWidth(MARK_PX * scale)

    def set_quality(self, quality: Quality) -> None:
        """Draw all edges, or the strongest only, with all points of their curves or with fewer."""
        if (quality.edges, quality.every) == (self._quality.edges, self._quality.every):
            return
        self._quality = quality
        for mesh, rows in zip(self._edges, self._edge_rows, strict=True):
            mesh.show(self._edge_cells(rows), len(rows) * self._edge_shape[1])

    def clipping(self, camera: Camera) -> tuple[float, float]:
        """Nearest and farthest depth to draw for this camera, world units.

        VTK's own choice cuts off what is nearer than 1 % of the farthest; a person who flies up to
        a unit is nearer than that.
        """
        origin = np.array(camera.position)
        forward = np.array(camera.focal_point) - origin
        forward /= max(float(np.linalg.norm(forward)), 1e-300)
        depths = self._depths @ forward.astype(np.float32) - np.float32(origin @ forward)
        ahead = depths[depths > 0]
        if len(ahead) == 0:
            return 0.01, 1000.0
        far = float(ahead.max()) * 1.01 + 1e-6
        # What lies on both sides of the viewer may pass as close as one likes.
        nearest = float(ahead.min()) * 0.5 if len(ahead) == len(depths) else 0.0
        return max(nearest, far * _NEAREST), far

    def _update_edges(self, edges: EdgeArrays) -> None:
        count, points = edges.points.shape[:2] if edges.points.size else (0, 2)
        group = width_group(edges.widths[:count])
        self._edge_shape = count, points
        for i, mesh in enumerate(self._edges):
            self._edge_rows[i] = rows = np.flatnonzero(group == i)
            mesh.update(
                edges.points[rows].reshape(-1, 3),
                np.repeat(edges.colors[rows], points, axis=0),
                self._edge_cells(rows),
            )

    def _edge_cells(self, rows: NDArray[np.intp]) -> geometry.I4:
        """The curves to draw of those in a mesh: edges stand weakest first."""
        count, points = self._edge_shape
        first = np.searchsorted(rows, count - round(self._quality.edges * count))
        every = np.unique([*range(0, points, self._quality.every), points - 1])
        return geometry.polylines(len(rows), points)[first:, every]

    def _update_mark(self, draw_list: DrawList) -> None:
        found: list[BoxArrays] = []
        for boxes in (draw_list.solids, draw_list.frames):
            rows = np.flatnonzero(boxes.node == draw_list.selected)
            if draw_list.selected >= 0 and len(rows):
                found.append(BoxArrays(*(a[rows] for a in vars(boxes).values())))
        centers = np.concatenate([np.zeros((0, 3), np.float32), *(b.centers for b in found)])
        sizes = np.concatenate([np.zeros((0, 3), np.float32), *(b.sizes for b in found)])
        color = np.array([(*ACCENT[draw_list.theme], 255)] * len(centers), np.uint8)
        grown = sizes + np.float32(0.012) * sizes.max(axis=1, initial=0.0, keepdims=True)
        _outline(self._mark, centers, grown, color.reshape(-1, 4))


def width_group(widths: NDArray[np.float32]) -> NDArray[np.intp]:
    """Which of `WIDTHS_PX` each width is drawn in; the wider groups are drawn later."""
    bounds = (np.array(WIDTHS_PX[1:]) * np.array(WIDTHS_PX[:-1])) ** 0.5
    return np.searchsorted(bounds, widths)


def _outline(mesh: Mesh, centers: geometry.F4, sizes: geometry.F4, colors: geometry.U1) -> None:
    # A hair larger than the faces, so that the faces do not swallow half of each line.
    corners = geometry.box_corners(centers, sizes * np.float32(1.004))
    mesh.update(
        corners.reshape(-1, 3), np.repeat(colors, 8, axis=0), geometry.box_lines(len(centers))
    )
