"""The strip wound around a vertical axis like a spring: for very deep networks.

The ranks of the outermost scopes are wound. Each turn runs to the right in front and back to the
left behind, coming down all the while, so what follows one another stands side by side even where a
row of `serpentine` would break. The scopes inside are placed as `serpentine` places them; those in
the back half of a turn are mirrored, so that data flows on through them.
"""

from __future__ import annotations

from functools import partial

from layouts._scopes import arrange
from layouts._style import Style
from layouts.tree import Layout

place = partial(arrange, style=Style(wrap=True, wind=True))

LAYOUT = Layout("helix", "wound like a spring, for very deep networks", place, forward="winding")
