"""Where the camera goes after a change."""

from __future__ import annotations

from enum import Enum


class Stay(Enum):
    """In place of a node to fly to: the camera stays."""

    HERE = 0


#: Path of a node, ``None`` for everything, or `Stay`.
Target = str | Stay | None
