"""Draw lists with fewer labels, for pictures that move."""

from __future__ import annotations

from dataclasses import replace

from explorer.drawing.draw_list import DrawList, Label


class Labelled:
    """Remembers the last draw list that was reduced: the same one comes frame after frame."""

    def __init__(self) -> None:
        self._source: DrawList | None = None
        self._labels: tuple[Label, ...] = ()
        self._chosen: tuple[Label, ...] = ()
        self._most = 0
        self._reduced: DrawList | None = None

    def of(self, draw_list: DrawList, most: int | None) -> DrawList:
        """A draw list with its most important labels.

        Parameters
        ----------
        draw_list : DrawList
        most : int or None
            How many; ``None`` for all.

        Returns
        -------
        DrawList
            The one given if it has no more than that.
        """
        if most is None or len(draw_list.labels) <= most:
            return draw_list
        if self._reduced is None or self._source is not draw_list or self._most != most:
            # In other colours the labels are the same ones: what was chosen stays.
            if self._most != most or self._labels is not draw_list.labels:
                self._labels = draw_list.labels
                chosen = sorted(self._labels, key=lambda label: -label.priority)[:most]
                self._chosen = tuple(chosen)
            self._source, self._most = draw_list, most
            self._reduced = replace(draw_list, labels=self._chosen)
        return self._reduced
