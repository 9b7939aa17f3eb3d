"""What the parent demands of every value that the child has written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from explorer.network import Shape
from explorer.plain_text import LONGEST_NAME

LONGEST_PATH = 40 * LONGEST_NAME
MOST = 1_000_000
MOST_DIMENSIONS = 32
_Value = TypeVar("_Value")


class WrongError(Exception):
    """The manifest is not what a sound parser writes."""


def need(condition: object, what: str) -> None:
    """Refuse the manifest where something is not as it must be."""
    if not condition:
        raise WrongError(what)


def a_text(value: Any, limit: int = LONGEST_PATH) -> str:
    """A text of no more characters than a limit."""
    need(isinstance(value, str) and len(value) <= limit, "a text")
    return str(value)


def a_number(value: Any, limit: int = 2**62) -> int:
    """A whole number, not negative, below a limit."""
    need(type(value) is int and 0 <= value < limit, "a number")
    return int(value)


def a_factor(value: Any) -> float:
    """A number that float32 can hold."""
    need(type(value) in (int, float) and abs(value) < 1e38, "a number")
    return float(value)


def a_list(value: Any, limit: int = MOST) -> list[Any]:
    """A list of no more entries than a limit."""
    need(isinstance(value, list) and len(value) <= limit, "a list")
    return cast("list[Any]", value)


def a_config(value: Any) -> Mapping[str, Any]:
    """A configuration; what is in it is for display, and checked by whoever computes with it."""
    need(isinstance(value, dict), "a configuration")
    return cast("dict[str, Any]", value)


def a_shape(value: Any) -> Shape:
    """Lengths, of which some may be unknown."""
    for n in a_list(value, MOST_DIMENSIONS):
        if n is not None and (type(n) is not int or not 0 <= n < 1 << 62):
            raise WrongError("a number")
    return tuple(value)


def known_shape(value: Any) -> tuple[int, ...]:
    """Lengths, all of them known."""
    shape = a_shape(value)
    need(None not in shape, "a number")
    return cast("tuple[int, ...]", shape)


def column(value: Any, length: int, limit: int = MOST) -> list[int]:
    """As many numbers as there should be, each below a limit."""
    numbers = a_list(value)
    need(len(numbers) == length and set(map(type, numbers)) <= {int}, "a column of numbers")
    need(not numbers or 0 <= min(numbers) <= max(numbers) < limit, "a number")
    return numbers


def picked(value: Any, length: int, table: Sequence[_Value]) -> list[_Value]:
    """The entries of a table that a column of numbers names."""
    return list(map(table.__getitem__, column(value, length, len(table))))


def bounded(numbers: list[int], extent: Callable[[int], int], limit: int) -> None:
    """Refuse what is short to tell and long to walk: large entries that are named many times."""
    uses = Counter(numbers)
    often = sum(count * extent(number) for number, count in uses.items() if count > 1)
    need(often <= limit, "what is repeated")
