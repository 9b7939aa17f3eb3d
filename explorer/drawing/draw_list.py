"""What is to be drawn, as flat arrays: the only thing a renderer sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
U1 = NDArray[np.uint8]
I4 = NDArray[np.int32]


@dataclass(frozen=True)
class BoxArrays:
    """Axis-aligned boxes: solids (closed nodes, units) or frames (open nodes).

    Attributes
    ----------
    centers, sizes : float32 array, shape (n, 3)
        World units.
    colors : uint8 array, shape (n, 4)
        RGBA.
    node : int32 array, shape (n,)
        Index into `DrawList.nodes`.
    """

    centers: F4
    sizes: F4
    colors: U1
    node: I4


@dataclass(frozen=True)
class EdgeArrays:
    """Edges as curves, weakest first: a renderer draws them in this order.

    Attributes
    ----------
    points : float32 array, shape (m, k, 3)
        The k points of each curve, from the source to the target, world units.
    colors : uint8 array, shape (m, 4)
        RGBA.
    widths : float32 array, shape (m,)
        Line width in pixels of a picture 900 pixels high.
    source, target : int32 array, shape (m,)
        Indices into `DrawList.nodes`.
    magnitude, signed_mean : float64 array, shape (m,)
        RMS and mean of the weights the edge stands for; NaN for a flow link without weights and
        for one that is not yet read.
    weights : int64 array, shape (m,)
        How many weights the edge stands for; 0 for a flow link.
    estimated : bool array, shape (m,)
        Whether the numbers are estimates: the weights are not all read yet.
    counts : int64 array, shape (m, 3)
        Weights that are NaN or infinite; what the overlay counted among the weights, and among
        how many: zeros where it counts nothing, or has not counted yet.
    """

    points: F4
    colors: U1
    widths: F4
    source: I4
    target: I4
    magnitude: F8
    signed_mean: F8
    weights: NDArray[np.int64]
    estimated: NDArray[np.bool_]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Label:
    """A text at a place; the renderer keeps labels apart and drops the less important.

    Attributes
    ----------
    text : str
        One line, cleaned of control characters.
    anchor : tuple of 3 float
        World point the label belongs to; the text's bottom centre is put a little above it (or,
        where ``below``, its top centre a little under it).
    priority : float
        Higher is placed first.
    node : int
        Index into `DrawList.nodes`, or -1.
    title : bool
        True for the title of an open frame: drawn brighter, and a click on it closes the frame.
    below : bool
        Whether the text hangs under the anchor.
    faded : bool
        Whether the text is dim: another node is in focus.
    level : int
        Of a title: how many open frames there are around its own; inner ones are written smaller.
    """

    text: str
    anchor: tuple[float, float, float]
    priority: float
    node: int = -1
    title: bool = False
    below: bool = False
    faded: bool = False
    level: int = 0


@dataclass(frozen=True, eq=False)
class ScaleBar:
    """A colour scale over a histogram of the magnitudes drawn, on an axis of equal ratios.

    Attributes
    ----------
    wish : str
        Kind of scale that a person chose, ``"automatic"`` among them.
    kind : str
        ``"linear"``, ``"log"`` or ``"rank"``: which it is.
    low, high : float
        Magnitudes at the ends of the scale.
    chosen : bool
        Whether a person chose these ends.
    ends : (str, str)
        Their numbers, marked where something drawn lies beyond.
    beyond : (int, int)
        How much that is.
    limits : (str, str)
        Numbers at the ends of the axis.
    bounds : float64 array, shape (bins + 1,)
        Of the bins; the first and the last are the ends of the axis.
    counts : int64 array, shape (bins,)
    colors : uint8 array, shape (s, 3)
        Colours at even steps along the axis.
    negative : uint8 array, shape (s, 3) or (0, 3)
        The same of negative numbers, where the sign counts.
    """

    wish: str
    kind: str
    low: float
    high: float
    chosen: bool
    ends: tuple[str, str]
    beyond: tuple[int, int]
    limits: tuple[str, str]
    bounds: F8
    counts: NDArray[np.int64]
    colors: U1
    negative: U1


@dataclass(frozen=True, eq=False)
class BoxScale:
    """A colour scale of boxes.

    Attributes
    ----------
    title : str
    ramp : uint8 array, shape (r, 3)
        From its low to its high end.
    ticks : tuple of (float, str)
        Position on the ramp in 0..1 and its number.
    """

    title: str
    ramp: U1
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Legend:
    """What colour, width and size mean, with numbers.

    Attributes
    ----------
    title : str
        For example ``"|weight|, RMS"``.
    ramp : uint8 array, shape (r, 3)
        The colour scale from its low to its high end; empty when the overlay has none.
    ticks : tuple of (float, str)
        Position on the ramp in 0..1 and its number.
    kinds : tuple of (str, (int, int, int))
        Kind of layer and its colour, those in the picture only.
    lines : tuple of str
        Statements such as ``"900 of 262 144 connections, 38 % of Σw²"``.
    bar : ScaleBar or None
        The colour scale with its histogram; ``None`` when there is nothing to count.
    boxes : BoxScale or None
        The colour scale of the boxes; ``None`` where their colour is their kind.
    """

    title: str
    ramp: U1
    ticks: tuple[tuple[float, str], ...]
    kinds: tuple[tuple[str, tuple[int, int, int]], ...]
    lines: tuple[str, ...]
    bar: ScaleBar | None = None
    boxes: BoxScale | None = None


class NodePaths(Sequence[str]):
    """Paths that the index columns of a draw list refer to.

    The thousands of units at the ends of strands are named only when somebody asks.

    Parameters
    ----------
    shown : tuple of str
        Paths of the visible and of the open nodes; they come first.
    layers : tuple of str
        Paths of layers.
    layer, unit : int64 array, shape (u,)
        Of each hidden unit: index into `layers`, and the number of the unit.
    """

    def __init__(
        self,
        shown: tuple[str, ...],
        layers: Sequence[str],
        layer: NDArray[np.int64],
        unit: NDArray[np.int64],
    ) -> None:
        self.shown = shown
        self.layers, self.layer, self.unit = layers, layer, unit

    def __len__(self) -> int:
        return len(self.shown) + len(self.unit)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if index < 0:
            index += len(self)
        if index < len(self.shown):
            return self.shown[index]
        hidden = index - len(self.shown)
        return f"{self.layers[self.layer[hidden]]}[{self.unit[hidden]}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.shown)


@dataclass(frozen=True)
class DrawList:
    """A picture before it is drawn.

    Attributes
    ----------
    solids, frames : BoxArrays
        Closed nodes and units; open nodes.
    edges : EdgeArrays
    labels : tuple of Label
    legend : Legend
    nodes : sequence of str
        Paths that the index columns refer to; those of visible and open nodes first.
    selected : int
        Index into `nodes` of the selected node, or -1.
    theme : str
        ``"dark"`` or ``"light"``.
    pending : bool
        True while some of the weights that the picture needs are not yet read.
    told : str
        How the overlay's counts are told of one edge, with ``{hits}`` and ``{of}`` for numbers.
    """

    solids: BoxArrays
    frames: BoxArrays
    edges: EdgeArrays
    labels: tuple[Label, ...]
    legend: Legend
    nodes: Sequence[str]
    selected: int = -1
    theme: str = "dark"
    pending: bool = False
    told: str = ""
