"""The kernels of a convolution as images: a tile per filter and channel, a pixel per weight."""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.network import Layer, Weight
from explorer.open_model import OpenModel
from explorer.overlays import Overlay
from explorer.panel.matrix import tap_shape, weight_matrix
from explorer.panel.plane import I8, Cells, Side, Span, Stop, index_text, many
from explorer.panel.weight_summary import Stopped
from explorer.weights.kernels import Kernel, kernel_of
from explorer.weights.units import whole

_WHOLE = 1 << 22  # weights of a kernel that is read in one piece
_RUN = 1 << 14  # weights of a larger one that are read together
_RGB = 3
_NEVER: Stop = lambda: False  # noqa: E731


def has_kernels(layer: Layer, weight: Weight) -> bool:
    """Whether a weight is a kernel that can be seen as images."""
    convolves = layer.op.startswith(("Conv", "DepthwiseConv"))
    role = weight.role in ("kernel", "recurrent_kernel", "depthwise_kernel")
    if not (convolves and role and 3 <= len(weight.shape) <= 5 and weight.size):
        return False
    return prod(tap_shape(layer, weight)) > 1 and _kernel(layer, weight) is not None


def _kernel(layer: Layer, weight: Weight) -> Kernel | None:
    return kernel_of(weight, "koi" if "Transpose" in layer.op else "kio")


