"""Everything in one plane, no box before another: for papers.

Rows are like those of `serpentine`, all centres at z = 0. Branches stand one above another, many of
them as a block. What stands on a grid, such as the units of a layer, turns to the reader: its
extents along x and z are exchanged.
"""

from __future__ import annotations

from functools import partial

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Layout

place = partial(arrange, style=Style(wrap=True, across="plane"))

LAYOUT = Layout(
    "flat", "everything in one plane, for papers", place, forward="reading", view=(0.0, 0.0, 1.0)
)
