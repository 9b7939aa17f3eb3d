"""Branches wound around the axis of the flow: for wide networks.

Rows are like those of `serpentine`, the branches of each on a ring around its axis; more than
twelve fill a disc. Networks are narrow, wide and narrow again: rings around an input in the middle
would leave the narrow stretches one node per ring and the output anywhere. Around the axis every
branch is equally far from where all part and where all meet, none has to be passed to reach
another, and lines fan out evenly.
"""

from __future__ import annotations

from functools import partial

from layouts._scopes import arrange
from layouts._style import ASLANT, Style
from layouts.tree import Layout

place = partial(arrange, style=Style(wrap=True, drawn=ASLANT, across="ring"))

LAYOUT = Layout(
    "radial", "branches in rings around the flow, for wide networks", place, forward="reading"
)
