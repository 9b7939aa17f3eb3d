"""Where the camera goes after a change."""

from __future__ import annotations

from enum import Enum

from explorer.session.flight import Held
from explorer.viewing.view_state import Camera


class Stay(Enum):
    """In place of a node to fly to: the camera stays."""

    HERE = 0


#: Path of a node to frame, ``None`` for everything, an exact place, a node that keeps its place on
#: the screen, or `Stay`.
Target = str | Camera | Held | Stay | None
