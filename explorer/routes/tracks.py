"""Which track each net of a channel runs on, so that no two nets lie on each other.

Channel routing as for circuit boards: the left-edge algorithm (Hashimoto and Stevens 1971), with
the shortest nets first and nearest, so that longer ones go round outside them.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_STEPS = 24  # tracks tried on each side of the wished one


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
    rows = list(wished)
    taken: dict[int, int] = {}  # of each row, the columns that are taken, as bits
    order = sorted(range(len(rows)), key=lambda i: (spans[i][1] - spans[i][0], spans[i], wished[i]))
    for i in order:
        first, last = spans[i]
        columns = (1 << last) - (1 << first)
        for side in (outward[i], -outward[i]):
            found = _first_free(taken, (wished[i], side), columns, allowed[i])
            if found is not None:
                rows[i] = found
                break
        taken[rows[i]] = taken.get(rows[i], 0) | columns
    return rows


def _first_free(
    taken: dict[int, int], start: tuple[int, int], columns: int, may: bytes
) -> int | None:
    row, side = start
    for _ in range(MOST_STEPS):
        if not 0 <= row < len(may) or not may[row]:
            return None  # a wall: what is behind it is another channel
        if not taken.get(row, 0) & columns:
            return row
        row += side
    return None
