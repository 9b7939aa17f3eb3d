"""The figure of a weight: what is chosen to be shown of it, and its cells, quick and in full."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.errors import UnknownNameError
from explorer.network import Layer, Weight
from explorer.open_model import OpenModel
from explorer.panel.heat import Coloring, Heat, heat
from explorer.panel.kernels import KernelPlane, has_kernels
from explorer.panel.matrix import ALL_TAPS, WeightMatrix, exact_dtype, taps_of, weight_matrix
from explorer.panel.plane import Cells, Stop
from explorer.panel.viewport import Viewport, full_cells, quick_cells, same
from explorer.tree import lod

MATRIX, KERNELS = "matrix", "kernels"
_MOST_TAPS = 128  # offered one by one
_FEW_CHANNELS = 4  # kernels of so few are shown as images at first


@dataclass(frozen=True)
class Choice:
    """What is shown of a weight.

    Attributes
    ----------
    mode : str
        ``"matrix"`` or ``"kernels"``.
    tap : int
        One tap of a kernel in the matrix; -1 for all.
    depth : int
        Slice of a kernel in three dimensions, shown as images.
    by_strength, color : bool
        Of the images, as `explorer.panel.kernels.KernelPlane` has them.
    """

    mode: str = MATRIX
    tap: int = ALL_TAPS
    depth: int = 0
    by_strength: bool = True
    color: bool = True


class WeightFigure:
    """A weight of a layer as a heat map or as images.

    Parameters
    ----------
    model : OpenModel
    layer : Layer
        Of the expanded network.
    weight : Weight
        Of that layer, with numbers in the file.
    """

    def __init__(self, model: OpenModel, layer: Layer, weight: Weight) -> None:
        self.model, self.layer, self.weight = model, layer, weight
        self.taps = taps_of(model, layer, weight)
        self.images = has_kernels(layer, weight)
        self.choice = Choice(MATRIX)
        if self.images:
            few = KernelPlane(model, layer, weight, color=False)
            if few.channels <= _FEW_CHANNELS:
                self.choice = Choice(KERNELS)
        self.plane: WeightMatrix | KernelPlane = self._made()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of single weights."""
        return exact_dtype(self.weight)

    def choose(self, **changes: Any) -> None:
        """Change the choice; unknown values are put right."""
        self.choice = replace(self.choice, **changes)
        if not self.images:
            self.choice = replace(self.choice, mode=MATRIX)
        self.plane = self._made()

    def _made(self) -> WeightMatrix | KernelPlane:
        choice = self.choice
        if choice.mode == KERNELS:
            return KernelPlane(self.model, self.layer, self.weight, choice.depth,
                               choice.by_strength, choice.color)  # fmt: skip
        return weight_matrix(self.model, self.layer, self.weight, choice.tap)

    def options(self) -> dict[str, list[tuple[str, str]]]:
        """What can be chosen: by name of the field, values and how they are called."""
        found: dict[str, list[tuple[str, str]]] = {}
        if self.images:
            found["mode"] = [(MATRIX, "Matrix"), (KERNELS, "Kernels")]
        plane = self.plane
        if isinstance(plane, KernelPlane):
            found["order"] = [("strongest", "strongest first"), ("index", "in order")]
            if plane.depths > 1:
                found["depth"] = [(str(d), f"slice {d}") for d in range(plane.depths)]
            if plane.channels == 3:
                found["color"] = [("rgb", "as colours"), ("apart", "channels apart")]
        elif self.taps:
            found["tap"] = [(str(ALL_TAPS), "all taps"), *self._single_taps()]
        return found

    def chosen(self) -> dict[str, str]:
        """The values of `options` that hold."""
        choice = self.choice
        return {
            "mode": choice.mode,
            "tap": str(choice.tap),
            "depth": str(choice.depth),
            "order": "strongest" if choice.by_strength else "index",
            "color": "rgb" if choice.color else "apart",
        }

    def take(self, field: str, value: str) -> bool:
        """Choose one of `options`; whether there is such a one."""
        if value not in [v for v, _ in self.options().get(field, ())]:
            return False
        changes: dict[str, dict[str, Any]] = {
            "mode": {"mode": value},
            "order": {"by_strength": value == "strongest"},
            "color": {"color": value == "rgb"},
        }
        self.choose(**(changes[field] if field in changes else {field: int(value)}))
        return True

    def ways(self) -> list[tuple[str, dict[str, str]]]:
        """What a key goes through: what each is called, and the options that make it."""
        if not self.images:
            return []
        kernels = [
            ("kernels, strongest first", {"mode": KERNELS, "order": "strongest"}),
            ("kernels in order", {"mode": KERNELS, "order": "index"}),
        ]
        return [("matrix", {"mode": MATRIX}), *kernels]

    def _single_taps(self) -> list[tuple[str, str]]:
        found, at = [], [0] * len(self.taps)
        total = 1
        for n in self.taps:
            total *= n
        for tap in range(min(total, _MOST_TAPS)):
            rest = tap
            for axis in range(len(self.taps) - 1, -1, -1):
                rest, at[axis] = divmod(rest, self.taps[axis])
            found.append((str(tap), f"tap {', '.join(map(str, at))}"))
        return found


@dataclass(frozen=True, eq=False)
class Shown:
    """What a figure shows now.

    Attributes
    ----------
    heat : Heat
    viewport : Viewport
    final : bool
        Whether nothing finer will come of it.
    """

    heat: Heat
    viewport: Viewport
    final: bool

    @property
    def cells(self) -> Cells:
        """Its cells."""
        return self.heat.cells


def quick(figure: WeightFigure, viewport: Viewport, coloring: Coloring) -> Shown | None:
    """What can be shown without making anybody wait; ``None`` before the plane is ready."""
    plane = figure.plane
    if not plane.ready and figure.weight.size > _AT_ONCE:
        return None
    seen = viewport.spans(plane.most_step)
    coloring = coloring.of_plane(plane)
    if plane.counts(coloring.overlay, *seen) > _AT_ONCE:
        return None
    plane.prepare(lambda: False)
    cells = quick_cells(plane, seen, coloring.overlay)
    return Shown(heat(plane, cells, coloring), viewport, same(cells, plane, seen))


def full(figure: WeightFigure, viewport: Viewport, coloring: Coloring, stop: Stop) -> Shown:
    """What is shown in the end.

    Raises
    ------
    Stopped
        When `stop` says so.
    ModelError
        If the file was changed or cannot be read.
    """
    plane = figure.plane
    coloring = coloring.of_plane(plane)
    cells = full_cells(plane, viewport.spans(plane.most_step), coloring.overlay, stop)
    return Shown(heat(plane, cells, coloring), viewport, True)


_AT_ONCE = 1 << 20  # weights that are measured or counted while a person waits


def figure_of(model: OpenModel, path: str, name: str) -> WeightFigure:
    """The figure of a weight of a layer, by the layer's path and the weight's name.

    Raises
    ------
    UnknownNameError
        If there is no such layer or weight.
    """
    index, _ = lod.locate(model.hierarchy, path)
    layer = model.hierarchy.layer(index)
    weights = {w.name: w for w in layer.weights} if layer is not None else {}
    if layer is None or name not in weights:
        raise UnknownNameError("weight", name, weights)
    return WeightFigure(model, layer, weights[name])
