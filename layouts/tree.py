"""What goes into a layout and what comes out: plain arrays, no names, no colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
        Wished extents along x, y, z of each leaf. For an inner node, the extents it would have if
        it were closed: rows break by these, so that they stay as they are when it opens. An inner
        node that does not tell (zeros or NaN) counts as large as its largest child.
    links : int32 array, shape (m, 2)
        Source and target of each data-flow edge between two *leaves*. May hold repeats, self
        loops and cycles.
    grid : int32 array, shape (n, 2)
        Rows and columns for an inner node whose children stand, in order, row by row on a grid in
        the y-z plane facing the flow; ``(0, 0)`` for one whose children follow the flow. For a
        grid node, the children's order fills rows from the top.
    room : float64 array, shape (n, 3), or None
        Extents to reckon with where rows are planned, for nodes that usually stand open: a strip
        of these breaks into as many rows as fill the picture when they are open. Zeros or NaN
        where a node is reckoned with as closed, ``None`` if all are. For rows to stay as they are,
        it must not depend on what is open now.
    abreast : bool array, shape (n,), or None
        Nodes with a grid whose children are not the units of one layer but branches side by side,
        which may be open: they stand freer, and lines have more room to fan out to them. ``None``
        if there are none.
    """

    parent: NDArray[np.int32]
    size: NDArray[np.float64]
    links: NDArray[np.int32]
    grid: NDArray[np.int32]
    room: NDArray[np.float64] | None = None
    abreast: NDArray[np.bool_] | None = None

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
        `layouts.geometry.return_gutter`. NaN in a winding, where no such band is free.
    row : int32 array, shape (n,), or None
        Row in which the node stands among its siblings, counted in order of flow.
    heading : float64 array, shape (n, 3), or None
        Unit vector along which data flows through each node: a line leaves a node on the side to
        which it points and enters on the other. ``None`` means +x everywhere. Boxes stand along
        the axes whatever it is.
    """

    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    gutter: NDArray[np.float64] | None = None
    row: NDArray[np.int32] | None = None
    heading: NDArray[np.float64] | None = None


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
        The layout itself; the second argument is the width / height of the picture to fill. The
        root's box is centred on the origin. ValueError if the tree breaks its own rules or the
        aspect is not a positive number.
    forward : {"right", "reading", "winding"}
        What it means that a link between siblings runs forward. ``right``: the target's centre is
        further along +x. ``reading``: that, or it stands in a lower row. ``winding``: it is
        further along the heading of the row that both stand in, or in a later row; rows run to
        the right before the axis and to the left behind it in turns, and each stands lower than
        the one a whole turn before.
    view : tuple of 3 float
        From the network towards the viewer for whom it is made; y is up.
    """

    name: str
    summary: str
    place: Callable[[Tree, float], Boxes]
    forward: Literal["right", "reading", "winding"] = "right"
    view: tuple[float, float, float] = (-0.46, 0.36, 1.0)
