"""Words and numbers of the window's panel, and how they are cut to fit."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from explorer.drawing.color_scale import count
from explorer.drawing.themes import THEMES
from explorer.panel.weight_summary import WeightSummary
from explorer.renderer.text import font

Row = tuple[str, str]

_MOST_CHARS = 400  # of one text; more would never fit

# What tells one layer from another of its kind comes first.
_FIRST = (
    "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "depth_multiplier",
    "units", "pool_size", "size", "activation", "recurrent_activation", "use_bias", "num_heads",
    "key_dim", "value_dim", "input_dim", "output_dim", "mask_zero", "equation", "output_shape",
    "target_shape", "axis", "axes", "rate", "dropout", "recurrent_dropout", "epsilon", "momentum",
    "return_sequences", "return_state", "go_backwards", "stateful", "merge_mode", "batch_shape",
)  # fmt: skip
_LAST = ("_initializer", "_regularizer", "_constraint")
# The first is the title; the others are said by the facts or hardly ever differ.
_LEFT_OUT = ("name", "trainable", "dtype", "data_format", "quantization_config")


def telling_config(rows: Sequence[Row]) -> list[Row]:
    """Rows of a configuration, those first that tell most; without what is unset or repeated.

    Parameters
    ----------
    rows : sequence of (str, str)
        As `explorer.panel.panel.config_rows` gives them.
    """
    kept = [row for row in rows if row[0] not in _LEFT_OUT and row[1] != "none"]

    def rank(row: Row) -> int:
        if row[0] in _FIRST:
            return _FIRST.index(row[0])
        return len(_FIRST) + row[0].endswith(_LAST)

    return sorted(kept, key=rank)


def weight_facts(statistics: Mapping[str, Any]) -> list[tuple[Row, Row | None]]:
    """Facts on a weight in lines of one or two: (name, text) each.

    Parameters
    ----------
    statistics : mapping
        As `explorer.panel.statistics.weight_statistics` gives it.
    """
    summary: WeightSummary = statistics["summary"]
    shape = " × ".join(count(n) for n in statistics["shape"])
    kind = statistics["dtype"]
    if statistics["codes"] and "packed" not in kind:
        kind += ", packed codes"
    lines: list[tuple[Row, Row | None]] = [(("shape", shape), None)] if shape else []
    lines.append((("type", kind), ("size", count(summary.size))))
    if summary.finite:
        std = f"{summary.std:.6g}" if summary.exact else "…"
        lines += [
            (("min", f"{summary.low:.6g}"), ("max", f"{summary.high:.6g}")),
            (("mean", f"{summary.mean:.6g}"), ("std", std)),
        ]
    bad = count((summary.size if summary.exact else summary.read) - summary.finite)
    lines.append((("zeros", count(summary.zeros)), ("not finite", bad)))
    compared = list(statistics["compared"])
    lines += zip(compared[::2], compared[1::2], strict=True)
    return lines


def incoming_text(row: Mapping[str, Any]) -> Row:
    """Where a connection comes from, and its value: the weight itself if it is only one."""
    value = f"{row['signed_mean']:.6g}"
    if row["weights"] != 1:
        value = f"RMS {row['magnitude']:.6g}"
    return f"{row['source']}[{row['unit']}]", value


def family_color(theme: str, family: str) -> tuple[int, int, int]:
    """Colour of a family of layers."""
    return THEMES[theme].families[family]


@functools.lru_cache(maxsize=2048)
def length(text: str, px: int, bold: bool = False) -> float:
    """Width of a text, pixels."""
    return float(font(px, bold).getlength(text))


def clean(text: str) -> str:
    """A text without what is not to be seen; groups of digits stay together."""
    return "".join(c if c.isprintable() or c == "\u202f" else " " for c in text)


def cut(text: str, px: int, width: float, bold: bool = False) -> str:
    """A text that is no wider than `width` pixels, its end replaced by "…" where it must be."""
    text = clean(text[:_MOST_CHARS])
    if length(text, px, bold) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if length(text[:middle].rstrip() + "…", px, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def cut_front(text: str, px: int, width: float) -> str:
    """As `cut`, with "…" in place of the beginning."""
    text = clean(text[-_MOST_CHARS:])
    low, high = 0, len(text)
    if length(text, px) <= width:
        return text
    while low < high:  # the longest end that fits
        middle = (low + high) // 2
        if length("…" + text[middle:].lstrip(), px) <= width:
            high = middle
        else:
            low = middle + 1
    return "…" + text[low:].lstrip()


def wrap(text: str, px: int, width: float, lines: int) -> list[str]:
    """A text in lines no wider than `width` pixels; what does not fit is cut with "…"."""
    out: list[str] = []
    for word in clean(text[:_MOST_CHARS]).split(" "):
        joined = f"{out[-1]} {word}" if out else word
        if out and length(joined, px) <= width:
            out[-1] = joined
        else:
            out.append(word)
    if len(out) > lines:
        out = [*out[: lines - 1], " ".join(out[lines - 1 :])]
    return [cut(line, px, width) for line in out if line]
