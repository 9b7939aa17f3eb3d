"""What a page that draws by itself is given: each picture once, when it asks for the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from explorer.drawing.draw_list import DrawList
from explorer.web.drawn import Move, pack

_MOST_FETCHED = 4  # pictures remembered that the page may have


class Feed:
    """The newest draw list for one page, which is told its number and fetches it.

    Nothing queues up: a page that is slow skips what is out of date.

    Parameters
    ----------
    announce : callable (int)
        Called with the number of each new picture.

    Attributes
    ----------
    on : bool
        Whether the page draws.
    number : int
        Of the newest picture; what the page says about another one is out of date.
    """

    def __init__(self, announce: Callable[[int], None]) -> None:
        self.on = False
        self.number = 0
        self._announce = announce
        self._drawn: DrawList | None = None
        self._move: Move | None = None
        self._asked = False  # whether the page has fetched the newest
        self._fetched: dict[int, DrawList] = {}  # by number, what the page may have

    def show(self, draw_list: DrawList, move: Move | None = None) -> None:
        """Announce a draw list, a move to it, or both; nothing if neither is new."""
        if draw_list is self._drawn and move is None:
            return
        if move is None and self._move is not None and not self._asked:
            # News came before the page asked for the way there: the camera still flies it.
            move = Move(None, self._move.camera, self._move.seconds)
        self.number, self._asked = self.number + 1, False
        self._drawn, self._move = draw_list, move
        self._announce(self.number)

    async def message(self, known: object = 0) -> bytes:
        """The newest picture; see `explorer.web.drawn.pack`.

        Parameters
        ----------
        known : int
            Number of the picture that the page has; 0 for none.

        Raises
        ------
        NeuronautError
            If it is too large to be sent.
        """
        if self._drawn is None or not self.on:
            return b""
        self._asked = True
        has = known if isinstance(known, int) else -1
        base = self._fetched.get(has)
        # What came before the one that it has is forgotten; of the rest it may yet get any.
        self._fetched = {n: one for n, one in self._fetched.items() if base and n >= has}
        self._fetched[self.number] = self._drawn
        while len(self._fetched) > _MOST_FETCHED:
            del self._fetched[min(self._fetched)]
        return await asyncio.to_thread(pack, self.number, self._drawn, self._move, base)
