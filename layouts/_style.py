"""What makes one layout differ from another, and what the picture wants of a scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HEAD_ON = (1.0, 0.0, 1.0)
ASLANT = (0.91, 0.16, 0.95)  # as `Layout.view` is by itself; lines that recede rise more, near by

Across = Literal["stack", "ring", "plane"]


@dataclass(frozen=True)
class Style:
    """The choices that make a layout.

    Attributes
    ----------
    wrap : bool
        Whether a long strip is cut into rows like lines of text.
    across : {"stack", "ring", "plane"}
        How the members of one rank stand across the flow: one above another, and as an array in
        the y-z plane if they are many; wound around the axis of the flow; or one above another,
        and as a block in the x-y plane if they are many.
    wind : bool
        Whether the rows of the outermost scopes are wound around a vertical axis instead of
        following one another downwards.
    drawn : (float, float, float)
        How far right and up a step along x leads in the picture, and how far up one along y.
    """

    wrap: bool
    across: Across = "stack"
    wind: bool = False
    drawn: tuple[float, float, float] = HEAD_ON


@dataclass(frozen=True)
class Wish:
    """What the picture wants of a scope.

    Attributes
    ----------
    aspect : float
        Width / height to come near to.
    main : bool
        Whether the scope is (all of) the picture itself, not a part of it.
    drawn : (float, float, float)
        How far right and up a step along x leads in the picture, and how far up one along y.
    open : bool
        Whether something in the scope is usually open: then few ranks may be long.
    grown : int
        How much longer the scope has become by what is open in it, where that matters; see
        `layouts._plan.growth`.
    """

    aspect: float
    main: bool
    drawn: tuple[float, float, float] = HEAD_ON
    open: bool = False
    grown: int = 0
