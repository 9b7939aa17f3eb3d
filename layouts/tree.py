"""What goes into a layout and what comes out: plain arrays, no names, no colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tree:
    """The visible nodes: leaves (drawn as solids) and the open nodes around them (frames).

    Attributes
    ----------
    parent : int32 array, shape (n,)
        Index of the parent; ``-1`` for node 0, the root. Every parent precedes its children, and
        siblings stand in order of flow.
    size : float64 array, shape (n, 3)
        Wished extents along x, y, z of each leaf; ignored for inner nodes.
    links : int32 array, shape (m, 2)
        Source and target of each data-flow edge between two *leaves*. May hold repeats, self
        loops and cycles.
    grid : int32 array, shape (n, 2)
        Rows and columns for an inner node whose children stand, in order, row by row on a grid in
        the y-z plane facing the flow; ``(0, 0)`` for one whose children follow the flow. For a
        grid node, the children's order fills rows from the top.
    """

    parent: NDArray[np.int32]
    size: NDArray[np.float64]
    links: NDArray[np.int32]
    grid: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.parent)


@dataclass(frozen=True)
class Boxes:
    """Where each node of a `Tree` stands.

    Attributes
    ----------
    centers, sizes : float64 array, shape (n, 3)
        In world units. Data flows along +x, y is up, z points to the viewer. An inner node's box
        encloses its children's boxes with room for a title above them.
    gutter : float64 array, shape (n,), or None
        Height y, in world units, of a free band right above the row in which the node stands among
        its siblings; equal for all of a row. Where two linked siblings' gutters differ they stand
        in different rows, and the line between them may run back along the target's gutter; see
        `layouts.geometry.return_gutter`.
    """

    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    gutter: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Layout:
    """A layout as the registry knows it.

    Attributes
    ----------
    name : str
        What a person types.
    summary : str
        One line for menus.
    place : callable (Tree, float) -> Boxes
        The layout itself; the second argument is the width / height of the picture to fill.
    """

    name: str
    summary: str
    place: Callable[[Tree, float], Boxes]
