"""Where layers and links show in a cut: hidden in a closed node, or open into units."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.flow.link_index import LinkIndex, ranges
from explorer.open_model import OpenModel
from explorer.tree.lod import Cut

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]


class Places:
    """Where each layer shows in a cut: inside a closed node, or open into units.

    Costs what is visible, not what exists: a layer's place is looked up among the visible spans.

    Parameters
    ----------
    model : OpenModel
    cut : Cut

    Attributes
    ----------
    cut : Cut
    rows : int32 array, shape (t,)
        The closed nodes and the open layers, in the order of their leaves; units are not among
        them.
    open : bool array, shape (rows of the cut,)
        Whether a row is a layer that is open into units.
    """

    def __init__(self, model: OpenModel, cut: Cut) -> None:
        self._model = model
        self.cut = cut
        whole = np.array([u is None for u in cut.units], bool)
        self.open: NDArray[np.bool_] = whole & ~cut.leaf & (cut.grid > 0).any(axis=1)
        spans = model.hierarchy.spans[cut.node]
        filled = spans[:, 1] > spans[:, 0]
        self.rows: I4 = np.flatnonzero(whole & filled & (cut.leaf | self.open)).astype(np.int32)
        self._starts = spans[self.rows, 0]
        self._alone = np.array([u is not None and u.count == 1 for u in cut.units], bool)
        self._units: dict[int, tuple[I4, I4]] = {}
        self._labels: dict[int, I4] = {}
        self.scopes: I4 = cut.node[whole & ~cut.leaf & ~self.open]

    def home(self, place: NDArray[np.integer]) -> I4:
        """Row of the closed node or of the open layer around each of these places."""
        return self.rows[np.searchsorted(self._starts, place, side="right") - 1]

    def layer(self, row: int) -> int:
        """Index in ``graph.layers`` of the layer that an open row is."""
        hierarchy = self._model.hierarchy
        return hierarchy.order[int(hierarchy.spans[self.cut.node[row], 0])]

    def span(self, row: int) -> tuple[int, int]:
        """First and last + 1 place of the layers inside a row."""
        first, stop = self._model.hierarchy.spans[self.cut.node[row]].tolist()
        return first, stop

    def opened(self) -> list[int]:
        """Rows of the layers that are open into units."""
        return [int(row) for row in np.flatnonzero(self.open)]

    def shown(self, row: int) -> I4:
        """Rows that a row shows as: those of its units where it is open, else itself."""
        return self._parts(row)[0] if self.open[row] else np.array([row], np.int32)

    def single(self, row: int) -> NDArray[np.bool_]:
        """For each row of `shown`, whether it stands for one unit."""
        if self.open[row]:
            return np.asarray(self._alone[self.shown(row)])
        first, stop = self.span(row)
        if stop - first != 1:
            return np.zeros(1, bool)
        layer = self._model.graph.layers[self._model.hierarchy.order[first]]
        return np.array([self._model.units_of(layer).count == 1])

    def bounds(self, row: int) -> I4:
        """First unit of each range that an open row shows; then the number of its units."""
        return self._parts(row)[1]

    def key(self, row: int) -> Hashable:
        """Equal for an open row that shows as equal ranges of units; ``None`` for a closed one."""
        return self._parts(row)[1].tobytes() if self.open[row] else None

    def labels(self, row: int, units: NDArray[np.integer]) -> I4:
        """Position in `shown` of each of these units; -1 where there is none."""
        if not self.open[row]:
            return np.where(units >= 0, 0, -1).astype(np.int32)
        if row not in self._labels:
            lengths = np.diff(self._parts(row)[1])
            self._labels[row] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        table = self._labels[row]
        inside = (units >= 0) & (units < len(table))
        return np.where(inside, table[np.where(inside, units, 0)], -1).astype(np.int32)

    def _parts(self, row: int) -> tuple[I4, I4]:
        """Rows of the units shown inside an open layer, and the bounds of their ranges."""
        if row not in self._units:
            cut, after = self.cut, int(np.searchsorted(self.rows, row)) + 1
            last = int(self.rows[after]) if after < len(self.rows) else len(cut)
            mine = cut.leaf[row + 1 : last] & (cut.node[row + 1 : last] == cut.node[row])
            rows = (row + 1 + np.flatnonzero(mine)).astype(np.int32)
            shown = [cut.units[r] for r in rows.tolist()]
            bounds = [0, *(u.stop for u in shown if u is not None)]
            self._units[row] = rows, np.array(bounds, np.int32)
        return self._units[row]


@dataclass(frozen=True, eq=False)
class CutLinks:
    """The links that show in a cut, gathered by the rows that they join.

    Attributes
    ----------
    places : Places
    rows : int32 array, shape (p, 2)
        Rows of closed nodes and open layers, source first; each pair once.
    starts, stops : int64 array, shape (p,)
        Which part of `links` joins each pair.
    links : int32 array
        Numbers of links.
    """

    places: Places
    rows: I4
    starts: I8
    stops: I8
    links: I4

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, pair: int) -> I4:
        """Numbers of the links that join a pair, ascending."""
        return self.links[self.starts[pair] : self.stops[pair]]

    @property
    def counts(self) -> I8:
        """Number of links of each pair."""
        return self.stops - self.starts


def cut_links(model: OpenModel, cut: Cut) -> CutLinks:
    """The links between different rows of a cut, and those from an open layer to itself.

    Those of the latest cut are remembered, because both its layout and its edges need them.
    """
    latest = model.latest_links
    if latest is None or latest[0] is not cut:
        latest = (cut, _cut_links(model.links, Places(model, cut), model.hierarchy.spans))
        model.latest_links = latest
    return latest[1]


def _cut_links(index: LinkIndex, places: Places, spans: I4) -> CutLinks:
    nodes = places.cut.node
    opened = np.concatenate((places.scopes, nodes[places.opened()])).astype(np.int32)
    chosen = index.pairs_below(opened)
    pairs = index.pairs[chosen]
    rows = places.home(spans[pairs, 0]).reshape(-1, 2)
    # Links between two children that are both closed need not be looked at one by one.
    whole = (nodes[rows] == pairs).all(axis=1) if len(pairs) else np.zeros(0, bool)
    parts = chosen[~whole]
    at = ranges(index.starts[parts], index.starts[parts + 1])
    links = index.order[at]
    ends = places.home(index.ends[links]).reshape(-1, 2)
    order = np.lexsort((links, ends[:, 1], ends[:, 0]))
    links, ends = links[order], ends[order]
    fresh = np.ones(len(links), bool)
    fresh[1:] = (ends[1:] != ends[:-1]).any(axis=1)
    starts = np.flatnonzero(fresh)
    stops = np.append(starts[1:], len(links))[: len(starts)]
    base = len(index.order)
    return CutLinks(
        places,
        np.concatenate((rows[whole], ends[fresh])).astype(np.int32),
        np.concatenate((index.starts[chosen[whole]], base + starts)).astype(np.int64),
        np.concatenate((index.starts[chosen[whole] + 1], base + stops)).astype(np.int64),
        np.concatenate((index.order, links)),
    )