class KernelPlane:
    """Images of k × k weights, filters × channels; or all in a square where channels are few.

    Parameters
    ----------
    model : OpenModel
    layer : Layer
    weight : Weight
        For which `has_kernels` is true.
    depth : int
        Which slice along the first axis of a kernel in three dimensions.
    by_strength : bool
        Whether the filter of the largest norm stands first; else they stand in order.
    color : bool
        Whether three channels are shown as red, green and blue.
    """

    most_step: int = 1
    diverging: bool | None = True

    def __init__(
        self,
        model: OpenModel,
        layer: Layer,
        weight: Weight,
        depth: int = 0,
        by_strength: bool = True,
        color: bool = True,
    ) -> None:
        self._model, self._layer, self.weight = model, layer, weight
        kernel = _kernel(layer, weight)
        assert kernel is not None
        self._kernel = kernel
        self._depthwise = layer.op.startswith("Depthwise") or weight.role == "depthwise_kernel"
        transposed = "Transpose" in layer.op
        groups = max(whole(layer.config.get("groups")), 1) if transposed else 1
        if self._depthwise:
            self.filters, self.channels = kernel.inside * kernel.out, 1
        else:
            self.filters, self.channels = kernel.out * groups, kernel.inside // groups
        taps = tap_shape(layer, weight)
        self.tile = ((1,) * (2 - min(len(taps), 2)) + taps)[-2:]
        self.depths = taps[0] if len(taps) == 3 else 1
        self._first = depth * prod(self.tile) if len(taps) == 3 else 0
        self.color = color and self.channels == _RGB and not self._depthwise
        self.by_strength = by_strength
        self._order: I8 | None = None if by_strength else np.arange(self.filters)
        single = self.channels == 1 or self.color
        #: Filters side by side; 0 where channels stand there.
        self.across = _columns(self.filters, self.tile) if single else 0
        height, width = self.tile
        down = -(-self.filters // self.across) if self.across else self.filters
        beside = self.across or self.channels
        self.rows = Side("filter", down * height, height, ticked=not self.across)
        title = "filter" if self.across else "in channel"
        self.columns = Side(title, beside * width, width, ticked=not self.across)
        self._values: NDArray[Any] | None = None

    @property
    def ready(self) -> bool:
        """Whether the order of the filters is known."""
        return self._order is not None

    @property
    def order(self) -> I8:
        """The filter at each place: int64 array of shape (filters,)."""
        if self._order is None:
            self.prepare(_NEVER)
        assert self._order is not None
        return self._order

    def prepare(self, stop: Stop) -> None:
        """Find the order of the filters."""
        if self._order is not None:
            return
        matrix = weight_matrix(self._model, self._layer, self.weight)
        matrix.prepare(stop)
        inside = matrix.columns.size
        found = matrix.stats(Span(0, self.filters), Span(0, inside, inside), stop)
        norms = np.nan_to_num(found.sum_sq[:, 0])
        self._order = np.argsort(-norms, kind="stable").astype(np.int64)
        self.rows = replace(self.rows, order=self._order)

    def cost(self, rows: Span, columns: Span) -> int:
        """Bytes to be read: all filters of the channels that are seen."""
        if self._values is not None or self.weight.size <= _WHOLE:
            return 0
        channels = self.channels
        if not self.across:
            channels = -(-(columns.stop - columns.start) // self.tile[1]) + 1
        return 4 * channels * self.filters * prod(self.tile)

    def counts(self, overlay: Overlay, rows: Span, columns: Span) -> int:
        """Nothing: single weights are shown, whatever the overlay."""
        return 0

    def suits(self, overlay: Overlay) -> bool:
        """Whatever the overlay."""
        return True

    def spot(self, row: int, column: int) -> tuple[int, int, int] | None:
        """Filter, channel and tap of a row and column; ``None`` where nothing stands."""
        (a, y), (b, x) = divmod(row, self.tile[0]), divmod(column, self.tile[1])
        place, channel = (a * self.across + b, 0) if self.across else (a, b)
        if place >= self.filters:
            return None
        return int(self.order[place]), channel, y * self.tile[1] + x

    @property
    def about(self) -> str:
        """Filters, and of which size."""
        size = " × ".join(str(n) for n in self.tile if n > 1 or self.tile == (1, 1))
        channels = "" if self.across else f" × {many(self.channels, 'in channel')}"
        return f"{many(self.filters, 'filter')}{channels}, each {size}"

    def names(self, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
        """Filter, channel and tap of a weight."""
        spot = self.spot(rows[0], columns[0])
        if spot is None:
            return []
        filter_, channel, tap = spot
        channels = "" if self.channels == 1 or self.color else f"in channel {channel}, "
        y, x = divmod(tap, self.tile[1])
        where = f"tap {x}" if self.tile[0] == 1 else f"tap row {y}, column {x}"
        return [f"filter {filter_}", channels + where]

    def place(self, row: int, column: int) -> str:
        """Index of a weight in the file; of all three where they are colours."""
        spot = self.spot(row, column)
        if spot is None:
            return ""
        ends = [self._flat(*spot)] * 2
        if self.color:
            ends[1] = self._flat(spot[0], _RGB - 1, spot[2])
        first, last = (
            tuple(int(i) for i in np.unravel_index(at, self.weight.shape)) for at in ends
        )
        return index_text(self.weight.role, first, last)

    def cells(self, rows: Span, columns: Span, overlay: Overlay, stop: Stop) -> Cells:
        """Single weights with their signs, whatever the overlay; of colours, the mean."""
        self.prepare(stop)
        (h, w), order = self.tile, self.order
        a, y = np.divmod(np.arange(rows.start, rows.stop), h)
        b, x = np.divmod(np.arange(columns.start, columns.stop), w)
        tap = y[:, None] * w + x[None, :]
        if self.across:
            place, channel = a[:, None] * self.across + b[None, :], np.zeros_like(tap)
        else:
            place, channel = np.broadcast_arrays(a[:, None], b[None, :])
        there = place < self.filters
        unit = order[np.where(there, place, 0)]
        picked = self._taken(unit, channel, tap, stop)
        colors = parts = None
        if self.color:
            three = [picked, *(self._taken(unit, channel + c, tap, stop) for c in (1, 2))]
            parts = np.stack(three, axis=-1)
            colors, picked = self._rgb(parts, unit, there, stop), parts.mean(axis=-1)
        finite = np.isfinite(picked) & there
        values = np.where(finite, picked, np.nan)
        return Cells(rows, columns, values, values, finite.astype(np.int64),
                     (there & ~finite).astype(np.int64), colors, parts)  # fmt: skip

    def _flat(self, unit: Any, channel: Any, tap: Any) -> Any:
        """Where weights lie in the flat kernel; ints or int arrays alike."""
        kernel = self._kernel
        group, out = unit // kernel.out, unit % kernel.out
        # A depthwise kernel has one channel per group; a transposed one keeps its groups there.
        inside = group if self._depthwise else group * self.channels + channel
        at = out * kernel.out_step + inside * kernel.in_step
        return at + (self._first + tap) * kernel.tap_step

    def _taken(
        self, unit: NDArray[Any], channel: NDArray[Any], tap: NDArray[Any], stop: Stop
    ) -> NDArray[np.float64]:
        """Weights of filters, channels and taps: float64 arrays of their shape."""
        flat = self._flat(unit, channel, tap)
        if self.weight.size <= _WHOLE:
            if self._values is None:
                read = self._model.reader.read_flat
                self._values = read(self.weight, 0, self.weight.size)
            return np.asarray(self._values[flat], np.float64)
        found = np.empty(flat.shape)
        begins = flat // _RUN
        for begin in np.unique(begins).tolist():
            if stop():
                raise Stopped
            here = begins == begin
            values = self._model.reader.read_flat(
                self.weight, begin * _RUN, min((begin + 1) * _RUN, self.weight.size)
            )
            found[here] = values[flat[here] - begin * _RUN]
        return found

    def _rgb(
        self, three: NDArray[np.float64], unit: I8, there: NDArray[np.bool_], stop: Stop
    ) -> NDArray[np.uint8]:
        """Colours, each filter scaled from its lowest to its highest weight."""
        seen = np.unique(unit[there])
        low, high = np.zeros(self.filters), np.ones(self.filters)
        taps = np.arange(prod(self.tile))[None, None, :]
        whole = self._taken(
            np.broadcast_to(seen[:, None, None], (len(seen), _RGB, taps.size)),
            np.broadcast_to(np.arange(_RGB)[None, :, None], (len(seen), _RGB, taps.size)),
            np.broadcast_to(taps, (len(seen), _RGB, taps.size)),
            stop,
        )  # fmt: skip
        low[seen] = np.nanmin(np.where(np.isfinite(whole), whole, np.inf), axis=(1, 2))
        high[seen] = np.nanmax(np.where(np.isfinite(whole), whole, -np.inf), axis=(1, 2))
        reach = np.maximum(high - low, np.finfo(float).tiny)
        with np.errstate(invalid="ignore", over="ignore"):
            at = (three - low[unit][..., None]) / reach[unit][..., None]
        return np.rint(255 * np.clip(np.nan_to_num(at), 0, 1)).astype(np.uint8)


def _columns(filters: int, tile: tuple[int, ...]) -> int:
    """Tiles side by side that make all of them roughly a square."""
    height, width = tile
    return max(min(math.ceil(math.sqrt(filters * height / width)), filters), 1)
