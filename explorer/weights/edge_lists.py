"""How edges of a graph that was given as such are stored in the weights of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Rectangle = tuple[int, int, int, int]
"""First out unit, out units, first in unit, in units: every pair in it has an edge."""


@dataclass(frozen=True, slots=True)
class EdgeList:
    """The edges into a layer, by what it reads.

    It stands in the configuration of a layer as `KEY`; no file can put it there.

    Attributes
    ----------
    ports : tuple of int
        Inputs with edges; -1 for those from the layer itself.
    sizes : tuple of int
        Units of each; empty where all are one, like the layer: then one weight holds an edge of
        each.
    boxes : tuple of tuple of Rectangle
        Where `sizes` are told there is a weight for each input. It holds these rectangles one
        after the other, each (out, in) in C order.
    """

    ports: tuple[int, ...]
    sizes: tuple[int, ...] = ()
    boxes: tuple[tuple[Rectangle, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class UnitNames:
    """What the units of a layer are called and what is told of each; stands there as `UNITS`."""

    names: tuple[str, ...]
    attributes: tuple[Mapping[str, Any], ...]


KEY = "_edges"
UNITS = "_units"
