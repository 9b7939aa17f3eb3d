"""Text and JSON that come from a stranger: bounded, cleaned, and refused in one line."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from explorer.formats.record import UnreadableError
from explorer.plain_text import clean, plain_name

#: Longest text value kept from a configuration (a Lambda layer carries its byte code as text).
LONGEST_VALUE = 2000
DEEPEST_JSON = 200
MOST_DIGITS = 400
_BARE = frozenset({bool, int, float, type(None)})  # hold no text


def clean_tree(value: Any) -> Any:
    """A JSON value with every text in it cleaned, long ones cut."""
    if isinstance(value, str):
        return clean(value, LONGEST_VALUE)
    if isinstance(value, dict):
        return {clean(k): v if type(v) in _BARE else clean_tree(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [v if type(v) in _BARE else clean_tree(v) for v in value]
    return value


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key that counts: ``a_2`` before ``a_10``."""
    return [(int(t), "") if t.isdecimal() else (-1, t) for t in re.split(r"(\d{1,18})", text)]


class Names:
    """Hands out paths, each only once."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def unique(self, prefix: str, name: object) -> str:
        """`name`, cleaned and prefixed, with ``~2``, ``~3``… where it is already taken.

        It never reads like the path of a unit, ``layer[0]``.
        """
        part = plain_name(clean(name).strip().strip("/").strip()) or "unnamed"
        path = base = f"{prefix}{part}"
        while path in self._taken:
            self._taken[base] += 1
            path = f"{base}~{self._taken[base]}"
        self._taken[path] = 1
        return path


def parse_json(data: bytes | str, what: str) -> Any:
    """Parse JSON from a stranger.

    Unlike `json.loads`, refuses keys that occur twice (the standard library silently keeps the
    last), NaN and infinities, numbers with hundreds of digits and deep nesting.

    Parameters
    ----------
    data : bytes or str
    what : str
        Named in the message, for example ``"config.json"``.

    Raises
    ------
    UnreadableError
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            raise UnreadableError(f"{what} holds the same key twice")
        return result

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise UnreadableError(f"{what} holds a number of {len(digits)} digits")
        return int(digits)

    def real(digits: str) -> float:
        number = float(digits) if len(digits) <= MOST_DIGITS else math.inf
        if not math.isfinite(number):
            raise UnreadableError(f"{what} holds a number that is too large: {clean(digits, 20)}")
        return number

    def constant(name: str) -> Any:
        raise UnreadableError(f"{what} holds {name}, which is not JSON")

    try:
        value = json.loads(
            data,
            object_pairs_hook=pairs,
            parse_int=whole,
            parse_float=real,
            parse_constant=constant,
        )
    except RecursionError:
        raise UnreadableError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(f"{what} is not valid JSON ({clean(error, 100)})") from None
    _check_depth(value, what)
    return value


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise UnreadableError(f"{what} is nested too deeply")
