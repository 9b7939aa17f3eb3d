"""Layers in ranks along the flow, in one row: the plain way to read a network.

The children of every scope stand by rank along +x, branches spread over y and z. The rank of a node
is the length of the longest path that leads to it (Sugiyama's layering, but without a dummy node
per crossed rank, so that long links cost nothing). O(V + E).
"""

from __future__ import annotations

from functools import partial

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Layout

place = partial(arrange, style=Style(wrap=False))

LAYOUT = Layout("layered", "one row from the first layer to the last", place)
