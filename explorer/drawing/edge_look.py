"""How opaque and how wide edges are drawn, so that strong ones stand out of thousands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.crossing.rows import EdgeRows

F8 = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MOST_WIDE = 40  # wide lines that a picture bears at full width
_MOST_FLOW = 100  # grey lines at full opacity
_PENDING = 70
_ESTIMATE = 0.6  # share of its opacity that an estimate has
_FAINT = 22  # the least opacity of a line that stands for many weights, or for none
_FLOW = (235, 80)  # opacity of a grey line alone, and among thousands
_FLOW_WIDTH = 1.9


def opacity(rows: EdgeRows, strength: F8, weighted: Flags, share: F8 | None = None) -> F8:
    """Opacity of each edge.

    Parameters
    ----------
    rows : EdgeRows
    strength : float64 array, shape (m,)
        How strong each is among those drawn, 0 to 1.
    weighted : bool array, shape (m,)
        Edges that stand for weights that are read; the others are grey.
    share : float64 array, shape (m,), optional
        What each keeps of its opacity in a crowd, as `explorer.drawing.crowding.crowding` tells.

    Returns
    -------
    float64 array, shape (m,)
        0 to 255.
    """
    # The more edges there are, the more each must let the others through.
    crowd = np.clip(1.25 - 0.16 * np.log10(max(len(rows), 1)), 0.55, 1.0)
    single = 40 + 205 * strength**1.3 * crowd
    # An edge that stands for many weights is weak beside single ones, but never unimportant.
    several = (rows.stats.count > 1) & ~rows.strand
    share = np.ones(len(rows)) if share is None else share
    many = np.maximum((150 + 90 * strength) * _room(several, share), _FAINT)
    alpha = np.where(several, many, single)
    thin = _eased(_thinned(rows, weighted), share)
    grey = np.maximum(_FLOW[0] * thin**0.6, _FLOW[1])
    plain = np.where(rows.pending, _PENDING, grey) * share
    alpha = np.where(rows.pending, alpha * _ESTIMATE, alpha)
    # A single connection that has no number in an overlay is faint, not one more way of data.
    return np.where(weighted | rows.strand, alpha, np.maximum(plain, _FAINT))


def widths(
    rows: EdgeRows, strength: F8, weighted: Flags, share: F8 | None = None
) -> NDArray[np.float32]:
    """Width of each edge: wider for more weights; single connections wider for stronger ones.

    Parameters
    ----------
    rows : EdgeRows
    strength : float64 array, shape (m,)
        As for `opacity`.
    weighted : bool array, shape (m,)
    share : float64 array, shape (m,), optional
        As for `opacity`.

    Returns
    -------
    float32 array, shape (m,)
        Pixels of a picture 900 pixels high.
    """
    single = rows.strand | (rows.stats.count <= 1)
    bundle = 1.8 + 0.75 * np.log10(np.maximum(rows.stats.count, 1))
    share = np.ones(len(rows)) if share is None else share
    bundle = np.maximum(np.minimum(bundle, 7.0) * _room(~single, np.sqrt(share)), 1.0)
    width = np.where(single, 1.0 + 0.6 * (strength > 0.8), bundle)
    thin = _eased(_thinned(rows, weighted), share)
    grey = np.maximum(_FLOW_WIDTH * thin**0.35 * np.sqrt(share), 1.0)
    return np.where(weighted | rows.strand, width, grey).astype(np.float32)


def _thinned(rows: EdgeRows, weighted: Flags) -> float:
    """One while grey lines are few, then less the more there are."""
    flows = int((~weighted & ~rows.pending & ~rows.strand).sum())
    return min(_MOST_FLOW / max(flows, 1), 1.0)


def _room(several: Flags, share: F8) -> F8:
    """Share of opacity and width that each of many wide lines may have."""
    room = float(np.clip((_MOST_WIDE / max(int(several.sum()), 1)) ** 0.4, 0.22, 1.0))
    return _eased(room, share) * share


def _eased(room: float, share: F8) -> F8:
    """The more those that are lost in a crowd step back, the more room there is for the others."""
    return np.where(share < 1.0, room, room ** share.min(initial=1.0))
