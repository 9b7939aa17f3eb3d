"""Nets: cables that have an end in common and share a track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.routes.cables import Cables
from explorer.routes.tracks import assign_tracks

F4 = NDArray[np.float32]
I8 = NDArray[np.int64]
Flags = NDArray[np.bool_]

FAR = np.float32(1e9)
"""Cost of a row on which a cable cannot run."""


def hubs(cables: Cables) -> I8:
    """The end that a cable has in common with most others, as a number; targets count on."""
    many = int(max(cables.source.max(), cables.target.max())) + 1
    out = np.bincount(cables.source, minlength=many)[cables.source]
    into = np.bincount(cables.target, minlength=many)[cables.target]
    return np.where(out >= into, cables.source, cables.target + many).astype(np.int64)


def shared_rows(cables: Cables, cost: F4, most: float) -> I8:
    """A row for each cable, such that as many of a hub's cables as can be have the same.

    Parameters
    ----------
    cables : Cables
    cost : float32 array, shape (m, rows)
        FAR where a cable cannot run.
    most : float
        What a cable may have to pay for sharing.

    Returns
    -------
    int64 array, shape (m,)
    """
    rows = np.asarray(cost.argmin(axis=1), np.int64)
    least = cost[np.arange(len(rows)), rows]
    hub = np.unique(hubs(cables), return_inverse=True)[1].ravel()
    left = np.flatnonzero(np.bincount(hub)[hub] > 1)
    for _ in range(6):
        if not len(left):
            break
        left = left[np.argsort(hub[left], kind="stable")]
        _, bounds, which = np.unique(hub[left], return_index=True, return_inverse=True)
        together = np.add.reduceat(cost[left], bounds, axis=0)
        common = together.argmin(axis=1)[which.ravel()]
        fits = cost[left, common] <= np.minimum(least[left] + most, FAR / 2)
        rows[left[fits]] = common[fits]
        left = left[~fits]
    return rows


def apart(hub: I8, rows: I8, spans: tuple[I8, I8], outward: I8, allowed: Flags) -> I8:
    """Rows of stretches after nets that would lie on each other have been moved apart.

    Stretches of one hub that wish for one row are one net.

    Parameters
    ----------
    hub, rows : int64 array, shape (k,)
        Hub of each stretch, and the row it wishes for.
    spans : (int64 array, int64 array), shape (k,) each
        First column and the one after the last.
    outward : int64 array, shape (k,)
        1 or -1: the side to which it rather evades.
    allowed : bool array, shape (k, all rows)

    Returns
    -------
    int64 array, shape (k,)
    """
    if not len(rows):
        return rows
    net, member = np.unique(hub * (int(rows.max()) + 1) + rows, return_inverse=True)
    member, count = member.ravel(), len(net)
    first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    np.minimum.at(first, member, spans[0])
    np.maximum.at(last, member, spans[1])
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(count))
    may = _everywhere(allowed, order, bounds)
    found = assign_tracks(
        rows[order[bounds]].tolist(),
        list(zip(first.tolist(), last.tolist(), strict=True)),
        outward[order[bounds]].tolist(),
        [row.tobytes() for row in may],
    )
    return np.array(found, np.int64)[member]


def _everywhere(allowed: Flags, order: I8, bounds: I8) -> Flags:
    """Rows that are allowed to all members of each net, shape (nets, rows)."""
    bits = np.packbits(allowed, axis=1)
    words = np.zeros((len(bits), -(-bits.shape[1] // 8) * 8), np.uint8)
    words[:, : bits.shape[1]] = bits
    # Eight bytes at a time: as flags one by one this took four times as long.
    both = np.bitwise_and.reduceat(words.view(np.uint64)[order], bounds, axis=0)
    return np.unpackbits(both.view(np.uint8), axis=1, count=allowed.shape[1]).view(bool)
