"""Which track each net of a channel runs on, so that no two nets lie on each other.

Channel routing as for circuit boards: the left-edge algorithm (Hashimoto and Stevens 1971), with
the shortest nets first and nearest, so that longer ones go round outside them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

MOST_STEPS = 24  # tracks tried on each side of the wished one


class Tracks:
    """Stretches of rows that are taken."""

    def __init__(self) -> None:
        self._rows: dict[int, list[tuple[int, int]]] = {}

    def is_free(self, row: int, first: int, last: int) -> bool:
        """Whether nothing runs on a row from one column to another."""
        taken = self._rows.get(row)
        if not taken:
            return True
        at = bisect_left(taken, (first, first))
        if at and taken[at - 1][1] > first:
            return False
        return at == len(taken) or taken[at][0] >= last

    def take(self, row: int, first: int, last: int) -> None:
        """Run a net along a row; rows that several nets share hold them all."""
        insort(self._rows.setdefault(row, []), (first, last))


def assign_tracks(
    wished: Sequence[int],
    spans: Sequence[tuple[int, int]],
    outward: Sequence[int],
    allowed: Sequence[bytes],
) -> list[int]:
    """A row for each net, the nearest to the wished one that is allowed and not taken.

    Parameters
    ----------
    wished : sequence of n int
        Row that each net would have if it were alone.
    spans : sequence of n (int, int)
        First column of each net and the one after its last.
    outward : sequence of n int
        1 for a net that evades upwards first, -1 for one that evades downwards.
    allowed : sequence of n bytes
        For each row of the map, not 0 if the net may run there.

    Returns
    -------
    list of n int
        Where there is no room, the wished row: nets then share a track.
    """
    tracks, rows = Tracks(), list(wished)
    order = sorted(range(len(rows)), key=lambda i: (spans[i][1] - spans[i][0], spans[i], wished[i]))
    for i in order:
        (first, last), may = spans[i], allowed[i]
        for side in (outward[i], -outward[i]):
            found = _first_free(tracks, (wished[i], side), (first, last), may)
            if found is not None:
                rows[i] = found
                break
        tracks.take(rows[i], first, last)
    return rows


def _first_free(
    tracks: Tracks, start: tuple[int, int], span: tuple[int, int], may: bytes
) -> int | None:
    row, side = start
    for _ in range(MOST_STEPS):
        if not 0 <= row < len(may) or not may[row]:
            return None  # a wall: what is behind it is another channel
        if tracks.is_free(row, *span):
            return row
        row += side
    return None
