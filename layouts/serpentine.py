"""Like `layered`, but a long strip is wrapped like lines of text, so that it fills the picture.

The ranks are cut into rows of nearly equal length. Every row begins at the left and flows along +x;
rows follow downwards. A row is cut where the fewest nodes feed across, if there is a choice nearby.
"""

from __future__ import annotations

from functools import partial

from layouts._scopes import arrange
from layouts._style import ASLANT, Style
from layouts.tree import Layout

place = partial(arrange, style=Style(wrap=True, drawn=ASLANT))

LAYOUT = Layout(
    "serpentine", "wrapped like lines of text, to fill the picture", place, forward="reading"
)
